//! The printed summary of a backtest.

use std::fmt::{Display, Write as _};
use std::path::Path;

use protocol::duration::format_ms;
use protocol::time::UtcMs;
use rust_decimal::{Decimal, RoundingStrategy};
use trader_core::backtest::Backtest;
use trader_core::book::BookConfig;

use super::args::BacktestArgs;
use super::candles::CandleGaps;
use super::stats::{BacktestStats, TradeTotals};

/// The data of the summary.
pub(super) struct BacktestSummary<'a> {
    /// Flags of the command.
    pub(super) args: &'a BacktestArgs,
    /// Configuration of the book that follows from the flags.
    pub(super) config: &'a BookConfig,
    /// Gaps of the candle file.
    pub(super) gaps: CandleGaps,
    /// The book after the last candle.
    pub(super) book: &'a Backtest,
    /// Statistics of the run.
    pub(super) stats: &'a BacktestStats,
}

/// Lines of the summary, with the labels in the first column.
struct TextTable(String);

impl TextTable {
    fn line(&mut self, label: &str, text: impl Display) {
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
        self.candles(&mut page);
        self.settings(&mut page);
        page.blank();
        self.trades(&mut page);
        page.blank();
        self.equity(&mut page);
        self.rejections(&mut page);
        self.latches(&mut page);
        page.0
    }

    fn candles(&self, page: &mut TextTable) {
        let BacktestStats {
            candles,
            span,
            bars,
            evaluated_from: judged_from,
            ..
        } = self.stats;
        let file = self.args.candles.file_name().map(Path::new);
        let file = file.map_or_else(String::new, |name| name.display().to_string());
        page.line(self.args.symbol.as_str(), file);
        page.line(
            "candles",
            format!("{} of {}", grouped(candles), self.config.base),
        );
        if let Some((from, until)) = span {
            let length = until.millis_since(*from);
            page.line(
                "span",
                format!(
                    "{} to {} ({})",
                    minute(*from),
                    minute(*until),
                    format_ms(length)
                ),
            );
        }
        page.line("gaps", gaps(&self.gaps));
        let judged = judged_from.map_or_else(
            || "too few to judge any: the first 300 in a row warm the indicators up".to_owned(),
            |from| format!("judged from {} on", minute(from)),
        );
        page.line("30m bars", format!("{} complete, {judged}", grouped(bars)));
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
        let _ = writeln!(
            page.0,
            "{:<25} {:>7} {:>8} {:>7} {:>12} {:>11} {:>10} {:>9}",
            "STRATEGY", "TRADES", "WON", "FACTOR", "PNL", "FEES", "FUNDING", "AVG HOLD"
        );
        for strategy in &self.args.strategies {
            let sums = self.stats.strategies.get(strategy);
            row(page, strategy.as_str(), &sums.copied().unwrap_or_default());
        }
        row(page, "total", &self.stats.total());
    }

    fn equity(&self, page: &mut TextTable) {
        let status = self.book.status();
        let figures = self.book.book().performance.figures();
        let change = (status.equity - self.args.capital_usdt).checked_div(self.args.capital_usdt);
        page.line(
            "equity",
            format!(
                "{} -> {} ({})",
                amount(self.args.capital_usdt),
                amount(status.equity),
                change.map_or_else(|| "-".to_owned(), signed_percent)
            ),
        );
        if let Some(position) = status.position {
            page.line(
                "still open",
                format!(
                    "{} {} at {} by {}, unrealized {}",
                    position.side,
                    position.quantity,
                    position.entry_price,
                    position.strategy,
                    amount(status.unrealized_pnl)
                ),
            );
        }
        let marked = self.stats.valuation.max_drawdown.map_or_else(
            || "none".to_owned(),
            |(depth, from, to)| format!("{}, {} to {}", percent(depth), minute(from), minute(to)),
        );
        page.line("max drawdown", format!("{marked} (marked to market)"));
        page.line(
            "",
            format!("{} of the realized equity", percent(figures.max_drawdown)),
        );
        let sharpe = figures
            .sharpe
            .map_or_else(|| "-".to_owned(), |s| format!("{:.2}", hundredths(s)));
        page.line(
            "Sharpe",
            format!("{sharpe} (realized, daily returns, annualized)"),
        );
        let exposure = self.exposure().map_or_else(
            || "-".to_owned(),
            |share| format!("{} of the time", percent(share)),
        );
        page.line("exposure", exposure);
    }

