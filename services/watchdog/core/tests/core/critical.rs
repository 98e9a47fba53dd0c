//! Critical health for 15 minutes: the operator is warned once.

use std::time::Duration;

use bearish_watchdog_core::record::UnitRecord;
use protocol::ids::Mode;

use crate::support::{DEFAULT_FLAGS, MINUTE, Rig};

fn warnings(rig: &Rig) -> usize {
    let kinds = rig.operator_event_kinds();
    kinds
        .iter()
        .filter(|kind| **kind == "unit_health_critical")
        .count()
}

fn critical_for(rig: &mut Rig, span: Duration) {
    rig.critical_reason = Some("candles are stale".to_owned());
    rig.pass_healthy(span);
}

fn healthy_for(rig: &mut Rig, span: Duration) {
    rig.critical_reason = None;
    rig.pass_healthy(span);
}

#[test]
fn unit_critical_for_15_minutes_warns_once_without_restart() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    critical_for(&mut rig, 15 * MINUTE);
    assert_eq!(warnings(&rig), 0);
    critical_for(&mut rig, Duration::from_secs(5));
    assert_eq!(warnings(&rig), 1);
    let reasons = rig
        .unit_records()
        .into_iter()
        .rev()
        .find_map(|record| match record {
            UnitRecord::HealthCritical { for_ms, reason } => Some((*for_ms, reason.as_str())),
            _ => None,
        });
    assert_eq!(reasons, Some((900_000, "candles are stale")));
    critical_for(&mut rig, 600 * MINUTE);
    assert_eq!(warnings(&rig), 1, "once");
    assert!(rig.calls.is_empty());
}

#[test]
fn unit_critical_again_warns_again_and_shorter_times_do_not() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    for _ in 0..5 {
        critical_for(&mut rig, 14 * MINUTE);
        healthy_for(&mut rig, Duration::from_secs(5));
    }
    assert_eq!(warnings(&rig), 0);
    for spell in 1..=3 {
        critical_for(&mut rig, 16 * MINUTE);
        assert_eq!(warnings(&rig), spell);
        healthy_for(&mut rig, Duration::from_secs(5));
    }
}

#[test]
fn critical_warning_is_not_repeated_by_a_new_watchdog_but_by_a_new_run() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    critical_for(&mut rig, 16 * MINUTE);
    let records = rig.journal.len();
    rig.restart_watchdog(records);
    rig.list();
    critical_for(&mut rig, 60 * MINUTE);
    assert_eq!(warnings(&rig), 1);
    rig.dies(1);
    rig.pass_without_heartbeats(MINUTE);
    assert!(rig.is_alive());
    critical_for(&mut rig, 16 * MINUTE);
    assert_eq!(warnings(&rig), 2);
}

#[test]
fn critical_time_without_heartbeats_does_not_count() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    critical_for(&mut rig, 10 * MINUTE);
    rig.has_bus_echoes = false;
    rig.pass_without_heartbeats(10 * MINUTE);
    rig.has_bus_echoes = true;
    critical_for(&mut rig, 10 * MINUTE);
    assert_eq!(warnings(&rig), 0);
    critical_for(&mut rig, 6 * MINUTE);
    assert_eq!(warnings(&rig), 1);
}

/// From the bytes on the bus to the decision.
#[test]
fn critical_heartbeat_reaches_the_decision() {
    let golden = include_str!("../../../../protocol/tests/golden/heartbeat_full.json");
    for (health, is_critical) in [("healthy", false), ("degraded", false), ("critical", true)] {
        let mut value: serde_json::Value = serde_json::from_str(golden).unwrap();
        value["health"] = health.into();
        value["health_reason"] = "the market feed is down".into();
        value["phase"] = "running".into();
        let heartbeat: protocol::heartbeat::Heartbeat =
            serde_json::from_slice(&serde_json::to_vec(&value).unwrap()).unwrap();
        let sample = bearish_watchdog_core::liveness::HeartbeatSample::new(Mode::Paper, &heartbeat);
        let expected = is_critical.then(|| "the market feed is down".to_owned());
        assert_eq!(sample.critical_reason, expected, "{health}");
        let latch = sample.latch.as_ref().map(|latch| latch.id.as_str());
        assert_eq!(latch, Some("daily_loss-1795489200000"));
        let mut rig = Rig::running(DEFAULT_FLAGS);
        rig.critical_reason = sample.critical_reason;
        rig.pass_healthy(16 * MINUTE);
        let reported = rig.operator_event_kinds().contains(&"unit_health_critical");
        assert_eq!(reported, is_critical, "{health}");
    }
}
