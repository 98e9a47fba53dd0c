//! Candles of a book while the exchange has no fault: order, uniqueness, refills, queue.

use std::time::{Duration, Instant};

use exchange::{DataClient, FeedEvent};
use protocol::heartbeat::ComponentState;
use trader_core::fixed_point::Price;

use crate::test_exchange::{Exchange, at};
use crate::test_feed::{assert_quiet, caught_up, minutes, next, quick, run, token};

#[tokio::test]
async fn a_book_gets_the_past_from_rest_and_the_present_from_the_stream() {
    let (exchange, rig, mut book) = caught_up(quick(), 3).await;
    exchange.add_and_stream_candle("BTCUSDT", 3);
    let event = next(&mut book).await;
    let FeedEvent::Candle(candle) = event else {
        panic!("{event:?}");
    };
    let (market_now, caught_up) = (book.market_now(), book.is_caught_up());
    assert_eq!(candle.open_time, at(3));
    assert!(market_now >= at(4), "{market_now}");
    assert!(caught_up);
    assert_eq!(
        rig.client.feed_stats().closed_until()[&token("BTCUSDT")],
        at(4)
    );
    assert_eq!(rig.client.feed_stats().component_status().errors, 0);
}

#[tokio::test]
async fn only_the_last_candle_of_the_past_is_caught_up() {
    let exchange = Exchange::open().await;
    (0..5).for_each(|m| exchange.add_candle("BTCUSDT", m));
    let rig = run(quick(), &exchange.addresses());
    let mut book = rig.book("BTCUSDT").await;
    for minute in 0..5 {
        let event = next(&mut book).await;
        assert!(
            matches!(event, FeedEvent::Candle(_)) && book.is_caught_up() == (minute == 4),
            "{minute}: {event:?}"
        );
    }
}

#[tokio::test]
async fn a_start_time_leaves_out_what_was_before() {
    let exchange = Exchange::open().await;
    (0..9).for_each(|m| exchange.add_candle("BTCUSDT", m));
    let rig = run(quick(), &exchange.addresses());
    let mut book = rig.client.subscribe(token("BTCUSDT"), at(6)).await.unwrap();
    assert_eq!(minutes(&mut book, 3).await, [6, 7, 8]);
}

#[tokio::test]
async fn candles_sent_twice_late_or_out_of_order_arrive_once_and_in_order() {
    let (exchange, _rig, mut book) = caught_up(quick(), 2).await;
    (2..6).for_each(|m| exchange.add_candle("BTCUSDT", m));
    for minute in [2, 2, 5, 3, 5, 1, 4, 3, 0] {
        exchange.stream_candle("BTCUSDT", minute);
    }
    assert_eq!(minutes(&mut book, 4).await, [2, 3, 4, 5]);
    exchange.add_and_stream_candle("BTCUSDT", 6);
    assert_eq!(minutes(&mut book, 1).await, [6]);
    assert_quiet(&mut book).await;
}

#[tokio::test]
async fn a_candle_the_stream_dropped_is_fetched_when_the_next_one_comes() {
    let (exchange, _rig, mut book) = caught_up(quick(), 2).await;
    exchange.add_candle("BTCUSDT", 2);
    exchange.add_candle("BTCUSDT", 3);
    exchange.add_and_stream_candle("BTCUSDT", 4);
    assert_eq!(minutes(&mut book, 3).await, [2, 3, 4]);
}

