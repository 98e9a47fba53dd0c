//! Stream connections: every way in which a peer can fail ends the connection in time, with a reason.

use std::time::{Duration, Instant};

use bearish_binance::client::{StreamConnection, StreamEvent, StreamTiming};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_async};

use crate::raw_server::{RawServer, Step, answer};

const SOON: Duration = Duration::from_secs(10);
const QUICK: StreamTiming = StreamTiming {
    open_within: Duration::from_millis(300),
    ping_after: Duration::from_millis(100),
    dead_after: Duration::from_millis(400),
};
const KLINE: &str = r#"{"stream":"btcusdt@kline_1m","data":{"e":"kline"}}"#;

type Peer = WebSocketStream<TcpStream>;

/// A connection, and its peer with which the test does what it wants.
async fn connect(timing: StreamTiming) -> (StreamConnection, Peer) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/market/stream", listener.local_addr().unwrap());
    let accepting = async {
        let (socket, _) = listener.accept().await.unwrap();
        accept_async(socket).await.unwrap()
    };
    let (connection, peer) = tokio::join!(StreamConnection::open(&url, timing), accepting);
    (connection.unwrap(), peer)
}

async fn next(connection: &mut StreamConnection) -> StreamEvent {
    let event = timeout(SOON, connection.next()).await;
    event.expect("an event arrives soon")
}

/// The reason of the connection's end, which stays the same.
async fn end(connection: &mut StreamConnection) -> String {
    let ended = next(connection).await;
    let StreamEvent::Ended(reason) = &ended else {
        panic!("{ended:?}");
    };
    assert_eq!(next(connection).await, ended, "an end is final");
    assert!(!reason.is_empty() && !reason.contains('\n'));
    reason.clone()
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("s{n}usdt@kline_1m")).collect()
}

