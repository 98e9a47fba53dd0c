//! What happened, for the owner and for other services: a severity, a kind, a typed payload.

use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::ids::{AccountKey, BookKey, Mode, SubjectToken};
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
    /// All severities, in ascending order.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

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
pub enum PositionSide {
    /// Bought; gains when the price rises.
    Long,
    /// Sold; gains when the price falls.
    Short,
}

impl PositionSide {
    /// The word in logs and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Long => "long",
            Self::Short => "short",
        }
    }
}

impl fmt::Display for PositionSide {
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
        symbols: Vec<SubjectToken>,
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
        exit_code: u8,
        /// How long it ran, in milliseconds.
        uptime_ms: u64,
    },
    /// This instance owns the book now.
    BookAcquired {
        /// Which.
        book: BookKey,
        /// The instance, which need not be the one that tells it: an earlier owner may not have come to that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<SubjectToken>,
        /// Settings that are not those of its last owner, each as `name: old -> new`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        config_changes: Vec<String>,
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
    BookUnhalted {
        /// Which.
        book: BookKey,
        /// Who said so.
        by: String,
        /// Why.
        reason: String,
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
        strategy: SubjectToken,
        /// Long or short.
        side: PositionSide,
        /// In base units.
        quantity: Decimal,
        /// Fill price.
        entry_price: Decimal,
        /// Stop price.
        stop_price: Decimal,
        /// Target price.
        target_price: Decimal,
    },
    /// A position was closed.
    PositionClosed {
        /// Which book.
        book: BookKey,
        /// Whose signal had opened it.
        strategy: SubjectToken,
        /// Long or short.
        side: PositionSide,
        /// In base units.
        quantity: Decimal,
        /// Fill price of the entry.
        entry_price: Decimal,
        /// Fill price of the exit.
        exit_price: Decimal,
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
    BreakerReset {
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
        lock: String,
        /// Why.
        reason: String,
        /// Until when, the exchange's time.
        until: UtcMs,
    },
    /// Whether the exchange has an order is not known. It is looked up until it is; nothing is sent again.
    OrderOutcomeUnknown {
        /// Whose.
        book: BookKey,
        /// What it is for: entry, stop, target or exit.
        leg: String,
        /// Our id of it.
        client_order_id: String,
        /// What happened instead of an answer.
        error: String,
    },
    /// The exchange refused an order.
    OrderRejected {
        /// Whose.
        book: BookKey,
        /// What it is for: entry, stop, target or exit.
        leg: String,
        /// Our id of it.
        client_order_id: String,
        /// The exchange's code.
        code: i64,
        /// The exchange's words.
        reason: String,
    },
    /// A critical breaker or an operator closed the account: everything is closed, nobody enters until
    /// an operator ends it.
    AccountLatched {
        /// Which account.
        account: AccountKey,
        /// The latch's id: what an operator names to end it.
        latch_id: String,
        /// Name of the account breaker, or `operator`.
        trigger: String,
        /// Equity, unrealised profit included.
        equity: Decimal,
        /// The peak it fell from.
        peak: Decimal,
        /// Operator who gave the command; `None` if a breaker tripped.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
        /// Reason the operator gave; `None` if a breaker tripped.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// An operator ended a latch.
    AccountUnlatched {
        /// Which account.
        account: AccountKey,
        /// Which latch.
        latch_id: String,
        /// Who did it.
        by: String,
        /// Why.
        reason: String,
    },
    /// An operator stopped entries; positions are managed as before.
    EntriesPaused {
        /// Which account.
        account: AccountKey,
        /// Only this symbol's book; every book without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        symbol: Option<SubjectToken>,
        /// Who did it.
        by: String,
        /// Why.
        reason: String,
    },
    /// An operator let entries be made again.
    EntriesResumed {
        /// Which account.
        account: AccountKey,
        /// Only this symbol's book; every book without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        symbol: Option<SubjectToken>,
        /// Who did it.
        by: String,
        /// Why.
        reason: String,
    },
    /// A process is better or worse than before.
    HealthChanged {
        /// How it was: `healthy`, `degraded` or `critical_check`.
        from: String,
        /// How it is.
        to: String,
        /// Why.
        reason: String,
    },
    /// A component of the publishing process failed and is retried.
    ComponentFailed {
        /// Name of the component, such as `feed` or a symbol.
        component: String,
        /// Error in one line.
        error: String,
    },
    /// A component that had failed works again.
    ComponentRecovered {
        /// Name of the component.
        component: String,
        /// Time since the failure, in milliseconds.
        after_ms: u64,
    },
    /// A Compose service hung or ended, and is restarted by the watchdog or by Docker.
    ServiceRestartScheduled {
        /// Service and number, such as `nats-1`.
        service: String,
        /// What failed, and how the service is restarted, in one line.
        error: String,
    },
    /// A restarted Compose service is healthy again.
    ServiceRecovered {
        /// Service and number.
        service: String,
        /// Time since the failure was detected, in milliseconds.
        after_ms: u64,
    },
    /// A part was started anew by somebody who did not say so.
    ServiceStarted {
        /// Which part.
        service: String,
        /// What is known of that, in one line.
        started_by: String,
    },
    /// A watchdog supervises the project from here on.
    WatchdogStarted {
        /// Compose project that the watchdog supervises.
        project: SubjectToken,
        /// Host that the watchdog supervises.
        host: SubjectToken,
        /// Version of the program.
        version: String,
    },
    /// A unit ended or hung and will be started again.
    UnitRestartScheduled {
        /// Which unit: service and number.
        unit: SubjectToken,
        /// The how many-th restart this is; 0 for one that is not counted.
        attempt: u32,
        /// How many it may have.
        max_restarts: u32,
        /// Why, in a few words.
        reason: String,
        /// Failures in a row, this one included.
        consecutive_failures: u32,
        /// How long it ran, in milliseconds.
        uptime_ms: u64,
        /// Until it is started, in milliseconds.
        delay_ms: u64,
        /// What it ended with, if it ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i64>,
        /// What it last said of itself, one line.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_error: Option<String>,
    },
    /// A unit finished a cycle; the next one will be started.
    UnitCycleFinished {
        /// Which unit.
        unit: SubjectToken,
        /// The how many-th restart the next cycle is.
        attempt: u32,
        /// How many it may have.
        max_restarts: u32,
        /// How long the cycle ran, in milliseconds.
        uptime_ms: u64,
        /// Until the next one begins, in milliseconds.
        delay_ms: u64,
    },
    /// A restarted unit says that it is at work again.
    UnitRecovered {
        /// Which unit.
        unit: SubjectToken,
        /// Since its failure was noticed, in milliseconds.
        after_ms: u64,
    },
    /// A unit stays down until a person acts.
    UnitQuarantined {
        /// Which unit.
        unit: SubjectToken,
        /// Why, and what to do.
        reason: String,
        /// Restarts so far.
        restarts: u32,
        /// Failures in a row.
        consecutive_failures: u32,
        /// What it last ended with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i64>,
    },
    /// A unit stays down because that is what was wanted.
    UnitStopped {
        /// Which unit.
        unit: SubjectToken,
        /// Who or what wanted it.
        reason: String,
    },
    /// Something happened to a unit that the watchdog may only observe.
    UnitRestartSkipped {
        /// Which unit.
        unit: SubjectToken,
        /// What happened, and why nothing is done about it.
        reason: String,
    },
    /// A unit says of itself for long that it does not do what it is there for.
    UnitHealthCritical {
        /// Which unit.
        unit: SubjectToken,
        /// For how long so far, in milliseconds.
        for_ms: u64,
        /// Why, in its own words.
        reason: String,
    },
    /// A person ordered something about a unit.
    UnitCommandExecuted {
        /// Which unit.
        unit: SubjectToken,
        /// The order's verb.
        command: String,
        /// Who ordered it.
        by: String,
        /// Why, if that was said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The owner gave an order, and had an answer to it.
    OperatorCommandExecuted {
        /// Who gave it.
        by: String,
        /// It, in one line.
        command: String,
        /// What came of it, in one line.
        result: String,
    },
    /// Somebody gave an order who may not; nothing was done. Not each time: once an hour for each of them.
    UnauthorizedCommand {
        /// Who.
        by: String,
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
            Self::BookAcquired { .. } => "book_acquired",
            Self::BookLost { .. } => "book_lost",
            Self::BookHalted { .. } => "book_halted",
            Self::BookUnhalted { .. } => "book_unhalted",
            Self::EntryDropped { .. } => "entry_dropped",
            Self::PositionOpened { .. } => "position_opened",
            Self::PositionClosed { .. } => "position_closed",
            Self::BreakerTripped { .. } => "breaker_tripped",
            Self::BreakerReset { .. } => "breaker_reset",
            Self::EntriesLocked { .. } => "entries_locked",
            Self::OrderOutcomeUnknown { .. } => "order_outcome_unknown",
            Self::OrderRejected { .. } => "order_rejected",
            Self::AccountLatched { .. } => "account_latched",
            Self::EntriesPaused { .. } => "entries_paused",
            Self::EntriesResumed { .. } => "entries_resumed",
            Self::AccountUnlatched { .. } => "account_unlatched",
            Self::HealthChanged { .. } => "health_changed",
            Self::ComponentFailed { .. } => "component_failed",
            Self::ComponentRecovered { .. } => "component_recovered",
            Self::ServiceRestartScheduled { .. } => "service_restart_scheduled",
            Self::ServiceRecovered { .. } => "service_recovered",
            Self::ServiceStarted { .. } => "service_started",
            Self::WatchdogStarted { .. } => "watchdog_started",
            Self::UnitRestartScheduled { .. } => "unit_restart_scheduled",
            Self::UnitCycleFinished { .. } => "unit_cycle_finished",
            Self::UnitRecovered { .. } => "unit_recovered",
            Self::UnitQuarantined { .. } => "unit_quarantined",
            Self::UnitStopped { .. } => "unit_stopped",
            Self::UnitRestartSkipped { .. } => "unit_restart_skipped",
            Self::UnitHealthCritical { .. } => "unit_health_critical",
            Self::UnitCommandExecuted { .. } => "unit_command_executed",
            Self::OperatorCommandExecuted { .. } => "operator_command_executed",
            Self::UnauthorizedCommand { .. } => "unauthorized_command",
        }
    }

    /// How much this kind matters.
    pub const fn severity(&self) -> Severity {
        match self {
            Self::BookHalted { .. }
            | Self::UnitQuarantined { .. }
            | Self::AccountLatched { .. } => Severity::Critical,
            Self::BookLost { .. }
            | Self::BookUnhalted { .. }
            | Self::BreakerTripped { .. }
            | Self::OrderOutcomeUnknown { .. }
            | Self::OrderRejected { .. }
            | Self::AccountUnlatched { .. }
            | Self::EntriesPaused { .. }
            | Self::EntriesResumed { .. }
            | Self::HealthChanged { .. }
            | Self::ComponentFailed { .. }
            | Self::ServiceRestartScheduled { .. }
            | Self::UnitRestartScheduled { .. }
            | Self::UnitRestartSkipped { .. }
            | Self::UnitHealthCritical { .. }
            | Self::UnauthorizedCommand { .. } => Severity::Warning,
            Self::TraderStarted { .. }
            | Self::TraderStopped { .. }
            | Self::BookAcquired { .. }
            | Self::EntryDropped { .. }
            | Self::PositionOpened { .. }
            | Self::PositionClosed { .. }
            | Self::BreakerReset { .. }
            | Self::EntriesLocked { .. }
            | Self::ComponentRecovered { .. }
            | Self::ServiceRecovered { .. }
            | Self::ServiceStarted { .. }
            | Self::WatchdogStarted { .. }
            | Self::UnitCycleFinished { .. }
            | Self::UnitRecovered { .. }
            | Self::UnitStopped { .. }
            | Self::UnitCommandExecuted { .. }
            | Self::OperatorCommandExecuted { .. } => Severity::Info,
        }
    }
}
