//! State of a book: the fold of its records. A record that cannot follow is an error, for which the caller halts the book;
//! folding never panics.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::VERSION;
use protocol::ids::SubjectToken;
use protocol::journal::JournalBatch;
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::book::{
    BookConfig, BookRecord, Entry, ExchangeRejection, ExitReason, LostEntry, Position, Trade,
    Writer,
};
use crate::circuit_breaker::Breaker;
use crate::entry::SignalRejection;
use crate::fixed_point::{Price, Qty, SCALE, notional};
use crate::orders::{ClientOrderId, Fill, FillCosts, Leg, Order, OrderStatus, TrackedOrder};
use crate::performance::Performance;
use crate::protections::{ClosedTradeView, EntryLockKind, MAX_REMEMBERED_TRADES};

/// State of one book.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookState {
    /// Process that writes the book's journal; `None` before the first.
    pub writer: Option<Writer>,
    /// Configuration of the writer; `None` before the first.
    pub config: Option<BookConfig>,
    /// Phase that follows from the last records.
    pub phase: BookPhase,
    /// Capital of the book, in the quote currency.
    pub capital: Decimal,
    /// Capital plus the profit of all closed positions, after fees and funding, in the quote currency.
    pub equity: Decimal,
    /// Fees paid so far, the entry of an open position included.
    pub fees: Decimal,
    /// Funding paid so far, that of an open position included; negative if received.
    pub funding: Decimal,
    /// Number of closed positions.
    pub trades: u64,
    /// Number of closed positions with a profit after fees.
    pub winning_trades: u64,
    /// Close time of the newest bar on which an entry was decided: no bar is entered twice.
    pub entered_bar: Option<UtcMs>,
    /// Open time of the newest candle that filled or dropped something: no candle is used twice.
    pub used_candle: Option<UtcMs>,
    /// Close time of the newest bar whose signal was rejected: no signal is rejected twice.
    pub rejected_bar: Option<UtcMs>,
    /// Rejected signals, by reason.
    pub rejected_signals: BTreeMap<SignalRejection, RejectedSignals>,
    /// Entry orders that the exchange rejected, by error code.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rejected_entries: BTreeMap<i64, RejectedEntries>,
    /// Circuit breakers of the book that are tripped.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tripped_breakers: BTreeSet<Breaker>,
    /// Entry locks and the market time at which each ends.
    pub locks: BTreeMap<EntryLockKind, UtcMs>,
    /// Losses in a row since the consecutive-losses breaker last tripped.
    pub consecutive_losses: u32,
    /// The newest trades, oldest first, at most [`MAX_REMEMBERED_TRADES`].
    pub recent_trades: VecDeque<ClosedTradeView>,
    /// Sums over all closed trades.
    pub performance: Performance,
    /// Orders of the pending entry or the open position, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<TrackedOrder>,
    /// The newest entries that were dropped because their orders never reached the exchange, oldest first, at most
    /// three. Such an order may appear after all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost_entries: Vec<LostEntry>,
    /// Change of the account's balance by all orders and funding payments so far, in the quote currency.
    #[serde(default, skip_serializing_if = "Decimal::is_zero")]
    pub balance_change: Decimal,
    /// Time of the newest recorded funding; `None` before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_funding_at: Option<UtcMs>,
}

/// Lost entries that a book remembers.
const MAX_LOST_ENTRIES: usize = 3;

/// The signals of a book that were rejected for one reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedSignals {
    /// Number of signals.
    pub count: u64,
    /// Close time of the newest bar with such a signal.
    pub last_bar: UtcMs,
}

/// The entry orders of a book that the exchange rejected with one error code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedEntries {
    /// Number of orders.
    pub count: u64,
    /// Exchange time of the newest such order.
    pub last_at: UtcMs,
    /// Error text of the newest rejection, in one line.
    pub text: String,
}

/// Phase of a book.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BookPhase {
    /// No capital has been allocated yet.
    #[default]
    Unopened,
    /// No position; waits for a signal.
    Flat,
    /// An entry is decided, and fills at the next candle's open or through its order.
    EntryPending(Entry),
    /// The book has a position.
    Open(Position),
    /// The book does not trade until the operator unhalts it.
    Halted {
        /// Reason of the halt.
        reason: String,
        /// Position at the halt, not managed since; `None` if there was none.
        position: Option<Position>,
        /// Pending entry at the halt; `None` if there was none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        entry: Option<Entry>,
    },
}

