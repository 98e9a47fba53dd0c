//! The heartbeat the owner gets every hour: how each trader is, in a few numbers. And its judgement of
//! one heartbeat: healthy, degraded, critical.

use protocol::event::Severity;
use protocol::heartbeat::{Health, Heartbeat, PartState, Phase};
use protocol::ids::Token;
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use crate::letter::Letter;
use crate::record::Record;
use crate::words::{amount, span, uptime};

const PREFIX: &str = "heartbeat:";
/// A heartbeat is missed after this many of its own intervals.
const MISSED: u64 = 3;
/// Whoever said goodbye longer ago than this is no longer of the fleet.
const FAREWELL_MS: u64 = 3_600_000;

/// A health as the owner sees it.
pub(crate) const fn mark(health: Health) -> &'static str {
    match health {
        Health::Healthy => "🟢 healthy",
        Health::Degraded => "🟡 degraded",
        Health::Critical => "🔴 critical",
    }
}

/// The judgement, with a reason where it is not well: the worst of what the trader says of itself, of
/// what only others can see, and of where in its life it is.
pub fn judge(beat: &Heartbeat, now: UtcMs) -> (Health, Option<String>) {
    let age = now.millis_since(beat.at);
    if beat.phase == Phase::Stopped {
        return (Health::Degraded, Some(format!("stopped {} ago", span(age))));
    }
    if age > MISSED * beat.interval_ms {
        let silent = format!("no heartbeat for {}", span(age));
        return (Health::Critical, Some(silent));
    }
    if let Some(halted) = beat.books.iter().find_map(|book| book.halted.as_ref()) {
        return (
            Health::Critical,
            Some(format!("a book is halted: {halted}")),
        );
    }
    let (health, why) = own_judgement(beat);
    let passing = match beat.phase {
        Phase::Running => return (health, why),
        Phase::Starting => "starting",
        _ => "ending",
    };
    match health {
        Health::Healthy => (Health::Degraded, Some(passing.to_owned())),
        _ => (health, why.or_else(|| Some(passing.to_owned()))),
    }
}

/// Older traders do not judge themselves: their parts speak for them.
fn own_judgement(beat: &Heartbeat) -> (Health, Option<String>) {
    if let Some(health) = beat.health {
        return (health, beat.health_why.clone());
    }
    let mut parts = beat.parts.iter();
    match parts.find(|(_, part)| part.state != PartState::Ok) {
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
pub fn told_until(newest: Option<u64>, now: UtcMs, every_ms: u64) -> u64 {
    let current = period(now, every_ms);
    newest.map_or(current, |newest| newest.min(current))
}

/// The period that an event of this id is about, if it is a heartbeat.
pub fn period_of(event: &str) -> Option<u64> {
    event.strip_prefix(PREFIX)?.parse().ok()
}

/// What the owner is told for a period. Said once: its id follows from the period.
/// `picture`: there is a curve to be shown with it.
pub fn report(period: u64, beats: &[(Token, Heartbeat)], picture: bool, now: UtcMs) -> Record {
    let of_the_fleet = beats.iter().filter(|(_, beat)| {
        beat.phase != Phase::Stopped || now.millis_since(beat.at) < FAREWELL_MS
    });
    let lines: Vec<String> = of_the_fleet
        .map(|(name, beat)| lines(name, beat, now))
        .collect();
    let body = if lines.is_empty() {
        "No trader has been heard of".to_owned()
    } else {
        lines.join("\n")
    };
    let letter = Letter {
        at: now,
        severity: Severity::Info,
        kind: "heartbeat".to_owned(),
        head: "💓 HEARTBEAT".to_owned(),
        body,
        picture: false,
    };
    Record::Queued {
        event: format!("{PREFIX}{period}"),
        letters: if picture {
            letter.illustrated()
        } else {
            letter.split()
        },
    }
}

fn lines(name: &Token, beat: &Heartbeat, now: UtcMs) -> String {
    let (health, why) = judge(beat, now);
    let why = why.map_or_else(String::new, |why| format!(" ({why})"));
    let equity: Decimal = beat.books.iter().map(|book| book.equity).sum();
    let open = beat.books.iter().filter(|book| !book.position.is_zero());
    let trades: u64 = beat.books.iter().map(|book| book.trades).sum();
    let loops: u64 = beat.parts.values().map(|part| part.turns).sum();
    let last_error = beat.last_error.as_ref().map_or_else(String::new, |error| {
        let ago = span(now.millis_since(error.at));
        format!("\nLast error: {}: {} ({ago} ago)", error.part, error.text)
    });
    format!(
        "{name}: {}{why}\nUptime: {}\nLoops: {loops}\nErrors: {}\nSignals: {}\nEquity: {}\n\
         Positions: {}, Trades: {trades}{last_error}",
        mark(health),
        uptime(beat.uptime_ms),
        beat.errors,
        beat.signals,
        amount(equity),
        open.count(),
    )
}
