//! What the tests share: candle files that are the same on every machine, and a run of the command.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use bearish_trader::backtest::{self, BacktestArgs};
use bearish_trader::cli::{Cli, Command};
use clap::Parser;
use runtime::exit_error::ExitError;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const CSV_HEADER: &str = "open_time,open,high,low,close\n";
/// Strategies of the tests with exact results.
pub(crate) const STRATEGIES: &str =
    "adaptive-oversold-bounce,adaptive-short-the-rip,oversold-bounce,short-the-rip";

/// 2026-01-05T00:00Z: every interval begins here.
pub(crate) const MIDNIGHT: i64 = 1_767_571_200_000;

/// `SplitMix64`: enough chance for a price walk.
struct RandomStream(u64);

impl RandomStream {
    fn below(&mut self, bound: u64) -> i64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        i64::try_from((z ^ (z >> 31)) % bound).unwrap()
    }

    fn around_zero(&mut self, reach: u64) -> i64 {
        self.below(2 * reach + 1) - i64::try_from(reach).unwrap()
    }
}

/// Rows of a random walk from 40,000 with a tick of 0.1, moves up to 0.35 % a candle.
pub(crate) fn random_walk(seed: u64, minutes: i64, candles: i64) -> Vec<String> {
    let mut chance = RandomStream(seed);
    let mut last = 400_000;
    let tenths = |t: i64| format!("{}.{}", t / 10, t % 10);
    (0..candles)
        .map(|n| {
            let open = last + chance.around_zero(20);
            let close = (open + open * chance.around_zero(3_500) / 1_000_000).max(1_000);
            let high = open.max(close) + chance.below(open.unsigned_abs() / 1_000);
            let low = open.min(close) - chance.below(open.unsigned_abs() / 1_000);
            last = close;
            let at = MIDNIGHT + n * minutes * 60_000;
            let mut row = at.to_string();
            for price in [open, high, low, close] {
                let _ = write!(row, ",{}", tenths(price));
            }
            row
        })
        .collect()
}

/// A directory for one test.
pub(crate) struct TestDir(TempDir);

impl TestDir {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a candle file of this text.
    pub(crate) fn candles(&self, text: &str) -> PathBuf {
        let path = self.path("candles.csv");
        fs::write(&path, text).unwrap();
        path
    }

    /// Writes a candle file of these rows.
    pub(crate) fn rows(&self, rows: &[String]) -> PathBuf {
        self.candles(&format!("{CSV_HEADER}{}\n", rows.join("\n")))
    }

    /// Names of its files, sorted.
    pub(crate) fn file_names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
        let mut names: Vec<String> = entries.map(|entry| name(entry.unwrap())).collect();
        names.sort();
        names
    }
}

/// The command's flags, as the program parses them.
pub(crate) fn parse(flags: &[&str]) -> Result<BacktestArgs, String> {
    let arguments = ["trader", "backtest"].iter().chain(flags);
    match Cli::try_parse_from(arguments)
        .map_err(|e| e.to_string())?
        .command
    {
        Some(Command::Backtest(args)) => Ok(*args),
        other => panic!("{other:?}"),
    }
}

/// Runs it on BTCUSDT with these further flags.
pub(crate) fn run(candles: &Path, flags: &[&str]) -> Result<String, ExitError> {
    let candles = candles.to_str().unwrap();
    let all = [&["--symbol", "BTCUSDT", "--candles", candles], flags].concat();
    backtest::run_to_summary(&parse(&all).unwrap())
}

/// The lines of a file of JSON.
pub(crate) fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
