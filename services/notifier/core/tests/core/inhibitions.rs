//! Inhibition in virtual time: effects of an outage of the bus or the watchdog are one message; critical notifications
//! are never inhibited, and none is lost.

use bearish_notifier_core::event_intake::IncomingEvent;
use bearish_notifier_core::inhibition;
use bearish_notifier_core::model::OutageSpan;
use bearish_notifier_core::record::DeliveryRecord;
use bearish_notifier_core::send_limiter::SendLimits;
use protocol::event::{Event, EventBody};
use protocol::ids::Service;
use protocol::time::UtcMs;
use protocol::unit_remedy::UnitRemedy;

use crate::support::{BEGIN, World, critical_event, incoming_event};

const CHECK: &str = "Action: check that all traders run: scripts/bearish status";

fn restart(unit: usize, consecutive: u32) -> EventBody {
    EventBody::UnitRestartScheduled {
        unit: format!("trader-{unit:02}").parse().unwrap(),
        attempt: 1,
        max_restarts: 1000,
        reason: format!("silent-{unit}-"),
        consecutive_failures: consecutive,
        uptime_ms: 60_000,
        delay_ms: 30_000,
        exit_code: None,
        last_error: None,
    }
}

fn watchdog_event(id: &str, at: UtcMs, body: EventBody) -> IncomingEvent {
    IncomingEvent::Known {
        service: Service::Watchdog,
        instance: "watchdog-1".parse().unwrap(),
        event: Event::new(id, at, body),
    }
}

fn trader_event(number: usize, at: UtcMs, body: EventBody) -> IncomingEvent {
    let id = format!("{}:trader-{number:02}", body.kind());
    IncomingEvent::Known {
        service: Service::Trader,
        instance: format!("trader-{number:02}").parse().unwrap(),
        event: Event::new(id, at, body),
    }
}

fn watchdog_started() -> EventBody {
    EventBody::WatchdogStarted {
        project: "bearish-alpha".parse().unwrap(),
        host: "local".parse().unwrap(),
        version: "0.1.0".to_owned(),
    }
}

fn record_bus_outage(world: &mut World, secs: i64) {
    let until = world.now().utc;
    let since = UtcMs(until.0 - secs * 1_000);
    world.commit(vec![DeliveryRecord::BusOutage { since, until }]);
}

/// Runs one minute in steps of a second; the messages sent.
fn run_minute(world: &mut World) -> Vec<String> {
    let mut texts = Vec::new();
    for _ in 0..61 {
        while let Some(records) = inhibition::due_records(&world.state, world.now().utc) {
            world.commit(records);
        }
        texts.extend(world.drain());
        world.advance(1_000);
    }
    texts
}

#[test]
fn restarts_after_a_watchdog_outage_become_one_message_of_names() {
    let mut world = World::new(SendLimits::NONE);
    let at = world.now().utc;
    let mut all = vec![watchdog_event("w", at, watchdog_started())];
    all.extend((0..25).map(|n| watchdog_event(&format!("r{n}"), at, restart(n, 1))));
    world.receive_all(&all);
    assert_eq!(
        world.drain(),
        ["🚀 WATCHDOG STARTED\nProject: bearish-alpha\nHost: local\nVersion: 0.1.0"]
    );
    let texts = run_minute(&mut world);
    let names: Vec<String> = (0..20).map(|n| format!("trader-{n:02}")).collect();
    assert_eq!(
        texts,
        [format!(
            "🔕 WATCHDOG OUTAGE SUMMARY\nDown: until 2026-11-24 03:00:00 UTC\nAffected traders: 25\n\
             Names: {} and 5 more\nNotifications in this summary: 25\n25 × unit restart scheduled\n{CHECK}",
            names.join(", ")
        )]
    );
    world.receive_all(&all);
    assert!(
        run_minute(&mut world).is_empty(),
        "a redelivered event is sent again"
    );
}

#[test]
fn effects_of_a_bus_outage_become_one_message_but_not_earlier_events() {
    let mut world = World::new(SendLimits::NONE);
    let before = UtcMs(BEGIN.0 - 1);
    world.advance(120_000);
    record_bus_outage(&mut world, 120);
    let failed = || EventBody::ComponentFailed {
        component: "account".to_owned(),
        error: "no answer within 5s".to_owned(),
    };
    let worse = || EventBody::HealthChanged {
        from: "healthy".to_owned(),
        to: "critical".to_owned(),
        reason: "account hangs".to_owned(),
    };
    let during = UtcMs(BEGIN.0 + 60_000);
    let mut all = vec![trader_event(7, before, failed())];
    all.extend((0..3).map(|n| trader_event(n, during, failed())));
    all.extend((0..2).map(|n| trader_event(n, during, worse())));
    world.receive_all(&all);
    let at_once = world.drain();
    assert_eq!(at_once.len(), 1);
    assert!(
        at_once[0].contains("Process: trader trader-07"),
        "{at_once:?}"
    );
    world.restart();
    let texts: Vec<String> = (0..3).flat_map(|_| run_minute(&mut world)).collect();
    assert_eq!(
        texts,
        [format!(
            "🔕 BUS OUTAGE SUMMARY\nDown: 2026-11-24 03:00:00 UTC to 2026-11-24 03:02:00 UTC (2m)\n\
             Affected traders: 3\nNames: trader-00, trader-01, trader-02\nNotifications in this summary: 5\n\
             3 × component failed\n2 × health changed\n{CHECK}"
        )]
    );
}

