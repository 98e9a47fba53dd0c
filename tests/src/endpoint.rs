//! A small HTTP end that keeps what is sent to it: a webhook, an ntfy topic, a dead man's switch.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A word in its address that nobody but its caller may know.
pub const SECRET: &str = "s3cret-topic-frotz";
const MAX_BODY_BYTES: usize = 1 << 20;

/// One of them; ends with the value.
pub struct Endpoint {
    port: u16,
    state: Arc<Mutex<EndpointState>>,
    _server: JoinSet<()>,
}

struct EndpointState {
    status: StatusCode,
    calls: Vec<Call>,
}

/// What was sent.
#[derive(Debug, Clone)]
pub struct Call {
    /// GET, POST, ….
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    /// As text.
    pub body: String,
    /// When it came.
    pub received_at: Instant,
}

impl Call {
    /// The header of this name; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        let mut all = self.headers.iter();
        all.find(|(known, _)| known == name)
            .map_or("", |(_, value)| value)
    }
}

impl Endpoint {
    /// On the loopback, on any free port; answers 200.
    pub async fn start() -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = TcpListener::bind(address).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let inside = Arc::new(Mutex::new(EndpointState {
            status: StatusCode::OK,
            calls: Vec::new(),
        }));
        let app = Router::new()
            .fallback(record_call)
            .with_state(Arc::clone(&inside));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            port,
            state: inside,
            _server: server,
        }
    }

    /// Its address, with the secret in it.
    pub fn url(&self) -> String {
        format!("http://{}:{}/{SECRET}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// It answers with this status from now on.
    pub fn set_status(&self, status: u16) {
        self.lock_state().status = StatusCode::from_u16(status).unwrap();
    }

    /// Everything so far, oldest first.
    pub fn calls(&self) -> Vec<Call> {
        self.lock_state().calls.clone()
    }

    fn lock_state(&self) -> MutexGuard<'_, EndpointState> {
        self.state.lock().unwrap()
    }
}

async fn record_call(
    State(inside): State<Arc<Mutex<EndpointState>>>,
    request: Request,
) -> (StatusCode, String) {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, MAX_BODY_BYTES).await.unwrap();
    let headers = head.headers.iter();
    let call = Call {
        method: head.method.to_string(),
        path: head.uri.to_string(),
        headers: headers
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                (name.to_string(), value)
            })
            .collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
        received_at: Instant::now(),
    };
    let mut inside = inside.lock().unwrap();
    inside.calls.push(call);
    (inside.status, "<html>hello</html>".to_owned())
}
