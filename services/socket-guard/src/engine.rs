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
const LARGEST: usize = 8 << 20;

/// The engine did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// No connection.
    #[error("{0}")]
    Connect(io::Error),
    /// The connection broke.
    #[error("{0}")]
    Broken(#[from] hyper::Error),
    /// It takes too long.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// What it said is none.
    #[error("its answer is not understood: {0}")]
    Odd(String),
}

impl Lost {
    /// We may not use the socket.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Connect(error) if error.kind() == io::ErrorKind::PermissionDenied)
    }
}

/// Where the engine listens.
#[derive(Debug, Clone)]
pub struct Engine {
    socket: PathBuf,
}

/// The beginning of an answer.
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// The rest of it.
    pub body: Rest,
}

/// The rest of an answer, with the connection that it comes over; closed when this is dropped.
pub struct Rest {
    incoming: Incoming,
    _connection: JoinSet<()>,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub struct Whole {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// What it says.
    pub text: Bytes,
}

impl Engine {
    /// Nothing is reached yet.
    pub const fn at(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Asks and reads the answer whole.
    ///
    /// # Errors
    /// [`Lost`].
    pub async fn ask(&self, method: &str, target: &str, deadline: Duration) -> Result<Whole, Lost> {
        let asked = async {
            let reply = self.send(method, target).await?;
            let read = Limited::new(reply.body, LARGEST).collect().await;
            let text = read.map_err(|error| Lost::Odd(error.to_string()))?;
            Ok(Whole {
                status: reply.status,
                headers: reply.headers,
                text: text.to_bytes(),
            })
        };
        timeout(deadline, asked)
            .await
            .unwrap_or(Err(Lost::Late(deadline)))
    }

    /// Asks and reads how the answer begins.
    ///
    /// # Errors
    /// [`Lost`].
    pub async fn open(
        &self,
        method: &str,
        target: &str,
        deadline: Duration,
    ) -> Result<Reply, Lost> {
        timeout(deadline, self.send(method, target))
            .await
            .unwrap_or(Err(Lost::Late(deadline)))
    }

    async fn send(&self, method: &str, target: &str) -> Result<Reply, Lost> {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, "docker")
            .body(Empty::<Bytes>::new())
            .map_err(|error| Lost::Odd(error.to_string()))?;
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(Lost::Connect)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut driven = JoinSet::new();
        driven.spawn(async move {
            // Its end, good or bad, is told by the answer.
            let _ = connection.await;
        });
        let (head, incoming) = sender.send_request(request).await?.into_parts();
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            body: Rest {
                incoming,
                _connection: driven,
            },
        })
    }
}

impl Body for Rest {
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
