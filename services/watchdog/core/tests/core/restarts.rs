//! Exits, backoff, limits and resets.

use std::time::Duration;

use bearish_watchdog_core::command_rules::reply_text;
use bearish_watchdog_core::config::SupervisionConfig;
use bearish_watchdog_core::evidence::LogTail;
use bearish_watchdog_core::explain::explain;
use bearish_watchdog_core::observed_state::{ObservedState, SupervisionEvent};
use bearish_watchdog_core::phase::UnitPhase;
use bearish_watchdog_core::reason::{QuarantineReason, RestartReason};
use bearish_watchdog_core::record::UnitRecord;
use protocol::event::EventBody;
use protocol::heartbeat::ProcessPhase;

use crate::support::{CallBehavior, DEFAULT_FLAGS, MINUTE, Rig, command, name};

#[test]
fn crash_is_restarted_after_the_announced_delay() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.pass_healthy(MINUTE);
    rig.dies(137);
    assert!(matches!(
        rig.phase(),
        UnitPhase::RestartPending {
            delay_ms: 30_000,
            ..
        }
    ));
    assert!(rig.calls.is_empty(), "started before its time");
    assert_eq!(rig.sleep_until_wake(), Duration::from_secs(30));
    assert_eq!(rig.starts_called(), 1);
    assert!(matches!(rig.phase(), UnitPhase::Running(_)));
    let events = rig.operator_events();
    let [
        EventBody::UnitRestartScheduled {
            attempt,
            max_restarts: max,
            reason,
            consecutive_failures,
            uptime_ms,
            delay_ms,
            exit_code: exit,
            ..
        },
    ] = &events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!((*attempt, *max, *consecutive_failures), (1, 1000, 1));
    assert_eq!((*uptime_ms, *delay_ms, *exit), (60_000, 30_000, Some(137)));
    assert_eq!(reason, "killed by SIGKILL (exit 137)");
}

#[test]
fn zero_delay_schedules_and_starts_in_one_decision() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
    rig.call_behavior = CallBehavior::Pending;
    let before = rig.journal.len();
    rig.dies(1);
    assert_eq!(rig.starts_called(), 1);
    let records = &rig.unit_records()[before..];
    assert!(
        matches!(
            records,
            [
                UnitRecord::RestartScheduled(_),
                UnitRecord::StartIntended { .. }
            ]
        ),
        "{records:?}"
    );
}

#[test]
fn eleventh_consecutive_failure_is_final_after_4_h_31_m_30_s() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    let mut slept = Duration::ZERO;
    for failure in 1..=10 {
        rig.dies(70);
        assert_eq!(rig.unit().consecutive_failures, failure);
        slept += rig.sleep_until_wake();
    }
    assert_eq!(slept, Duration::from_secs(4 * 3600 + 31 * 60 + 30));
    rig.dies(70);
    assert!(matches!(
        rig.phase(),
        UnitPhase::Quarantined {
            reason: QuarantineReason::ConsecutiveFailures,
            ..
        }
    ));
    assert_eq!((rig.starts_called(), rig.unit().restarts), (10, 10));
    let events = rig.operator_events();
    let Some(EventBody::UnitQuarantined {
        reason,
        restarts,
        consecutive_failures,
        exit_code: exit,
        ..
    }) = events.last()
    else {
        panic!("{events:?}");
    };
    assert_eq!(
        (*restarts, *consecutive_failures, *exit),
        (10, 11, Some(70))
    );
    assert!(
        reason.starts_with("Too many consecutive failures: 11 (limit 10); last: ")
            && reason.contains(". Likely cause: "),
        "{reason}"
    );
    // No delay was announced for the quarantine.
    assert_eq!(rig.restarts().len(), 10);
    rig.pass_without_heartbeats(10 * MINUTE);
    assert_eq!(rig.starts_called(), 10);
}

#[test]
fn max_restarts_is_enforced() {
    let mut rig = Rig::running("--paper --auto-restart --max-restarts 2 --restart-delay 0");
    rig.dies(1);
    rig.dies(1);
    assert_eq!(rig.starts_called(), 2);
    rig.dies_and_is_quarantined(1);
    assert!(matches!(
        rig.phase(),
        UnitPhase::Quarantined {
            reason: QuarantineReason::MaxRestarts,
            ..
        }
    ));
    assert_eq!(rig.starts_called(), 2);
}

