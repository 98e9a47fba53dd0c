//! Tests of the limits.

use super::*;
use reqwest::header::{DATE, HeaderValue};

fn headers(pairs: &[(&str, &'static str)]) -> HeaderMap {
    let pairs = pairs.iter().map(|(name, value)| {
        (
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_static(value),
        )
    });
    pairs.collect()
}

fn limited(scope: LimitScope, stated: Option<Duration>) -> Failure {
    Failure::Limited {
        status: 429,
        code: None,
        message: String::new(),
        scope,
        stated,
    }
}

const QUERIES: [Priority; 3] = [Priority::Ordinary, Priority::Entry, Priority::Vital];

#[test]
fn calls_pause_at_the_high_water_mark_and_continue_after_a_minute() {
    let (limits, now) = (Limits::default(), Instant::now());
    limits.answered(&headers(&[("x-mbx-used-weight-1m", "1899")]), now);
    assert_eq!(limits.closed_for(Priority::Ordinary, now), None);
    limits.answered(&headers(&[("X-MBX-USED-WEIGHT-1M", "1900")]), now);
    assert_eq!(limits.closed_for(Priority::Ordinary, now), Some(MINUTE));
    assert_eq!(limits.closed_for(Priority::Entry, now), Some(MINUTE));
    assert_eq!(
        limits.closed_for(Priority::Vital, now),
        None,
        "the reserve is for what protects"
    );
    assert_eq!(limits.closed_for(Priority::Ordinary, now + MINUTE), None);
}

#[test]
fn pause_ends_with_the_exchanges_minute() {
    let (limits, now) = (Limits::default(), Instant::now());
    let mut full = headers(&[("x-mbx-used-weight-1m", "2300")]);
    full.insert(
        DATE,
        HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"),
    );
    limits.answered(&full, now);
    let left = limits.closed_for(Priority::Ordinary, now);
    assert_eq!(left, Some(Duration::from_secs(24)));
}

#[test]
fn missing_and_unreadable_headers_keep_the_last_number() {
    let (limits, now) = (Limits::default(), Instant::now());
    for (value, used) in [
        (Some("17"), 17),
        (None, 17),
        (Some("many"), 17),
        (Some("3"), 3),
    ] {
        let pairs: Vec<_> = value
            .map(|v| ("x-mbx-used-weight-1m", v))
            .into_iter()
            .collect();
        limits.answered(&headers(&pairs), now);
        assert_eq!(limits.used_weight(), used, "{value:?}");
    }
}

#[test]
fn entries_wait_for_the_next_window_once_one_is_nearly_full() {
    let (limits, now) = (Limits::default(), Instant::now());
    let counts = |ten, minute| {
        headers(&[
            ("x-mbx-order-count-10s", ten),
            ("X-Mbx-Order-Count-1m", minute),
        ])
    };
    limits.answered(&counts("199", "899"), now);
    assert_eq!(limits.closed_for(Priority::Entry, now), None);
    limits.answered(&counts("200", "1"), now);
    assert_eq!(limits.closed_for(Priority::Entry, now), Some(TEN_SECONDS));
    limits.answered(&counts("1", "900"), now);
    assert_eq!(limits.closed_for(Priority::Entry, now), Some(MINUTE));
    assert_eq!(limits.closed_for(Priority::Ordinary, now), None);
    assert_eq!(limits.closed_for(Priority::Vital, now), None);
    assert_eq!(limits.closed_for(Priority::Entry, now + MINUTE), None);
}

#[test]
fn a_shorter_pause_does_not_end_a_longer_one() {
    let (limits, now) = (Limits::default(), Instant::now());
    for seconds in [120, 1] {
        let stated = Duration::from_secs(seconds);
        let refused = limited(LimitScope::Calls, Some(stated));
        limits.judged(Priority::Ordinary, Some(&refused), now);
    }
    for priority in QUERIES {
        let left = limits.closed_for(priority, now);
        assert_eq!(left, Some(Duration::from_mins(2)), "{priority:?}");
    }
}

#[test]
fn refusal_without_a_wait_pauses_protecting_calls_only_shortly_at_first() {
    let (limits, mut now) = (Limits::default(), Instant::now());
    let refused = limited(LimitScope::Calls, None);
    for seconds in [2, 4, 8, 16, 32, 60, 60] {
        for _ in 0..3 {
            // Calls in flight are refused together: that is one refusal.
            limits.judged(Priority::Ordinary, Some(&refused), now);
        }
        assert_eq!(limits.closed_for(Priority::Ordinary, now), Some(MINUTE));
        let vital = limits.closed_for(Priority::Vital, now);
        assert_eq!(vital, Some(Duration::from_secs(seconds)));
        now += Duration::from_secs(seconds);
    }
    let later = now + MINUTE;
    limits.judged(Priority::Ordinary, None, later);
    limits.judged(Priority::Ordinary, Some(&refused), later);
    let vital = limits.closed_for(Priority::Vital, later);
    assert_eq!(vital, Some(Duration::from_secs(2)), "a success resets it");
}

#[test]
fn too_many_orders_pause_entries_only() {
    let (limits, now) = (Limits::default(), Instant::now());
    let refused = limited(LimitScope::Orders, None);
    limits.judged(Priority::Ordinary, Some(&refused), now);
    assert_eq!(limits.closed_for(Priority::Entry, now), Some(TEN_SECONDS));
    assert_eq!(limits.closed_for(Priority::Ordinary, now), None);
    assert_eq!(limits.closed_for(Priority::Vital, now), None);
}

#[test]
fn refusal_of_a_query_holds_back_no_stop_and_one_of_an_order_no_query() {
    for (refused_call, open, closed) in [
        (
            Priority::Ordinary,
            [Priority::Protective].as_slice(),
            QUERIES.as_slice(),
        ),
        (
            Priority::Protective,
            &[Priority::Ordinary, Priority::Vital],
            &[Priority::Entry, Priority::Protective],
        ),
    ] {
        for stated in [None, Some(MINUTE)] {
            let (limits, now) = (Limits::default(), Instant::now());
            let refused = limited(LimitScope::Calls, stated);
            limits.judged(refused_call, Some(&refused), now);
            for priority in open {
                assert_eq!(limits.closed_for(*priority, now), None, "{priority:?}");
            }
            for priority in closed {
                assert!(limits.closed_for(*priority, now).is_some(), "{priority:?}");
            }
        }
    }
}

#[test]
fn stop_is_sent_again_two_seconds_after_a_refusal_that_stated_no_wait() {
    let (limits, now) = (Limits::default(), Instant::now());
    let refused = limited(LimitScope::Calls, None);
    limits.judged(Priority::Protective, Some(&refused), now);
    let stop = limits.closed_for(Priority::Protective, now);
    assert_eq!(stop, Some(FIRST_VITAL_PAUSE));
    let entry = limits.closed_for(Priority::Entry, now);
    assert_eq!(entry, Some(TEN_SECONDS), "the shorter window of orders");
    // An answered query says nothing about orders.
    limits.judged(Priority::Ordinary, None, now);
    let now = now + FIRST_VITAL_PAUSE;
    limits.judged(Priority::Protective, Some(&refused), now);
    let stop = limits.closed_for(Priority::Protective, now);
    assert_eq!(stop, Some(2 * FIRST_VITAL_PAUSE));
}

#[test]
fn page_of_a_firewall_pauses_shortly_and_an_answer_ends_the_pause() {
    let (limits, mut now) = (Limits::default(), Instant::now());
    let page = Failure::Limited {
        status: 403,
        code: None,
        message: String::new(),
        scope: LimitScope::Calls,
        stated: None,
    };
    let closed = |priority, now| limits.closed_for(priority, now).map(|left| left.as_secs());
    for (ordinary, vital) in [(1, 1), (2, 2), (4, 4), (8, 4), (16, 4), (32, 4), (60, 4)] {
        limits.judged(Priority::Vital, Some(&page), now);
        assert_eq!(closed(Priority::Ordinary, now), Some(ordinary));
        assert_eq!(closed(Priority::Vital, now), Some(vital));
        assert_eq!(closed(Priority::Protective, now), None);
        now += Duration::from_secs(vital);
    }
    limits.judged(Priority::Vital, None, now);
    for priority in QUERIES {
        assert_eq!(closed(priority, now), None, "{priority:?}");
    }
}

#[test]
fn ban_pauses_every_call() {
    let (limits, now) = (Limits::default(), Instant::now());
    let ban = Failure::Limited {
        status: 418,
        code: Some(-1003),
        message: String::new(),
        scope: LimitScope::Calls,
        stated: Some(2 * MINUTE),
    };
    limits.judged(Priority::Ordinary, Some(&ban), now);
    for priority in QUERIES.into_iter().chain([Priority::Protective]) {
        let left = limits.closed_for(priority, now);
        assert_eq!(left, Some(2 * MINUTE), "{priority:?}");
    }
}

#[test]
fn queries_in_flight_cannot_take_the_reserve() {
    let (limits, now) = (Limits::default(), Instant::now());
    limits.answered(&headers(&[("x-mbx-used-weight-1m", "1800")]), now);
    let mut in_flight = Vec::new();
    while let Ok(call) = limits.begin(Priority::Ordinary, 10, now) {
        in_flight.push(call);
    }
    assert_eq!(in_flight.len(), 10, "up to the high-water mark");
    let vital = limits.begin(Priority::Vital, 5, now);
    assert!(vital.is_ok(), "the reserve is for what protects");
    let stop = limits.begin(Priority::Protective, 1, now);
    assert!(stop.is_ok());
    in_flight.pop();
    assert!(limits.begin(Priority::Ordinary, 5, now).is_ok());
}

#[test]
fn entries_in_flight_cannot_take_the_reserve() {
    let (limits, now) = (Limits::default(), Instant::now());
    limits.answered(&headers(&[("x-mbx-order-count-10s", "195")]), now);
    let mut in_flight = Vec::new();
    while let Ok(call) = limits.begin(Priority::Entry, 1, now) {
        in_flight.push(call);
    }
    assert_eq!(in_flight.len(), 5);
    assert!(limits.begin(Priority::Protective, 1, now).is_ok());
    assert!(limits.begin(Priority::Ordinary, 1, now).is_ok());
}

#[test]
fn call_heavier_than_the_room_is_made_when_nothing_else_is_in_flight() {
    let (limits, now) = (Limits::default(), Instant::now());
    limits.answered(&headers(&[("x-mbx-used-weight-1m", "1899")]), now);
    assert!(limits.begin(Priority::Ordinary, 40, now).is_ok());
}
