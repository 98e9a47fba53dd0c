//! Backtest of an account: the decisions of paper mode on past candles, without a journal. Equal candles give the same
//! trades as in paper mode.
//!
//! Each symbol has a book of its own ([`BacktestBook`]); account breakers judge the equity of all books together. Candles
//! are added in order of time: [`Backtest::candle_closed`] for each book, then [`Backtest::value_account`] once all candles
//! of that time are added.

mod book;
mod error;
mod value_bounds;

pub use book::{BacktestBook, BookStep, ClosedTrade};
pub use error::BacktestError;

use protocol::account_command::{AccountCommand, AccountCommandRecord};
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use self::value_bounds::{DAY_MS, ValueBounds};
use crate::account::{self, AccountEvent, AccountRecord, AccountState, Latch};
use crate::book::{BookConfig, EntryPermission};
use crate::candle::Candle;
use crate::symbol_filters::SymbolFilters;

/// The books of an account on past candles.
#[derive(Debug, Clone)]
pub struct Backtest {
    books: Vec<BacktestBook>,
    account: AccountState,
    on_halt: OnHalt,
    bounds: ValueBounds,
    /// Whether a fee, funding or a trade has changed the equity since the last valuation.
    is_value_changed: bool,
}

/// What follows when an account breaker latches the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnHalt {
    /// The account stays latched: no further entries.
    StayLatched,
    /// The account is unlatched when the next UTC day begins.
    UnlatchNextDay,
}

/// Result of a valuation of the account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountStep {
    /// Latch of an account breaker that tripped; `None` if none did.
    pub latch: Option<Latch>,
    /// Positions that the latch closed, with the index of the book.
    pub trades: Vec<(usize, ClosedTrade)>,
}

impl Backtest {
    /// New books, one for each symbol in this order, each with this capital.
    ///
    /// # Errors
    /// [`BacktestError::Market`] if the base interval does not divide the 30-minute bar.
    pub fn new(
        config: &BookConfig,
        symbols: Vec<SymbolFilters>,
        capital_each: Decimal,
        on_halt: OnHalt,
    ) -> Result<Self, BacktestError> {
        let books = symbols
            .into_iter()
            .map(|filters| BacktestBook::new(config.clone(), filters, capital_each));
        Ok(Self {
            books: books.collect::<Result<_, _>>()?,
            account: AccountState::default(),
            on_halt,
            bounds: ValueBounds::NONE,
            is_value_changed: false,
        })
    }

    /// The books, in the order of their symbols.
    pub fn books(&self) -> &[BacktestBook] {
        &self.books
    }

    /// Adds a candle before the traded period to a book: it only warms up the indicators, as the bars do that a trader
    /// requests when it starts.
    ///
    /// # Errors
    /// [`BacktestError::Market`] for a candle of another interval.
    pub fn warm_up_candle(&mut self, book: usize, candle: &Candle) -> Result<(), BacktestError> {
        match self.books.get_mut(book) {
            Some(book) => book.warm_up_candle(candle),
            None => Ok(()),
        }
    }

    /// Adds the next candle of a book. Candles must be in order; missing ones count as missing on the exchange. A book that
    /// does not exist changes nothing.
    ///
    /// # Errors
    /// [`BacktestError::Market`] for a candle of another interval, [`BacktestError::Record`] for a bug.
    #[inline]
    pub fn candle_closed(
        &mut self,
        book: usize,
        candle: &Candle,
    ) -> Result<BookStep, BacktestError> {
        let Some(book) = self.books.get_mut(book) else {
            return Ok(BookStep::default());
        };
        let permission = match self.account.latch {
            None => EntryPermission::Allowed { seq: 0 },
            Some(_) => EntryPermission::Latched,
        };
        let step = book.candle_closed(candle, permission)?;
        self.is_value_changed |= step.is_value_changed;
        Ok(step)
    }

    /// Values the account after all candles that close at `close`; closes all positions if an account breaker trips.
    ///
    /// # Errors
    /// [`BacktestError::Record`] for a bug.
    #[inline]
    pub fn value_account(&mut self, close: UtcMs) -> Result<AccountStep, BacktestError> {
        if !self.is_value_changed && !self.bounds.are_exceeded(self.equity_units(), close) {
            return Ok(AccountStep::default());
        }
        self.value_account_exactly(close)
    }

    /// Capital of all books together.
    pub fn capital(&self) -> Decimal {
        self.books.iter().map(|book| book.state().capital).sum()
    }

    /// Equity of all books together, with open positions at the newest prices.
    pub fn equity(&self) -> Decimal {
        self.books.iter().map(|book| book.status().equity).sum()
    }

    /// Equity of all books together as after the newest valuation, in units of 1e-16.
    #[inline]
    pub fn equity_units(&self) -> i128 {
        self.books.iter().map(BacktestBook::marked_units).sum()
    }

    /// Whether a book has a position.
    pub fn has_position(&self) -> bool {
        self.books.iter().any(BacktestBook::has_position)
    }

    fn value_account_exactly(&mut self, close: UtcMs) -> Result<AccountStep, BacktestError> {
        if self.on_halt == OnHalt::UnlatchNextDay {
            self.unlatch_if_due(close);
        }
        let event = AccountEvent::Valued {
            at: close,
            capital: self.capital(),
            equity: self.equity(),
        };
        let records = account::decide(&self.account, event.clone());
        for record in &records {
            self.account.apply(record);
        }
        self.account.observe(&event);
        let mut step = AccountStep::default();
        for record in records {
            if let AccountRecord::Latched(latch) = record {
                step.latch = Some(latch);
                for (index, book) in self.books.iter_mut().enumerate() {
                    let trades = book.account_latched()?;
                    step.trades.extend(trades.into_iter().map(|t| (index, t)));
                }
            }
        }
        self.books.iter_mut().for_each(BacktestBook::mark);
        self.bounds = ValueBounds::for_account(&self.account, close);
        self.is_value_changed = false;
        Ok(step)
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