#[tokio::test]
async fn streamed_candle_with_an_absurd_jump_is_compared_with_rest() {
    let (exchange, rig, mut book) = caught_up(quick(), 2).await;
    for (rejected, minute, price) in [(1, 2, 205), (2, 3, 49), (3, 4, 300)] {
        exchange.stream_candle_at_price("BTCUSDT", minute, price);
        rig.wait_for_errors(rejected).await;
        // REST is behind the stream, and is asked until it has the candle.
        exchange.add_candle("BTCUSDT", minute);
        let event = next(&mut book).await;
        let FeedEvent::Candle(candle) = event else {
            panic!("{event:?}");
        };
        let price: Price = (100 + minute).to_string().parse().unwrap();
        assert_eq!((candle.open_time, candle.close), (at(minute), price));
    }
    assert_eq!(
        rig.client.feed_stats().component_status().errors,
        3,
        "one for each"
    );
    // Twice the last close is still allowed.
    exchange.stream_candle_at_price("BTCUSDT", 5, 208);
    let event = next(&mut book).await;
    assert!(
        matches!(&event, FeedEvent::Candle(candle) if candle.close == "208".parse().unwrap()),
        "{event:?}"
    );
}

#[tokio::test]
async fn a_candle_that_changes_after_its_close_is_not_delivered_again() {
    let (exchange, _rig, mut book) = caught_up(quick(), 2).await;
    exchange.add_and_stream_candle("BTCUSDT", 2);
    exchange.stream_candle_at_price("BTCUSDT", 2, 999);
    exchange.add_and_stream_candle("BTCUSDT", 3);
    for (minute, price) in [(2, "102"), (3, "103")] {
        let event = next(&mut book).await;
        let FeedEvent::Candle(candle) = event else {
            panic!("{event:?}");
        };
        let price: Price = price.parse().unwrap();
        assert_eq!((candle.open_time, candle.close), (at(minute), price));
    }
}

#[tokio::test]
async fn gap_of_the_exchange_itself_does_not_stop_the_series() {
    let (exchange, _rig, mut book) = caught_up(quick(), 2).await;
    exchange.add_and_stream_candle("BTCUSDT", 5);
    assert_eq!(minutes(&mut book, 1).await, [5]);
    // Candles 2, 3 and 4 were requested three times before that.
    assert_eq!(exchange.activity_count("klines BTCUSDT from 2"), 3);
}

