//! An exchange that a test controls: REST by axum, streams by tokio-tungstenite, so that neither end of the
//! connection is the code under test. Time is counted in minutes from [`START`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bearish_binance::{BinanceDataClient, DataClientSettings, FeedSettings};
use futures_util::{SinkExt, StreamExt};
use protocol::time::UtcMs;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::Response as Handshake;
use tokio_tungstenite::tungstenite::handshake::server::{Callback, ErrorResponse, Request};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// Deadline of every wait.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Start of the first minute, 2022-01-01T00:00Z.
const START: i64 = 1_640_995_200_000;
const MINUTE: i64 = 60_000;

/// Addresses of an exchange.
pub(crate) struct Addresses {
    pub(crate) rest_url: String,
    pub(crate) ws_url: String,
}

impl Addresses {
    /// A client of this exchange.
    pub(crate) fn client(&self, feed: FeedSettings) -> BinanceDataClient {
        BinanceDataClient::new(&DataClientSettings {
            rest_url: self.rest_url.clone(),
            ws_url: self.ws_url.clone(),
            feed,
        })
        .unwrap()
    }
}

/// Open time of a minute's candle.
pub(crate) fn at(minute: i64) -> UtcMs {
    UtcMs(START + minute * MINUTE)
}

/// The minute whose candle opens at this time.
pub(crate) fn minute(open_time: UtcMs) -> i64 {
    (open_time.0 - START) / MINUTE
}

/// An action of every subscribed connection.
#[derive(Debug, Clone)]
enum StreamAction {
    Send { stream: String, text: String },
    Close(u16),
    CutMidFrame,
    StopAnswering,
}

/// An answer of REST instead of the correct one.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) status: u16,
    pub(crate) header: Option<(&'static str, &'static str)>,
    pub(crate) body: String,
}

struct Shared {
    /// Close prices of the closed candles, by symbol and minute.
    history: Mutex<BTreeMap<(String, i64), i64>>,
    listed: BTreeSet<&'static str>,
    now: AtomicI64,
    faults: Mutex<HashMap<&'static str, Fault>>,
    actions: broadcast::Sender<StreamAction>,
    /// Activities of the clients, one line each.
    activity: watch::Sender<Vec<String>>,
}

pub(crate) struct Exchange {
    shared: Arc<Shared>,
    rest_port: u16,
    stream_port: u16,
    _rest: JoinSet<()>,
    streams: Option<JoinSet<()>>,
}

