//! The built-in symbol filters of a backtest, which flags can replace.

use protocol::ids::SubjectToken;
use runtime::exit_error::ExitError;
use rust_decimal::Decimal;
use trader_core::fixed_point::{Price, Qty};
use trader_core::symbol_filters::SymbolFilters;

use super::args::{BacktestArgs, usage};

/// Grids and limits in units of 1e-8, the least worth of an order in USDT.
struct BuiltInInstrument {
    symbol: &'static str,
    tick_size: i64,
    lot_size: i64,
    max_quantity: i64,
    min_notional: i64,
    /// Lowest and highest plausible price: far beyond all that were traded.
    prices: [i64; 2],
}

const ONE: i64 = 100_000_000;

/// As Binance publishes them, and as the simulated exchange has them (a test compares).
const BUILT_IN: [BuiltInInstrument; 5] = [
    BuiltInInstrument {
        symbol: "BTCUSDT",
        tick_size: ONE / 10,
        lot_size: ONE / 1_000,
        max_quantity: 120 * ONE,
        min_notional: 100,
        prices: [0, 100_000_000 * ONE],
    },
    BuiltInInstrument {
        symbol: "ETHUSDT",
        tick_size: ONE / 100,
        lot_size: ONE / 1_000,
        max_quantity: 2_000 * ONE,
        min_notional: 20,
        prices: [ONE / 100, 1_000_000 * ONE],
    },
    BuiltInInstrument {
        symbol: "SOLUSDT",
        tick_size: ONE / 100,
        lot_size: ONE / 100,
        max_quantity: 50_000 * ONE,
        min_notional: 5,
        prices: [ONE / 100, 20_000 * ONE],
    },
    BuiltInInstrument {
        symbol: "BNBUSDT",
        tick_size: ONE / 100,
        lot_size: ONE / 100,
        max_quantity: 2_000 * ONE,
        min_notional: 5,
        prices: [ONE / 100, 30_000 * ONE],
    },
    BuiltInInstrument {
        symbol: "XRPUSDT",
        tick_size: ONE / 10_000,
        lot_size: ONE / 10,
        max_quantity: 2_000_000 * ONE,
        min_notional: 5,
        prices: [ONE / 10_000, 1_000 * ONE],
    },
];

/// Fewest and most ticks in a price: none is below one tick, and no symbol of the exchange has more.
const PRICE_TICKS: [i64; 2] = [1, 100_000_000];
/// Ticks in a price below which most moves of a market vanish in the rounding.
const COARSE_TICKS: i64 = 100;

/// The filters of a symbol: the flags', and what they leave open from the built-in ones. `slice` is the capital of its book.
///
/// # Errors
/// Exit 64 naming what is needed for a symbol that is not built in, or a capital that buys nothing.
pub fn symbol_filters(
    args: &BacktestArgs,
    symbol: &SubjectToken,
    slice: Decimal,
) -> Result<SymbolFilters, ExitError> {
    let known = BUILT_IN.iter().find(|k| k.symbol == symbol.as_str());
    let tick = args
        .tick_size
        .or(known.map(|k| Price::from_units(k.tick_size)));
    let lot = args.lot_size.or(known.map(|k| Qty::from_units(k.lot_size)));
    let min_notional = args
        .min_notional
        .or(known.map(|k| Decimal::from(k.min_notional)));
    let (Some(tick), Some(lot), Some(min_notional)) = (tick, lot, min_notional) else {
        return Err(missing_flags_error(args, symbol));
    };
    let most = slice * Decimal::from(args.leverage);
    if most < min_notional {
        return Err(usage(format!(
            "--capital-usdt {}: {symbol} orders are worth at least {min_notional}; its book has {slice}; allowed is more",
            args.capital_usdt
        )));
    }
    Ok(SymbolFilters {
        symbol: symbol.clone(),
        tick,
        lot,
        min_qty: lot,
        max_qty: Qty::from_units(known.map_or(i64::MAX, |k| k.max_quantity)),
        min_notional,
    })
}

/// Checks that a price can be one of the symbol.
///
/// # Errors
/// Exit 78 naming the price and what is expected.
pub(super) fn check_price(filters: &SymbolFilters, price: Price) -> Result<(), ExitError> {
    let SymbolFilters { symbol, tick, .. } = filters;
    let [fewest, most] = PRICE_TICKS;
    let ticks = price.units() / tick.units().max(1);
    let known = BUILT_IN.iter().find(|k| k.symbol == symbol.as_str());
    let [lowest, highest] = known.map_or([0, i64::MAX], |known| known.prices);
    if !(fewest..=most).contains(&ticks) || !(lowest..=highest).contains(&price.units()) {
        return Err(ExitError::config(format!(
            "--candles: the first price is {price}, which cannot be one of {symbol} with a tick of {tick}; expected candles of {symbol}, or the --symbol and --tick-size of these candles"
        )));
    }
    Ok(())
}

/// Whether the tick is so coarse for a price that results say little about the market.
pub(super) const fn is_coarse(filters: &SymbolFilters, price: Price) -> bool {
    price.units() < filters.tick.units().saturating_mul(COARSE_TICKS)
}

fn missing_flags_error(args: &BacktestArgs, symbol: &SubjectToken) -> ExitError {
    let missing: Vec<&str> = [
        ("--tick-size", args.tick_size.is_none()),
        ("--lot-size", args.lot_size.is_none()),
        ("--min-notional", args.min_notional.is_none()),
    ]
    .into_iter()
    .filter_map(|(flag, missing)| missing.then_some(flag))
    .collect();
    let built_in: Vec<&str> = BUILT_IN.iter().map(|k| k.symbol).collect();
    usage(format!(
        "--symbol {symbol}: {} needed, because its rules are not built in (those of {} are)",
        missing.join(", "),
        built_in.join(", ")
    ))
}
