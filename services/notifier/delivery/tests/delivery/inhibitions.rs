//! Inhibition in virtual time: what an absence of the bus or the watchdog does to traders is one message; what
//! needs a person is never held, and nothing is lost.

use bearish_delivery::inhibition;
use bearish_delivery::lifeline::Absence;
use bearish_delivery::news::News;
use bearish_delivery::pace::Limits;
use bearish_delivery::record::Record;
use protocol::event::{Event, EventBody};
use protocol::ids::Service;
use protocol::time::UtcMs;

use crate::support::{BEGIN, World, critical, news};

fn restart(unit: usize, consecutive: u32) -> EventBody {
    EventBody::RestartTriggered {
        unit: format!("trader-{unit:02}").parse().unwrap(),
        attempt: 1,
        max: 1000,
        reason: format!("silent-{unit}-"),
        consecutive,
        uptime_ms: 60_000,
        delay_ms: 30_000,
        exit: None,
        evidence: None,
    }
}

fn of_watchdog(id: &str, at: UtcMs, body: EventBody) -> News {
    News::Known {
        service: Service::Watchdog,
        instance: "watchdog-1".parse().unwrap(),
        event: Event::new(id, at, body),
    }
}

fn of_trader(number: usize, at: UtcMs, body: EventBody) -> News {
    let id = format!("{}:trader-{number:02}", body.kind());
    News::Known {
        service: Service::Trader,
        instance: format!("trader-{number:02}").parse().unwrap(),
        event: Event::new(id, at, body),
    }
}

fn watchdog_started() -> EventBody {
    EventBody::WatchdogStarted {
        project: "bearish-alpha".parse().unwrap(),
        version: "0.1.0".to_owned(),
    }
}

fn bus_was_away(world: &mut World, secs: i64) {
    let until = world.now().utc;
    let since = UtcMs(until.0 - secs * 1_000);
    world.commit(vec![Record::BusWasAway { since, until }]);
}

/// A minute goes by, second by second; what went out.
fn minute(world: &mut World) -> Vec<String> {
    let mut texts = Vec::new();
    for _ in 0..61 {
        while let Some(records) = inhibition::due(&world.state, world.now().utc) {
            world.commit(records);
        }
        texts.extend(world.drain());
        world.pass(1_000);
    }
    texts
}

#[test]
fn what_a_host_that_was_away_did_to_its_traders_is_one_message_that_names_them() {
    let mut world = World::new(Limits::NONE);
    let at = world.now().utc;
    let mut all = vec![of_watchdog("w", at, watchdog_started())];
    all.extend((0..25).map(|n| of_watchdog(&format!("r{n}"), at, restart(n, 1))));
    world.hear_all(&all);
    assert_eq!(
        world.drain(),
        ["🐕 WATCHDOG STARTED\nProject: bearish-alpha\nVersion: 0.1.0"]
    );
    let texts = minute(&mut world);
    let names: Vec<String> = (0..20).map(|n| format!("trader-{n:02}")).collect();
    assert_eq!(
        texts,
        [format!(
            "🔕 THE WATCHDOG WAS AWAY: 25 traders, 25 messages in one\n\
             The watchdog was away until 2026-11-24T03:00:00.000Z: this came of it, and is not told one by one\n\
             Traders: {} and 5 more\n25 × restart triggered",
            names.join(", ")
        )]
    );
    world.hear_all(&all);
    assert!(
        minute(&mut world).is_empty(),
        "told again when the bus brings it again"
    );
}

#[test]
fn what_the_bus_did_to_traders_is_one_message_and_what_came_before_it_another() {
    let mut world = World::new(Limits::NONE);
    let before = UtcMs(BEGIN.0 - 1);
    world.pass(120_000);
    bus_was_away(&mut world, 120);
    let failed = || EventBody::PartFailed {
        part: "account".to_owned(),
        error: "no answer within 5s".to_owned(),
    };
    let worse = || EventBody::HealthChanged {
        from: "healthy".to_owned(),
        to: "critical".to_owned(),
        reason: "account hangs".to_owned(),
    };
    let during = UtcMs(BEGIN.0 + 60_000);
    let mut all = vec![of_trader(7, before, failed())];
    all.extend((0..3).map(|n| of_trader(n, during, failed())));
    all.extend((0..2).map(|n| of_trader(n, during, worse())));
    world.hear_all(&all);
    let at_once = world.drain();
    assert_eq!(at_once.len(), 1);
    assert!(at_once[0].contains("From: trader trader-07"), "{at_once:?}");
    world.restart();
    let texts: Vec<String> = (0..3).flat_map(|_| minute(&mut world)).collect();
    assert_eq!(
        texts,
        ["🔕 THE BUS WAS AWAY: 3 traders, 5 messages in one\n\
          The bus was away from 2026-11-24T03:00:00.000Z to 2026-11-24T03:02:00.000Z: this came of it, and is \
          not told one by one\nTraders: trader-00, trader-01, trader-02\n2 × health changed\n3 × part failed"]
    );
}

