//! Tests of a trader with many symbols: every book is ready in time, and the request weight of the exchange suffices.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::time::{Duration, Instant};

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
