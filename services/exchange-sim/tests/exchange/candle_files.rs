//! Candle files: the recorded month, and invalid files.

#![allow(clippy::print_stdout, reason = "a skipped test must say so")]

use std::path::PathBuf;

use exchange_sim::candle_store::CandleRange;
use exchange_sim::exchange::Limits;
use exchange_sim::interval::Interval;
use exchange_sim::market::Market;
use exchange_sim::market::replay::Recording;
use exchange_sim::symbols::Contract;

use crate::support::CandleFile;

const HEAD: &str = "open_time,open,high,low,close\n";
const ONE: &str = "60000,10,12,9,11\n";
const TWO: &str = "120000,11,13,10,12\n";

fn read(text: &str) -> Result<Recording, String> {
    let file = CandleFile::from_text(text);
    let contract = Contract::find("BTCUSDT").unwrap();
    Recording::read(&file.path(), contract).map_err(|e| e.to_string())
}

#[test]
fn invalid_value_is_reported_with_line_column_and_what_is_allowed() {
    for (rows, line, column, value, allowed) in [
        ("180000,12,13,11,NaN\n", 4, "close", "NaN", "above 0"),
        ("180000,12,13,11,inf\n", 4, "close", "inf", "above 0"),
        ("180000,-12,13,11,12\n", 4, "open", "-12", "above 0"),
        ("180000,0,13,11,12\n", 4, "open", "0", "above 0"),
        ("180000,12,13,,12\n", 4, "low", "", "above 0"),
        ("180000,12,13\n", 4, "low", "", "above 0"),
        (
            "180000,12,10,11,12\n",
            4,
            "high",
            "10",
            "at least open and close, 12",
        ),
        (
            "180000,12,13,11,14\n",
            4,
            "high",
            "13",
            "at least open and close",
        ),
        (
            "180000,12,13,12,11\n",
            4,
            "low",
            "12",
            "at most open and close",
        ),
        (
            "60000,12,13,11,12\n",
            4,
            "open_time",
            "60000",
            "later than the candle before, 120000",
        ),
        (
            "120000,12,13,11,12\n",
            4,
            "open_time",
            "120000",
            "later than",
        ),
        (
            "240000,12,13,11,12\n",
            4,
            "open_time",
            "240000",
            "180000, 1m after",
        ),
        (
            "yesterday,12,13,11,12\n",
            4,
            "open_time",
            "yesterday",
            "milliseconds since the epoch",
        ),
    ] {
        let refused = read(&format!("{HEAD}{ONE}{TWO}{rows}")).unwrap_err();
        let place = format!("candles.csv, line {line}, column {column}: {value:?}; expected ");
        assert!(refused.contains(&place), "{rows}: {refused}");
        assert!(refused.contains(allowed), "{rows}: {refused}");
        assert!(!refused.contains('\n'), "{refused}");
    }
}

#[test]
fn missing_column_is_reported_with_the_header_found() {
    let refused = read("when,open,high,low,close\n60000,1,1,1,1\n").unwrap_err();
    assert!(
        refused.contains("line 1, column open_time: missing"),
        "{refused}"
    );
    assert!(refused.contains("when,open,high,low,close"), "{refused}");
}

#[test]
fn unreadable_empty_or_short_file_is_rejected() {
    let contract = Contract::find("BTCUSDT").unwrap();
    let none = Recording::read(&PathBuf::from("/nowhere/candles.csv"), contract);
    let refused = none.unwrap_err().to_string();
    assert!(
        refused.contains("/nowhere/candles.csv: No such file"),
        "{refused}"
    );
    let empty = read("").unwrap_err();
    assert!(empty.contains("column open_time: missing"), "{empty}");
    let short = read(&format!("{HEAD}{ONE}")).unwrap_err();
    assert!(short.contains("1 candles; expected 2 to "), "{short}");
    let broken = CandleFile::from_text("");
    std::fs::write(broken.path(), [0x1f, 0x8b, 8, 0, 1, 2, 3]).unwrap();
    let refused = Recording::read(&broken.path(), contract)
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("expected a readable file of candles"),
        "{refused}"
    );
}

