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

const LONGEST: usize = 64 * 1024;
/// A lost call's connection stays open for longer than any client waits.
const SILENCE: Duration = Duration::from_secs(30);

/// Which side of the exchange a call is held on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The exchange has not heard of it.
    Asked,
    /// The exchange has carried it out.
    Answered,
}

/// What becomes of a held call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It goes on.
    GoesOn,
    /// It is lost.
    Lost,
}

/// A call that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// GET, POST, ...
    pub method: String,
    /// Without what was asked for.
    pub path: String,
    /// When it came.
    pub asked: Instant,
    /// When the exchange had answered.
    pub answered: Instant,
}

struct Trap {
    method: &'static str,
    path: &'static str,
    /// Calls of this kind that pass before.
    skip: usize,
    when: When,
    caught: oneshot::Sender<()>,
    then: watch::Receiver<Option<Then>>,
}

/// The call that a test waits for.
pub struct Held {
    caught: oneshot::Receiver<()>,
    then: watch::Sender<Option<Then>>,
}

impl Held {
    /// Waits until the call is held.
    pub async fn caught(&mut self, within: Duration) {
        let caught = tokio::time::timeout(within, &mut self.caught).await;
        caught
            .unwrap_or_else(|_| panic!("no such call within {within:?}"))
            .unwrap();
    }

    /// Decides what becomes of it.
    pub fn then(&self, then: Then) {
        self.then.send_replace(Some(then));
    }
}

struct Shared {
    exchange: SocketAddr,
    traps: Mutex<Vec<Trap>>,
    seen: Mutex<Vec<Seen>>,
    /// Calls outlive their client: a killed trader's call still arrives.
    calls: Mutex<JoinSet<()>>,
}

/// A gateway to an exchange's REST side.
pub struct Gateway {
    address: SocketAddr,
    shared: Arc<Shared>,
    _serving: JoinSet<()>,
}

impl Gateway {
    /// Serves when this returns.
    pub async fn to(exchange: SocketAddr) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], ports::reserve()));
        let listener = TcpListener::bind(address).await.unwrap();
        let shared = Arc::new(Shared {
            exchange,
            traps: Mutex::default(),
            seen: Mutex::default(),
            calls: Mutex::default(),
        });
        let router = Router::new().fallback(pass).with_state(Arc::clone(&shared));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            address,
            shared,
            _serving: serving,
        }
    }

    /// The address that the trader is given.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The calls so far that were answered, in the order of their answers.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Holds the next call of this kind, after so many others of it.
    pub fn hold(&self, method: &'static str, path: &'static str, skip: usize, when: When) -> Held {
        let (told, caught) = oneshot::channel();
        let (then, decided) = watch::channel(None);
        self.shared.traps.lock().unwrap().push(Trap {
            method,
            path,
            skip,
            when,
            caught: told,
            then: decided,
        });
        Held { caught, then }
    }
}

impl Shared {
    /// The trap that this call falls into.
    fn trap(&self, method: &str, path: &str) -> Option<Trap> {
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

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let asked = Instant::now();
    let (method, path) = (
        request.method().to_string(),
        request.uri().path().to_owned(),
    );
    let trap = shared.trap(&method, &path);
    let call = raw(request).await;
    let (answered, answer) = oneshot::channel();
    let exchange = shared.exchange;
    shared.calls.lock().unwrap().spawn(async move {
        if let Some(text) = carry(exchange, &call, trap).await {
            let _ = answered.send(text);
        }
    });
    if let Ok(text) = answer.await {
        shared.seen.lock().unwrap().push(Seen {
            method,
            path,
            asked,
            answered: Instant::now(),
        });
        return response(&text);
    }
    tokio::time::sleep(SILENCE).await;
    status(StatusCode::GATEWAY_TIMEOUT)
}

/// The exchange's answer; none to a call that is lost on either side.
async fn carry(exchange: SocketAddr, call: &str, trap: Option<Trap>) -> Option<String> {
    let Some(mut trap) = trap else {
        return Some(send(exchange, call).await);
    };
    if trap.when == When::Answered {
        let answer = send(exchange, call).await;
        let _ = trap.caught.send(());
        return (decided(&mut trap.then).await == Then::GoesOn).then_some(answer);
    }
    let _ = trap.caught.send(());
    match decided(&mut trap.then).await {
        Then::GoesOn => Some(send(exchange, call).await),
        Then::Lost => None,
    }
}

async fn decided(then: &mut watch::Receiver<Option<Then>>) -> Then {
    match then.wait_for(Option::is_some).await {
        Ok(decided) => decided.unwrap_or(Then::Lost),
        // The test has ended.
        Err(_) => Then::Lost,
    }
}

/// The call as it goes over the wire.
async fn raw(request: Request) -> String {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, LONGEST).await.unwrap();
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

async fn send(exchange: SocketAddr, call: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(exchange).await else {
        return "HTTP/1.1 502 Bad Gateway\r\n\r\n".to_owned();
    };
    let mut answer = String::new();
    if stream.write_all(call.as_bytes()).await.is_ok() {
        let _ = stream.read_to_string(&mut answer).await;
    }
    answer
}

fn response(text: &str) -> Response {
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return status(StatusCode::BAD_GATEWAY);
    };
    if head.contains("transfer-encoding: chunked") {
        // The exchange tells how long its answers are, but for one that it cuts.
        return cut();
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
fn cut() -> Response {
    let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let body = futures_util::stream::iter([Err::<Vec<u8>, _>(broken)]);
    Response::new(Body::from_stream(body))
}

fn status(code: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code;
    response
}
