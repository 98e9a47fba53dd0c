//! Properties that hold over random histories.

use std::collections::BTreeSet;

use bearish_watchdog_core::model::Action;
use bearish_watchdog_core::observed_state::SupervisionEvent;
use bearish_watchdog_core::phase::UnitPhase;
use bearish_watchdog_core::record::{SupervisionRecord, UnitRecord};
use bearish_watchdog_core::state::SupervisionState;
use proptest::prelude::*;
use protocol::heartbeat::ProcessPhase;

use crate::support::{CallBehavior, Rig, command, name};

#[derive(Debug, Clone)]
enum Step {
    Passes(u32),
    Heartbeat(ProcessPhase),
    Dies(i64),
    Starts,
    StopRequested,
    Paused(bool),
    Recreated,
    DockerLost,
    Listed,
    CallBehavior(CallBehavior),
    Answers(bool),
    WatchdogRestarted,
    ClockJumps(i32),
    Released(bool),
    Commanded(&'static str),
    BusBlind(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let codes = prop::sample::select(vec![0_i64, 1, 20, 21, 64, 70, 78, 127, 137]);
    prop_oneof![
        6 => (0_u32..4_000_000).prop_map(Step::Passes),
        2 => (0_u32..20_000).prop_map(Step::Passes),
        4 => Just(Step::Heartbeat(ProcessPhase::Running)),
        1 => Just(Step::Heartbeat(ProcessPhase::Starting)),
        6 => codes.prop_map(Step::Dies),
        2 => Just(Step::Starts),
        1 => Just(Step::StopRequested),
        1 => any::<bool>().prop_map(Step::Paused),
        1 => Just(Step::Recreated),
        1 => Just(Step::DockerLost),
        3 => Just(Step::Listed),
        2 => prop::sample::select(vec![CallBehavior::Immediate, CallBehavior::Fails, CallBehavior::Pending]).prop_map(Step::CallBehavior),
        2 => any::<bool>().prop_map(Step::Answers),
        2 => Just(Step::WatchdogRestarted),
        1 => any::<i32>().prop_map(Step::ClockJumps),
        1 => any::<bool>().prop_map(Step::Released),
        2 => prop::sample::select(vec!["stop", "start", "restart", "hold"]).prop_map(Step::Commanded),
        1 => any::<bool>().prop_map(Step::BusBlind),
    ]
}

const FLAGS: &str =
    "--paper --auto-restart --restart-delay 10 --max-restarts 5 --jitter --fast-first";

fn play(rig: &mut Rig, step: &Step) {
    match step {
        Step::Passes(ms) => {
            rig.mono += u64::from(*ms);
            rig.on_event(SupervisionEvent::Ticked);
        }
        Step::Heartbeat(phase) if rig.is_alive() => rig.send_heartbeat(*phase),
        Step::Dies(code) if rig.is_alive() => rig.dies(*code),
        Step::Starts if !rig.is_alive() && rig.container().is_some() => rig.starts(),
        Step::StopRequested if rig.is_alive() => rig.request_stop(),
        Step::Paused(paused) if rig.is_alive() => rig.set_paused(*paused),
        Step::Recreated if rig.container().is_some() => rig.recreate(FLAGS),
        Step::DockerLost => rig.on_event(SupervisionEvent::DockerLost("no answer".to_owned())),
        Step::Listed => rig.list(),
        Step::CallBehavior(obeys) => rig.call_behavior = *obeys,
        Step::Answers(done) => finish_open_call(rig, *done),
        Step::WatchdogRestarted => {
            rig.restart_watchdog(rig.journal.len());
            rig.list();
        }
        Step::ClockJumps(ms) => rig.wall += i64::from(*ms),
        Step::Released(total) => drop(rig.release(*total)),
        Step::Commanded(verb) => drop(rig.run_command(&command(verb))),
        Step::BusBlind(deaf) => rig.has_bus_echoes = !deaf,
        _ => {}
    }
}

/// A call in flight ends.
fn finish_open_call(rig: &mut Rig, done: bool) {
    let sight = rig.observed.unit(&name()).cloned().unwrap_or_default();
    let Some(action) = sight.in_flight else {
        return;
    };
    if done {
        rig.perform(&action);
        if let Some(container) = rig.container() {
            let seen = SupervisionEvent::ContainerObserved {
                unit: name(),
                container,
            };
            rig.observed.observe(&rig.state, seen, rig.now());
        }
    }
    rig.finish_call((!done).then_some("no"));
    rig.settle();
}

/// Properties of every journal.
fn check_journal(journal: &[SupervisionRecord]) -> Result<(), TestCaseError> {
    let mut state = SupervisionState::default();
    let (mut intended, mut orders) = (BTreeSet::new(), 0);
    for record in journal {
        let before = state.units.get(&name()).cloned().unwrap_or_default();
        state.apply(record);
        let SupervisionRecord::Unit { record, .. } = record else {
            continue;
        };
        match record {
            UnitRecord::RestartScheduled(restart) => {
                prop_assert_eq!(restart.attempt, before.restarts + 1);
                prop_assert!(restart.attempt <= restart.max_restarts, "beyond the cap");
                prop_assert!(restart.consecutive_failures <= 10, "an eleventh in a row");
                prop_assert!(restart.delay_ms <= 3_600_000);
            }
            UnitRecord::StartIntended { run } => {
                let waits = matches!(before.phase, UnitPhase::RestartPending { .. })
                    || before.pending_command.is_some();
                prop_assert!(before.hold.is_none(), "a start of what is held");
                prop_assert!(waits, "a start out of {:?}", before.phase);
                // The same run is followed twice only after Docker rejected a start, as a counted restart, or after an
                // operator's command; a release that resets the restarts counts from zero.
                prop_assert!(intended.insert((run.clone(), before.restarts, before.since, orders)));
            }
            UnitRecord::Commanded { .. } | UnitRecord::Released { .. } => orders += 1,
            _ => {}
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn limits_delays_and_intents_hold_over_any_history(steps in prop::collection::vec(step(), 1..120)) {
        let mut rig = Rig::running(FLAGS);
        for step in &steps {
            let (calls, known) = (rig.calls.len(), rig.journal.len());
            let busy = rig.observed.unit(&name()).is_some_and(|s| s.in_flight.is_some());
            play(&mut rig, step);
            for call in &rig.calls[calls..] {
                let run = match call {
                    Action::Start { run } | Action::Stop { run, .. } => run,
                };
                let intent = rig.unit_records().into_iter().any(|record| match (call, record) {
                    (Action::Start { .. }, UnitRecord::StartIntended { run: r })
                    | (Action::Stop { .. }, UnitRecord::StopIntended { run: r, .. }) => r == run,
                    _ => false,
                });
                prop_assert!(intent, "no record before {:?}", call);
                prop_assert!(rig.unit().hold.is_none(), "{:?} of what is held", call);
            }
            let freed = matches!(step, Step::Answers(_) | Step::WatchdogRestarted);
            prop_assert!(!busy || freed || rig.calls.len() == calls, "two calls at once");
            prop_assert!(rig.journal.len() - known < 60, "it does not come to rest");
        }
        check_journal(&rig.journal)?;
    }

    #[test]
    fn state_equals_the_fold_of_the_journal(steps in prop::collection::vec(step(), 1..80)) {
        let mut rig = Rig::running(FLAGS);
        for step in &steps {
            play(&mut rig, step);
        }
        let mut folded = SupervisionState::default();
        rig.journal.iter().for_each(|record| folded.apply(record));
        prop_assert_eq!(folded, rig.state);
    }

    #[test]
    fn pending_restart_starts_no_later_than_its_delay(failures in 1_u32..5, jump in any::<i32>()) {
        let mut rig = Rig::running(FLAGS);
        for _ in 0..failures {
            rig.dies(70);
            let delay = rig.restarts().last().unwrap().delay_ms;
            rig.wall += i64::from(jump);
            rig.restart_watchdog(rig.journal.len());
            rig.list();
            let before = rig.starts_called();
            rig.mono += delay;
            rig.on_event(SupervisionEvent::Ticked);
            prop_assert!(rig.is_alive() && rig.starts_called() <= before + 1);
        }
    }
}
