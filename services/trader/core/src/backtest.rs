//! A book on candles of the past: the engine that trades, without a journal and without waiting. The
//! same candles give the same trades as they do live. Files and figures are the body's business.

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
/// Places of a price times a quantity, both in whole units.
const PLACES: u32 = 16;

/// One book and its account on candles of the past.
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

/// What a critical breaker means for the rest of the candles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnHalt {
    /// Nobody enters any more, as live.
    StayLatched,
    /// As if an operator ended the latch when the next UTC day begins.
    UnlatchNextDay,
}

/// A position from its entry to its exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosedTrade {
    /// Whose signal.
    pub strategy: Strategy,
    /// Long or short.
    pub side: PositionSide,
    /// Open time of the candle in which the entry filled.
    pub entry_at: UtcMs,
    /// Open time of the candle in which the exit filled.
    pub exit_at: UtcMs,
    /// In base units.
    pub quantity: Decimal,
    /// Fill price of the entry.
    pub entry_price: Decimal,
    /// Fill price of the exit.
    pub exit_price: Decimal,
    /// Both fees and the funding, in the quote currency.
    pub fees: Decimal,
    /// Of these, the funding; negative: received.
    pub funding: Decimal,
    /// Profit after them.
    pub pnl: Decimal,
    /// What closed it.
    pub reason: ExitReason,
    /// The book's equity after it.
    pub equity: Decimal,
}

/// What one candle led to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepOutcome {
    /// Positions that it closed; a candle can close one and open and close another.
    pub trades: Vec<ClosedTrade>,
    /// It closed a 30m bar.
    pub bar_closed: bool,
    /// A critical breaker tripped on it.
    pub latch: Option<Latch>,
}

/// Why a backtest cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BacktestError {
    /// The candles cannot be used.
    #[error(transparent)]
    Market(#[from] MarketDataError),
    /// A bug: a decision that does not fit.
    #[error("bug: own record does not apply: {0}")]
    Record(#[from] FoldError),
}

/// Bounds of the account's worth within which nothing is to be decided, in whole units of 1e-16: asked
/// at every candle, so without decimals.
#[derive(Debug, Clone, Copy)]
struct ValueBounds {
    /// What the book is worth at the entry's price of what is open.
    base: i128,
    entry: i64,
    /// Signed: negative short, zero flat.
    quantity: i64,
    trip_below: i128,
    peak: i128,
    day_ends: i64,
}

impl Backtest {
    /// A book with this capital that has seen nothing.
    ///
    /// # Errors
    /// When the base interval does not divide the 30m bar.
    pub fn new(
        config: BookConfig,
        filters: SymbolFilters,
        capital: Decimal,
        on_halt: OnHalt,
    ) -> Result<Self, BacktestError> {
        let view = MarketState::new(config.base, config.strategies.clone())?;
        let mut book = BookState::default();
        book.apply(&BookRecord::BookOpened {
            capital,
            filters: filters.clone(),
        })?;
        Ok(Self {
            config,
            filters,
            market: view,
            book,
            account: AccountState::default(),
            on_halt,
            value_bounds: ValueBounds::NONE,
            position: None,
            last_price: None,
            dropped_entries: BTreeMap::new(),
        })
    }

    /// Takes the next candle. They come in order; what is missing is as if the exchange had none.
    ///
    /// # Errors
    /// A candle of another interval, or a bug.
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
        let (config, rules) = (&self.config, &self.filters);
        let records = decide_candle(
            &self.book,
            config,
            rules,
            candle,
            candle_outcome.signal.as_ref(),
            inputs,
        );
        let mut paid = false;
        if !records.is_empty() {
            self.apply_records(&records, &mut step)?;
            paid = records.iter().any(changes_account_value);
        }
        if paid || self.value_bounds.are_exceeded(candle.close, close) {
            self.value_account(candle, close, &mut step)?;
        }
        Ok(step)
    }

    /// What the strategies see after the newest bar; none while it is not to be judged.
    pub fn strategy_inputs(&self) -> Option<StrategyInputs> {
        self.market.strategy_inputs()
    }

    /// The strategies whose condition holds on what they see, whoever would win.
    pub fn matching_strategies<'a>(
        &'a self,
        inputs: &'a StrategyInputs,
    ) -> impl Iterator<Item = Strategy> + 'a {
        let chosen = self.config.strategies.iter().copied();
        chosen.filter(|strategy| strategy.evaluate(inputs))
    }

    /// The newest closed 30m bar.
    pub const fn last_bar(&self) -> Option<&Candle> {
        self.market.last_bar()
    }

    /// The book's figures at the newest price.
    pub fn status(&self) -> BookStatus {
        book_status::status(&self.book, self.last_price)
    }

    /// Entries that were decided and not made, by reason.
    pub const fn dropped_entries(&self) -> &BTreeMap<DropReason, u64> {
        &self.dropped_entries
    }

    /// The book.
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

    /// Values the account; closes everything if a critical breaker trips.
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
    /// Nothing is known: the first candle is to be valued.
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
        // While latched nothing changes but the day.
        let (trip_below, peak) = match (&account.latch, &account.value) {
            (None, Some(value)) => (
                // Half a unit in a million wide of the mark: the exact decision is made in decimals.
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

    /// Whether the account is to be looked at.
    #[inline]
    fn are_exceeded(&self, price: Price, now: UtcMs) -> bool {
        let moved = i128::from(price.units() - self.entry) * i128::from(self.quantity);
        let equity = self.base + moved;
        equity < self.trip_below || equity > self.peak || now.0 >= self.day_ends
    }
}

/// Whether the account is worth something else after this record.
const fn changes_account_value(record: &BookRecord) -> bool {
    matches!(
        record,
        BookRecord::PositionOpened(_)
            | BookRecord::FundingPaid { .. }
            | BookRecord::PositionClosed(_)
    )
}

/// Whole units of 1e-16. What does not fit is valued at every candle.
fn units(value: Decimal) -> i128 {
    let mut value = value;
    value.rescale(PLACES);
    value.mantissa()
}
