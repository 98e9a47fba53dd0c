//! Tests of a trader with many symbols: every book is ready in time, and the request weight of the exchange suffices.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::time::{Duration, Instant};

use bearish_tests::nats::Role;
use bearish_tests::system::System;

/// Starts a trader on this many symbols; returns the time until every book is ready.
async fn time_to_ready(count: usize, limit: Duration) -> Duration {
    // Not every contract is a perpetual that trades now.
    let contracts = (count * 5 / 2).to_string();
    let system = System::start(&[("SIM_CONTRACTS", &contracts), ("SIM_SPEED", "1")]).await;
    let symbols = system.exchange.perpetuals().await;
    let symbols = symbols[..count].join(",");
    let setup = system.trader_setup("many").env("SYMBOLS", &symbols);
    let setup = setup.env("CAPITAL_USDT", "1000000");
    let started_at = Instant::now();
    let mut trader = setup.start();
    trader
        .wait_for_log_within("running books=", limit + Duration::from_mins(1))
        .await;
    let took = started_at.elapsed();
    let log = trader.out();
    assert!(
        !log.iter().any(|line| line.contains("429")),
        "too many calls"
    );
    trader.kill();
    took
}

#[tokio::test]
async fn sixty_symbols_are_ready_within_a_minute() {
    let limit = Duration::from_mins(1);
    let took = time_to_ready(60, limit).await;
    eprintln!("60 symbols ready after {took:.1?}");
    assert!(took < limit, "{took:?}");
}

#[tokio::test]
#[ignore = "up to three minutes: `scripts/test --all`"]
async fn two_hundred_symbols_are_ready_within_three_minutes() {
    let limit = Duration::from_mins(3);
    let took = time_to_ready(200, limit).await;
    eprintln!("200 symbols ready after {took:.1?}");
    assert!(took < limit, "{took:?}");
}

/// Starts a live trader on this many symbols at the exchange's own speed. Returns the highest request weight of a minute
/// within `played` after the start.
async fn live_weight_a_minute(count: usize, played: Duration) -> u32 {
    let contracts = (count * 5 / 2).to_string();
    let system = System::start(&[
        ("SIM_CONTRACTS", &contracts),
        ("SIM_SPEED", "1"),
        ("SIM_API_KEYS", "livekey:livesecret:trade"),
        ("SIM_BALANCE_USDT", "2000000"),
    ])
    .await;
    let symbols = system.exchange.perpetuals().await[..count].join(",");
    let setup = system
        .trader_setup("many")
        .with_bus(&system.nats, Role::TraderLive)
        .env("BINANCE_API_KEY", "livekey")
        .env("BINANCE_API_SECRET", "livesecret")
        .env("SYMBOLS", &symbols)
        .env("CAPITAL_USDT", "1000000");
    let mut init = setup.clone().flags("init --account").start().into_process();
    assert_eq!(init.exit_within(Duration::from_mins(1)).await, 0);
    let mut trader = setup
        .flags("--infinite --auto-restart --confirm-live")
        .start();
    let started_at = Instant::now();
    trader
        .wait_for_log_within("running books=", Duration::from_mins(5))
        .await;
    let ready = started_at.elapsed();
    // The warm-up's own minute is over.
    tokio::time::sleep(Duration::from_mins(1)).await;
    let (until, mut highest) = (Instant::now() + played, 0);
    while Instant::now() < until {
        highest = highest.max(system.exchange.used_weight().await);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let halted = trader.out().iter().any(|line| line.contains("book halted"));
    assert!(!halted && trader.is_running(), "{:#?}", trader.err());
    trader.kill();
    eprintln!(
        "{count} live symbols: ready after {ready:.1?}, weight of a minute at most {highest}"
    );
    highest
}

#[tokio::test]
#[ignore = "minutes: `scripts/test --all`"]
async fn live_trader_of_many_symbols_needs_a_part_of_the_request_weight() {
    for (count, most) in [(5, 400), (60, 1_200), (200, 1_900)] {
        let weight = live_weight_a_minute(count, Duration::from_mins(2)).await;
        assert!(weight <= most, "{count} symbols: {weight}");
    }
}
