//! The printed summary of a backtest.

use std::fmt::{Display, Write as _};

use protocol::duration::format_ms;
use rust_decimal::Decimal;
use rust_decimal::prelude::FromPrimitive;
use trader_core::backtest::{Backtest, BacktestBook};
use trader_core::book::BookConfig;
use trader_core::strategy::Strategy;

use super::args::BacktestArgs;
use super::candles::CandleGaps;
use super::format::{
    amount, grouped, hundredths, minute, names, percent, rate, ratio, signed_percent, two_decimals,
};
use super::stats::{BacktestStats, BookStats};
use super::totals::TradeTotals;

/// Months that the summary lists one by one.
const MAX_MONTHS_LISTED: usize = 24;

/// The data of the summary.
pub(super) struct BacktestSummary<'a> {
    /// Flags of the command.
    pub(super) args: &'a BacktestArgs,
    /// Configuration of the books that follows from the flags.
    pub(super) config: &'a BookConfig,
    /// Description and gaps of the files of each book.
    pub(super) inputs: &'a [(String, CandleGaps)],
    /// The account after the last candle.
    pub(super) backtest: &'a Backtest,
    /// Statistics of the run.
    pub(super) stats: &'a BacktestStats,
}

/// Lines of the summary, with the labels in the first column.
pub(super) struct TextTable(String);

impl TextTable {
    /// Adds a line.
    pub(super) fn line(&mut self, label: &str, text: impl Display) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "{label:<13} {text}");
    }

    fn blank(&mut self) {
        self.0.push('\n');
    }
}

