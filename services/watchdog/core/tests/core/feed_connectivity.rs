//! Missing market data: a fault of the unit, or of the market.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::Duration;

use bearish_watchdog_core::feed_connectivity::FeedConnectivity;
use bearish_watchdog_core::liveness::HeartbeatSample;
use bearish_watchdog_core::model::Action;
use bearish_watchdog_core::observed_state::SupervisionEvent;
use bearish_watchdog_core::reason::RestartReason;
use protocol::heartbeat::{ComponentState, ComponentStatus, Heartbeat, ProcessPhase};
use protocol::ids::{AccountKey, Mode};

use crate::support::{DEFAULT_FLAGS, MINUTE, Rig};

const HEARTBEAT: Duration = Duration::from_secs(5);
const PEER: &str = "trader-paper-2";

fn account(host: &str) -> AccountKey {
    format!("paper.binance-usdm.{host}").parse().unwrap()
}

/// The unit under test, and another of the same account unless a test says otherwise.
struct TwoUnits {
    rig: Rig,
    peer: HeartbeatSample,
}

impl TwoUnits {
    fn running() -> Self {
        let mut rig = Rig::running(DEFAULT_FLAGS);
        rig.account = Some(account("sim"));
        let other = HeartbeatSample {
            boot: "another".parse().unwrap(),
            ..rig.heartbeat_sample(ProcessPhase::Running)
        };
        let mut two = Self { rig, peer: other };
        two.send_heartbeats(2 * MINUTE, receiving, receiving);
        assert!(two.rig.calls.is_empty());
        two
    }

    /// Both units send heartbeats for this long. Each reports the given connectivity after a number of heartbeats.
    fn send_heartbeats(
        &mut self,
        span: Duration,
        own_feed: impl Fn(u64) -> Option<FeedConnectivity>,
        others: impl Fn(u64) -> Option<FeedConnectivity>,
    ) {
        for beats in 1..=span.as_secs() / HEARTBEAT.as_secs() {
            self.peer.feed_connectivity = others(beats);
            let (unit, heartbeat) = (PEER.parse().unwrap(), self.peer.clone());
            self.rig
                .on_event(SupervisionEvent::HeartbeatReceived { unit, heartbeat });
            self.rig.feed_connectivity = own_feed(beats);
            self.rig.pass_healthy(HEARTBEAT);
        }
    }

    fn reason(&self) -> &RestartReason {
        &self.rig.restarts()[0].reason
    }
}

#[allow(
    clippy::unnecessary_wraps,
    reason = "one of several that may say nothing"
)]
const fn receiving(_: u64) -> Option<FeedConnectivity> {
    Some(FeedConnectivity {
        is_receiving: true,
        errors: 7,
    })
}

/// Every attempt fails.
#[allow(
    clippy::unnecessary_wraps,
    reason = "one of several that may say nothing"
)]
const fn failing(beats: u64) -> Option<FeedConnectivity> {
    Some(FeedConnectivity {
        is_receiving: false,
        errors: 7 + beats,
    })
}

#[test]
fn trader_without_market_data_is_restarted_if_a_peer_has_data() {
    let mut two = TwoUnits::running();
    two.send_heartbeats(MINUTE, failing, receiving);
    assert!(two.rig.calls.is_empty(), "{:?}", two.rig.calls);
    two.send_heartbeats(HEARTBEAT, |_| failing(13), receiving);
    let [Action::Stop { grace_ms, .. }] = two.rig.calls[..] else {
        panic!("{:?}", two.rig.calls);
    };
    assert_eq!(grace_ms, 10_000, "it may give its books back");
    let expected = "hung: no market data for 60s, while trader-paper-2 receives it";
    assert_eq!(two.reason().to_string(), expected);
}

#[test]
fn market_outage_for_all_units_restarts_none() {
    let mut two = TwoUnits::running();
    two.send_heartbeats(10 * MINUTE, failing, failing);
    two.send_heartbeats(HEARTBEAT * 11, |beats| failing(120 + beats), receiving);
    two.send_heartbeats(10 * MINUTE, receiving, receiving);
    assert!(two.rig.calls.is_empty(), "{:?}", two.rig.calls);
}

#[test]
fn feed_without_failed_attempts_is_no_restart_reason() {
    let mut two = TwoUnits::running();
    two.send_heartbeats(10 * MINUTE, |_| failing(1), receiving);
    assert!(two.rig.calls.is_empty(), "{:?}", two.rig.calls);
}

#[test]
fn peer_counts_only_with_steady_data_of_the_same_market() {
    let none = |_| None;
    let slow_to_notice = |beats| {
        receiving(beats).map(|m| FeedConnectivity {
            errors: 7 + beats / 3,
            ..m
        })
    };
    let mut idle = TwoUnits::running();
    idle.send_heartbeats(10 * MINUTE, failing, none);
    let mut dying = TwoUnits::running();
    dying.send_heartbeats(10 * MINUTE, failing, slow_to_notice);
    let mut elsewhere = TwoUnits::running();
    elsewhere.peer.account = Some(account("binance"));
    elsewhere.send_heartbeats(10 * MINUTE, failing, receiving);
    let mut unknown = TwoUnits::running();
    (unknown.peer.account, unknown.rig.account) = (None, None);
    unknown.send_heartbeats(10 * MINUTE, failing, receiving);
    let mut starting = TwoUnits::running();
    starting.peer.phase = ProcessPhase::Starting;
    starting.send_heartbeats(10 * MINUTE, failing, receiving);
    let mut silent = TwoUnits::running();
    for beats in 0..100 {
        silent.rig.feed_connectivity = failing(beats);
        silent.rig.pass_healthy(HEARTBEAT);
    }
    for two in [idle, dying, elsewhere, unknown, starting, silent] {
        assert!(two.rig.calls.is_empty(), "{:?}", two.rig.calls);
    }
}

#[test]
fn idle_feed_has_no_feed_connectivity() {
    let golden = include_str!("../../../../protocol/tests/golden/heartbeat_full.json");
    let mut heartbeat: Heartbeat = serde_json::from_str(golden).unwrap();
    let mut says = |state, candle_age_ms| {
        heartbeat.candle_age_ms = candle_age_ms;
        let component = ComponentStatus {
            state,
            ..heartbeat.components["feed"]
        };
        heartbeat.components.insert("feed".to_owned(), component);
        HeartbeatSample::new(Mode::Paper, &heartbeat)
            .feed_connectivity
            .map(|market| market.is_receiving)
    };
    assert_eq!(says(ComponentState::Ok, Some(59_000)), Some(true));
    assert_eq!(says(ComponentState::Ok, None), None);
    assert_eq!(says(ComponentState::Retrying, Some(190_000)), Some(false));
    assert_eq!(says(ComponentState::Retrying, None), Some(false));
}
