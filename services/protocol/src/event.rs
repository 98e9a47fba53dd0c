//! What happened, for the owner and for other services: a severity, a kind, a typed payload.

use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::ids::{AccountKey, BookKey, Mode, Token};
use crate::time::UtcMs;

/// How much it matters to the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Look when you can.
    Warning,
    /// Look now.
    Critical,
}

impl Severity {
    /// The word in subjects.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One event. Service and instance are in its subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Version of this message.
    pub v: u16,
    /// The same event has the same id however often it is published.
    pub id: String,
    /// When it happened, wall clock.
    pub at: UtcMs,
    /// How much it matters; follows from the kind.
    pub severity: Severity,
    /// What happened.
    #[serde(flatten)]
    pub body: EventBody,
}

impl Event {
    /// An event of this version with the severity that its kind has.
    pub fn new(id: impl Into<String>, at: UtcMs, body: EventBody) -> Self {
        Self {
            v: crate::VERSION,
            id: id.into(),
            at,
            severity: body.severity(),
            body,
        }
    }
}

/// Which way a position looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Bought; gains when the price rises.
    Long,
    /// Sold; gains when the price falls.
    Short,
}

impl Side {
    /// The word in logs and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Long => "long",
            Self::Short => "short",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Every kind of event with its facts. Prices and amounts in the quote currency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "payload", rename_all = "snake_case")]
