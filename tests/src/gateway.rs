//! An HTTP proxy between a trader and its exchange. It forwards calls and holds the one that a test waits for:
//! before the exchange receives it, or before the trader receives the response. The test can then kill the
//! trader at that instant, and forward or discard the call. Entry point: [`Gateway`].

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, StatusCode};
use axum::response::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::ports;

const MAX_BODY_BYTES: usize = 64 * 1024;
/// Time for which the connection of a discarded call stays open: longer than any client waits.
const LOST_CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Whether a call is held before or after the exchange executes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldPoint {
    /// The exchange has not received the call.
    BeforeExchange,
    /// The exchange has executed the call; its response is held.
    AfterExchange,
}

/// What happens to a held call on release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseAction {
    /// The call or its response is forwarded.
    Forward,
    /// The call or its response is discarded.
    Discard,
}

/// A call whose response was passed on to the trader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnsweredCall {
    /// HTTP method, such as `POST`.
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// Time at which the call arrived.
    pub requested_at: Instant,
    /// Time at which the exchange had responded.
    pub answered_at: Instant,
}

struct CallTrap {
    method: &'static str,
    path: &'static str,
    /// Number of calls with this method and path that are forwarded first.
    skip: usize,
    hold_point: HoldPoint,
    caught: oneshot::Sender<()>,
    release: watch::Receiver<Option<ReleaseAction>>,
}

/// Handle of a call that will be held.
pub struct HeldCall {
    caught: oneshot::Receiver<()>,
    release: watch::Sender<Option<ReleaseAction>>,
}

impl HeldCall {
    /// Waits until the call is held.
    pub async fn wait_until_held(&mut self, within: Duration) {
        let caught = tokio::time::timeout(within, &mut self.caught).await;
        caught
            .unwrap_or_else(|_| panic!("no matching call within {within:?}"))
            .unwrap();
    }

    /// Forwards or discards the call.
    pub fn release(&self, action: ReleaseAction) {
        self.release.send_replace(Some(action));
    }
}

struct GatewayState {
    exchange: SocketAddr,
    traps: Mutex<Vec<CallTrap>>,
    answered: Mutex<Vec<AnsweredCall>>,
    /// Running calls. They outlive their client: the call of a killed trader still reaches the exchange.
    calls: Mutex<JoinSet<()>>,
}

/// A running proxy of an exchange's REST API.
pub struct Gateway {
    address: SocketAddr,
    state: Arc<GatewayState>,
    _serving: JoinSet<()>,
}

impl Gateway {
    /// Starts a proxy on a reserved port of the loopback interface.
    pub async fn start(exchange: SocketAddr) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], ports::reserve()));
        let listener = TcpListener::bind(address).await.unwrap();
        let shared = Arc::new(GatewayState {
            exchange,
            traps: Mutex::default(),
            answered: Mutex::default(),
            calls: Mutex::default(),
        });
        let router = Router::new()
            .fallback(handle_request)
            .with_state(Arc::clone(&shared));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            address,
            state: shared,
            _serving: serving,
        }
    }

    /// Value for the trader's `BINANCE_REST_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The calls that were answered so far, in the order of their responses.
    pub fn answered_calls(&self) -> Vec<AnsweredCall> {
        self.state.answered.lock().unwrap().clone()
    }

    /// Holds the next call with this method and path after `skip` such calls.
    pub fn hold_call(
        &self,
        method: &'static str,
        path: &'static str,
        skip: usize,
        hold_point: HoldPoint,
    ) -> HeldCall {
        let (caught_sender, caught) = oneshot::channel();
        let (release_sender, release) = watch::channel(None);
        self.state.traps.lock().unwrap().push(CallTrap {
            method,
            path,
            skip,
            hold_point,
            caught: caught_sender,
            release,
        });
        HeldCall {
            caught,
            release: release_sender,
        }
    }
}

impl GatewayState {
    /// Takes the trap that holds this call. `None` if the call is to be forwarded.
    fn take_trap(&self, method: &str, path: &str) -> Option<CallTrap> {
        let mut traps = self.traps.lock().unwrap();
        let found = traps
            .iter()
            .position(|t| t.method == method && t.path == path)?;
        if traps[found].skip > 0 {
            traps[found].skip -= 1;
            return None;
        }
        Some(traps.remove(found))
    }
}

