//! The command line: what is refused, with which exit code, and what is built in.

use bearish_trader::backtest::instruments::symbol_filters;
use exchange_sim::symbols::CATALOGUE;

use crate::support::{TestDir, parse, random_walk, run};

fn with(flag: &str, value: &str) -> Result<(), String> {
    parse(&["--symbol", "BTCUSDT", "--candles", "x.csv", flag, value]).map(drop)
}

#[test]
fn a_wrong_value_is_named_with_its_flag_and_what_is_allowed() {
    for (flag, value, allowed) in [
        ("--capital-usdt", "0", "above 0, up to 1000000000"),
        ("--capital-usdt", "-5", "above 0"),
        ("--capital-usdt", "NaN", "above 0"),
        ("--fee-rate", "0.011", "from 0 to 0.01"),
        ("--fee-rate", "-0.1", "from 0 to 0.01"),
        ("--slippage-rate", "lots", "from 0 to 0.01"),
        ("--funding-rate", "-0.02", "from -0.01 to 0.01"),
        ("--leverage", "6", "from 1 to 5"),
        ("--leverage", "0", "from 1 to 5"),
        ("--tick-size", "0", "above 0"),
        ("--lot-size", "0.000000001", "at most 8 decimals"),
        ("--min-notional", "-1", "from 0 to"),
        ("--strategies", "moon", "oversold-bounce, short-the-rip"),
        ("--from", "yesterday", "a date or a time in UTC"),
        ("--to", "31.01.2025", "a date or a time in UTC"),
        ("--columns", "open", "COLUMN=NAME"),
        ("--columns", "price=Last", "COLUMN=NAME"),
        ("--protections", "Cooldown:1h", "CooldownPeriod:STOP"),
    ] {
        let refused = with(flag, value).unwrap_err();
        for text in [flag, &format!("'{value}'"), allowed] {
            assert!(refused.contains(text), "{text} is not in {refused}");
        }
    }
    for (flag, value) in [
        ("--funding-rate", "-0.01"),
        ("--fee-rate", "0"),
        ("--capital-usdt", "0.01"),
    ] {
        with(flag, value).unwrap();
    }
    let lower = parse(&["--symbol", "btcusdt", "--candles", "x.csv"]).unwrap();
    assert_eq!(lower.symbol.unwrap().as_str(), "BTCUSDT");
    let invalid = parse(&["--symbol", "btc.usdt", "--candles", "x.csv"]).unwrap_err();
    assert!(invalid.contains("5 to 20 letters and digits"), "{invalid}");
    let none = parse(&["--symbol", "BTCUSDT"]).unwrap_err();
    assert!(none.contains("--candles"), "{none}");
}

#[test]
fn flags_that_do_not_fit_together_are_64() {
    let place = TestDir::new();
    let file = place.rows(&random_walk(1, 30, 10));
    for (flags, texts) in [
        (
            &["--strategies", "short-the-rip,short-the-rip"][..],
            &["--strategies", "short-the-rip", "once"][..],
        ),
        (&["--capital-usdt", "99"], &["--capital-usdt 99", "100"]),
        (
            &["--from", "2026-01-06", "--to", "2026-01-06"],
            &["--to 2026-01-06", "after --from"],
        ),
        (
            &["--candles", "ETHUSDT=/x.csv", "--tick-size", "0.1"],
            &["--tick-size", "expected one symbol, there are 2"],
        ),
    ] {
        let stop = run(&file, flags).unwrap_err();
        assert_eq!(stop.code.number(), 64, "{stop}");
        for text in texts {
            assert!(stop.message.contains(text), "{text} is not in {stop}");
        }
    }
}

#[test]
fn built_in_filters_are_those_of_the_simulated_exchange() {
    for listed in &CATALOGUE {
        let args = parse(&["--symbol", listed.symbol, "--candles", "x.csv"]).unwrap();
        let symbol = listed.symbol.parse().unwrap();
        let ours = symbol_filters(&args, &symbol, args.capital_usdt).unwrap();
        let [_, _, tick] = listed.price;
        let [least, most, lot] = listed.lot;
        assert_eq!(ours.tick, tick.parse().unwrap(), "{}", listed.symbol);
        assert_eq!(ours.lot, lot.parse().unwrap(), "{}", listed.symbol);
        assert_eq!(ours.min_qty, least.parse().unwrap(), "{}", listed.symbol);
        // As the trader reads them: a market order keeps both limits.
        let most = most.parse().unwrap();
        let most = std::cmp::min(most, listed.market_max.parse().unwrap());
        assert_eq!(ours.max_qty, most, "{}", listed.symbol);
        assert_eq!(ours.min_notional.to_string(), listed.min_notional);
    }
}

#[test]
fn a_symbol_that_is_not_built_in_needs_its_grids() {
    let place = TestDir::new();
    let file = place.rows(&random_walk(1, 30, 10));
    let file = file.to_str().unwrap();
    let base = ["--symbol", "DOGEUSDT", "--candles", file, "--lot-size", "1"];
    let stop = bearish_trader::backtest::run_to_summary(&parse(&base).unwrap()).unwrap_err();
    assert_eq!(stop.code.number(), 64);
    let wanted = "--symbol DOGEUSDT: --tick-size, --min-notional needed";
    assert!(stop.message.starts_with(wanted), "{stop}");
    let whole = [&base[..], &["--tick-size", "0.1", "--min-notional", "5"]].concat();
    bearish_trader::backtest::run_to_summary(&parse(&whole).unwrap()).unwrap();
}

#[test]
fn files_that_cannot_be_written_are_78_before_anything_is_read() {
    let place = TestDir::new();
    let file = place.rows(&random_walk(1, 30, 10));
    let candles = file.to_str().unwrap();
    let folder = place.path("");
    for (path, text) in [
        ("/nowhere/out.jsonl", "No such file"),
        (folder.to_str().unwrap(), "no file"),
        ("/dev/null", "no file"),
        (candles, "--candles has that file"),
    ] {
        let stop = run(&file, &["--trades", path]).unwrap_err();
        assert_eq!(stop.code.number(), 78, "{stop}");
        assert!(stop.message.contains("--trades"), "{stop}");
        assert!(stop.message.contains(text), "{text} is not in {stop}");
    }
    let out = place.path("out.jsonl");
    let out = out.to_str().unwrap();
    let stop = run(&file, &["--trades", out, "--signals", out]).unwrap_err();
    assert!(stop.message.contains("--trades has that file"), "{stop}");
    assert_eq!(place.file_names(), ["candles.csv"]);
}
