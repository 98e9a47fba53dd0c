//! Events for the operator and for other services: severity, kind and payload.

use std::collections::BTreeMap;
use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::ids::{AccountKey, BookKey, Mode, SubjectToken};
use crate::time::UtcMs;
use crate::unit_remedy::UnitRemedy;

/// How urgent an event is for the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Information only; the operator does not need to act.
    Info,
    /// The operator should check the cause, but not at once.
    Warning,
    /// The operator should act at once.
    Critical,
}

impl Severity {
    /// All severities, in ascending order.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// Name in subjects and messages.
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

/// One event. The subject names the process that published it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Version of the message.
    pub v: u16,
    /// Id of the event; a repeat has the same id.
    pub id: String,
    /// Time of the event, wall clock.
    pub at: UtcMs,
    /// Severity, which follows from the kind.
    pub severity: Severity,
    /// Kind of the event, with the fields of that kind.
    #[serde(flatten)]
    pub body: EventBody,
}

impl Event {
    /// Event of this version, with the severity of its kind.
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

/// Side of a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PositionSide {
    /// Bought; gains when the price rises.
    Long,
    /// Sold; gains when the price falls.
    Short,
}

impl PositionSide {
    /// Name in logs and messages.
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

/// A position that is open while its account is latched, or an entry that may still open one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenPosition {
    /// Symbol of the position.
    pub symbol: SubjectToken,
    /// Quantity in base units: positive long, negative short. Zero for an entry that may still fill.
    pub quantity: Decimal,
    /// Price of the stop that protects the position; `None` if nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_price: Option<Decimal>,
    /// What prevents the close or is uncertain, in one line; `None` if the position is being closed as usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl OpenPosition {
    /// Beginning of the note of a halted book, which closes its position only after an unhalt.
    pub const HALTED: &str = "the book is halted";

    /// Whether the book is halted.
    pub fn is_halted(&self) -> bool {
        let note = self.note.as_deref();
        note.is_some_and(|note| note.starts_with(Self::HALTED))
    }
}

