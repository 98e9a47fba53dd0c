//! A book's state: only what its records say. Folding is total: a record that does not fit is an
//! error for the caller to halt the book with, never a panic.

use std::collections::{BTreeMap, VecDeque};

use protocol::VERSION;
use protocol::ids::SubjectToken;
use protocol::journal::JournalBatch;
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::book::{BookConfig, BookRecord, Entry, Position, Trade};
use crate::entry::SignalRejection;
use crate::orders::{ClientOrderId, FillCosts, Leg, Order, OrderStatus, TrackedOrder};
use crate::performance::Performance;
use crate::protections::{ClosedTradeView, EntryLockKind, MAX_REMEMBERED_TRADES};

/// Everything a book is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookState {
    /// Who took it over last.
    pub writer: Option<Writer>,
    /// What that one trades it with.
    pub config: Option<BookConfig>,
    /// Where in its life it is.
    pub phase: BookPhase,
    /// What it began with, in the quote currency.
    pub capital: Decimal,
    /// Capital plus the profit of every closed position, fees and funding deducted.
    pub equity: Decimal,
    /// Fees paid so far, an open position's entry included.
    pub fees: Decimal,
    /// Funding paid so far, an open position's included.
    pub funding: Decimal,
    /// Positions closed.
    pub trades: u64,
    /// Of those, the ones with a profit after fees.
    pub winning_trades: u64,
    /// Close of the newest bar that an entry was decided on: no bar is entered twice.
    pub entered_bar: Option<UtcMs>,
    /// Open time of the newest candle that filled or dropped something: none is used twice.
    pub used_candle: Option<UtcMs>,
    /// Close of the newest bar whose signal was refused: none is refused twice.
    pub rejected_bar: Option<UtcMs>,
    /// Signals refused so far, by reason.
    pub rejected_signals: BTreeMap<SignalRejection, u64>,
    /// The reason of the newest refusal.
    pub last_rejection: Option<SignalRejection>,
    /// What keeps it from entries, and until when.
    pub locks: BTreeMap<EntryLockKind, UtcMs>,
    /// Losses in a row since the breaker for them last tripped.
    pub consecutive_losses: u32,
    /// The newest trades, oldest first, at most [`MAX_REMEMBERED_TRADES`].
    pub recent_trades: VecDeque<ClosedTradeView>,
    /// Figures of the closed trades.
    pub performance: Performance,
    /// The orders of the pending entry or the open position, in the order in which they were decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<TrackedOrder>,
    /// Time of the newest funding taken in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_funding_at: Option<UtcMs>,
}

/// The process that owns a book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writer {
    /// Its name.
    pub instance: SubjectToken,
    /// This run of it.
    pub boot: SubjectToken,
}

/// Where in its life a book is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BookPhase {
    /// It has no capital yet.
    #[default]
    Unopened,
    /// It waits for a signal.
    Flat,
    /// An entry is decided and fills at the next candle's open.
    EntryPending(Entry),
    /// It has a position.
    Open(Position),
    /// It trades no more until a person looks.
    Halted {
        /// Why.
        reason: String,
        /// What it held at that time, unmanaged since.
        position: Option<Position>,
        /// The entry that was decided at that time, and neither made nor dropped since.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        entry: Option<Entry>,
    },
}

/// Why a journal cannot be folded. The book is to be halted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// Written by a newer build.
    #[error("journal entry has version {version}: allowed is up to {VERSION}")]
    UnsupportedVersion {
        /// Its version.
        version: u16,
    },
    /// It cannot follow what came before it.
    #[error("record {record} is not allowed for a book that is {phase}")]
    UnexpectedRecord {
        /// Its kind.
        record: &'static str,
        /// The phase it met.
        phase: &'static str,
    },
    /// Its equity is not what the records before it add up to.
    #[error("equity in the record is {recorded}: the records before it add up to {folded}")]
    EquityMismatch {
        /// In the record.
        recorded: Decimal,
        /// By folding.
        folded: Decimal,
    },
}

impl BookPhase {
    /// Its name in logs and `status`.
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
    /// The position it holds; also that of a halted book.
    pub const fn position(&self) -> Option<&Position> {
        match &self.phase {
            BookPhase::Open(position) => Some(position),
            BookPhase::Halted { position, .. } => position.as_ref(),
            BookPhase::Unopened | BookPhase::Flat | BookPhase::EntryPending(_) => None,
        }
    }

