//! Compares a trader with a backtest: a paper trader makes the same trades as `trader backtest` from the same
//! candles. The exchange replays a generated file; every field of every trade is compared.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bearish_tests::candle_file::{START_MS, WARM_UP_MINUTES, csv};
use bearish_tests::exchange::MINUTE_MS;
use bearish_tests::journals::{self, Batches};
use bearish_tests::process::binary;
use bearish_tests::system::System;
use bearish_tests::wait::eventually;
use protocol::ids::BookKey;
use protocol::report::BookReport;
use protocol::subject::Subject;
use protocol::time::UtcMs;
use runtime::streams;
use rust_decimal::Decimal;
use trader_core::book::{BookRecord, DropReason, Entry, Position, Trade};
use trader_core::entry::SignalRejection;

/// Quiet minutes at the end of the history: no condition holds when the trader starts.
const QUIET_MINUTES: i64 = 2 * 24 * 60;
/// Quiet minutes after the start of the exchange, in which the trader has time to start.
const CALM_MINUTES: i64 = 120;
/// Minutes of a volatile market, with signals.
const VOLATILE_MINUTES: i64 = 16 * 60;
/// Speed of the exchange: a market minute in 100 ms.
const SPEED: &str = "600";
/// Time within which the market is played to its end.
const PLAY_TIMEOUT: Duration = Duration::from_secs(200);
/// Seed with seven trades of two strategies, gains and losses, one of them across a funding time.
const SEED: u64 = 12;

/// Random number generator `SplitMix64`.
struct SplitMix(u64);

impl SplitMix {
    fn below(&mut self, bound: u64) -> i64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        i64::try_from((z ^ (z >> 31)) % bound).unwrap()
    }
}

/// Candle file of a random walk of up to 0.2 % a minute, quiet around the start of the exchange. The regime in which the
/// trader trades follows from the history.
fn candle_csv() -> String {
    let mut random = SplitMix(SEED);
    let mut last = 400_000;
    csv(
        (0..WARM_UP_MINUTES + CALM_MINUTES + VOLATILE_MINUTES).map(|n| {
            let open: i64 = last;
            if (WARM_UP_MINUTES - QUIET_MINUTES..WARM_UP_MINUTES + CALM_MINUTES).contains(&n) {
                last = open + 2 * (n % 2) - 1;
                return [open, open.max(last), open.min(last), last];
            }
            let moved = open * (random.below(4_001) - 2_000) / 1_000_000;
            last = (open + moved).max(1_000);
            let beyond = open.unsigned_abs() / 2_000;
            let high = open.max(last) + random.below(beyond);
            [open, high, open.min(last) - random.below(beyond), last]
        }),
    )
}

/// Runs `trader backtest`; returns its summary and the lines of its `--trades` file.
fn run_backtest(file: &Path, folder: &Path) -> (String, Vec<String>) {
    let out = folder.join("trades.jsonl");
    let run = Command::new(binary("trader"))
        .env_clear()
        .args(["backtest", "--symbol", "BTCUSDT", "--candles"])
        .args([file, Path::new("--trades"), &out])
        // The history only warms up, as it does for a trader.
        .args([
            "--from",
            &(START_MS + WARM_UP_MINUTES * MINUTE_MS).to_string(),
        ])
        .output()
        .unwrap();
    assert!(run.status.success(), "{run:?}");
    let summary = String::from_utf8(run.stdout).unwrap();
    eprintln!("{summary}");
    let lines = std::fs::read_to_string(&out).unwrap();
    (summary, lines.lines().map(str::to_owned).collect())
}

