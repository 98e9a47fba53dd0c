//! The summary of a backtest as JSON, with the figures of the printed one. Amounts in USDT, times in UTC milliseconds.

use protocol::time::UtcMs;
use serde_json::{Map, Value, json};

use super::stats::TradeTotals;
use super::summary::BacktestSummary;

impl BacktestSummary<'_> {
    /// All figures as one JSON object.
    pub(super) fn to_json(&self) -> Value {
        let status = self.book.status();
        let figures = self.book.book().performance.figures();
        let strategies = self.args.strategies.iter().map(|strategy| {
            let sums = self.stats.strategies.get(strategy).copied();
            let mut json = totals(&sums.unwrap_or_default());
            json["strategy"] = json!(strategy.as_str());
            json
        });
        let position = status.position.map(|position| {
            json!({
                "strategy": position.strategy.as_str(),
                "side": position.side,
                "quantity": position.quantity.to_decimal(),
                "entry_price": position.entry_price.to_decimal(),
                "opened_at": position.at,
                "unrealized_pnl": status.unrealized_pnl,
            })
        });
        let max_drawdown = self.stats.valuation.max_drawdown;
        json!({
            "symbol": self.args.symbol,
            "candles": self.candles_json(),
            "bars": { "count": self.stats.bars, "evaluated_from": self.stats.evaluated_from },
            "settings": self.settings_json(),
            "strategies": strategies.collect::<Vec<_>>(),
            "total": totals(&self.stats.total()),
            "capital": self.args.capital_usdt,
            "equity": status.equity,
            "position": position,
            "max_drawdown": max_drawdown.map(|(share, from, until)| json!({
                "share": share.normalize(), "from": from, "until": until,
            })),
            "realized_max_drawdown": figures.max_drawdown,
            "sharpe": figures.sharpe,
            "exposure": self.exposure().map(|share| share.round_dp(6).normalize()),
            "rejected_signals": self.rejected_signals_json(),
            "dropped_entries": self.dropped_entries_json(),
            "latches": self.stats.latches,
            "latch_count": self.stats.latch_count,
        })
    }

    fn candles_json(&self) -> Value {
        let time = |at: fn(&(UtcMs, UtcMs)) -> UtcMs| self.stats.span.as_ref().map(at);
        let first_gap = self.gaps.first;
        json!({
            "file": self.args.candles.display().to_string(),
            "interval": self.config.base,
            "count": self.stats.candles,
            "from": time(|(from, _)| *from),
            "until": time(|(_, until)| *until),
            "gaps": self.gaps.count,
            "missing": self.gaps.missing,
            "first_gap": first_gap.map(|(from, until)| json!({ "from": from, "until": until })),
        })
    }

    fn settings_json(&self) -> Value {
        json!({
            "leverage": self.config.leverage,
            "fee_rate": self.config.fee_rate,
            "slippage_rate": self.config.slippage_rate,
            "funding_rate": self.config.funding_rate,
            "protections": self.config.protections.to_string(),
            "continue_after_halt": self.args.continue_after_halt,
        })
    }

    fn rejected_signals_json(&self) -> Value {
        let rejections = self.book.book().rejected_signals.iter();
        let entry = rejections.map(|(reason, rejected)| {
            let last_at = rejected.last_bar;
            let details = json!({
                "count": rejected.count, "last_at": last_at, "reason": reason.describe(),
            });
            (reason.to_string(), details)
        });
        Value::Object(entry.collect::<Map<_, _>>())
    }

    fn dropped_entries_json(&self) -> Value {
        let drops = self.book.dropped_entries().iter();
        let entry =
            drops.map(|(reason, count)| json!({ "reason": reason.to_string(), "count": count }));
        entry.collect()
    }
}

fn totals(sums: &TradeTotals) -> Value {
    let profit_factor = sums.gross_profit.checked_div(sums.gross_loss);
    json!({
        "trades": sums.count,
        "winning_trades": sums.wins,
        "profit_factor": profit_factor.map(|factor| factor.round_dp(6).normalize()),
        "pnl": sums.pnl(),
        "fees": sums.fees,
        "funding": sums.funding,
        "average_hold_ms": sums.held_ms.checked_div(sums.count),
    })
}
