//! Statistics: held against quantstats, and what must not change them.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{TestDir, lines, random_walk, run};

/// Versions that the figures are compared with.
const PACKAGES: [&str; 3] = ["quantstats==0.0.86", "empyrical-reloaded==0.7.1", "ipython"];

/// Reads the equity file and prints the figures of both packages.
const SCRIPT: &str = r#"
import json, sys
import pandas as pd, empyrical, quantstats.stats as qs
rows = [json.loads(line) for line in open(sys.argv[1])]
# A close at midnight belongs to the day before.
time = pd.to_datetime([row["time"] - 1 for row in rows], unit="ms")
equity = pd.Series([row["equity"] for row in rows], index=time).resample("1D").last().ffill()
returns = pd.concat([pd.Series([10000.0]), equity]).pct_change().dropna()
returns.index = equity.index
print(json.dumps({
    "sharpe": [qs.sharpe(returns, periods=365), empyrical.sharpe_ratio(returns, annualization=365)],
    "sortino": [qs.sortino(returns, periods=365), empyrical.sortino_ratio(returns, annualization=365)],
    "volatility": [qs.volatility(returns, periods=365), empyrical.annual_volatility(returns, annualization=365)],
    "cagr": [empyrical.annual_return(returns, annualization=365)],
    "days": [len(returns)],
}))
"#;

/// A Python with the packages, in the target directory; `None` without python3 or `PyPI`.
#[expect(clippy::print_stderr, reason = "a skipped test must say so")]
fn python() -> Option<PathBuf> {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/statistics");
    let python = venv.join("bin/python");
    let is_ready = |python: &Path| {
        let imports = Command::new(python)
            .args(["-c", "import quantstats, empyrical"])
            .output();
        imports.is_ok_and(|done| done.status.success())
    };
    if !is_ready(&python) {
        let made = Command::new("python3")
            .args(["-m", "venv"])
            .arg(&venv)
            .output();
        let installed = Command::new(venv.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .args(PACKAGES)
            .output();
        if made.is_err() || installed.is_err() || !is_ready(&python) {
            eprintln!("SKIPPED: quantstats and empyrical cannot be installed: {installed:?}");
            return None;
        }
    }
    Some(python)
}

#[test]
fn ratios_are_those_of_quantstats_and_empyrical() {
    let Some(python) = python() else { return };
    let place = TestDir::new();
    let file = place.rows(&random_walk(20, 5, 60 * 288));
    let out = place.path("equity.jsonl");
    let flags = [
        "--equity",
        out.to_str().unwrap(),
        "--json",
        "--protections",
        "none",
    ];
    let summary: Value = serde_json::from_str(&run(&file, &flags).unwrap()).unwrap();
    let script = place.path("figures.py");
    std::fs::write(&script, SCRIPT).unwrap();
    let done = Command::new(python).args([&script, &out]).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let theirs: Value = serde_json::from_slice(&done.stdout).unwrap();
    let statistics = &summary["statistics"];
    assert_eq!(theirs["days"][0], statistics["days"]);
    for figure in ["sharpe", "sortino", "volatility", "cagr"] {
        let ours: f64 = statistics[figure].as_str().unwrap().parse().unwrap();
        for theirs in theirs[figure].as_array().unwrap() {
            let theirs = theirs.as_f64().unwrap();
            assert!(
                (ours - theirs).abs() < 1e-4,
                "{figure}: {ours} and {theirs}"
            );
        }
    }
}

#[test]
fn days_without_a_trade_count() {
    let place = TestDir::new();
    let file = place.rows(&random_walk(20, 5, 60 * 288));
    let summary: Value = serde_json::from_str(&run(&file, &["--json"]).unwrap()).unwrap();
    assert_eq!(summary["statistics"]["days"], 60);
    let months: Vec<&str> = summary["months"]
        .as_array()
        .unwrap()
        .iter()
        .map(|month| month["month"].as_str().unwrap())
        .collect();
    assert_eq!(months, ["2026-01", "2026-02", "2026-03"]);
}

#[test]
fn groups_of_trades_add_up_to_the_total() {
    let place = TestDir::new();
    let file = place.rows(&random_walk(20, 5, 60 * 288));
    let out = place.path("trades.jsonl");
    let flags = ["--json", "--trades", out.to_str().unwrap()];
    let summary: Value = serde_json::from_str(&run(&file, &flags).unwrap()).unwrap();
    let number = |value: &Value| -> f64 { value.as_str().unwrap().parse().unwrap() };
    let pnl: f64 = lines(&out)
        .iter()
        .map(|trade| trade["pnl"].as_f64().unwrap())
        .sum();
    assert!((number(&summary["total"]["pnl"]) - pnl).abs() < 1e-6);
    for group in ["strategies", "sides", "exit_reasons", "months"] {
        let parts = summary[group].as_array().unwrap();
        let pnl: f64 = parts.iter().map(|part| number(&part["pnl"])).sum();
        let trades: u64 = parts
            .iter()
            .map(|part| part["trades"].as_u64().unwrap())
            .sum();
        assert!(
            (number(&summary["total"]["pnl"]) - pnl).abs() < 1e-6,
            "{group}"
        );
        assert_eq!(summary["total"]["trades"], trades, "{group}");
    }
}
