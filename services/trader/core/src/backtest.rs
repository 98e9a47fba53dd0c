//! Backtest of one book: the decisions of paper mode on past candles, without a journal. Equal candles give the same trades
//! as in paper mode.

use std::collections::BTreeMap;

use protocol::account_command::{AccountCommand, AccountCommandRecord};
use protocol::event::PositionSide;
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use crate::account::{self, AccountEvent, AccountRecord, AccountState, Latch};
use crate::book::{
    BookConfig, BookEvent, BookPhase, BookRecord, BookState, DecisionInputs, DropReason,
    EntryPermission, ExitReason, FoldError, Position, decide, decide_candle,
};
use crate::book_status::{self, BookStatus};
use crate::candle::Candle;
use crate::fixed_point::Price;
use crate::market_state::{MarketDataError, MarketState};
use crate::strategy::{Strategy, StrategyInputs};
use crate::symbol_filters::SymbolFilters;

const DAY_MS: i64 = 86_400_000;
/// Decimal places of a price times a quantity, both in units of 1e-8.
const PLACES: u32 = 16;

/// One book and its account on past candles.
#[derive(Debug, Clone)]
pub struct Backtest {
    config: BookConfig,
    filters: SymbolFilters,
    market: MarketState,
    book: BookState,
    account: AccountState,
    on_halt: OnHalt,
    value_bounds: ValueBounds,
    position: Option<Position>,
    last_price: Option<Price>,
    dropped_entries: BTreeMap<DropReason, u64>,
}

/// What follows when an account breaker latches the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnHalt {
    /// The account stays latched: no further entries.
    StayLatched,
    /// The account is unlatched when the next UTC day begins.
    UnlatchNextDay,
}

/// A closed position with its entry and exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosedTrade {
    /// Strategy of the signal.
    pub strategy: Strategy,
    /// Side of the closed position.
    pub side: PositionSide,
    /// Open time of the candle in which the entry filled.
    pub entry_at: UtcMs,
    /// Open time of the candle in which the exit filled.
    pub exit_at: UtcMs,
    /// Quantity in base units.
    pub quantity: Decimal,
    /// Fill price of the entry.
    pub entry_price: Decimal,
    /// Fill price of the exit.
    pub exit_price: Decimal,
    /// Both fees and the funding, in the quote currency.
    pub fees: Decimal,
    /// Funding, which `fees` includes; negative if received.
    pub funding: Decimal,
    /// Profit after fees and funding; negative for a loss.
    pub pnl: Decimal,
    /// Reason for which the position was closed.
    pub reason: ExitReason,
    /// Equity of the book after the trade.
    pub equity: Decimal,
}

/// Result of one candle.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepOutcome {
    /// Positions that the candle closed: at most one that was open before, and one that it opened.
    pub trades: Vec<ClosedTrade>,
    /// Whether the candle closed a 30-minute bar.
    pub bar_closed: bool,
    /// Latch of an account breaker that tripped; `None` if none did.
    pub latch: Option<Latch>,
}