    /// Share of the time in which a position was open, from 0 to 1; `None` without candles.
    pub(super) fn exposure(&self) -> Option<Decimal> {
        let (from, until) = self.stats.span?;
        let closed_ms = self.book.book().performance.figures().in_market_ms;
        let open = self.book.status().position;
        let open = open.map_or(0, |p| until.millis_since(p.at));
        let held = Decimal::from(closed_ms).saturating_add(Decimal::from(open));
        let span = Decimal::from(until.millis_since(from));
        Some(held.checked_div(span).unwrap_or_default())
    }

    fn rejections(&self, page: &mut TextTable) {
        let rejections = &self.book.book().rejected_signals;
        let rejected = rejections
            .iter()
            .map(|(why, rejected)| (format!("{why} ({})", why.describe()), rejected.count));
        list(page, "rejected", "signals", rejected.collect());
        let drops = self.book.dropped_entries().iter();
        let dropped = drops.map(|(why, count)| (why.to_string(), *count));
        list(page, "dropped", "entries", dropped.collect());
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
}

fn row(page: &mut TextTable, name: &str, sums: &TradeTotals) {
    let share = |part: Decimal, of: Decimal| part.checked_div(of);
    let won = share(Decimal::from(sums.wins), Decimal::from(sums.count));
    let factor = share(sums.gross_profit, sums.gross_loss);
    let held = sums.held_ms.checked_div(sums.count);
    let dash = || "-".to_owned();
    let _ = writeln!(
        page.0,
        "{name:<25} {:>7} {:>8} {:>7} {:>12} {:>11} {:>10} {:>9}",
        grouped(&sums.count),
        won.map_or_else(dash, percent),
        factor.map_or_else(dash, |f| format!("{:.2}", hundredths(f))),
        amount(sums.pnl()),
        amount(sums.fees),
        amount(sums.funding),
        held.map_or_else(dash, format_ms)
    );
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

fn gaps(gaps: &CandleGaps) -> String {
    let Some((from, until)) = gaps.first else {
        return "none".to_owned();
    };
    format!(
        "{}, {} candles missing; the first from {} to {}",
        grouped(&gaps.count),
        grouped(&gaps.missing),
        minute(from),
        minute(until)
    )
}

/// Formats a time, for example `2022-01-31T05:30Z`.
fn minute(at: UtcMs) -> String {
    let text = at.to_string();
    text.get(..16)
        .map_or(text.clone(), |head| format!("{head}Z"))
}

fn percent(share: Decimal) -> String {
    let percent = hundredths(share.saturating_mul(Decimal::ONE_HUNDRED));
    format!("{percent:.2} %")
}

fn signed_percent(share: Decimal) -> String {
    let percent = hundredths(share.saturating_mul(Decimal::ONE_HUNDRED));
    format!("{percent:+.2} %")
}

/// Formats a share as a percentage with all its digits.
fn rate(share: Decimal) -> String {
    format!("{} %", (share * Decimal::ONE_HUNDRED).normalize())
}

/// Formats an amount with two decimals and separated thousands.
fn amount(value: Decimal) -> String {
    grouped(&format!("{:.2}", hundredths(value)))
}

/// Rounds to cents: the formatting of a decimal only truncates.
fn hundredths(value: Decimal) -> Decimal {
    value.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero)
}

/// Formats a number with separated thousands.
fn grouped(number: &impl Display) -> String {
    let text = number.to_string();
    let (whole, fraction) = text
        .split_once('.')
        .map_or((text.as_str(), None), |(w, f)| (w, Some(f)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |d| ("-", d));
    let mut out = String::from(sign);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [
            ("0", "0"),
            ("999", "999"),
            ("-1000", "-1,000"),
            ("1234567.89", "1,234,567.89"),
        ] {
            assert_eq!(grouped(&number), text);
        }
        assert_eq!(amount(Decimal::new(-12_345_678, 3)), "-12,345.68");
        assert_eq!(percent(Decimal::new(428_571, 6)), "42.86 %");
        assert_eq!(rate(Decimal::new(6, 4)), "0.06 %");
    }

    #[test]
    fn times_are_short() {
        assert_eq!(minute(UtcMs(1_640_991_660_000)), "2021-12-31T23:01Z");
    }
}
