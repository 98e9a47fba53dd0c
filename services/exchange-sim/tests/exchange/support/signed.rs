//! Signed calls, with a signature computed by the tests and not by the exchange.

use std::net::SocketAddr;

use exchange_sim::exchange::Limits;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::{CandleFile, Client, MIDNIGHT_MS, MINUTE_MS, RunningExchange, TIMEOUT, time};
use std::fmt::Write as _;
use std::time::Duration;

pub(crate) const KEY: &str = "testkey";
pub(crate) const SECRET: &str = "testsecret";
/// Arguments with the API key of these calls.
pub(crate) const API_KEY_ARGS: [&str; 2] = [
    "--api-keys",
    "testkey:testsecret,reader:readsecret:read,appkey:appsecret:trade:testkey",
];

/// Two minutes at a constant price.
pub(crate) const FLAT_MINUTES: [[i64; 4]; 2] = [[40_000; 4]; 2];

pub(crate) fn signature(secret: &str, payload: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(payload.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

/// A response: status, head, body.
pub(crate) type Answer = (u16, String, Value);

/// A call as HTTP text.
pub(crate) async fn send(
    address: SocketAddr,
    method: &str,
    target: &str,
    key: Option<&str>,
    body: &str,
) -> Answer {
    let key = key.map_or(String::new(), |key| format!("X-MBX-APIKEY: {key}\r\n"));
    let length = body.len();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n{key}\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = timeout(TIMEOUT, stream.read_to_string(&mut answer)).await;
    read.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), serde_json::from_str(body).unwrap())
}

/// A signed call at the current exchange time.
pub(crate) async fn call(address: SocketAddr, method: &str, path: &str, query: &str) -> Answer {
    call_as(address, [KEY, SECRET], method, path, query).await
}

/// A signed call with another API key and its secret.
pub(crate) async fn call_as(
    address: SocketAddr,
    [key, secret]: [&str; 2],
    method: &str,
    path: &str,
    query: &str,
) -> Answer {
    let now = time(address).await;
    let joint = if query.is_empty() { "" } else { "&" };
    let payload = format!("{query}{joint}recvWindow=60000&timestamp={now}");
    let signature = signature(secret, &payload);
    let target = format!("/fapi/{path}?{payload}&signature={signature}");
    send(address, method, &target, Some(key), "").await
}

/// Arms a fault; returns its id, if it has one.
pub(crate) async fn arm(address: SocketAddr, fault: Value) -> Option<u64> {
    let (status, _, body) = send(address, "POST", "/sim/fault", None, &fault.to_string()).await;
    assert_eq!(status, 200, "{fault}: {body}");
    body["id"].as_u64()
}

/// A signed call that must succeed.
pub(crate) async fn call_ok(address: SocketAddr, method: &str, path: &str, query: &str) -> Value {
    let (status, _, body) = call(address, method, path, query).await;
    assert_eq!(status, 200, "{method} {path} {query}: {body}");
    body
}

/// Error code of a signed call that must be rejected.
pub(crate) async fn rejected_code(
    address: SocketAddr,
    method: &str,
    path: &str,
    query: &str,
) -> i64 {
    let (status, _, body) = call(address, method, path, query).await;
    assert!(status >= 400, "{method} {path} {query}: {body}");
    body["code"].as_i64().unwrap()
}

/// Minutes of BTCUSDT with these opens, highs, lows and closes, then ten quiet ones at the last close.
pub(crate) fn minute_file(candles: &[[i64; 4]]) -> CandleFile {
    let mut text = "open_time,open,high,low,close\n".to_owned();
    let last = candles.last().unwrap()[3];
    let quiet = [[last; 4]; 10];
    for (index, [open, high, low, close]) in (0..).zip(candles.iter().chain(&quiet)) {
        let time = MIDNIGHT_MS + index * MINUTE_MS;
        writeln!(text, "{time},{open},{high},{low},{close}").unwrap();
    }
    CandleFile::from_text(&text)
}

/// An exchange at the second of these minutes, paused except during [`advance_to_minute`].
pub(crate) async fn start_trading(file: &CandleFile, further: &[&str]) -> RunningExchange {
    start_with_limits(file, further, Limits::default()).await
}

pub(crate) async fn start_with_limits(
    file: &CandleFile,
    further: &[&str],
    limits: Limits,
) -> RunningExchange {
    let standing = [
        "--clock-pause",
        "without-subscribers",
        "--warmup-candles",
        "1",
    ];
    let usual: &[&str] = if further.contains(&"--speed") {
        &[]
    } else {
        &["--speed", "1200"]
    };
    let all = [&standing[..], usual, &API_KEY_ARGS, further].concat();
    file.replay(&all, limits).await.unwrap()
}

/// Runs the clock to at least this many minutes after midnight.
pub(crate) async fn advance_to_minute(exchange: &RunningExchange, minute: i64) {
    let client = Client::connect(exchange.address, "/ws/btcusdt@kline_1m").await;
    let passed = async {
        while exchange.exchange.now_ms() < MIDNIGHT_MS + minute * MINUTE_MS {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(TIMEOUT, passed).await.unwrap();
    drop(client);
    // The clock is paused again once the exchange has noticed the end of the connection.
    let stands = async {
        loop {
            let before = exchange.exchange.now_ms();
            sleep(Duration::from_millis(20)).await;
            if exchange.exchange.now_ms() == before {
                return;
            }
        }
    };
    timeout(TIMEOUT, stands).await.unwrap();
}
