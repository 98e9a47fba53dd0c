//! The engine goes down and comes back: what it takes along comes back with it, at no cost.

use bearish_supervision::absence::Absence;
use bearish_supervision::phase::Phase;
use bearish_supervision::record::Reason;
use bearish_supervision::watch::Event;
use protocol::time::UtcMs;

use crate::support::{MINUTE, Obeys, Rig, USUAL};

const SECOND: std::time::Duration = std::time::Duration::from_secs(1);

/// The engine goes down, takes the unit along with this code, and is there again ten seconds later.
fn takes_along(rig: &mut Rig, code: i64, oom: bool) {
    let from = rig.now().utc;
    rig.on(Event::EngineLost);
    rig.silence(2 * SECOND);
    rig.end(code, oom);
    rig.silence(8 * SECOND);
    let until = rig.now().utc;
    rig.on(Event::EngineWasAway(Absence { from, until }));
    rig.list();
}

#[test]
fn what_the_engine_took_along_is_started_at_once_and_counts_for_nothing() {
    for code in [0, 137, 143, 255] {
        let mut rig = Rig::running(USUAL);
        rig.healthy(MINUTE);
        takes_along(&mut rig, code, false);
        assert_eq!(rig.starts_called(), 1, "exit {code}");
        let unit = rig.unit();
        assert_eq!((unit.restarts, unit.consecutive), (0, 0), "exit {code}");
        assert_eq!((unit.recent.len(), unit.last_delay_ms), (0, 0));
        assert!(unit.failures.groups(rig.now().utc).is_empty());
        let restart = rig.restarts()[0];
        assert_eq!(restart.reason, Reason::WithEngine { code });
        assert_eq!((restart.attempt, restart.delay_ms), (0, 0));
        rig.healthy(MINUTE);
        assert_eq!(rig.told_kinds(), ["restart_triggered", "unit_recovered"]);
    }
}

#[test]
fn what_it_said_with_a_code_of_its_own_stays_its_word() {
    for (code, kind) in [
        (70, "restart_triggered"),
        (78, "given_up"),
        (20, "cycle_finished"),
    ] {
        let mut rig = Rig::running(USUAL);
        takes_along(&mut rig, code, false);
        assert_eq!(rig.told_kinds(), [kind], "exit {code}");
        assert_eq!(rig.starts_called(), 0, "exit {code}: after its delay");
    }
    let mut rig = Rig::running(USUAL);
    takes_along(&mut rig, 137, true);
    assert_eq!(rig.restarts()[0].reason, Reason::OutOfMemory);
    assert_eq!(rig.unit().restarts, 1);
}

#[test]
fn an_end_at_another_time_is_a_failure_as_ever() {
    let mut rig = Rig::running(USUAL);
    rig.healthy(MINUTE);
    takes_along(&mut rig, 0, false);
    rig.healthy(MINUTE);
    rig.dies(137);
    assert_eq!(rig.restarts()[1].reason, Reason::Crashed { code: 137 });
    assert_eq!((rig.unit().restarts, rig.unit().consecutive), (1, 1));
}

#[test]
fn what_the_engine_itself_found_gone_is_its_own_word_to_a_watchdog_that_comes_after_it() {
    let mut rig = Rig::running(USUAL);
    rig.healthy(MINUTE);
    rig.end(255, false);
    rig.reborn(rig.journal.len());
    rig.list();
    assert_eq!((rig.starts_called(), rig.unit().restarts), (1, 0));
    rig.healthy(MINUTE);
    // But not to one that saw it happen.
    rig.dies(255);
    assert_eq!(rig.restarts()[1].reason, Reason::Crashed { code: 255 });
    let mut killed = Rig::running(USUAL);
    killed.healthy(MINUTE);
    killed.end(137, false);
    killed.reborn(killed.journal.len());
    killed.list();
    assert_eq!(killed.unit().restarts, 1);
}

#[test]
fn failures_in_a_row_are_neither_more_nor_forgotten() {
    let mut rig = Rig::running(USUAL);
    rig.dies(70);
    rig.sleep();
    rig.healthy(MINUTE);
    takes_along(&mut rig, 255, false);
    let unit = rig.unit();
    assert_eq!((unit.restarts, unit.consecutive), (1, 1));
    assert_eq!(unit.last_delay_ms, 30_000);
}

#[test]
fn who_waits_meanwhile_is_started_when_due_and_who_was_stopped_is_not() {
    let mut waits = Rig::running(USUAL);
    waits.dies(70);
    let mut stopped = Rig::running(USUAL);
    stopped.asked_to_stop();
    stopped.dies(0);
    stopped.silence(2 * SECOND);
    for rig in [&mut waits, &mut stopped] {
        let until = UtcMs(rig.now().utc.0 + 5_000);
        rig.on(Event::EngineLost);
        rig.silence(5 * SECOND);
        let from = UtcMs(0);
        rig.on(Event::EngineWasAway(Absence { from, until }));
        rig.list();
        assert_eq!(rig.starts_called(), 0);
        rig.silence(MINUTE);
    }
    assert_eq!(waits.starts_called(), 1);
    assert_eq!(waits.restarts().len(), 1);
    assert!(matches!(stopped.phase(), Phase::Stopped { .. }));
    assert_eq!(stopped.starts_called(), 0);
}

#[test]
fn a_start_that_an_engine_on_its_way_down_did_not_carry_out_is_no_failure() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
    rig.obeys = Obeys::Later;
    rig.dies(70);
    assert_eq!(rig.starts_called(), 1);
    rig.on(Event::EngineLost);
    rig.answer(Some("connection reset"));
    rig.silence(5 * SECOND);
    assert_eq!((rig.starts_called(), rig.restarts().len()), (1, 1));
    rig.obeys = Obeys::AtOnce;
    rig.list();
    assert_eq!((rig.starts_called(), rig.restarts().len()), (2, 1));
    assert!(matches!(rig.phase(), Phase::Running(_)));
}