/// Error of folding a journal. The caller halts the book.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// The batch was written by a newer program.
    #[error(
        "journal batch has version {version}: expected at most {VERSION}; start a newer version of the program"
    )]
    UnsupportedVersion {
        /// Version of the batch.
        version: u16,
    },
    /// The record cannot follow the records before it.
    #[error("unexpected record {record} for a book that is {phase}")]
    UnexpectedRecord {
        /// Kind of the record.
        record: &'static str,
        /// Phase of the book before it.
        phase: &'static str,
    },
    /// The equity in the record is not what the records before it add up to.
    #[error("equity mismatch: the record has {recorded}, the records before it add up to {folded}")]
    EquityMismatch {
        /// Equity in the record.
        recorded: Decimal,
        /// Equity that the records before it add up to.
        folded: Decimal,
    },
}

impl BookPhase {
    /// Name in logs, reports and `status`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Unopened => "unopened",
            Self::Flat => "flat",
            Self::EntryPending(_) => "entry_pending",
            Self::Open(_) => "open",
            Self::Halted { .. } => "halted",
        }
    }
}

impl BookState {
    /// The open position, also of a halted book; `None` if there is none.
    pub const fn position(&self) -> Option<&Position> {
        match &self.phase {
            BookPhase::Open(position) => Some(position),
            BookPhase::Halted { position, .. } => position.as_ref(),
            BookPhase::Unopened | BookPhase::Flat | BookPhase::EntryPending(_) => None,
        }
    }

    /// The entry lock that is active at this market time, with its end; the one that lasts longest of several; `None`
    /// if there is none.
    pub fn active_lock(&self, market_now: UtcMs) -> Option<(EntryLockKind, UtcMs)> {
        let active = self.locks.iter().filter(|(_, until)| **until > market_now);
        active
            .max_by_key(|(_, until)| **until)
            .map(|(lock, until)| (*lock, *until))
    }

    /// Folds one journal batch.
    ///
    /// # Errors
    /// [`FoldError`]. The state may then contain a part of the batch, and must not be used.
    pub fn fold(&mut self, batch: &JournalBatch<BookRecord>) -> Result<(), FoldError> {
        if batch.v > VERSION {
            return Err(FoldError::UnsupportedVersion { version: batch.v });
        }
        self.apply_all(&batch.records)
    }

    /// Folds the records of one decision.
    ///
    /// # Errors
    /// [`FoldError`], as for [`Self::fold`].
    pub fn apply_all(&mut self, records: &[BookRecord]) -> Result<(), FoldError> {
        records.iter().try_for_each(|record| self.apply(record))
    }

    /// Folds one record.
    ///
    /// # Errors
    /// [`FoldError`] if the record cannot follow. The state is then unchanged.
    pub fn apply(&mut self, record: &BookRecord) -> Result<(), FoldError> {
        match (&self.phase, record) {
            (
                _,
                BookRecord::WriterChanged {
                    boot,
                    instance,
                    config,
                    ..
                },
            ) => self.writer_changed(boot, instance, config),
            (BookPhase::Unopened, BookRecord::BookOpened { capital, .. }) => {
                self.book_opened(*capital);
            }
            (BookPhase::Flat, BookRecord::CapitalChanged { capital }) => {
                self.capital_changed(*capital);
            }
            (BookPhase::Flat, BookRecord::EntryDecided(entry)) => self.entry_decided(entry),
            (BookPhase::Flat, BookRecord::EntryAdopted(lost)) => self.entry_adopted(lost),
            (BookPhase::EntryPending(_), BookRecord::EntryDropped { at, .. }) => {
                self.entry_dropped(*at);
            }
            (BookPhase::EntryPending(_), BookRecord::PositionOpened(position)) => {
                self.position_opened(position);
            }
            (BookPhase::Open(_), BookRecord::FundingPaid { at, amount }) => {
                self.funding_paid(*at, *amount);
            }
            (BookPhase::Open(position), BookRecord::PositionClosed(trade)) => {
                let opened = position.at;
                self.position_closed(opened, trade)?;
            }
            (
                BookPhase::Flat | BookPhase::EntryPending(_) | BookPhase::Open(_),
                BookRecord::SignalRejected {
                    bar_close, reason, ..
                },
            ) => self.signal_rejected(*bar_close, *reason),
            (BookPhase::Flat, BookRecord::EntriesLocked { lock, until, .. }) => {
                self.lock_entries(*lock, *until);
            }
            (
                BookPhase::Flat | BookPhase::EntryPending(_) | BookPhase::Open(_),
                BookRecord::BreakerTripped { breaker, .. },
            ) => {
                self.tripped_breakers.insert(*breaker);
            }
            (
                BookPhase::Flat | BookPhase::EntryPending(_) | BookPhase::Open(_),
                BookRecord::BreakerReset { breaker, .. },
            ) => {
                self.tripped_breakers.remove(breaker);
            }
            (BookPhase::EntryPending(_) | BookPhase::Open(_), BookRecord::OrderIntended(order)) => {
                self.order_intended(order);
            }
            (BookPhase::EntryPending(_) | BookPhase::Open(_), record)
                if self.is_about_known_order(record) =>
            {
                self.order_status_changed(record);
            }
            (
                BookPhase::Unopened
                | BookPhase::Flat
                | BookPhase::EntryPending(_)
                | BookPhase::Open(_),
                BookRecord::BookHalted { reason },
            ) => self.book_halted(reason),
            (
                BookPhase::Halted {
                    position, entry, ..
                },
                BookRecord::BookUnhalted { .. },
            ) => self.book_unhalted(*position, *entry),
            (phase, record) => {
                return Err(FoldError::UnexpectedRecord {
                    record: record.kind(),
                    phase: phase.as_str(),
                });
            }
        }
        Ok(())
    }

