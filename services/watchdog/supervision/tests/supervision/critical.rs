//! A unit that says of itself for a quarter of an hour that it is critical: the owner is warned once.

use std::time::Duration;

use bearish_supervision::record::Fact;

use crate::support::{MINUTE, Rig, USUAL};

fn warnings(rig: &Rig) -> usize {
    let kinds = rig.told_kinds();
    kinds
        .iter()
        .filter(|kind| **kind == "unit_critical")
        .count()
}

fn critical_for(rig: &mut Rig, span: Duration) {
    rig.critical = Some("candles are stale".to_owned());
    rig.healthy(span);
}

fn well_for(rig: &mut Rig, span: Duration) {
    rig.critical = None;
    rig.healthy(span);
}

#[test]
fn a_quarter_of_an_hour_of_it_is_one_warning_and_no_restart() {
    let mut rig = Rig::running(USUAL);
    critical_for(&mut rig, 15 * MINUTE);
    assert_eq!(warnings(&rig), 0);
    critical_for(&mut rig, Duration::from_secs(5));
    assert_eq!(warnings(&rig), 1);
    let said = rig.facts().into_iter().rev().find_map(|fact| match fact {
        Fact::CriticalForLong { for_ms, why } => Some((*for_ms, why.as_str())),
        _ => None,
    });
    assert_eq!(said, Some((900_000, "candles are stale")));
    critical_for(&mut rig, 600 * MINUTE);
    assert_eq!(warnings(&rig), 1, "once");
    assert!(rig.calls.is_empty());
}

#[test]
fn each_spell_is_a_new_one_and_less_than_that_is_none() {
    let mut rig = Rig::running(USUAL);
    for _ in 0..5 {
        critical_for(&mut rig, 14 * MINUTE);
        well_for(&mut rig, Duration::from_secs(5));
    }
    assert_eq!(warnings(&rig), 0);
    for spell in 1..=3 {
        critical_for(&mut rig, 16 * MINUTE);
        assert_eq!(warnings(&rig), spell);
        well_for(&mut rig, Duration::from_secs(5));
    }
}

#[test]
fn a_restart_of_ours_does_not_warn_again_and_a_new_run_may() {
    let mut rig = Rig::running(USUAL);
    critical_for(&mut rig, 16 * MINUTE);
    let records = rig.journal.len();
    rig.reborn(records);
    rig.list();
    critical_for(&mut rig, 60 * MINUTE);
    assert_eq!(warnings(&rig), 1);
    rig.dies(1);
    rig.silence(MINUTE);
    assert!(rig.lives());
    critical_for(&mut rig, 16 * MINUTE);
    assert_eq!(warnings(&rig), 2);
}

#[test]
fn what_was_not_heard_proves_nothing() {
    let mut rig = Rig::running(USUAL);
    critical_for(&mut rig, 10 * MINUTE);
    rig.echoes = false;
    rig.silence(10 * MINUTE);
    rig.echoes = true;
    critical_for(&mut rig, 10 * MINUTE);
    assert_eq!(warnings(&rig), 0);
    critical_for(&mut rig, 6 * MINUTE);
    assert_eq!(warnings(&rig), 1);
}
