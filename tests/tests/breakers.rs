//! Tests of circuit breakers whose cause is outside the book: stale candles and failing calls trip them, and they reset
//! by themselves. Each trip and each reset is a record, an event, a log line and a metric.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::net::SocketAddr;
use std::time::Duration;

use bearish_tests::bus_reader;
use bearish_tests::live::LiveSystem;
use bearish_tests::metrics_client::scrape;
use bearish_tests::ports;
use bearish_tests::system::System;
use bearish_tests::trader::{Trader, TraderSetup};
use bearish_tests::wait::eventually;
use protocol::event::EventBody;
use runtime::bus::Bus;
use serde_json::json;
use trader_core::book::BookRecord;
use trader_core::circuit_breaker::Breaker;

const TIMEOUT: Duration = Duration::from_secs(90);

/// A trader whose metrics are served, with the address.
fn start_with_metrics(setup: &TraderSetup) -> (Trader, SocketAddr) {
    let address = SocketAddr::from(([127, 0, 0, 1], ports::reserve()));
    let setup = setup.clone().env("METRICS_ADDR", &address.to_string());
    (setup.start(), address)
}

/// Waits for the event of a trip (or of a reset), then checks log and metric.
async fn wait_for_breaker(
    bus: &Bus,
    trader: &Trader,
    metrics: SocketAddr,
    breaker: Breaker,
    trips: bool,
) {
    let what = format!("an event of {breaker}, trips: {trips}");
    eventually(&what, TIMEOUT, async || {
        let events = bus_reader::stored_events(bus).await;
        let is_wanted = |body: &EventBody| match body {
            EventBody::BreakerTripped { breaker: name, .. } => trips && *name == breaker.as_str(),
            EventBody::BreakerReset { breaker: name, .. } => !trips && *name == breaker.as_str(),
            _ => false,
        };
        events
            .iter()
            .any(|s| is_wanted(&s.event.body))
            .then_some(())
    })
    .await;
    let state = if trips { "tripped" } else { "reset" };
    let line = format!("circuit breaker {state}");
    let name = breaker.as_str();
    let has_line = |l: &String| l.contains(&line) && l.contains(name);
    assert!(
        trader.out().iter().any(has_line),
        "{name} {state} in the log"
    );
    let metric = format!(
        "bearish_breaker_tripped{{symbol=\"BTCUSDT\",breaker=\"{name}\"}} {}",
        u8::from(trips)
    );
    eventually(&metric, TIMEOUT, async || {
        scrape(metrics).await.contains(&metric).then_some(())
    })
    .await;
}

#[tokio::test]
async fn outage_of_the_exchange_trips_exchange_errors_and_its_end_resets_it() {
    let system = System::start(&[("SIM_SPEED", "60"), ("SIM_FAULT_API", "1")]).await;
    let setup = system.trader_setup("one").env("SYMBOLS", "BTCUSDT");
    let (trader, metrics) = start_with_metrics(&setup);
    trader.wait_until_running().await;
    let down = |on: bool| json!({"fault": "maintenance", "on": on});
    system.exchange.arm_fault(&down(true)).await;
    system.exchange.arm_fault(&json!({"fault": "close"})).await;
    let (bus, breaker) = (system.operator_bus(), Breaker::ExchangeErrors);
    wait_for_breaker(bus, &trader, metrics, breaker, true).await;
    let tripped = |r: &BookRecord| matches!(r, BookRecord::BreakerTripped { breaker, .. } if *breaker == Breaker::ExchangeErrors);
    system.wait_for_record("a trip", TIMEOUT, tripped).await;
    system.exchange.arm_fault(&down(false)).await;
    wait_for_breaker(bus, &trader, metrics, breaker, false).await;
    system.audit(&trader).await;
}

#[tokio::test]
async fn silent_stream_trips_stale_data_and_its_end_resets_it() {
    let system = System::start(&[("SIM_SPEED", "60"), ("SIM_FAULT_API", "1")]).await;
    let setup = system.trader_setup("one").env("SYMBOLS", "BTCUSDT");
    let (mut trader, metrics) = start_with_metrics(&setup);
    trader.wait_until_running().await;
    let silent = |on: bool| json!({"fault": "mute", "on": on, "to": "market"});
    system.exchange.arm_fault(&silent(true)).await;
    let no_candles = json!({"fault": "fail-before", "status": 503, "code": -1001,
        "path": "/fapi/v1/klines", "for_ms": 25_000});
    system.exchange.arm_fault(&no_candles).await;
    let (bus, breaker) = (system.operator_bus(), Breaker::StaleData);
    wait_for_breaker(bus, &trader, metrics, breaker, true).await;
    // The journal keeps the trip: the next process records the reset.
    trader.kill();
    system.exchange.arm_fault(&silent(false)).await;
    let (trader, metrics) = start_with_metrics(&setup);
    wait_for_breaker(bus, &trader, metrics, breaker, false).await;
    system.audit(&trader).await;
}

#[tokio::test]
async fn failing_calls_of_a_live_account_trip_exchange_errors_although_candles_arrive() {
    let system = LiveSystem::start(&[], "20").await;
    let (trader, metrics) = start_with_metrics(&system.trader_setup("one"));
    system.wait_until_protected().await;
    let failing = json!({"fault": "fail-before", "status": 503, "code": -1001, "method": "GET",
        "path": "/fapi/v1/openOrders", "for_ms": 60_000});
    system.arm_fault(&failing).await;
    let refused = json!({"fault": "fail-before", "status": 503, "code": -1001, "method": "GET",
        "path": "/fapi/v1/algoOrder", "for_ms": 60_000});
    system.arm_fault(&refused).await;
    let (bus, breaker) = (system.operator_bus(), Breaker::ExchangeErrors);
    wait_for_breaker(bus, &trader, metrics, breaker, true).await;
    wait_for_breaker(bus, &trader, metrics, breaker, false).await;
    system.audit().await;
}
