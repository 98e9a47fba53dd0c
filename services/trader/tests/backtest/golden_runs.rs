//! Whole runs on generated candles: the figures are those committed beside this file, and the same input
//! makes the same bytes.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{STRATEGIES, TestDir, lines, random_walk, run};

/// 60 days of 5m candles: long enough for the regime.
const CANDLES: i64 = 60 * 288;

fn golden(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/backtest/golden");
    let path = folder.join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn run_reproduces_the_committed_trades_and_summary() {
    let place = TestDir::new();
    let file = place.rows(&random_walk(20, 5, CANDLES));
    let outputs = ["trades.jsonl", "signals.jsonl", "plot.png"].map(|name| place.path(name));
    let [trades, signals, plot] = outputs.each_ref().map(|path| path.to_str().unwrap());
    let outputs_flags = ["--trades", trades, "--signals", signals, "--plot", plot];
    // Named, so that a further strategy does not change golden files.
    let flags = [&["--strategies", STRATEGIES][..], &outputs_flags].concat();
    let summary = run(&file, &flags).unwrap();
    let bytes = || outputs.each_ref().map(|path| fs::read(path).unwrap());
    let first = bytes();
    assert_eq!(summary, golden("summary.txt"), "\n{summary}");
    let text = String::from_utf8(first[0].clone()).unwrap();
    let begin: String = text.split_inclusive('\n').take(10).collect();
    assert_eq!(begin, golden("first-trades.jsonl"), "\n{begin}");
    assert!(first[2].starts_with(b"\x89PNG"));
    assert_eq!(run(&file, &flags).unwrap(), summary);
    assert!(bytes() == first, "another run made other bytes");
    let names = ["candles.csv", "plot.png", "signals.jsonl", "trades.jsonl"];
    assert_eq!(place.file_names(), names, "nothing is left over");
}

#[test]
fn json_has_the_figures_of_the_summary() {
    let place = TestDir::new();
    let file = place.rows(&random_walk(20, 5, CANDLES));
    let json: Value =
        serde_json::from_str(&run(&file, &["--json", "--strategies", STRATEGIES]).unwrap())
            .unwrap();
    for (pointer, expected) in [
        ("/books/0/symbol", json!("BTCUSDT")),
        ("/books/0/candles/count", json!(17_280)),
        ("/books/0/candles/interval", json!("5m")),
        ("/books/0/candles/from", json!(1_767_571_200_000_i64)),
        ("/books/0/candles/gaps", json!(0)),
        ("/books/0/candles/first_gap", Value::Null),
        ("/books/0/bars/count", json!(2_880)),
        ("/settings/leverage", json!("1")),
        ("/strategies/0/strategy", json!("adaptive-oversold-bounce")),
        ("/total/trades", json!(66)),
        ("/total/winning_trades", json!(23)),
        ("/capital", json!("10000")),
        ("/books/0/position", Value::Null),
        ("/books/0/rejected_signals/position_open/count", json!(171)),
        (
            "/books/0/rejected_signals/cooldown_period/reason",
            json!("the last trade was too recent (CooldownPeriod)"),
        ),
        ("/books/0/dropped_entries", json!([])),
        ("/latch_count", json!(0)),
    ] {
        assert_eq!(
            json.pointer(pointer),
            Some(&expected),
            "{pointer} of {json:#}"
        );
    }
    let number = |pointer: &str| -> f64 {
        let text = json.pointer(pointer).and_then(Value::as_str).unwrap();
        text.parse().unwrap()
    };
    for (pointer, expected) in [
        ("/equity", 9_570.35),
        ("/total/pnl", -429.65),
        ("/total/profit_factor", 0.87),
        ("/statistics/max_drawdown/share", 0.114_8),
        ("/statistics/sharpe", -1.24),
        ("/buy_and_hold", 0.430_238),
        ("/statistics/exposure", 0.1428),
    ] {
        assert!(
            (number(pointer) - expected).abs() < 0.005,
            "{pointer} of {json:#}"
        );
    }
}

#[test]
fn figures_of_the_lines_add_up() {
    let place = TestDir::new();
    let file = place.rows(&random_walk(20, 5, CANDLES));
    let out = place.path("trades.jsonl");
    run(&file, &["--trades", out.to_str().unwrap()]).unwrap();
    let mut equity = 10_000.0;
    let trades = lines(&out);
    assert!(trades.len() > 10);
    for trade in &trades {
        let number = |name: &str| trade[name].as_f64().unwrap();
        let moved = number("exit_price") - number("entry_price");
        let sign = if trade["side"] == "long" { 1.0 } else { -1.0 };
        let gross = sign * moved * number("quantity");
        assert!(
            (gross - number("fees") - number("pnl")).abs() < 1e-6,
            "{trade}"
        );
        equity += number("pnl");
        assert!((equity - number("equity")).abs() < 1e-6, "{trade}");
        assert!(number("entry_time") <= number("exit_time"), "{trade}");
    }
}

#[test]
fn only_the_selected_strategies_trade_and_signal() {
    let place = TestDir::new();
    let file = place.rows(&random_walk(20, 5, CANDLES));
    let (trades, signals) = (place.path("trades.jsonl"), place.path("signals.jsonl"));
    let flags = [
        "--strategies",
        "short-the-rip",
        "--trades",
        trades.to_str().unwrap(),
        "--signals",
        signals.to_str().unwrap(),
    ];
    let summary = run(&file, &flags).unwrap();
    assert!(!summary.contains("oversold-bounce"), "{summary}");
    for line in lines(&trades).iter().chain(&lines(&signals)) {
        assert_eq!(line["strategy"], "short-the-rip");
    }
}

#[test]
fn latch_ends_all_entries_unless_continue_after_halt_is_set() {
    let place = TestDir::new();
    let file = place.rows(&random_walk(20, 5, CANDLES));
    let out = place.path("trades.jsonl");
    let risky = [
        "--leverage",
        "5",
        "--protections",
        "none",
        "--trades",
        out.to_str().unwrap(),
    ];
    let halted = run(&file, &risky).unwrap();
    let after_halt = lines(&out).len();
    for wanted in [
        "!! LATCHED",
        "NO ENTRY AFTER THAT",
        "signals: account_latched",
    ] {
        assert!(halted.contains(wanted), "{wanted} is not in\n{halted}");
    }
    let resumed = [&risky[..], &["--continue-after-halt"]].concat();
    let resumed = run(&file, &resumed).unwrap();
    assert!(lines(&out).len() > after_halt, "\n{halted}\n{resumed}");
    for wanted in ["!! LATCHED", "entries continued on the next UTC day"] {
        assert!(resumed.contains(wanted), "{wanted} is not in\n{resumed}");
    }
}

#[test]
fn compressed_file_gives_the_same_result() {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write as _;
    let place = TestDir::new();
    let plain = place.rows(&random_walk(20, 15, 2_000));
    let packed = place.path("candles.csv.gz");
    let mut writer = GzEncoder::new(fs::File::create(&packed).unwrap(), Compression::fast());
    writer.write_all(&fs::read(&plain).unwrap()).unwrap();
    writer.finish().unwrap();
    let of = |file: &Path| {
        run(file, &[])
            .unwrap()
            .split_once('\n')
            .unwrap()
            .1
            .to_owned()
    };
    assert_eq!(of(&plain), of(&packed));
}
