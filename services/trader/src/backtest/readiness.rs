//! What the summary says about the readiness of the strategies: which could trade, from when, and how much of the period
//! that was.

use protocol::duration::format_ms;
use protocol::time::UtcMs;
use runtime::exit_error::ExitError;
use rust_decimal::Decimal;
use trader_core::market_state::BAR;
use trader_core::strategy::Strategy;

use super::format::{minute, names, percent};
use super::instruments::is_coarse;
use super::stats::BookStats;
use super::summary::{BacktestSummary, TextTable};

impl BacktestSummary<'_> {
    /// Strategies that were evaluated on no bar of any book.
    pub(super) fn idle_strategies(&self) -> Vec<Strategy> {
        let is_idle = |strategy: &Strategy| {
            let mut books = self.stats.books.iter();
            books.all(|book| book.evaluated(*strategy).bars == 0)
        };
        let strategies = self.config.strategies.iter().copied();
        strategies.filter(is_idle).collect()
    }

    /// Checks that every strategy that the command line names could trade.
    ///
    /// # Errors
    /// Exit 78 naming the strategies that could not, and what they need.
    pub(super) fn check_named_strategies(&self) -> Result<(), ExitError> {
        let idle = self.idle_strategies();
        if idle.is_empty() || self.args.strategies.is_empty() {
            return Ok(());
        }
        Err(ExitError::config(format!(
            "--strategies={}: could never trade; {}",
            names(&idle),
            self.what_is_needed(&idle)
        )))
    }

    fn what_is_needed(&self, idle: &[Strategy]) -> String {
        let needed = if idle.iter().any(|strategy| !strategy.is_adaptive()) {
            "300 bars of 30 minutes (6d6h)"
        } else {
            "200 bars of 4 hours (33d8h)"
        };
        let spans = self.stats.books.iter().filter_map(|book| book.span);
        let length = spans.map(|(from, until)| until.millis_since(from)).max();
        format!(
            "expected candles of more than {needed}, found {} in all",
            format_ms(length.unwrap_or(0))
        )
    }

    /// Warnings about strategies that could not trade.
    pub(super) fn warnings(&self, page: &mut TextTable) {
        let idle = self.idle_strategies();
        if !idle.is_empty() {
            let text = format!(
                "{} could never trade; {}",
                names(&idle),
                self.what_is_needed(&idle)
            );
            page.line("WARNING", text);
        }
        if let Some(from) = self.cold_until() {
            page.line(
                "WARNING",
                format!(
                    "until {at} not all strategies could trade; a trader starts warm: --from {at} trades from there on",
                    at = minute(from)
                ),
            );
        }
    }

    /// Warns of prices that a tick rounds too coarsely.
    pub(super) fn coarse_ticks(&self, page: &mut TextTable) {
        for (book, stats) in self.backtest.books().iter().zip(&self.stats.books) {
            let filters = book.filters();
            if let Some((price, _)) = stats.prices
                && is_coarse(filters, price)
            {
                let (symbol, tick) = (&filters.symbol, filters.tick);
                page.line(
                    "WARNING",
                    format!(
                        "{symbol} begins at {price} with a tick of {tick}: are these its candles?"
                    ),
                );
            }
        }
    }

    /// The time until which a strategy could not trade that could afterwards; `None` if all could from the begin.
    fn cold_until(&self) -> Option<UtcMs> {
        let (begin, _) = self.stats.period?;
        let strategies = self.config.strategies.iter();
        let firsts = strategies.flat_map(|strategy| {
            let books = self.stats.books.iter();
            books.filter_map(|book| book.evaluated(*strategy).from)
        });
        let latest = firsts.max()?;
        // The first bar that closes in the period is the first that can be evaluated.
        let first_close = BAR.close_of(BAR.open_of(begin));
        (latest > first_close).then_some(latest)
    }

    /// From when, and in how much of the period, a strategy could trade.
    pub(super) fn readiness(&self, book: &BookStats, strategy: Strategy) -> String {
        let evaluated = book.evaluated(strategy);
        let Some(from) = evaluated.from else {
            return "never".to_owned();
        };
        let total = self.stats.period_bars();
        let share = Decimal::from(evaluated.bars).checked_div(Decimal::from(total));
        let missed = total.saturating_sub(evaluated.bars);
        let days = Decimal::new(i64::try_from(missed).unwrap_or(i64::MAX), 0) / Decimal::from(48);
        format!(
            "from {}, {} of the period; {:.1} days not",
            minute(from),
            share.map_or_else(|| "-".to_owned(), percent),
            days.round_dp(1)
        )
    }
}