/// Error that ends a backtest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BacktestError {
    /// The candles cannot be used.
    #[error(transparent)]
    Market(#[from] MarketDataError),
    /// A decision that cannot be applied: a bug.
    #[error("internal error: a decided record cannot be applied: {0}")]
    Record(#[from] FoldError),
}

/// Bounds of the account's equity within which no account decision is due, in units of 1e-16. Checked at every candle, so
/// in integers.
#[derive(Debug, Clone, Copy)]
struct ValueBounds {
    /// Equity of the book with its position valued at the entry price.
    base: i128,
    entry: i64,
    /// Signed quantity: negative short, zero flat.
    quantity: i64,
    trip_below: i128,
    peak: i128,
    day_ends: i64,
}

impl Backtest {
    /// A new book with this capital.
    ///
    /// # Errors
    /// [`BacktestError::Market`] if the base interval does not divide the 30-minute bar.
    pub fn new(
        config: BookConfig,
        filters: SymbolFilters,
        capital: Decimal,
        on_halt: OnHalt,
    ) -> Result<Self, BacktestError> {
        let market = MarketState::new(config.base, config.strategies.clone())?;
        let mut book = BookState::default();
        book.apply(&BookRecord::BookOpened {
            capital,
            filters: filters.clone(),
        })?;
        Ok(Self {
            config,
            filters,
            market,
            book,
            account: AccountState::default(),
            on_halt,
            value_bounds: ValueBounds::NONE,
            position: None,
            last_price: None,
            dropped_entries: BTreeMap::new(),
        })
    }

    /// Adds the next candle. Candles must be in order; missing ones count as missing on the exchange.
    ///
    /// # Errors
    /// [`BacktestError::Market`] for a candle of another interval, [`BacktestError::Record`] for a bug.
    #[inline]
    pub fn candle_closed(&mut self, candle: &Candle) -> Result<StepOutcome, BacktestError> {
        let candle_outcome = self.market.candle_closed(candle)?;
        let close = self.config.base.close_of(candle.open_time);
        let account = match self.account.latch {
            None => EntryPermission::Allowed { seq: 0 },
            Some(_) => EntryPermission::Latched,
        };
        let inputs = DecisionInputs {
            exchange_time: close,
            entry_permission: account,
            is_exchange_failing: false,
        };
        self.last_price = Some(candle.close);
        let mut step = StepOutcome {
            bar_closed: candle_outcome.bar_closed,
            ..StepOutcome::default()
        };
        let (config, filters) = (&self.config, &self.filters);
        let records = decide_candle(
            &self.book,
            config,
            filters,
            candle,
            candle_outcome.signal.as_ref(),
            inputs,
        );
        let mut is_value_changed = false;
        if !records.is_empty() {
            self.apply_records(&records, &mut step)?;
            is_value_changed = records.iter().any(changes_account_value);
        }
        if is_value_changed || self.value_bounds.are_exceeded(candle.close, close) {
            self.value_account(candle, close, &mut step)?;
        }
        Ok(step)
    }

    /// Inputs of the strategies at the newest bar; `None` during the warm-up.
    pub fn strategy_inputs(&self) -> Option<StrategyInputs> {
        self.market.strategy_inputs()
    }

    /// All configured strategies whose condition holds on these inputs.
    pub fn matching_strategies<'a>(
        &'a self,
        inputs: &'a StrategyInputs,
    ) -> impl Iterator<Item = Strategy> + 'a {
        let chosen = self.config.strategies.iter().copied();
        chosen.filter(|strategy| strategy.evaluate(inputs))
    }

    /// The newest closed 30-minute bar; `None` before the first.
    pub const fn last_bar(&self) -> Option<&Candle> {
        self.market.last_bar()
    }

    /// Figures of the book at the newest price.
    pub fn status(&self) -> BookStatus {
        book_status::status(&self.book, self.last_price)
    }

    /// Number of dropped entries, by reason.
    pub const fn dropped_entries(&self) -> &BTreeMap<DropReason, u64> {
        &self.dropped_entries
    }

    /// State of the book.
    pub const fn book(&self) -> &BookState {
        &self.book
    }

    fn apply_records(
        &mut self,
        records: &[BookRecord],
        step: &mut StepOutcome,
    ) -> Result<(), BacktestError> {
        for record in records {
            self.book.apply(record)?;
            if let BookRecord::EntryDropped { reason, .. } = record {
                *self.dropped_entries.entry(*reason).or_default() += 1;
            }
            if let (BookRecord::PositionClosed(trade), Some(position)) = (record, self.position) {
                let paid = position.fee.saturating_add(trade.fee);
                step.trades.push(ClosedTrade {
                    strategy: trade.strategy,
                    side: trade.side,
                    entry_at: position.at,
                    exit_at: trade.at,
                    quantity: trade.quantity.to_decimal(),
                    entry_price: trade.entry_price.to_decimal(),
                    exit_price: trade.exit_price.to_decimal(),
                    fees: paid.saturating_add(trade.funding).normalize(),
                    funding: trade.funding.normalize(),
                    pnl: trade.pnl,
                    reason: trade.reason,
                    equity: trade.equity,
                });
            }
            self.position = match &self.book.phase {
                BookPhase::Open(position) => Some(*position),
                _ => None,
            };
        }
        Ok(())
    }

    /// Values the account; closes the position if an account breaker trips.
    fn value_account(
        &mut self,
        candle: &Candle,
        close: UtcMs,
        step: &mut StepOutcome,
    ) -> Result<(), BacktestError> {
        if self.on_halt == OnHalt::UnlatchNextDay {
            self.unlatch_if_due(close);
        }
        let event = AccountEvent::Valued {
            at: close,
            capital: self.book.capital,
            equity: self.status().equity,
        };
        let records = account::decide(&self.account, event.clone());
        for record in &records {
            self.account.apply(record);
        }
        self.account.observe(&event);
        for record in records {
            if let AccountRecord::Latched(latch) = record {
                step.latch = Some(latch);
                let (at, price) = (candle.open_time, candle.close);
                let event = BookEvent::AccountLatched { at, price };
                let records = decide(&self.book, &self.config, &self.filters, event);
                self.apply_records(&records, step)?;
            }
        }
        self.value_bounds = ValueBounds::for_state(&self.book, &self.account, close);
        Ok(())
    }

    fn unlatch_if_due(&mut self, now: UtcMs) {
        let day = |at: UtcMs| at.0.div_euclid(DAY_MS);
        let Some(latch) = self.account.latch.as_ref().filter(|l| day(l.at) < day(now)) else {
            return;
        };
        let latch = latch.latch_id.clone();
        let command = AccountCommandRecord {
            command: AccountCommand::Unlatch { latch_id: latch },
            by: "backtest".to_owned(),
            reason: "the next day began".to_owned(),
        };
        let event = AccountEvent::CommandReceived {
            at: now,
            seq: 0,
            command,
        };
        for record in account::decide(&self.account, event) {
            self.account.apply(&record);
        }
    }
}

