//! Silences in virtual time: what they cover, what always passes, and the counts at their end.

use bearish_notifier_core::send_limiter::SendLimits;
use bearish_notifier_core::silence;
use protocol::event::EventBody;

use crate::support::{World, critical_event, incoming_event, info_event};

fn start_silence(world: &mut World, name: Option<&str>, ms: u64) {
    let name = name.map(|name| name.parse().unwrap());
    let record = silence::start_silence(&world.state, name, ms, world.now().utc).unwrap();
    world.commit(vec![record]);
}

fn end_expired(world: &mut World) {
    while let Some(records) = silence::end_expired(&world.state, world.now().utc) {
        world.commit(records);
    }
}

#[test]
fn silence_passes_only_critical_notifications_and_counts_the_rest_at_its_end() {
    let mut world = World::new(SendLimits::NONE);
    start_silence(&mut world, None, 7_200_000);
    world.receive("a", info_event(1));
    world.receive("b", info_event(2));
    world.receive("c", critical_event(3));
    world.restart();
    let texts = world.drain();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].contains("reason-3-"));
    assert!(
        silence::describe_silences(&world.state, world.now().utc)
            .contains("all: 2h left, 2 silenced")
    );
    world.advance(7_199_999);
    end_expired(&mut world);
    assert_eq!(world.state.silences.len(), 1);
    world.advance(1);
    end_expired(&mut world);
    assert_eq!(
        world.drain(),
        ["🔔 SILENCE ENDED: 2 notifications were not sent\nScope: all\n2 × component recovered"]
    );
    world.receive("a", info_event(1));
    assert_eq!(world.send(), None, "a silenced event is not sent later");
    world.receive("d", info_event(4));
    assert!(world.send().is_some());
}

#[test]
fn silence_of_a_unit_covers_no_other_unit() {
    let mut world = World::new(SendLimits::NONE);
    start_silence(&mut world, Some("trader-paper-2"), 60_000);
    world.receive("a", info_event(1));
    assert_eq!(world.drain().len(), 1);
    start_silence(&mut world, Some("trader-paper-1"), 60_000);
    world.receive("b", info_event(2));
    assert_eq!(world.drain().len(), 0);
    world.commit(silence::end_all(&world.state, world.now().utc));
    assert_eq!(world.drain().len(), 1, "silenced notifications are counted");
    assert!(world.state.silences.is_empty());
}

#[test]
fn silence_of_a_unit_or_service_covers_events_of_others_about_it() {
    let [unit, reason] = ["trader-paper-2", "the market feed is down"];
    let critical_for_long = |unit: &str| EventBody::UnitHealthCritical {
        unit: unit.parse().unwrap(),
        for_ms: 900_000,
        reason: reason.to_owned(),
    };
    let commanded = EventBody::UnitCommandExecuted {
        unit: unit.parse().unwrap(),
        command: "restart".to_owned(),
        by: "operator".to_owned(),
        reason: None,
    };
    let started = EventBody::ServiceStarted {
        service: "nats-1".to_owned(),
        started_by: "started manually".to_owned(),
    };
    let mut world = World::new(SendLimits::NONE);
    start_silence(&mut world, Some(unit), 60_000);
    start_silence(&mut world, Some("nats-1"), 60_000);
    world.receive("a", critical_for_long(unit));
    world.receive("b", commanded);
    world.receive("c", started);
    assert_eq!(world.drain().len(), 0);
    world.receive("d", critical_for_long("trader-paper-3"));
    assert_eq!(world.drain().len(), 1);
}

#[test]
fn silence_of_the_same_unit_is_extended_and_their_number_limited() {
    let mut world = World::new(SendLimits::NONE);
    start_silence(&mut world, None, 60_000);
    start_silence(&mut world, None, 120_000);
    assert_eq!(world.state.silences.len(), 1);
    world.advance(60_000);
    end_expired(&mut world);
    world.receive_all(&[incoming_event("a", world.now().utc, info_event(1))]);
    assert_eq!(world.drain().len(), 0);
    for number in 0..19 {
        start_silence(&mut world, Some(&format!("trader-{number}")), 60_000);
    }
    let name = "one-more".parse().unwrap();
    assert_eq!(
        silence::start_silence(&world.state, Some(name), 60_000, world.now().utc),
        None
    );
}
