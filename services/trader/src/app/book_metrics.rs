//! The trader's own metrics: its feed and its books. They are set at each scrape; a book that this process does not
//! hold any more has no series.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use protocol::report::{AccountReport, BookReport, PositionReport};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use trader_core::circuit_breaker::Breaker;

use super::health_inputs::HealthInputs;

const CANDLE_AGE: &str = "bearish_candle_age_seconds";
const EQUITY: &str = "bearish_book_equity_usdt";
const REALIZED_PNL: &str = "bearish_book_realized_pnl_usdt";
const UNREALIZED_PNL: &str = "bearish_book_unrealized_pnl_usdt";
const MAX_DRAWDOWN: &str = "bearish_book_max_drawdown_ratio";
const POSITION_QUANTITY: &str = "bearish_book_position_quantity";
const HALTED: &str = "bearish_book_halted";
const TRADES: &str = "bearish_book_trades_total";
const WINNING_TRADES: &str = "bearish_book_winning_trades_total";
const UNPROTECTED: &str = "bearish_position_unprotected_seconds";
const SIGNALS_REJECTED: &str = "bearish_book_signals_rejected_total";
const ENTRIES_REJECTED: &str = "bearish_book_entries_rejected_total";
const BALANCE: &str = "bearish_account_balance_usdt";
const BALANCE_DIFFERENCE: &str = "bearish_account_balance_difference_usdt";
const BALANCE_DIFFERS: &str = "bearish_account_balance_differs";
const BREAKER_TRIPPED: &str = "bearish_breaker_tripped";

/// Sets all metrics of the feed and of the books that this process holds now.
pub fn update(inputs: &HealthInputs) {
    let client = &inputs.data_client;
    let age = client.feed_stats().candle_age(client.clock().now());
    if let Some(age) = age {
        gauge!(CANDLE_AGE).set(age.as_secs_f64());
    }
    let unprotected = inputs.protection_status.unprotected();
    let report = inputs.account_monitor.status().map(|status| status.report);
    if let Some(report) = &report {
        set_balance(report);
    }
    let latch = report.and_then(|report| report.latch);
    for breaker in Breaker::ALL.into_iter().filter(|b| b.is_of_account()) {
        let name = breaker.as_str();
        let is_tripped = latch.as_ref().is_some_and(|latch| latch.trigger == name);
        set_breaker("", name, is_tripped);
    }
    for (symbol, report) in inputs.book_registry.reports() {
        set_book(symbol.as_str(), &report);
        let of_symbol = unprotected.iter().find(|(s, _)| *s == symbol);
        let age = of_symbol.map_or(0.0, |(_, age)| age.as_secs_f64());
        gauge!(UNPROTECTED, "symbol" => symbol.to_string()).set(age);
    }
}

/// Sets the balance of a live account; a paper account has none.
fn set_balance(report: &AccountReport) {
    if let Some(balance) = &report.balance {
        gauge!(BALANCE).set(to_float(balance.balance));
        gauge!(BALANCE_DIFFERENCE).set(to_float(balance.difference));
        gauge!(BALANCE_DIFFERS).set(u8::from(report.difference_id.is_some()));
    }
}

/// Sets the state of a circuit breaker. The symbol is empty for a breaker of the account.
fn set_breaker(symbol: &str, breaker: &'static str, is_tripped: bool) {
    let labels = [
        ("symbol", symbol.to_owned()),
        ("breaker", breaker.to_owned()),
    ];
    gauge!(BREAKER_TRIPPED, &labels).set(u8::from(is_tripped));
}

fn set_book(symbol: &str, report: &BookReport) {
    let label = [("symbol", symbol.to_owned())];
    gauge!(EQUITY, &label).set(to_float(report.equity));
    gauge!(REALIZED_PNL, &label).set(to_float(report.realized_pnl));
    gauge!(UNREALIZED_PNL, &label).set(to_float(report.unrealized_pnl));
    gauge!(MAX_DRAWDOWN, &label).set(to_float(report.max_drawdown));
    let quantity = report
        .position
        .as_ref()
        .map_or(Decimal::ZERO, PositionReport::signed_quantity);
    gauge!(POSITION_QUANTITY, &label).set(to_float(quantity));
    gauge!(HALTED, &label).set(u8::from(report.halt_reason.is_some()));
    counter!(TRADES, &label).absolute(report.trades);
    counter!(WINNING_TRADES, &label).absolute(report.winning_trades);
    for (code, count) in &report.rejected_entries {
        let labels = [("symbol", symbol.to_owned()), ("code", code.to_string())];
        counter!(ENTRIES_REJECTED, &labels).absolute(*count);
    }
    for breaker in Breaker::ALL.into_iter().filter(|b| !b.is_of_account()) {
        let name = breaker.as_str();
        let is_tripped = report
            .tripped_breakers
            .iter()
            .any(|tripped| tripped == name);
        set_breaker(symbol, name, is_tripped);
    }
    for (reason, count) in &report.rejected_signals {
        let labels = [("symbol", symbol.to_owned()), ("reason", reason.clone())];
        counter!(SIGNALS_REJECTED, &labels).absolute(*count);
    }
}

/// Describes the metrics to the recorder.
pub fn describe() {
    describe_gauge!(
        CANDLE_AGE,
        Unit::Seconds,
        "Time since the oldest of the books' newest candles closed, exchange time"
    );
    describe_gauge!(EQUITY, "Equity of the book, unrealized profit included");
    describe_gauge!(
        REALIZED_PNL,
        "Profit of the closed positions after fees and funding"
    );
    describe_gauge!(
        UNREALIZED_PNL,
        "Profit of the open position at the last price"
    );
    describe_gauge!(
        MAX_DRAWDOWN,
        "Largest fall of the realized equity from a peak, as a share of the peak"
    );
    describe_gauge!(
        POSITION_QUANTITY,
        "Quantity of the open position: positive long, negative short, zero flat"
    );
    describe_gauge!(
        UNPROTECTED,
        Unit::Seconds,
        "How long the position on the exchange has had no stop, zero if it has one; live only"
    );
    describe_gauge!(HALTED, "1 while the book is halted");
    describe_counter!(TRADES, "Closed positions of the book, over all boots");
    describe_counter!(
        WINNING_TRADES,
        "Closed positions of the book with a profit after fees"
    );
    describe_counter!(SIGNALS_REJECTED, "Signals that were rejected, by reason");
    describe_counter!(
        ENTRIES_REJECTED,
        "Entry orders that the exchange rejected, by its error code"
    );
    describe_gauge!(
        BALANCE,
        "Balance on the exchange at the newest balance check, without unrealized profit; live only"
    );
    describe_gauge!(
        BALANCE_DIFFERENCE,
        "Balance less what books and cash flows explain; live only"
    );
    describe_gauge!(
        BALANCE_DIFFERS,
        "1 while an unexplained difference of the balance stops entries; live only"
    );
    describe_gauge!(
        BREAKER_TRIPPED,
        "1 while the circuit breaker is tripped; the symbol is empty for breakers of the account"
    );
}

/// A metric's value. The result is never used in calculations.
fn to_float(value: Decimal) -> f64 {
    value.to_f64().unwrap_or(f64::NAN)
}
