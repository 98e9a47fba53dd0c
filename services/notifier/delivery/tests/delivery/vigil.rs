//! The watchdog's silence: told once, ended once, and never taken from a bus that did not answer.

use bearish_delivery::pace::Limits;
use bearish_delivery::vigil::{Heard, Vigil};
use protocol::heartbeat::Phase;

use crate::support::{BEGIN, World};

fn beat(seq: u64) -> Heard {
    Heard {
        boot: "b1".parse().unwrap(),
        seq,
        phase: Phase::Running,
        at: BEGIN,
    }
}

/// Looks every ten seconds for so long; this is the newest heartbeat.
fn watch(world: &mut World, vigil: &mut Vigil, newest: Option<u64>, secs: u64) {
    for _ in 0..secs / 10 {
        world.pass(10_000);
        vigil.look(newest.map(beat), world.now().mono);
        if let Some(record) = vigil.due(&world.state, world.now()) {
            world.commit(vec![record]);
        }
    }
}

#[test]
fn silence_is_told_once_and_its_end_once_also_over_restarts() {
    let mut world = World::new(Limits::NONE);
    let mut vigil = Vigil::new(0);
    for seq in 1..20 {
        watch(&mut world, &mut vigil, Some(seq), 10);
    }
    watch(&mut world, &mut vigil, Some(19), 30);
    assert!(world.drain().is_empty(), "thirty seconds are nothing yet");
    watch(&mut world, &mut vigil, Some(19), 10);
    let texts = world.drain();
    assert!(
        texts[0].starts_with("🚨 WATCHDOG SILENT\nLast heard: "),
        "{texts:?}"
    );
    world.restart();
    let mut vigil = Vigil::new(world.now().mono);
    watch(&mut world, &mut vigil, Some(19), 600);
    assert!(world.drain().is_empty(), "told again after a restart");
    watch(&mut world, &mut vigil, Some(20), 10);
    let texts = world.drain();
    assert!(
        texts.len() == 1 && texts[0].starts_with("✅ WATCHDOG HEARD AGAIN"),
        "{texts:?}"
    );
    for seq in 21..30 {
        watch(&mut world, &mut vigil, Some(seq), 10);
    }
    assert!(world.drain().is_empty());
    watch(&mut world, &mut vigil, Some(29), 60);
    assert_eq!(world.drain().len(), 1, "the next silence is another one");
}

#[test]
fn an_old_heartbeat_at_the_start_gets_a_minute_and_no_watchdog_at_all_is_none() {
    let mut world = World::new(Limits::NONE);
    let mut vigil = Vigil::new(0);
    watch(&mut world, &mut vigil, None, 600);
    assert!(world.drain().is_empty());
    let mut vigil = Vigil::new(world.now().mono);
    watch(&mut world, &mut vigil, Some(5), 60);
    assert!(world.drain().is_empty());
    watch(&mut world, &mut vigil, Some(5), 10);
    assert_eq!(world.drain().len(), 1);
}

#[test]
fn while_the_bus_does_not_answer_nobody_is_silent() {
    let mut world = World::new(Limits::NONE);
    let mut vigil = Vigil::new(0);
    watch(&mut world, &mut vigil, Some(1), 10);
    world.pass(3_600_000);
    vigil.deaf(world.now().mono);
    assert_eq!(vigil.due(&world.state, world.now()), None);
    watch(&mut world, &mut vigil, Some(1), 30);
    assert!(world.drain().is_empty());
    watch(&mut world, &mut vigil, Some(1), 10);
    assert_eq!(world.drain().len(), 1);
}
