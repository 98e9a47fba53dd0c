//! What persons order from the watchdog: verb by verb over every phase.

use std::time::Duration;

use bearish_supervision::act::Action;
use bearish_supervision::phase::Phase;
use bearish_supervision::record::Fact;
use protocol::heartbeat::Phase as BeatPhase;

use crate::support::{MINUTE, Obeys, Rig, USUAL, name, order};

const SECOND: Duration = Duration::from_secs(1);
const AT_ONCE: &str = "--paper --auto-restart --restart-delay 0";

/// A unit in the phase of this name.
fn rig_in(phase: &str) -> Rig {
    let mut rig = Rig::running(USUAL);
    match phase {
        "running" => {}
        "paused" => rig.paused(true),
        "stopping" => {
            rig.obeys = Obeys::Later;
            rig.silence(MINUTE);
        }
        "waiting" => rig.dies(1),
        "starting" => {
            rig.obeys = Obeys::Later;
            rig.dies(1);
            rig.silence(31 * SECOND);
        }
        "quarantined" => rig.dies(78),
        "stopped" => {
            rig.asked_to_stop();
            rig.dies(0);
            rig.silence(5 * SECOND);
        }
        "ended" => {
            rig = Rig::running("--paper");
            rig.dies(1);
        }
        "gone" => rig.removed(),
        "held" => rig.order(&order("hold")).unwrap(),
        other => panic!("{other} is no phase"),
    }
    rig
}

/// What follows at once: the calls made, or the refusal.
fn follows(phase: &str, verb: &str) -> String {
    let mut rig = rig_in(phase);
    let calls = rig.calls.len();
    if let Err(why) = rig.order(&order(verb)) {
        assert_eq!(rig.calls.len(), calls, "{verb} of a {phase} one");
        return why;
    }
    let calls: Vec<&str> = rig.calls[calls..].iter().map(Action::as_str).collect();
    format!("{} -> {}", calls.join(" "), rig.phase().as_str())
}

#[test]
fn every_verb_in_every_phase() {
    let gone = "its container was removed: `docker compose up` makes it anew";
    let quarantined = "it is quarantined: release it";
    let held = "it is held by ops (maintenance): release it first";
    let rows = [
        (
            "running",
            "stop -> stopped",
            "it is running already",
            "stop start -> running",
        ),
        (
            "paused",
            "it is paused: unpause it first",
            "it is running already",
            "it is paused: unpause it first",
        ),
        (
            "stopping",
            " -> stopping",
            "it is being stopped",
            "it is being stopped",
        ),
        (
            "waiting",
            " -> stopped",
            "start -> running",
            "start -> running",
        ),
        (
            "starting",
            " -> starting",
            "it is being started already",
            "it is being started already",
        ),
        ("quarantined", quarantined, quarantined, quarantined),
        (
            "stopped",
            "it is stopped already",
            "start -> running",
            "start -> running",
        ),
        (
            "ended",
            "it has ended already, and is not restarted",
            "start -> running",
            "start -> running",
        ),
        ("gone", gone, gone, gone),
        ("held", held, held, held),
    ];
    for (phase, stop, start, restart) in rows {
        for (verb, expected) in [("stop", stop), ("start", start), ("restart", restart)] {
            assert_eq!(follows(phase, verb), expected, "{verb} of a {phase} one");
        }
    }
}

#[test]
fn a_unit_that_nobody_ever_saw_takes_no_order() {
    for verb in ["stop", "start", "restart", "hold", "release"] {
        let mut rig = Rig::empty(USUAL);
        let why = rig.order(&order(verb)).unwrap_err();
        assert_eq!(why, "no unit of this name was ever seen", "{verb}");
    }
}

#[test]
fn a_hold_is_possible_in_every_known_phase_and_its_release_too() {
    for phase in [
        "running",
        "paused",
        "stopping",
        "waiting",
        "starting",
        "quarantined",
        "stopped",
        "ended",
        "gone",
    ] {
        let mut rig = rig_in(phase);
        rig.order(&order("hold")).unwrap();
        let again = rig.order(&order("hold")).unwrap_err();
        assert_eq!(again, "it is held already by ops (maintenance)", "{phase}");
        rig.order(&order("release")).unwrap();
        assert_eq!(rig.unit().held, None, "{phase}");
    }
}

#[test]
fn what_was_ordered_to_stop_stays_down_over_every_end_of_the_watchdog_until_it_is_started() {
    let mut rig = Rig::running(AT_ONCE);
    rig.order(&order("stop")).unwrap();
    assert!(!rig.lives());
    rig.silence(10 * MINUTE);
    rig.reborn(rig.journal.len());
    rig.list();
    rig.silence(10 * MINUTE);
    assert_eq!(rig.starts_called(), 0);
    assert_eq!(rig.told_kinds(), ["unit_stopped"]);
    rig.order(&order("start")).unwrap();
    rig.beats(BeatPhase::Running);
    assert!(rig.lives());
    assert_eq!(rig.told_kinds(), ["unit_stopped", "unit_ordered"]);
    assert_eq!((rig.unit().restarts, rig.unit().consecutive), (0, 0));
    rig.dies(1);
    assert_eq!(rig.starts_called(), 2);
}

