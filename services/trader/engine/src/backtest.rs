//! A book on candles of the past: the engine that trades, without a journal and without waiting. The
//! same candles give the same trades as they do live. Files and figures are the body's business.

use std::collections::BTreeMap;

use protocol::event::Side;
use protocol::operator::{AccountOrder, Word};
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use crate::account::{self, AccountEvent, AccountRecord, AccountState, Latch};
use crate::book::{
    BadRecord, BookConfig, BookEvent, BookRecord, BookState, DropReason, ExitReason, Leave, Now,
    Phase, Position, decide, decide_candle,
};
use crate::candle::Candle;
use crate::fixed::Price;
use crate::market::{MarketFault, MarketView};
use crate::rules::SymbolRules;
use crate::strategy::{Sight, Strategy};
use crate::summary::{self, BookStatus};

const DAY: i64 = 86_400_000;
/// Places of a price times a quantity, both in whole units.
const PLACES: u32 = 16;

/// One book and its account on candles of the past.
#[derive(Debug, Clone)]
pub struct Backtest {
    config: BookConfig,
    rules: SymbolRules,
    view: MarketView,
    book: BookState,
    account: AccountState,
    after_halt: AfterHalt,
    marks: Marks,
    position: Option<Position>,
    last: Option<Price>,
    drops: BTreeMap<DropReason, u64>,
}

/// What a critical breaker means for the rest of the candles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterHalt {
    /// Nobody enters any more, as live.
    Stay,
    /// As if an operator ended the latch when the next UTC day begins.
    ResumeNextDay,
}

/// A position from its entry to its exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosedTrade {
    /// Whose signal.
    pub strategy: Strategy,
    /// Long or short.
    pub side: Side,
    /// Open time of the candle in which the entry filled.
    pub entry_at: UtcMs,
    /// Open time of the candle in which the exit filled.
    pub exit_at: UtcMs,
    /// In base units.
    pub quantity: Decimal,
    /// Fill price of the entry.
    pub entry: Decimal,
    /// Fill price of the exit.
    pub exit: Decimal,
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
pub struct Step {
    /// Positions that it closed; a candle can close one and open and close another.
    pub trades: Vec<ClosedTrade>,
    /// It closed a 30m bar.
    pub bar_closed: bool,
    /// A critical breaker tripped on it.
    pub latched: Option<Latch>,
}

