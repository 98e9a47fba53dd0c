//! Exits, backoff, caps and resets.

use std::time::Duration;

use bearish_supervision::evidence::LastWords;
use bearish_supervision::phase::Phase;
use bearish_supervision::record::{Fact, Reason, Why};
use bearish_supervision::rules::Rules;
use bearish_supervision::watch::{Event, Watch};
use protocol::event::EventBody;
use protocol::heartbeat::Phase as BeatPhase;

use crate::support::{MINUTE, Obeys, Rig, USUAL, name};

#[test]
fn a_crash_is_answered_after_the_delay_that_was_announced() {
    let mut rig = Rig::running(USUAL);
    rig.healthy(MINUTE);
    rig.dies(137);
    assert!(matches!(
        rig.phase(),
        Phase::Waiting {
            delay_ms: 30_000,
            ..
        }
    ));
    assert!(rig.calls.is_empty(), "started before its time");
    assert_eq!(rig.sleep(), Duration::from_secs(30));
    assert_eq!(rig.starts_called(), 1);
    assert!(matches!(rig.phase(), Phase::Running(_)));
    let told = rig.told();
    let [
        EventBody::RestartTriggered {
            attempt,
            max,
            reason,
            consecutive,
            uptime_ms,
            delay_ms,
            exit,
            ..
        },
    ] = &told[..]
    else {
        panic!("{told:?}");
    };
    assert_eq!((*attempt, *max, *consecutive), (1, 1000, 1));
    assert_eq!((*uptime_ms, *delay_ms, *exit), (60_000, 30_000, Some(137)));
    assert_eq!(reason, "killed by SIGKILL (exit 137)");
}

#[test]
fn a_delay_of_zero_schedules_and_starts_in_one_decision() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
    rig.obeys = Obeys::Later;
    let before = rig.journal.len();
    rig.dies(1);
    assert_eq!(rig.starts_called(), 1);
    let facts = &rig.facts()[before..];
    assert!(
        matches!(
            facts,
            [Fact::RestartScheduled(_), Fact::StartIntended { .. }]
        ),
        "{facts:?}"
    );
}

#[test]
fn ten_failures_in_a_row_take_4_h_31_m_30_s_and_the_eleventh_is_final() {
    let mut rig = Rig::running(USUAL);
    let mut slept = Duration::ZERO;
    for failure in 1..=10 {
        rig.dies(70);
        assert_eq!(rig.unit().consecutive, failure);
        slept += rig.sleep();
    }
    assert_eq!(slept, Duration::from_secs(4 * 3600 + 31 * 60 + 30));
    rig.dies(70);
    assert!(matches!(
        rig.phase(),
        Phase::Quarantined {
            why: Why::Consecutive,
            ..
        }
    ));
    assert_eq!((rig.starts_called(), rig.unit().restarts), (10, 10));
    let told = rig.told();
    let Some(EventBody::GivenUp {
        reason,
        restarts,
        consecutive,
        exit,
        ..
    }) = told.last()
    else {
        panic!("{told:?}");
    };
    assert_eq!((*restarts, *consecutive, *exit), (10, 11, Some(70)));
    assert!(
        reason.contains("manual intervention required. Likely cause: "),
        "{reason}"
    );
    // No delay was announced for it.
    assert_eq!(rig.restarts().len(), 10);
    rig.silence(10 * MINUTE);
    assert_eq!(rig.starts_called(), 10);
}

#[test]
fn the_cap_on_restarts_holds() {
    let mut rig = Rig::running("--paper --auto-restart --max-restarts 2 --restart-delay 0");
    rig.dies(1);
    rig.dies(1);
    assert_eq!(rig.starts_called(), 2);
    rig.dies_for_good(1);
    assert!(matches!(
        rig.phase(),
        Phase::Quarantined {
            why: Why::MaxRestarts,
            ..
        }
    ));
    assert_eq!(rig.starts_called(), 2);
}

#[test]
fn twenty_four_cycles_of_an_hour_are_restarts_but_no_failures() {
    let hour = Duration::from_hours(1);
    let mut rig = Rig::running("--paper --duration 3600 --auto-restart --max-restarts 24");
    for cycle in 1..=24 {
        rig.healthy(hour);
        rig.dies(20);
        assert_eq!((rig.unit().restarts, rig.unit().consecutive), (cycle, 0));
        assert_eq!(rig.sleep(), Duration::from_secs(30));
        rig.beats(BeatPhase::Running);
    }
    rig.healthy(hour);
    rig.dies(20);
    assert!(matches!(
        rig.phase(),
        Phase::Quarantined {
            why: Why::MaxRestarts,
            ..
        }
    ));
    let cycles = rig
        .told_kinds()
        .iter()
        .filter(|k| **k == "cycle_finished")
        .count();
    assert_eq!(cycles, 24);
    assert!(!rig.told_kinds().contains(&"restart_triggered"));
}

