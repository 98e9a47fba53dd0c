//! Silences in virtual time: what they keep from the owner, what always passes, and what is said at the end.

use bearish_delivery::pace::Limits;
use bearish_delivery::silence;
use protocol::event::EventBody;

use crate::support::{World, critical, info, news};

fn silenced(world: &mut World, name: Option<&str>, ms: u64) {
    let name = name.map(|name| name.parse().unwrap());
    let record = silence::begin(&world.state, name, ms, world.now().utc).unwrap();
    world.commit(vec![record]);
}

fn over(world: &mut World) {
    while let Some(records) = silence::over(&world.state, world.now().utc) {
        world.commit(records);
    }
}

#[test]
fn only_criticals_pass_until_it_expires_and_then_the_rest_is_counted() {
    let mut world = World::new(Limits::NONE);
    silenced(&mut world, None, 7_200_000);
    world.hear("a", info(1));
    world.hear("b", info(2));
    world.hear("c", critical(3));
    world.restart();
    let texts = world.drain();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].contains("reason-3-"));
    assert!(
        silence::shown(&world.state, world.now().utc).contains("everybody: 2h more, 2 not told")
    );
    world.pass(7_199_999);
    over(&mut world);
    assert_eq!(world.state.silences.len(), 1);
    world.pass(1);
    over(&mut world);
    assert_eq!(
        world.drain(),
        ["🔔 SILENCE OVER: 2 not told\nOf: everybody\n2 × part recovered"]
    );
    world.hear("a", info(1));
    assert_eq!(world.send(), None, "what was hushed is not told later");
    world.hear("d", info(4));
    assert!(world.send().is_some());
}

#[test]
fn one_of_a_name_is_of_nobody_else() {
    let mut world = World::new(Limits::NONE);
    silenced(&mut world, Some("trader-paper-2"), 60_000);
    world.hear("a", info(1));
    assert_eq!(world.drain().len(), 1);
    silenced(&mut world, Some("trader-paper-1"), 60_000);
    world.hear("b", info(2));
    assert_eq!(world.drain().len(), 0);
    world.commit(silence::end_all(&world.state, world.now().utc));
    assert_eq!(world.drain().len(), 1, "what was hushed is counted");
    assert!(world.state.silences.is_empty());
}

#[test]
fn one_of_a_unit_or_a_service_is_of_what_others_tell_of_it_too() {
    let [unit, reason] = ["trader-paper-2", "the market feed is down"];
    let critical_for_long = |unit: &str| EventBody::UnitCritical {
        unit: unit.parse().unwrap(),
        for_ms: 900_000,
        reason: reason.to_owned(),
    };
    let ordered = EventBody::UnitOrdered {
        unit: unit.parse().unwrap(),
        verb: "restart".to_owned(),
        by: "operator".to_owned(),
        why: None,
    };
    let started = EventBody::PartStarted {
        part: "nats-1".to_owned(),
        how: "started by a person".to_owned(),
    };
    let mut world = World::new(Limits::NONE);
    silenced(&mut world, Some(unit), 60_000);
    silenced(&mut world, Some("nats-1"), 60_000);
    world.hear("a", critical_for_long(unit));
    world.hear("b", ordered);
    world.hear("c", started);
    assert_eq!(world.drain().len(), 0);
    world.hear("d", critical_for_long("trader-paper-3"));
    assert_eq!(world.drain().len(), 1);
}

#[test]
fn the_same_one_begins_anew_and_there_are_not_too_many() {
    let mut world = World::new(Limits::NONE);
    silenced(&mut world, None, 60_000);
    silenced(&mut world, None, 120_000);
    assert_eq!(world.state.silences.len(), 1);
    world.pass(60_000);
    over(&mut world);
    world.hear_all(&[news("a", world.now().utc, info(1))]);
    assert_eq!(world.drain().len(), 0);
    for number in 0..19 {
        silenced(&mut world, Some(&format!("trader-{number}")), 60_000);
    }
    let name = "one-more".parse().unwrap();
    assert_eq!(
        silence::begin(&world.state, Some(name), 60_000, world.now().utc),
        None
    );
}
