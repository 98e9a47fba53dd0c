//! The watchdog itself dies between any two steps, and its clocks jump.

use std::time::Duration;

use bearish_supervision::act::Action;
use bearish_supervision::phase::Phase;
use bearish_supervision::record::Fact;

use crate::support::{MINUTE, Obeys, Rig, USUAL};

const AT_ONCE: &str = "--paper --auto-restart --restart-delay 0";

/// Every start of a run, by the run it followed.
fn doubled_starts(rig: &Rig) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    let facts = rig.facts();
    let mut intended = facts.iter().filter_map(|fact| match fact {
        Fact::StartIntended { run } => Some(run),
        _ => None,
    });
    !intended.all(|run| seen.insert(run.clone()))
}

#[test]
fn killed_before_the_start_was_called_it_is_called_once_after_all() {
    let mut rig = Rig::running(AT_ONCE);
    rig.obeys = Obeys::Later;
    rig.dies(1);
    rig.calls.clear();
    rig.reborn(rig.journal.len());
    rig.obeys = Obeys::AtOnce;
    rig.list();
    assert_eq!(rig.starts_called(), 1);
    assert!(matches!(rig.phase(), Phase::Running(_)));
    assert_eq!(rig.unit().restarts, 1);
    assert!(!doubled_starts(&rig));
}

#[test]
fn killed_after_the_start_was_called_nothing_is_called_again() {
    let mut rig = Rig::running(AT_ONCE);
    rig.obeys = Obeys::Later;
    rig.dies(1);
    rig.begin();
    rig.calls.clear();
    rig.reborn(rig.journal.len());
    rig.list();
    assert!(rig.calls.is_empty());
    assert!(matches!(rig.phase(), Phase::Running(_)));
    assert_eq!((rig.unit().restarts, rig.unit().consecutive), (1, 1));
}

#[test]
fn killed_while_the_restarted_unit_died_again_it_counts_both() {
    let mut rig = Rig::running(AT_ONCE);
    rig.obeys = Obeys::Later;
    rig.dies(1);
    rig.begin();
    rig.end(1, false);
    rig.calls.clear();
    rig.reborn(rig.journal.len());
    rig.list();
    assert_eq!((rig.unit().restarts, rig.unit().consecutive), (2, 2));
    assert_eq!(rig.starts_called(), 1);
}

#[test]
fn killed_in_the_middle_of_a_stop_it_goes_on_with_it() {
    let mut rig = Rig::running(AT_ONCE);
    rig.obeys = Obeys::Later;
    rig.silence(Duration::from_secs(16));
    rig.reborn(rig.journal.len());
    rig.obeys = Obeys::AtOnce;
    rig.calls.clear();
    rig.list();
    assert!(
        matches!(rig.calls[..], [Action::Stop { .. }, Action::Start { .. }]),
        "{:?}",
        rig.calls
    );
}

#[test]
fn cut_at_any_record_a_history_goes_on_without_a_second_start_or_a_forgotten_cap() {
    let flags = "--paper --auto-restart --restart-delay 1 --max-restarts 3";
    let history = || {
        let mut rig = Rig::running(flags);
        for _ in 0..2 {
            rig.dies(1);
            rig.sleep();
        }
        rig.silence(3 * MINUTE);
        rig
    };
    let whole = history();
    for cut in 0..=whole.journal.len() {
        let mut rig = history();
        rig.reborn(cut);
        rig.calls.clear();
        let lived = rig.lives();
        rig.list();
        let called = rig.starts_called();
        assert!(
            called <= 1 && !(lived && called > 0),
            "cut {cut}: {:?}",
            rig.calls
        );
        for _ in 0..20 {
            if matches!(rig.phase(), Phase::Waiting { .. }) {
                rig.sleep();
            }
            if rig.lives() {
                rig.dies(1);
            }
        }
        assert!(
            matches!(rig.phase(), Phase::Quarantined { .. }),
            "cut {cut}"
        );
        assert!(rig.unit().restarts <= 3, "cut {cut}");
        assert!(!doubled_starts(&rig), "cut {cut}");
    }
}

#[test]
fn a_wait_goes_on_where_it_was() {
    let mut rig = Rig::running(USUAL);
    rig.dies(1);
    rig.silence(Duration::from_secs(20));
    rig.reborn(rig.journal.len());
    rig.list();
    assert_eq!(rig.sleep(), Duration::from_secs(10));
    assert_eq!(rig.starts_called(), 1);
}

#[test]
fn a_clock_set_back_makes_no_wait_longer_than_it_was_decided() {
    let mut rig = Rig::running(USUAL);
    rig.dies(1);
    rig.wall -= 86_400_000;
    assert_eq!(rig.sleep(), Duration::from_secs(30), "while it lives");
    rig.dies(1);
    rig.reborn(rig.journal.len());
    rig.wall -= 86_400_000;
    rig.list();
    assert_eq!(rig.sleep(), Duration::from_mins(1), "and over its death");
}

#[test]
fn a_clock_set_forward_shortens_no_wait_of_a_living_watchdog() {
    let mut rig = Rig::running(USUAL);
    rig.dies(1);
    rig.wall += 86_400_000;
    rig.silence(Duration::from_secs(29));
    assert_eq!(rig.starts_called(), 0);
    rig.silence(Duration::from_secs(1));
    assert_eq!(rig.starts_called(), 1);
}

#[test]
fn a_jump_of_the_clock_neither_hangs_nor_heals_anybody() {
    for jump in [-86_400_000, 86_400_000] {
        let mut rig = Rig::running(USUAL);
        rig.healthy(MINUTE);
        rig.wall += jump;
        rig.healthy(MINUTE);
        assert!(rig.calls.is_empty(), "{jump}");
        rig.dies(1);
        assert_eq!(rig.unit().consecutive, 1);
    }
}

#[test]
fn a_quarantine_survives() {
    let mut rig = Rig::running(USUAL);
    rig.dies(78);
    rig.reborn(rig.journal.len());
    rig.list();
    rig.silence(10 * MINUTE);
    assert!(rig.calls.is_empty());
    assert!(rig.state.any_quarantined());
}

#[test]
fn a_reboot_brings_back_what_no_person_stopped() {
    let mut rig = Rig::running(USUAL);
    rig.end(0, false);
    rig.reborn(rig.journal.len());
    rig.list();
    rig.sleep();
    assert_eq!(rig.starts_called(), 1);
}

#[test]
fn reports_that_come_late_change_nothing() {
    let mut rig = Rig::running(AT_ONCE);
    let alive = rig.container().unwrap();
    rig.end(1, false);
    let dead = rig.container().unwrap();
    rig.look();
    let journal = rig.journal.len();
    for late in [alive, dead] {
        let unit = crate::support::name();
        let container = late;
        rig.on(bearish_supervision::watch::Event::Seen { unit, container });
    }
    assert_eq!((rig.starts_called(), rig.journal.len()), (1, journal));
    rig.dies(1);
    assert_eq!(rig.starts_called(), 2);
}

#[test]
fn a_late_report_of_its_life_does_not_hide_its_end() {
    let mut rig = Rig::running(USUAL);
    let alive = rig.container().unwrap();
    rig.dies(1);
    rig.on(bearish_supervision::watch::Event::Seen {
        unit: crate::support::name(),
        container: alive,
    });
    rig.sleep();
    assert_eq!(rig.starts_called(), 1);
}