impl BacktestSummary<'_> {
    /// The text of the summary.
    pub(super) fn text(&self) -> String {
        let mut page = TextTable(String::new());
        self.warnings(&mut page);
        self.coarse_ticks(&mut page);
        for index in 0..self.inputs.len() {
            self.candles(index, &mut page);
        }
        self.settings(&mut page);
        page.blank();
        self.trades(&mut page);
        page.blank();
        self.equity(&mut page);
        self.ratios(&mut page);
        self.rejections(&mut page);
        self.latches(&mut page);
        self.months(&mut page);
        page.0
    }

    fn candles(&self, index: usize, page: &mut TextTable) {
        let (description, gaps) = &self.inputs[index];
        let book = &self.stats.books[index];
        page.line(self.symbol(index), description);
        let (candles, base) = (grouped(&book.candles), self.config.base);
        page.line("candles", format!("{candles} of {base}"));
        if let Some((from, until)) = book.span {
            let length = format_ms(until.millis_since(from));
            page.line(
                "span",
                format!("{} to {} ({length})", minute(from), minute(until)),
            );
        }
        page.line("gaps", gap_text(gaps, book));
        let evaluated_from = self
            .config
            .strategies
            .iter()
            .filter_map(|s| book.evaluated(*s).from);
        let evaluated = evaluated_from.min().map_or_else(
            || "too few to judge any: the first 300 in a row warm the indicators up".to_owned(),
            |from| format!("judged from {} on", minute(from)),
        );
        page.line(
            "30m bars",
            format!("{} complete, {evaluated}", grouped(&book.bars)),
        );
        let mut label = "could trade";
        for is_adaptive in [true, false] {
            let all = self.config.strategies.iter().copied();
            let group: Vec<Strategy> = all.filter(|s| s.is_adaptive() == is_adaptive).collect();
            if let Some(first) = group.first() {
                page.line(
                    label,
                    format!("{}: {}", names(&group), self.readiness(book, *first)),
                );
                label = "";
            }
        }
    }

    fn settings(&self, page: &mut TextTable) {
        let BookConfig {
            leverage,
            fee_rate,
            slippage_rate: slippage,
            funding_rate,
            protections,
            ..
        } = self.config;
        if let Some((from, until)) = self.stats.period {
            let length = format_ms(until.millis_since(from));
            page.line(
                "traded",
                format!("{} to {} ({length})", minute(from), minute(until)),
            );
        } else {
            page.line("traded", "nothing: no candle is in the period");
        }
        let account = match self.backtest.books() {
            [_] => "this book alone: a trader's breakers judge all books of the account together"
                .to_owned(),
            books => format!(
                "{} books of {} each; the breakers judge them together",
                books.len(),
                amount(books[0].state().capital)
            ),
        };
        page.line("account", account);
        page.line(
            "settings",
            format!(
                "capital {}, leverage {leverage}, fee {}, slippage {}, funding {} per 8 h",
                amount(self.args.capital_usdt),
                rate(*fee_rate),
                rate(*slippage),
                rate(*funding_rate)
            ),
        );
        page.line("protections", protections);
    }

    fn trades(&self, page: &mut TextTable) {
        let totals = &self.stats.totals;
        heading(page, "STRATEGY");
        for strategy in &self.config.strategies {
            let sums = totals.by_strategy.get(strategy).copied();
            row(page, strategy.as_str(), &sums.unwrap_or_default());
        }
        row(page, "total", &totals.all);
        if self.inputs.len() > 1 {
            page.blank();
            heading(page, "BOOK");
            for index in 0..self.inputs.len() {
                let sums = totals.by_book.get(&index).copied();
                row(page, self.symbol(index), &sums.unwrap_or_default());
            }
        }
        if totals.all.count == 0 {
            return;
        }
        page.blank();
        heading(page, "SIDE, EXIT");
        for (side, sums) in ["long", "short"].iter().zip(&totals.by_side) {
            row(page, side, sums);
        }
        for (reason, sums) in &totals.by_reason {
            row(page, reason, sums);
        }
    }

    fn equity(&self, page: &mut TextTable) {
        let (capital, equity) = (self.backtest.capital(), self.backtest.equity());
        let change = (equity - capital).checked_div(capital);
        let dash = || "-".to_owned();
        page.line(
            "equity",
            format!(
                "{} -> {} ({}); buy and hold {}",
                amount(capital),
                amount(equity),
                change.map_or_else(dash, signed_percent),
                self.stats.buy_and_hold().map_or_else(dash, signed_percent)
            ),
        );
        for book in self.backtest.books() {
            self.open_position(book, page);
        }
        let drawdown = self
            .stats
            .valuation
            .as_ref()
            .and_then(|value| value.max_drawdown);
        let marked = drawdown.map_or_else(
            || "none".to_owned(),
            |worst| {
                let depth = Decimal::from_f64(worst.depth).unwrap_or_default();
                let (from, until) = (minute(worst.peak_at), minute(worst.low_at));
                format!("{}, {from} to {until}", percent(depth))
            },
        );
        page.line("max drawdown", format!("{marked} (marked at every candle)"));
        let longest = self
            .stats
            .valuation
            .as_ref()
            .map_or(0, |value| value.longest_drawdown_ms);
        page.line(
            "",
            format!("longest time below a peak {}", format_ms(longest)),
        );
    }

    fn open_position(&self, book: &BacktestBook, page: &mut TextTable) {
        let status = book.status();
        if let Some(position) = status.position {
            let symbol = match self.inputs.len() {
                1 => String::new(),
                _ => format!("{} ", book.symbol()),
            };
            page.line(
                "still open",
                format!(
                    "{symbol}{} {} at {} by {}, unrealized {}",
                    position.side,
                    position.quantity,
                    position.entry_price,
                    position.strategy,
                    amount(status.unrealized_pnl)
                ),
            );
        }
    }

    fn ratios(&self, page: &mut TextTable) {
        let ratios = self.stats.ratios();
        let totals = &self.stats.totals.all;
        let days = self
            .stats
            .valuation
            .as_ref()
            .map_or(0, |value| value.returns().len());
        let dash = || "-".to_owned();
        page.line(
            "Sharpe",
            format!(
                "{}, Sortino {}, Calmar {} ({days} daily returns, marked to market, annualized)",
                two_decimals(ratios.sharpe),
                two_decimals(ratios.sortino),
                two_decimals(ratios.calmar)
            ),
        );
        page.line(
            "CAGR",
            format!(
                "{}, volatility {} a year",
                ratio(ratios.cagr).map_or_else(dash, signed_percent),
                ratio(ratios.volatility).map_or_else(dash, percent)
            ),
        );
        page.line(
            "per trade",
            format!(
                "expectancy {}, average win {}, average loss {}",
                totals.expectancy().map_or_else(dash, amount),
                totals.average_win().map_or_else(dash, amount),
                totals.average_loss().map_or_else(dash, amount)
            ),
        );
        let exposure = self.exposure().map_or_else(dash, percent);
        let turnover = self
            .turnover()
            .map_or_else(dash, |t| format!("{:.1}", t.round_dp(1)));
        page.line(
            "exposure",
            format!("{exposure} of the time, turnover {turnover} x capital"),
        );
    }

    /// Share of the time in which a book had a position, from 0 to 1, as the mean of all books; `None` without candles.
    pub(super) fn exposure(&self) -> Option<Decimal> {
        let (from, until) = self.stats.period?;
        let books = self.backtest.books();
        let held: Decimal = books
            .iter()
            .map(|book| {
                let closed_ms = book.state().performance.figures(None).in_market_ms;
                let open = book.status().position;
                let open_ms = open.map_or(0, |p| until.millis_since(p.at));
                Decimal::from(closed_ms).saturating_add(Decimal::from(open_ms))
            })
            .sum();
        let span = Decimal::from(until.millis_since(from)) * Decimal::from(books.len());
        Some(held.checked_div(span).unwrap_or_default())
    }

    /// Value of all fills of closed trades, as a multiple of the capital; `None` without capital.
    pub(super) fn turnover(&self) -> Option<Decimal> {
        let turnover = self.stats.totals.all.turnover;
        turnover.checked_div(self.backtest.capital())
    }

    fn rejections(&self, page: &mut TextTable) {
        let mut rejected: Vec<(String, u64)> = Vec::new();
        let mut dropped: Vec<(String, u64)> = Vec::new();
        for book in self.backtest.books() {
            for (why, signals) in &book.state().rejected_signals {
                count(
                    &mut rejected,
                    format!("{why} ({})", why.describe()),
                    signals.count,
                );
            }
            for (why, entries) in book.dropped_entries() {
                count(&mut dropped, why.to_string(), *entries);
            }
        }
        list(page, "rejected", "signals", rejected);
        list(page, "dropped", "entries", dropped);
    }

    fn latches(&self, page: &mut TextTable) {
        let latches = &self.stats.latches;
        if latches.is_empty() {
            return;
        }
        page.blank();
        for latch in latches {
            page.line(
                "!! LATCHED",
                format!(
                    "{} at {}: equity {} fell from {}; everything was closed",
                    latch.trigger,
                    minute(latch.at),
                    amount(latch.equity),
                    amount(latch.peak)
                ),
            );
        }
        let more = self.stats.latch_count.saturating_sub(latches.len() as u64);
        if more > 0 {
            page.line("", format!("and {more} more times"));
        }
        page.line(
            "",
            if self.args.continue_after_halt {
                "entries continued on the next UTC day (--continue-after-halt); when trading, only an operator ends a latch"
            } else {
                "NO ENTRY AFTER THAT, as in trading until an operator ends the latch; --continue-after-halt continues on the next UTC day"
            },
        );
    }

    fn months(&self, page: &mut TextTable) {
        let Some(valuation) = &self.stats.valuation else {
            return;
        };
        let months: Vec<_> = valuation.monthly_returns().collect();
        page.blank();
        let _ = writeln!(
            page.0,
            "{:<10} {:>10} {:>7} {:>12}",
            "MONTH", "RETURN", "TRADES", "PNL"
        );
        let skipped = months.len().saturating_sub(MAX_MONTHS_LISTED);
        if skipped > 0 {
            let _ = writeln!(page.0, "{skipped} earlier months: --json has all");
        }
        for (month, change) in &months[skipped..] {
            let sums = self
                .stats
                .totals
                .by_month
                .get(month)
                .copied()
                .unwrap_or_default();
            let change = ratio(Some(*change)).map_or_else(|| "-".to_owned(), signed_percent);
            let (count, pnl) = (grouped(&sums.count), amount(sums.pnl()));
            let _ = writeln!(
                page.0,
                "{:<10} {change:>10} {count:>7} {pnl:>12}",
                month.to_string()
            );
        }
    }

    fn symbol(&self, index: usize) -> &str {
        self.backtest.books()[index].symbol()
    }
}

