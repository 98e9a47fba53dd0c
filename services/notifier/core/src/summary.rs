//! The periodic summary: state of each trader in a few lines. Also grades one process by its last heartbeat.

use protocol::duration::format_ms;
use protocol::event::Severity;
use protocol::heartbeat::{ComponentState, Health, Heartbeat, LifetimeCounters, ProcessPhase};
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use crate::event_ids;
use crate::formatting::{format_amount, format_time, trader_label};
use crate::notification::Notification;
use crate::record::DeliveryRecord;

/// A process without a heartbeat for this many of its intervals is critical.
const MISSED_INTERVALS: u64 = 3;
/// Time for which a stopped trader stays in the summary.
const STOPPED_LISTED_MS: u64 = 3_600_000;

/// Health as the operator reads it.
pub(crate) const fn health_label(health: Health) -> &'static str {
    match health {
        Health::Healthy => "🟢 healthy",
        Health::Degraded => "🟡 degraded",
        Health::Critical => "🔴 critical",
    }
}

/// Health of a process with a reason unless it is healthy: the worst of its own report, the age of its heartbeat and
/// its phase.
pub fn grade_process(heartbeat: &Heartbeat, now: UtcMs) -> (Health, Option<String>) {
    let age = now.millis_since(heartbeat.at);
    if heartbeat.phase == ProcessPhase::Stopped {
        return (
            Health::Degraded,
            Some(format!("stopped {} ago", format_ms(age))),
        );
    }
    if age > MISSED_INTERVALS * heartbeat.interval_ms {
        let reason = format!("no heartbeat for {}", format_ms(age));
        return (Health::Critical, Some(reason));
    }
    if let Some(reason) = heartbeat
        .books
        .iter()
        .find_map(|book| book.halt_reason.as_ref())
    {
        return (
            Health::Critical,
            Some(format!("a book is halted: {reason}")),
        );
    }
    let (health, reason) = reported_grade(heartbeat);
    let phase = match heartbeat.phase {
        ProcessPhase::Running => return (health, reason),
        ProcessPhase::Starting => "starting",
        _ => "stopping",
    };
    match health {
        Health::Healthy => (Health::Degraded, Some(phase.to_owned())),
        _ => (health, reason.or_else(|| Some(phase.to_owned()))),
    }
}

/// Health as the process reports it; by its components if it reports none.
fn reported_grade(heartbeat: &Heartbeat) -> (Health, Option<String>) {
    if let Some(health) = heartbeat.health {
        return (health, heartbeat.health_reason.clone());
    }
    let mut components = heartbeat.components.iter();
    match components.find(|(_, component)| component.state != ComponentState::Ok) {
        None => (Health::Healthy, None),
        Some((name, _)) => (Health::Degraded, Some(format!("{name} is failing"))),
    }
}

/// Number of the wall-clock period of this length.
pub fn period(now: UtcMs, every_ms: u64) -> u64 {
    u64::try_from(now.0).unwrap_or(0) / every_ms.max(1)
}

/// Newest period that needs no summary. `newest` is the newest period that has one; without it, nothing is due for
/// earlier periods. If the period became longer since, its numbers are smaller now.
pub fn last_settled_period(newest: Option<u64>, now: UtcMs, every_ms: u64) -> u64 {
    let current = period(now, every_ms);
    newest.map_or(current, |newest| newest.min(current))
}

/// Record that queues the summary of a period. Its id follows from the period, so that it is sent once. `has_picture`:
/// whether there is an equity curve.
pub fn summary_record(
    period: u64,
    heartbeats: &[(SubjectToken, Heartbeat)],
    has_picture: bool,
    now: UtcMs,
) -> DeliveryRecord {
    let listed = heartbeats.iter().filter(|(_, heartbeat)| {
        heartbeat.phase != ProcessPhase::Stopped
            || now.millis_since(heartbeat.at) < STOPPED_LISTED_MS
    });
    let traders: Vec<String> = listed
        .map(|(name, heartbeat)| describe_trader(name, heartbeat, now))
        .collect();
    let body = if traders.is_empty() {
        "No heartbeat of a trader received\nAction: check with: scripts/bearish status".to_owned()
    } else {
        traders.join("\n")
    };
    let notification = Notification {
        at: now,
        severity: Severity::Info,
        kind: "summary".to_owned(),
        title: "💓 HEARTBEAT".to_owned(),
        body,
        has_picture: false,
        table_lines: 0,
    };
    DeliveryRecord::Queued {
        event: format!("{}{period}", event_ids::SUMMARY),
        notifications: if has_picture {
            notification.with_picture()
        } else {
            notification.split()
        },
    }
}

/// Lines of one trader. A stopped one has no equity and positions: another instance reports its books.
fn describe_trader(name: &SubjectToken, heartbeat: &Heartbeat, now: UtcMs) -> String {
    let (health, reason) = grade_process(heartbeat, now);
    let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
    let mut lines = vec![format!(
        "{}: {}{reason}",
        trader_label(name.as_str()),
        health_label(health)
    )];
    if heartbeat.phase != ProcessPhase::Stopped {
        lines.extend(describe_activity(heartbeat));
    }
    lines.push(format!(
        "Last heartbeat: {} ({} ago)",
        format_time(heartbeat.at),
        format_ms(now.millis_since(heartbeat.at))
    ));
    if let Some(latch_id) = &heartbeat.latch_id {
        lines.push(format!(
            "Latch: {latch_id}, no entries until you unlatch the account"
        ));
    }
    if let Some(error) = &heartbeat.last_error {
        let ago = format_ms(now.millis_since(error.at));
        lines.push(format!(
            "Last error: {}: {} ({ago} ago)",
            error.component, error.text
        ));
    }
    lines.join("\n")
}

fn describe_activity(heartbeat: &Heartbeat) -> [String; 6] {
    let equity: Decimal = heartbeat.books.iter().map(|book| book.equity).sum();
    let open = heartbeat
        .books
        .iter()
        .filter(|book| !book.position_quantity.is_zero());
    let trades: u64 = heartbeat.books.iter().map(|book| book.trades).sum();
    let boot = LifetimeCounters::of_boot(heartbeat);
    // A restart does not hide what the instance did before.
    let all = LifetimeCounters::of_instance(heartbeat);
    let with_total = |now: String, total: String| match all.boots {
        0 | 1 => now,
        boots => format!("{now} (all {boots} boots: {total})"),
    };
    let count = |now: u64, total: u64| with_total(now.to_string(), total.to_string());
    let uptime = with_total(format_ms(boot.uptime_ms), format_ms(all.uptime_ms));
    [
        format!("Uptime: {uptime}"),
        format!("Loops: {}", count(boot.iterations, all.iterations)),
        format!("Errors: {}", count(boot.errors, all.errors)),
        format!(
            "Signals: {}",
            count(boot.entries_decided, all.entries_decided)
        ),
        format!("Equity: {}", format_amount(equity)),
        format!("Positions: {}, Trades: {trades}", open.count()),
    ]
}
