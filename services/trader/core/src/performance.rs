//! Performance figures of a book's closed trades: profit factor, drawdown, Sharpe ratio, time in the market. Folded trade by
//! trade in constant memory.

use protocol::time::UtcMs;
use rust_decimal::{Decimal, MathematicalOps};
use serde::{Deserialize, Serialize};

const DAY_MS: i64 = 86_400_000;
/// Decimal places of daily returns and their squares.
const PLACES: u32 = 14;

/// Sums over the closed trades. Amounts are in the quote currency.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Performance {
    gross_profit: Decimal,
    gross_loss: Decimal,
    peak: Decimal,
    max_drawdown: Decimal,
    in_market_ms: i64,
    daily_returns: DailyReturns,
}

/// Sums of the daily returns of the realized equity.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct DailyReturns {
    /// Day of the newest trade since the epoch, equity before that day, and equity now; `None` before the first trade.
    current: Option<(i64, Decimal, Decimal)>,
    /// Number of completed days.
    count: u64,
    sum: Decimal,
    squares: Decimal,
}

/// Figures that rate a series of trades.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PerformanceFigures {
    /// Sum of all profits, in the quote currency.
    pub gross_profit: Decimal,
    /// Sum of all losses, positive, in the quote currency.
    pub gross_loss: Decimal,
    /// Gross profit divided by gross loss; `None` without a loss.
    pub profit_factor: Option<Decimal>,
    /// Largest fall of the realized equity from a peak, as a share of the peak.
    pub max_drawdown: Decimal,
    /// Sharpe ratio: mean of the daily returns divided by their sample standard deviation, times the square root of 365,
    /// without a risk-free rate. Every day from the first entry on counts, as 0 without a trade. `None` before two days, or
    /// if all returns are equal.
    pub sharpe: Option<Decimal>,
    /// Time with an open position, in milliseconds.
    pub in_market_ms: i64,
}

impl Performance {
    /// Sets the capital of a new book.
    pub fn start(&mut self, capital: Decimal) {
        self.peak = capital;
    }

    /// Records a change of the capital, which is neither profit nor loss.
    pub fn capital_changed(&mut self, by: Decimal) {
        self.peak = self.peak.saturating_add(by);
        if let Some((_, before, now)) = &mut self.daily_returns.current {
            *before = before.saturating_add(by);
            *now = now.saturating_add(by);
        }
    }

    /// Adds a closed position with its profit and the equity after it.
    pub fn add_trade(&mut self, opened: UtcMs, at: UtcMs, pnl: Decimal, equity: Decimal) {
        if pnl > Decimal::ZERO {
            self.gross_profit = self.gross_profit.saturating_add(pnl);
        } else {
            self.gross_loss = self.gross_loss.saturating_sub(pnl);
        }
        self.peak = self.peak.max(equity);
        self.max_drawdown = self.max_drawdown.max(drawdown(self.peak, equity));
        let held = at.0.saturating_sub(opened.0).max(0);
        self.in_market_ms = self.in_market_ms.saturating_add(held);
        self.daily_returns.add_trade(opened, at, pnl, equity);
    }

    /// The figures of all trades so far. `until`: the newest known time, up to which days without a trade count; `None` for
    /// the last trade.
    pub fn figures(&self, until: Option<UtcMs>) -> PerformanceFigures {
        PerformanceFigures {
            gross_profit: self.gross_profit,
            gross_loss: self.gross_loss,
            profit_factor: self.gross_profit.checked_div(self.gross_loss).map(rounded),
            max_drawdown: rounded(self.max_drawdown),
            sharpe: self.daily_returns.sharpe(until).map(rounded),
            in_market_ms: self.in_market_ms,
        }
    }
}

impl DailyReturns {
    fn add_trade(&mut self, opened: UtcMs, at: UtcMs, pnl: Decimal, equity: Decimal) {
        let day = day_of(at);
        let before = match self.current {
            Some((same, before, _)) if same >= day => before,
            Some((last, before, after)) => {
                self.add_day(change(before, after));
                // Days without a trade have a return of zero.
                self.count += days(last + 1, day);
                after
            }
            None => {
                self.count += days(day_of(opened), day);
                equity.saturating_sub(pnl)
            }
        };
        self.current = Some((day, before, equity));
    }

