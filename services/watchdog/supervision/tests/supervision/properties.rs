//! Whatever happens, in whatever order: promises that hold over random histories.

use std::collections::BTreeSet;

use bearish_supervision::act::Action;
use bearish_supervision::phase::Phase;
use bearish_supervision::record::{Fact, Record};
use bearish_supervision::state::State;
use bearish_supervision::watch::Event;
use proptest::prelude::*;
use protocol::heartbeat::Phase as BeatPhase;

use crate::support::{Obeys, Rig, name, order};

#[derive(Debug, Clone)]
enum Step {
    Passes(u32),
    Beats(BeatPhase),
    Dies(i64),
    Starts,
    StopAsked,
    Paused(bool),
    Recreated,
    EngineLost,
    Listed,
    Obeys(Obeys),
    Answers(bool),
    Reborn,
    ClockJumps(i32),
    Released(bool),
    Ordered(&'static str),
    Deaf(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let codes = prop::sample::select(vec![0_i64, 1, 20, 21, 64, 70, 78, 127, 137]);
    prop_oneof![
        6 => (0_u32..4_000_000).prop_map(Step::Passes),
        2 => (0_u32..20_000).prop_map(Step::Passes),
        4 => Just(Step::Beats(BeatPhase::Running)),
        1 => Just(Step::Beats(BeatPhase::Starting)),
        6 => codes.prop_map(Step::Dies),
        2 => Just(Step::Starts),
        1 => Just(Step::StopAsked),
        1 => any::<bool>().prop_map(Step::Paused),
        1 => Just(Step::Recreated),
        1 => Just(Step::EngineLost),
        3 => Just(Step::Listed),
        2 => prop::sample::select(vec![Obeys::AtOnce, Obeys::Never, Obeys::Later]).prop_map(Step::Obeys),
        2 => any::<bool>().prop_map(Step::Answers),
        2 => Just(Step::Reborn),
        1 => any::<i32>().prop_map(Step::ClockJumps),
        1 => any::<bool>().prop_map(Step::Released),
        2 => prop::sample::select(vec!["stop", "start", "restart", "hold"]).prop_map(Step::Ordered),
        1 => any::<bool>().prop_map(Step::Deaf),
    ]
}

const FLAGS: &str =
    "--paper --auto-restart --restart-delay 10 --max-restarts 5 --jitter --fast-first";

fn play(rig: &mut Rig, step: &Step) {
    match step {
        Step::Passes(ms) => {
            rig.mono += u64::from(*ms);
            rig.on(Event::Ticked);
        }
        Step::Beats(phase) if rig.lives() => rig.beats(*phase),
        Step::Dies(code) if rig.lives() => rig.dies(*code),
        Step::Starts if !rig.lives() && rig.container().is_some() => rig.starts(),
        Step::StopAsked if rig.lives() => rig.asked_to_stop(),
        Step::Paused(paused) if rig.lives() => rig.paused(*paused),
        Step::Recreated if rig.container().is_some() => rig.recreated(FLAGS),
        Step::EngineLost => rig.on(Event::EngineLost),
        Step::Listed => rig.list(),
        Step::Obeys(obeys) => rig.obeys = *obeys,
        Step::Answers(done) => answer(rig, *done),
        Step::Reborn => {
            rig.reborn(rig.journal.len());
            rig.list();
        }
        Step::ClockJumps(ms) => rig.wall += i64::from(*ms),
        Step::Released(total) => drop(rig.release(*total)),
        Step::Ordered(verb) => drop(rig.order(&order(verb))),
        Step::Deaf(deaf) => rig.echoes = !deaf,
        _ => {}
    }
}

/// A call that was left open ends.
fn answer(rig: &mut Rig, done: bool) {
    let sight = rig.watch.of(&name()).cloned().unwrap_or_default();
    let Some(action) = sight.in_flight else {
        return;
    };
    if done {
        rig.perform(&action);
        if let Some(container) = rig.container() {
            let seen = Event::Seen {
                unit: name(),
                container,
            };
            rig.watch.take_in(&rig.state, seen, rig.now());
        }
    }
    rig.answer((!done).then_some("no"));
    rig.settle();
}

/// What every journal promises by itself.
fn check_journal(journal: &[Record]) -> Result<(), TestCaseError> {
    let mut state = State::default();
    let (mut intended, mut orders) = (BTreeSet::new(), 0);
    for record in journal {
        let before = state.units.get(&name()).cloned().unwrap_or_default();
        state.apply(record);
        let Record::Unit { fact, .. } = record else {
            continue;
        };
        match fact {
            Fact::RestartScheduled(restart) => {
                prop_assert_eq!(restart.attempt, before.restarts + 1);
                prop_assert!(restart.attempt <= restart.max, "beyond the cap");
                prop_assert!(restart.consecutive <= 10, "an eleventh in a row");
                prop_assert!(restart.delay_ms <= 3_600_000);
            }
            Fact::StartIntended { run } => {
                let waits = matches!(before.phase, Phase::Waiting { .. }) || before.asked.is_some();
                prop_assert!(before.held.is_none(), "a start of what is held");
                prop_assert!(waits, "a start out of {:?}", before.phase);
                // The same run is followed twice only after the engine refused, as a restart of its own, or
                // because a person wants it again; who releases with `total` counts those anew.
                prop_assert!(intended.insert((run.clone(), before.restarts, before.since, orders)));
            }
            Fact::Ordered { .. } | Fact::Released { .. } => orders += 1,
            _ => {}
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn caps_delays_and_intents_hold_over_any_history(steps in prop::collection::vec(step(), 1..120)) {
        let mut rig = Rig::running(FLAGS);
        for step in &steps {
            let (calls, known) = (rig.calls.len(), rig.journal.len());
            let busy = rig.watch.of(&name()).is_some_and(|s| s.in_flight.is_some());
            play(&mut rig, step);
            for call in &rig.calls[calls..] {
                let run = match call {
                    Action::Start { run } | Action::Stop { run, .. } => run,
                };
                let intent = rig.facts().into_iter().any(|fact| match (call, fact) {
                    (Action::Start { .. }, Fact::StartIntended { run: r })
                    | (Action::Stop { .. }, Fact::StopIntended { run: r, .. }) => r == run,
                    _ => false,
                });
                prop_assert!(intent, "no record before {:?}", call);
                prop_assert!(rig.unit().held.is_none(), "{:?} of what is held", call);
            }
            let freed = matches!(step, Step::Answers(_) | Step::Reborn);
            prop_assert!(!busy || freed || rig.calls.len() == calls, "two calls at once");
            prop_assert!(rig.journal.len() - known < 60, "it does not come to rest");
        }
        check_journal(&rig.journal)?;
    }

    #[test]
    fn a_fold_of_the_journal_is_the_state(steps in prop::collection::vec(step(), 1..80)) {
        let mut rig = Rig::running(FLAGS);
        for step in &steps {
            play(&mut rig, step);
        }
        let mut folded = State::default();
        rig.journal.iter().for_each(|record| folded.apply(record));
        prop_assert_eq!(folded, rig.state);
    }

    #[test]
    fn who_waits_is_started_no_later_than_its_delay(failures in 1_u32..5, jump in any::<i32>()) {
        let mut rig = Rig::running(FLAGS);
        for _ in 0..failures {
            rig.dies(70);
            let delay = rig.restarts().last().unwrap().delay_ms;
            rig.wall += i64::from(jump);
            rig.reborn(rig.journal.len());
            rig.list();
            let before = rig.starts_called();
            rig.mono += delay;
            rig.on(Event::Ticked);
            prop_assert!(rig.lives() && rig.starts_called() <= before + 1);
        }
    }
}
