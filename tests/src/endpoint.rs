//! An HTTP server that records requests: stands for a webhook, an ntfy topic or a dead man's switch.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Secret path of the address; it must not appear in any log.
pub const SECRET: &str = "s3cret-topic-frotz";
const MAX_BODY_BYTES: usize = 1 << 20;

/// A running server; stops on drop.
pub struct Endpoint {
    port: u16,
    state: Arc<Mutex<EndpointState>>,
    _server: JoinSet<()>,
}

struct EndpointState {
    status: StatusCode,
    calls: Vec<Call>,
}

/// A request as the server received it.
#[derive(Debug, Clone)]
pub struct Call {
    /// HTTP method, such as `POST`.
    pub method: String,
    /// Path and query of the address.
    pub path: String,
    /// Header names in lower case, and their values.
    pub headers: Vec<(String, String)>,
    /// Request body as text.
    pub body: String,
    /// Time at which the request arrived.
    pub received_at: Instant,
}

impl Call {
    /// Value of a header; empty if it is missing.
    pub fn header(&self, name: &str) -> &str {
        let mut all = self.headers.iter();
        all.find(|(known, _)| known == name)
            .map_or("", |(_, value)| value)
    }
}

impl Endpoint {
    /// Starts on a free port of the loopback interface; responds with status 200.
    pub async fn start() -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = TcpListener::bind(address).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(EndpointState {
            status: StatusCode::OK,
            calls: Vec::new(),
        }));
        let app = Router::new()
            .fallback(record_call)
            .with_state(Arc::clone(&state));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            port,
            state,
            _server: server,
        }
    }

    /// Address, including the secret path.
    pub fn url(&self) -> String {
        format!("http://{}:{}/{SECRET}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// Responds with this status from now on.
    pub fn set_status(&self, status: u16) {
        self.lock_state().status = StatusCode::from_u16(status).unwrap();
    }

    /// All requests so far, oldest first.
    pub fn calls(&self) -> Vec<Call> {
        self.lock_state().calls.clone()
    }

    fn lock_state(&self) -> MutexGuard<'_, EndpointState> {
        self.state.lock().unwrap()
    }
}

async fn record_call(
    State(state): State<Arc<Mutex<EndpointState>>>,
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
    let mut state = state.lock().unwrap();
    state.calls.push(call);
    (state.status, "<html>hello</html>".to_owned())
}
