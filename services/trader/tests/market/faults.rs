//! What a network and an exchange do to a stream, and that no book notices more than a delay.

use std::time::Duration;

use bearish_trader::market::{FeedError, FeedEvent, FeedHandle, FeedSettings, MarketSettings};
use protocol::heartbeat::PartState;
use tokio::time::timeout;

use crate::exchange::{Exchange, at};
use crate::rest::status;
use crate::rig::{assert_quiet, caught_up, minutes, minutes_until, next, quick, run};

const MINUTE: Duration = Duration::from_mins(1);

/// Two candles close while nobody streams, and come without waiting for a third, which the new
/// stream brings.
async fn expect_gapless_return(exchange: &Exchange, book: &mut FeedHandle) {
    exchange.happens("BTCUSDT", 2);
    exchange.happens("BTCUSDT", 3);
    exchange.until_seen("SUBSCRIBE btcusdt@kline_1m", 2).await;
    assert_eq!(minutes_until(book, 3).await, [2, 3]);
    exchange.closes("BTCUSDT", 4);
    assert_eq!(minutes_until(book, 4).await, [4]);
}

#[tokio::test]
async fn a_normal_close_is_followed_by_a_new_connection() {
    let (exchange, rig, mut book) = caught_up(quick(), 2).await;
    exchange.close_streams(1000);
    expect_gapless_return(&exchange, &mut book).await;
    let error = rig.feed.progress().last_error().unwrap().text;
    assert!(error.contains("1000"), "{error}");
}

#[tokio::test]
async fn a_close_that_the_sdk_would_mend_by_itself_makes_one_connection_not_two() {
    let (exchange, _rig, mut book) = caught_up(quick(), 2).await;
    exchange.close_streams(1001);
    expect_gapless_return(&exchange, &mut book).await;
    assert_eq!(exchange.seen("connect /market/stream"), 2);
}

#[tokio::test]
async fn a_connection_cut_within_a_frame_is_replaced() {
    let (exchange, _rig, mut book) = caught_up(quick(), 2).await;
    exchange.cut_mid_frame();
    expect_gapless_return(&exchange, &mut book).await;
}

/// As over a network that is gone: the stream stays open, and by the exchange's time no candle is missing.
#[tokio::test]
async fn an_exchange_that_neither_sends_nor_answers_is_down_until_it_does() {
    let (exchange, rig, mut book) = caught_up(quick(), 2).await;
    rig.until_state(PartState::Ok).await;
    exchange.answers("time", Some(status(503)));
    rig.until_state(PartState::Retrying).await;
    exchange.answers("time", None);
    rig.until_state(PartState::Ok).await;
    exchange.closes("BTCUSDT", 2);
    assert_eq!(minutes(&mut book, 1).await, [2]);
}

#[tokio::test]
async fn an_exchange_that_restarts_on_the_same_port_is_found_again() {
    let (mut exchange, rig, mut book) = caught_up(quick(), 2).await;
    exchange.stop_streams().await;
    let errors = rig.feed.progress().part().errors;
    rig.until_errors(errors + 2).await;
    assert_eq!(rig.feed.progress().part().state, PartState::Retrying);
    exchange.start_streams().await;
    expect_gapless_return(&exchange, &mut book).await;
}

#[tokio::test]
async fn an_open_stream_that_falls_silent_is_noticed_told_and_replaced() {
    let (exchange, _rig, mut book) = caught_up(quick(), 2).await;
    exchange.fall_silent();
    let (mut minutes, mut minute) = (Vec::new(), 2);
    let (since, market_now) = loop {
        exchange.happens("BTCUSDT", minute);
        minute += 1;
        match timeout(Duration::from_millis(100), book.recv()).await {
            Ok(Some(FeedEvent::Stale { since, market_now })) => break (since, market_now),
            // Still from the refill that follows the subscription.
            Ok(Some(FeedEvent::Candle { candle, .. })) => minutes.push(candle.open_time),
            Ok(other) => panic!("{other:?}"),
            Err(_) => {}
        }
    };
    assert_eq!(since, minutes.last().map_or(at(2), |m| m.plus(MINUTE)));
    assert!(market_now >= since.plus(3 * MINUTE), "{market_now}");
    exchange.until_seen("SUBSCRIBE btcusdt@kline_1m", 2).await;
    exchange.closes("BTCUSDT", minute);
    while minutes.last() != Some(&at(minute)) {
        match next(&mut book).await {
            FeedEvent::Candle { candle, .. } => minutes.push(candle.open_time),
            other => panic!("{other:?} after {minutes:?}"),
        }
    }
    assert_eq!(minutes, (2..=minute).map(at).collect::<Vec<_>>());
    assert!(matches!(next(&mut book).await, FeedEvent::Recovered { .. }));
    // The SDK would keep the reader of a silent peer for ever.
    exchange.until_seen("gone", 3).await;
}

