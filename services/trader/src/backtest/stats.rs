//! Statistics of a backtest, folded candle by candle and trade by trade.

use protocol::time::UtcMs;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use trader_core::account::Latch;
use trader_core::backtest::{AccountStep, Backtest, BacktestBook, BookStep};
use trader_core::candle::{Candle, Interval};
use trader_core::fixed_point::Price;
use trader_core::market_state::BAR;
use trader_core::statistics::ReturnRatios;
use trader_core::strategy::Strategy;

use super::totals::GroupedTotals;
use super::valuation::Valuation;

/// Latches that the summary lists one by one.
const MAX_LATCHES_LISTED: usize = 5;
/// Units of the account's equity in 1.
const EQUITY_UNITS: f64 = 1e16;

/// Statistics up to the newest candle.
#[derive(Debug)]
pub(super) struct BacktestStats {
    base: Interval,
    /// One for each book.
    pub(super) books: Vec<BookStats>,
    /// Open time of the first traded candle and close time of the last; `None` before the first.
    pub(super) period: Option<(UtcMs, UtcMs)>,
    pub(super) totals: GroupedTotals,
    /// The equity of the account; `None` before the first traded candle.
    pub(super) valuation: Option<Valuation>,
    /// Whether the equity may differ from that of the candle before.
    is_value_changed: bool,
    has_bar_closed: bool,
    /// Account breakers that tripped, the first few.
    pub(super) latches: Vec<Latch>,
    /// Number of account breakers that tripped.
    pub(super) latch_count: u64,
}

/// Statistics of one book.
#[derive(Debug, Clone, Default)]
pub(super) struct BookStats {
    /// Number of candles read.
    pub(super) candles: u64,
    /// Open time of the first candle and close time of the last, those of the warm-up included; `None` before the first.
    pub(super) span: Option<(UtcMs, UtcMs)>,
    /// Number of complete 30-minute bars of the traded period that closed in time.
    pub(super) bars: u64,
    /// Bars on which the strategies without a regime were evaluated.
    base: Evaluated,
    /// Bars on which the adaptive strategies were evaluated.
    adaptive: Evaluated,
    /// Number of times that the indicators started over.
    pub(super) restarts: u64,
    /// Number of missing candles that were bridged.
    pub(super) bridged: u64,
    /// First open and newest close of the traded period.
    pub(super) prices: Option<(Price, Price)>,
}

/// Bars on which a strategy was evaluated.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Evaluated {
    /// Number of bars.
    pub(super) bars: u64,
    /// Close time of the first one; `None` without one.
    pub(super) from: Option<UtcMs>,
}

impl BacktestStats {
    /// Statistics of this number of books.
    pub(super) fn new(books: usize, base: Interval) -> Self {
        Self {
            base,
            books: vec![BookStats::default(); books],
            period: None,
            totals: GroupedTotals::default(),
            valuation: None,
            is_value_changed: false,
            has_bar_closed: false,
            latches: Vec::new(),
            latch_count: 0,
        }
    }

    /// Takes in a candle that only warms up.
    #[inline]
    pub(super) fn add_warm_up(&mut self, book: usize, candle: &Candle) {
        let close = self.base.close_of(candle.open_time);
        self.books[book].add_candle(candle.open_time, close);
    }

    /// Takes in the effects of a traded candle of a book.
    #[inline]
    pub(super) fn add_book_step(
        &mut self,
        index: usize,
        candle: &Candle,
        step: &BookStep,
        backtest: &Backtest,
    ) {
        let close = self.base.close_of(candle.open_time);
        let (first, _) = *self.period.get_or_insert((candle.open_time, close));
        self.period = Some((first, close));
        let book = &mut self.books[index];
        book.add_candle(candle.open_time, close);
        book.bridged += u64::from(step.bridged);
        book.restarts += u64::from(step.has_started_over);
        let (open, _) = book.prices.unwrap_or((candle.open, candle.close));
        book.prices = Some((open, candle.close));
        if self.valuation.is_none() {
            let capital = backtest.capital().to_f64().unwrap_or(f64::NAN);
            self.valuation = Some(Valuation::new(candle.open_time, capital));
        }
        if step.bar_closed {
            self.has_bar_closed = true;
            book.add_bar(close, &backtest.books()[index]);
        }
        self.is_value_changed |= step.is_value_changed;
        for trade in &step.trades {
            self.totals.add(index, trade);
        }
    }