async fn handle_request(State(shared): State<Arc<GatewayState>>, request: Request) -> Response {
    let requested_at = Instant::now();
    let (method, path) = (
        request.method().to_string(),
        request.uri().path().to_owned(),
    );
    let trap = shared.take_trap(&method, &path);
    let call = serialize_request(request).await;
    let (answered, answer) = oneshot::channel();
    let exchange = shared.exchange;
    shared.calls.lock().unwrap().spawn(async move {
        if let Some(text) = forward(exchange, &call, trap).await {
            let _ = answered.send(text);
        }
    });
    if let Ok(text) = answer.await {
        shared.answered.lock().unwrap().push(AnsweredCall {
            method,
            path,
            requested_at,
            answered_at: Instant::now(),
        });
        return parse_response(&text);
    }
    tokio::time::sleep(LOST_CALL_TIMEOUT).await;
    empty_response(StatusCode::GATEWAY_TIMEOUT)
}

/// Returns the exchange's response. `None` if the call or its response was discarded.
async fn forward(exchange: SocketAddr, call: &str, trap: Option<CallTrap>) -> Option<String> {
    let Some(mut trap) = trap else {
        return Some(send_raw(exchange, call).await);
    };
    if trap.hold_point == HoldPoint::AfterExchange {
        let answer = send_raw(exchange, call).await;
        let _ = trap.caught.send(());
        return (wait_for_release(&mut trap.release).await == ReleaseAction::Forward)
            .then_some(answer);
    }
    let _ = trap.caught.send(());
    match wait_for_release(&mut trap.release).await {
        ReleaseAction::Forward => Some(send_raw(exchange, call).await),
        ReleaseAction::Discard => None,
    }
}

async fn wait_for_release(release: &mut watch::Receiver<Option<ReleaseAction>>) -> ReleaseAction {
    match release.wait_for(Option::is_some).await {
        Ok(action) => action.unwrap_or(ReleaseAction::Discard),
        // The test has ended.
        Err(_) => ReleaseAction::Discard,
    }
}

/// HTTP/1.1 text of the call, with the headers that the exchange reads.
async fn serialize_request(request: Request) -> String {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, MAX_BODY_BYTES).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let kept = |name: &HeaderName| name.as_str() == "x-mbx-apikey" || name == "content-type";
    let headers = head.headers.iter().filter(|(name, _)| kept(name));
    let headers: Vec<String> = headers
        .map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap()))
        .collect();
    let headers = headers.concat();
    format!(
        "{} {} HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        head.method,
        head.uri,
        body.len()
    )
}

async fn send_raw(exchange: SocketAddr, call: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(exchange).await else {
        return "HTTP/1.1 502 Bad Gateway\r\n\r\n".to_owned();
    };
    let mut answer = String::new();
    if stream.write_all(call.as_bytes()).await.is_ok() {
        let _ = stream.read_to_string(&mut answer).await;
    }
    answer
}

fn parse_response(text: &str) -> Response {
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return empty_response(StatusCode::BAD_GATEWAY);
    };
    if head.contains("transfer-encoding: chunked") {
        // The exchange sends a content length with every response, except with one that it cuts.
        return truncated_response();
    }
    let mut lines = head.lines();
    let code = lines.next().and_then(|line| line.split(' ').nth(1));
    let code = code.and_then(|code| code.parse().ok()).unwrap_or(502);
    let mut response = Response::builder().status(code);
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        if name.starts_with("x-mbx") || name == "retry-after" || name == "content-type" {
            response = response.header(name, value);
        }
    }
    response.body(Body::from(body.to_owned())).unwrap()
}

/// A response whose body ends early.
fn truncated_response() -> Response {
    let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let body = futures_util::stream::iter([Err::<Vec<u8>, _>(broken)]);
    Response::new(Body::from_stream(body))
}

fn empty_response(code: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code;
    response
}