    fn writer_changed(
        &mut self,
        boot: &SubjectToken,
        instance: &SubjectToken,
        config: &BookConfig,
    ) {
        self.config = Some(config.clone());
        self.writer = Some(Writer {
            instance: instance.clone(),
            boot: boot.clone(),
        });
        // The last writer may have submitted them.
        for tracked in &mut self.orders {
            if tracked.status == OrderStatus::Intended {
                let since = tracked.order.at;
                tracked.status = OrderStatus::OutcomeUnknown { since };
            }
        }
    }

    fn book_opened(&mut self, capital: Decimal) {
        self.capital = capital;
        self.equity = capital;
        self.performance.start(capital);
        self.phase = BookPhase::Flat;
    }

    fn capital_changed(&mut self, capital: Decimal) {
        let by = capital.saturating_sub(self.capital);
        self.capital = capital;
        self.equity = self.equity.saturating_add(by);
        self.performance.capital_changed(by);
        // Protections look for drawdowns by trades, not by changes of capital.
        self.recent_trades.clear();
    }

    fn signal_rejected(&mut self, bar_close: UtcMs, reason: SignalRejection) {
        self.rejected_bar = Some(bar_close);
        let rejected = self.rejected_signals.entry(reason).or_default();
        rejected.count += 1;
        rejected.last_bar = bar_close;
    }

    fn lock_entries(&mut self, lock: EntryLockKind, until: UtcMs) {
        if lock == EntryLockKind::ConsecutiveLosses {
            self.consecutive_losses = 0;
        }
        self.locks.insert(lock, until);
    }

    fn entry_decided(&mut self, entry: &Entry) {
        self.entered_bar = Some(entry.bar_close);
        self.phase = BookPhase::EntryPending(*entry);
    }

    fn entry_dropped(&mut self, at: UtcMs) {
        self.orders.clear();
        self.used_candle = Some(at);
        self.phase = BookPhase::Flat;
    }

    /// Keeps the entry whose order was believed lost: the exchange may show it later.
    fn remember_lost_entry(&mut self, order: Order) {
        let BookPhase::EntryPending(entry) = self.phase else {
            return;
        };
        if self.lost_entries.len() >= MAX_LOST_ENTRIES {
            self.lost_entries.remove(0);
        }
        self.lost_entries.push(LostEntry { entry, order });
    }

    fn entry_adopted(&mut self, lost: &LostEntry) {
        let id = &lost.order.client_order_id;
        self.lost_entries
            .retain(|lost| lost.order.client_order_id != *id);
        let status = OrderStatus::OutcomeUnknown {
            since: lost.order.at,
        };
        self.orders = vec![TrackedOrder {
            order: lost.order.clone(),
            status,
        }];
        self.phase = BookPhase::EntryPending(lost.entry);
    }

    fn position_opened(&mut self, position: &Position) {
        self.used_candle = Some(position.at);
        self.fees = self.fees.saturating_add(position.fee);
        self.phase = BookPhase::Open(*position);
    }

    fn funding_paid(&mut self, at: UtcMs, amount: Decimal) {
        // Marks the candle as used: if it is delivered again after a restart, funding is not paid twice.
        self.used_candle = Some(at);
        self.last_funding_at = Some(at);
        self.funding = self.funding.saturating_add(amount);
        self.balance_change = self.balance_change.saturating_sub(amount);
        if let BookPhase::Open(position) = &mut self.phase {
            position.funding = position.funding.saturating_add(amount);
        }
    }

