//! Generated contracts, as varied as the list of a real exchange: price levels, grids, quote assets, delivery
//! contracts, contracts that do not trade, and symbols that are not ASCII letters. They are the same in every process.

use std::sync::OnceLock;

use super::catalogue::CATALOGUE;
use super::contract::{CATALOGUED, Contract};
use crate::trading::enums::{ContractStatus, ContractType};

/// Largest number of listed contracts.
pub const MAX_CONTRACTS: usize = 500;

/// Base assets with their price level in USDT.
const BASES: [(&str, f64); 40] = [
    ("1000SHIB", 0.0125),
    ("1000PEPE", 0.0098),
    ("1000000MOG", 0.62),
    ("1000BONK", 0.021),
    ("1000LUNC", 0.06),
    ("1INCH", 0.24),
    ("4", 0.031),
    ("DOGE", 0.17),
    ("ADA", 0.55),
    ("TRX", 0.29),
    ("LINK", 15.2),
    ("AVAX", 22.4),
    ("DOT", 4.1),
    ("LTC", 88.0),
    ("BCH", 520.0),
    ("UNI", 6.3),
    ("AAVE", 210.0),
    ("YFI", 5_100.0),
    ("XMR", 330.0),
    ("ETC", 16.4),
    ("FIL", 1.9),
    ("NEAR", 2.1),
    ("APT", 3.4),
    ("SUI", 2.6),
    ("TON", 2.2),
    ("ATOM", 3.2),
    ("HBAR", 0.17),
    ("XLM", 0.28),
    ("ALGO", 0.18),
    ("VET", 0.017),
    ("ICP", 4.3),
    ("SPELL", 0.00046),
    ("HOT", 0.00072),
    ("DENT", 0.00031),
    ("MEW", 0.0021),
    ("PAXG", 4_050.0),
    ("DEFI", 900.0),
    ("币安人生", 0.12),
    ("我踏马来了", 0.028),
    ("龙虾", 0.0016),
];
/// Price levels of contracts with made-up names.
const LEVELS: [f64; 9] = [
    0.000_021, 0.000_84, 0.0047, 0.036, 0.41, 3.7, 28.0, 310.0, 6_400.0,
];
/// Delivery dates: 2026-03-27T08:00Z and 2026-06-26T08:00Z.
const QUARTERS: [(&str, i64, ContractType); 2] = [
    ("260327", 1_774_598_400_000, ContractType::CurrentQuarter),
    ("260626", 1_782_460_800_000, ContractType::NextQuarter),
];
/// Number of contracts quoted in USDC.
const USDC_CONTRACTS: usize = 36;
/// 2023-01-02T08:00Z: the first start of trading.
const FIRST_ONBOARD_MS: i64 = 1_672_646_400_000;
const DAY_MS: i64 = 86_400_000;

/// All generated contracts, in the order in which they are listed.
pub(super) fn contracts() -> &'static [Contract] {
    static CONTRACTS: OnceLock<Vec<Contract>> = OnceLock::new();
    CONTRACTS.get_or_init(|| generate(MAX_CONTRACTS - CATALOGUE.len()))
}

fn generate(count: usize) -> Vec<Contract> {
    let of_base = BASES
        .iter()
        .map(|(base, level)| ((*base).to_owned(), "USDT", *level));
    let quoted_in_usdc = CATALOGUE
        .iter()
        .map(|c| (c.base_asset.to_owned(), "USDC", c.start_price))
        .chain(
            of_base
                .clone()
                .map(|(base, _, level)| (base, "USDC", level)),
        )
        .take(USDC_CONTRACTS);
    let made_up = (0..).map(|index: usize| {
        let level = LEVELS[index % LEVELS.len()];
        (made_up_name(index), "USDT", level)
    });
    let delivered = ["BTC", "ETH"].into_iter().flat_map(|base| {
        let level = CATALOGUE.iter().find(|c| c.base_asset == base);
        let level = level.map_or(1.0, |c| c.start_price);
        QUARTERS.iter().map(move |quarter| (base, level, quarter))
    });
    let delivered: Vec<Contract> = delivered
        .map(
            |(base, level, (date, delivery_ms, contract_type))| Contract {
                symbol: leak(format!("{base}USDT_{date}")),
                contract_type: *contract_type,
                delivery_ms: *delivery_ms,
                ..contract(base, "USDT", level, 0)
            },
        )
        .collect();
    let perpetual = of_base.chain(quoted_in_usdc).chain(made_up);
    let perpetual = perpetual
        .enumerate()
        .map(|(index, (base, quote, level))| contract(&base, quote, level, index));
    delivered.into_iter().chain(perpetual).take(count).collect()
}

/// A name of two syllables and, after the first 400, a digit.
fn made_up_name(index: usize) -> String {
    const FIRST: [&str; 20] = [
        "BA", "CRI", "DO", "FLU", "GE", "HY", "JA", "KO", "LU", "MI", "NE", "OR", "PRA", "QU",
        "RE", "STO", "TI", "VO", "WA", "ZE",
    ];
    const SECOND: [&str; 20] = [
        "BIX", "CK", "DEX", "FI", "GON", "HUB", "KA", "LON", "MAX", "NET", "OS", "PAY", "QA",
        "RIS", "SWAP", "TUN", "UM", "VEN", "XY", "ZO",
    ];
    let name = format!("{}{}", FIRST[index % 20], SECOND[index / 20 % 20]);
    match index / 400 {
        0 => name,
        round => format!("{name}{round}"),
    }
}