#[test]
fn an_ordered_restart_costs_nothing_and_is_no_failure() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0 --max-restarts 1");
    for _ in 0..20 {
        rig.order(&order("restart")).unwrap();
        rig.beats(BeatPhase::Running);
    }
    assert_eq!((rig.unit().restarts, rig.unit().consecutive), (0, 0));
    assert!(rig.restarts().is_empty());
    assert!(rig.told_kinds().iter().all(|kind| *kind == "unit_ordered"));
    let intents =
        |fact: &&Fact| matches!(fact, Fact::StopIntended { .. } | Fact::StartIntended { .. });
    assert_eq!(rig.facts().into_iter().filter(intents).count(), 40);
}

#[test]
fn the_order_and_its_intent_are_one_message_and_a_watchdog_killed_between_any_two_steps_carries_on()
{
    for (verb, stops, starts) in [("stop", 1, 0), ("restart", 1, 1)] {
        let mut whole = Rig::running(USUAL);
        let before = whole.journal.len();
        whole.order(&order(verb)).unwrap();
        let total = whole.journal.len();
        // The order is stored with its intent: the first cut that can happen is behind both.
        for cut in before + 2..=total {
            let mut rig = Rig::running(USUAL);
            rig.obeys = Obeys::Later;
            rig.order(&order(verb)).unwrap();
            assert_eq!(rig.journal.len(), before + 2, "{verb}: one message");
            rig.obeys = Obeys::AtOnce;
            rig.journal = whole.journal[..cut].to_vec();
            let done = cut > before + 2;
            if done {
                rig.end(0, false);
            }
            rig.calls.clear();
            rig.reborn(cut);
            rig.list();
            rig.silence(3 * SECOND);
            let (stopped, started) = (rig.calls.len() - rig.starts_called(), rig.starts_called());
            assert_eq!(stopped, if done { 0 } else { stops }, "{verb}, cut {cut}");
            assert!(started <= starts, "{verb}, cut {cut}");
            assert_eq!(
                rig.lives(),
                verb == "restart" && started == starts,
                "{verb}, cut {cut}"
            );
        }
    }
}

#[test]
fn a_stop_during_a_start_ends_what_was_started() {
    let mut rig = rig_in("starting");
    rig.order(&order("stop")).unwrap();
    let start = rig.calls.last().unwrap().clone();
    rig.obeys = Obeys::AtOnce;
    rig.perform(&start);
    rig.look();
    rig.answer(None);
    rig.silence(5 * SECOND);
    assert!(!rig.lives());
    assert!(matches!(rig.phase(), Phase::Stopped { .. }));
    assert_eq!(rig.starts_called(), 1);
}

#[test]
fn a_refused_start_of_one_without_auto_restart_is_said_once() {
    let mut rig = rig_in("ended");
    rig.obeys = Obeys::Never;
    rig.order(&order("start")).unwrap();
    rig.silence(MINUTE);
    assert_eq!(rig.starts_called(), 1);
    assert!(matches!(rig.phase(), Phase::Ended { .. }));
    assert_eq!(rig.told_kinds().last(), Some(&"unit_observed_only"));
}

#[test]
fn a_start_ordered_after_one_that_the_engine_refused_is_a_try_of_its_own() {
    let mut rig = rig_in("starting");
    rig.order(&order("stop")).unwrap();
    rig.answer(Some("no such image"));
    rig.settle();
    assert!(matches!(rig.phase(), Phase::Stopped { .. }));
    rig.obeys = Obeys::AtOnce;
    rig.order(&order("start")).unwrap();
    assert!(rig.lives());
    assert_eq!(rig.starts_called(), 2);
}

#[test]
fn what_is_held_is_judged_and_left_alone_until_its_release() {
    let mut rig = Rig::running(AT_ONCE);
    rig.order(&order("hold")).unwrap();
    rig.silence(10 * MINUTE);
    assert_eq!(rig.told_kinds(), ["unit_ordered", "unit_observed_only"]);
    rig.dies(70);
    rig.silence(10 * MINUTE);
    rig.reborn(rig.journal.len());
    rig.list();
    rig.silence(10 * MINUTE);
    assert!(rig.calls.is_empty());
    assert!(matches!(rig.phase(), Phase::Ended { .. }));
    assert_eq!((rig.unit().restarts, rig.unit().consecutive), (0, 0));
    rig.order(&order("release")).unwrap();
    assert!(rig.lives());
    assert_eq!(rig.unit().held, None);
    assert_eq!(rig.watch.of(&name()).unwrap().in_flight, None);
}

#[test]
fn a_hold_stops_a_wait_and_its_release_ends_it() {
    let mut rig = rig_in("waiting");
    rig.order(&order("hold")).unwrap();
    rig.silence(10 * MINUTE);
    assert_eq!(rig.starts_called(), 0);
    rig.order(&order("release")).unwrap();
    assert_eq!(rig.starts_called(), 1);
}

#[test]
fn an_end_of_its_own_of_one_that_is_held_and_finished_starts_nothing_later() {
    let mut rig = Rig::running(USUAL);
    rig.order(&order("hold")).unwrap();
    rig.asked_to_stop();
    rig.dies(0);
    rig.silence(5 * SECOND);
    rig.order(&order("release")).unwrap();
    rig.silence(10 * MINUTE);
    assert!(rig.calls.is_empty());
    assert!(matches!(rig.phase(), Phase::Stopped { .. }));
}
