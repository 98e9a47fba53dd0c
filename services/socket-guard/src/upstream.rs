//! The way to the engine, or to a guard: a connection of its own for each call, a request that is built
//! here from nothing, an answer with a deadline. What may be asked is not decided here.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Largest answer that is read whole.
const MAX_RESPONSE_BYTES: usize = 8 << 20;

/// The engine did not answer.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No connection.
    #[error("{0}")]
    Connect(io::Error),
    /// The connection broke.
    #[error("{0}")]
    Broken(#[from] hyper::Error),
    /// It takes too long.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// What it said is none.
    #[error("its answer is not understood: {0}")]
    InvalidResponse(String),
}

impl UpstreamError {
    /// We may not use the socket.
    pub fn is_permission_denied(&self) -> bool {
        matches!(self, Self::Connect(error) if error.kind() == io::ErrorKind::PermissionDenied)
    }
}

/// Where the engine listens.
#[derive(Debug, Clone)]
pub struct Upstream {
    socket: PathBuf,
}

/// The beginning of an answer.
pub struct UpstreamResponse {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// The rest of it.
    pub body: ResponseStream,
}

/// The rest of an answer, with the connection that it comes over; closed when this is dropped.
pub struct ResponseStream {
    incoming: Incoming,
    _connection: JoinSet<()>,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub struct FullResponse {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// What it says.
    pub body: Bytes,
}

impl Upstream {
    /// Nothing is reached yet.
    pub const fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Asks and reads the answer whole.
    ///
    /// # Errors
    /// [`Lost`].
    pub async fn request(
        &self,
        method: &str,
        target: &str,
        deadline: Duration,
    ) -> Result<FullResponse, UpstreamError> {
        let asked = async {
            let reply = self.send_request(method, target).await?;
            let read = Limited::new(reply.body, MAX_RESPONSE_BYTES).collect().await;
            let text = read.map_err(|error| UpstreamError::InvalidResponse(error.to_string()))?;
            Ok(FullResponse {
                status: reply.status,
                headers: reply.headers,
                body: text.to_bytes(),
            })
        };
        timeout(deadline, asked)
            .await
            .unwrap_or(Err(UpstreamError::Timeout(deadline)))
    }

    /// Asks and reads how the answer begins.
    ///
    /// # Errors
    /// [`Lost`].
    pub async fn open_stream(
        &self,
        method: &str,
        target: &str,
        deadline: Duration,
    ) -> Result<UpstreamResponse, UpstreamError> {
        timeout(deadline, self.send_request(method, target))
            .await
            .unwrap_or(Err(UpstreamError::Timeout(deadline)))
    }

    async fn send_request(
        &self,
        method: &str,
        target: &str,
    ) -> Result<UpstreamResponse, UpstreamError> {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, "docker")
            .body(Empty::<Bytes>::new())
            .map_err(|error| UpstreamError::InvalidResponse(error.to_string()))?;
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(UpstreamError::Connect)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut driven = JoinSet::new();
        driven.spawn(async move {
            // Its end, good or bad, is told by the answer.
            let _ = connection.await;
        });
        let (head, incoming) = sender.send_request(request).await?.into_parts();
        Ok(UpstreamResponse {
            status: head.status,
            headers: head.headers,
            body: ResponseStream {
                incoming,
                _connection: driven,
            },
        })
    }
}

impl Body for ResponseStream {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.incoming).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }
}