/// A perpetual contract. Grid and limits follow from the price level, as at Binance; `index` varies the rest.
fn contract(base: &str, quote: &'static str, level: f64, index: usize) -> Contract {
    let (tick, tick_decimals) = tick(level, index);
    let (lot, lot_decimals) = lot(level);
    let days = i64::try_from(index * 37 % 1_000).unwrap_or(0);
    let price = [tick.clone(), highest_price(level), tick.clone()];
    Contract {
        symbol: leak(format!("{base}{quote}")),
        base_asset: leak(base.to_owned()),
        sub_type: ["DeFi", "Meme", "AI", "Layer-2", "Infrastructure", "Gaming"][index % 6],
        onboard_ms: FIRST_ONBOARD_MS + days * DAY_MS,
        // At Binance, a price may have more decimal places than its step.
        price_precision: tick_decimals + u32::from(index.is_multiple_of(3) && tick_decimals < 8),
        quantity_precision: lot_decimals,
        price: price.map(leak),
        lot: [lot.clone(), "10000000".to_owned(), lot.clone()].map(leak),
        market_max: ["500000", "1000000", "2000000"][index % 3],
        min_notional: ["5", "5", "5", "5", "20", "50", "100"][index % 7],
        quote_asset: quote,
        status: match index % 40 {
            11 => ContractStatus::Settling,
            23 => ContractStatus::PendingTrading,
            37 => ContractStatus::Close,
            _ => ContractStatus::Trading,
        },
        max_leverage: [75, 50, 50, 25, 25, 10][index % 6],
        start_price: level,
        is_generated: true,
        tick: units(&tick, crate::candle::PRICE_DECIMALS),
        step: units(&lot, crate::candle::AMOUNT_DECIMALS),
        ..CATALOGUED
    }
}

/// Price step with its decimal places: from 0.1 to 0.0000001, a thousandth to a hundred-thousandth of the price.
fn tick(level: f64, index: usize) -> (String, u32) {
    let digits = if index.is_multiple_of(2) { 4 } else { 5 };
    let decimals = (1..=7_u32)
        .find(|decimals| {
            level * 10_f64.powi(i32::try_from(*decimals).unwrap_or(0)) >= 10_f64.powi(digits - 1)
        })
        .unwrap_or(7);
    (step(decimals), decimals)
}

/// Quantity step with its decimal places: from 0.001 to 1.
fn lot(level: f64) -> (String, u32) {
    let decimals = match level {
        _ if level >= 1_000.0 => 3,
        _ if level >= 50.0 => 2,
        _ if level >= 5.0 => 1,
        _ => 0,
    };
    (step(decimals), decimals)
}

fn step(decimals: u32) -> String {
    match decimals {
        0 => "1".to_owned(),
        _ => format!("0.{}1", "0".repeat(decimals as usize - 1)),
    }
}

/// A power of ten far above the price.
fn highest_price(level: f64) -> String {
    let mut highest = 100_u64;
    let mut reached = 100.0;
    while reached < level * 50.0 {
        highest *= 10;
        reached *= 10.0;
    }
    highest.to_string()
}

/// A decimal as a whole number of units of 10^-`decimals`.
fn units(text: &str, decimals: u32) -> i64 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let padded = format!("{whole}{fraction:0<width$}", width = decimals as usize);
    padded.parse().unwrap_or(1)
}

/// The contracts live as long as the process.
fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn contracts_are_as_varied_as_on_the_exchange() {
        let all = contracts();
        assert_eq!(all.len() + CATALOGUE.len(), MAX_CONTRACTS);
        let symbols: BTreeSet<&str> = all.iter().chain(&CATALOGUE).map(|c| c.symbol).collect();
        assert_eq!(symbols.len(), MAX_CONTRACTS, "each symbol is unique");
        let has = |holds: fn(&Contract) -> bool| all.iter().filter(|c| holds(c)).count();
        assert!(has(|c| c.quote_asset != "USDT") >= 30);
        assert!(has(|c| c.contract_type != ContractType::Perpetual) == 4);
        assert!(has(|c| c.status != ContractStatus::Trading) >= 30);
        assert!(has(|c| !c.symbol.is_ascii()) >= 3);
        assert!(has(|c| c.symbol.starts_with(|first: char| first.is_ascii_digit())) >= 5);
        let ticks: BTreeSet<&str> = all.iter().map(|c| c.price[2]).collect();
        for tick in ["0.1", "0.0000001", "0.0001"] {
            assert!(ticks.contains(tick), "{ticks:?}");
        }
        let lots: BTreeSet<&str> = all.iter().map(|c| c.lot[2]).collect();
        assert_eq!(lots, BTreeSet::from(["0.001", "0.01", "0.1", "1"]));
        let notional: BTreeSet<&str> = all.iter().map(|c| c.min_notional).collect();
        assert_eq!(notional, BTreeSet::from(["5", "20", "50", "100"]));
        for contract in all {
            let price = contract.start_price * 1e8;
            #[allow(clippy::cast_precision_loss, reason = "a tick is far below 2^53")]
            let ticks = price / contract.tick as f64;
            assert!(
                (100.0..1e6).contains(&ticks),
                "{}: {ticks}",
                contract.symbol
            );
        }
    }
}