impl ValueBounds {
    /// Exceeded by every candle: the first one values the account.
    const NONE: Self = Self {
        base: 0,
        entry: 0,
        quantity: 0,
        trip_below: i128::MAX,
        peak: i128::MIN,
        day_ends: i64::MIN,
    };

    fn for_state(book: &BookState, account: &AccountState, now: UtcMs) -> Self {
        let day_ends = (now.0.div_euclid(DAY_MS) + 1).saturating_mul(DAY_MS);
        let (entry, quantity, paid) = match book.position() {
            None => (0, 0, Decimal::ZERO),
            Some(p) => {
                let sign = match p.side {
                    PositionSide::Long => 1,
                    PositionSide::Short => -1,
                };
                (
                    p.entry_price.units(),
                    sign * p.quantity.units(),
                    p.fee + p.funding,
                )
            }
        };
        let base = units(book.equity.saturating_sub(paid));
        // While the account is latched, only a new day matters.
        let (trip_below, peak) = match (&account.latch, &account.value) {
            (None, Some(value)) => (
                // A margin of one in a million: the exact decision is made in decimals.
                units(value.day_peak) * 950_001 / 1_000_000,
                units(value.day_peak),
            ),
            (None, None) => (i128::MAX, i128::MIN),
            (Some(_), _) => (i128::MIN, i128::MAX),
        };
        let by_peak = match (&account.latch, &account.value) {
            (None, Some(value)) => units(value.peak) * 850_001 / 1_000_000,
            _ => i128::MIN,
        };
        Self {
            base,
            entry,
            quantity,
            trip_below: trip_below.max(by_peak),
            peak,
            day_ends,
        }
    }

    /// Whether the account must be valued.
    #[inline]
    fn are_exceeded(&self, price: Price, now: UtcMs) -> bool {
        let moved = i128::from(price.units() - self.entry) * i128::from(self.quantity);
        let equity = self.base + moved;
        equity < self.trip_below || equity > self.peak || now.0 >= self.day_ends
    }
}

/// Whether the equity of the account may differ after this record.
const fn changes_account_value(record: &BookRecord) -> bool {
    matches!(
        record,
        BookRecord::PositionOpened(_)
            | BookRecord::FundingPaid { .. }
            | BookRecord::PositionClosed(_)
    )
}

/// An amount in units of 1e-16.
fn units(value: Decimal) -> i128 {
    let mut value = value;
    value.rescale(PLACES);
    value.mantissa()
}
