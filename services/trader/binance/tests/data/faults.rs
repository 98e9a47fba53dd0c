//! Faults of the network and of the exchange: the book sees only a delay.

use std::time::Duration;

use bearish_binance::FeedSettings;
use exchange::{DataClient, FeedError, FeedEvent, FeedHandle};
use protocol::heartbeat::ComponentState;
use tokio::time::timeout;

use crate::rest::status;
use crate::test_exchange::{Addresses, Exchange, at};
use crate::test_feed::{assert_quiet, caught_up, minutes, minutes_until, next, quick, run};

const MINUTE: Duration = Duration::from_mins(1);

/// Two candles close while no stream is connected. They arrive without waiting for a third one, which the
/// new stream sends.
async fn expect_gapless_return(exchange: &Exchange, book: &mut FeedHandle) {
    exchange.add_candle("BTCUSDT", 2);
    exchange.add_candle("BTCUSDT", 3);
    exchange
        .wait_for_activity("SUBSCRIBE btcusdt@kline_1m", 2)
        .await;
    assert_eq!(minutes_until(book, 3).await, [2, 3]);
    exchange.add_and_stream_candle("BTCUSDT", 4);
    assert_eq!(minutes_until(book, 4).await, [4]);
}

#[tokio::test]
async fn a_normal_close_is_followed_by_a_new_connection() {
    let (exchange, rig, mut book) = caught_up(quick(), 2).await;
    exchange.close_streams(1000);
    expect_gapless_return(&exchange, &mut book).await;
    let error = rig.client.feed_stats().last_error().unwrap().text;
    assert!(error.contains("1000"), "{error}");
}

#[tokio::test]
async fn close_with_1001_is_followed_by_one_new_connection() {
    let (exchange, _rig, mut book) = caught_up(quick(), 2).await;
    exchange.close_streams(1001);
    expect_gapless_return(&exchange, &mut book).await;
    assert_eq!(exchange.activity_count("connect /market/stream"), 2);
}

#[tokio::test]
async fn a_connection_cut_within_a_frame_is_replaced() {
    let (exchange, _rig, mut book) = caught_up(quick(), 2).await;
    exchange.cut_mid_frame();
    expect_gapless_return(&exchange, &mut book).await;
}

/// As without a network: the stream stays open, and by the exchange's time no candle is missing.
#[tokio::test]
async fn an_exchange_that_neither_sends_nor_answers_is_down_until_it_does() {
    let (exchange, rig, mut book) = caught_up(quick(), 2).await;
    rig.wait_for_state(ComponentState::Ok).await;
    exchange.set_fault("time", Some(status(503)));
    rig.wait_for_state(ComponentState::Retrying).await;
    exchange.set_fault("time", None);
    rig.wait_for_state(ComponentState::Ok).await;
    exchange.add_and_stream_candle("BTCUSDT", 2);
    assert_eq!(minutes(&mut book, 1).await, [2]);
}

#[tokio::test]
async fn an_exchange_that_restarts_on_the_same_port_is_found_again() {
    let (mut exchange, rig, mut book) = caught_up(quick(), 2).await;
    exchange.stop_streams().await;
    let errors = rig.client.feed_stats().component_status().errors;
    rig.wait_for_errors(errors + 2).await;
    assert_eq!(
        rig.client.feed_stats().component_status().state,
        ComponentState::Retrying
    );
    exchange.start_streams().await;
    expect_gapless_return(&exchange, &mut book).await;
}

#[tokio::test]
async fn open_stream_without_data_is_detected_reported_and_replaced() {
    let (exchange, _rig, mut book) = caught_up(quick(), 2).await;
    exchange.stop_answering();
    let (mut minutes, mut minute) = (Vec::new(), 2);
    let (since, market_now) = loop {
        exchange.add_candle("BTCUSDT", minute);
        minute += 1;
        match timeout(Duration::from_millis(100), book.recv()).await {
            Ok(Some(FeedEvent::Stale { since })) => break (since, book.market_now()),
            // Still from the refill that follows the subscription.
            Ok(Some(FeedEvent::Candle(candle))) => minutes.push(candle.open_time),
            Ok(other) => panic!("{other:?}"),
            Err(_) => {}
        }
    };
    assert_eq!(since, minutes.last().map_or(at(2), |m| m.plus(MINUTE)));
    assert!(market_now >= since.plus(3 * MINUTE), "{market_now}");
    exchange
        .wait_for_activity("SUBSCRIBE btcusdt@kline_1m", 2)
        .await;
    exchange.add_and_stream_candle("BTCUSDT", minute);
    while minutes.last() != Some(&at(minute)) {
        match next(&mut book).await {
            FeedEvent::Candle(candle) => minutes.push(candle.open_time),
            other => panic!("{other:?} after {minutes:?}"),
        }
    }
    assert_eq!(minutes, (2..=minute).map(at).collect::<Vec<_>>());
    assert!(matches!(next(&mut book).await, FeedEvent::Recovered { .. }));
    // The silent peer sees the end of its connection.
    exchange.wait_for_activity("gone", 1).await;
    assert_eq!(exchange.activity_count("connect"), 2);
}

