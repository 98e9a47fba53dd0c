//! Exchange time: paused, running, and continued over a restart.

use std::time::Duration;

use exchange_sim::exchange::Limits;
use tokio::time::sleep;

use crate::support::{CandleFile, Client, MIDNIGHT_MS, MINUTE_MS, klines, start, time, try_start};

#[tokio::test]
async fn clock_is_paused_until_the_first_subscriber_then_runs_for_good() {
    let file = CandleFile::minutes(400);
    let arguments = ["--warmup-candles", "10"];
    let exchange = file.replay(&arguments, Limits::default()).await.unwrap();
    let start = MIDNIGHT_MS + 10 * MINUTE_MS;
    assert_eq!(time(exchange.address).await, start);
    let idle = Client::connect(exchange.address, "/ws/btcusdt@depth").await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(
        time(exchange.address).await,
        start,
        "not a kline subscriber"
    );
    let mut client = Client::connect(exchange.address, "/ws/btcusdt@kline_1m").await;
    client.receive().await;
    assert!(time(exchange.address).await > start);
    drop((client, idle));
    sleep(Duration::from_millis(200)).await;
    let left = time(exchange.address).await;
    sleep(Duration::from_millis(200)).await;
    let passed = time(exchange.address).await - left;
    assert!(
        (12_000..30_000).contains(&passed),
        "{passed} ms in 200 ms at 60x"
    );
    exchange.stop().await;
}

#[tokio::test]
async fn clock_pauses_again_when_the_last_subscriber_leaves() {
    let file = CandleFile::minutes(400);
    let arguments = ["--clock-pause", "without-subscribers"];
    let exchange = file.replay(&arguments, Limits::default()).await.unwrap();
    let mut client = Client::connect(exchange.address, "/ws/btcusdt@kline_1m").await;
    client.receive().await;
    drop(client);
    sleep(Duration::from_millis(300)).await;
    let held = time(exchange.address).await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(time(exchange.address).await, held);
    let mut client = Client::connect(exchange.address, "/ws/btcusdt@kline_1m").await;
    client.receive().await;
    let resumed = time(exchange.address).await;
    assert!(
        resumed > held && resumed < held + MINUTE_MS,
        "{held} {resumed}"
    );
    exchange.stop().await;
}

#[tokio::test]
async fn unpaused_clock_runs_from_the_start_and_ends_with_the_file() {
    let file = CandleFile::minutes(60);
    let arguments = [
        "--clock-pause",
        "never",
        "--warmup-candles",
        "30",
        "--speed",
        "3600",
    ];
    let exchange = file.replay(&arguments, Limits::default()).await.unwrap();
    sleep(Duration::from_millis(800)).await;
    assert_eq!(time(exchange.address).await, MIDNIGHT_MS + 60 * MINUTE_MS);
    let rows = klines(exchange.address, "symbol=BTCUSDT&interval=30m").await;
    assert_eq!(rows.len(), 2, "both closed, none running");
    exchange.stop().await;
}

#[tokio::test]
async fn restart_keeps_the_history_and_adds_the_candles_of_the_downtime() {
    let dir = tempfile::tempdir().unwrap();
    let state = [
        "--state-dir",
        dir.path().to_str().unwrap(),
        "--symbols",
        "ETHUSDT",
    ];
    let query = "symbol=ETHUSDT&interval=1m&limit=1500";
    let first = start(&state).await;
    let opened = time(first.address).await;
    let mut client = Client::connect(first.address, "/ws/ethusdt@kline_1m").await;
    client.receive().await;
    let past = klines(first.address, query).await;
    let before = time(first.address).await;
    first.stop().await;
    sleep(Duration::from_millis(1_200)).await;

    let second = start(&state).await;
    let after = time(second.address).await;
    assert!(
        before > opened && after >= before + MINUTE_MS,
        "{opened} {before} {after}"
    );
    let now = klines(second.address, query).await;
    let closed = &past[past.len() - 1_000..past.len() - 1];
    let again = now.iter().position(|row| row[0] == closed[0][0]).unwrap();
    assert_eq!(now[again..again + closed.len()], *closed);
    let newest = now.last().unwrap()[0].as_i64().unwrap();
    assert!(
        newest + 2 * MINUTE_MS >= after,
        "the downtime's candles are there"
    );
    second.stop().await;

    let other = [&state[..2], &["--symbols", "ETHUSDT", "--seed", "99"]].concat();
    let refused = try_start(&other, Limits::default()).await.err().unwrap();
    assert_eq!(refused.code.number(), 78);
    for name in ["seed 4,", "seed 99,"] {
        assert!(refused.message.contains(name), "{}", refused.message);
    }
}

#[tokio::test]
async fn clock_without_subscribers_stays_paused_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let file = CandleFile::minutes(400);
    let state = [
        "--clock-pause",
        "without-subscribers",
        "--state-dir",
        dir.path().to_str().unwrap(),
    ];
    let first = file.replay(&state, Limits::default()).await.unwrap();
    let mut client = Client::connect(first.address, "/ws/btcusdt@kline_1m").await;
    client.receive().await;
    let seen = time(first.address).await;
    first.stop().await;
    sleep(Duration::from_secs(1)).await;
    let second = file.replay(&state, Limits::default()).await.unwrap();
    let resumed = time(second.address).await;
    assert!(
        resumed >= seen && resumed < seen + MINUTE_MS,
        "one second away, {} ms passed",
        resumed - seen
    );
    second.stop().await;
}
