//! The traded period, the warm-up before it, gaps, and several symbols.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::{CSV_HEADER, MIDNIGHT, TestDir, lines, parse, random_walk, run};

const DAY_MS: i64 = 86_400_000;
/// 60 days of 5m candles.
const CANDLES: i64 = 60 * 288;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The lines of a trades file that were entered from `from` on.
fn entered_from(trades: &[Value], from: i64) -> Vec<Value> {
    let entered = |trade: &&Value| trade["entry_time"].as_i64().unwrap() >= from;
    trades.iter().filter(entered).cloned().collect()
}

#[test]
fn candles_before_from_warm_up_and_are_not_traded() {
    let place = TestDir::new();
    let file = place.rows(&random_walk(20, 5, CANDLES));
    let out = place.path("trades.jsonl");
    let flags = ["--trades", out.to_str().unwrap(), "--protections", "none"];
    let cold = run(&file, &flags).unwrap();
    let all = lines(&out);
    let from = MIDNIGHT + 40 * DAY_MS;
    let warm = run(&file, &[&flags[..], &["--from", "2026-02-14"]].concat()).unwrap();
    let period = lines(&out);
    assert!(!period.is_empty());
    for trade in &period {
        assert!(trade["entry_time"].as_i64().unwrap() >= from, "{trade}");
    }
    // The same signals: only the sizes differ, because the capital is another.
    let times = |trades: &[Value]| -> Vec<(i64, String)> {
        let time = |t: &Value| (t["entry_time"].as_i64().unwrap(), t["strategy"].to_string());
        trades.iter().map(time).collect()
    };
    let first_flat = times(&entered_from(&all, from));
    let common = times(&period)
        .iter()
        .filter(|time| first_flat.contains(time))
        .count();
    assert!(common + 2 >= period.len(), "{common} of {}", period.len());
    assert!(cold.starts_with("WARNING       until "), "{cold}");
    assert!(!warm.contains("WARNING"), "{warm}");
    assert!(
        warm.contains("from 2026-02-14T00:30Z, 100.00 % of the period; 0.0 days not"),
        "{warm}"
    );
    // The warning names a time that leaves the cold start out.
    let named = cold
        .split("--from ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    let advised = run(&file, &[&flags[..], &["--from", named]].concat()).unwrap();
    assert!(!advised.contains("WARNING"), "{advised}");
}

#[test]
fn to_ends_the_period_like_a_file_that_ends_there() {
    let place = TestDir::new();
    let rows = random_walk(20, 5, CANDLES);
    let out = place.path("trades.jsonl");
    let flags = ["--trades", out.to_str().unwrap(), "--json"];
    let ended = json(
        &run(
            &place.rows(&rows),
            &[&flags[..], &["--to", "2026-02-14"]].concat(),
        )
        .unwrap(),
    );
    let trades = lines(&out);
    let short = json(&run(&place.rows(&rows[..40 * 288]), &flags).unwrap());
    assert_eq!(trades, lines(&out));
    for pointer in ["/equity", "/statistics", "/months", "/period"] {
        assert_eq!(ended.pointer(pointer), short.pointer(pointer), "{pointer}");
    }
}

#[test]
fn strategy_that_could_never_trade_is_warned_of_or_refused_if_it_was_named() {
    let place = TestDir::new();
    let file = place.rows(&random_walk(20, 5, 31 * 288));
    let summary = run(&file, &[]).unwrap();
    let first = summary.lines().next().unwrap();
    for wanted in [
        "WARNING",
        "adaptive-oversold-bounce, adaptive-short-the-rip could never trade",
        "200 bars of 4 hours (33d8h)",
        "found 31d in all",
    ] {
        assert!(first.contains(wanted), "{wanted} is not in {first}");
    }
    let out = place.path("trades.jsonl");
    let named = ["--strategies", "oversold-bounce,adaptive-oversold-bounce"];
    let stop = run(
        &file,
        &[&named[..], &["--trades", out.to_str().unwrap()]].concat(),
    )
    .unwrap_err();
    assert_eq!(stop.code.number(), 78, "{stop}");
    let wanted = "--strategies=adaptive-oversold-bounce: could never trade";
    assert!(stop.message.starts_with(wanted), "{stop}");
    assert!(!out.exists(), "no half of a result stays behind");
    run(&file, &["--strategies", "oversold-bounce"]).unwrap();
}

#[test]
fn one_missing_candle_changes_no_more_than_its_own_trades() {
    let place = TestDir::new();
    let rows = random_walk(20, 5, CANDLES);
    let out = place.path("trades.jsonl");
    let flags = [
        "--trades",
        out.to_str().unwrap(),
        "--protections",
        "none",
        "--json",
    ];
    let whole = json(&run(&place.rows(&rows), &flags).unwrap());
    let all = lines(&out);
    let mut holes = rows.clone();
    // Within a bar, twelve times.
    for n in (1..=12).rev() {
        holes.remove(n * 1_400 + 2);
    }
    let gaps = json(&run(&place.rows(&holes), &flags).unwrap());
    let with_gaps = lines(&out);
    let judged = |json: &Value| {
        json["books"][0]["evaluated"]["short-the-rip"]["bars"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(judged(&whole), judged(&gaps), "the indicators continue");
    assert_eq!(gaps["books"][0]["candles"]["bridged"], 12);
    let times: Vec<&Value> = with_gaps.iter().map(|trade| &trade["entry_time"]).collect();
    let common = all
        .iter()
        .filter(|trade| times.contains(&&trade["entry_time"]))
        .count();
    assert!(common * 10 >= all.len() * 9, "{common} of {}", all.len());
}

#[test]
fn gap_of_more_than_a_day_starts_over_and_is_counted_in_days() {
    let place = TestDir::new();
    let mut rows = random_walk(20, 5, CANDLES);
    rows.drain(30 * 288..32 * 288);
    let text = run(&place.rows(&rows), &[]).unwrap();
    assert!(
        text.contains("after 1 of more than a day the indicators started over"),
        "{text}"
    );
    let summary = json(&run(&place.rows(&rows), &["--json"]).unwrap());
    let base = &summary["books"][0]["evaluated"]["oversold-bounce"];
    // Twice 300 bars of warm-up, and two days.
    assert_eq!(base["bars"], 60 * 48 - 2 * 300 - 2 * 48);
}

fn files_of_two(place: &TestDir) -> [PathBuf; 2] {
    [("a", 20), ("b", 21)].map(|(name, seed)| {
        let path = place.path(name);
        let text = format!("{CSV_HEADER}{}\n", random_walk(seed, 5, CANDLES).join("\n"));
        fs::write(&path, text).unwrap();
        path
    })
}

#[test]
fn symbols_share_the_account_and_its_breakers() {
    let place = TestDir::new();
    let [a, b] = files_of_two(&place);
    let (a, b) = (a.to_str().unwrap(), b.to_str().unwrap());
    let out = place.path("trades.jsonl");
    let [first, second] = [format!("BTCUSDT={a}"), format!("ETHUSDT={b}")];
    let flags = [
        "--candles",
        &first,
        "--candles",
        &second,
        "--leverage",
        "5",
        "--protections",
        "none",
        "--trades",
        out.to_str().unwrap(),
        "--from",
        "2026-02-10",
    ];
    let both = |more: &[&str]| {
        bearish_trader::backtest::run_to_summary(&parse(&[&flags[..], more].concat()).unwrap())
            .unwrap()
    };
    let summary = json(&both(&["--json"]));
    let trades = lines(&out);
    let equity = |index: usize| -> f64 {
        summary["books"][index]["equity"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap()
    };
    let total: f64 = summary["equity"].as_str().unwrap().parse().unwrap();
    assert!((equity(0) + equity(1) - total).abs() < 1e-6);
    assert_eq!(summary["books"][0]["capital"], "5000");
    let latched = summary["latches"][0]["at"].as_i64();
    let last_exit = trades
        .iter()
        .map(|t| t["exit_time"].as_i64().unwrap())
        .max()
        .unwrap();
    if let Some(latched) = latched {
        assert!(last_exit <= latched, "a latch ends both books");
    }
    for symbol in ["BTCUSDT", "ETHUSDT"] {
        assert!(
            trades.iter().any(|trade| trade["symbol"] == symbol),
            "{symbol}"
        );
    }
    let text = both(&[]);
    for wanted in [
        "BOOK ",
        "2 books of 5,000.00 each; the breakers judge them together",
    ] {
        assert!(text.contains(wanted), "{wanted} is not in\n{text}");
    }
    let alone = run(&place.path("a"), &["--from", "2026-02-10"]).unwrap();
    assert!(alone.contains("this book alone"), "{alone}");
}

#[test]
fn intervals_of_several_symbols_must_be_equal_and_files_need_a_symbol() {
    let place = TestDir::new();
    let [a, _] = files_of_two(&place);
    let other = place.path("c");
    fs::write(
        &other,
        format!("{CSV_HEADER}{}\n", random_walk(1, 15, 100).join("\n")),
    )
    .unwrap();
    let [first, second] = [
        format!("BTCUSDT={}", a.display()),
        format!("ETHUSDT={}", other.display()),
    ];
    let args = parse(&["--candles", &first, "--candles", &second]).unwrap();
    let stop = bearish_trader::backtest::run_to_summary(&args).unwrap_err();
    assert!(stop.message.contains("candles of 5m and of 15m"), "{stop}");
    let args = parse(&["--candles", a.to_str().unwrap()]).unwrap();
    let stop = bearish_trader::backtest::run_to_summary(&args).unwrap_err();
    assert_eq!(stop.code.number(), 64);
    assert!(stop.message.contains("of which symbol?"), "{stop}");
}

#[test]
fn prices_of_another_symbol_are_refused() {
    let place = TestDir::new();
    let file = place.rows(&random_walk(20, 5, 100));
    let file = file.to_str().unwrap();
    let small = place.path("small.csv");
    let row = |n: i64| format!("{},0.00009,0.0001,0.00008,0.00009", MIDNIGHT + n * 60_000);
    let rows: Vec<String> = (0..100).map(row).collect();
    fs::write(&small, format!("{CSV_HEADER}{}\n", rows.join("\n"))).unwrap();
    for (symbol, path) in [
        ("XRPUSDT", file),
        ("SOLUSDT", file),
        ("BTCUSDT", small.to_str().unwrap()),
    ] {
        let args = parse(&["--symbol", symbol, "--candles", path]).unwrap();
        let stop = bearish_trader::backtest::run_to_summary(&args).unwrap_err();
        assert_eq!(stop.code.number(), 78, "{stop}");
        assert!(stop.message.contains("cannot be one of"), "{stop}");
    }
}

#[test]
fn several_files_are_one_series() {
    let place = TestDir::new();
    let rows = random_walk(20, 5, CANDLES);
    let whole = run(&place.rows(&rows), &["--json"]).unwrap();
    for (name, range) in [
        ("2.csv", 0..6_000),
        ("1.csv", 5_000..12_000),
        ("3.csv", 12_000..17_280),
    ] {
        fs::write(place.path(name), rows[range].join("\n")).unwrap();
    }
    fs::remove_file(place.path("candles.csv")).unwrap();
    let parts = run(&place.path(""), &["--json"]).unwrap();
    let (mut whole, mut parts) = (json(&whole), json(&parts));
    for summary in [&mut whole, &mut parts] {
        summary["books"][0]["candles"]["source"] = Value::Null;
    }
    assert_eq!(whole, parts);
}
