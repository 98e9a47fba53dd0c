//! A long file takes no more memory than a short one: the kernel's figure for the program itself.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{TestDir, random_walk};

/// Largest resident set of a run over this file, in kB, and its exit code.
fn peak(candles: &Path) -> (u64, Option<i32>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_trader"))
        .env_clear()
        .args(["backtest", "--symbol", "BTCUSDT", "--candles"])
        .arg(candles)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:"));
        let seen = line.and_then(|l| l.trim().strip_suffix(" kB")?.parse().ok());
        peak = peak.max(seen.unwrap_or(0));
        if let Some(ended) = child.try_wait().unwrap() {
            return (peak, ended.code());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn ten_times_the_candles_take_no_more_memory() {
    let place = TestDir::new();
    let short = peak(&place.rows(&random_walk(1, 1, 40_000)));
    // As candles in memory these would be 16 MB more.
    let long = peak(&place.rows(&random_walk(1, 1, 400_000)));
    assert_eq!((short.1, long.1), (Some(0), Some(0)));
    assert!(short.0 > 1_000, "{short:?}");
    assert!(long.0 < short.0 + 4_000, "{short:?} and {long:?} kB");
}