#[test]
fn interval_of_the_file_is_detected() {
    for (step, interval) in [(1, Interval::M1), (3, Interval::M3), (30, Interval::M30)] {
        let (first, second) = (step * 60_000, step * 120_000);
        let rows = format!("{HEAD}{first},1,1,1,1\n{second},1,1,1,1\n");
        assert_eq!(read(&rows).unwrap().base(), interval);
    }
    let odd = read(&format!("{HEAD}0,1,1,1,1\n120000,1,1,1,1\n")).unwrap_err();
    assert!(odd.contains("1, 3, 5, 15 or 30 minutes after"), "{odd}");
    let skewed = read(&format!("{HEAD}60000,1,1,1,1\n240000,1,1,1,1\n")).unwrap_err();
    assert!(skewed.contains("a multiple of 180000"), "{skewed}");
}

#[test]
fn prices_keep_every_decimal_and_a_missing_volume_is_derived() {
    let head = "close,low,high,open,open_time,quote_volume\n";
    let rows = "0.12345678,0.1,0.2,1.1e-1,60000,1000\n0.2,0.1,0.2,0.1,120000,5e-1\n";
    let recording = read(&format!("{head}{rows}")).unwrap();
    let contract = Contract::find("BTCUSDT").unwrap();
    let market = play_all(recording, contract);
    let first = candles(&market, Interval::M1)[0];
    assert_eq!((first.open, first.close), (11_000_000, 12_345_678));
    assert_eq!(
        first.volume, 810_000_000,
        "1,000 / 0.12345678 in lots of 0.001"
    );
}

#[tokio::test]
async fn warm_up_longer_than_the_file_is_rejected_before_start() {
    let file = CandleFile::minutes(10);
    let arguments = ["--warmup-candles", "10"];
    let refused = file
        .replay(&arguments, Limits::default())
        .await
        .err()
        .unwrap();
    assert_eq!(refused.code.number(), 78);
    let wanted = "SIM_WARMUP_CANDLES=\"10\": expected 0 to 9";
    assert!(refused.message.contains(wanted), "{}", refused.message);
}

/// A market after the end of the recording.
fn play_all(recording: Recording, contract: &'static Contract) -> Market {
    let mut market = Market::replay(recording, contract, 0);
    market.advance(i64::MAX);
    market
}

fn candles(market: &Market, interval: Interval) -> Vec<exchange_sim::candle::Candle> {
    let now = market.ends_ms().unwrap();
    let span = CandleRange {
        start: None,
        end: Some(now - interval.ms()),
        limit: usize::MAX,
    };
    market.candles(0, interval, &span, now)
}

/// The recorded month is not part of the project; `BEARISH_MARKET_DATA` names its directory.
fn recorded_month() -> Option<PathBuf> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let dir = std::env::var_os("BEARISH_MARKET_DATA")
        .map_or_else(|| here.join("../../../shared/market-data"), PathBuf::from);
    let file = dir.join("btcusdt-perp-1m-2022-01.csv.gz");
    if !file.exists() {
        println!(
            "SKIPPED: {} is missing; set BEARISH_MARKET_DATA",
            file.display()
        );
        return None;
    }
    Some(file)
}

#[test]
fn recorded_month_has_the_known_number_of_candles() {
    let Some(path) = recorded_month() else {
        return;
    };
    let contract = Contract::find("BTCUSDT").unwrap();
    let recording = Recording::read(&path, contract).unwrap();
    assert_eq!((recording.base(), recording.len()), (Interval::M1, 45_031));
    let market = play_all(recording, contract);
    assert_eq!(candles(&market, Interval::M1).len(), 45_031);
    assert_eq!(candles(&market, Interval::M30).len(), 1_500);
}