#[test]
fn finished_cycles_are_restarts_but_no_failures() {
    let hour = Duration::from_hours(1);
    let mut rig = Rig::running("--paper --duration 3600 --auto-restart --max-restarts 24");
    for cycle in 1..=24 {
        rig.pass_healthy(hour);
        rig.dies(20);
        assert_eq!(
            (rig.unit().restarts, rig.unit().consecutive_failures),
            (cycle, 0)
        );
        assert_eq!(rig.sleep_until_wake(), Duration::from_secs(30));
        rig.send_heartbeat(ProcessPhase::Running);
    }
    rig.pass_healthy(hour);
    rig.dies(20);
    assert!(matches!(
        rig.phase(),
        UnitPhase::Quarantined {
            reason: QuarantineReason::MaxRestarts,
            ..
        }
    ));
    let kinds = rig.operator_event_kinds();
    let count = |wanted: &str| kinds.iter().filter(|kind| **kind == wanted).count();
    assert_eq!(count("unit_cycle_finished"), 21);
    assert_eq!(count("unit_restart_scheduled"), 3, "near the limit");
}

#[test]
fn finished_cycle_resets_consecutive_failures() {
    let mut rig = Rig::running("--paper --duration 60 --auto-restart");
    for _ in 0..3 {
        rig.dies(70);
        rig.sleep_until_wake();
    }
    rig.dies(20);
    assert_eq!(rig.unit().consecutive_failures, 0);
    rig.sleep_until_wake();
    rig.dies(70);
    assert_eq!(rig.restarts().last().unwrap().delay_ms, 30_000);
}

#[test]
fn failures_are_reset_after_ten_healthy_minutes_and_not_before() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.dies(1);
    rig.sleep_until_wake();
    rig.send_heartbeat(ProcessPhase::Running);
    rig.pass_healthy(Duration::from_secs(599));
    assert_eq!(rig.unit().consecutive_failures, 1);
    rig.pass_healthy(Duration::from_secs(1));
    assert_eq!(rig.unit().consecutive_failures, 0);
    rig.dies(1);
    assert_eq!(rig.restarts().last().unwrap().consecutive_failures, 1);
}

#[test]
fn failure_reset_after_a_long_delay_needs_twice_that_time() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    for _ in 0..7 {
        rig.dies(1);
        rig.sleep_until_wake();
    }
    rig.send_heartbeat(ProcessPhase::Running);
    rig.pass_healthy(119 * MINUTE);
    assert_eq!(rig.unit().consecutive_failures, 7);
    rig.pass_healthy(MINUTE);
    assert_eq!(rig.unit().consecutive_failures, 0);
}

#[test]
fn daily_crashes_for_41_days_never_reach_a_limit() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    for day in 1..=41 {
        rig.pass_healthy(Duration::from_hours(1));
        rig.mono += 23 * 3_600_000;
        rig.send_heartbeat(ProcessPhase::Running);
        rig.dies(139);
        assert_eq!(
            (rig.unit().restarts, rig.unit().consecutive_failures),
            (day, 1)
        );
        assert_eq!(rig.sleep_until_wake(), Duration::from_secs(30));
        rig.send_heartbeat(ProcessPhase::Running);
    }
    let recovered = rig
        .operator_event_kinds()
        .iter()
        .filter(|k| **k == "unit_recovered")
        .count();
    assert_eq!(recovered, 41);
}

#[test]
fn recovery_is_reported_once_with_its_duration() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.dies(1);
    rig.sleep_until_wake();
    rig.send_heartbeat(ProcessPhase::Starting);
    assert!(!rig.operator_event_kinds().contains(&"unit_recovered"));
    rig.mono += 4_000;
    rig.send_heartbeat(ProcessPhase::Running);
    rig.pass_healthy(MINUTE);
    let after: Vec<u64> = rig
        .operator_events()
        .iter()
        .filter_map(|event| match event {
            EventBody::UnitRecovered { after_ms, .. } => Some(*after_ms),
            _ => None,
        })
        .collect();
    assert_eq!(after, [34_000]);
}

#[test]
fn exit_codes_that_a_restart_cannot_fix_quarantine_the_unit() {
    let rows = [
        (21, QuarantineReason::AccountLatched),
        (64, QuarantineReason::Misconfigured),
        (78, QuarantineReason::Misconfigured),
        (127, QuarantineReason::Misconfigured),
    ];
    for (code, expected) in rows {
        let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
        rig.dies(code);
        rig.pass_without_heartbeats(2 * MINUTE);
        let UnitPhase::Quarantined { reason, .. } = rig.phase() else {
            panic!("exit {code}: {:?}", rig.phase());
        };
        assert_eq!((*reason, rig.starts_called()), (expected, 0), "exit {code}");
        assert_eq!(
            rig.operator_event_kinds(),
            ["unit_quarantined"],
            "exit {code}"
        );
    }
}