#[test]
fn a_finished_cycle_ends_a_series_of_failures() {
    let mut rig = Rig::running("--paper --duration 60 --auto-restart");
    for _ in 0..3 {
        rig.dies(70);
        rig.sleep();
    }
    rig.dies(20);
    assert_eq!(rig.unit().consecutive, 0);
    rig.sleep();
    rig.dies(70);
    assert_eq!(rig.restarts().last().unwrap().delay_ms, 30_000);
}

#[test]
fn ten_healthy_minutes_forgive_and_a_second_less_does_not() {
    let mut rig = Rig::running(USUAL);
    rig.dies(1);
    rig.sleep();
    rig.beats(BeatPhase::Running);
    rig.healthy(Duration::from_secs(599));
    assert_eq!(rig.unit().consecutive, 1);
    rig.healthy(Duration::from_secs(1));
    assert_eq!(rig.unit().consecutive, 0);
    rig.dies(1);
    assert_eq!(rig.restarts().last().unwrap().consecutive, 1);
}

#[test]
fn after_a_long_delay_the_healthy_run_must_be_twice_as_long() {
    let mut rig = Rig::running(USUAL);
    for _ in 0..7 {
        rig.dies(1);
        rig.sleep();
    }
    rig.beats(BeatPhase::Running);
    rig.healthy(119 * MINUTE);
    assert_eq!(rig.unit().consecutive, 7);
    rig.healthy(MINUTE);
    assert_eq!(rig.unit().consecutive, 0);
}

#[test]
fn forty_one_days_of_daily_crashes_never_reach_a_cap() {
    let mut rig = Rig::running(USUAL);
    for day in 1..=41 {
        rig.healthy(Duration::from_hours(1));
        rig.mono += 23 * 3_600_000;
        rig.beats(BeatPhase::Running);
        rig.dies(139);
        assert_eq!((rig.unit().restarts, rig.unit().consecutive), (day, 1));
        assert_eq!(rig.sleep(), Duration::from_secs(30));
        rig.beats(BeatPhase::Running);
    }
    let recovered = rig
        .told_kinds()
        .iter()
        .filter(|k| **k == "unit_recovered")
        .count();
    assert_eq!(recovered, 41);
}

#[test]
fn recovery_is_told_once_with_the_time_it_took() {
    let mut rig = Rig::running(USUAL);
    rig.dies(1);
    rig.sleep();
    rig.beats(BeatPhase::Starting);
    assert!(!rig.told_kinds().contains(&"unit_recovered"));
    rig.mono += 4_000;
    rig.beats(BeatPhase::Running);
    rig.healthy(MINUTE);
    let after: Vec<u64> = rig
        .told()
        .iter()
        .filter_map(|event| match event {
            EventBody::UnitRecovered { after_ms, .. } => Some(*after_ms),
            _ => None,
        })
        .collect();
    assert_eq!(after, [34_000]);
}

#[test]
fn codes_that_a_restart_does_not_mend_are_quarantined() {
    let rows = [
        (21, Why::CriticalHalt),
        (64, Why::Misconfigured),
        (78, Why::Misconfigured),
        (127, Why::Misconfigured),
    ];
    for (code, expected) in rows {
        let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
        rig.dies(code);
        rig.silence(2 * MINUTE);
        let Phase::Quarantined { why, .. } = rig.phase() else {
            panic!("exit {code}: {:?}", rig.phase());
        };
        assert_eq!((*why, rig.starts_called()), (expected, 0), "exit {code}");
        assert_eq!(rig.told_kinds(), ["given_up"], "exit {code}");
    }
}

#[test]
fn an_exit_0_that_nobody_asked_for_is_restarted() {
    let mut rig = Rig::running(USUAL);
    rig.dies(0);
    assert_eq!(rig.restarts()[0].reason, Reason::Interrupted);
    rig.sleep();
    assert_eq!(rig.starts_called(), 1);
}

#[test]
fn without_auto_restart_nothing_is_done_and_it_is_said() {
    for code in [0, 1, 70, 78, 137] {
        let mut rig = Rig::running("--paper --infinite");
        rig.dies(code);
        rig.silence(2 * MINUTE);
        assert!(rig.calls.is_empty(), "exit {code}");
        assert_eq!(rig.told_kinds(), ["unit_observed_only"], "exit {code}");
    }
}