/// Why a backtest cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BacktestFault {
    /// The candles cannot be used.
    #[error(transparent)]
    Market(#[from] MarketFault),
    /// A bug: a decision that does not fit.
    #[error("bug: own record does not apply: {0}")]
    Record(#[from] BadRecord),
}

/// Bounds of the account's worth within which nothing is to be decided, in whole units of 1e-16: asked
/// at every candle, so without decimals.
#[derive(Debug, Clone, Copy)]
struct Marks {
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
        rules: SymbolRules,
        capital: Decimal,
        after_halt: AfterHalt,
    ) -> Result<Self, BacktestFault> {
        let view = MarketView::new(config.base, config.strategies.clone())?;
        let mut book = BookState::default();
        book.apply(&BookRecord::BookOpened {
            capital,
            rules: rules.clone(),
        })?;
        Ok(Self {
            config,
            rules,
            view,
            book,
            account: AccountState::default(),
            after_halt,
            marks: Marks::NONE,
            position: None,
            last: None,
            drops: BTreeMap::new(),
        })
    }

    /// Takes the next candle. They come in order; what is missing is as if the exchange had none.
    ///
    /// # Errors
    /// A candle of another interval, or a bug.
    #[inline]
    pub fn candle_closed(&mut self, candle: &Candle) -> Result<Step, BacktestFault> {
        let seen = self.view.candle_closed(candle)?;
        let close = self.config.base.close_of(candle.open_time);
        let account = match self.account.latch {
            None => Leave::Given { seq: 0 },
            Some(_) => Leave::Latched,
        };
        let now = Now {
            market: close,
            account,
            exchange_fails: false,
        };
        self.last = Some(candle.close);
        let mut step = Step {
            bar_closed: seen.bar_closed,
            ..Step::default()
        };
        let (config, rules) = (&self.config, &self.rules);
        let records = decide_candle(&self.book, config, rules, candle, seen.signal.as_ref(), now);
        let mut paid = false;
        if !records.is_empty() {
            self.take(&records, &mut step)?;
            paid = records.iter().any(moves_money);
        }
        if paid || self.marks.are_left(candle.close, close) {
            self.value(candle, close, &mut step)?;
        }
        Ok(step)
    }

    /// What the strategies see after the newest bar; none while it is not to be judged.
    pub fn sight(&self) -> Option<Sight> {
        self.view.sight()
    }

    /// The strategies whose condition holds on what they see, whoever would win.
    pub fn holding<'a>(&'a self, sight: &'a Sight) -> impl Iterator<Item = Strategy> + 'a {
        let chosen = self.config.strategies.iter().copied();
        chosen.filter(|strategy| strategy.signals_on(sight))
    }

    /// The newest closed 30m bar.
    pub const fn last_bar(&self) -> Option<&Candle> {
        self.view.last_bar()
    }

    /// The book's figures at the newest price.
    pub fn status(&self) -> BookStatus {
        summary::status(&self.book, self.last)
    }

    /// Entries that were decided and not made, by reason.
    pub const fn drops(&self) -> &BTreeMap<DropReason, u64> {
        &self.drops
    }

    /// The book.
    pub const fn book(&self) -> &BookState {
        &self.book
    }

    fn take(&mut self, records: &[BookRecord], step: &mut Step) -> Result<(), BacktestFault> {
        for record in records {
            self.book.apply(record)?;
            if let BookRecord::EntryDropped { reason, .. } = record {
                *self.drops.entry(*reason).or_default() += 1;
            }
            if let (BookRecord::PositionClosed(trade), Some(position)) = (record, self.position) {
                let paid = position.fee.saturating_add(trade.fee);
                step.trades.push(ClosedTrade {
                    strategy: trade.strategy,
                    side: trade.side,
                    entry_at: position.at,
                    exit_at: trade.at,
                    quantity: trade.quantity.to_decimal(),
                    entry: trade.entry.to_decimal(),
                    exit: trade.price.to_decimal(),
                    fees: paid.saturating_add(trade.funding).normalize(),
                    funding: trade.funding.normalize(),
                    pnl: trade.pnl,
                    reason: trade.reason,
                    equity: trade.equity,
                });
            }
            self.position = match &self.book.phase {
                Phase::Open(position) => Some(*position),
                _ => None,
            };
        }
        Ok(())
    }

    /// Values the account; closes everything if a critical breaker trips.
    fn value(
        &mut self,
        candle: &Candle,
        close: UtcMs,
        step: &mut Step,
    ) -> Result<(), BacktestFault> {
        if self.after_halt == AfterHalt::ResumeNextDay {
            self.resume(close);
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
        self.account.notice(&event);
        for record in records {
            if let AccountRecord::Latched(latch) = record {
                step.latched = Some(latch);
                let (at, price) = (candle.open_time, candle.close);
                let event = BookEvent::Latched { at, price };
                let records = decide(&self.book, &self.config, &self.rules, event);
                self.take(&records, step)?;
            }
        }
        self.marks = Marks::of(&self.book, &self.account, close);
        Ok(())
    }

    fn resume(&mut self, now: UtcMs) {
        let day = |at: UtcMs| at.0.div_euclid(DAY);
        let Some(latch) = self.account.latch.as_ref().filter(|l| day(l.at) < day(now)) else {
            return;
        };
        let latch = latch.id.clone();
        let word = Word {
            order: AccountOrder::Unlatch { latch },
            who: "backtest".to_owned(),
            why: "the next day began".to_owned(),
        };
        let said = AccountEvent::Said {
            at: now,
            seq: 0,
            word,
        };
        for record in account::decide(&self.account, said) {
            self.account.apply(&record);
        }
    }
}

impl Marks {
    /// Nothing is known: the first candle is to be valued.
    const NONE: Self = Self {
        base: 0,
        entry: 0,
        quantity: 0,
        trip_below: i128::MAX,
        peak: i128::MIN,
        day_ends: i64::MIN,
    };

    fn of(book: &BookState, account: &AccountState, now: UtcMs) -> Self {
        let day_ends = (now.0.div_euclid(DAY) + 1).saturating_mul(DAY);
        let (entry, quantity, paid) = match book.position() {
            None => (0, 0, Decimal::ZERO),
            Some(p) => {
                let sign = match p.side {
                    Side::Long => 1,
                    Side::Short => -1,
                };
                (
                    p.price.units(),
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
    fn are_left(&self, price: Price, now: UtcMs) -> bool {
        let moved = i128::from(price.units() - self.entry) * i128::from(self.quantity);
        let equity = self.base + moved;
        equity < self.trip_below || equity > self.peak || now.0 >= self.day_ends
    }
}

/// Whether the account is worth something else after this record.
const fn moves_money(record: &BookRecord) -> bool {
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