#[test]
fn unexpected_exit_0_is_restarted() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.dies(0);
    assert_eq!(rig.restarts()[0].reason, RestartReason::UnexpectedExit0);
    rig.sleep_until_wake();
    assert_eq!(rig.starts_called(), 1);
}

#[test]
fn unit_without_auto_restart_is_only_reported() {
    for code in [0, 1, 70, 78, 137] {
        let mut rig = Rig::running("--paper --infinite");
        rig.dies(code);
        rig.pass_without_heartbeats(2 * MINUTE);
        assert!(rig.calls.is_empty(), "exit {code}");
        assert_eq!(
            rig.operator_event_kinds(),
            ["unit_restart_skipped"],
            "exit {code}"
        );
    }
}

#[test]
fn dry_run_is_not_restarted() {
    let mut rig = Rig::running("--paper --auto-restart --dry-run");
    rig.dies(0);
    rig.pass_without_heartbeats(2 * MINUTE);
    assert!(rig.calls.is_empty());
    assert_eq!(rig.operator_event_kinds(), ["unit_stopped"]);
}

#[test]
fn unreadable_flags_are_reported_once() {
    let mut rig = Rig::running("--paper --forever");
    rig.dies(1);
    rig.pass_without_heartbeats(2 * MINUTE);
    assert!(rig.calls.is_empty());
    assert_eq!(
        rig.operator_event_kinds(),
        ["unit_restart_skipped", "unit_restart_skipped"]
    );
}

#[test]
fn last_restart_policy_holds_when_new_flags_are_unreadable() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 7");
    rig.recreate("--paper --forever");
    rig.dies(1);
    assert_eq!(rig.restarts()[0].delay_ms, 7_000);
}

#[test]
fn out_of_memory_kill_is_named_as_reason() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.dies_of_oom();
    let events = rig.operator_events();
    let [EventBody::UnitRestartScheduled { reason, .. }] = &events[..] else {
        panic!("{events:?}");
    };
    assert!(reason.contains("memory"), "{reason}");
}

#[test]
fn failed_start_is_a_failure_of_its_own() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 1");
    rig.dies(1);
    rig.call_behavior = CallBehavior::Fails;
    rig.sleep_until_wake();
    assert_eq!(rig.unit().consecutive_failures, 2);
    assert!(matches!(
        rig.restarts()[1].reason,
        RestartReason::StartFailed { .. }
    ));
    assert_eq!(rig.restarts()[1].exit_code, None);
    while matches!(rig.phase(), UnitPhase::RestartPending { .. }) {
        rig.sleep_until_wake();
    }
    assert!(matches!(rig.phase(), UnitPhase::Quarantined { .. }));
    assert_eq!(rig.starts_called(), 10);
}

#[test]
fn fast_first_restarts_at_once_after_a_long_healthy_run_only() {
    let mut rig = Rig::running("--paper --auto-restart --fast-first");
    rig.dies(1);
    assert_eq!(rig.restarts()[0].delay_ms, 30_000, "it had not run long");
    rig.sleep_until_wake();
    rig.send_heartbeat(ProcessPhase::Running);
    rig.pass_healthy(11 * MINUTE);
    rig.dies(1);
    assert_eq!(rig.restarts()[1].delay_ms, 0);
    rig.dies(1);
    assert_eq!(rig.restarts()[2].delay_ms, 60_000);
}

#[test]
fn jitter_lengthens_a_delay_by_a_tenth_at_random_500() {
    let mut rig = Rig::running("--paper --auto-restart --jitter");
    rig.dies(1);
    assert_eq!(rig.restarts()[0].delay_ms, 33_000);
}

#[test]
fn release_ends_a_quarantine_and_resets_failures() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    for _ in 0..10 {
        rig.dies(70);
        rig.sleep_until_wake();
    }
    rig.dies(70);
    rig.release(false).unwrap();
    assert_eq!(
        (rig.unit().consecutive_failures, rig.unit().restarts),
        (0, 10)
    );
    assert!(matches!(rig.phase(), UnitPhase::Running(_)));
    let error = rig.release(false).unwrap_err();
    assert!(error.contains("running"), "{error}");
}

