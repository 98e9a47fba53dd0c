//! The watchdog cannot see everything: a container that Docker cannot describe, a frozen socket-guard, a clock that was
//! set. Other units are judged as before, and the blindness is reported.

#![allow(clippy::print_stderr, reason = "prints how long the reaction took")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use bearish_tests::docker::run_command;
use bearish_tests::nats::Role;
use bearish_tests::socket_guard::SocketGuard;
use bearish_tests::wait::eventually;
use bearish_tests::watchdog::{FrozenContainer, Unit, WatchdogRig};
use protocol::event::EventBody;
use protocol::heartbeat::Heartbeat;
use protocol::ids::{ProcessRole, SubjectToken};
use protocol::journal::JournalBatch;
use protocol::subject::Subject;
use protocol::time::UtcMs;
use runtime::{clock, streams};
use watchdog_core::phase::UnitPhase;
use watchdog_core::record::{SupervisionRecord, UnitRecord};

const RESTART_AT_ONCE_FLAGS: &str = "--paper --infinite --auto-restart --restart-delay 0";
/// Time within which the operator must be notified.
const REPORT_DEADLINE: Duration = Duration::from_mins(1);
/// Long enough for a wrong decision to show.
const SETTLE_TIME: Duration = Duration::from_secs(6);
const HOUR_MS: i64 = 3_600_000;