    fn position_closed(&mut self, opened: UtcMs, trade: &Trade) -> Result<(), FoldError> {
        let folded = self.equity.saturating_add(trade.pnl);
        if folded != trade.equity {
            return Err(FoldError::EquityMismatch {
                recorded: trade.equity,
                folded,
            });
        }
        self.equity = folded;
        self.fees = self.fees.saturating_add(trade.fee);
        self.trades += 1;
        self.winning_trades += u64::from(trade.pnl > Decimal::ZERO);
        self.used_candle = Some(trade.at);
        let lost = trade.pnl < Decimal::ZERO;
        self.consecutive_losses = if lost { self.consecutive_losses + 1 } else { 0 };
        self.remember_trade(trade);
        self.performance
            .add_trade(opened, trade.at, trade.pnl, folded);
        self.orders.clear();
        self.phase = BookPhase::Flat;
        Ok(())
    }

    fn order_intended(&mut self, order: &Order) {
        if order.leg == Leg::Entry && order.reason != Some(ExitReason::External) {
            // It replaces an entry that a filter refused.
            self.orders.clear();
        }
        let (order, status) = (order.clone(), OrderStatus::Intended);
        self.orders.push(TrackedOrder { order, status });
    }

    /// Whether the record is about an order of this book.
    fn is_about_known_order(&self, record: &BookRecord) -> bool {
        client_order_id_in(record).is_some_and(|id| self.order(id).is_some())
    }

    fn order_status_changed(&mut self, record: &BookRecord) {
        let status = match record {
            BookRecord::OrderOutcomeUnknown { at, .. } => {
                OrderStatus::OutcomeUnknown { since: *at }
            }
            BookRecord::OrderAccepted { .. } => OrderStatus::Accepted,
            BookRecord::OrderFilled { fill, .. } => OrderStatus::Filled(*fill),
            BookRecord::OrderClosedUnfilled {
                code, canceled_at, ..
            } => OrderStatus::ClosedUnfilled {
                code: *code,
                canceled_at: *canceled_at,
            },
            BookRecord::OrderCostsRecorded {
                client_order_id: id,
                costs,
            } => return self.order_costs_recorded(id, *costs),
            _ => return,
        };
        let id = client_order_id_in(record);
        let known_order = self
            .orders
            .iter_mut()
            .find(|o| Some(&o.order.client_order_id) == id);
        let Some(tracked) = known_order else {
            return;
        };
        let was_unknown = tracked.is_outcome_unknown();
        tracked.status = status;
        if was_unknown && tracked.order.leg == Leg::Entry && tracked.is_lost() {
            let order = tracked.order.clone();
            return self.remember_lost_entry(order);
        }
        if let BookRecord::OrderClosedUnfilled {
            code: Some(code),
            reason,
            ..
        } = record
            && tracked.order.leg == Leg::Entry
        {
            let at = tracked.order.at;
            return self.entry_rejected(*code, reason, at);
        }
        let is_external = tracked.order.reason == Some(ExitReason::External);
        if let OrderStatus::Filled(fill) = &tracked.status {
            let (fill, leg) = (*fill, tracked.order.leg);
            let change = fill.costs.map(|costs| costs.balance_change());
            let change = change.unwrap_or(Decimal::ZERO);
            self.balance_change = self.balance_change.saturating_add(change);
            if is_external && leg == Leg::Entry {
                self.position_increased(&fill);
            }
        }
    }

    /// The operator added to the position on the exchange.
    fn position_increased(&mut self, fill: &Fill) {
        let BookPhase::Open(position) = &mut self.phase else {
            return;
        };
        let fee = fill.costs.map_or(Decimal::ZERO, |costs| costs.fee);
        if let Some(mean) = mean_price(position, fill) {
            position.entry_price = mean;
        }
        position.quantity = Qty::from_units(
            position
                .quantity
                .units()
                .saturating_add(fill.quantity.units()),
        );
        position.fee = position.fee.saturating_add(fee);
        self.fees = self.fees.saturating_add(fee);
    }

    fn entry_rejected(&mut self, code: i64, text: &str, at: UtcMs) {
        let count = self.rejected_entries.get(&code).map_or(0, |r| r.count);
        let rejected = RejectedEntries {
            count: count + 1,
            last_at: at,
            text: text.to_owned(),
        };
        self.rejected_entries.insert(code, rejected);
    }