#[test]
fn unit_at_max_restarts_is_released_only_with_reset_restarts() {
    let mut rig = Rig::running("--paper --auto-restart --max-restarts 1 --restart-delay 0");
    rig.dies(1);
    rig.dies_and_is_quarantined(1);
    let error = rig.release(false).unwrap_err();
    assert!(error.contains("--reset-restarts"), "{error}");
    rig.release(true).unwrap();
    assert_eq!(rig.unit().restarts, 0);
    assert!(matches!(rig.phase(), UnitPhase::Running(_)));
}

#[test]
fn operator_event_names_the_unit_and_its_last_error() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    let mut heartbeat = rig.heartbeat_sample(ProcessPhase::Running);
    heartbeat.errors = 3;
    heartbeat.last_error = Some("Connection timeout".to_owned());
    rig.on_event(
        bearish_watchdog_core::observed_state::SupervisionEvent::HeartbeatReceived {
            unit: name(),
            heartbeat,
        },
    );
    rig.mono += 2_100;
    rig.dies(70);
    let events = rig.operator_events();
    let [
        EventBody::UnitRestartScheduled {
            unit,
            last_error: evidence,
            ..
        },
    ] = &events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!(unit, &name());
    assert_eq!(
        evidence.as_deref(),
        Some(
            "last heartbeat 2.1s before the failure: running, 3 errors, last: Connection timeout"
        )
    );
}

#[test]
fn restart_budget_of_its_window_is_enforced() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
    rig.observed = ObservedState::with_config(SupervisionConfig {
        restart_budget: Some("3/24".parse().unwrap()),
        ..SupervisionConfig::default()
    });
    rig.list();
    for _ in 0..3 {
        rig.send_heartbeat(ProcessPhase::Running);
        rig.pass_healthy(11 * MINUTE);
        rig.dies(1);
    }
    rig.send_heartbeat(ProcessPhase::Running);
    rig.pass_healthy(11 * MINUTE);
    rig.dies_and_is_quarantined(1);
    let is_quarantined = |phase: &UnitPhase| {
        matches!(
            phase,
            UnitPhase::Quarantined {
                reason: QuarantineReason::RestartBudget,
                ..
            }
        )
    };
    assert!(is_quarantined(rig.phase()), "{:?}", rig.phase());
    rig.release(false).unwrap();
    rig.mono += 1;
    rig.dies(1);
    assert!(
        matches!(rig.phase(), UnitPhase::Running(_)),
        "a release begins a new window"
    );
}

#[test]
fn restart_budget_forgets_a_window_that_has_passed() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
    rig.observed = ObservedState::with_config(SupervisionConfig {
        restart_budget: Some("1/1".parse().unwrap()),
        ..SupervisionConfig::default()
    });
    rig.list();
    for _ in 0..3 {
        rig.send_heartbeat(ProcessPhase::Running);
        rig.pass_healthy(61 * MINUTE);
        rig.dies(1);
        assert!(matches!(rig.phase(), UnitPhase::Running(_)));
    }
}

#[test]
fn operator_is_warned_before_a_limit() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0 --max-restarts 20");
    for _ in 0..18 {
        rig.send_heartbeat(ProcessPhase::Running);
        rig.pass_healthy(11 * MINUTE);
        rig.dies(1);
    }
    let restart_reasons = |rig: &Rig| -> Vec<String> {
        let events = rig.operator_events().into_iter();
        events
            .filter_map(|body| match body {
                EventBody::UnitRestartScheduled { reason, .. } => Some(reason),
                _ => None,
            })
            .collect()
    };
    let reasons = restart_reasons(&rig);
    assert!(
        reasons[..17]
            .iter()
            .all(|reason| !reason.contains("approaching")),
        "{reasons:?}"
    );
    assert!(
        reasons[17].contains("approaching max restarts: 18 of 20 used"),
        "{reasons:?}"
    );
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
    for _ in 0..8 {
        rig.dies(1);
    }
    let reasons = restart_reasons(&rig);
    assert!(!reasons[6].contains("approaching"), "{reasons:?}");
    assert!(
        reasons[7].contains("approaching quarantine: 8 of 10 consecutive failures"),
        "{reasons:?}"
    );
}