/// A trade of the journal in the format of `trader backtest --trades`.
fn trade_line(entry: &Entry, position: &Position, trade: &Trade) -> String {
    let n = |value: Decimal| value.normalize();
    let fees = n(position.fee + trade.fee + trade.funding);
    let regime = entry.regime.map_or_else(String::new, |regime| {
        format!(r#","regime":{}"#, serde_json::to_string(&regime).unwrap())
    });
    format!(
        r#"{{"symbol":"BTCUSDT","strategy":"{}","side":"{}","entry_time":{},"exit_time":{},"entry_price":{},"exit_price":{},"quantity":{},"fees":{fees},"funding":{},"pnl":{},"reason":"{}","equity":{},"stop_price":{},"target_price":{},"rsi":{}{regime}}}"#,
        trade.strategy,
        trade.side,
        position.at.0,
        trade.at.0,
        trade.entry_price,
        trade.exit_price,
        trade.quantity,
        n(trade.funding),
        n(trade.pnl),
        trade.reason,
        n(trade.equity),
        position.stop_price,
        position.target_price,
        n(entry.rsi),
    )
}

/// Trades and position of a journal.
struct JournalSummary {
    trades: Vec<String>,
    open: Option<Position>,
    /// Time in milliseconds of the first entry that this machine was too slow for. Trades after it are not
    /// comparable. `None` if there was none.
    first_late_at: Option<i64>,
}

fn summarize_journal(journal: &Batches) -> JournalSummary {
    let (mut lines, mut late) = (Vec::new(), None);
    let (mut entry, mut open) = (None, None);
    for record in journals::records([journal]) {
        match record {
            BookRecord::EntryDecided(decided) => entry = Some(*decided),
            BookRecord::PositionOpened(position) => open = Some(*position),
            BookRecord::PositionClosed(trade) => {
                let position = open.take().unwrap();
                lines.push(trade_line(&entry.unwrap(), &position, trade));
            }
            BookRecord::EntryDropped {
                at,
                reason: DropReason::TooLate,
                ..
            } => {
                late.get_or_insert(at.0);
            }
            BookRecord::SignalRejected {
                bar_close,
                reason:
                    SignalRejection::StaleSignal
                    | SignalRejection::AccountUnknown
                    | SignalRejection::ExchangeErrors,
                ..
            } => {
                late.get_or_insert(bar_close.0);
            }
            _ => {}
        }
    }
    JournalSummary {
        trades: lines,
        open,
        first_late_at: late,
    }
}

fn exit_time(line: &str) -> i64 {
    let trade: serde_json::Value = serde_json::from_str(line).unwrap();
    trade["exit_time"].as_i64().unwrap()
}

/// Key and newest report of the only book. `None` until there is a report.
async fn latest_report(system: &System) -> Option<(BookKey, BookReport)> {
    let key = system.journals().await.into_keys().next()?;
    let subject = Subject::BookReport(key.clone()).to_string();
    let newest = system
        .operator_bus()
        .latest_message(streams::REPORTS, &subject)
        .await;
    let report = serde_json::from_slice(&newest.unwrap()?.payload).unwrap();
    Some((key, report))
}

#[tokio::test]
async fn trader_makes_the_trades_of_a_backtest_of_the_same_candles() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("candles.csv");
    std::fs::write(&file, candle_csv()).unwrap();
    let (summary, mut expected) = run_backtest(&file, folder.path());
    assert_eq!(expected.len(), 7);

    let system = System::start(&[
        ("SIM_MARKET", "replay"),
        ("SIM_CANDLES_FILE", file.to_str().unwrap()),
        ("SIM_WARMUP_CANDLES", &WARM_UP_MINUTES.to_string()),
        ("SIM_SPEED", SPEED),
    ])
    .await;
    let trader = system
        .trader_setup("twin")
        .env("SYMBOLS", "BTCUSDT")
        .start();
    trader.wait_until_running().await;
    let end = START_MS + (WARM_UP_MINUTES + CALM_MINUTES + VOLATILE_MINUTES) * MINUTE_MS;
    let (key, report) = eventually("the last candle is processed", PLAY_TIMEOUT, async || {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (key, report) = latest_report(&system).await?;
        (report.candle_close == Some(UtcMs(end))).then_some((key, report))
    })
    .await;
    let mut journal = summarize_journal(&system.journals().await[&key]);
    if let Some(late) = journal.first_late_at {
        eprintln!("this machine was too slow from {late} on: comparing earlier trades only");
        for lines in [&mut expected, &mut journal.trades] {
            lines.retain(|line| exit_time(line) < late);
        }
        assert!(
            expected.len() >= 3,
            "too slow: fewer than 3 trades to compare"
        );
    } else {
        for (reason, count) in &report.rejected_signals {
            let line = format!(" {count} signals: {reason}");
            assert!(summary.contains(&line), "{line} is not in\n{summary}");
        }
        let p = journal.open.unwrap();
        let open = format!(
            "{} {} at {} by {}",
            p.side, p.quantity, p.entry_price, p.strategy
        );
        assert!(summary.contains(&open), "{open} is not in\n{summary}");
    }
    assert_eq!(journal.trades, expected);
    eprintln!("{} equal trades", expected.len());
}
