//! Calls: every way in which an answer can be wrong ends in time, in bounded memory, and with a failure that says so.

use std::io::Write as _;
use std::time::{Duration, Instant};

use bearish_binance::client::{
    Auth, Call, CallError, Deadline, Failure, HttpClient, Priority, Retry,
};
use bearish_binance::wire::market::ServerTime;
use exchange::ApiCredentials;
use flate2::Compression;
use flate2::write::GzEncoder;
use protocol::time::UtcMs;
use reqwest::Method;
use trader_core::orders::OrderCallOutcome;

use crate::raw_server::{RawServer, Step, answer};

const QUICK: Deadline = Deadline {
    total: Duration::from_secs(2),
    between: Duration::from_millis(300),
};
const TIME: &[u8] = br#"{"serverTime":5}"#;
const PAGE: &[u8] = b"<html><body>gateway</body></html>";

fn client(server: &RawServer) -> HttpClient {
    HttpClient::new(&format!("http://{}/", server.address)).unwrap()
}

fn time_call() -> Call {
    Call::get("exchange time", "/fapi/v1/time")
        .within(QUICK)
        .at_most(4 * 1024)
}

async fn ask(server: &RawServer) -> Result<UtcMs, CallError> {
    let answer = client(server).call::<ServerTime>(time_call()).await;
    answer.map(|time| time.server_time)
}

/// The failure of one call to a server with this script. It is never permanent, and never a rejection of an order.
async fn failure(steps: Vec<Step>) -> Failure {
    let server = RawServer::start(steps).await;
    let begun = Instant::now();
    let error = ask(&server).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(3), "{error}");
    assert_ne!(error.retry(), Retry::Never, "{error}");
    let failure = error.failure.clone();
    let outcome = error.order_outcome();
    let is_unknown = matches!(outcome, OrderCallOutcome::Unknown { .. });
    assert!(is_unknown, "{outcome:?}");
    failure
}

async fn failure_of(answer: impl Into<Vec<u8>>, then: Step) -> Failure {
    failure(vec![Step::ReadHead, Step::Write(answer.into()), then]).await
}

