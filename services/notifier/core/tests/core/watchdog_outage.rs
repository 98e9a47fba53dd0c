//! Watchdog outages: each and its end are reported once, and an unreachable bus proves none.

use bearish_notifier_core::send_limiter::SendLimits;
use bearish_notifier_core::watchdog_outage::{WatchdogHeartbeat, WatchdogOutage};
use protocol::heartbeat::{BlindnessReport, ProcessPhase};

use crate::support::{BEGIN, World};

fn heartbeat(seq: u64) -> WatchdogHeartbeat {
    WatchdogHeartbeat {
        boot: "b1".parse().unwrap(),
        seq,
        phase: ProcessPhase::Running,
        at: BEGIN,
        blindness: None,
    }
}

#[test]
fn blind_watchdog_is_reported_once_although_it_sends_heartbeats() {
    let mut world = World::new(SendLimits::NONE);
    let mut outage = WatchdogOutage::new(0);
    let mut texts = Vec::new();
    for (seq, number) in [(1, 0), (2, 1), (3, 1), (4, 0), (5, 2)] {
        world.advance(10_000);
        let mut newest = heartbeat(seq);
        newest.blindness = (number > 0).then(|| BlindnessReport {
            number,
            for_ms: 20_000,
            reason: "Docker cannot be reached: no answer within 3s".to_owned(),
            units: Vec::new(),
            remedy: Some("docker compose restart -t 1 socket-guard".to_owned()),
        });
        outage.observe(&[newest], world.now().mono);
        if let Some(record) = outage.due_record(&world.state, world.now()) {
            world.commit(vec![record]);
        }
        texts.extend(world.drain());
    }
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(
        texts[0].starts_with("🚨 WATCHDOG BLIND\nReason: Docker cannot be reached")
            && texts[0].contains("Action: docker compose restart -t 1 socket-guard"),
        "{texts:?}"
    );
}

#[test]
fn blindness_of_the_leader_is_reported_although_a_standby_sends_the_newest_heartbeats() {
    let mut world = World::new(SendLimits::NONE);
    let mut outage = WatchdogOutage::new(0);
    let mut texts = Vec::new();
    for seq in 1..10 {
        world.advance(10_000);
        let mut leader = heartbeat(seq);
        leader.blindness = Some(BlindnessReport {
            number: 1,
            for_ms: 20_000,
            reason: "Docker cannot be reached: no answer within 3s".to_owned(),
            units: Vec::new(),
            remedy: None,
        });
        let mut standby = heartbeat(seq);
        standby.boot = "b2".parse().unwrap();
        standby.phase = ProcessPhase::Starting;
        outage.observe(&[leader, standby], world.now().mono);
        if let Some(record) = outage.due_record(&world.state, world.now()) {
            world.commit(vec![record]);
        }
        texts.extend(world.drain());
    }
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].starts_with("🚨 WATCHDOG BLIND"), "{texts:?}");
}

/// Observes this newest heartbeat every ten seconds for `secs`.
fn observe_for(world: &mut World, outage: &mut WatchdogOutage, newest: Option<u64>, secs: u64) {
    for _ in 0..secs / 10 {
        world.advance(10_000);
        outage.observe(newest.map(heartbeat).as_slice(), world.now().mono);
        if let Some(record) = outage.due_record(&world.state, world.now()) {
            world.commit(vec![record]);
        }
    }
}

#[test]
fn watchdog_outage_and_its_end_are_reported_once_across_restarts() {
    let mut world = World::new(SendLimits::NONE);
    let mut outage = WatchdogOutage::new(0);
    for seq in 1..20 {
        observe_for(&mut world, &mut outage, Some(seq), 10);
    }
    observe_for(&mut world, &mut outage, Some(19), 30);
    assert!(world.drain().is_empty(), "thirty seconds are no outage yet");
    observe_for(&mut world, &mut outage, Some(19), 10);
    let texts = world.drain();
    assert!(
        texts[0].starts_with("🚨 WATCHDOG LOST\nLast heartbeat: "),
        "{texts:?}"
    );
    world.restart();
    let mut outage = WatchdogOutage::new(world.now().mono);
    observe_for(&mut world, &mut outage, Some(19), 600);
    assert!(world.drain().is_empty(), "reported again after a restart");
    observe_for(&mut world, &mut outage, Some(20), 10);
    let texts = world.drain();
    assert!(
        texts.len() == 1 && texts[0].starts_with("✅ WATCHDOG RECOVERED"),
        "{texts:?}"
    );
    for seq in 21..30 {
        observe_for(&mut world, &mut outage, Some(seq), 10);
    }
    assert!(world.drain().is_empty());
    observe_for(&mut world, &mut outage, Some(29), 60);
    assert_eq!(world.drain().len(), 1, "the next outage is another one");
}

#[test]
fn watchdog_has_a_minute_after_the_start_and_none_ever_is_no_outage() {
    let mut world = World::new(SendLimits::NONE);
    let mut outage = WatchdogOutage::new(0);
    observe_for(&mut world, &mut outage, None, 600);
    assert!(world.drain().is_empty());
    let mut outage = WatchdogOutage::new(world.now().mono);
    observe_for(&mut world, &mut outage, Some(5), 60);
    assert!(world.drain().is_empty());
    observe_for(&mut world, &mut outage, Some(5), 10);
    assert_eq!(world.drain().len(), 1);
}

#[test]
fn watchdog_is_not_lost_while_the_bus_does_not_answer() {
    let mut world = World::new(SendLimits::NONE);
    let mut outage = WatchdogOutage::new(0);
    observe_for(&mut world, &mut outage, Some(1), 10);
    world.advance(3_600_000);
    outage.on_bus_unreachable(world.now().mono);
    assert_eq!(outage.due_record(&world.state, world.now()), None);
    observe_for(&mut world, &mut outage, Some(1), 30);
    assert!(world.drain().is_empty());
    observe_for(&mut world, &mut outage, Some(1), 10);
    assert_eq!(world.drain().len(), 1);
}
