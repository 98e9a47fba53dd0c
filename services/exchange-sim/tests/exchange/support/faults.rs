//! Helpers of the tests of faults: arm them, and read answers that no client library would accept.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::signed::{
    FLAT_MINUTES, KEY, SECRET, call_ok, minute_file, send, signature, start_trading,
};
use super::{Client, RunningExchange, TIMEOUT, signed, time};

/// Market order for 0.01 BTC.
pub(crate) const BUY: &str = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01";

pub(crate) async fn start_with_fault_api() -> RunningExchange {
    start_trading(&minute_file(&FLAT_MINUTES), &["--fault-api", "1"]).await
}

/// Arms a fault; returns its id, if it has one.
pub(crate) async fn arm(exchange: &RunningExchange, fault: Value) -> Option<u64> {
    signed::arm(exchange.address, fault).await
}

/// A fault of new orders.
pub(crate) fn for_new_orders(mut fault: Value) -> Value {
    fault["method"] = json!("POST");
    fault["path"] = json!("/fapi/v1/order");
    fault
}

/// Amount of the position in BTCUSDT.
pub(crate) async fn position_amount(exchange: &RunningExchange) -> String {
    let risk = call_ok(exchange.address, "GET", "v3/positionRisk", "").await;
    risk[0]["positionAmt"].as_str().unwrap_or("0").to_owned()
}

/// A connection after the subscription of its streams.
pub(crate) async fn connect_subscribed(exchange: &RunningExchange, url: &str) -> Client {
    let mut client = Client::connect(exchange.address, url).await;
    client
        .send(r#"{"method":"LIST_SUBSCRIPTIONS","id":1}"#)
        .await;
    client.receive_response().await;
    client
}

/// A connection with the account's user stream.
pub(crate) async fn connect_user_stream(exchange: &RunningExchange) -> Client {
    let (_, _, body) = send(
        exchange.address,
        "POST",
        "/fapi/v1/listenKey",
        Some(KEY),
        "",
    )
    .await;
    let url = format!("/private/ws/{}", body["listenKey"].as_str().unwrap());
    connect_subscribed(exchange, &url).await
}

/// An answer as it came over the wire.
#[derive(Debug)]
pub(crate) struct RawAnswer {
    /// Status line and headers; empty if none came.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// How the connection ended: `None` if the peer closed it.
    pub(crate) error: Option<std::io::ErrorKind>,
}

impl RawAnswer {
    pub(crate) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// A header's value; `None` without the header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self
            .head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "));
        let mut found = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Text of a signed request. The connection ends with the answer.
pub(crate) async fn signed_request(
    address: SocketAddr,
    method: &str,
    path: &str,
    query: &str,
    headers: &str,
) -> String {
    let now = time(address).await;
    let joint = if query.is_empty() { "" } else { "&" };
    let payload = format!("{query}{joint}recvWindow=60000&timestamp={now}");
    let signature = signature(SECRET, &payload);
    format!(
        "{method} /fapi/{path}?{payload}&signature={signature} HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\
         X-MBX-APIKEY: {KEY}\r\n{headers}Content-Length: 0\r\n\r\n"
    )
}

/// Sends a request and reads for at most this time.
pub(crate) async fn read_raw(address: SocketAddr, request: &str, wait: Duration) -> RawAnswer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut received, mut error) = (Vec::new(), None);
    let read = async {
        let mut part = vec![0; 64 * 1024];
        loop {
            match stream.read(&mut part).await {
                Ok(0) => return,
                Ok(count) => received.extend_from_slice(&part[..count]),
                Err(broken) => {
                    error = Some(broken.kind());
                    return;
                }
            }
        }
    };
    if timeout(wait, read).await.is_err() {
        error = Some(std::io::ErrorKind::TimedOut);
    }
    let split = received.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, body) = match split {
        Some(at) => (received[..at].to_vec(), received[at + 4..].to_vec()),
        None => (received, Vec::new()),
    };
    RawAnswer {
        head: String::from_utf8(head).unwrap(),
        body,
        error,
    }
}

/// A signed call with its answer as it came over the wire.
pub(crate) async fn call_raw(
    exchange: &RunningExchange,
    method: &str,
    path: &str,
    query: &str,
) -> RawAnswer {
    let request = signed_request(exchange.address, method, path, query, "").await;
    read_raw(exchange.address, &request, TIMEOUT).await
}

/// An unsigned GET with further headers, with its answer as it came over the wire.
pub(crate) async fn get_raw(exchange: &RunningExchange, path: &str, headers: &str) -> RawAnswer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n{headers}\r\n");
    read_raw(exchange.address, &request, TIMEOUT).await
}

/// Waits for the beginning of a window in which orders and weights are counted, unless its end is far.
pub(crate) async fn begin_of_window() {
    const WINDOW_MS: u64 = 10_000;
    let left = WINDOW_MS - runtime::clock::now().0.unsigned_abs() % WINDOW_MS;
    if left < 4_000 {
        sleep(Duration::from_millis(left + 50)).await;
    }
}
