//! The socket that callers see: who may connect is decided by who has its volume. What they may ask is
//! not decided here.

use std::convert::Infallible;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use protocol::exit::ExitCode;
use runtime::process::Stop;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::guard::Guard;

/// Callers at once; more wait in the kernel's queue.
const CALLERS: usize = 64;
/// A caller has said what it wants within this time.
const HEAD: Duration = Duration::from_secs(5);
/// Most bytes of a request's head.
const LARGEST_HEAD: usize = 16 << 10;
/// Calls under way may end within this time after a stop was asked for.
const DRAIN: Duration = Duration::from_secs(6);

/// Listens, in place of a guard that has ended. The socket appears under its name only when it answers,
/// and stays when we end: to a caller a guard that is away is an engine that is away.
///
/// # Errors
/// Exit 71 if another guard answers there, 78 if the path cannot be had.
pub fn bind(path: &Path) -> Result<UnixListener, Stop> {
    if StdStream::connect(path).is_ok() {
        let why = format!(
            "GUARD_SOCKET=unix://{}: another guard answers there",
            path.display()
        );
        return Err(Stop::new(ExitCode::DuplicateInstance, why));
    }
    bind_anew(path).map_err(|error| {
        Stop::config(format!(
            "GUARD_SOCKET=unix://{}: {error}; allowed is a path in a directory that can be written",
            path.display()
        ))
    })
}

fn bind_anew(path: &Path) -> io::Result<UnixListener> {
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&new)?;
    // Callers need not be root: they have the volume, or they do not.
    fs::set_permissions(&new, Permissions::from_mode(0o666))?;
    fs::rename(&new, path)?;
    Ok(listener)
}

/// Answers callers until `stop`, then lets those end that are being answered.
pub async fn run(listener: UnixListener, guard: Arc<Guard>, stop: CancellationToken) {
    let mut callers = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = callers.join_next() => continue,
            accepted = listener.accept(), if callers.len() < CALLERS => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                drop(callers.spawn(serve(stream, Arc::clone(&guard), stop.clone())));
            }
            Err(error) => {
                tracing::warn!(%error, "no caller accepted");
                // Out of file descriptors, most likely: the next accept would fail at once, too.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    let ended = async { while callers.join_next().await.is_some() {} };
    if timeout(DRAIN, ended).await.is_err() {
        tracing::warn!("left calls unanswered");
    }
}

/// One connection, one request: nothing can hide behind it.
async fn serve(stream: UnixStream, guard: Arc<Guard>, stop: CancellationToken) {
    let peer = peer(&stream);
    let service = service_fn(|request| {
        let (guard, peer) = (&guard, &peer);
        async move { Ok::<_, Infallible>(guard.answer(peer, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(LARGEST_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a caller went away");
    }
}

/// Who asks, as the kernel says; a process of another container has no id here.
fn peer(stream: &UnixStream) -> String {
    match stream.peer_cred() {
        Err(error) => format!("unknown: {error}"),
        Ok(peer) => match peer.pid() {
            Some(pid) if pid > 0 => format!("uid {} gid {} pid {pid}", peer.uid(), peer.gid()),
            _ => format!("uid {} gid {}", peer.uid(), peer.gid()),
        },
    }
}
