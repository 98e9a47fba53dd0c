//! Connections to Docker, or to a proxy: one for each call, with a request that is built here and a deadline for the
//! response.

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

/// Largest response that is read whole, in bytes.
const MAX_RESPONSE_BYTES: usize = 8 << 20;

/// Docker did not respond.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The socket cannot be connected to.
    #[error("{0}")]
    Connect(io::Error),
    /// The connection broke before the response was complete.
    #[error("{0}")]
    Broken(#[from] hyper::Error),
    /// The response did not arrive before this deadline.
    #[error("no response within {0:?}")]
    Timeout(Duration),
    /// The response cannot be parsed.
    #[error("response cannot be parsed: {0}")]
    InvalidResponse(String),
}

impl UpstreamError {
    /// Whether this process may not use the socket.
    pub fn is_permission_denied(&self) -> bool {
        matches!(self, Self::Connect(error) if error.kind() == io::ErrorKind::PermissionDenied)
    }
}

/// Client of the socket of Docker, or of a proxy.
#[derive(Debug, Clone)]
pub struct Upstream {
    socket: PathBuf,
}

/// Beginning of a response.
pub struct UpstreamResponse {
    /// Status of the response.
    pub status: StatusCode,
    /// Headers of the response.
    pub headers: HeaderMap,
    /// Body of the response.
    pub body: ResponseStream,
}

/// Body of a response with its connection, which closes when the body is dropped.
pub struct ResponseStream {
    incoming: Incoming,
    _connection: JoinSet<()>,
}

/// A response that was read whole.
#[derive(Debug)]
pub struct FullResponse {
    /// Status of the response.
    pub status: StatusCode,
    /// Headers of the response.
    pub headers: HeaderMap,
    /// Body of the response.
    pub body: Bytes,
}

impl Upstream {
    /// Upstream at this socket; nothing is connected yet.
    pub const fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Sends a request and reads the whole response.
    ///
    /// # Errors
    /// [`UpstreamError`], if Docker does not respond.
    pub async fn request(
        &self,
        method: &str,
        target: &str,
        deadline: Duration,
    ) -> Result<FullResponse, UpstreamError> {
        let asked = async { self.send_request(method, target).await?.read_body().await };
        timeout(deadline, asked)
            .await
            .unwrap_or(Err(UpstreamError::Timeout(deadline)))
    }

    /// Sends a request and reads the beginning of the response.
    ///
    /// # Errors
    /// [`UpstreamError`], if Docker does not respond.
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
            // The response reports an error of the connection.
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

impl UpstreamResponse {
    /// Reads the whole body. The caller has the deadline.
    ///
    /// # Errors
    /// [`UpstreamError`] if the body is too long or breaks off.
    pub async fn read_body(self) -> Result<FullResponse, UpstreamError> {
        let read = Limited::new(self.body, MAX_RESPONSE_BYTES).collect().await;
        let text = read.map_err(|error| UpstreamError::InvalidResponse(error.to_string()))?;
        Ok(FullResponse {
            status: self.status,
            headers: self.headers,
            body: text.to_bytes(),
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
