//! Heartbeats: phase, health and component counters that a process publishes every few seconds.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::ids::{AccountKey, BookKey, SubjectToken};
use crate::time::UtcMs;

/// One heartbeat. The subject names the process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Version of the message.
    pub v: u16,
    /// Boot id of the process; a new id means that the process was restarted.
    pub boot: SubjectToken,
    /// Number of the heartbeat within the boot, from 1.
    pub seq: u64,
    /// Time of the heartbeat, wall clock.
    pub at: UtcMs,
    /// Uptime of the process in milliseconds.
    pub uptime_ms: u64,
    /// Heartbeat interval of the sender in milliseconds, by which a reader detects a missed heartbeat.
    pub interval_ms: u64,
    /// Phase of the process.
    pub phase: ProcessPhase,
    /// Health grade; `None` from programs that do not grade themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// Why the health is not healthy, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_reason: Option<String>,
    /// Counters of each component, by name. A component without iterations is hung although heartbeats arrive.
    pub components: BTreeMap<String, ComponentStatus>,
    /// Largest time since the last closed candle of all feeds, in milliseconds of exchange time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candle_age_ms: Option<u64>,
    /// Entries decided since boot.
    pub entries_decided: u64,
    /// Errors since boot, of all components.
    pub errors: u64,
    /// Errors of the last hour.
    #[serde(default)]
    pub errors_last_hour: u64,
    /// Newest error of any component; `None` if there was none since boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
    /// Counters over all boots of the instance; `None` from programs that do not keep them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<LifetimeCounters>,
    /// Account of the books; `None` from a process that trades no account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountKey>,
    /// Latch of the account, as far as the process knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latch_id: Option<String>,
    /// Books that this instance trades.
    #[serde(default)]
    pub books: Vec<BookSummary>,
    /// Units that a watchdog cannot judge; `None` while it can judge all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blindness: Option<BlindnessReport>,
}

/// What a watchdog cannot see, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlindnessReport {
    /// Identifies the blindness within the boot; a later one has another number.
    pub number: u64,
    /// Length so far, in milliseconds.
    pub for_ms: u64,
    /// What is missing, in one line.
    pub reason: String,
    /// Units that cannot be judged; empty for all.
    pub units: Vec<SubjectToken>,
    /// The command that may help; `None` if none is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// Counters of an instance over all its boots, the present one included. They survive as long as the bus keeps the last
/// heartbeat of the instance: a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifetimeCounters {
    /// Number of boots.
    pub boots: u64,
    /// Uptime of all boots in milliseconds.
    pub uptime_ms: u64,
    /// Iterations of all components.
    pub iterations: u64,
    /// Decided entries.
    pub entries_decided: u64,
    /// Errors of all components.
    pub errors: u64,
}

impl LifetimeCounters {
    /// The counters of the boot that a heartbeat is of.
    pub fn of_boot(heartbeat: &Heartbeat) -> Self {
        let iterations = heartbeat.components.values().map(|c| c.iterations);
        Self {
            boots: 1,
            uptime_ms: heartbeat.uptime_ms,
            iterations: iterations.fold(0, u64::saturating_add),
            entries_decided: heartbeat.entries_decided,
            errors: heartbeat.errors,
        }
    }

    /// The counters of the instance as a heartbeat has them; those of its boot if it keeps none.
    pub fn of_instance(heartbeat: &Heartbeat) -> Self {
        let lifetime = heartbeat.lifetime;
        lifetime.unwrap_or_else(|| Self::of_boot(heartbeat))
    }

    /// The sum of the counters of other boots.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            boots: self.boots.saturating_add(other.boots),
            uptime_ms: self.uptime_ms.saturating_add(other.uptime_ms),
            iterations: self.iterations.saturating_add(other.iterations),
            entries_decided: self.entries_decided.saturating_add(other.entries_decided),
            errors: self.errors.saturating_add(other.errors),
        }
    }
}

/// Phase of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProcessPhase {
    /// Waits for dependencies, recovers, or warms up.
    #[default]
    Starting,
    /// Has finished its start and does its work.
    Running,
    /// Finishes its work after a shutdown request.
    Draining,
    /// Has published its last heartbeat.
    Stopped,
}

/// Health grade of a process, in ascending severity.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Does its work; the errors of the last hour are within the limit.
    #[default]
    Healthy,
    /// Does its work; the errors of the last hour are above the limit.
    Degraded,
    /// Does not do its work, or fails all the time.
    Critical,
}

impl Health {
    /// Name in messages and texts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Critical => "critical",
        }
    }
}

/// Counters of one component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentStatus {
    /// Iterations that the component has finished since boot.
    pub iterations: u64,
    /// Errors of the component since boot.
    pub errors: u64,
    /// State of the component at the time of the heartbeat.
    pub state: ComponentState,
    /// Longest time between two iterations of an `ok` component, in milliseconds; `None` for a component that iterates
    /// only when there is work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
}

/// State of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ComponentState {
    /// Works, or waits for work.
    Ok,
    /// Failed and is retried.
    Retrying,
    /// Has ended and is not retried.
    Stopped,
}

/// Text of an error. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    /// Time of the error, wall clock.
    pub at: UtcMs,
    /// Component of the error.
    pub component: String,
    /// Error in one line.
    pub text: String,
}

/// Key figures of a book. Amounts are in the quote currency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BookSummary {
    /// Key of the book.
    pub book: BookKey,
    /// Capital plus realized profit after fees, plus unrealized profit at the last close.
    pub equity: Decimal,
    /// Signed quantity in base units: positive long, negative short, zero flat.
    pub position_quantity: Decimal,
    /// Positions closed so far, over all boots.
    pub trades: u64,
    /// Why the book is halted; `None` if the book is not halted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halt_reason: Option<String>,
}