pub enum EventBody {
    /// A trader is up and at work.
    TraderStarted {
        /// Paper or live.
        mode: Mode,
        /// Its symbols.
        symbols: Vec<Token>,
        /// Its command line.
        flags: Vec<String>,
        /// Version of the program.
        version: String,
    },
    /// A trader ended by its own will.
    TraderStopped {
        /// Why.
        reason: String,
        /// Its exit code.
        exit: u8,
        /// How long it ran, in milliseconds.
        uptime_ms: u64,
    },
    /// This instance owns the book now.
    BookClaimed {
        /// Which.
        book: BookKey,
        /// The instance, which need not be the one that tells it: an earlier owner may not have come to that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Token>,
        /// Settings that are not those of its last owner, each as `name: old -> new`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        changes: Vec<String>,
    },
    /// The book went to another owner.
    BookLost {
        /// Which.
        book: BookKey,
        /// How that was noticed.
        reason: String,
    },
    /// The book trades no more until a person looks.
    BookHalted {
        /// Which.
        book: BookKey,
        /// Why.
        reason: String,
    },
    /// A person let a halted book go on.
    BookReleased {
        /// Which.
        book: BookKey,
        /// Who said so.
        who: String,
        /// Why.
        why: String,
    },
    /// An entry was decided but not made.
    EntryDropped {
        /// Which book.
        book: BookKey,
        /// Why.
        reason: String,
    },
    /// A position was opened.
    PositionOpened {
        /// Which book.
        book: BookKey,
        /// Whose signal.
        strategy: Token,
        /// Long or short.
        side: Side,
        /// In base units.
        quantity: Decimal,
        /// Fill price.
        price: Decimal,
        /// Stop price.
        stop: Decimal,
        /// Target price.
        target: Decimal,
    },
    /// A position was closed.
    PositionClosed {
        /// Which book.
        book: BookKey,
        /// Whose signal had opened it.
        strategy: Token,
        /// Long or short.
        side: Side,
        /// In base units.
        quantity: Decimal,
        /// Fill price of the entry.
        entry: Decimal,
        /// Fill price of the exit.
        exit: Decimal,
        /// What closed it: stop, target, or a breaker.
        reason: String,
        /// Profit or loss after fees.
        pnl: Decimal,
        /// The book's equity after it.
        equity: Decimal,
    },
    /// A circuit breaker tripped that a trader recovers from by itself.
    BreakerTripped {
        /// Whose: a book, or the adapter of an exchange.
        scope: String,
        /// Which, by its name.
        breaker: String,
        /// Why, and what it does.
        reason: String,
    },
    /// A circuit breaker let go again.
    BreakerRecovered {
        /// Whose.
        scope: String,
        /// Which, by its name.
        breaker: String,
    },
    /// A book takes no entries for a while.
    EntriesLocked {
        /// Which book.
        book: BookKey,
        /// The protection or breaker that locks them.
        by: String,
        /// Why.
        reason: String,
        /// Until when, the exchange's time.
        until: UtcMs,
    },
    /// Whether the exchange has an order is not known. It is looked up until it is; nothing is sent again.
    OrderUnclear {
        /// Whose.
        book: BookKey,
        /// What it is for: entry, stop, target or exit.
        leg: String,
        /// Our id of it.
        order: String,
        /// What happened instead of an answer.
        why: String,
    },
    /// The exchange refused an order.
    OrderRefused {
        /// Whose.
        book: BookKey,
        /// What it is for: entry, stop, target or exit.
        leg: String,
        /// Our id of it.
        order: String,
        /// The exchange's code.
        code: i64,
        /// The exchange's words.
        why: String,
    },
    /// A critical breaker or an operator closed the account: everything is closed, nobody enters until
    /// an operator ends it.
    AccountLatched {
        /// Which account.
        account: AccountKey,
        /// The latch's id: what an operator names to end it.
        latch: String,
        /// The breaker by its name.
        breaker: String,
        /// Equity, unrealised profit included.
        equity: Decimal,
        /// The peak it fell from.
        peak: Decimal,
        /// The operator and why, if it was one; the breaker is named `operator` then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        said: Option<String>,
    },
    /// An operator ended a latch.
    AccountUnlatched {
        /// Which account.
        account: AccountKey,
        /// Which latch.
        latch: String,
        /// Who did it.
        who: String,
        /// Why.
        why: String,
    },
    /// An operator stopped entries; positions are managed as before.
    EntriesPaused {
        /// Which account.
        account: AccountKey,
        /// Only this symbol's book; every book without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        symbol: Option<Token>,
        /// Who did it.
        who: String,
        /// Why.
        why: String,
    },
    /// An operator let entries be made again.
    EntriesResumed {
        /// Which account.
        account: AccountKey,
        /// Only this symbol's book; every book without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        symbol: Option<Token>,
        /// Who did it.
        who: String,
        /// Why.
        why: String,
    },
    /// A process is better or worse than before.
    HealthChanged {
        /// How it was: `healthy`, `degraded` or `critical`.
        from: String,
        /// How it is.
        to: String,
        /// Why.
        reason: String,
    },
    /// A part of a service failed and is tried again.
    PartFailed {
        /// Which part.
        part: String,
        /// One line.
        error: String,
    },
    /// A part that had failed works again.
    PartRecovered {
        /// Which part.
        part: String,
        /// How long it was away, in milliseconds.
        after_ms: u64,
    },
    /// A part was started anew by somebody who did not say so.
    PartStarted {
        /// Which part.
        part: String,
        /// What is known of that, in one line.
        how: String,
    },
    /// A watchdog supervises the project from here on.
    WatchdogStarted {
        /// The compose project.
        project: Token,
        /// Version of the program.
        version: String,
    },
    /// A unit ended or hung and will be started again.
    RestartTriggered {
        /// Which unit: service and number.
        unit: Token,
        /// The how many-th restart this is; 0 for one that is not counted.
        attempt: u32,
        /// How many it may have.
        max: u32,
        /// Why, in a few words.
        reason: String,
        /// Failures in a row, this one included.
        consecutive: u32,
        /// How long it ran, in milliseconds.
        uptime_ms: u64,
        /// Until it is started, in milliseconds.
        delay_ms: u64,
        /// What it ended with, if it ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit: Option<i64>,
        /// What it last said of itself, one line.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evidence: Option<String>,
    },
    /// A unit finished a cycle; the next one will be started.
    CycleFinished {
        /// Which unit.
        unit: Token,
        /// The how many-th restart the next cycle is.
        attempt: u32,
        /// How many it may have.
        max: u32,
        /// How long the cycle ran, in milliseconds.
        uptime_ms: u64,
        /// Until the next one begins, in milliseconds.
        delay_ms: u64,
    },
    /// A restarted unit says that it is at work again.
    UnitRecovered {
        /// Which unit.
        unit: Token,
        /// Since its failure was noticed, in milliseconds.
        after_ms: u64,
    },
    /// A unit stays down until a person acts.
    GivenUp {
        /// Which unit.
        unit: Token,
        /// Why, and what to do.
        reason: String,
        /// Restarts so far.
        restarts: u32,
        /// Failures in a row.
        consecutive: u32,
        /// What it last ended with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit: Option<i64>,
    },
    /// A unit stays down because that is what was wanted.
    UnitStopped {
        /// Which unit.
        unit: Token,
        /// Who or what wanted it.
        reason: String,
    },
    /// Something happened to a unit that the watchdog may only observe.
    UnitObservedOnly {
        /// Which unit.
        unit: Token,
        /// What happened, and why nothing is done about it.
        reason: String,
    },
    /// A unit says of itself for long that it does not do what it is there for.
    UnitCritical {
        /// Which unit.
        unit: Token,
        /// For how long so far, in milliseconds.
        for_ms: u64,
        /// Why, in its own words.
        reason: String,
    },
    /// A person ordered something about a unit.
    UnitOrdered {
        /// Which unit.
        unit: Token,
        /// The order's verb.
        verb: String,
        /// Who ordered it.
        by: String,
        /// Why, if that was said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// The owner gave an order, and had an answer to it.
    OwnerCommand {
        /// Who gave it.
        who: String,
        /// It, in one line.
        command: String,
        /// What came of it, in one line.
        outcome: String,
    },
    /// Somebody gave an order who may not; nothing was done. Not each time: once an hour for each of them.
    StrangerIgnored {
        /// Who.
        who: String,
        /// The beginning of what was said.
        command: String,
    },
}

impl EventBody {
    /// The word in subjects; the same as in the message.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::TraderStarted { .. } => "trader_started",
            Self::TraderStopped { .. } => "trader_stopped",
            Self::BookClaimed { .. } => "book_claimed",
            Self::BookLost { .. } => "book_lost",
            Self::BookHalted { .. } => "book_halted",
            Self::BookReleased { .. } => "book_released",
            Self::EntryDropped { .. } => "entry_dropped",
            Self::PositionOpened { .. } => "position_opened",
            Self::PositionClosed { .. } => "position_closed",
            Self::BreakerTripped { .. } => "breaker_tripped",
            Self::BreakerRecovered { .. } => "breaker_recovered",
            Self::EntriesLocked { .. } => "entries_locked",
            Self::OrderUnclear { .. } => "order_unclear",
            Self::OrderRefused { .. } => "order_refused",
            Self::AccountLatched { .. } => "account_latched",
            Self::EntriesPaused { .. } => "entries_paused",
            Self::EntriesResumed { .. } => "entries_resumed",
            Self::AccountUnlatched { .. } => "account_unlatched",
            Self::HealthChanged { .. } => "health_changed",
            Self::PartFailed { .. } => "part_failed",
            Self::PartRecovered { .. } => "part_recovered",
            Self::PartStarted { .. } => "part_started",
            Self::WatchdogStarted { .. } => "watchdog_started",
            Self::RestartTriggered { .. } => "restart_triggered",
            Self::CycleFinished { .. } => "cycle_finished",
            Self::UnitRecovered { .. } => "unit_recovered",
            Self::GivenUp { .. } => "given_up",
            Self::UnitStopped { .. } => "unit_stopped",
            Self::UnitObservedOnly { .. } => "unit_observed_only",
            Self::UnitCritical { .. } => "unit_critical",
            Self::UnitOrdered { .. } => "unit_ordered",
            Self::OwnerCommand { .. } => "owner_command",
            Self::StrangerIgnored { .. } => "stranger_ignored",
        }
    }

    /// How much this kind matters.
    pub const fn severity(&self) -> Severity {
        match self {
            Self::BookHalted { .. } | Self::GivenUp { .. } | Self::AccountLatched { .. } => {
                Severity::Critical
            }
            Self::BookLost { .. }
            | Self::BookReleased { .. }
            | Self::BreakerTripped { .. }
            | Self::OrderUnclear { .. }
            | Self::OrderRefused { .. }
            | Self::AccountUnlatched { .. }
            | Self::EntriesPaused { .. }
            | Self::EntriesResumed { .. }
            | Self::HealthChanged { .. }
            | Self::PartFailed { .. }
            | Self::RestartTriggered { .. }
            | Self::UnitObservedOnly { .. }
            | Self::UnitCritical { .. }
            | Self::StrangerIgnored { .. } => Severity::Warning,
            Self::TraderStarted { .. }
            | Self::TraderStopped { .. }
            | Self::BookClaimed { .. }
            | Self::EntryDropped { .. }
            | Self::PositionOpened { .. }
            | Self::PositionClosed { .. }
            | Self::BreakerRecovered { .. }
            | Self::EntriesLocked { .. }
            | Self::PartRecovered { .. }
            | Self::PartStarted { .. }
            | Self::WatchdogStarted { .. }
            | Self::CycleFinished { .. }
            | Self::UnitRecovered { .. }
            | Self::UnitStopped { .. }
            | Self::UnitOrdered { .. }
            | Self::OwnerCommand { .. } => Severity::Info,
        }
    }
}