    /// The newest rejection of an entry order with this code; `None` if there was none.
    pub fn exchange_rejection(&self, code: i64) -> Option<ExchangeRejection> {
        let rejected = self.rejected_entries.get(&code)?;
        let text = rejected.text.clone();
        Some(ExchangeRejection { code, text })
    }

    /// The fee of an entry is an estimate until its trades have been read.
    fn order_costs_recorded(&mut self, id: &ClientOrderId, costs: FillCosts) {
        let Some(tracked) = self
            .orders
            .iter_mut()
            .find(|o| o.order.client_order_id == *id)
        else {
            return;
        };
        let OrderStatus::Filled(fill) = &mut tracked.status else {
            return;
        };
        fill.costs = Some(costs);
        let is_entry = tracked.order.leg == Leg::Entry;
        self.balance_change = self.balance_change.saturating_add(costs.balance_change());
        let of_entries = self.orders.iter().filter(|o| o.order.leg == Leg::Entry);
        let fees = of_entries.filter_map(|o| o.fill()?.costs.map(|costs| costs.fee));
        let fee = fees.fold(Decimal::ZERO, Decimal::saturating_add);
        if let (true, BookPhase::Open(position)) = (is_entry, &mut self.phase) {
            let more = fee.saturating_sub(position.fee);
            self.fees = self.fees.saturating_add(more);
            position.fee = fee;
        }
    }

    /// The order with this id, of the pending entry or the open position; `None` if there is none.
    pub fn order(&self, id: &ClientOrderId) -> Option<&TrackedOrder> {
        self.orders.iter().find(|o| o.order.client_order_id == *id)
    }

    fn remember_trade(&mut self, trade: &Trade) {
        if self.recent_trades.len() == MAX_REMEMBERED_TRADES {
            self.recent_trades.pop_front();
        }
        self.recent_trades.push_back(ClosedTradeView {
            at: trade.at,
            reason: trade.reason,
            pnl: trade.pnl,
            equity: trade.equity,
        });
    }

    fn book_halted(&mut self, reason: &str) {
        let entry = match &self.phase {
            BookPhase::EntryPending(entry) => Some(*entry),
            _ => None,
        };
        self.phase = BookPhase::Halted {
            reason: reason.to_owned(),
            position: self.position().copied(),
            entry,
        };
    }

    /// Returns to the phase before the halt. The orders were kept; the next writer queries them.
    fn book_unhalted(&mut self, position: Option<Position>, entry: Option<Entry>) {
        self.phase = match (position, entry) {
            (Some(position), _) => BookPhase::Open(position),
            (None, Some(entry)) => BookPhase::EntryPending(entry),
            (None, None) if self.capital.is_zero() => BookPhase::Unopened,
            (None, None) => BookPhase::Flat,
        };
    }
}

/// Mean entry price of a position and a fill that adds to it, rounded to 1e-8; `None` for amounts beyond all bounds.
fn mean_price(position: &Position, fill: &Fill) -> Option<Price> {
    let worth = notional(position.entry_price, position.quantity)
        .checked_add(notional(fill.price, fill.quantity))?;
    let quantity = position.quantity.to_decimal() + fill.quantity.to_decimal();
    let mean = worth.checked_div(quantity)?;
    Price::from_decimal(mean.round_dp(SCALE)).ok()
}

/// The order that a record is about; `None` for records of other kinds.
const fn client_order_id_in(record: &BookRecord) -> Option<&ClientOrderId> {
    match record {
        BookRecord::OrderOutcomeUnknown {
            client_order_id: id,
            ..
        }
        | BookRecord::OrderAccepted {
            client_order_id: id,
        }
        | BookRecord::OrderFilled {
            client_order_id: id,
            ..
        }
        | BookRecord::OrderClosedUnfilled {
            client_order_id: id,
            ..
        }
        | BookRecord::OrderCostsRecorded {
            client_order_id: id,
            ..
        } => Some(id),
        _ => None,
    }
}

/// Open time of the first base candle that a book needs after a restart: the candle of its pending entry, or the one in
/// which its position was opened (used already, and therefore ignored). `None` if it needs no past candle.
pub const fn first_needed_candle(state: &BookState) -> Option<UtcMs> {
    match &state.phase {
        BookPhase::EntryPending(entry) => Some(entry.enter_at),
        BookPhase::Open(position) => Some(position.at),
        BookPhase::Unopened | BookPhase::Flat | BookPhase::Halted { .. } => None,
    }
}