#[tokio::test]
async fn candles_are_stale_after_three_intervals_and_not_after_two() {
    let (exchange, _rig, mut book) = caught_up(quick(), 2).await;
    exchange.time_is(4);
    let asked = exchange.seen("time");
    exchange.until_seen("time", asked + 20).await;
    assert_quiet(&mut book).await;
    exchange.time_is(5);
    let event = next(&mut book).await;
    assert!(
        matches!(event, FeedEvent::Stale { since, .. } if since == at(2)),
        "{event:?}"
    );
}

#[tokio::test]
async fn nothing_is_stale_while_the_exchanges_time_stands_still() {
    let (exchange, rig, mut book) = caught_up(quick(), 2).await;
    let asked = exchange.seen("time");
    exchange.until_seen("time", asked + 20).await;
    assert_quiet(&mut book).await;
    assert_eq!(exchange.seen("connect /market/stream"), 1);
    assert_eq!(rig.feed.progress().part().state, PartState::Ok);
}

#[tokio::test]
async fn a_halted_symbol_is_told_stale_and_does_not_cost_the_others_their_stream() {
    let (exchange, rig, mut book) = caught_up(quick(), 2).await;
    let mut other = rig.book("ETHUSDT").await;
    exchange.until_seen("SUBSCRIBE ethusdt@kline_1m", 1).await;
    (0..9).for_each(|m| exchange.closes("ETHUSDT", m));
    assert_eq!(minutes(&mut other, 9).await, (0..9).collect::<Vec<_>>());
    assert!(matches!(next(&mut book).await, FeedEvent::Stale { .. }));
    exchange.until_seen("klines BTCUSDT from 2", 2).await;
    exchange.closes("ETHUSDT", 9);
    assert_eq!(minutes(&mut other, 1).await, [9]);
    assert_eq!(exchange.seen("connect /market/stream"), 1);
}

#[tokio::test]
async fn an_unanswered_subscription_is_a_lost_connection() {
    let (exchange, rig, mut book) = caught_up(quick(), 1).await;
    exchange.fall_silent();
    let other = rig.book("ETHUSDT").await;
    exchange.until_seen("SUBSCRIBE ethusdt@kline_1m", 1).await;
    exchange.closes("BTCUSDT", 1);
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
    let mut rig = run(settings, &exchange.settings());
    let _book = rig.book("BTCUSDT").await;
    let ended = rig.ended().await;
    let Err(FeedError::GaveUp { failures, reason }) = ended else {
        panic!("{ended:?}");
    };
    assert_eq!(failures, 3);
    assert!(reason.starts_with("market stream: "), "{reason}");
    assert_eq!(rig.feed.progress().part().state, PartState::Stopped);
}

#[tokio::test]
async fn after_a_task_that_failed_the_next_one_goes_on_with_the_same_feed() {
    let settings = FeedSettings {
        give_up_after: Some(2),
        ..quick()
    };
    let mut exchange = Exchange::open().await;
    exchange.stop_streams().await;
    exchange.happens("BTCUSDT", 0);
    exchange.time_is(1);
    let mut rig = run(settings, &exchange.settings());
    let mut book = rig.book("BTCUSDT").await;
    assert!(rig.ended().await.is_err());
    while book.recv().await.is_some() {}
    // The book has seen the end of its feed; it subscribes again, whether the next task runs yet or not.
    exchange.start_streams().await;
    let mut book = rig.book("BTCUSDT").await;
    rig.task.spawn(rig.feed.task().run(rig.stop.clone()));
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
            .until_seen("SUBSCRIBE btcusdt@kline_1m", again)
            .await;
        exchange.closes("BTCUSDT", round);
        assert_eq!(minutes_until(&mut book, round).await, [round]);
    }
}

#[tokio::test]
async fn a_feed_without_a_limit_never_ends_by_itself() {
    let nowhere = MarketSettings {
        rest_url: "http://127.0.0.1:9".to_owned(),
        ws_url: "ws://127.0.0.1:9".to_owned(),
    };
    let mut rig = run(quick(), &nowhere);
    let _book = rig.book("BTCUSDT").await;
    rig.until_errors(20).await;
    assert!(rig.task.try_join_next().is_none());
}
