//! A month of recorded market data: the conditions hold on as many candles as pandas finds. The file is
//! not part of the project.

use std::path::{Path, PathBuf};

use crate::support::{TestDir, lines, run};

const FILE: &str = "btcusdt-perp-1m-2022-01.csv.gz";

#[expect(clippy::print_stderr, reason = "a skipped test must say so")]
fn recording() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/market-data");
    let folder = std::env::var_os("BEARISH_MARKET_DATA").map_or(beside, PathBuf::from);
    let file = folder.join(FILE);
    if file.is_file() {
        return Some(file);
    }
    eprintln!(
        "SKIPPED: {FILE} is not in {} (BEARISH_MARKET_DATA names its folder)",
        folder.display()
    );
    None
}

#[test]
fn signals_are_on_as_many_candles_as_pandas_finds() {
    let Some(file) = recording() else { return };
    let place = TestDir::new();
    let out = place.path("signals.jsonl");
    let summary = run(&file, &["--signals", out.to_str().unwrap()]).unwrap();
    let signals = lines(&out);
    let of = |name: &str| signals.iter().filter(|s| s["strategy"] == name).count();
    assert_eq!((of("oversold-bounce"), of("short-the-rip")), (13, 29));
    assert_eq!(signals.len(), 42, "a month is too short for the regime");
    for wanted in ["45,031 of 1m", "gaps          none", "1,500 complete"] {
        assert!(summary.contains(wanted), "{wanted} is not in\n{summary}");
    }
}
