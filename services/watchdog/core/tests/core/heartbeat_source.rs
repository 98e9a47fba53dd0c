//! A heartbeat is a claim: mode and numbers that its sender cannot have do not count, and names do not fill the memory.

use std::time::Duration;

use bearish_watchdog_core::liveness::HeartbeatSample;
use bearish_watchdog_core::observed_state::SupervisionEvent;
use protocol::heartbeat::{Heartbeat, ProcessPhase};
use protocol::ids::{Mode, SubjectToken};

use crate::support::{DEFAULT_FLAGS, Rig, name};

fn forged(mode: Mode, change: impl Fn(&mut Heartbeat)) -> HeartbeatSample {
    let golden = include_str!("../../../../protocol/tests/golden/heartbeat_full.json");
    let mut heartbeat: Heartbeat = serde_json::from_str(golden).unwrap();
    change(&mut heartbeat);
    HeartbeatSample::new(mode, &heartbeat)
}

fn receive(rig: &mut Rig, unit: SubjectToken, heartbeat: HeartbeatSample) {
    rig.on_event(SupervisionEvent::HeartbeatReceived { unit, heartbeat });
}

#[test]
fn heartbeat_of_the_other_mode_neither_ends_nor_masks_a_unit() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    let known = rig.observed.unit(&name()).unwrap().liveness.clone();
    let mut live = rig.heartbeat_sample(ProcessPhase::Running);
    live.mode = Mode::Live;
    live.boot = "evil".parse().unwrap();
    live.interval_ms = 0;
    receive(&mut rig, name(), live.clone());
    assert_eq!(rig.observed.unit(&name()).unwrap().liveness, known);
    for _ in 0..30 {
        rig.pass_without_heartbeats(Duration::from_secs(1));
        receive(&mut rig, name(), live.clone());
    }
    assert!(!rig.restarts().is_empty(), "the hang was masked");
}

#[test]
fn heartbeat_before_the_container_is_known_is_dropped_with_the_wrong_mode() {
    let mut rig = Rig::empty(DEFAULT_FLAGS);
    let mut live = rig.heartbeat_sample(ProcessPhase::Running);
    live.mode = Mode::Live;
    receive(&mut rig, name(), live);
    assert!(rig.observed.unit(&name()).unwrap().liveness.is_some());
    rig.starts();
    assert!(rig.observed.unit(&name()).unwrap().liveness.is_none());
}

#[test]
fn heartbeat_interval_account_and_latch_are_limited_to_what_the_sender_can_have() {
    for (claimed, counted) in [(0, 1_000), (5_000, 5_000), (u64::MAX, 60_000)] {
        let sample = forged(Mode::Paper, |heartbeat| heartbeat.interval_ms = claimed);
        assert_eq!(sample.interval_ms, counted, "{claimed}");
    }
    let latched = |mode| {
        forged(mode, |heartbeat| {
            heartbeat.account = Some("live.venue.account".parse().unwrap());
            heartbeat.latch_id = Some("daily_loss-7".to_owned());
        })
    };
    assert!(latched(Mode::Live).latch.is_some());
    let paper = latched(Mode::Paper);
    assert_eq!((paper.latch, paper.account), (None, None));
}

#[test]
fn heartbeats_of_unknown_names_are_bounded_and_expire() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    let beat = rig.heartbeat_sample(ProcessPhase::Running);
    let claim = |rig: &mut Rig, number: u32| {
        let unit = format!("unknown-{number}").parse().unwrap();
        receive(rig, unit, beat.clone());
    };
    (0..1_000).for_each(|number| claim(&mut rig, number));
    assert!(rig.observed.units().count() <= 65, "names fill the memory");
    assert!(rig.observed.unit(&name()).is_some());
    rig.pass_without_heartbeats(Duration::from_mins(11));
    claim(&mut rig, 2_000);
    let known: Vec<String> = rig.observed.units().map(ToString::to_string).collect();
    assert!(known.contains(&"unknown-2000".to_owned()), "{known:?}");
    assert!(known.len() <= 2, "{known:?}");
}
