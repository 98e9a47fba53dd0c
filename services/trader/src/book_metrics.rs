//! What a trader shows Prometheus beyond what every process does: its books and its feed. Read at each
//! scrape; names and units follow Prometheus's conventions.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use crate::health_inputs::HealthInputs;

/// Sets them all.
pub fn update(inputs: &HealthInputs) {
    let age = inputs.feed.stats().candle_age(inputs.feed.clock().now());
    if let Some(age) = age {
        gauge!("bearish_candle_age_seconds").set(age.as_secs_f64());
    }
    for (symbol, report) in inputs.book_registry.reports() {
        let label = [("symbol", symbol.to_string())];
        gauge!("bearish_book_equity_usdt", &label).set(float(report.equity));
        gauge!("bearish_book_realized_pnl_usdt", &label).set(float(report.realized_pnl));
        gauge!("bearish_book_unrealized_pnl_usdt", &label).set(float(report.unrealized_pnl));
        gauge!("bearish_book_max_drawdown_ratio", &label).set(float(report.max_drawdown));
        let position = report
            .position
            .as_ref()
            .map_or(Decimal::ZERO, |p| match p.side {
                protocol::event::PositionSide::Long => p.quantity,
                protocol::event::PositionSide::Short => -p.quantity,
            });
        gauge!("bearish_book_position_quantity", &label).set(float(position));
        gauge!("bearish_book_halted", &label).set(u8::from(report.halt_reason.is_some()));
        counter!("bearish_book_trades_total", &label).absolute(report.trades);
        counter!("bearish_book_winning_trades_total", &label).absolute(report.winning_trades);
        for (reason, count) in report.rejected_signals {
            let labels = [("symbol", symbol.to_string()), ("reason", reason)];
            counter!("bearish_book_signals_rejected_total", &labels).absolute(count);
        }
    }
}

/// Says once what each of them is.
pub fn describe() {
    describe_gauge!(
        "bearish_candle_age_seconds",
        Unit::Seconds,
        "Since the oldest of the newest candles closed, exchange time"
    );
    describe_gauge!(
        "bearish_book_equity_usdt",
        "What the book is worth, unrealised profit included"
    );
    describe_gauge!(
        "bearish_book_realized_pnl_usdt",
        "Profit of the closed positions"
    );
    describe_gauge!(
        "bearish_book_unrealized_pnl_usdt",
        "Profit of the open position at the last price"
    );
    describe_gauge!(
        "bearish_book_max_drawdown_ratio",
        "Largest fall of the realised equity"
    );
    describe_gauge!(
        "bearish_book_position_quantity",
        "Signed: negative short, zero flat"
    );
    describe_gauge!("bearish_book_halted", "1 while the book trades no more");
    describe_counter!(
        "bearish_book_trades_total",
        "Positions closed, over all boots"
    );
    describe_counter!(
        "bearish_book_winning_trades_total",
        "Of those, with a profit after fees"
    );
    describe_counter!(
        "bearish_book_signals_rejected_total",
        "Signals that became no entry, by reason"
    );
}

/// For a picture only: money never comes back from here.
fn float(value: Decimal) -> f64 {
    value.to_f64().unwrap_or(f64::NAN)
}