fn heading(page: &mut TextTable, name: &str) {
    let _ = writeln!(
        page.0,
        "{name:<25} {:>7} {:>8} {:>7} {:>12} {:>11} {:>10} {:>9}",
        "TRADES", "WON", "FACTOR", "PNL", "FEES", "FUNDING", "AVG HOLD"
    );
}

fn row(page: &mut TextTable, name: &str, sums: &TradeTotals) {
    let held = sums.held_ms.checked_div(sums.count);
    let dash = || "-".to_owned();
    let _ = writeln!(
        page.0,
        "{name:<25} {:>7} {:>8} {:>7} {:>12} {:>11} {:>10} {:>9}",
        grouped(&sums.count),
        sums.win_rate().map_or_else(dash, percent),
        sums.profit_factor()
            .map_or_else(dash, |f| format!("{:.2}", hundredths(f))),
        amount(sums.pnl()),
        amount(sums.fees),
        amount(sums.funding),
        held.map_or_else(dash, format_ms)
    );
}

/// Adds a count to that of the same reason.
fn count(reasons: &mut Vec<(String, u64)>, reason: String, more: u64) {
    match reasons.iter_mut().find(|(known, _)| *known == reason) {
        Some((_, count)) => *count += more,
        None => reasons.push((reason, more)),
    }
}

/// Reasons with their counts, the most frequent first, one a line.
fn list(page: &mut TextTable, label: &str, what: &str, mut reasons: Vec<(String, u64)>) {
    reasons.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    if reasons.is_empty() {
        page.line(label, format!("no {what}"));
    }
    for (n, (why, count)) in reasons.iter().enumerate() {
        let label = if n == 0 { label } else { "" };
        page.line(label, format!("{:>6} {what}: {why}", grouped(count)));
    }
}

fn gap_text(gaps: &CandleGaps, book: &BookStats) -> String {
    let Some((from, until)) = gaps.first else {
        return "none".to_owned();
    };
    let restarts = match book.restarts {
        0 => "bridged at the last close".to_owned(),
        count => format!("after {count} of more than a day the indicators started over"),
    };
    format!(
        "{}, {} candles missing; the first from {} to {}; {restarts}",
        grouped(&gaps.count),
        grouped(&gaps.missing),
        minute(from),
        minute(until)
    )
}
