//! Helpers: an exchange in this process on a free port, small candle files, plain HTTP,
//! and a WebSocket client.

pub(crate) mod faults;
pub(crate) mod program;
pub(crate) mod signed;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use exchange_sim::exchange::{Exchange, Limits};
use exchange_sim::server::Server;
use exchange_sim::settings::Cli;
use futures_util::{SinkExt, StreamExt};
use runtime::process::ExitError;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use tokio_util::sync::CancellationToken;

pub(crate) const MINUTE_MS: i64 = 60_000;
/// 2026-01-05T00:00Z: every interval begins here.
pub(crate) const MIDNIGHT_MS: i64 = 1_767_571_200_000;
/// Time limit of every wait.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// A serving exchange.
pub(crate) struct RunningExchange {
    pub(crate) address: SocketAddr,
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) shutdown: CancellationToken,
    tasks: JoinSet<Result<(), ExitError>>,
}

impl RunningExchange {
    /// Shuts the exchange down and waits for its end.
    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        let ended = timeout(TIMEOUT, self.tasks.join_next()).await.unwrap();
        ended.unwrap().unwrap().unwrap();
    }
}

pub(crate) async fn try_start(
    arguments: &[&str],
    limits: Limits,
) -> Result<RunningExchange, ExitError> {
    let all = ["exchange-sim", "--listen", "127.0.0.1:0"];
    let cli = Cli::try_parse_from(all.iter().chain(arguments)).unwrap();
    let server = Server::bind(cli.settings, limits).await?;
    let (address, exchange) = (server.address(), Arc::clone(server.exchange()));
    let shutdown = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(server.run(shutdown.clone()));
    Ok(RunningExchange {
        address,
        exchange,
        shutdown,
        tasks,
    })
}

pub(crate) async fn start(arguments: &[&str]) -> RunningExchange {
    try_start(arguments, Limits::default()).await.unwrap()
}

/// A candle file in its own directory.
pub(crate) struct CandleFile {
    dir: tempfile::TempDir,
}

impl CandleFile {
    pub(crate) fn from_text(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("candles.csv"), text).unwrap();
        Self { dir }
    }

    /// `count` valid one-minute candles from midnight on.
    pub(crate) fn minutes(count: i64) -> Self {
        let mut text = "open_time,open,high,low,close,volume,quote_volume\n".to_owned();
        for index in 0..count {
            let time = MIDNIGHT_MS + index * MINUTE_MS;
            let open = 40_000 + index % 7 * 10;
            let close = 40_000 + (index + 1) % 7 * 10;
            let (high, low) = (open.max(close) + 5, open.min(close) - 5);
            writeln!(text, "{time},{open},{high},{low},{close},1.5,60000").unwrap();
        }
        Self::from_text(&text)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("candles.csv")
    }

    /// An exchange that replays this file, with further arguments.
    pub(crate) async fn replay(
        &self,
        arguments: &[&str],
        limits: Limits,
    ) -> Result<RunningExchange, ExitError> {
        let path = self.path();
        let mut all = vec![
            "--market",
            "replay",
            "--candles-file",
            path.to_str().unwrap(),
        ];
        all.extend(arguments);
        try_start(&all, limits).await
    }
}

/// A plain GET: status, head, body.
pub(crate) async fn get(address: SocketAddr, path: &str) -> (u16, String, Value) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(TIMEOUT, stream.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), serde_json::from_str(body).unwrap())
}

/// The exchange's time over REST.
pub(crate) async fn time(address: SocketAddr) -> i64 {
    let (_, _, body) = get(address, "/fapi/v1/time").await;
    body["serverTime"].as_i64().unwrap()
}

/// All rows of a klines answer.
pub(crate) async fn klines(address: SocketAddr, query: &str) -> Vec<Value> {
    let (status, _, body) = get(address, &format!("/fapi/v1/klines?{query}")).await;
    assert_eq!(status, 200, "{body}");
    body.as_array().unwrap().clone()
}

/// A WebSocket client that speaks JSON.
pub(crate) struct Client(pub WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    pub(crate) async fn connect(address: SocketAddr, path: &str) -> Self {
        let (socket, _) = connect_async(format!("ws://{address}{path}"))
            .await
            .unwrap();
        Self(socket)
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// The next text message.
    pub(crate) async fn receive(&mut self) -> Value {
        loop {
            let received = timeout(TIMEOUT, self.0.next()).await.unwrap();
            if let Message::Text(text) = received.unwrap().unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    /// The next response to a request.
    pub(crate) async fn receive_response(&mut self) -> Value {
        loop {
            let received = self.receive().await;
            if received.get("e").is_none() && received.get("stream").is_none() {
                return received;
            }
        }
    }
}
