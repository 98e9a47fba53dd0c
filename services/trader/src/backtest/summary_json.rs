//! The summary of a backtest as JSON, with the figures of the printed one. Amounts in USDT, times in UTC milliseconds.

use protocol::time::UtcMs;
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};
use trader_core::backtest::BacktestBook;

use super::format::ratio;
use super::summary::BacktestSummary;
use super::totals::TradeTotals;

impl BacktestSummary<'_> {
    /// All figures as one JSON object.
    pub(super) fn to_json(&self) -> Value {
        let books = (0..self.inputs.len()).map(|index| self.book_json(index));
        let totals = &self.stats.totals;
        let strategies = self.config.strategies.iter().map(|strategy| {
            let sums = totals.by_strategy.get(strategy).copied();
            named_totals("strategy", strategy.as_str(), &sums.unwrap_or_default())
        });
        let sides = ["long", "short"].iter().zip(&totals.by_side);
        let sides = sides.map(|(side, sums)| named_totals("side", side, sums));
        let reasons = totals.by_reason.iter();
        let reasons = reasons.map(|(reason, sums)| named_totals("reason", reason, sums));
        json!({
            "books": books.collect::<Vec<_>>(),
            "period": self.stats.period.map(|(from, until)| json!({ "from": from, "until": until })),
            "idle_strategies": self.idle_strategies(),
            "settings": self.settings_json(),
            "strategies": strategies.collect::<Vec<_>>(),
            "sides": sides.collect::<Vec<_>>(),
            "exit_reasons": reasons.collect::<Vec<_>>(),
            "total": totals_json(&totals.all),
            "capital": self.backtest.capital(),
            "equity": self.backtest.equity(),
            "buy_and_hold": self.stats.buy_and_hold().map(rounded),
            "statistics": self.statistics_json(),
            "months": self.months_json(),
            "latches": self.stats.latches,
            "latch_count": self.stats.latch_count,
        })
    }

    fn book_json(&self, index: usize) -> Value {
        let (description, gaps) = &self.inputs[index];
        let book = &self.backtest.books()[index];
        let figures = &self.stats.books[index];
        let time = |at: fn(&(UtcMs, UtcMs)) -> UtcMs| figures.span.as_ref().map(at);
        let period_bars = self.stats.period_bars();
        let evaluated = self.config.strategies.iter().map(|strategy| {
            let evaluated = figures.evaluated(*strategy);
            let share = Decimal::from(evaluated.bars).checked_div(Decimal::from(period_bars));
            let details = json!({
                "from": evaluated.from, "bars": evaluated.bars, "share": share.map(rounded),
            });
            (strategy.to_string(), details)
        });
        let sums = self.stats.totals.by_book.get(&index).copied();
        let status = book.status();
        json!({
            "symbol": book.symbol(),
            "candles": {
                "source": description,
                "interval": self.config.base,
                "count": figures.candles,
                "from": time(|(from, _)| *from),
                "until": time(|(_, until)| *until),
                "gaps": gaps.count,
                "missing": gaps.missing,
                "bridged": figures.bridged,
                "first_gap": gaps.first.map(|(from, until)| json!({ "from": from, "until": until })),
            },
            "bars": { "count": figures.bars, "of": period_bars, "restarts": figures.restarts },
            "evaluated": evaluated.collect::<Map<_, _>>(),
            "total": totals_json(&sums.unwrap_or_default()),
            "capital": status.capital,
            "equity": status.equity,
            "position": position_json(book),
            "realized_max_drawdown": book.state().performance.figures(None).max_drawdown,
            "rejected_signals": rejected_signals_json(book),
            "dropped_entries": dropped_entries_json(book),
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

    fn statistics_json(&self) -> Value {
        let ratios = self.stats.ratios();
        let valuation = self.stats.valuation.as_ref();
        let drawdown = valuation.and_then(|value| value.max_drawdown);
        json!({
            "days": valuation.map_or(0, |value| value.returns().len()),
            "sharpe": ratio(ratios.sharpe),
            "sortino": ratio(ratios.sortino),
            "calmar": ratio(ratios.calmar),
            "cagr": ratio(ratios.cagr),
            "volatility": ratio(ratios.volatility),
            "max_drawdown": drawdown.map(|worst| json!({
                "share": ratio(Some(worst.depth)), "from": worst.peak_at, "until": worst.low_at,
            })),
            "longest_drawdown_ms": valuation.map_or(0, |value| value.longest_drawdown_ms),
            "exposure": self.exposure().map(rounded),
            "turnover": self.turnover().map(rounded),
        })
    }

    fn months_json(&self) -> Value {
        let Some(valuation) = &self.stats.valuation else {
            return json!([]);
        };
        let months = valuation.monthly_returns().map(|(month, change)| {
            let sums = self.stats.totals.by_month.get(&month).copied();
            let mut json = named_totals("month", &month.to_string(), &sums.unwrap_or_default());
            json["return"] = json!(ratio(Some(change)));
            json
        });
        months.collect()
    }
}

fn position_json(book: &BacktestBook) -> Option<Value> {
    let status = book.status();
    let position = status.position?;
    Some(json!({
        "strategy": position.strategy.as_str(),
        "side": position.side,
        "quantity": position.quantity.to_decimal(),
        "entry_price": position.entry_price.to_decimal(),
        "opened_at": position.at,
        "unrealized_pnl": status.unrealized_pnl,
    }))
}

fn rejected_signals_json(book: &BacktestBook) -> Value {
    let rejections = book.state().rejected_signals.iter();
    let entry = rejections.map(|(reason, rejected)| {
        let details = json!({
            "count": rejected.count, "last_at": rejected.last_bar, "reason": reason.describe(),
        });
        (reason.to_string(), details)
    });
    Value::Object(entry.collect())
}

fn dropped_entries_json(book: &BacktestBook) -> Value {
    let drops = book.dropped_entries().iter();
    let entry =
        drops.map(|(reason, count)| json!({ "reason": reason.to_string(), "count": count }));
    entry.collect()
}

fn named_totals(key: &str, name: &str, sums: &TradeTotals) -> Value {
    let mut json = totals_json(sums);
    json[key] = json!(name);
    json
}

fn totals_json(sums: &TradeTotals) -> Value {
    json!({
        "trades": sums.count,
        "winning_trades": sums.wins,
        "win_rate": sums.win_rate().map(rounded),
        "profit_factor": sums.profit_factor().map(rounded),
        "expectancy": sums.expectancy().map(rounded),
        "average_win": sums.average_win().map(rounded),
        "average_loss": sums.average_loss().map(rounded),
        "pnl": sums.pnl(),
        "fees": sums.fees,
        "funding": sums.funding,
        "turnover": sums.turnover.normalize(),
        "average_hold_ms": sums.held_ms.checked_div(sums.count),
    })
}

fn rounded(value: Decimal) -> Decimal {
    value.round_dp(6).normalize()
}