/// The newest heartbeat of the watchdog.
async fn watchdog_heartbeat(rig: &WatchdogRig) -> Option<Heartbeat> {
    let instance: SubjectToken = format!("{}-watchdog-1", rig.project).parse().unwrap();
    let subject =
        Subject::Heartbeat(rig.host().process(ProcessRole::Watchdog, instance)).to_string();
    let newest = rig.operator.newest_json(streams::HEARTBEATS, &subject);
    newest.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn container_that_cannot_be_killed_blinds_the_watchdog_for_no_other_unit() {
    let rig = WatchdogRig::start().await;
    let stuck = rig.unit_setup(1, RESTART_AT_ONCE_FLAGS).start();
    let other = rig.unit_setup(2, RESTART_AT_ONCE_FLAGS).start();
    rig.wait_until_healthy(&stuck).await;
    rig.wait_until_healthy(&other).await;
    let frozen = FrozenContainer::new(&stuck);
    rig.watchdog.wait_for_log("docker call started").await;
    // The watchdog's own call holds the container now.
    tokio::time::sleep(SETTLE_TIME).await;
    let before = other.started_at();
    let killed = Instant::now();
    other.signal("KILL");
    other.wait_until_started_after(&before).await;
    eprintln!(
        "kill to running beside a stuck container: {:?}",
        killed.elapsed()
    );
    assert!(
        killed.elapsed() < Duration::from_secs(10),
        "{:?}",
        killed.elapsed()
    );
    let event = eventually("event unit_stop_failed", REPORT_DEADLINE, async || {
        let events = rig.stored_events().await;
        events
            .into_iter()
            .find(|event| event.kind() == "unit_stop_failed")
    })
    .await;
    assert!(
        matches!(&event, EventBody::UnitStopFailed { unit, .. } if unit.as_str() == stuck.name),
        "{event:?}"
    );
    let began = stuck_started_at(&rig, &stuck).await;
    drop(frozen);
    eventually("the stuck unit runs again", REPORT_DEADLINE, async || {
        (stuck.is_running() && stuck.started_at() != began).then_some(())
    })
    .await;
}

/// Start of the unit's run by the journal: Docker does not answer for it.
async fn stuck_started_at(rig: &WatchdogRig, unit: &Unit) -> String {
    let records = rig.unit_records(unit).await;
    let run = records.into_iter().rev().find_map(|record| match record {
        UnitRecord::Started { run, .. } => Some(run.started_at),
        _ => None,
    });
    run.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_socket_guard_is_a_blindness_that_everything_shows() {
    let mut rig = WatchdogRig::start_behind_guard().await;
    let unit = rig.unit_setup(1, RESTART_AT_ONCE_FLAGS).start();
    rig.wait_until_healthy(&unit).await;
    let (text, code) = rig.health().await;
    assert_eq!(code, 0, "{text}");
    let frozen = Instant::now();
    rig.guard().process.signal("STOP");
    let before = unit.started_at();
    unit.signal("KILL");
    let report = eventually("heartbeat with a blindness", REPORT_DEADLINE, async || {
        watchdog_heartbeat(&rig).await?.blindness
    })
    .await;
    eprintln!("freeze to heartbeat: {:?}", frozen.elapsed());
    let remedy = report.remedy.unwrap();
    assert!(remedy.contains("socket-guard"), "{remedy}");
    let (text, code) = rig.health().await;
    assert_eq!(code, 69, "{text}");
    assert!(text.contains("blind for"), "{text}");
    let (text, code) = rig.run_command(&["status"]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.starts_with("WARNING: blind since"), "{text}");
    let (text, code) = rig.run_command(&["stop", &unit.name]).await;
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("accepted, cannot be carried out yet: Docker"),
        "{text}"
    );
    rig.guard().process.signal("CONT");
    let event = rig.wait_for_event("watchdog_blindness_ended").await;
    let EventBody::WatchdogBlindnessEnded { missed, .. } = event else {
        unreachable!()
    };
    assert_eq!(missed, [format!("{} has ended (exit 137)", unit.name)]);
    let stopped = |phase: &UnitPhase| matches!(phase, UnitPhase::Stopped { .. });
    rig.wait_for_phase(&unit, "stopped by the command", stopped)
        .await;
    assert_eq!(unit.started_at(), before);
    let (text, code) = rig.health().await;
    assert_eq!(code, 0, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stuck_socket_guard_ends_itself_so_that_docker_restarts_it() {
    let mut guard = SocketGuard::start_stuck_at("no-project", "/_ping").await;
    let mut caller = guard.connect();
    caller
        .write_all(b"GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n")
        .unwrap();
    let code = guard.process.exit_within(REPORT_DEADLINE).await;
    assert_eq!(code, 70, "{:?}", guard.process.err());
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_watchdog_is_named_by_status_and_explain() {
    let mut rig = WatchdogRig::start().await;
    let unit = rig.unit_setup(1, RESTART_AT_ONCE_FLAGS).start();
    rig.wait_until_healthy(&unit).await;
    let (text, code) = rig.run_command(&["status"]).await;
    assert_eq!(code, 0, "{text}");
    rig.watchdog.kill();
    let (text, code) = rig.run_command(&["status"]).await;
    assert_eq!(code, 1, "{text}");
    let (explained, _) = rig.run_command(&["explain", &unit.name]).await;
    for text in [text, explained] {
        assert!(text.starts_with("WARNING: no watchdog answers"), "{text}");
    }
}

/// Appends a record whose time is an hour ahead, as a watchdog writes before its host's clock is set back.
async fn append_record_from_the_future(rig: &WatchdogRig) {
    let bus = rig.nats.bus(Role::Watchdog).await;
    let subject = Subject::WatchdogJournal(rig.host()).to_string();
    let newest = bus
        .latest_message(streams::JOURNAL, &subject)
        .await
        .unwrap()
        .unwrap();
    let mut batch: JournalBatch<SupervisionRecord> =
        serde_json::from_slice(&newest.payload).unwrap();
    batch.at = UtcMs(clock::now().0 + HOUR_MS);
    let message = async_nats::jetstream::message::PublishMessage::build()
        .payload(serde_json::to_vec(&batch).unwrap().into());
    bus.store(&subject, message).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn journal_record_from_the_future_blinds_no_watchdog() {
    let mut rig = WatchdogRig::start_behind_guard().await;
    let unit = rig.unit_setup(1, RESTART_AT_ONCE_FLAGS).start();
    rig.wait_until_healthy(&unit).await;
    rig.watchdog.kill();
    append_record_from_the_future(&rig).await;
    rig.replace_watchdog();
    rig.watchdog.wait_for_log("supervising").await;
    let before = unit.started_at();
    unit.signal("KILL");
    unit.wait_until_started_after(&before).await;
    assert_eq!(rig.watchdog.count_logs("docker unavailable"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_of_the_clock_cause_no_blindness_and_no_wrong_restart() {
    let mut rig = WatchdogRig::start().await;
    let dir = tempfile::tempdir().unwrap();
    let offset = dir.path().join("offset");
    let crashing = rig.unit_setup(1, RESTART_AT_ONCE_FLAGS).start();
    let steady = rig.unit_setup(2, RESTART_AT_ONCE_FLAGS).start();
    rig.wait_until_healthy(&crashing).await;
    rig.wait_until_healthy(&steady).await;
    let steady_start = steady.started_at();
    for step in [HOUR_MS, -3_000, -HOUR_MS, -24 * HOUR_MS] {
        std::fs::write(&offset, step.to_string()).unwrap();
        if step == HOUR_MS {
            rig.replace_watchdog_with_clock(&offset);
            rig.watchdog.wait_for_log("supervising").await;
        }
        let before = crashing.started_at();
        crashing.signal("KILL");
        crashing.wait_until_started_after(&before).await;
        rig.wait_until_healthy(&crashing).await;
    }
    crashing.run_docker_verb("stop");
    let stopped = |phase: &UnitPhase| matches!(phase, UnitPhase::Stopped { .. });
    rig.wait_for_phase(&crashing, "stopped", stopped).await;
    tokio::time::sleep(SETTLE_TIME).await;
    assert!(!crashing.is_running());
    // What is stepped before the next tick is one step; later ones are reported together, ten minutes later.
    let clock_event = rig.wait_for_event("watchdog_clock_stepped").await;
    let EventBody::WatchdogClockStepped { by_ms, .. } = clock_event else {
        unreachable!()
    };
    assert!(by_ms <= -HOUR_MS, "{by_ms}");
    let (text, code) = rig.run_command(&["status"]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("was stepped by -"), "{text}");
    assert_eq!(steady.started_at(), steady_start);
    assert_eq!(rig.watchdog.count_logs("docker unavailable"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_stop_with_another_signal_is_respected_while_the_watchdog_is_down() {
    let mut rig = WatchdogRig::start().await;
    let unit = rig
        .unit_setup(1, RESTART_AT_ONCE_FLAGS)
        .with_option("--stop-signal", "SIGUSR1")
        .start();
    rig.wait_until_healthy(&unit).await;
    rig.watchdog.kill();
    unit.run_docker_verb("stop");
    rig.replace_watchdog();
    let stopped = |phase: &UnitPhase| matches!(phase, UnitPhase::Stopped { .. });
    rig.wait_for_phase(&unit, "stopped", stopped).await;
    unit.run_docker_verb("start");
    rig.wait_until_healthy(&unit).await;
    unit.run_docker_verb("stop");
    rig.wait_for_phase(&unit, "stopped", stopped).await;
    unit.assert_stays(false, SETTLE_TIME).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unit_with_a_docker_restart_policy_is_reported_and_comes_back() {
    let rig = WatchdogRig::start().await;
    let unit = rig.unit_setup(1, RESTART_AT_ONCE_FLAGS).start();
    rig.wait_until_healthy(&unit).await;
    let name = unit.container_name().to_owned();
    run_command(Command::new("docker").args(["update", "--restart=always", &name]));
    // The next event of the container shows it; the next complete list would, within a minute.
    unit.run_docker_verb("pause");
    unit.run_docker_verb("unpause");
    let EventBody::UnitWarning { reason, .. } = rig.wait_for_event("unit_warning").await else {
        unreachable!()
    };
    assert!(reason.contains("restart policy is always"), "{reason}");
    let (text, _) = rig.run_command(&["explain", &unit.name]).await;
    assert!(text.contains("restart policy is always"), "{text}");
}
