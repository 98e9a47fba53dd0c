//! Tests of the watchdog with units on a real Docker daemon that crash, hang, run out of memory, are misconfigured,
//! or are stopped by the operator.

#![allow(clippy::print_stderr, reason = "prints how long the reaction took")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::{Duration, Instant};

use async_nats::jetstream::message::PublishMessage;
use bearish_tests::nats::{NatsServer, Role};
use bearish_tests::process::{Process, binary};
use bearish_tests::wait::{DEFAULT_TIMEOUT, SeededRandom, eventually};
use bearish_tests::watchdog::{Unit, WatchdogRig};
use protocol::account_command::{AccountCommand, AccountCommandRecord};
use protocol::event::EventBody;
use protocol::report::{AccountReport, LatchReport};
use protocol::subject::Subject;
use runtime::clock;
use runtime::journal::Journal;
use rust_decimal::Decimal;
use watchdog_core::phase::UnitPhase;
use watchdog_core::reason::{QuarantineReason, RestartReason};
use watchdog_core::record::UnitRecord;

const RESTART_AT_ONCE_FLAGS: &str = "--paper --infinite --auto-restart --restart-delay 0";

/// Long enough for a wrong decision to show.
const SETTLE_TIME: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread")]
async fn killed_unit_is_restarted_and_published() {
    let rig = WatchdogRig::start().await;
    let unit = rig.unit_setup(1, RESTART_AT_ONCE_FLAGS).start();
    rig.wait_until_healthy(&unit).await;
    let before = unit.started_at();
    let killed = Instant::now();
    unit.signal("KILL");
    unit.wait_until_started_after(&before).await;
    eprintln!("kill to running: {:?}", killed.elapsed());
    let EventBody::UnitRestartScheduled {
        attempt,
        max_restarts,
        reason,
        exit_code,
        consecutive_failures,
        ..
    } = rig.wait_for_event("unit_restart_scheduled").await
    else {
        unreachable!()
    };
    assert_eq!(
        (attempt, max_restarts, consecutive_failures, exit_code),
        (1, 1000, 1, Some(137))
    );
    assert_eq!(reason, "killed by SIGKILL (exit 137)");
    rig.wait_for_event("unit_recovered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_get_the_action_of_the_exit_policy() {
    let rig = WatchdogRig::start().await;
    let crashes = rig.unit_setup(1, RESTART_AT_ONCE_FLAGS).start();
    let cycles = rig.unit_setup(2, RESTART_AT_ONCE_FLAGS).start();
    let halts = rig.unit_setup(3, RESTART_AT_ONCE_FLAGS).start();
    let watched = rig.unit_setup(4, "--paper --infinite").start();
    for unit in [&crashes, &cycles, &halts, &watched] {
        rig.wait_until_healthy(unit).await;
    }
    let before = [&crashes, &cycles].map(Unit::started_at);
    crashes.signal("USR1");
    cycles.signal("HUP");
    halts.signal("PROF");
    watched.signal("USR1");
    crashes.wait_until_started_after(&before[0]).await;
    cycles.wait_until_started_after(&before[1]).await;
    let quarantined = |phase: &UnitPhase| {
        matches!(
            phase,
            UnitPhase::Quarantined {
                reason: QuarantineReason::AccountLatched,
                ..
            }
        )
    };
    rig.wait_for_phase(&halts, "quarantined", quarantined).await;
    rig.wait_for_event("unit_quarantined").await;
    rig.wait_for_event("unit_cycle_finished").await;
    rig.wait_for_event("unit_restart_skipped").await;
    halts.assert_stays(false, SETTLE_TIME).await;
    assert!(!watched.is_running());
    let (table, code) = rig.run_command(&["status"]).await;
    assert_eq!(code, 1, "{table}");
    let line = table
        .lines()
        .find(|line| line.starts_with(&halts.name))
        .unwrap();
    assert!(
        line.contains("quarantined") && line.contains("exit 21"),
        "{table}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn unit_with_heartbeats_and_a_stalled_component_is_restarted() {
    let rig = WatchdogRig::start().await;
    let unit = rig.unit_setup(1, RESTART_AT_ONCE_FLAGS).start();
    rig.wait_until_healthy(&unit).await;
    let before = unit.started_at();
    unit.signal("URG");
    let stalled = Instant::now();
    let EventBody::UnitRestartScheduled { reason, .. } =
        rig.wait_for_event("unit_restart_scheduled").await
    else {
        unreachable!()
    };
    // The component's deadline is two seconds, and the unit sends a heartbeat every second.
    eprintln!("stall to event: {:?}", stalled.elapsed());
    assert!(
        stalled.elapsed() < Duration::from_secs(8),
        "{:?}",
        stalled.elapsed()
    );
    assert!(
        reason.starts_with("hung: component work made no progress for"),
        "{reason}"
    );
    unit.wait_until_started_after(&before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn misconfigured_unit_stays_quarantined_until_released() {
    let rig = WatchdogRig::start().await;
    let unit = rig.unit_setup(1, RESTART_AT_ONCE_FLAGS).start();
    rig.wait_until_healthy(&unit).await;
    unit.signal("USR2");
    let quarantined = |phase: &UnitPhase| matches!(phase, UnitPhase::Quarantined { .. });
    rig.wait_for_phase(&unit, "quarantined", quarantined).await;
    unit.assert_stays(false, SETTLE_TIME).await;
    let (output, code) = rig.run_command(&["release", &unit.name]).await;
    assert_eq!(code, 0, "{output}");
    rig.wait_for_phase(&unit, "running", |phase| {
        matches!(phase, UnitPhase::Running(_))
    })
    .await;
    let (output, code) = rig.run_command(&["release", &unit.name]).await;
    assert_eq!(code, 64, "{output}");
    assert!(
        output.contains("neither quarantined nor on hold"),
        "{output}"
    );
    let (table, code) = rig.run_command(&["status"]).await;
    assert_eq!(code, 0, "{table}");
}

/// Appends an unlatch command, as `trader unlatch` does.
async fn append_unlatch(rig: &WatchdogRig, latch: &str) {
    let bus = rig.nats.bus(Role::TraderPaper).await;
    let subject = Subject::AccountCommandJournal("paper.v.a".parse().unwrap());
    let writer = "ops".parse().unwrap();
    let opened = Journal::replay::<AccountCommandRecord>(&bus, &subject, writer).await;
    let command = AccountCommandRecord {
        command: AccountCommand::Unlatch {
            latch_id: latch.to_owned(),
        },
        by: "ops".to_owned(),
        reason: "a wick".to_owned(),
    };
    let (mut journal, _) = opened.unwrap();
    journal.append(&[command], 0, |_| {}).await.unwrap();
}

/// Publishes an account report with a latch, as the account leader does.
async fn publish_latched_report(rig: &WatchdogRig, id: &str) {
    let bus = rig.nats.bus(Role::TraderPaper).await;
    let account = "paper.v.a".parse().unwrap();
    let report = AccountReport {
        v: protocol::VERSION,
        at: clock::now(),
        instance: "trader-paper-2".parse().unwrap(),
        seq: 1,
        equity: Decimal::ONE,
        peak: Decimal::ONE,
        day_peak: Decimal::ONE,
        latch: Some(LatchReport {
            latch_id: id.to_owned(),
            trigger: "daily_loss".to_owned(),
            at: clock::now(),
            is_flat: false,
        }),
        unvalued_books: Vec::new(),
        command_seq: 0,
        pauses: Vec::new(),
        balance: None,
        difference_id: None,
    };
    let subject = Subject::AccountReport(account).to_string();
    let message = PublishMessage::build().payload(serde_json::to_vec(&report).unwrap().into());
    bus.store(&subject, message).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn latch_missing_from_the_last_heartbeat_is_read_from_the_account_report() {
    let rig = WatchdogRig::start().await;
    let unit = rig
        .unit_setup(1, RESTART_AT_ONCE_FLAGS)
        .env("LATCH=")
        .start();
    rig.wait_until_healthy(&unit).await;
    let before = unit.started_at();
    unit.signal("PROF");
    let quarantined = |phase: &UnitPhase| matches!(phase, UnitPhase::Quarantined { .. });
    rig.wait_for_phase(&unit, "quarantined", quarantined).await;
    publish_latched_report(&rig, "daily_loss-7").await;
    let records = async || rig.unit_records(&unit).await;
    let known = |record: &UnitRecord| matches!(record, UnitRecord::LatchSeen(_));
    eventually("a record of the latch", DEFAULT_TIMEOUT, async || {
        records().await.iter().any(known).then_some(())
    })
    .await;
    append_unlatch(&rig, "daily_loss-7").await;
    unit.wait_until_started_after(&before).await;
    rig.wait_until_healthy(&unit).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unlatch_of_its_latch_starts_a_unit_also_after_a_watchdog_kill() {
    let mut rig = WatchdogRig::start().await;
    let unit = rig
        .unit_setup(1, RESTART_AT_ONCE_FLAGS)
        .env("LATCH=daily_loss-7")
        .start();
    rig.wait_until_healthy(&unit).await;
    let before = unit.started_at();
    unit.signal("PROF");
    let quarantined = |phase: &UnitPhase| matches!(phase, UnitPhase::Quarantined { .. });
    rig.wait_for_phase(&unit, "quarantined", quarantined).await;
    rig.replace_watchdog();
    rig.watchdog.wait_for_log("supervising").await;
    append_unlatch(&rig, "daily_loss-6").await;
    unit.assert_stays(false, SETTLE_TIME).await;
    let (output, _) = rig.run_command(&["explain", &unit.name]).await;
    assert!(
        output.contains("scripts/bearish unlatch --latch daily_loss-7"),
        "{output}"
    );
    append_unlatch(&rig, "daily_loss-7").await;
    unit.wait_until_started_after(&before).await;
    let EventBody::UnitCommandExecuted {
        command,
        by,
        reason,
        ..
    } = rig.wait_for_event("unit_command_executed").await
    else {
        unreachable!()
    };
    assert_eq!((command.as_str(), by.as_str()), ("unlatch", "ops"));
    assert_eq!(reason.as_deref(), Some("a wick (latch daily_loss-7)"));
    rig.wait_until_healthy(&unit).await;
    let records = rig.unit_records(&unit).await;
    let counted = |record: &UnitRecord| matches!(record, UnitRecord::RestartScheduled(_));
    assert!(!records.iter().any(counted), "{records:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_loop_ends_at_max_restarts_across_watchdog_kills() {
    let mut random = SeededRandom::new();
    let mut rig = WatchdogRig::start().await;
    let unit = rig
        .unit_setup(
            1,
            "--paper --auto-restart --restart-delay 0 --max-restarts 8",
        )
        .env("EXIT=70")
        .start();
    let quarantined = |phase: &UnitPhase| matches!(phase, UnitPhase::Quarantined { .. });
    for _ in 0..8 {
        tokio::time::sleep(random.duration_ms(20..700)).await;
        rig.replace_watchdog();
    }
    rig.wait_for_phase(&unit, "quarantined", quarantined).await;
    unit.assert_stays(false, SETTLE_TIME).await;
    let records = rig.unit_records(&unit).await;
    let runs: Vec<_> = records
        .iter()
        .filter_map(|record| match record {
            UnitRecord::StartIntended { run } => Some(run.started_at.clone()),
            _ => None,
        })
        .collect();
    let mut unique = runs.clone();
    unique.dedup();
    assert_eq!((runs.len(), unique.len()), (8, 8), "{records:#?}");
    let quarantined_event =
        |body: &EventBody| matches!(body, EventBody::UnitQuarantined { restarts: 8, .. });
    assert!(rig.stored_events().await.iter().any(quarantined_event));
}

#[tokio::test(flavor = "multi_thread")]
async fn unit_stopped_by_the_operator_stays_stopped_until_started() {
    let mut rig = WatchdogRig::start().await;
    let unit = rig.unit_setup(1, RESTART_AT_ONCE_FLAGS).start();
    rig.wait_until_healthy(&unit).await;
    unit.run_docker_verb("stop");
    rig.wait_for_event("unit_stopped").await;
    unit.assert_stays(false, SETTLE_TIME).await;
    rig.replace_watchdog();
    rig.watchdog.wait_for_log("supervising").await;
    unit.assert_stays(false, SETTLE_TIME).await;
    unit.run_docker_verb("start");
    rig.wait_for_phase(&unit, "running", |phase| {
        matches!(phase, UnitPhase::Running(_))
    })
    .await;
    let before = unit.started_at();
    unit.signal("KILL");
    unit.wait_until_started_after(&before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_during_a_watchdog_outage_is_respected_and_a_crash_restarted() {
    let mut rig = WatchdogRig::start().await;
    let stopped = rig.unit_setup(1, RESTART_AT_ONCE_FLAGS).start();
    let crashed = rig.unit_setup(2, RESTART_AT_ONCE_FLAGS).start();
    rig.wait_until_healthy(&stopped).await;
    rig.wait_until_healthy(&crashed).await;
    let before = crashed.started_at();
    rig.watchdog.kill();
    stopped.run_docker_verb("stop");
    crashed.signal("KILL");
    rig.replace_watchdog();
    crashed.wait_until_started_after(&before).await;
    rig.wait_for_phase(&stopped, "stopped", |phase| {
        matches!(phase, UnitPhase::Stopped { .. })
    })
    .await;
    stopped.assert_stays(false, SETTLE_TIME).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_docker_restart_is_neither_a_crash_nor_a_stop() {
    let rig = WatchdogRig::start().await;
    let unit = rig.unit_setup(1, RESTART_AT_ONCE_FLAGS).start();
    rig.wait_until_healthy(&unit).await;
    let before = unit.started_at();
    unit.run_docker_verb("restart");
    unit.wait_until_started_after(&before).await;
    rig.wait_until_healthy(&unit).await;
    unit.assert_stays(true, SETTLE_TIME).await;
    assert_eq!(rig.stored_events().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_unit_is_detected_stopped_and_started() {
    let rig = WatchdogRig::start().await;
    let unit = rig
        .unit_setup(1, RESTART_AT_ONCE_FLAGS)
        .with_option("--stop-timeout", "1")
        .start();
    rig.wait_until_healthy(&unit).await;
    let before = unit.started_at();
    let frozen = Instant::now();
    unit.signal("STOP");
    unit.wait_until_started_after(&before).await;
    eprintln!("freeze to running: {:?}", frozen.elapsed());
    let EventBody::UnitRestartScheduled { reason, .. } =
        rig.wait_for_event("unit_restart_scheduled").await
    else {
        unreachable!()
    };
    // From 3.0 to 3.9 s: a round number has no decimals.
    let silent = reason.strip_prefix("hung: no heartbeat for 3");
    let is_three = silent.is_some_and(|rest| rest.starts_with(['.', 's']));
    assert!(is_three, "{reason}");
    rig.wait_for_event("unit_recovered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_unit_that_ignores_sigterm_is_killed() {
    let rig = WatchdogRig::start().await;
    let setup = rig
        .unit_setup(1, RESTART_AT_ONCE_FLAGS)
        .with_option("--stop-timeout", "1");
    // The first heartbeat announces the next one within a second; the next one never arrives.
    let unit = setup
        .env("IGNORE_SIGTERM=1")
        .env("HEARTBEAT_MS=1000")
        .start();
    rig.wait_until_healthy(&unit).await;
    let before = unit.started_at();
    unit.signal("STOP");
    unit.wait_until_started_after(&before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paused_unit_is_never_touched() {
    let rig = WatchdogRig::start().await;
    let unit = rig.unit_setup(1, RESTART_AT_ONCE_FLAGS).start();
    rig.wait_until_healthy(&unit).await;
    unit.run_docker_verb("pause");
    unit.assert_stays(true, Duration::from_secs(8)).await;
    unit.run_docker_verb("unpause");
    unit.assert_stays(true, SETTLE_TIME).await;
    assert_eq!(rig.stored_events().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn units_are_not_restarted_while_the_bus_is_frozen() {
    let rig = WatchdogRig::start().await;
    let units = [1, 2].map(|number| rig.unit_setup(number, RESTART_AT_ONCE_FLAGS).start());
    for unit in &units {
        rig.wait_until_healthy(unit).await;
    }
    rig.nats.freeze();
    tokio::time::sleep(Duration::from_secs(15)).await;
    rig.nats.thaw();
    for unit in &units {
        unit.assert_stays(true, Duration::from_secs(8)).await;
    }
    assert_eq!(rig.stored_events().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_during_a_bus_outage_is_handled_after_it() {
    let mut rig = WatchdogRig::start().await;
    let unit = rig.unit_setup(1, RESTART_AT_ONCE_FLAGS).start();
    rig.wait_until_healthy(&unit).await;
    let before = unit.started_at();
    rig.nats.kill();
    unit.signal("KILL");
    unit.assert_stays(false, SETTLE_TIME).await;
    rig.nats.restart().await;
    unit.wait_until_started_after(&before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn out_of_memory_is_recorded_as_restart_reason() {
    let rig = WatchdogRig::start().await;
    let setup = rig.unit_setup(1, "--paper --auto-restart --restart-delay 60");
    let unit = setup
        .with_option("--memory", "16m")
        .env("EAT_MEMORY=1")
        .start();
    let waiting = |phase: &UnitPhase| matches!(phase, UnitPhase::RestartPending { .. });
    rig.wait_for_phase(&unit, "waiting", waiting).await;
    let records = rig.unit_records(&unit).await;
    let out_of_memory = |record: &UnitRecord| matches!(record, UnitRecord::RestartScheduled(restart) if restart.reason == RestartReason::OutOfMemory);
    assert!(records.iter().any(out_of_memory), "{records:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_that_are_not_units_are_left_alone() {
    let rig = WatchdogRig::start().await;
    let always = rig
        .unit_setup(1, RESTART_AT_ONCE_FLAGS)
        .with_option("--restart", "always")
        .start();
    let setup = rig.unit_setup(2, RESTART_AT_ONCE_FLAGS);
    let unlabelled = setup
        .with_option("--label", "bearish-alpha.supervise=false")
        .start();
    let setup = rig.unit_setup(3, RESTART_AT_ONCE_FLAGS);
    let one_off = setup
        .with_option("--label", "com.docker.compose.oneoff=True")
        .start();
    let setup = rig.unit_setup(4, RESTART_AT_ONCE_FLAGS);
    let elsewhere = setup
        .with_option("--label", "com.docker.compose.project=another")
        .start();
    rig.watchdog.wait_for_log("not supervised").await;
    for unit in [&unlabelled, &one_off, &elsewhere] {
        unit.signal("KILL");
    }
    for unit in [&unlabelled, &one_off, &elsewhere] {
        unit.assert_stays(false, Duration::from_secs(1)).await;
    }
    assert!(always.is_running());
    assert!(rig.state().await.units.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn second_watchdog_stands_by_and_takes_over() {
    let mut rig = WatchdogRig::start().await;
    let unit = rig.unit_setup(1, RESTART_AT_ONCE_FLAGS).start();
    rig.wait_until_healthy(&unit).await;
    let second = rig.start_another("watchdog-2");
    second.wait_for_log("standing by").await;
    let before = unit.started_at();
    unit.signal("KILL");
    unit.wait_until_started_after(&before).await;
    assert_eq!(second.count_logs("docker call started"), 0);
    rig.watchdog.kill();
    second.wait_for_log("supervising").await;
    let before = unit.started_at();
    unit.signal("KILL");
    unit.wait_until_started_after(&before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watchdog_frozen_past_its_lease_does_nothing_more() {
    let rig = WatchdogRig::start().await;
    let unit = rig.unit_setup(1, RESTART_AT_ONCE_FLAGS).start();
    rig.wait_until_healthy(&unit).await;
    rig.watchdog.signal("STOP");
    let second = rig.start_another("watchdog-2");
    second.wait_for_log("supervising").await;
    unit.signal("KILL");
    let records = eventually(
        "the second watchdog has restarted the unit",
        DEFAULT_TIMEOUT,
        async || {
            let records = rig.unit_records(&unit).await;
            let started = |record: &UnitRecord| matches!(record, UnitRecord::StartIntended { .. });
            records.iter().any(started).then_some(records)
        },
    )
    .await;
    rig.watchdog.signal("CONT");
    rig.watchdog.wait_for_log("standing by").await;
    unit.assert_stays(true, SETTLE_TIME).await;
    let starts = |records: &[UnitRecord]| {
        let start = |record: &&UnitRecord| matches!(record, UnitRecord::StartIntended { .. });
        records.iter().filter(start).count()
    };
    assert_eq!(starts(&rig.unit_records(&unit).await), starts(&records));
}

#[tokio::test(flavor = "multi_thread")]
async fn watchdog_exits_0_on_sigterm_and_relinquishes_its_lease() {
    let mut rig = WatchdogRig::start().await;
    rig.watchdog.signal("TERM");
    assert_eq!(rig.watchdog.exit_within(DEFAULT_TIMEOUT).await, 0);
    let next = rig.start_another("watchdog-2");
    next.wait_for_log_within("supervising", Duration::from_secs(5))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watchdog_role_may_write_its_own_subjects_and_no_other_role_may() {
    let nats = NatsServer::with_streams().await;
    let own = [
        "heartbeat.v1.watchdog.p.h.watchdog-1",
        "event.v1.watchdog.p.h.watchdog-1.info.unit_stopped",
        "journal.v1.watchdog.p.h",
        "lease.v1.watchdog.p.h",
        "command.v1.watchdog.p.h.release",
        "command.v1.watchdog.p.h.stop",
    ];
    let reads = [
        "bus.API.DIRECT.GET.JOURNAL.journal.v1.account_command.paper.v.a",
        "bus.API.CONSUMER.CREATE.JOURNAL.x.journal.v1.account_command.paper.v.a",
        "bus.API.DIRECT.GET.HEARTBEATS.heartbeat.v1.trader.paper.p.h.trader-paper-1",
        "bus.API.DIRECT.GET.REPORTS.report.v1.account.paper.v.a",
    ];
    let others = [
        "journal.v1.account_command.paper.v.a",
        "bus.API.DIRECT.GET.JOURNAL.journal.v1.account.paper.v.a",
        "heartbeat.v1.trader.paper.p.h.trader-paper-1",
        "event.v1.trader.paper.p.h.trader-paper-1.info.trader_started",
        "journal.v1.book.paper.v.a.S",
        "lease.v1.book.paper.v.a.S",
        "bus.API.STREAM.PURGE.JOURNAL",
        "bus.API.STREAM.MSG.GET.JOURNAL",
        "bus.API.CONSUMER.CREATE.JOURNAL.x.journal.v1.book.paper.v.a.S",
        "bus.API.DIRECT.GET.REPORTS.report.v1.book.paper.v.a.S",
        "report.v1.account.paper.v.a",
    ];
    let watchdog = nats.raw_client(Role::Watchdog).await;
    for subject in own.into_iter().chain(reads) {
        assert!(watchdog.may_publish(subject, "{}").await, "{subject}");
    }
    for subject in others {
        assert!(!watchdog.may_publish(subject, "{}").await, "{subject}");
    }
    for role in [Role::TraderPaper, Role::TraderLive, Role::Operator] {
        let other = nats.raw_client(role).await;
        for subject in own {
            assert!(
                !other.may_publish(subject, "{}").await,
                "{role:?}: {subject}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watchdog_without_docker_or_project_exits_78_with_one_line() {
    let rows = [
        (
            vec![("DOCKER_HOST", "unix:///nowhere.sock")],
            "expected a socket",
        ),
        (
            vec![("DOCKER_HOST", "tcp://127.0.0.1:2375")],
            "unix:///path",
        ),
        (
            vec![("HOSTNAME", "no-container-of-ours")],
            "BEARISH_PROJECT",
        ),
        (vec![("BEARISH_PROJECT", "a b")], "BEARISH_PROJECT"),
        (vec![("HEARTBEAT_SECS", "0")], "HEARTBEAT_SECS"),
    ];
    for (env, expected) in rows {
        let mut command = std::process::Command::new(binary("watchdog"));
        command.env_clear().envs(env.clone());
        let mut process = Process::start_without_project("watchdog", command);
        let code = process.exit_within(DEFAULT_TIMEOUT).await;
        let err = process.err();
        assert_eq!((code, err.len()), (78, 1), "{env:?}: {err:?}");
        assert!(err[0].contains(expected), "{env:?}: {err:?}");
    }
}