fn assert_says(failure: &Failure, part: &str) {
    let text = failure.to_string();
    assert!(text.contains(part), "{text}");
    assert!(
        matches!(failure, Failure::Unknown { code: None, .. }),
        "{failure:?}"
    );
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn good_answers_are_read_plain_chunked_and_compressed() {
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n8\r\n{\"server\r\n8\r\nTime\":5}\r\n0\r\n\r\n";
    for good in [
        answer(200, "", TIME),
        answer(200, "content-encoding: gzip\r\n", &gzip(TIME)),
        answer(200, "", br#"{"serverTime":"5","new":[{}]}"#),
        chunked.to_vec(),
    ] {
        let server = RawServer::answering(good, Step::Hold).await;
        assert_eq!(ask(&server).await.unwrap(), UtcMs(5));
        let head = &server.heads()[0];
        assert!(head.starts_with("GET /fapi/v1/time HTTP/1.1\r\n"), "{head}");
        assert!(
            head.to_ascii_lowercase()
                .contains("accept-encoding: gzip\r\n"),
            "{head}"
        );
    }
}

#[tokio::test]
async fn server_that_never_answers_costs_a_deadline() {
    let silent = failure(vec![Step::ReadHead, Step::Hold]).await;
    assert_says(&silent, "no answer within 0.3 s");
}

#[tokio::test]
async fn slow_headers_cost_a_deadline() {
    let head = answer(200, "x: y\r\n", TIME);
    let slow = Step::Drip(head, Duration::from_millis(100));
    let failure = failure(vec![Step::ReadHead, slow]).await;
    assert_says(&failure, "no answer within 0.3 s");
}

#[tokio::test]
async fn body_that_stops_costs_the_time_between_two_parts() {
    let stopped = failure_of(
        "HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\n{\"se",
        Step::Hold,
    )
    .await;
    assert_says(&stopped, "body stopped after 4 bytes: nothing for 0.3 s");
}

#[tokio::test]
async fn body_of_a_byte_at_a_time_costs_the_whole_deadline() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 4000\r\n\r\n".to_vec();
    let drip = Step::Drip(vec![b' '; 4_000], Duration::from_millis(100));
    let failure = failure(vec![Step::ReadHead, Step::Write(head), drip]).await;
    assert_says(&failure, "no whole answer within 2 s");
}

#[tokio::test]
async fn truncated_bodies_are_not_believed() {
    for broken in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\n{\"serverTime\":5}"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\n{\"serverTime\":5}\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\n",
    ] {
        let failure = failure_of(broken, Step::Close).await;
        assert_says(&failure, "body broke off after");
    }
    // Without a length the end of the connection is the end of the body: the text itself is incomplete.
    let half = failure_of("HTTP/1.1 200 OK\r\n\r\n{\"serverTi", Step::Close).await;
    assert_says(&half, "no JSON");
}

#[tokio::test]
async fn truncated_and_broken_compression_is_not_believed() {
    let whole = gzip(TIME);
    let mut wrong = whole.clone();
    let middle = wrong.len() / 2;
    wrong[middle] ^= 0xff;
    for body in [&whole[..whole.len() - 9], &wrong, PAGE] {
        let broken = answer(200, "content-encoding: gzip\r\n", body);
        let failure = failure_of(broken, Step::Close).await;
        assert_says(&failure, "body broke off after");
    }
}

#[tokio::test]
async fn endless_bodies_end_at_their_limit() {
    let plain = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    let endless = Step::Endless(vec![b' '; 1_024]);
    let failure_of_plain = failure(vec![Step::ReadHead, Step::Write(plain), endless]).await;
    assert_says(&failure_of_plain, "body is longer than 4096 bytes");
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let endless = Step::Endless(b"4\r\n    \r\n".to_vec());
    let failure = failure(vec![Step::ReadHead, Step::Write(chunked), endless]).await;
    assert_says(&failure, "body is longer than 4096 bytes");
}

#[tokio::test]
async fn small_body_that_decompresses_to_a_large_one_ends_at_its_limit() {
    let bomb = gzip(&vec![b' '; 64 * 1024 * 1024]);
    assert!(bomb.len() < 128 * 1024);
    let answer = answer(200, "content-encoding: gzip\r\n", &bomb);
    let failure = failure_of(answer, Step::Close).await;
    assert_says(&failure, "body is longer than 4096 bytes");
}

#[tokio::test]
async fn page_instead_of_json_is_transient_with_every_status() {
    for status in [200, 400, 401, 404, 451, 500, 502, 503, 504] {
        let page = failure_of(answer(status, "", PAGE), Step::Hold).await;
        assert_says(&page, "<html><body>gateway</body></html>");
    }
    let empty = failure_of(answer(200, "", b""), Step::Hold).await;
    assert_says(&empty, "empty body");
}

#[tokio::test]
async fn redirection_is_not_followed() {
    let moved = answer(302, "location: http://127.0.0.1:9/\r\n", b"");
    let failure = failure_of(moved, Step::Hold).await;
    assert_says(&failure, "status 302");
}

#[tokio::test]
async fn connection_that_is_closed_or_refused_is_an_unknown_outcome() {
    for steps in [
        vec![Step::Close],
        vec![Step::ReadHead, Step::Close],
        vec![
            Step::ReadHead,
            Step::Write(b"HTTP/1.1 2".to_vec()),
            Step::Close,
        ],
        vec![
            Step::ReadHead,
            Step::Write(b"no HTTP at all\r\n\r\n".to_vec()),
            Step::Close,
        ],
    ] {
        let failure = failure(steps).await;
        assert!(
            matches!(failure, Failure::Unknown { code: None, .. }),
            "{failure:?}"
        );
    }
    let client = HttpClient::new("http://127.0.0.1:1").unwrap();
    let error = client.call::<ServerTime>(time_call()).await.unwrap_err();
    assert!(matches!(error.failure, Failure::Unknown { .. }), "{error}");
}

#[tokio::test]
async fn answer_without_a_field_is_unreadable_and_names_it() {
    let failure = failure_of(answer(200, "", br#"{"server_time":5}"#), Step::Hold).await;
    assert!(matches!(failure, Failure::Unreadable { .. }), "{failure:?}");
    assert!(failure.to_string().contains("serverTime"), "{failure}");
    for odd in [&b"null"[..], b"[]", b"{}", br#"{"serverTime":null}"#] {
        let failure = failure_of(answer(200, "", odd), Step::Hold).await;
        assert!(matches!(failure, Failure::Unreadable { .. }), "{failure:?}");
    }
}

#[tokio::test]
async fn error_with_status_200_is_an_error() {
    let body = br#"{"code":-1001,"msg":"Internal error; unable to process your request."}"#;
    let failure = failure_of(answer(200, "", body), Step::Hold).await;
    assert!(
        matches!(
            failure,
            Failure::Unknown {
                code: Some(-1001),
                ..
            }
        ),
        "{failure:?}"
    );
}

#[tokio::test]
async fn error_of_the_exchange_is_read_and_an_endless_one_keeps_its_status() {
    let body = br#"{"code":-1121,"msg":"Invalid symbol."}"#;
    let server = RawServer::answering(answer(400, "", body), Step::Hold).await;
    let error = ask(&server).await.unwrap_err();
    assert_eq!(error.to_string(), "exchange time: Invalid symbol. (-1121)");
    assert_eq!((error.code(), error.retry()), (Some(-1121), Retry::Never));
    let head = b"HTTP/1.1 429 X\r\nretry-after: 7\r\n\r\n".to_vec();
    let endless = Step::Endless(vec![b' '; 1_024]);
    let failure = failure(vec![Step::ReadHead, Step::Write(head), endless]).await;
    let stated = Some(Duration::from_secs(7));
    assert!(
        matches!(&failure, Failure::Limited { status: 429, stated: s, .. } if *s == stated),
        "{failure:?}"
    );
}

#[tokio::test]
async fn refusal_pauses_the_queries_of_all_clones_but_protecting_ones_only_shortly() {
    let server = RawServer::answering(answer(429, "", PAGE), Step::Hold).await;
    let client = client(&server);
    let clone = client.with_credentials(credentials("secret"));
    let error = client.call::<ServerTime>(time_call()).await.unwrap_err();
    assert_eq!(error.retry(), Retry::After(Duration::from_mins(1)));
    for priority in [Priority::Ordinary, Priority::Entry, Priority::Vital] {
        let paused = clone.call::<ServerTime>(time_call().priority(priority));
        let paused = paused.await.unwrap_err();
        let Retry::After(left) = paused.retry() else {
            panic!("{paused}");
        };
        assert!(
            matches!(paused.failure, Failure::NotSent { .. }),
            "{paused}"
        );
        assert_eq!(
            left > Duration::from_secs(2),
            priority != Priority::Vital,
            "{left:?}"
        );
    }
    assert_eq!(server.heads().len(), 1);
}

#[tokio::test]
async fn connection_is_used_again() {
    let twice = vec![
        Step::ReadHead,
        Step::Write(answer(200, "", TIME)),
        Step::ReadHead,
        Step::Write(answer(200, "x-mbx-used-weight-1m: 17\r\n", TIME)),
        Step::Hold,
    ];
    let server = RawServer::start(twice).await;
    let client = client(&server);
    for _ in 0..2 {
        client.call::<ServerTime>(time_call()).await.unwrap();
    }
    assert_eq!(server.heads().len(), 2);
    assert_eq!(
        client.limits().used_weight(),
        17,
        "the second answer is on the same connection"
    );
}

fn credentials(secret: &str) -> ApiCredentials {
    ApiCredentials {
        key: "hidden-key".into(),
        secret: secret.into(),
    }
}

#[tokio::test]
async fn signature_covers_the_query_exactly_as_it_is_sent() {
    let server = RawServer::answering(answer(200, "", TIME), Step::Hold).await;
    let client = client(&server).with_credentials(credentials("Jefe"));
    let call = Call::new("order", Method::POST, "/fapi/v1/order")
        .param("symbol", "币安 'USDT'")
        .auth(Auth::Signed {
            timestamp: UtcMs(1_700_000_000_000),
            recv_window_ms: 5_000,
        })
        .within(QUICK);
    client.call::<ServerTime>(call).await.unwrap();
    let head = server.heads().remove(0);
    let line = head.lines().next().unwrap();
    let query = line
        .strip_prefix("POST /fapi/v1/order?")
        .and_then(|rest| rest.strip_suffix(" HTTP/1.1"))
        .unwrap();
    let (payload, signature) = query.split_once("&signature=").unwrap();
    assert_eq!(
        payload,
        "symbol=%E5%B8%81%E5%AE%89+%27USDT%27&recvWindow=5000&timestamp=1700000000000"
    );
    // Computed by another implementation, Python's `hmac`.
    let expected = "a764e55d004086b00fb020edd8eae77c6e4fca4f638e361aaf05d9ce50a07761";
    assert_eq!(signature, expected);
    assert!(
        head.to_ascii_lowercase()
            .contains("\r\nx-mbx-apikey: hidden-key\r\n"),
        "{head}"
    );
    assert!(
        head.contains("\r\ncontent-length: 0\r\n") || !head.contains("content-length"),
        "{head}"
    );
}

#[tokio::test]
async fn key_secret_and_signature_are_in_no_error() {
    let signed = || {
        time_call().auth(Auth::Signed {
            timestamp: UtcMs(1),
            recv_window_ms: 5_000,
        })
    };
    for steps in [
        vec![Step::ReadHead, Step::Close],
        vec![Step::ReadHead, Step::Hold],
        vec![Step::ReadHead, Step::Write(answer(502, "", PAGE))],
    ] {
        let server = RawServer::start(steps).await;
        let client = client(&server).with_credentials(credentials("hidden-secret"));
        let error = client.call::<ServerTime>(signed()).await.unwrap_err();
        for text in [
            error.to_string(),
            format!("{error:?}"),
            format!("{client:?}"),
        ] {
            assert!(
                !text.contains("hidden-") && !text.contains("signature"),
                "{text}"
            );
        }
    }
    let server = RawServer::start(vec![Step::Close]).await;
    let error = client(&server)
        .call::<ServerTime>(signed())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "exchange time: not sent: no API key is set"
    );
    assert_eq!(error.retry(), Retry::Never);
}

#[test]
fn address_that_is_no_http_address_is_rejected() {
    for address in [
        "",
        "fapi.binance.com",
        "ftp://x",
        "http://x?key=1",
        "http://",
    ] {
        assert!(HttpClient::new(address).is_err(), "{address}");
    }
    assert!(HttpClient::new("https://fapi.binance.com/").is_ok());
}
