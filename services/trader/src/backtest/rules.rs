//! The exchange's rules of the symbols that a backtest knows without asking anybody, and how flags
//! replace them.

use engine::fixed::{Price, Qty};
use engine::rules::SymbolRules;
use runtime::process::Stop;
use rust_decimal::Decimal;

use super::args::{BacktestArgs, usage};

/// Grids and limits in units of 1e-8, the least worth of an order in USDT.
struct Known {
    symbol: &'static str,
    tick: i64,
    lot: i64,
    most: i64,
    min_notional: i64,
}

const ONE: i64 = 100_000_000;

/// As Binance publishes them, and as the simulated exchange has them (a test compares).
const KNOWN: [Known; 5] = [
    Known {
        symbol: "BTCUSDT",
        tick: ONE / 10,
        lot: ONE / 1_000,
        most: 120 * ONE,
        min_notional: 100,
    },
    Known {
        symbol: "ETHUSDT",
        tick: ONE / 100,
        lot: ONE / 1_000,
        most: 2_000 * ONE,
        min_notional: 20,
    },
    Known {
        symbol: "SOLUSDT",
        tick: ONE / 100,
        lot: ONE / 100,
        most: 50_000 * ONE,
        min_notional: 5,
    },
    Known {
        symbol: "BNBUSDT",
        tick: ONE / 100,
        lot: ONE / 100,
        most: 2_000 * ONE,
        min_notional: 5,
    },
    Known {
        symbol: "XRPUSDT",
        tick: ONE / 10_000,
        lot: ONE / 10,
        most: 2_000_000 * ONE,
        min_notional: 5,
    },
];

/// The rules to trade by: the flags', and what they leave open from the built-in ones.
///
/// # Errors
/// Exit 64 naming what is needed for a symbol that is not built in, or a capital that buys nothing.
pub fn rules(args: &BacktestArgs) -> Result<SymbolRules, Stop> {
    let known = KNOWN.iter().find(|k| k.symbol == args.symbol.as_str());
    let tick = args.tick.or(known.map(|k| Price::from_units(k.tick)));
    let lot = args.lot.or(known.map(|k| Qty::from_units(k.lot)));
    let min_notional = args
        .min_notional
        .or(known.map(|k| Decimal::from(k.min_notional)));
    let (Some(tick), Some(lot), Some(min_notional)) = (tick, lot, min_notional) else {
        return Err(unknown(args));
    };
    let most = args.capital * Decimal::from(args.leverage);
    if most < min_notional {
        return Err(usage(format!(
            "--capital {}: {} orders are worth at least {min_notional}; allowed is more",
            args.capital, args.symbol
        )));
    }
    Ok(SymbolRules {
        symbol: args.symbol.clone(),
        tick,
        lot,
        min_qty: lot,
        max_qty: Qty::from_units(known.map_or(i64::MAX, |k| k.most)),
        min_notional,
    })
}

fn unknown(args: &BacktestArgs) -> Stop {
    let missing: Vec<&str> = [
        ("--tick", args.tick.is_none()),
        ("--lot", args.lot.is_none()),
        ("--min-notional", args.min_notional.is_none()),
    ]
    .into_iter()
    .filter_map(|(flag, missing)| missing.then_some(flag))
    .collect();
    let built_in: Vec<&str> = KNOWN.iter().map(|k| k.symbol).collect();
    usage(format!(
        "--symbol {}: {} needed, because its rules are not built in (those of {} are)",
        args.symbol,
        missing.join(", "),
        built_in.join(", ")
    ))
}
