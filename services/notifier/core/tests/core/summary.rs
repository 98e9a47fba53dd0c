//! The periodic summary, and the grade of a trader by its last heartbeat.

use std::collections::BTreeMap;

use bearish_notifier_core::record::DeliveryRecord;
use bearish_notifier_core::send_limiter::SendLimits;
use bearish_notifier_core::summary::{grade_process, last_settled_period, period, summary_record};
use protocol::heartbeat::{
    BookSummary, ComponentState, ComponentStatus, Health, Heartbeat, LastError, ProcessPhase,
};
use protocol::time::UtcMs;

use crate::support::{BEGIN, World};

fn heartbeat() -> Heartbeat {
    let part = |turns, state| ComponentStatus {
        iterations: turns,
        errors: 0,
        state,
        deadline_ms: None,
    };
    let parts = [
        ("feed".to_owned(), part(600, ComponentState::Ok)),
        ("fleet".to_owned(), part(45, ComponentState::Ok)),
    ];
    Heartbeat {
        v: 1,
        boot: "b1".parse().unwrap(),
        seq: 9,
        at: BEGIN,
        uptime_ms: 9_000_000,
        interval_ms: 5_000,
        phase: ProcessPhase::Running,
        health: Some(Health::Healthy),
        health_reason: None,
        components: BTreeMap::from(parts),
        candle_age_ms: Some(30_000),
        entries_decided: 3,
        errors: 1,
        errors_last_hour: 1,
        last_error: Some(LastError {
            at: UtcMs(BEGIN.0 - 60_000),
            component: "feed".to_owned(),
            text: "stream ended".to_owned(),
        }),
        lifetime: None,
        account: None,
        latch_id: None,
        books: vec![BookSummary {
            book: "paper.binance-usdm.exchange-sim-8080.BTCUSDT"
                .parse()
                .unwrap(),
            equity: "3308.62479212".parse().unwrap(),
            position_quantity: "-0.25".parse().unwrap(),
            trades: 4,
            halt_reason: None,
        }],
        blindness: None,
    }
}

#[test]
fn summary_has_the_specified_fields() {
    let name = "trader-paper-1".parse().unwrap();
    let DeliveryRecord::Queued {
        notifications,
        event,
    } = summary_record(7, &[(name, heartbeat())], false, BEGIN)
    else {
        unreachable!()
    };
    assert_eq!(event, "summary:7");
    assert_eq!(notifications[0].title, "💓 HEARTBEAT");
    assert_eq!(
        notifications[0].body,
        "PAPER trader-paper-1: 🟢 healthy\nUptime: 2.5h\nLoops: 645\nErrors: 1\nSignals: 3\n\
         Equity: 3308.62 USDT\nPositions: 1, Trades: 4\n\
         Last heartbeat: 2026-11-24 03:00:00 UTC (0s ago)\nLast error: feed: stream ended (60s ago)"
    );
}

/// Heartbeat of a trader that reports this health in this phase.
fn heartbeat_with(health: Health, why: Option<&str>, phase: ProcessPhase) -> Heartbeat {
    Heartbeat {
        phase,
        health: Some(health),
        health_reason: why.map(str::to_owned),
        ..heartbeat()
    }
}

#[test]
fn missing_heartbeat_or_halted_book_is_graded_critical() {
    let later = |ms| UtcMs(BEGIN.0 + ms);
    assert_eq!(
        grade_process(&heartbeat(), later(15_000)).0,
        Health::Healthy
    );
    assert_eq!(
        grade_process(&heartbeat(), later(15_001)).0,
        Health::Critical
    );
    let mut halted = heartbeat();
    halted.books[0].halt_reason = Some("panicked".to_owned());
    assert_eq!(grade_process(&halted, BEGIN).0, Health::Critical);
}

