//! What a service says of itself every few seconds: progress, not just a pulse.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::ids::{AccountKey, BookKey, SubjectToken};
use crate::time::UtcMs;

/// One heartbeat. Service and instance are in its subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Version of this message.
    pub v: u16,
    /// This run of the process; a new one means it was restarted.
    pub boot: SubjectToken,
    /// 1, 2, 3, … within a boot.
    pub seq: u64,
    /// When it was made, wall clock.
    pub at: UtcMs,
    /// Since the process began, in milliseconds.
    pub uptime_ms: u64,
    /// The sender's interval: a reader's measure of a missed one, in milliseconds.
    pub interval_ms: u64,
    /// Where in its life the process is.
    pub phase: ProcessPhase,
    /// How well it is, by its own judgement; none from programs that did not judge themselves yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// Why it is not healthy, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_reason: Option<String>,
    /// Progress of each part: a counter that stands still while the pulse goes on is a hang.
    pub components: BTreeMap<String, ComponentStatus>,
    /// Oldest "time since the last closed candle" of all feeds, in milliseconds of exchange time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candle_age_ms: Option<u64>,
    /// Decisions that opened a position or meant to, since boot.
    pub entries_decided: u64,
    /// Errors since boot, all parts.
    pub errors: u64,
    /// Those of the last hour.
    #[serde(default)]
    pub errors_last_hour: u64,
    /// The newest of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
    /// Whose books those are; none from what trades for nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountKey>,
    /// The latch that closes that account, as far as the process knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latch_id: Option<String>,
    /// The books this instance owns.
    #[serde(default)]
    pub books: Vec<BookSummary>,
}

/// Where in its life a process is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProcessPhase {
    /// Waiting for dependencies, recovering, warming up.
    #[default]
    Starting,
    /// At work.
    Running,
    /// Told to end; finishing what it began.
    Draining,
    /// The last heartbeat of this boot.
    Stopped,
}

/// How well a process is. The greater, the worse.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// At work.
    #[default]
    Healthy,
    /// At work with trouble.
    Degraded,
    /// Does not do what it is there for, or fails all the time.
    Critical,
}

impl Health {
    /// As it is written on the wire and shown to people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Critical => "critical",
        }
    }
}

/// Progress of one part of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentStatus {
    /// Turns of its loop since boot.
    pub iterations: u64,
    /// Errors since boot.
    pub errors: u64,
    /// How it is now.
    pub state: ComponentState,
    /// While it is well it turns at least this often, in milliseconds; none for one that turns only
    /// when there is something to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
}

/// How a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ComponentState {
    /// Working, or waiting for work.
    Ok,
    /// Failed and being tried again.
    Retrying,
    /// Ended.
    Stopped,
}

/// An error's text with its time. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    /// When, wall clock.
    pub at: UtcMs,
    /// Which part.
    pub component: String,
    /// One line.
    pub text: String,
}

/// A book in a few numbers. Amounts in the quote currency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BookSummary {
    /// Which book.
    pub book: BookKey,
    /// Capital plus realised profit minus fees, plus unrealised profit at the last close.
    pub equity: Decimal,
    /// Signed base quantity: positive long, negative short, zero flat.
    pub position_quantity: Decimal,
    /// Positions closed so far, over all boots.
    pub trades: u64,
    /// Set when the book trades no more until a person looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halt_reason: Option<String>,
}