#[tokio::test]
async fn candles_are_stale_after_three_intervals_and_not_after_two() {
    let (exchange, _rig, mut book) = caught_up(quick(), 2).await;
    exchange.advance_to(4);
    let asked = exchange.activity_count("time");
    exchange.wait_for_activity("time", asked + 20).await;
    assert_quiet(&mut book).await;
    exchange.advance_to(5);
    let event = next(&mut book).await;
    assert!(
        matches!(event, FeedEvent::Stale { since } if since == at(2)),
        "{event:?}"
    );
}

#[tokio::test]
async fn nothing_is_stale_while_the_exchanges_time_does_not_advance() {
    let (exchange, rig, mut book) = caught_up(quick(), 2).await;
    let asked = exchange.activity_count("time");
    exchange.wait_for_activity("time", asked + 20).await;
    assert_quiet(&mut book).await;
    assert_eq!(exchange.activity_count("connect /market/stream"), 1);
    assert_eq!(
        rig.client.feed_stats().component_status().state,
        ComponentState::Ok
    );
}

#[tokio::test]
async fn halted_symbol_is_reported_stale_and_keeps_the_stream_of_the_others() {
    let (exchange, rig, mut book) = caught_up(quick(), 2).await;
    let mut other = rig.book("ETHUSDT").await;
    exchange
        .wait_for_activity("SUBSCRIBE ethusdt@kline_1m", 1)
        .await;
    (0..9).for_each(|m| exchange.add_and_stream_candle("ETHUSDT", m));
    assert_eq!(minutes(&mut other, 9).await, (0..9).collect::<Vec<_>>());
    assert!(matches!(next(&mut book).await, FeedEvent::Stale { .. }));
    exchange.wait_for_activity("klines BTCUSDT from 2", 2).await;
    exchange.add_and_stream_candle("ETHUSDT", 9);
    assert_eq!(minutes(&mut other, 1).await, [9]);
    assert_eq!(exchange.activity_count("connect /market/stream"), 1);
}

#[tokio::test]
async fn an_unanswered_subscription_is_a_lost_connection() {
    let (exchange, rig, mut book) = caught_up(quick(), 1).await;
    exchange.stop_answering();
    let other = rig.book("ETHUSDT").await;
    exchange
        .wait_for_activity("SUBSCRIBE ethusdt@kline_1m", 1)
        .await;
    exchange.add_and_stream_candle("BTCUSDT", 1);
    assert_eq!(minutes_until(&mut book, 1).await, [1]);
    drop(other);
}

#[tokio::test]
async fn a_feed_with_a_limit_gives_up_after_so_many_failures() {
    let settings = FeedSettings {
        give_up_after: Some(3),
        ..quick()
    };
    let mut exchange = Exchange::open().await;
    exchange.stop_streams().await;
    let mut rig = run(settings, &exchange.addresses());
    let _book = rig.book("BTCUSDT").await;
    let ended = rig.wait_for_end().await;
    let Err(FeedError::GaveUp { failures, reason }) = ended else {
        panic!("{ended:?}");
    };
    assert_eq!(failures, 3);
    assert!(reason.starts_with("market stream: "), "{reason}");
    assert_eq!(
        rig.client.feed_stats().component_status().state,
        ComponentState::Stopped
    );
}

#[tokio::test]
async fn task_after_a_failed_one_continues_with_the_same_feed() {
    let settings = FeedSettings {
        give_up_after: Some(2),
        ..quick()
    };
    let mut exchange = Exchange::open().await;
    exchange.stop_streams().await;
    exchange.add_candle("BTCUSDT", 0);
    exchange.advance_to(1);
    let mut rig = run(settings, &exchange.addresses());
    let mut book = rig.book("BTCUSDT").await;
    assert!(rig.wait_for_end().await.is_err());
    while book.recv().await.is_some() {}
    // The book has seen the end of its feed; it subscribes again, whether the next task runs yet or not.
    exchange.start_streams().await;
    let mut book = rig.book("BTCUSDT").await;
    rig.start_task();
    assert_eq!(minutes_until(&mut book, 0).await, [0]);
}

#[tokio::test]
async fn a_stream_that_brings_candles_between_its_failures_is_not_given_up() {
    let settings = FeedSettings {
        give_up_after: Some(2),
        ..quick()
    };
    let (exchange, _rig, mut book) = caught_up(settings, 1).await;
    for round in 1..5 {
        exchange.close_streams(1000);
        let again = usize::try_from(round + 1).unwrap();
        exchange
            .wait_for_activity("SUBSCRIBE btcusdt@kline_1m", again)
            .await;
        exchange.add_and_stream_candle("BTCUSDT", round);
        assert_eq!(minutes_until(&mut book, round).await, [round]);
    }
}

#[tokio::test]
async fn a_feed_without_a_limit_never_ends_by_itself() {
    let nowhere = Addresses {
        rest_url: "http://127.0.0.1:9".to_owned(),
        ws_url: "ws://127.0.0.1:9".to_owned(),
    };
    let mut rig = run(quick(), &nowhere);
    let _book = rig.book("BTCUSDT").await;
    rig.wait_for_errors(20).await;
    assert!(rig.task.try_join_next().is_none());
}