    /// The lock that keeps it from entries at this time; of several the one that lasts longest.
    pub fn active_lock(&self, market_now: UtcMs) -> Option<(EntryLockKind, UtcMs)> {
        let active = self.locks.iter().filter(|(_, until)| **until > market_now);
        active
            .max_by_key(|(_, until)| **until)
            .map(|(by, until)| (*by, *until))
    }

    /// Folds one journal message.
    ///
    /// # Errors
    /// [`FoldError`]; the state may then hold a part of the message and is not to be used.
    pub fn fold(&mut self, batch: &JournalBatch<BookRecord>) -> Result<(), FoldError> {
        if batch.v > VERSION {
            return Err(FoldError::UnsupportedVersion { version: batch.v });
        }
        self.apply_all(&batch.records)
    }

    /// Folds the records of one decision.
    ///
    /// # Errors
    /// As [`Self::fold`].
    pub fn apply_all(&mut self, records: &[BookRecord]) -> Result<(), FoldError> {
        records.iter().try_for_each(|record| self.apply(record))
    }

    /// Folds one record.
    ///
    /// # Errors
    /// [`FoldError`] when it does not fit; the state has not changed then.
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
            (
                BookPhase::Flat,
                BookRecord::EntriesLocked {
                    lock: by, until, ..
                },
            ) => self.lock_entries(*by, *until),
            (BookPhase::Flat | BookPhase::Open(_), BookRecord::BreakerTripped { .. }) => {}
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
        // The last owner may have sent them, or not.
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
        // The falls that protections look for are of trades, not of this.
        self.recent_trades.clear();
    }

    fn signal_rejected(&mut self, bar_close: UtcMs, reason: SignalRejection) {
        self.rejected_bar = Some(bar_close);
        *self.rejected_signals.entry(reason).or_default() += 1;
        self.last_rejection = Some(reason);
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

    fn position_opened(&mut self, position: &Position) {
        self.used_candle = Some(position.at);
        self.fees = self.fees.saturating_add(position.fee);
        self.phase = BookPhase::Open(*position);
    }

    fn funding_paid(&mut self, at: UtcMs, amount: Decimal) {
        // The candle is used: told again after a restart, it must not be paid for again.
        self.used_candle = Some(at);
        self.last_funding_at = Some(at);
        self.funding = self.funding.saturating_add(amount);
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
        let (order, status) = (order.clone(), OrderStatus::Intended);
        self.orders.push(TrackedOrder { order, status });
    }

    /// Whether the record is about an order of ours.
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
            BookRecord::OrderClosedUnfilled { code, .. } => {
                OrderStatus::ClosedUnfilled { code: *code }
            }
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
        if let Some(tracked) = known_order {
            tracked.status = status;
        }
    }

    /// What the entry cost was reckoned until its trades were read.
    fn order_costs_recorded(&mut self, id: &ClientOrderId, costs: FillCosts) {
        let Some(tracked) = self
            .orders
            .iter_mut()
            .find(|o| o.order.client_order_id == *id)
        else {
            return;
        };
        if let OrderStatus::Filled(fill) = &mut tracked.status {
            fill.costs = Some(costs);
        }
        if let (Leg::Entry, BookPhase::Open(position)) = (tracked.order.leg, &mut self.phase) {
            let more = costs.fee.saturating_sub(position.fee);
            self.fees = self.fees.saturating_add(more);
            position.fee = costs.fee;
        }
    }

    /// An order of the pending entry or the open position.
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

    /// Where it was when it was halted. Its orders were kept: their owner to be asks for them.
    fn book_unhalted(&mut self, position: Option<Position>, entry: Option<Entry>) {
        self.phase = match (position, entry) {
            (Some(position), _) => BookPhase::Open(position),
            (None, Some(entry)) => BookPhase::EntryPending(entry),
            (None, None) if self.capital.is_zero() => BookPhase::Unopened,
            (None, None) => BookPhase::Flat,
        };
    }
}

/// The order that a record tells of.
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

/// Open time of the first base candle that a book must be given after a restart: that of a pending
/// entry, or the one in which the position was opened (used already, and ignored as such). None when
/// no old candle matters to it.
pub const fn first_needed_candle(state: &BookState) -> Option<UtcMs> {
    match &state.phase {
        BookPhase::EntryPending(entry) => Some(entry.enter_at),
        BookPhase::Open(position) => Some(position.at),
        BookPhase::Unopened | BookPhase::Flat | BookPhase::Halted { .. } => None,
    }
}
