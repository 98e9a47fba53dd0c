//! A server that accepts connections and does with each socket what the test says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Longest time for which a socket stays open after its script has ended.
const HELD_OPEN: Duration = Duration::from_secs(20);

/// One action on a socket.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Reads the head of a request, and keeps it.
    ReadHead,
    /// Writes these bytes.
    Write(Vec<u8>),
    /// Writes these bytes one by one, with this time between them.
    Drip(Vec<u8>, Duration),
    /// Writes these bytes again and again until the client closes the connection.
    Endless(Vec<u8>),
    /// Closes the connection.
    Close,
    /// Keeps the connection open and silent.
    Hold,
}

pub(crate) struct RawServer {
    pub(crate) address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    _task: JoinSet<()>,
}

impl RawServer {
    /// A server that performs these steps on each connection.
    pub(crate) async fn start(steps: Vec<Step>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&heads);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                connections.spawn(perform(socket, steps.clone(), Arc::clone(&seen)));
            }
        });
        Self {
            address,
            heads,
            _task: task,
        }
    }

    /// A server that reads a request and writes this answer.
    pub(crate) async fn answering(answer: impl Into<Vec<u8>>, then: Step) -> Self {
        Self::start(vec![Step::ReadHead, Step::Write(answer.into()), then]).await
    }

    /// Heads of the requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

async fn perform(mut socket: TcpStream, steps: Vec<Step>, heads: Arc<Mutex<Vec<String>>>) {
    for step in steps {
        let done = match step {
            Step::ReadHead => match read_head(&mut socket).await {
                Some(head) => {
                    heads.lock().unwrap().push(head);
                    Ok(())
                }
                None => return,
            },
            Step::Write(bytes) => socket.write_all(&bytes).await,
            Step::Drip(bytes, between) => drip(&mut socket, &bytes, between).await,
            Step::Endless(bytes) => loop {
                if let Err(error) = socket.write_all(&bytes).await {
                    break Err(error);
                }
            },
            Step::Close => return,
            Step::Hold => {
                sleep(HELD_OPEN).await;
                Ok(())
            }
        };
        if done.is_err() {
            return;
        }
    }
}

async fn drip(socket: &mut TcpStream, bytes: &[u8], between: Duration) -> std::io::Result<()> {
    for byte in bytes {
        socket.write_all(&[*byte]).await?;
        sleep(between).await;
    }
    Ok(())
}

async fn read_head(socket: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// An answer with this status and these header lines, whose body has its true length.
pub(crate) fn answer(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}
