//! Between a trader and its exchange: lets calls through, and holds the one that a test waits for, before the
//! exchange has it or before its answer is back. So a test kills the trader at that very instant, and then
//! lets the call go on, or be lost.

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
/// A lost call's connection stays open for longer than any client waits.
const LOST_CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Which side of the exchange a call is held on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldPoint {
    /// The exchange has not heard of it.
    BeforeExchange,
    /// The exchange has carried it out.
    AfterExchange,
}

/// What becomes of a held call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseAction {
    /// It goes on.
    Forward,
    /// It is lost.
    Discard,
}

/// A call that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnsweredCall {
    /// GET, POST, ...
    pub method: String,
    /// Without what was asked for.
    pub path: String,
    /// When it came.
    pub requested_at: Instant,
    /// When the exchange had answered.
    pub answered_at: Instant,
}

struct CallTrap {
    method: &'static str,
    path: &'static str,
    /// Calls of this kind that pass before.
    skip: usize,
    hold_point: HoldPoint,
    caught: oneshot::Sender<()>,
    release: watch::Receiver<Option<ReleaseAction>>,
}

/// The call that a test waits for.
pub struct HeldCall {
    caught: oneshot::Receiver<()>,
    release: watch::Sender<Option<ReleaseAction>>,
}

impl HeldCall {
    /// Waits until the call is held.
    pub async fn wait_until_held(&mut self, within: Duration) {
        let caught = tokio::time::timeout(within, &mut self.caught).await;
        caught
            .unwrap_or_else(|_| panic!("no such call within {within:?}"))
            .unwrap();
    }

    /// Decides what becomes of it.
    pub fn release(&self, then: ReleaseAction) {
        self.release.send_replace(Some(then));
    }
}

struct GatewayState {
    exchange: SocketAddr,
    traps: Mutex<Vec<CallTrap>>,
    answered: Mutex<Vec<AnsweredCall>>,
    /// Calls outlive their client: a killed trader's call still arrives.
    calls: Mutex<JoinSet<()>>,
}

/// A gateway to an exchange's REST side.
pub struct Gateway {
    address: SocketAddr,
    state: Arc<GatewayState>,
    _serving: JoinSet<()>,
}

impl Gateway {
    /// Serves when this returns.
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

    /// The address that the trader is given.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The calls so far that were answered, in the order of their answers.
    pub fn answered_calls(&self) -> Vec<AnsweredCall> {
        self.state.answered.lock().unwrap().clone()
    }

    /// Holds the next call of this kind, after so many others of it.
    pub fn hold_call(
        &self,
        method: &'static str,
        path: &'static str,
        skip: usize,
        when: HoldPoint,
    ) -> HeldCall {
        let (told, caught) = oneshot::channel();
        let (then, decided) = watch::channel(None);
        self.state.traps.lock().unwrap().push(CallTrap {
            method,
            path,
            skip,
            hold_point: when,
            caught: told,
            release: decided,
        });
        HeldCall {
            caught,
            release: then,
        }
    }
}

impl GatewayState {
    /// The trap that this call falls into.
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
    let asked = Instant::now();
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
            requested_at: asked,
            answered_at: Instant::now(),
        });
        return parse_response(&text);
    }
    tokio::time::sleep(LOST_CALL_TIMEOUT).await;
    empty_response(StatusCode::GATEWAY_TIMEOUT)
}

/// The exchange's answer; none to a call that is lost on either side.
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

async fn wait_for_release(then: &mut watch::Receiver<Option<ReleaseAction>>) -> ReleaseAction {
    match then.wait_for(Option::is_some).await {
        Ok(decided) => decided.unwrap_or(ReleaseAction::Discard),
        // The test has ended.
        Err(_) => ReleaseAction::Discard,
    }
}

/// The call as it goes over the wire.
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
        // The exchange tells how long its answers are, but for one that it cuts.
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

/// An answer that breaks off.
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