impl Exchange {
    /// Lists `BTCUSDT` and `ETHUSDT`; its time is minute 0 and no candle has closed.
    pub(crate) async fn open() -> Self {
        let shared = Arc::new(Shared {
            history: Mutex::default(),
            listed: BTreeSet::from(["BTCUSDT", "ETHUSDT"]),
            now: AtomicI64::new(START),
            faults: Mutex::default(),
            actions: broadcast::Sender::new(256),
            activity: watch::Sender::default(),
        });
        let rest = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let rest_port = rest.local_addr().unwrap().port();
        let router = Router::new()
            .route("/fapi/v1/time", get(time))
            .route("/fapi/v1/klines", get(klines))
            .with_state(Arc::clone(&shared));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(rest, router).await.unwrap() });
        let mut exchange = Self {
            shared,
            rest_port,
            stream_port: 0,
            _rest: serving,
            streams: None,
        };
        exchange.start_streams().await;
        exchange
    }

    pub(crate) fn addresses(&self) -> Addresses {
        Addresses {
            rest_url: format!("http://127.0.0.1:{}", self.rest_port),
            ws_url: format!("ws://127.0.0.1:{}", self.stream_port),
        }
    }

    /// Serves streams, on the same port as before.
    pub(crate) async fn start_streams(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.stream_port))
            .await
            .unwrap();
        self.stream_port = listener.local_addr().unwrap().port();
        let shared = Arc::clone(&self.shared);
        let mut streams = JoinSet::new();
        streams.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                connections.spawn(serve(socket, Arc::clone(&shared)));
            }
        });
        self.streams = Some(streams);
    }

    /// Ends all stream connections and rejects new ones.
    pub(crate) async fn stop_streams(&mut self) {
        if let Some(mut streams) = self.streams.take() {
            streams.shutdown().await;
        }
    }

    /// Closes a candle that only REST has.
    pub(crate) fn add_candle(&self, symbol: &str, minute: i64) {
        self.add_candle_at_price(symbol, minute, 100 + minute);
        self.advance_to(minute + 1);
    }

    fn add_candle_at_price(&self, symbol: &str, minute: i64, price: i64) {
        let mut history = self.shared.history.lock().unwrap();
        history.insert((symbol.to_owned(), minute), price);
    }

    /// Advances the exchange's time to a few milliseconds after the start of this minute.
    pub(crate) fn advance_to(&self, minute: i64) {
        self.shared.now.fetch_max(at(minute).0 + 5, SeqCst);
    }

    /// Sends a closed candle on the streams.
    pub(crate) fn stream_candle(&self, symbol: &str, minute: i64) {
        self.stream_candle_at_price(symbol, minute, 100 + minute);
    }

    /// Sends a closed candle with this close price on the streams.
    pub(crate) fn stream_candle_at_price(&self, symbol: &str, minute: i64, price: i64) {
        let stream = format!("{}@kline_1m", symbol.to_ascii_lowercase());
        let (open, price) = (at(minute).0, price.to_string());
        let data = json!({"e": "kline", "E": open + MINUTE + 5, "s": symbol, "k": {
            "t": open, "T": open + MINUTE - 1, "s": symbol, "i": "1m", "f": 1, "L": 2,
            "o": price, "c": price, "h": price, "l": price, "v": "1", "n": 1, "x": true,
            "q": "1", "V": "1", "Q": "1", "B": "0",
        }});
        let text = json!({"stream": stream, "data": data}).to_string();
        self.send_action(StreamAction::Send { stream, text });
    }

    /// Closes a candle, and sends it on the streams.
    pub(crate) fn add_and_stream_candle(&self, symbol: &str, minute: i64) {
        self.add_candle(symbol, minute);
        self.stream_candle(symbol, minute);
    }

    /// Sends a close frame.
    pub(crate) fn close_streams(&self, code: u16) {
        self.send_action(StreamAction::Close(code));
    }

    /// Begins a frame and cuts the connection.
    pub(crate) fn cut_mid_frame(&self) {
        self.send_action(StreamAction::CutMidFrame);
    }

    /// Keeps the connections open and sends nothing on them, not even a close frame.
    pub(crate) fn stop_answering(&self) {
        self.send_action(StreamAction::StopAnswering);
    }

    fn send_action(&self, order: StreamAction) {
        // Some tests run without a connection.
        let _ = self.shared.actions.send(order);
    }

    /// From now on `path` answers with this fault; `None`: with the correct answer again.
    pub(crate) fn set_fault(&self, path: &'static str, fault: Option<Fault>) {
        let mut faults = self.shared.faults.lock().unwrap();
        match fault {
            Some(fault) => drop(faults.insert(path, fault)),
            None => drop(faults.remove(path)),
        }
    }

    /// Number of client activities that begin with this text.
    pub(crate) fn activity_count(&self, what: &str) -> usize {
        count(&self.shared.activity.borrow(), what)
    }

    /// Waits until the activities that begin with this text have happened `times` times.
    pub(crate) async fn wait_for_activity(&self, what: &str, times: usize) {
        let mut seen = self.shared.activity.subscribe();
        let done = seen.wait_for(|seen| count(seen, what) >= times);
        let in_time = timeout(SOON, done).await.is_ok();
        assert!(
            in_time,
            "not {times} times {what:?}: {:#?}",
            self.shared.activity.borrow()
        );
    }
}

fn count(seen: &[String], what: &str) -> usize {
    seen.iter().filter(|line| line.starts_with(what)).count()
}

impl Shared {
    fn record_activity(&self, what: String) {
        self.activity.send_modify(|seen| seen.push(what));
    }

