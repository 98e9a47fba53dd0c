//! The built-in symbol filters of a backtest, which flags can replace.

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
    },
    BuiltInInstrument {
        symbol: "ETHUSDT",
        tick_size: ONE / 100,
        lot_size: ONE / 1_000,
        max_quantity: 2_000 * ONE,
        min_notional: 20,
    },
    BuiltInInstrument {
        symbol: "SOLUSDT",
        tick_size: ONE / 100,
        lot_size: ONE / 100,
        max_quantity: 50_000 * ONE,
        min_notional: 5,
    },
    BuiltInInstrument {
        symbol: "BNBUSDT",
        tick_size: ONE / 100,
        lot_size: ONE / 100,
        max_quantity: 2_000 * ONE,
        min_notional: 5,
    },
    BuiltInInstrument {
        symbol: "XRPUSDT",
        tick_size: ONE / 10_000,
        lot_size: ONE / 10,
        max_quantity: 2_000_000 * ONE,
        min_notional: 5,
    },
];

/// The rules to trade by: the flags', and what they leave open from the built-in ones.
///
/// # Errors
/// Exit 64 naming what is needed for a symbol that is not built in, or a capital that buys nothing.
pub fn symbol_filters(args: &BacktestArgs) -> Result<SymbolFilters, ExitError> {
    let known = BUILT_IN.iter().find(|k| k.symbol == args.symbol.as_str());
    let tick = args
        .tick_size
        .or(known.map(|k| Price::from_units(k.tick_size)));
    let lot = args.lot_size.or(known.map(|k| Qty::from_units(k.lot_size)));
    let min_notional = args
        .min_notional
        .or(known.map(|k| Decimal::from(k.min_notional)));
    let (Some(tick), Some(lot), Some(min_notional)) = (tick, lot, min_notional) else {
        return Err(missing_flags_error(args));
    };
    let most = args.capital_usdt * Decimal::from(args.leverage);
    if most < min_notional {
        return Err(usage(format!(
            "--capital-usdt {}: {} orders are worth at least {min_notional}; allowed is more",
            args.capital_usdt, args.symbol
        )));
    }
    Ok(SymbolFilters {
        symbol: args.symbol.clone(),
        tick,
        lot,
        min_qty: lot,
        max_qty: Qty::from_units(known.map_or(i64::MAX, |k| k.max_quantity)),
        min_notional,
    })
}

fn missing_flags_error(args: &BacktestArgs) -> ExitError {
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
        "--symbol {}: {} needed, because its rules are not built in (those of {} are)",
        args.symbol,
        missing.join(", "),
        built_in.join(", ")
    ))
}