/// Kind of an event with its payload. Prices and amounts are in the quote currency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "payload", rename_all = "snake_case")]
pub enum EventBody {
    /// A trader has started trading.
    TraderStarted {
        /// Mode of the trader.
        mode: Mode,
        /// Symbols that the trader may trade.
        symbols: Vec<SubjectToken>,
        /// Command line of the trader.
        flags: Vec<String>,
        /// Version of the program.
        version: String,
        /// Symbols whose signal was missed because the book was not ready in time.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        missed_signals: Vec<SubjectToken>,
    },
    /// A trader exited in an orderly way.
    TraderStopped {
        /// Why the trader exited.
        reason: String,
        /// Exit code of the process.
        exit_code: u8,
        /// Uptime of the process in milliseconds.
        uptime_ms: u64,
    },
    /// An instance has acquired a book of another instance, one that it had lost, or one with changed settings.
    BookAcquired {
        /// Book of the event.
        book: BookKey,
        /// Instance that acquired the book, which need not be the publisher; `None` for the publisher itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<SubjectToken>,
        /// Instance that had the book before; `None` if none had it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous: Option<SubjectToken>,
        /// Settings that differ from those of the previous writer, each as `name: old -> new`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        config_changes: Vec<String>,
    },
    /// An instance has lost a book to another instance.
    BookLost {
        /// Book of the event.
        book: BookKey,
        /// How the loss was detected.
        reason: String,
    },
    /// A book is halted and does not trade until an operator unhalts it.
    BookHalted {
        /// Book of the event.
        book: BookKey,
        /// Why the book was halted.
        reason: String,
    },
    /// An operator ended the halt of a book.
    BookUnhalted {
        /// Book of the event.
        book: BookKey,
        /// Operator who gave the command.
        by: String,
        /// Reason the operator gave.
        reason: String,
    },
    /// A decided entry was not made.
    EntryDropped {
        /// Book of the event.
        book: BookKey,
        /// Why the entry was not made.
        reason: String,
        /// Error code with which the exchange rejected the order; `None` if it did not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<i64>,
        /// Error text of the exchange; `None` if it did not reject the order.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    /// A position was opened.
    PositionOpened {
        /// Book of the event.
        book: BookKey,
        /// Strategy whose signal opened the position.
        strategy: SubjectToken,
        /// Side of the position.
        side: PositionSide,
        /// Quantity in base units.
        quantity: Decimal,
        /// Fill price of the entry.
        entry_price: Decimal,
        /// Price at which the stop order closes the position.
        stop_price: Decimal,
        /// Price at which the target order closes the position.
        target_price: Decimal,
    },
    /// A position was closed.
    PositionClosed {
        /// Book of the event.
        book: BookKey,
        /// Strategy whose signal opened the position.
        strategy: SubjectToken,
        /// Side of the position.
        side: PositionSide,
        /// Quantity in base units.
        quantity: Decimal,
        /// Fill price of the entry.
        entry_price: Decimal,
        /// Fill price of the exit.
        exit_price: Decimal,
        /// Exit reason: stop, target, or a circuit breaker.
        reason: String,
        /// Profit or loss after fees.
        pnl: Decimal,
        /// Equity of the book after the exit.
        equity: Decimal,
    },
    /// A circuit breaker that resets by itself has tripped.
    BreakerTripped {
        /// Book of the breaker, or the exchange adapter.
        scope: String,
        /// Name of the breaker.
        breaker: String,
        /// Why the breaker tripped, and its effect.
        reason: String,
    },
    /// A circuit breaker has reset.
    BreakerReset {
        /// Book of the breaker, or the exchange adapter.
        scope: String,
        /// Name of the breaker.
        breaker: String,
    },
    /// Entries of a book are locked for a time.
    EntriesLocked {
        /// Book of the event.
        book: BookKey,
        /// Protection or breaker that locks the entries.
        lock: String,
        /// Why the entries are locked.
        reason: String,
        /// End of the lock, in exchange time.
        until: UtcMs,
    },
    /// The outcome of an order is unknown. The trader queries the order and does not send it again.
    OrderOutcomeUnknown {
        /// Book of the event.
        book: BookKey,
        /// Leg of the order: entry, stop, target or exit.
        leg: String,
        /// Id that the trader gave the order.
        client_order_id: String,
        /// Error of the call.
        error: String,
    },
    /// The exchange rejected an order.
    OrderRejected {
        /// Book of the event.
        book: BookKey,
        /// Leg of the order: entry, stop, target or exit.
        leg: String,
        /// Id that the trader gave the order.
        client_order_id: String,
        /// Error code of the exchange.
        code: i64,
        /// Error text of the exchange.
        reason: String,
    },
    /// A position has no stop that works on the exchange. The trader places one.
    PositionUnprotected {
        /// Book of the event.
        book: BookKey,
        /// Quantity in base units: positive long, negative short.
        quantity: Decimal,
        /// For how long the position has had no stop, in milliseconds; not counted before the first look.
        unprotected_ms: u64,
    },
    /// A position that had no stop has one again, or is closed.
    PositionProtected {
        /// Book of the event.
        book: BookKey,
        /// For how long the position had no stop, in milliseconds.
        unprotected_ms: u64,
    },
    /// An account breaker or an operator latched the account: all positions are closed and entries are locked until an
    /// operator ends the latch.
    AccountLatched {
        /// Account of the event.
        account: AccountKey,
        /// Id that ends the latch.
        latch_id: String,
        /// Name of the account breaker, or `operator`.
        trigger: String,
        /// Equity of the account, including unrealized profit.
        equity: Decimal,
        /// Peak that the equity fell from.
        peak: Decimal,
        /// Positions that are being closed; empty if none is open.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        positions: Vec<OpenPosition>,
        /// Operator who gave the command; `None` if a breaker tripped.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
        /// Reason the operator gave; `None` if a breaker tripped.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A latched account is flat: every journal of its books says so, and in live mode the exchange too.
    AccountFlattened {
        /// Account of the event.
        account: AccountKey,
        /// Id of the latch.
        latch_id: String,
        /// Positions that were closed since the latch.
        trades: u64,
        /// Profit or loss of these positions after fees and funding.
        pnl: Decimal,
        /// Equity of all books afterwards.
        equity: Decimal,
    },
    /// Positions of a latched account are still open. Repeated with growing intervals until the account is flat.
    AccountStillOpen {
        /// Account of the event.
        account: AccountKey,
        /// Id of the latch.
        latch_id: String,
        /// Number of this reminder of the latch, from 1.
        reminder: u32,
        /// Time since the latch in milliseconds, wall clock.
        after_ms: u64,
        /// Positions that are still open, with what protects each.
        positions: Vec<OpenPosition>,
    },
    /// An operator ended a latch.
    AccountUnlatched {
        /// Account of the event.
        account: AccountKey,
        /// Id of the latch.
        latch_id: String,
        /// Operator who gave the command.
        by: String,
        /// Reason the operator gave.
        reason: String,
    },
    /// The exchange's balance differs from what the books and the exchange's list of cash flows explain. Entries are
    /// stopped until the difference explains itself or an operator accepts it; nothing is closed.
    BalanceDiffers {
        /// Account of the event.
        account: AccountKey,
        /// Id of the difference, which the operator names to accept it.
        difference_id: String,
        /// Balance on the exchange.
        balance: Decimal,
        /// Balance less what is expected.
        amount: Decimal,
        /// Sums that the exchange lists and a book's journal does not have, by symbol.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        unbooked: BTreeMap<String, Decimal>,
    },
    /// An unexplained difference of the balance has explained itself: entries are allowed again.
    BalanceExplained {
        /// Account of the event.
        account: AccountKey,
        /// Id of the difference.
        difference_id: String,
        /// Balance on the exchange.
        balance: Decimal,
    },
    /// An operator accepted an unexplained difference of the balance: entries are allowed again.
    DifferenceAccepted {
        /// Account of the event.
        account: AccountKey,
        /// Id of the difference.
        difference_id: String,
        /// Balance less what was expected.
        amount: Decimal,
        /// Operator who gave the command.
        by: String,
        /// Reason the operator gave.
        reason: String,
    },
    /// Money was moved into or out of the account on the exchange. It is neither profit nor loss.
    FundsTransferred {
        /// Account of the event.
        account: AccountKey,
        /// Amount: positive for a deposit, negative for a withdrawal.
        amount: Decimal,
        /// The exchange's name for the kind of transfer.
        name: String,
        /// Balance on the exchange afterwards.
        balance: Decimal,
        /// Equity of all books; `None` before the first valuation.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        equity: Option<Decimal>,
    },
    /// An operator paused entries; open positions are still managed.
    EntriesPaused {
        /// Account of the event.
        account: AccountKey,
        /// Symbol whose book is paused; `None` for all books.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        symbol: Option<SubjectToken>,
        /// Operator who gave the command.
        by: String,
        /// Reason the operator gave.
        reason: String,
    },
    /// An operator resumed entries.
    EntriesResumed {
        /// Account of the event.
        account: AccountKey,
        /// Symbol whose book is resumed; `None` for all books.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        symbol: Option<SubjectToken>,
        /// Operator who gave the command.
        by: String,
        /// Reason the operator gave.
        reason: String,
    },
    /// The health grade of a process has changed.
    HealthChanged {
        /// Grade before: `healthy`, `degraded` or `critical`.
        from: String,
        /// Grade after the change, in the same spelling.
        to: String,
        /// Why the grade changed.
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
        /// Service and number, such as `nats-1`.
        service: String,
        /// Time since the failure was detected, in milliseconds.
        after_ms: u64,
    },
    /// A Compose service was started by neither the watchdog nor Docker.
    ServiceStarted {
        /// Service and number, such as `nats-1`.
        service: String,
        /// What is known about the start, in one line.
        started_by: String,
    },
    /// Restarts in a row did not help a Compose service: it is not restarted until an operator releases it.
    ServiceQuarantined {
        /// Service and number, such as `nats-1`.
        service: String,
        /// What failed, in one line.
        reason: String,
        /// Restarts in a row.
        restarts: u32,
    },
    /// A watchdog has started to supervise a project on a host.
    WatchdogStarted {
        /// Compose project that the watchdog supervises.
        project: SubjectToken,
        /// Host that the watchdog supervises.
        host: SubjectToken,
        /// Version of the program.
        version: String,
    },
    /// The watchdog can judge every unit again.
    WatchdogBlindnessEnded {
        /// Length of the blindness, in milliseconds.
        for_ms: u64,
        /// What happened to units meanwhile, one line each.
        missed: Vec<String>,
    },
    /// The wall clock of a host was stepped, or the host was suspended. The watchdog's decisions do not depend on it.
    WatchdogClockStepped {
        /// Host whose clock was stepped.
        host: SubjectToken,
        /// Size of the step in milliseconds; negative if the clock was set back.
        by_ms: i64,
    },
    /// A unit exited or hung, and its restart is scheduled.
    UnitRestartScheduled {
        /// Unit: service and number, e.g. `trader-paper-1`.
        unit: SubjectToken,
        /// Number of this restart; 0 for a restart that is not counted.
        attempt: u32,
        /// Largest number of restarts.
        max_restarts: u32,
        /// Why the unit is restarted, in one line.
        reason: String,
        /// Failures in a row, including this one.
        consecutive_failures: u32,
        /// Uptime of the run in milliseconds.
        uptime_ms: u64,
        /// Delay until the start, in milliseconds.
        delay_ms: u64,
        /// Exit code of the run; `None` if the run did not exit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i64>,
        /// Last error in the log or the heartbeats of the run, in one line.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_error: Option<String>,
    },
    /// A unit finished a cycle, and the next cycle is scheduled.
    UnitCycleFinished {
        /// Unit: service and number, e.g. `trader-paper-1`.
        unit: SubjectToken,
        /// Number of the restart that begins the next cycle.
        attempt: u32,
        /// Largest number of restarts.
        max_restarts: u32,
        /// Length of the cycle in milliseconds.
        uptime_ms: u64,
        /// Delay until the next cycle, in milliseconds.
        delay_ms: u64,
    },
    /// A restarted unit works again.
    UnitRecovered {
        /// Unit: service and number, e.g. `trader-paper-1`.
        unit: SubjectToken,
        /// Time since the failure was detected, in milliseconds.
        after_ms: u64,
    },
    /// A unit is quarantined: the watchdog does not restart it until an operator releases it.
    UnitQuarantined {
        /// Unit: service and number, e.g. `trader-paper-1`.
        unit: SubjectToken,
        /// Quarantine reason, and what to do.
        reason: String,
        /// Restarts that were counted before the quarantine.
        restarts: u32,
        /// Failures in a row.
        consecutive_failures: u32,
        /// Last exit code; `None` if the last run did not exit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i64>,
        /// What ends the quarantine.
        remedy: UnitRemedy,
    },
    /// A unit is stopped as requested.
    UnitStopped {
        /// Unit: service and number, e.g. `trader-paper-1`.
        unit: SubjectToken,
        /// Who or what requested the stop.
        reason: String,
    },
    /// A unit failed, and the watchdog may not restart it.
    UnitRestartSkipped {
        /// Unit: service and number, e.g. `trader-paper-1`.
        unit: SubjectToken,
        /// What happened, and why there is no restart.
        reason: String,
        /// What brings the unit back.
        remedy: UnitRemedy,
    },
    /// The health of a unit has been critical for a long time.
    UnitHealthCritical {
        /// Unit: service and number, e.g. `trader-paper-1`.
        unit: SubjectToken,
        /// Time for which the health has been critical, in milliseconds.
        for_ms: u64,
        /// Reason that the unit gives.
        reason: String,
    },
    /// A unit needs attention although none of its runs failed.
    UnitWarning {
        /// Unit: service and number, e.g. `trader-paper-1`.
        unit: SubjectToken,
        /// What was found, in one line.
        reason: String,
    },
    /// Docker could not stop a unit that hangs.
    UnitStopFailed {
        /// Unit: service and number, e.g. `trader-paper-1`.
        unit: SubjectToken,
        /// Docker's error, in one line.
        error: String,
    },
    /// A command about a unit was executed.
    UnitCommandExecuted {
        /// Unit: service and number, e.g. `trader-paper-1`.
        unit: SubjectToken,
        /// Verb of the command.
        command: String,
        /// Operator who gave the command.
        by: String,
        /// Reason the operator gave; `None` if none was given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A command from Telegram was executed and answered.
    OperatorCommandExecuted {
        /// Operator who gave the command.
        by: String,
        /// The command in one line.
        command: String,
        /// Result in one line.
        result: String,
    },
    /// A command from an unauthorized user was ignored. Published at most once an hour for each user.
    UnauthorizedCommand {
        /// User who gave the command.
        by: String,
        /// Beginning of the command.
        command: String,
    },
}

impl EventBody {
    /// Name of the kind, in subjects and messages.
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
            Self::PositionUnprotected { .. } => "position_unprotected",
            Self::PositionProtected { .. } => "position_protected",
            Self::AccountLatched { .. } => "account_latched",
            Self::AccountFlattened { .. } => "account_flattened",
            Self::AccountStillOpen { .. } => "account_still_open",
            Self::BalanceDiffers { .. } => "balance_differs",
            Self::BalanceExplained { .. } => "balance_explained",
            Self::DifferenceAccepted { .. } => "difference_accepted",
            Self::FundsTransferred { .. } => "funds_transferred",
            Self::EntriesPaused { .. } => "entries_paused",
            Self::EntriesResumed { .. } => "entries_resumed",
            Self::AccountUnlatched { .. } => "account_unlatched",
            Self::HealthChanged { .. } => "health_changed",
            Self::ComponentFailed { .. } => "component_failed",
            Self::ComponentRecovered { .. } => "component_recovered",
            Self::ServiceRestartScheduled { .. } => "service_restart_scheduled",
            Self::ServiceRecovered { .. } => "service_recovered",
            Self::ServiceStarted { .. } => "service_started",
            Self::ServiceQuarantined { .. } => "service_quarantined",
            Self::WatchdogStarted { .. } => "watchdog_started",
            Self::WatchdogBlindnessEnded { .. } => "watchdog_blindness_ended",
            Self::WatchdogClockStepped { .. } => "watchdog_clock_stepped",
            Self::UnitRestartScheduled { .. } => "unit_restart_scheduled",
            Self::UnitCycleFinished { .. } => "unit_cycle_finished",
            Self::UnitRecovered { .. } => "unit_recovered",
            Self::UnitQuarantined { .. } => "unit_quarantined",
            Self::UnitStopped { .. } => "unit_stopped",
            Self::UnitRestartSkipped { .. } => "unit_restart_skipped",
            Self::UnitHealthCritical { .. } => "unit_health_critical",
            Self::UnitWarning { .. } => "unit_warning",
            Self::UnitStopFailed { .. } => "unit_stop_failed",
            Self::UnitCommandExecuted { .. } => "unit_command_executed",
            Self::OperatorCommandExecuted { .. } => "operator_command_executed",
            Self::UnauthorizedCommand { .. } => "unauthorized_command",
        }
    }

    /// Severity of the kind.
    pub const fn severity(&self) -> Severity {
        match self {
            Self::BookHalted { .. }
            | Self::PositionUnprotected { .. }
            | Self::UnitQuarantined { .. }
            | Self::UnitStopFailed { .. }
            | Self::ServiceQuarantined { .. }
            | Self::AccountLatched { .. }
            | Self::AccountStillOpen { .. }
            | Self::BalanceDiffers { .. } => Severity::Critical,
            Self::BookLost { .. }
            | Self::BookUnhalted { .. }
            | Self::BreakerTripped { .. }
            | Self::OrderOutcomeUnknown { .. }
            | Self::OrderRejected { .. }
            | Self::AccountFlattened { .. }
            | Self::AccountUnlatched { .. }
            | Self::DifferenceAccepted { .. }
            | Self::EntriesPaused { .. }
            | Self::EntriesResumed { .. }
            | Self::HealthChanged { .. }
            | Self::ComponentFailed { .. }
            | Self::ServiceRestartScheduled { .. }
            | Self::UnitRestartScheduled { .. }
            | Self::UnitRestartSkipped { .. }
            | Self::UnitHealthCritical { .. }
            | Self::UnitWarning { .. }
            | Self::WatchdogClockStepped { .. }
            | Self::UnauthorizedCommand { .. } => Severity::Warning,
            Self::TraderStarted { .. }
            | Self::TraderStopped { .. }
            | Self::BookAcquired { .. }
            | Self::EntryDropped { .. }
            | Self::PositionOpened { .. }
            | Self::PositionClosed { .. }
            | Self::PositionProtected { .. }
            | Self::BreakerReset { .. }
            | Self::BalanceExplained { .. }
            | Self::FundsTransferred { .. }
            | Self::EntriesLocked { .. }
            | Self::ComponentRecovered { .. }
            | Self::ServiceRecovered { .. }
            | Self::ServiceStarted { .. }
            | Self::WatchdogStarted { .. }
            | Self::WatchdogBlindnessEnded { .. }
            | Self::UnitCycleFinished { .. }
            | Self::UnitRecovered { .. }
            | Self::UnitStopped { .. }
            | Self::UnitCommandExecuted { .. }
            | Self::OperatorCommandExecuted { .. } => Severity::Info,
        }
    }
}