    fn fault(&self, path: &str) -> Option<Response> {
        let fault = self.faults.lock().unwrap().get(path).cloned()?;
        let status = StatusCode::from_u16(fault.status).unwrap();
        let mut response = (status, fault.body).into_response();
        if let Some((name, value)) = fault.header {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        Some(response)
    }
}

async fn time(State(shared): State<Arc<Shared>>) -> Response {
    shared.record_activity("time".to_owned());
    let answer = Json(json!({"serverTime": shared.now.load(SeqCst)}));
    shared
        .fault("time")
        .unwrap_or_else(|| answer.into_response())
}

/// Ignores `endTime`, as an exchange may: the client must check itself which candles are closed.
async fn klines(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let symbol = query["symbol"].clone();
    let limit: usize = query["limit"].parse().unwrap();
    let start = minute(UtcMs(query["startTime"].parse().unwrap()));
    shared.record_activity(format!("klines {symbol} from {start} limit {limit}"));
    if let Some(fault) = shared.fault("klines") {
        return fault;
    }
    if !shared.listed.contains(symbol.as_str()) {
        let body = json!({"code": -1121, "msg": "Invalid symbol."});
        return (StatusCode::BAD_REQUEST, Json(body)).into_response();
    }
    let history = shared.history.lock().unwrap();
    let from = history.range((symbol.clone(), start)..(symbol, i64::MAX));
    let rows: Vec<Value> = from
        .take(limit)
        .map(|((_, minute), price)| {
            let (open, p) = (at(*minute).0, price.to_string());
            json!([
                open,
                p,
                p,
                p,
                p,
                "1",
                open + MINUTE - 1,
                "1",
                1,
                "1",
                "1",
                "0"
            ])
        })
        .collect();
    Json(rows).into_response()
}

/// Records the path of a handshake.
struct HandshakeRecorder(Arc<Shared>);

impl Callback for HandshakeRecorder {
    fn on_request(
        self,
        request: &Request,
        response: Handshake,
    ) -> Result<Handshake, ErrorResponse> {
        self.0
            .record_activity(format!("connect {}", request.uri().path()));
        Ok(response)
    }
}

async fn serve(socket: TcpStream, shared: Arc<Shared>) {
    let mut orders = shared.actions.subscribe();
    let door = HandshakeRecorder(Arc::clone(&shared));
    let Ok(mut peer) = tokio_tungstenite::accept_hdr_async(socket, door).await else {
        return;
    };
    let mut subscribed: BTreeSet<String> = BTreeSet::new();
    loop {
        select! {
            order = orders.recv() => match order.unwrap() {
                StreamAction::Send { stream, text } if subscribed.contains(&stream) => {
                    let _ = peer.send(Message::text(text)).await;
                }
                order if !subscribed.is_empty() => perform(&mut peer, order).await,
                _ => {}
            },
            message = peer.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    let answer = subscribe(&shared, &mut subscribed, &text);
                    let _ = peer.send(Message::text(answer)).await;
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            },
        }
    }
    shared.record_activity("gone".to_owned());
}

async fn perform(peer: &mut WebSocketStream<TcpStream>, order: StreamAction) {
    match order {
        StreamAction::Send { .. } => {}
        StreamAction::Close(code) => {
            let frame = CloseFrame {
                code: code.into(),
                reason: "test".into(),
            };
            let _ = peer.close(Some(frame)).await;
        }
        StreamAction::CutMidFrame => {
            // A text frame of 256 bytes that ends after one.
            let socket = peer.get_mut();
            socket
                .write_all(&[0x81, 0x7e, 0x01, 0x00, b'{'])
                .await
                .unwrap();
            socket.shutdown().await.unwrap();
        }
        // Reads past the protocol, so that nothing is answered, not even a close.
        StreamAction::StopAnswering => {
            let mut lost = [0; 1_024];
            while peer.get_mut().read(&mut lost).await.is_ok_and(|n| n > 0) {}
        }
    }
}

fn subscribe(shared: &Shared, subscribed: &mut BTreeSet<String>, text: &str) -> String {
    let request: Value = serde_json::from_str(text).unwrap();
    let method = request["method"].as_str().unwrap();
    for stream in request["params"].as_array().unwrap() {
        let stream = stream.as_str().unwrap();
        match method {
            "SUBSCRIBE" => subscribed.insert(stream.to_owned()),
            _ => subscribed.remove(stream),
        };
        shared.record_activity(format!("{method} {stream}"));
    }
    json!({"result": null, "id": request["id"]}).to_string()
}