#[test]
fn what_needs_a_person_is_never_held() {
    let mut world = World::new(Limits::NONE);
    bus_was_away(&mut world, 60);
    let at = world.now().utc;
    let latched = EventBody::AccountLatched {
        account: "paper.binance-usdm.sim".parse().unwrap(),
        latch: "daily_loss-1".to_owned(),
        breaker: "daily_loss".to_owned(),
        equity: 9_000.into(),
        peak: 10_000.into(),
        said: None,
    };
    let stays_down = EventBody::UnitObservedOnly {
        unit: "trader-01".parse().unwrap(),
        reason: "it ended with 70 and has no --auto-restart".to_owned(),
    };
    world.hear_all(&[
        news("a", at, critical(1)),
        news("b", at, latched),
        of_watchdog("c", at, stays_down),
        of_watchdog("d", at, restart(4, 3)),
    ]);
    let texts = world.drain();
    for text in ["reason-1-", "EMERGENCY STOP", "ONLY OBSERVED", "silent-4-"] {
        assert!(
            texts.iter().any(|said| said.contains(text)),
            "{text}: {texts:?}"
        );
    }
    assert_eq!(world.state.outages.held(), 0);
}

#[test]
fn one_trader_alone_is_told_in_full_a_little_later() {
    let mut world = World::new(Limits::NONE);
    let at = world.now().utc;
    world.hear_all(&[of_watchdog("w", at, watchdog_started())]);
    world.drain();
    world.hear_all(&[of_watchdog("r", at, restart(1, 1))]);
    assert!(world.drain().is_empty(), "it waits for others");
    let texts = minute(&mut world);
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(
        texts[0].starts_with("🔄 AUTO-RESTART TRIGGERED"),
        "{texts:?}"
    );
    assert!(texts[0].contains("silent-1-"), "{texts:?}");
}

#[test]
fn a_silence_of_the_watchdog_that_lasts_holds_nothing_for_more_than_five_minutes() {
    let mut world = World::new(Limits::NONE);
    world.commit(vec![Record::Queued {
        event: "watchdog-silent:b1:7".to_owned(),
        letters: Vec::new(),
    }]);
    let mut texts = Vec::new();
    for number in 0..8 {
        let at = world.now().utc;
        world.hear_all(&[of_watchdog(&format!("r{number}"), at, restart(number, 1))]);
        texts.extend(minute(&mut world));
    }
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(
        texts[0].starts_with("🔕 THE WATCHDOG IS SILENT: 5 traders, 5 messages in one\n"),
        "{texts:?}"
    );
    world.commit(vec![Record::Queued {
        event: "watchdog-back:b1:8".to_owned(),
        letters: Vec::new(),
    }]);
    texts = minute(&mut world);
    assert!(
        texts.len() == 1 && texts[0].starts_with("🔕 THE WATCHDOG WAS AWAY: 3 traders"),
        "{texts:?}"
    );
    let at = world.now().utc;
    world.hear_all(&[of_watchdog("late", at, restart(3, 1))]);
    assert_eq!(world.drain().len(), 1, "it is over: told as always");
}

#[test]
fn an_owner_who_wants_silence_has_it() {
    let mut world = World::new(Limits::NONE);
    bus_was_away(&mut world, 60);
    let at = world.now().utc;
    world.hear_all(&[
        of_watchdog("a", at, restart(1, 1)),
        of_watchdog("b", at, restart(2, 1)),
    ]);
    world.commit(vec![Record::Silenced {
        name: None,
        until: UtcMs(at.0 + 3_600_000),
    }]);
    let texts: Vec<String> = (0..3).flat_map(|_| minute(&mut world)).collect();
    assert!(texts.is_empty(), "{texts:?}");
    assert_eq!(world.state.silences[0].hushed["held"], 1);
}

#[test]
fn an_absence_of_the_bus_is_recorded_once_it_is_over_and_once_unless_it_was_short() {
    let at = |secs: i64| UtcMs(BEGIN.0 + secs * 1_000);
    let absence = |since, until: Option<i64>| Absence {
        since: at(since),
        until: until.map(at),
    };
    let mut world = World::new(Limits::NONE);
    let known = world.state.outages.clone();
    assert_eq!(known.news_of(&absence(0, None), None), None, "it lasts");
    assert_eq!(
        known.news_of(&absence(0, Some(4)), None),
        None,
        "it was short"
    );
    let seen_back = known.news_of(&absence(0, None), Some(at(60)));
    world.commit(vec![seen_back.unwrap()]);
    let known = &world.state.outages;
    assert_eq!(known.news_of(&absence(0, Some(60)), None), None, "known");
    assert!(known.news_of(&absence(0, Some(61)), None).is_some());
    assert!(known.news_of(&absence(90, Some(120)), None).is_some());
}