/// The notification of a quarantine is the last for a while, so it contains the log.
#[test]
fn quarantine_waits_briefly_for_the_log_tail() {
    for comes in [true, false] {
        let mut rig = Rig::running("--paper --auto-restart --max-restarts 1 --restart-delay 0");
        rig.dies(70);
        let (unit, run) = (name(), rig.run());
        rig.dies(70);
        let is_quarantined = |rig: &Rig| rig.operator_event_kinds().contains(&"unit_quarantined");
        assert!(!is_quarantined(&rig), "its log is being read");
        if comes {
            let log_tail = LogTail::new(run, Ok("order 7: no answer"));
            rig.on_event(SupervisionEvent::LogRead { unit, log_tail });
        } else {
            rig.pass_without_heartbeats(Duration::from_secs(3));
        }
        let records = rig.unit_records();
        let Some(UnitRecord::Quarantined { evidence, .. }) = records.last() else {
            panic!("{records:?}");
        };
        let log = evidence.as_ref().map_or(0, |evidence| evidence.log.len());
        assert_eq!(log, usize::from(comes));
        assert!(is_quarantined(&rig));
        assert_eq!(rig.starts_called(), 1);
    }
}

/// A log that is read after the start is kept in a record of its own, and names the kind of the failure.
#[test]
fn log_read_after_an_immediate_restart_becomes_its_last_error() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
    let run = rig.run();
    rig.dies(70);
    assert!(rig.is_alive(), "nothing waits for a log");
    let log_tail = LogTail::new(run.clone(), Ok("starting\norder 7: no answer"));
    let unit = name();
    for _ in 0..2 {
        let (unit, log_tail) = (unit.clone(), log_tail.clone());
        rig.on_event(SupervisionEvent::LogRead { unit, log_tail });
    }
    let kept: Vec<&UnitRecord> = rig
        .unit_records()
        .into_iter()
        .filter(|record| matches!(record, UnitRecord::LogRead { .. }))
        .collect();
    let log = vec!["starting".to_owned(), "order 7: no answer".to_owned()];
    let log_unread = None;
    let evidence = UnitRecord::LogRead {
        run,
        log,
        log_error: log_unread,
    };
    assert_eq!(kept, [&evidence]);
    let groups = rig.unit().failures.groups(rig.now().clock.utc);
    let signatures: Vec<_> = groups.iter().map(|g| g.signature.as_str()).collect();
    assert_eq!(signatures, ["internal error (exit 70): order #: no answer"]);
    let records = rig.journal.len();
    rig.restart_watchdog(records);
    assert_eq!(rig.unit().failures.groups(rig.now().clock.utc), groups);
}

#[test]
fn finished_cycles_near_max_restarts_warn_the_operator() {
    let mut rig = Rig::running("--paper --duration 60 --auto-restart --max-restarts 24");
    let mut warnings = Vec::new();
    for cycle in 1..=24 {
        rig.pass_healthy(MINUTE);
        rig.dies(20);
        if let Some(EventBody::UnitRestartScheduled { reason, .. }) = rig.operator_events().last() {
            warnings.push((cycle, reason.clone()));
        }
        rig.sleep_until_wake();
        rig.send_heartbeat(ProcessPhase::Running);
    }
    let text = |used: u32| format!("cycle finished; approaching max restarts: {used} of 24 used");
    assert_eq!(warnings, [22, 23, 24].map(|cycle| (cycle, text(cycle))));
}

/// The container keeps its environment: only `scripts/up` creates one with the corrected settings.
#[test]
fn invalid_settings_are_named_with_the_way_back() {
    for code in [64, 78] {
        let mut rig = Rig::running(DEFAULT_FLAGS);
        let line = "trader: CAPITAL_USDT=\"abc\": expected an amount above 0";
        rig.end(code, false);
        let (unit, log_tail) = (name(), LogTail::new(rig.run(), Ok(line)));
        rig.on_event(SupervisionEvent::LogRead { unit, log_tail });
        rig.inspect();
        let events = rig.operator_events();
        let Some(EventBody::UnitQuarantined { reason, .. }) = events.last() else {
            panic!("{events:?}");
        };
        let explanation = explain(&name(), rig.unit(), rig.now().clock.utc);
        for text in [reason, &explanation.text()] {
            assert!(text.contains(line), "{text}");
            assert!(text.contains("correct .env, then run"), "{text}");
            assert!(text.contains("scripts/up"), "{text}");
            assert!(!text.contains("bearish release"), "{text}");
        }
        let command = command("release");
        let reply = reply_text(Some(rig.unit()), &command);
        assert!(
            reply.contains("old settings") && reply.contains("scripts/up"),
            "{reply}"
        );
        rig.run_command(&command).unwrap();
        assert_eq!(reply_text(Some(rig.unit()), &command), "released");
    }
}
