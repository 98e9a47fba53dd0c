//! The hourly heartbeat, and how a trader is judged by its last one.

use std::collections::BTreeMap;

use bearish_delivery::heartbeat::{judge, period, report, told_until};
use bearish_delivery::pace::Limits;
use bearish_delivery::record::Record;
use protocol::heartbeat::{BookSummary, Health, Heartbeat, LastError, Part, PartState, Phase};
use protocol::time::UtcMs;

use crate::support::{BEGIN, World};

fn beat() -> Heartbeat {
    let part = |turns, state| Part {
        turns,
        errors: 0,
        state,
        within_ms: None,
    };
    let parts = [
        ("feed".to_owned(), part(600, PartState::Ok)),
        ("fleet".to_owned(), part(45, PartState::Ok)),
    ];
    Heartbeat {
        v: 1,
        boot: "b1".parse().unwrap(),
        seq: 9,
        at: BEGIN,
        uptime_ms: 9_000_000,
        interval_ms: 5_000,
        phase: Phase::Running,
        health: Some(Health::Healthy),
        health_why: None,
        parts: BTreeMap::from(parts),
        candle_age_ms: Some(30_000),
        signals: 3,
        errors: 1,
        errors_last_hour: 1,
        last_error: Some(LastError {
            at: UtcMs(BEGIN.0 - 60_000),
            part: "feed".to_owned(),
            text: "stream ended".to_owned(),
        }),
        account: None,
        latch: None,
        books: vec![BookSummary {
            book: "paper.binance-usdm.exchange-sim-8080.BTCUSDT"
                .parse()
                .unwrap(),
            equity: "3308.62479212".parse().unwrap(),
            position: "-0.25".parse().unwrap(),
            trades: 4,
            halted: None,
        }],
    }
}

#[test]
fn it_shows_the_seeds_fields() {
    let name = "trader-paper-1".parse().unwrap();
    let Record::Queued { letters, event } = report(7, &[(name, beat())], false, BEGIN) else {
        unreachable!()
    };
    assert_eq!(event, "heartbeat:7");
    assert_eq!(letters[0].head, "💓 HEARTBEAT");
    assert_eq!(
        letters[0].body,
        "trader-paper-1: 🟢 healthy\nUptime: 2.5h\nLoops: 645\nErrors: 1\nSignals: 3\n\
         Equity: 3308.62 USDT\nPositions: 1, Trades: 4\n\
         Last error: feed: stream ended (1m ago)"
    );
}

/// A trader that says of itself that it is so well, in this phase.
fn says(health: Health, why: Option<&str>, phase: Phase) -> Heartbeat {
    Heartbeat {
        phase,
        health: Some(health),
        health_why: why.map(str::to_owned),
        ..beat()
    }
}

#[test]
fn silence_and_halted_books_are_critical_whatever_the_trader_says_of_itself() {
    let later = |ms| UtcMs(BEGIN.0 + ms);
    assert_eq!(judge(&beat(), later(15_000)).0, Health::Healthy);
    assert_eq!(judge(&beat(), later(15_001)).0, Health::Critical);
    let mut halted = beat();
    halted.books[0].halted = Some("panicked".to_owned());
    assert_eq!(judge(&halted, BEGIN).0, Health::Critical);
}

#[test]
fn the_word_is_the_traders_own_and_one_that_starts_or_ends_is_never_healthy() {
    use Health::{Critical, Degraded, Healthy};
    let (many, stale) = (
        Some("11 errors in the last hour"),
        Some("candles are stale"),
    );
    let (starting, ending) = (Some("starting"), Some("ending"));
    for (health, why, phase, expected) in [
        (Healthy, None, Phase::Running, (Healthy, None)),
        (Degraded, many, Phase::Running, (Degraded, many)),
        (Critical, stale, Phase::Running, (Critical, stale)),
        (Healthy, None, Phase::Starting, (Degraded, starting)),
        (Degraded, many, Phase::Starting, (Degraded, many)),
        (Critical, stale, Phase::Starting, (Critical, stale)),
        (Healthy, None, Phase::Draining, (Degraded, ending)),
    ] {
        let found = judge(&says(health, why, phase), BEGIN);
        assert_eq!((found.0, found.1.as_deref()), expected, "{phase:?}");
    }
    let mut retrying = beat();
    retrying.parts.get_mut("feed").unwrap().state = PartState::Retrying;
    assert_eq!(judge(&retrying, BEGIN), (Healthy, None));
}

#[test]
fn an_older_trader_that_does_not_judge_itself_is_judged_by_its_parts() {
    let older = Heartbeat {
        health: None,
        ..beat()
    };
    assert_eq!(judge(&older, BEGIN), (Health::Healthy, None));
    let mut retrying = older.clone();
    retrying.parts.get_mut("feed").unwrap().state = PartState::Retrying;
    let (health, why) = judge(&retrying, BEGIN);
    assert_eq!(
        (health, why.as_deref()),
        (Health::Degraded, Some("feed has trouble"))
    );
    let starting = Heartbeat {
        phase: Phase::Starting,
        ..older
    };
    assert_eq!(judge(&starting, BEGIN).0, Health::Degraded);
}

#[test]
fn who_left_long_ago_is_not_mentioned_and_nobody_is_said_so() {
    let gone = Heartbeat {
        phase: Phase::Stopped,
        ..beat()
    };
    let name = "trader-paper-9".parse().unwrap();
    let now = UtcMs(BEGIN.0 + 3_600_000);
    let Record::Queued { letters, .. } = report(8, &[(name, gone)], false, now) else {
        unreachable!()
    };
    assert_eq!(letters[0].body, "No trader has been heard of");
}

#[test]
fn what_passed_while_nobody_told_is_owed_once_and_longer_periods_are_no_end() {
    const HOUR_MS: u64 = 3_600_000;
    let now = UtcMs(100 * 3_600_000);
    assert_eq!(told_until(None, now, HOUR_MS), 100, "nothing is owed");
    assert_eq!(told_until(Some(97), now, HOUR_MS), 97, "one is owed");
    assert_eq!(
        told_until(Some(100), now, 24 * HOUR_MS),
        4,
        "the fifth day will be"
    );
}

#[test]
fn a_period_is_told_once_also_after_a_restart() {
    const HOUR_MS: u64 = 3_600_000;
    assert_eq!(period(UtcMs(7_199_999), HOUR_MS), 1);
    assert_eq!(period(UtcMs(7_200_000), HOUR_MS), 2);
    let mut world = World::new(Limits::NONE);
    for _ in 0..2 {
        let record = report(2, &[], false, BEGIN);
        world.commit(vec![record]);
        world.restart();
    }
    assert_eq!(world.state.heartbeat, Some(2));
    assert_eq!(world.drain().len(), 1);
}