    /// Takes in the valuation of the account at the close of all candles of one time. Returns the equity if a 30-minute bar
    /// closed.
    #[inline]
    pub(super) fn add_account_step(
        &mut self,
        close: UtcMs,
        step: &AccountStep,
        backtest: &Backtest,
    ) -> Option<f64> {
        for (book, trade) in &step.trades {
            self.is_value_changed = true;
            self.totals.add(*book, trade);
        }
        if let Some(latch) = &step.latch {
            self.latch_count += 1;
            if self.latches.len() < MAX_LATCHES_LISTED {
                self.latches.push(latch.clone());
            }
        }
        let bar_closed = std::mem::take(&mut self.has_bar_closed);
        let is_due = std::mem::take(&mut self.is_value_changed) || backtest.has_position();
        if !is_due && !bar_closed {
            return None;
        }
        let valuation = self.valuation.as_mut()?;
        #[expect(clippy::cast_precision_loss, reason = "statistics are floats")]
        let equity = backtest.equity_units() as f64 / EQUITY_UNITS;
        valuation.add(close, equity);
        bar_closed.then(|| {
            valuation.curve.add(close, equity);
            equity
        })
    }

    /// Ends the traded period.
    pub(super) fn finish(&mut self) {
        if let (Some(valuation), Some((_, close))) = (&mut self.valuation, self.period) {
            valuation.finish(close);
        }
    }

    /// Ratios of the daily returns.
    pub(super) fn ratios(&self) -> ReturnRatios {
        self.valuation
            .as_ref()
            .map_or_else(ReturnRatios::default, |valuation| {
                let drawdown = valuation
                    .max_drawdown
                    .map_or(0.0, |drawdown| drawdown.depth);
                ReturnRatios::of(valuation.returns(), drawdown)
            })
    }

    /// Number of 30-minute bars in the traded period.
    pub(super) fn period_bars(&self) -> u64 {
        let length = self
            .period
            .map_or(0, |(from, until)| until.millis_since(from));
        length / BAR.millis().unsigned_abs()
    }

    /// Return of buying all symbols at the first open of the period for equal amounts and holding them; `None` without
    /// candles.
    pub(super) fn buy_and_hold(&self) -> Option<Decimal> {
        let prices = self.books.iter().filter_map(|book| book.prices);
        let changes: Vec<Decimal> = prices
            .filter_map(|(open, close)| close.to_decimal().checked_div(open.to_decimal()))
            .collect();
        let sum: Decimal = changes.iter().sum();
        Some(sum.checked_div(Decimal::from(changes.len()))? - Decimal::ONE)
    }
}

impl BookStats {
    #[inline]
    fn add_candle(&mut self, open_time: UtcMs, close: UtcMs) {
        self.candles += 1;
        let (first, _) = self.span.unwrap_or((open_time, close));
        self.span = Some((first, close));
    }

    fn add_bar(&mut self, close: UtcMs, book: &BacktestBook) {
        self.bars += 1;
        let Some(inputs) = book.strategy_inputs() else {
            return;
        };
        self.base.add(close);
        if inputs.regime.is_some() {
            self.adaptive.add(close);
        }
    }

    /// Bars on which a strategy was evaluated.
    pub(super) fn evaluated(&self, strategy: Strategy) -> Evaluated {
        if strategy.is_adaptive() {
            self.adaptive
        } else {
            self.base
        }
    }
}

impl Evaluated {
    fn add(&mut self, close: UtcMs) {
        self.bars += 1;
        self.from.get_or_insert(close);
    }
}