#[tokio::test]
async fn requests_are_answered_by_id_and_messages_arrive_in_order() {
    let (mut connection, mut peer) = connect(StreamTiming::default()).await;
    let ids = connection.subscribe(&names(2)).unwrap();
    assert_eq!(ids, [1]);
    let serve = async {
        let request = peer.next().await.unwrap().unwrap();
        let request: Value = serde_json::from_str(request.to_text().unwrap()).unwrap();
        let expected = json!({"method": "SUBSCRIBE", "params": names(2), "id": 1});
        assert_eq!(request, expected);
        peer.send(Message::text(KLINE)).await.unwrap();
        peer.send(Message::text(r#"{"result":null,"id":1}"#))
            .await
            .unwrap();
        peer.send(Message::text(r#"{"error":{"code":2},"id":7}"#))
            .await
            .unwrap();
        peer
    };
    let receive = async {
        let mut events = Vec::new();
        for _ in 0..3 {
            events.push(next(&mut connection).await);
        }
        events
    };
    let (_peer, events) = tokio::join!(serve, receive);
    assert_eq!(
        events,
        [
            StreamEvent::Message(KLINE.to_owned()),
            StreamEvent::Answered {
                id: Some(1),
                error: None
            },
            StreamEvent::Answered {
                id: Some(7),
                error: Some(r#"{"code":2}"#.to_owned())
            },
        ]
    );
}

#[tokio::test]
async fn many_streams_are_requested_in_parts_and_slowly_enough() {
    let (mut connection, mut peer) = connect(StreamTiming::default()).await;
    let ids = connection.subscribe(&names(450)).unwrap();
    assert_eq!(ids, [1, 2, 3, 4, 5]);
    let begun = Instant::now();
    let serve = async {
        let mut streams = 0;
        for _ in 0..5 {
            let request = peer.next().await.unwrap().unwrap();
            assert!(request.len() < 4_096, "{}", request.len());
            let request: Value = serde_json::from_str(request.to_text().unwrap()).unwrap();
            streams += request["params"].as_array().unwrap().len();
        }
        streams
    };
    let streams = tokio::select! {
        streams = timeout(SOON, serve) => streams.unwrap(),
        event = connection.next() => panic!("{event:?}"),
    };
    assert_eq!(streams, 450);
    assert!(
        begun.elapsed() >= Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn more_streams_than_a_connection_may_have_are_rejected() {
    let (mut connection, _peer) = connect(StreamTiming::default()).await;
    connection.subscribe(&names(1_000)).unwrap();
    let error = connection.subscribe(&names(25)).unwrap_err();
    assert!(error.to_string().contains("1025 streams"), "{error}");
    connection.unsubscribe(&names(1));
    assert!(connection.subscribe(&names(25)).is_ok());
}

#[tokio::test]
async fn close_frames_end_the_connection_with_their_code() {
    for code in [1000, 1001, 1008, 4_000] {
        let (mut connection, mut peer) = connect(StreamTiming::default()).await;
        let frame = CloseFrame {
            code: code.into(),
            reason: "test\nover".into(),
        };
        peer.close(Some(frame)).await.unwrap();
        let reason = end(&mut connection).await;
        assert_eq!(
            reason,
            format!("closed by the exchange with {code} test over")
        );
    }
}

#[tokio::test]
async fn connection_that_is_cut_ends() {
    let (mut connection, peer) = connect(StreamTiming::default()).await;
    drop(peer);
    let reason = end(&mut connection).await;
    assert!(
        reason.contains("without closing") || reason.contains("reset"),
        "{reason}"
    );
}

#[tokio::test]
async fn connection_that_is_cut_within_a_frame_ends() {
    let (mut connection, mut peer) = connect(StreamTiming::default()).await;
    // A text frame of 256 bytes that ends after one.
    let socket = peer.get_mut();
    socket
        .write_all(&[0x81, 0x7e, 0x01, 0x00, b'{'])
        .await
        .unwrap();
    socket.shutdown().await.unwrap();
    end(&mut connection).await;
}

#[tokio::test]
async fn oversized_frame_ends_the_connection_before_it_is_read() {
    let (mut connection, mut peer) = connect(StreamTiming::default()).await;
    // The head of a text frame of 1 TB.
    let mut head = vec![0x81, 0x7f];
    head.extend((1_u64 << 40).to_be_bytes());
    peer.get_mut().write_all(&head).await.unwrap();
    let reason = end(&mut connection).await;
    assert!(reason.to_lowercase().contains("too long"), "{reason}");
}

#[tokio::test]
async fn message_of_endless_parts_ends_the_connection() {
    let (mut connection, mut peer) = connect(StreamTiming::default()).await;
    // A text message that continues for ever: the first frame, and then continuations of 1 KiB.
    let mut frame = vec![0x01, 0x7e, 0x04, 0x00];
    frame.extend(vec![b' '; 1_024]);
    let mut writing = JoinSet::new();
    writing.spawn(async move {
        let socket = peer.get_mut();
        while socket.write_all(&frame).await.is_ok() {
            frame[0] = 0x00;
        }
    });
    let reason = end(&mut connection).await;
    assert!(reason.to_lowercase().contains("too long"), "{reason}");
}

#[tokio::test]
async fn frames_that_break_the_protocol_end_the_connection() {
    let page = [&b"HTTP/1.1 502 Bad Gateway\r\n\r\n"[..], &[b' '; 200]].concat();
    for bytes in [
        // Reserved bits; a reserved kind; a text that is no UTF-8; no frame at all.
        &[0xf1_u8, 0x00][..],
        &[0x83, 0x00],
        &[0x81, 0x02, 0xff, 0xfe],
        &page,
    ] {
        let (mut connection, mut peer) = connect(StreamTiming::default()).await;
        peer.get_mut().write_all(bytes).await.unwrap();
        end(&mut connection).await;
    }
}

#[tokio::test]
async fn silent_peer_is_pinged_and_then_counts_as_dead() {
    let (mut connection, mut peer) = connect(QUICK).await;
    let begun = Instant::now();
    // The peer reads nothing and so answers nothing.
    let reason = end(&mut connection).await;
    assert_eq!(reason, "no frame within 0.4 s");
    assert!(begun.elapsed() >= Duration::from_millis(400));
    let pings = async {
        let mut pings = 0;
        while let Some(Ok(message)) = peer.next().await {
            pings += usize::from(message.is_ping());
        }
        pings
    };
    drop(connection);
    let pings = timeout(SOON, pings).await.unwrap();
    assert!((2..=4).contains(&pings), "{pings}");
}

#[tokio::test]
async fn peer_that_answers_pings_is_alive_without_messages() {
    let (mut connection, mut peer) = connect(QUICK).await;
    let mut serving = JoinSet::new();
    serving.spawn(async move { while let Some(Ok(_)) = peer.next().await {} });
    let quiet = timeout(Duration::from_millis(1_500), connection.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}

#[tokio::test]
async fn pings_of_the_exchange_are_answered_with_their_payload() {
    let (mut connection, mut peer) = connect(StreamTiming::default()).await;
    let payload = b"1499040000000".as_slice();
    peer.send(Message::Ping(payload.into())).await.unwrap();
    let pong = tokio::select! {
        pong = timeout(SOON, peer.next()) => pong.unwrap().unwrap().unwrap(),
        event = connection.next() => panic!("{event:?}"),
    };
    assert_eq!(pong, Message::Pong(payload.into()));
}

#[tokio::test]
async fn waiting_can_be_dropped_without_losing_a_message() {
    let (mut connection, mut peer) = connect(StreamTiming::default()).await;
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        for number in 0..200 {
            let text = format!(r#"{{"e":"x","n":{number}}}"#);
            peer.send(Message::text(text)).await.unwrap();
            sleep(Duration::from_millis(1)).await;
        }
        peer
    });
    let mut seen = 0;
    while seen < 200 {
        let waiting = timeout(Duration::from_micros(300), connection.next()).await;
        if let Ok(event) = waiting {
            let expected = format!(r#"{{"e":"x","n":{seen}}}"#);
            assert_eq!(event, StreamEvent::Message(expected));
            seen += 1;
        }
    }
}

#[tokio::test]
async fn handshake_that_fails_says_why_and_in_time() {
    for (steps, part) in [
        (
            vec![Step::ReadHead, Step::Hold],
            "no connection within 0.3 s",
        ),
        (vec![Step::Close], ""),
        (
            vec![
                Step::ReadHead,
                Step::Write(answer(404, "", b"<html>")),
                Step::Hold,
            ],
            "handshake answered with status 404",
        ),
        (
            vec![
                Step::ReadHead,
                Step::Drip(answer(101, "", b""), Duration::from_millis(50)),
            ],
            "no connection within 0.3 s",
        ),
        (
            vec![Step::ReadHead, Step::Endless(b"x: y\r\n".to_vec())],
            "",
        ),
    ] {
        let server = RawServer::start(steps.clone()).await;
        let url = format!("ws://{}/private/stream?listenKey=hidden", server.address);
        let begun = Instant::now();
        let error = StreamConnection::open(&url, QUICK).await.unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(2), "{steps:?}");
        assert!(error.contains(part) && !error.contains("hidden"), "{error}");
        assert!(!error.contains('\n'));
    }
    let error = StreamConnection::open("ws://127.0.0.1:1/", QUICK).await;
    assert!(error.is_err());
}
