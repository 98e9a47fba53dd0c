//! Who reaches its market no more: when that is its own trouble, and when it is the market's.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::Duration;

use bearish_supervision::act::Action;
use bearish_supervision::market::Market;
use bearish_supervision::pulse::Beat;
use bearish_supervision::record::Reason;
use bearish_supervision::watch::Event;
use protocol::heartbeat::{Heartbeat, Part, PartState, Phase as BeatPhase};
use protocol::ids::AccountKey;

use crate::support::{MINUTE, Rig, USUAL};

const BEAT: Duration = Duration::from_secs(5);
const OTHER: &str = "trader-paper-2";

fn account(host: &str) -> AccountKey {
    format!("paper.binance-usdm.{host}").parse().unwrap()
}

/// Ours, and another of the same account unless a test says otherwise.
struct Two {
    rig: Rig,
    other: Beat,
}

impl Two {
    fn running() -> Self {
        let mut rig = Rig::running(USUAL);
        rig.account = Some(account("sim"));
        let other = Beat {
            boot: "another".parse().unwrap(),
            ..rig.beat_of(BeatPhase::Running)
        };
        let mut two = Self { rig, other };
        two.beat(2 * MINUTE, flows, flows);
        assert!(two.rig.calls.is_empty());
        two
    }

    /// Both beat for this long; each says of its market what it is told to, after so many beats.
    fn beat(
        &mut self,
        span: Duration,
        ours: impl Fn(u64) -> Option<Market>,
        others: impl Fn(u64) -> Option<Market>,
    ) {
        for beats in 1..=span.as_secs() / BEAT.as_secs() {
            self.other.market = others(beats);
            let (unit, beat) = (OTHER.parse().unwrap(), self.other.clone());
            self.rig.on(Event::Beat { unit, beat });
            self.rig.market = ours(beats);
            self.rig.healthy(BEAT);
        }
    }

    fn reason(&self) -> &Reason {
        &self.rig.restarts()[0].reason
    }
}

#[allow(
    clippy::unnecessary_wraps,
    reason = "one of several that may say nothing"
)]
const fn flows(_: u64) -> Option<Market> {
    Some(Market {
        flows: true,
        errors: 7,
    })
}

/// Every attempt fails.
#[allow(
    clippy::unnecessary_wraps,
    reason = "one of several that may say nothing"
)]
const fn fails(beats: u64) -> Option<Market> {
    Some(Market {
        flows: false,
        errors: 7 + beats,
    })
}

#[test]
fn who_reaches_no_market_for_a_minute_while_another_does_is_stopped_in_good_order_and_started() {
    let mut two = Two::running();
    two.beat(MINUTE, fails, flows);
    assert!(two.rig.calls.is_empty(), "{:?}", two.rig.calls);
    two.beat(BEAT, |_| fails(13), flows);
    let [Action::Stop { grace_ms, .. }] = two.rig.calls[..] else {
        panic!("{:?}", two.rig.calls);
    };
    assert_eq!(grace_ms, 10_000, "it may give its books back");
    let expected = "hung: it reaches no market for 60.0 s, and trader-paper-2 does";
    assert_eq!(two.reason().to_string(), expected);
}

#[test]
fn when_the_market_is_away_for_all_nobody_is_to_blame_nor_when_it_comes_back_for_one_first() {
    let mut two = Two::running();
    two.beat(10 * MINUTE, fails, fails);
    two.beat(BEAT * 11, |beats| fails(120 + beats), flows);
    two.beat(10 * MINUTE, flows, flows);
    assert!(two.rig.calls.is_empty(), "{:?}", two.rig.calls);
}

#[test]
fn a_market_that_answers_and_has_no_candles_for_one_is_no_reason() {
    let mut two = Two::running();
    two.beat(10 * MINUTE, |_| fails(1), flows);
    assert!(two.rig.calls.is_empty(), "{:?}", two.rig.calls);
}

#[test]
fn it_counts_only_if_the_other_really_has_the_same_market_and_never_failed_meanwhile() {
    let none = |_| None;
    let slow_to_notice = |beats| {
        flows(beats).map(|m| Market {
            errors: 7 + beats / 3,
            ..m
        })
    };
    let mut idle = Two::running();
    idle.beat(10 * MINUTE, fails, none);
    let mut dying = Two::running();
    dying.beat(10 * MINUTE, fails, slow_to_notice);
    let mut elsewhere = Two::running();
    elsewhere.other.account = Some(account("binance"));
    elsewhere.beat(10 * MINUTE, fails, flows);
    let mut unknown = Two::running();
    (unknown.other.account, unknown.rig.account) = (None, None);
    unknown.beat(10 * MINUTE, fails, flows);
    let mut starting = Two::running();
    starting.other.phase = BeatPhase::Starting;
    starting.beat(10 * MINUTE, fails, flows);
    let mut silent = Two::running();
    for beats in 0..100 {
        silent.rig.market = fails(beats);
        silent.rig.healthy(BEAT);
    }
    for two in [idle, dying, elsewhere, unknown, starting, silent] {
        assert!(two.rig.calls.is_empty(), "{:?}", two.rig.calls);
    }
}

#[test]
fn a_feed_that_nobody_needs_says_nothing_of_the_market() {
    let golden = include_str!("../../../../protocol/tests/golden/heartbeat_full.json");
    let mut heartbeat: Heartbeat = serde_json::from_str(golden).unwrap();
    let mut says = |state, candle_age_ms| {
        heartbeat.candle_age_ms = candle_age_ms;
        let part = Part {
            state,
            ..heartbeat.parts["feed"]
        };
        heartbeat.parts.insert("feed".to_owned(), part);
        Beat::from(&heartbeat).market.map(|market| market.flows)
    };
    assert_eq!(says(PartState::Ok, Some(59_000)), Some(true));
    assert_eq!(says(PartState::Ok, None), None);
    assert_eq!(says(PartState::Retrying, Some(190_000)), Some(false));
    assert_eq!(says(PartState::Retrying, None), Some(false));
}
