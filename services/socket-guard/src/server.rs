//! Socket of the proxy. Every container that mounts the volume of the socket can connect.

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
use protocol::exit_code::ExitCode;
use runtime::components::ComponentHandle;
use runtime::process::ExitError;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::proxy::ProxyHandler;

/// Largest number of connections; more wait in the queue of the kernel.
const MAX_CONNECTIONS: usize = 64;
/// Longest interval of the loop without a caller.
const TICK: Duration = Duration::from_secs(1);
/// Deadline for the head of a request.
const HEADER_DEADLINE: Duration = Duration::from_secs(5);
/// Longest head of a request in bytes.
const MAX_HEADER_BYTES: usize = 16 << 10;
/// Time for calls in progress to finish after a shutdown request.
const DRAIN_DEADLINE: Duration = Duration::from_secs(6);

/// Listens in place of a proxy that has ended. The socket appears under its name only when it answers, and stays when the
/// process ends: for a caller, an unreachable proxy is an unreachable Docker.
///
/// # Errors
/// Exit 71 if another proxy answers there, 78 if the path cannot be used.
pub fn bind(path: &Path) -> Result<UnixListener, ExitError> {
    if StdStream::connect(path).is_ok() {
        let why = format!(
            "SOCKET_GUARD_LISTEN=unix://{}: another guard answers there",
            path.display()
        );
        return Err(ExitError::new(ExitCode::DuplicateInstance, why));
    }
    replace_socket(path).map_err(|error| {
        ExitError::config(format!(
            "SOCKET_GUARD_LISTEN=\"unix://{}\": expected a path in a directory that this process may write: {error}",
            path.display()
        ))
    })
}

fn replace_socket(path: &Path) -> io::Result<UnixListener> {
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

/// Serves until `shutdown`, then finishes the calls in progress. `component` shows that the loop makes progress.
pub async fn run(
    listener: UnixListener,
    proxy: Arc<ProxyHandler>,
    component: &ComponentHandle,
    shutdown: CancellationToken,
) {
    let mut callers = JoinSet::new();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        component.record_iteration();
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            _ = ticks.tick() => continue,
            Some(_) = callers.join_next() => continue,
            accepted = listener.accept(), if callers.len() < MAX_CONNECTIONS => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                drop(callers.spawn(serve(stream, Arc::clone(&proxy), shutdown.clone())));
            }
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                // Out of file descriptors, most likely: the next accept would fail at once, too.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    let ended = async { while callers.join_next().await.is_some() {} };
    if timeout(DRAIN_DEADLINE, ended).await.is_err() {
        tracing::warn!("calls in progress not finished");
    }
}

/// Serves one connection with one request.
async fn serve(stream: UnixStream, proxy: Arc<ProxyHandler>, shutdown: CancellationToken) {
    let peer = peer(&stream);
    let service = service_fn(|request| {
        let (guard, peer) = (&proxy, &peer);
        async move { Ok::<_, Infallible>(guard.handle(peer, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .max_buf_size(MAX_HEADER_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "caller disconnected");
    }
}

/// Caller as the kernel reports it; a process of another container has no id here.
fn peer(stream: &UnixStream) -> String {
    match stream.peer_cred() {
        Err(error) => format!("unknown: {error}"),
        Ok(peer) => match peer.pid() {
            Some(pid) if pid > 0 => format!("uid {} gid {} pid {pid}", peer.uid(), peer.gid()),
            _ => format!("uid {} gid {}", peer.uid(), peer.gid()),
        },
    }
}