#[test]
fn a_dry_run_that_ends_is_done() {
    let mut rig = Rig::running("--paper --auto-restart --dry-run");
    rig.dies(0);
    rig.silence(2 * MINUTE);
    assert!(rig.calls.is_empty());
    assert_eq!(rig.told_kinds(), ["unit_stopped"]);
}

#[test]
fn flags_that_nobody_understands_are_observed_and_told_once() {
    let mut rig = Rig::running("--paper --forever");
    rig.dies(1);
    rig.silence(2 * MINUTE);
    assert!(rig.calls.is_empty());
    assert_eq!(
        rig.told_kinds(),
        ["unit_observed_only", "unit_observed_only"]
    );
}

#[test]
fn the_last_policy_holds_when_new_flags_are_not_understood() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 7");
    rig.recreated("--paper --forever");
    rig.dies(1);
    assert_eq!(rig.restarts()[0].delay_ms, 7_000);
}

#[test]
fn lack_of_memory_is_named() {
    let mut rig = Rig::running(USUAL);
    rig.dies_of_hunger();
    let told = rig.told();
    let [EventBody::RestartTriggered { reason, .. }] = &told[..] else {
        panic!("{told:?}");
    };
    assert!(reason.contains("memory"), "{reason}");
}

#[test]
fn a_start_that_the_engine_refuses_is_a_failure_of_its_own() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 1");
    rig.dies(1);
    rig.obeys = Obeys::Never;
    rig.sleep();
    assert_eq!(rig.unit().consecutive, 2);
    assert!(matches!(
        rig.restarts()[1].reason,
        Reason::NotStarted { .. }
    ));
    assert_eq!(rig.restarts()[1].exit, None);
    while matches!(rig.phase(), Phase::Waiting { .. }) {
        rig.sleep();
    }
    assert!(matches!(rig.phase(), Phase::Quarantined { .. }));
    assert_eq!(rig.starts_called(), 10);
}

#[test]
fn fast_first_restarts_at_once_after_a_long_healthy_run_only() {
    let mut rig = Rig::running("--paper --auto-restart --fast-first");
    rig.dies(1);
    assert_eq!(rig.restarts()[0].delay_ms, 30_000, "it had not run long");
    rig.sleep();
    rig.beats(BeatPhase::Running);
    rig.healthy(11 * MINUTE);
    rig.dies(1);
    assert_eq!(rig.restarts()[1].delay_ms, 0);
    rig.dies(1);
    assert_eq!(rig.restarts()[2].delay_ms, 60_000);
}

#[test]
fn jitter_makes_a_delay_longer_by_at_most_a_tenth() {
    let mut rig = Rig::running("--paper --auto-restart --jitter");
    rig.dies(1);
    assert_eq!(rig.restarts()[0].delay_ms, 33_000);
}

#[test]
fn release_ends_a_quarantine_with_a_clean_slate() {
    let mut rig = Rig::running(USUAL);
    for _ in 0..10 {
        rig.dies(70);
        rig.sleep();
    }
    rig.dies(70);
    rig.release(false).unwrap();
    assert_eq!((rig.unit().consecutive, rig.unit().restarts), (0, 10));
    assert!(matches!(rig.phase(), Phase::Running(_)));
    let again = rig.release(false).unwrap_err();
    assert!(again.contains("running"), "{again}");
}

#[test]
fn a_unit_without_restarts_left_is_released_only_in_total() {
    let mut rig = Rig::running("--paper --auto-restart --max-restarts 1 --restart-delay 0");
    rig.dies(1);
    rig.dies_for_good(1);
    let refused = rig.release(false).unwrap_err();
    assert!(refused.contains("--total"), "{refused}");
    rig.release(true).unwrap();
    assert_eq!(rig.unit().restarts, 0);
    assert!(matches!(rig.phase(), Phase::Running(_)));
}

#[test]
fn the_owner_reads_the_unit_name_and_the_evidence() {
    let mut rig = Rig::running(USUAL);
    let mut beat = rig.beat_of(BeatPhase::Running);
    beat.errors = 3;
    beat.last_error = Some("Connection timeout".to_owned());
    rig.on(bearish_supervision::watch::Event::Beat { unit: name(), beat });
    rig.mono += 2_100;
    rig.dies(70);
    let told = rig.told();
    let [EventBody::RestartTriggered { unit, evidence, .. }] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(unit, &name());
    assert_eq!(
        evidence.as_deref(),
        Some("last heartbeat 2.1 s before: running, 3 errors, the last: Connection timeout")
    );
}