#[test]
fn inhibition_never_covers_what_needs_the_operator() {
    let mut world = World::new(SendLimits::NONE);
    record_bus_outage(&mut world, 60);
    let at = world.now().utc;
    let latched = EventBody::AccountLatched {
        account: "paper.binance-usdm.sim".parse().unwrap(),
        latch_id: "daily_loss-1".to_owned(),
        trigger: "daily_loss".to_owned(),
        equity: 9_000.into(),
        peak: 10_000.into(),
        positions: Vec::new(),
        by: None,
        reason: None,
    };
    let stays_down = EventBody::UnitRestartSkipped {
        unit: "trader-01".parse().unwrap(),
        reason: "it ended with 70 and has no --auto-restart".to_owned(),
        remedy: UnitRemedy::Start,
    };
    world.receive_all(&[
        incoming_event("a", at, critical_event(1)),
        incoming_event("b", at, latched),
        watchdog_event("c", at, stays_down),
        watchdog_event("d", at, restart(4, 3)),
    ]);
    let texts = world.drain();
    for expected in [
        "reason-1-",
        "EMERGENCY STOP",
        "RESTART SKIPPED",
        "silent-4-",
    ] {
        assert!(
            texts.iter().any(|text| text.contains(expected)),
            "{expected}: {texts:?}"
        );
    }
    assert_eq!(world.state.outages.inhibited_count(), 0);
}

#[test]
fn inhibited_restart_of_one_trader_is_sent_in_full_later() {
    let mut world = World::new(SendLimits::NONE);
    let at = world.now().utc;
    world.receive_all(&[watchdog_event("w", at, watchdog_started())]);
    world.drain();
    world.receive_all(&[watchdog_event("r", at, restart(1, 1))]);
    assert!(world.drain().is_empty(), "it waits for its group");
    let texts = run_minute(&mut world);
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(
        texts[0].starts_with("🔄 AUTO-RESTART TRIGGERED"),
        "{texts:?}"
    );
    assert!(texts[0].contains("silent-1-"), "{texts:?}");
}

#[test]
fn inhibition_by_a_long_watchdog_outage_lasts_five_minutes_at_most() {
    let mut world = World::new(SendLimits::NONE);
    world.commit(vec![DeliveryRecord::Queued {
        event: "watchdog-lost:b1:7".to_owned(),
        notifications: Vec::new(),
    }]);
    let mut texts = Vec::new();
    for number in 0..8 {
        let at = world.now().utc;
        world.receive_all(&[watchdog_event(
            &format!("r{number}"),
            at,
            restart(number, 1),
        )]);
        texts.extend(run_minute(&mut world));
    }
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(
        texts[0].starts_with("🔕 WATCHDOG OUTAGE SUMMARY\nDown: since ")
            && texts[0].contains("\nAffected traders: 5\n"),
        "{texts:?}"
    );
    world.commit(vec![DeliveryRecord::Queued {
        event: "watchdog-recovered:b1:8".to_owned(),
        notifications: Vec::new(),
    }]);
    texts = run_minute(&mut world);
    assert!(
        texts.len() == 1 && texts[0].contains("\nAffected traders: 3\n"),
        "{texts:?}"
    );
    let at = world.now().utc;
    world.receive_all(&[watchdog_event("late", at, restart(3, 1))]);
    assert_eq!(world.drain().len(), 1, "the outage is over");
}

#[test]
fn silence_also_covers_the_inhibition_summary() {
    let mut world = World::new(SendLimits::NONE);
    record_bus_outage(&mut world, 60);
    let at = world.now().utc;
    world.receive_all(&[
        watchdog_event("a", at, restart(1, 1)),
        watchdog_event("b", at, restart(2, 1)),
    ]);
    world.commit(vec![DeliveryRecord::SilenceStarted {
        unit: None,
        until: UtcMs(at.0 + 3_600_000),
    }]);
    let texts: Vec<String> = (0..3).flat_map(|_| run_minute(&mut world)).collect();
    assert!(texts.is_empty(), "{texts:?}");
    assert_eq!(world.state.silences[0].silenced_counts["inhibited"], 1);
}

#[test]
fn bus_outage_is_recorded_once_when_over_unless_short() {
    let at = |secs: i64| UtcMs(BEGIN.0 + secs * 1_000);
    let span = |since, until: Option<i64>| OutageSpan {
        since: at(since),
        until: until.map(at),
    };
    let mut world = World::new(SendLimits::NONE);
    let known = world.state.outages.clone();
    assert_eq!(known.outage_record(&span(0, None), None), None, "it lasts");
    assert_eq!(
        known.outage_record(&span(0, Some(4)), None),
        None,
        "it was short"
    );
    let recovered = known.outage_record(&span(0, None), Some(at(60)));
    world.commit(vec![recovered.unwrap()]);
    let known = &world.state.outages;
    assert_eq!(known.outage_record(&span(0, Some(60)), None), None, "known");
    assert!(known.outage_record(&span(0, Some(61)), None).is_some());
    assert!(known.outage_record(&span(90, Some(120)), None).is_some());
}
