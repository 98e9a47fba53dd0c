//! SIGINT and SIGTERM: the first requests a graceful shutdown, the second ends the process at once. Both exit with 0,
//! because an operator requested them.

use std::io;

use protocol::exit_code::ExitCode;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Listens for signals until it is dropped.
pub struct Shutdown {
    token: CancellationToken,
    listener: JoinHandle<()>,
}

impl Shutdown {
    /// Starts to listen. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// If the operating system does not install the handlers.
    #[allow(
        clippy::disallowed_methods,
        reason = "the task is owned: Drop aborts it, and it has no end of its own to report"
    )]
    pub fn listen() -> io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        let token = CancellationToken::new();
        let listener = tokio::spawn(handle_signals(interrupt, terminate, token.clone()));
        Ok(Self { token, listener })
    }

    /// Token that the first signal cancels.
    pub const fn token(&self) -> &CancellationToken {
        &self.token
    }
}

impl Drop for Shutdown {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the second signal means now: every store is crash-safe, nothing needs a destructor"
)]
async fn handle_signals(mut interrupt: Signal, mut terminate: Signal, token: CancellationToken) {
    let name = next_signal(&mut interrupt, &mut terminate).await;
    tracing::info!(
        signal = name,
        "shutdown requested; a second signal ends the process at once"
    );
    token.cancel();
    let name = next_signal(&mut interrupt, &mut terminate).await;
    tracing::warn!(signal = name, "second signal; process ends at once");
    std::process::exit(ExitCode::Success.number().into());
}

async fn next_signal(interrupt: &mut Signal, terminate: &mut Signal) -> &'static str {
    tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    }
}