#[tokio::test]
async fn a_book_with_a_full_queue_blocks_no_other_and_misses_nothing() {
    let mut settings = quick();
    settings.queue = 4;
    let exchange = Exchange::open().await;
    let rig = run(settings, &exchange.addresses());
    let mut slow = rig.book("BTCUSDT").await;
    let mut quick = rig.book("ETHUSDT").await;
    exchange
        .wait_for_activity("SUBSCRIBE btcusdt@kline_1m", 1)
        .await;
    exchange
        .wait_for_activity("SUBSCRIBE ethusdt@kline_1m", 1)
        .await;
    // More candles than the slow book's queue and its series hold.
    for minute in 0..2_600 {
        exchange.add_and_stream_candle("BTCUSDT", minute);
        exchange.add_and_stream_candle("ETHUSDT", minute);
        assert_eq!(minutes(&mut quick, 1).await, [minute]);
    }
    assert_eq!(
        minutes(&mut slow, 2_600).await,
        (0..2_600).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_past_longer_than_one_answer_comes_whole() {
    let exchange = Exchange::open().await;
    (0..3_200).for_each(|m| exchange.add_candle("BTCUSDT", m));
    let rig = run(quick(), &exchange.addresses());
    let mut book = rig.book("BTCUSDT").await;
    assert_eq!(
        minutes(&mut book, 3_200).await,
        (0..3_200).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn books_start_and_end_on_one_connection() {
    let (exchange, rig, mut first) = caught_up(quick(), 1).await;
    let mut second = rig.book("ETHUSDT").await;
    exchange
        .wait_for_activity("SUBSCRIBE ethusdt@kline_1m", 1)
        .await;
    exchange.add_and_stream_candle("ETHUSDT", 0);
    assert_eq!(minutes(&mut second, 1).await, [0]);
    drop(second);
    exchange
        .wait_for_activity("UNSUBSCRIBE ethusdt@kline_1m", 1)
        .await;
    exchange.add_and_stream_candle("BTCUSDT", 1);
    assert_eq!(minutes(&mut first, 1).await, [1]);
    assert_eq!(exchange.activity_count("connect /market/stream"), 1);
    assert!(
        !rig.client
            .feed_stats()
            .closed_until()
            .contains_key(&token("ETHUSDT"))
    );
}

#[tokio::test]
async fn refused_symbol_is_queried_again_and_keeps_the_stream_of_the_others() {
    let (exchange, rig, mut good) = caught_up(quick(), 1).await;
    let mut bad = rig.book("FOOUSDT").await;
    rig.wait_for_state(ComponentState::Ok).await;
    let (mut refused, mut stale) = (0, 0);
    // Its candles become stale, and are refused again: that says nothing about the stream.
    (1..9).for_each(|m| exchange.add_and_stream_candle("BTCUSDT", m));
    assert_eq!(minutes(&mut good, 8).await, (1..9).collect::<Vec<_>>());
    while refused < 3 || stale == 0 {
        match next(&mut bad).await {
            FeedEvent::Refused { reason } if reason.contains("Invalid symbol") => refused += 1,
            FeedEvent::Stale { .. } => stale += 1,
            other => panic!("{other:?}"),
        }
    }
    for _ in 0..3 {
        let event = next(&mut bad).await;
        assert!(matches!(event, FeedEvent::Refused { .. }), "{event:?}");
    }
    assert_eq!(exchange.activity_count("connect /market/stream"), 1);
}

#[tokio::test]
async fn a_stop_ends_the_task_and_its_connections() {
    let (exchange, mut rig, mut book) = caught_up(quick(), 1).await;
    rig.shutdown.cancel();
    assert_eq!(rig.wait_for_end().await, Ok(()));
    assert_eq!(book.recv().await, None);
    assert!(rig.client.subscribe(token("BTCUSDT"), at(0)).await.is_err());
    exchange
        .wait_for_activity("gone", exchange.activity_count("connect"))
        .await;
}

#[tokio::test]
async fn the_clock_follows_the_stream_and_never_goes_back() {
    let (exchange, rig, mut book) = caught_up(quick(), 1).await;
    let mut clock = rig.client.clock().watch();
    exchange.add_and_stream_candle("BTCUSDT", 1);
    minutes(&mut book, 1).await;
    assert!(*clock.wait_for(|now| *now >= at(2)).await.unwrap() < at(3));
    // A late message with an old time.
    exchange.stream_candle("BTCUSDT", 0);
    exchange.add_and_stream_candle("BTCUSDT", 2);
    minutes(&mut book, 1).await;
    assert!(rig.client.clock().now() >= at(3));
}

#[tokio::test]
async fn a_failing_rest_side_delays_the_past_and_loses_nothing() {
    let exchange = Exchange::open().await;
    (0..3).for_each(|m| exchange.add_candle("BTCUSDT", m));
    exchange.set_fault("klines", Some(crate::rest::status(503)));
    let rig = run(quick(), &exchange.addresses());
    let mut book = rig.book("BTCUSDT").await;
    exchange.wait_for_activity("klines BTCUSDT", 3).await;
    let error = rig.client.feed_stats().last_error().unwrap().text;
    assert!(error.starts_with("BTCUSDT: candles: "), "{error}");
    exchange.set_fault("klines", None);
    assert_eq!(minutes(&mut book, 3).await, [0, 1, 2]);
}

#[tokio::test]
async fn a_deadline_of_the_exchange_is_kept_before_the_next_call() {
    let exchange = Exchange::open().await;
    let mut limited = crate::rest::status(429);
    limited.header = Some(("retry-after", "2"));
    exchange.set_fault("time", Some(limited));
    let rig = run(quick(), &exchange.addresses());
    let mut book = rig.book("BTCUSDT").await;
    exchange.add_candle("BTCUSDT", 0);
    exchange.wait_for_activity("time", 1).await;
    exchange.set_fault("time", None);
    let begun = Instant::now();
    assert_eq!(minutes(&mut book, 1).await, [0]);
    assert!(
        begun.elapsed() > Duration::from_millis(1_500),
        "{:?}",
        begun.elapsed()
    );
}