    fn add_day(&mut self, change: Decimal) {
        self.count += 1;
        self.sum = self.sum.saturating_add(change);
        let square = change.saturating_mul(change).round_dp(PLACES);
        self.squares = self.squares.saturating_add(square);
    }

    fn sharpe(&self, until: Option<UtcMs>) -> Option<Decimal> {
        let mut returns = self.clone();
        let (day, before, after) = returns.current?;
        returns.add_day(change(before, after));
        returns.count += until.map_or(0, |until| days(day, day_of(until)));
        if returns.count < 2 {
            return None;
        }
        let n = Decimal::from(returns.count);
        let mean = returns.sum.checked_div(n)?;
        let spread = returns
            .squares
            .checked_sub(n.checked_mul(mean)?.checked_mul(mean)?)?;
        let deviation = spread.checked_div(n - Decimal::ONE)?.sqrt()?;
        mean.checked_div(deviation)?
            .checked_mul(Decimal::from(365).sqrt()?)
    }
}

const fn day_of(at: UtcMs) -> i64 {
    at.0.div_euclid(DAY_MS)
}

/// Number of days from `from` up to, but not including, `until`; 0 if that is earlier.
fn days(from: i64, until: i64) -> u64 {
    u64::try_from(until.saturating_sub(from)).unwrap_or(0)
}

/// Fall of `equity` below `peak`, as a share of the peak; zero if it is above.
pub fn drawdown(peak: Decimal, equity: Decimal) -> Decimal {
    let fall = peak.saturating_sub(equity).checked_div(peak);
    fall.unwrap_or_default().max(Decimal::ZERO)
}

fn change(before: Decimal, after: Decimal) -> Decimal {
    let share = after.saturating_sub(before).checked_div(before);
    share.unwrap_or_default().round_dp(PLACES)
}

fn rounded(value: Decimal) -> Decimal {
    value.round_dp(6).normalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dec(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    /// Trades `(day, pnl)` from 1,000, each held for an hour.
    fn figures_after(trades: &[(i64, &str)]) -> PerformanceFigures {
        let mut performance = Performance::default();
        let mut equity = dec("1000");
        performance.start(equity);
        for (day, pnl) in trades {
            equity += dec(pnl);
            let at = UtcMs(day * DAY_MS + 7_200_000);
            performance.add_trade(UtcMs(at.0 - 3_600_000), at, dec(pnl), equity);
        }
        performance.figures(None)
    }

    #[test]
    fn performance_figures_match_textbook_formulas() {
        // Computed with pandas: returns 0.05, -0.02, 0, 0.01 a day; mean 0.01, deviation 0.0294392.
        let figures = figures_after(&[(0, "30"), (0, "20"), (1, "-21"), (3, "10.29")]);
        assert_eq!(figures.gross_profit, dec("60.29"));
        assert_eq!(figures.gross_loss, dec("21"));
        assert_eq!(figures.profit_factor, Some(dec("2.870952")));
        assert_eq!(figures.max_drawdown, dec("0.02"));
        assert_eq!(figures.sharpe, Some(dec("6.489637")));
        assert_eq!(figures.in_market_ms, 4 * 3_600_000);
    }

    #[test]
    fn days_before_and_after_the_trades_count() {
        let mut performance = Performance::default();
        performance.start(dec("1000"));
        let day = |n: i64| UtcMs(n * DAY_MS + 7_200_000);
        performance.add_trade(day(0), day(2), dec("50"), dec("1050"));
        performance.add_trade(day(3), day(3), dec("-21"), dec("1029"));
        let sharpe = |until| performance.figures(until).sharpe;
        // Computed with numpy: returns 0, 0, 0.05, -0.02 a day, and six days more without a trade.
        assert_eq!(sharpe(None), Some(dec("4.798510")));
        assert_eq!(sharpe(Some(day(3))), Some(dec("4.798510")));
        assert_eq!(sharpe(Some(day(9))), Some(dec("3.243663")));
    }

    #[test]
    fn undefined_figures_are_none() {
        let none = figures_after(&[]);
        assert_eq!((none.profit_factor, none.sharpe), (None, None));
        let one_day = figures_after(&[(0, "10"), (0, "-5")]);
        assert_eq!(one_day.sharpe, None);
        let no_loss = figures_after(&[(0, "10"), (1, "10")]);
        assert_eq!(no_loss.profit_factor, None);
        let flat = figures_after(&[(0, "0"), (1, "0")]);
        assert_eq!(flat.sharpe, None);
    }
}