#[test]
fn reported_health_is_used_unless_starting_or_draining() {
    use Health::{Critical, Degraded, Healthy};
    let (many, stale) = (
        Some("11 errors in the last hour"),
        Some("candles are stale"),
    );
    let (starting, stopping) = (Some("starting"), Some("stopping"));
    for (health, why, phase, expected) in [
        (Healthy, None, ProcessPhase::Running, (Healthy, None)),
        (Degraded, many, ProcessPhase::Running, (Degraded, many)),
        (Critical, stale, ProcessPhase::Running, (Critical, stale)),
        (Healthy, None, ProcessPhase::Starting, (Degraded, starting)),
        (Degraded, many, ProcessPhase::Starting, (Degraded, many)),
        (Critical, stale, ProcessPhase::Starting, (Critical, stale)),
        (Healthy, None, ProcessPhase::Draining, (Degraded, stopping)),
    ] {
        let found = grade_process(&heartbeat_with(health, why, phase), BEGIN);
        assert_eq!((found.0, found.1.as_deref()), expected, "{phase:?}");
    }
    let mut retrying = heartbeat();
    retrying.components.get_mut("feed").unwrap().state = ComponentState::Retrying;
    assert_eq!(grade_process(&retrying, BEGIN), (Healthy, None));
}

#[test]
fn trader_without_own_health_is_graded_by_its_components() {
    let older = Heartbeat {
        health: None,
        ..heartbeat()
    };
    assert_eq!(grade_process(&older, BEGIN), (Health::Healthy, None));
    let mut retrying = older.clone();
    retrying.components.get_mut("feed").unwrap().state = ComponentState::Retrying;
    let (health, why) = grade_process(&retrying, BEGIN);
    assert_eq!(
        (health, why.as_deref()),
        (Health::Degraded, Some("feed is failing"))
    );
    let starting = Heartbeat {
        phase: ProcessPhase::Starting,
        ..older
    };
    assert_eq!(grade_process(&starting, BEGIN).0, Health::Degraded);
}

#[test]
fn summary_omits_traders_stopped_an_hour_ago() {
    let gone = Heartbeat {
        phase: ProcessPhase::Stopped,
        ..heartbeat()
    };
    let name = "trader-paper-9".parse().unwrap();
    let now = UtcMs(BEGIN.0 + 3_600_000);
    let DeliveryRecord::Queued { notifications, .. } =
        summary_record(8, &[(name, gone)], false, now)
    else {
        unreachable!()
    };
    assert!(
        notifications[0]
            .body
            .starts_with("No heartbeat of a trader received\n")
    );
}

#[test]
fn summary_shows_a_stopped_trader_without_equity_and_a_latch_with_its_id() {
    let stopped = Heartbeat {
        phase: ProcessPhase::Stopped,
        latch_id: Some("daily_loss-1".to_owned()),
        last_error: None,
        ..heartbeat()
    };
    let name = "trader-live-1".parse().unwrap();
    let now = UtcMs(BEGIN.0 + 120_000);
    let DeliveryRecord::Queued { notifications, .. } =
        summary_record(8, &[(name, stopped)], false, now)
    else {
        unreachable!()
    };
    assert_eq!(
        notifications[0].body,
        "LIVE trader-live-1: 🟡 degraded (stopped 2m ago)\nLast heartbeat: 2026-11-24 03:00:00 UTC (2m ago)\n\
         Latch: daily_loss-1, no entries until you unlatch the account"
    );
}

#[test]
fn summary_missed_while_down_is_sent_once_and_intervals_may_change() {
    const HOUR_MS: u64 = 3_600_000;
    let now = UtcMs(100 * 3_600_000);
    assert_eq!(
        last_settled_period(None, now, HOUR_MS),
        100,
        "nothing is due"
    );
    assert_eq!(
        last_settled_period(Some(97), now, HOUR_MS),
        97,
        "one is due"
    );
    assert_eq!(
        last_settled_period(Some(100), now, 24 * HOUR_MS),
        4,
        "the next day will be due"
    );
}

#[test]
fn summary_of_a_period_is_sent_once_across_restarts() {
    const HOUR_MS: u64 = 3_600_000;
    assert_eq!(period(UtcMs(7_199_999), HOUR_MS), 1);
    assert_eq!(period(UtcMs(7_200_000), HOUR_MS), 2);
    let mut world = World::new(SendLimits::NONE);
    for _ in 0..2 {
        let record = summary_record(2, &[], false, BEGIN);
        world.commit(vec![record]);
        world.restart();
    }
    assert_eq!(world.state.summary_period, Some(2));
    assert_eq!(world.drain().len(), 1);
}