#[test]
fn more_restarts_than_the_budget_of_its_window_are_not_made() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
    rig.watch = Watch::under(Rules {
        budget: Some("3/24".parse().unwrap()),
        ..Rules::default()
    });
    rig.list();
    for _ in 0..3 {
        rig.beats(BeatPhase::Running);
        rig.healthy(11 * MINUTE);
        rig.dies(1);
    }
    rig.beats(BeatPhase::Running);
    rig.healthy(11 * MINUTE);
    rig.dies_for_good(1);
    let given_up = |phase: &Phase| {
        matches!(
            phase,
            Phase::Quarantined {
                why: Why::Budget,
                ..
            }
        )
    };
    assert!(given_up(rig.phase()), "{:?}", rig.phase());
    rig.release(false).unwrap();
    rig.mono += 1;
    rig.dies(1);
    assert!(
        matches!(rig.phase(), Phase::Running(_)),
        "a release begins a new window"
    );
}

#[test]
fn a_window_that_has_passed_is_forgotten() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
    rig.watch = Watch::under(Rules {
        budget: Some("1/1".parse().unwrap()),
        ..Rules::default()
    });
    rig.list();
    for _ in 0..3 {
        rig.beats(BeatPhase::Running);
        rig.healthy(61 * MINUTE);
        rig.dies(1);
        assert!(matches!(rig.phase(), Phase::Running(_)));
    }
}

#[test]
fn the_owner_is_warned_before_a_cap() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0 --max-restarts 20");
    for _ in 0..18 {
        rig.beats(BeatPhase::Running);
        rig.healthy(11 * MINUTE);
        rig.dies(1);
    }
    let reasons = |rig: &Rig| -> Vec<String> {
        let told = rig.told().into_iter();
        told.filter_map(|body| match body {
            EventBody::RestartTriggered { reason, .. } => Some(reason),
            _ => None,
        })
        .collect()
    };
    let said = reasons(&rig);
    assert!(
        said[..17].iter().all(|reason| !reason.contains("used up")),
        "{said:?}"
    );
    assert!(
        said[17].contains("18 of its 20 restarts are used up"),
        "{said:?}"
    );
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
    for _ in 0..8 {
        rig.dies(1);
    }
    let said = reasons(&rig);
    assert!(!said[6].contains("given up"), "{said:?}");
    assert!(
        said[7].contains("after 2 more failures in a row it is given up"),
        "{said:?}"
    );
}

/// The message of a unit that is given up is the last for a while: it says what the log says.
#[test]
fn who_is_given_up_at_once_is_told_of_with_the_end_of_its_log_or_without_after_a_while() {
    for comes in [true, false] {
        let mut rig = Rig::running("--paper --auto-restart --max-restarts 1 --restart-delay 0");
        rig.dies(70);
        let (unit, run) = (name(), rig.run());
        rig.dies(70);
        let given_up = |rig: &Rig| rig.told_kinds().contains(&"given_up");
        assert!(!given_up(&rig), "its log is being read");
        if comes {
            let words = LastWords::new(run, Ok("order 7: no answer"));
            rig.on(Event::LastWords { unit, words });
        } else {
            rig.silence(Duration::from_secs(3));
        }
        let facts = rig.facts();
        let Some(Fact::Quarantined { found, .. }) = facts.last() else {
            panic!("{facts:?}");
        };
        let log = found.as_ref().map_or(0, |found| found.log.len());
        assert_eq!(log, usize::from(comes));
        assert!(given_up(&rig));
        assert_eq!(rig.starts_called(), 1);
    }
}

/// Read while it is started already: kept in a record of its own, and its kind of failure is known by it.
#[test]
fn a_log_read_after_an_urgent_restart_is_kept_and_counts_as_its_cause() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
    let run = rig.run();
    rig.dies(70);
    assert!(rig.lives(), "nothing waits for a log");
    let words = LastWords::new(run.clone(), Ok("starting\norder 7: no answer"));
    let unit = name();
    for _ in 0..2 {
        let (unit, words) = (unit.clone(), words.clone());
        rig.on(Event::LastWords { unit, words });
    }
    let kept: Vec<&Fact> = rig
        .facts()
        .into_iter()
        .filter(|fact| matches!(fact, Fact::WordsFound { .. }))
        .collect();
    let log = vec!["starting".to_owned(), "order 7: no answer".to_owned()];
    let log_unread = None;
    let found = Fact::WordsFound {
        run,
        log,
        log_unread,
    };
    assert_eq!(kept, [&found]);
    let groups = rig.unit().failures.groups(rig.now().utc);
    let signatures: Vec<_> = groups.iter().map(|g| g.signature.as_str()).collect();
    assert_eq!(signatures, ["internal error (exit 70): order #: no answer"]);
    let records = rig.journal.len();
    rig.reborn(records);
    assert_eq!(rig.unit().failures.groups(rig.now().utc), groups);
}
