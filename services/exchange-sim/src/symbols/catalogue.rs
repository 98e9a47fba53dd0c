//! The contracts with grids, limits and precisions as Binance publishes them.

use super::contract::{CATALOGUED, Contract};

/// The contracts with Binance's own numbers.
pub static CATALOGUE: [Contract; 5] = [
    Contract {
        symbol: "BTCUSDT",
        base_asset: "BTC",
        sub_type: "PoW",
        onboard_ms: 1_569_398_400_000,
        price_precision: 2,
        quantity_precision: 3,
        price: ["261.10", "4529764", "0.10"],
        lot: ["0.001", "1000", "0.001"],
        market_max: "120",
        min_notional: "100",
        tick: 10_000_000,
        step: 100,
        start_price: 96_000.0,
        ..CATALOGUED
    },
    Contract {
        symbol: "ETHUSDT",
        base_asset: "ETH",
        sub_type: "Layer-1",
        onboard_ms: 1_574_841_600_000,
        price_precision: 2,
        quantity_precision: 3,
        price: ["18.67", "306177", "0.01"],
        lot: ["0.001", "10000", "0.001"],
        market_max: "2000",
        min_notional: "20",
        tick: 1_000_000,
        step: 100,
        start_price: 3_300.0,
        ..CATALOGUED
    },
    Contract {
        symbol: "SOLUSDT",
        base_asset: "SOL",
        sub_type: "Layer-1",
        onboard_ms: 1_600_066_800_000,
        price_precision: 4,
        quantity_precision: 2,
        price: ["0.4200", "6857", "0.0100"],
        lot: ["0.01", "1000000", "0.01"],
        market_max: "50000",
        min_notional: "5",
        tick: 1_000_000,
        step: 1_000,
        start_price: 185.0,
        ..CATALOGUED
    },
    Contract {
        symbol: "BNBUSDT",
        base_asset: "BNB",
        sub_type: "Layer-1",
        onboard_ms: 1_581_318_000_000,
        price_precision: 3,
        quantity_precision: 2,
        price: ["6.600", "100000", "0.010"],
        lot: ["0.01", "100000", "0.01"],
        market_max: "2000",
        min_notional: "5",
        tick: 1_000_000,
        step: 1_000,
        start_price: 690.0,
        ..CATALOGUED
    },
    Contract {
        symbol: "XRPUSDT",
        base_asset: "XRP",
        sub_type: "Payment",
        onboard_ms: 1_578_294_000_000,
        price_precision: 4,
        quantity_precision: 1,
        price: ["0.0143", "100000", "0.0001"],
        lot: ["0.1", "10000000", "0.1"],
        market_max: "2000000",
        min_notional: "5",
        tick: 10_000,
        step: 10_000,
        start_price: 2.4,
        ..CATALOGUED
    },
];

/// The symbols of the catalogue, for errors.
pub fn catalogue_names() -> String {
    CATALOGUE
        .iter()
        .map(|c| c.symbol)
        .collect::<Vec<_>>()
        .join(", ")
}
