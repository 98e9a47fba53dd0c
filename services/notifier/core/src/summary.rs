//! The heartbeat the owner gets every hour: how each trader is, in a few numbers. And its judgement of
//! one heartbeat: healthy, degraded, critical.

use protocol::event::Severity;
use protocol::heartbeat::{ComponentState, Health, Heartbeat, ProcessPhase};
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use crate::formatting::{format_amount, format_duration, format_uptime};
use crate::notification::Notification;
use crate::record::DeliveryRecord;

const ID_PREFIX: &str = "summary:";
/// A heartbeat is missed after this many of its own intervals.
const MISSED_INTERVALS: u64 = 3;
/// Whoever said goodbye longer ago than this is no longer of the fleet.
const STOPPED_LISTED_MS: u64 = 3_600_000;

/// A health as the owner sees it.
pub(crate) const fn health_label(health: Health) -> &'static str {
    match health {
        Health::Healthy => "🟢 healthy",
        Health::Degraded => "🟡 degraded",
        Health::Critical => "🔴 critical",
    }
}

/// The judgement, with a reason where it is not well: the worst of what the trader says of itself, of
/// what only others can see, and of where in its life it is.
pub fn grade_process(heartbeat: &Heartbeat, now: UtcMs) -> (Health, Option<String>) {
    let age = now.millis_since(heartbeat.at);
    if heartbeat.phase == ProcessPhase::Stopped {
        return (
            Health::Degraded,
            Some(format!("stopped {} ago", format_duration(age))),
        );
    }
    if age > MISSED_INTERVALS * heartbeat.interval_ms {
        let silent = format!("no heartbeat for {}", format_duration(age));
        return (Health::Critical, Some(silent));
    }
    if let Some(halted) = heartbeat
        .books
        .iter()
        .find_map(|book| book.halt_reason.as_ref())
    {
        return (
            Health::Critical,
            Some(format!("a book is halted: {halted}")),
        );
    }
    let (health, why) = reported_grade(heartbeat);
    let passing = match heartbeat.phase {
        ProcessPhase::Running => return (health, why),
        ProcessPhase::Starting => "starting",
        _ => "ending",
    };
    match health {
        Health::Healthy => (Health::Degraded, Some(passing.to_owned())),
        _ => (health, why.or_else(|| Some(passing.to_owned()))),
    }
}

/// Older traders do not judge themselves: their parts speak for them.
fn reported_grade(heartbeat: &Heartbeat) -> (Health, Option<String>) {
    if let Some(health) = heartbeat.health {
        return (health, heartbeat.health_reason.clone());
    }
    let mut parts = heartbeat.components.iter();
    match parts.find(|(_, part)| part.state != ComponentState::Ok) {
        None => (Health::Healthy, None),
        Some((name, _)) => (Health::Degraded, Some(format!("{name} has trouble"))),
    }
}

/// Every wall-clock period of this length has a number.
pub fn period(now: UtcMs, every_ms: u64) -> u64 {
    u64::try_from(now.0).unwrap_or(0) / every_ms.max(1)
}

/// Up to which period nothing is owed to the owner: what passed while nobody told counts, before the first
/// one none did. Where periods have become longer since, their numbers are smaller ones.
pub fn last_settled_period(newest: Option<u64>, now: UtcMs, every_ms: u64) -> u64 {
    let current = period(now, every_ms);
    newest.map_or(current, |newest| newest.min(current))
}

/// The period that an event of this id is about, if it is a heartbeat.
pub fn period_from_id(event: &str) -> Option<u64> {
    event.strip_prefix(ID_PREFIX)?.parse().ok()
}

/// What the owner is told for a period. Said once: its id follows from the period.
/// `picture`: there is a curve to be shown with it.
pub fn summary_record(
    period: u64,
    heartbeats: &[(SubjectToken, Heartbeat)],
    has_picture: bool,
    now: UtcMs,
) -> DeliveryRecord {
    let of_the_fleet = heartbeats.iter().filter(|(_, beat)| {
        beat.phase != ProcessPhase::Stopped || now.millis_since(beat.at) < STOPPED_LISTED_MS
    });
    let lines: Vec<String> = of_the_fleet
        .map(|(name, beat)| describe_trader(name, beat, now))
        .collect();
    let body = if lines.is_empty() {
        "No trader has been heard of".to_owned()
    } else {
        lines.join("\n")
    };
    let letter = Notification {
        at: now,
        severity: Severity::Info,
        kind: "summary".to_owned(),
        title: "💓 HEARTBEAT".to_owned(),
        body,
        has_picture: false,
    };
    DeliveryRecord::Queued {
        event: format!("{ID_PREFIX}{period}"),
        notifications: if has_picture {
            letter.with_picture()
        } else {
            letter.split()
        },
    }
}

fn describe_trader(name: &SubjectToken, heartbeat: &Heartbeat, now: UtcMs) -> String {
    let (health, why) = grade_process(heartbeat, now);
    let why = why.map_or_else(String::new, |why| format!(" ({why})"));
    let equity: Decimal = heartbeat.books.iter().map(|book| book.equity).sum();
    let open = heartbeat
        .books
        .iter()
        .filter(|book| !book.position_quantity.is_zero());
    let trades: u64 = heartbeat.books.iter().map(|book| book.trades).sum();
    let loops: u64 = heartbeat
        .components
        .values()
        .map(|part| part.iterations)
        .sum();
    let last_error = heartbeat
        .last_error
        .as_ref()
        .map_or_else(String::new, |error| {
            let ago = format_duration(now.millis_since(error.at));
            format!(
                "\nLast error: {}: {} ({ago} ago)",
                error.component, error.text
            )
        });
    format!(
        "{name}: {}{why}\nUptime: {}\nLoops: {loops}\nErrors: {}\nSignals: {}\nEquity: {}\n\
         Positions: {}, Trades: {trades}{last_error}",
        health_label(health),
        format_uptime(heartbeat.uptime_ms),
        heartbeat.errors,
        heartbeat.entries_decided,
        format_amount(equity),
        open.count(),
    )
}
