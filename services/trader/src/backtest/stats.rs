//! Statistics of a backtest, folded candle by candle and trade by trade: counts, sums, the largest drawdown.

use std::collections::BTreeMap;

use protocol::time::UtcMs;
use rust_decimal::Decimal;
use trader_core::account::Latch;
use trader_core::backtest::{Backtest, ClosedTrade, StepOutcome};
use trader_core::candle::{Candle, Interval};
use trader_core::performance::drawdown;
use trader_core::strategy::Strategy;

use super::equity_curve::EquityCurve;

/// Latches that the summary lists one by one.
const MAX_LATCHES_LISTED: usize = 5;

/// Statistics up to the newest candle.
#[derive(Debug, Default)]
pub(super) struct BacktestStats {
    /// Number of candles read.
    pub(super) candles: u64,
    /// Open time of the first candle and close time of the last; `None` before the first.
    pub(super) span: Option<(UtcMs, UtcMs)>,
    /// Number of complete 30m bars.
    pub(super) bars: u64,
    /// Close time of the first bar that was evaluated; `None` during warm-up.
    pub(super) evaluated_from: Option<UtcMs>,
    /// Sums over closed trades, by strategy.
    pub(super) strategies: BTreeMap<Strategy, TradeTotals>,
    /// The equity, marked to market.
    pub(super) valuation: BookValuation,
    /// Critical breakers that tripped, the first few.
    pub(super) latches: Vec<Latch>,
    /// Number of critical breakers that tripped.
    pub(super) latch_count: u64,
}

/// Sums over closed trades. Amounts in the quote currency.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TradeTotals {
    pub(super) count: u64,
    /// Number of trades with a profit after fees.
    pub(super) wins: u64,
    /// Sum of the profits.
    pub(super) gross_profit: Decimal,
    /// Sum of the losses, positive.
    pub(super) gross_loss: Decimal,
    /// Sum of the fees, without funding.
    pub(super) fees: Decimal,
    /// Sum of the funding paid; negative if more was received.
    pub(super) funding: Decimal,
    /// Sum of the holding times, in milliseconds.
    pub(super) held_ms: u64,
}

/// Value of the book, with its open position at the newest price.
#[derive(Debug, Default)]
pub(super) struct BookValuation {
    peak: Option<(UtcMs, Decimal)>,
    /// Largest drawdown as a share of the peak, time of the peak, time of the low; `None` without a drawdown.
    pub(super) max_drawdown: Option<(Decimal, UtcMs, UtcMs)>,
    /// The equity over time.
    pub(super) curve: EquityCurve,
}

impl BacktestStats {
    /// Takes in the effects of one candle.
    pub(super) fn add_step(
        &mut self,
        candle: &Candle,
        base: Interval,
        step: &StepOutcome,
        book: &Backtest,
    ) {
        let close = base.close_of(candle.open_time);
        self.candles += 1;
        let (first, _) = self.span.unwrap_or((candle.open_time, close));
        self.span = Some((first, close));
        for trade in &step.trades {
            let sums = self.strategies.entry(trade.strategy).or_default();
            sums.add(trade);
            self.valuation
                .add(base.close_of(trade.exit_at), trade.equity);
        }
        if let Some(latch) = &step.latch {
            self.latch_count += 1;
            if self.latches.len() < MAX_LATCHES_LISTED {
                self.latches.push(latch.clone());
            }
        }
        if step.bar_closed {
            self.bars += 1;
            self.valuation.add(close, book.status().equity);
            if self.evaluated_from.is_none() && book.strategy_inputs().is_some() {
                self.evaluated_from = Some(close);
            }
        }
    }

    /// Takes in the value of the book after the last candle.
    pub(super) fn finish(&mut self, book: &Backtest) {
        if let Some((_, close)) = self.span {
            self.valuation.add(close, book.status().equity);
        }
    }

    /// Sums over the trades of all strategies.
    pub(super) fn total(&self) -> TradeTotals {
        let sum = |a: TradeTotals, b: &TradeTotals| TradeTotals {
            count: a.count + b.count,
            wins: a.wins + b.wins,
            gross_profit: a.gross_profit.saturating_add(b.gross_profit),
            gross_loss: a.gross_loss.saturating_add(b.gross_loss),
            fees: a.fees.saturating_add(b.fees),
            funding: a.funding.saturating_add(b.funding),
            held_ms: a.held_ms.saturating_add(b.held_ms),
        };
        self.strategies.values().fold(TradeTotals::default(), sum)
    }
}

impl TradeTotals {
    fn add(&mut self, trade: &ClosedTrade) {
        self.count += 1;
        self.wins += u64::from(trade.pnl > Decimal::ZERO);
        if trade.pnl > Decimal::ZERO {
            self.gross_profit = self.gross_profit.saturating_add(trade.pnl);
        } else {
            self.gross_loss = self.gross_loss.saturating_sub(trade.pnl);
        }
        let fees = trade.fees.saturating_sub(trade.funding);
        self.fees = self.fees.saturating_add(fees);
        self.funding = self.funding.saturating_add(trade.funding);
        let held = trade.exit_at.millis_since(trade.entry_at);
        self.held_ms = self.held_ms.saturating_add(held);
    }

    /// Profit after fees and funding.
    pub(super) fn pnl(&self) -> Decimal {
        self.gross_profit.saturating_sub(self.gross_loss)
    }
}

impl BookValuation {
    /// Takes in the equity at `at`.
    pub(super) fn add(&mut self, at: UtcMs, equity: Decimal) {
        self.curve.add(at, equity);
        let (since, peak) = match self.peak {
            Some((since, peak)) if peak >= equity => (since, peak),
            _ => (at, equity),
        };
        self.peak = Some((since, peak));
        let depth = drawdown(peak, equity);
        if depth
            > self
                .max_drawdown
                .map_or(Decimal::ZERO, |(deepest, ..)| deepest)
        {
            self.max_drawdown = Some((depth, since, at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_drawdown_is_measured_from_the_highest_earlier_value() {
        let mut worth = BookValuation::default();
        for (at, equity) in [(1, 100), (2, 120), (3, 108), (4, 121), (5, 110), (6, 109)] {
            worth.add(UtcMs(at), Decimal::from(equity));
        }
        // 120 to 108 is 10 %; 121 to 109 is 9.9 %.
        assert_eq!(
            worth.max_drawdown,
            Some((Decimal::new(1, 1), UtcMs(2), UtcMs(3)))
        );
    }
}
