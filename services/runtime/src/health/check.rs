//! Health check of Docker: the process answers one line on an abstract Unix socket, and the `health` subcommand of the
//! same program queries it. An image needs no port, file or shell for it.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener, UnixStream as StdStream};
use std::time::Duration;

use protocol::exit_code::ExitCode;
use protocol::ids::Service;
use serde::{Serialize, Serializer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::stdout::OutputArgs;

const DEADLINE: Duration = Duration::from_secs(3);
const MAX_ANSWER_BYTES: u64 = 4096;

/// Result of a health check: what the process does, or why it is unhealthy, in one line.
pub type HealthResult = Result<String, HealthFailure>;

/// Why a process is unhealthy, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthFailure {
    /// A dependency is unavailable: a restart does not help.
    WaitingForDependency(String),
    /// The process is hung: a restart helps.
    Hung(String),
}

impl HealthFailure {
    /// Failure because a dependency is unavailable.
    pub fn waiting(reason: impl Into<String>) -> Self {
        Self::WaitingForDependency(reason.into())
    }

    /// Failure because the process is hung.
    pub fn hung(reason: impl Into<String>) -> Self {
        Self::Hung(reason.into())
    }
}

/// A bound health socket.
pub struct HealthServer {
    listener: UnixListener,
}

impl HealthServer {
    /// Binds the socket. `name` distinguishes processes of one service on one host.
    ///
    /// # Errors
    /// `AddrInUse` if a process of this name runs already.
    pub fn bind(service: Service, name: &str) -> io::Result<Self> {
        let listener = StdListener::bind_addr(&address(service, name)?)?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener: UnixListener::from_std(listener)?,
        })
    }

    /// Answers every query with the result of `check` at that moment, until `shutdown`.
    pub async fn run(self, check: impl Fn() -> HealthResult, shutdown: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            let result = match accepted {
                Ok((stream, _)) => send_result(stream, &check()).await,
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                tracing::debug!(%error, "health query aborted");
            }
        }
    }
}

/// Result of a health check, as the `health` subcommand of a program prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HealthAnswer {
    status: &'static str,
    text: String,
    #[serde(serialize_with = "exit_number")]
    exit_code: ExitCode,
}

impl HealthAnswer {
    /// The process is healthy.
    pub fn healthy(text: impl Into<String>) -> Self {
        Self::new("healthy", text, ExitCode::Success)
    }

    /// A dependency of the process is unavailable: exit 69.
    pub fn waiting(text: impl Into<String>) -> Self {
        Self::new("waiting", text, ExitCode::Unavailable)
    }

    /// The process is hung or does not run: exit 70.
    pub fn hung(text: impl Into<String>) -> Self {
        Self::new("hung", text, ExitCode::Internal)
    }

    fn new(status: &'static str, text: impl Into<String>, code: ExitCode) -> Self {
        Self {
            status,
            text: text.into(),
            exit_code: code,
        }
    }

    /// Prints the text, or the whole as JSON; returns the exit code. Docker keeps what a health check prints, and needs
    /// the exit code even if the output is closed.
    pub fn print(&self, output: OutputArgs) -> ExitCode {
        let _ = output.print(self, || self.text.clone());
        self.exit_code
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn exit_number<S: Serializer>(code: &ExitCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(code.number())
}

/// Queries the process of this name and prints the result. Exit 69 if the process waits for a dependency, 70 if it is
/// hung or does not answer.
pub async fn query(service: Service, name: &str, output: OutputArgs) -> ExitCode {
    let answer = timeout(DEADLINE, read_result(service, name)).await;
    let answer = match answer {
        Ok(Ok(Ok(line))) => HealthAnswer::healthy(line),
        Ok(Ok(Err(HealthFailure::WaitingForDependency(why)))) => {
            HealthAnswer::waiting(format!("waiting: {why}"))
        }
        Ok(Ok(Err(HealthFailure::Hung(why)))) => HealthAnswer::hung(format!("hung: {why}")),
        Ok(Err(error)) => HealthAnswer::hung(format!("not running: {error}")),
        Err(_) => HealthAnswer::hung(format!("no answer within {DEADLINE:?}")),
    };
    answer.print(output)
}

async fn read_result(service: Service, name: &str) -> io::Result<HealthResult> {
    let stream = StdStream::connect_addr(&address(service, name)?)?;
    stream.set_nonblocking(true)?;
    let stream = UnixStream::from_std(stream)?;
    let mut text = String::new();
    stream
        .take(MAX_ANSWER_BYTES)
        .read_to_string(&mut text)
        .await?;
    let text = text.trim_end();
    Ok(match text.split_once(' ') {
        Some(("ok", details)) => Ok(details.to_owned()),
        Some(("waiting", why)) => Err(HealthFailure::waiting(why)),
        Some(("hung", why)) => Err(HealthFailure::hung(why)),
        _ => Err(HealthFailure::hung(format!("answers {text:?}"))),
    })
}

async fn send_result(mut stream: UnixStream, answer: &HealthResult) -> io::Result<()> {
    let line = match answer {
        Ok(details) => format!("ok {details}\n"),
        Err(HealthFailure::WaitingForDependency(why)) => format!("waiting {why}\n"),
        Err(HealthFailure::Hung(why)) => format!("hung {why}\n"),
    };
    let written = timeout(DEADLINE, stream.write_all(line.as_bytes())).await;
    written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn address(service: Service, name: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("bearish-alpha/{service}/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn health_server_detects_a_duplicate_process() {
        let name = format!("test-{}", std::process::id());
        let _server = HealthServer::bind(Service::Trader, &name).unwrap();
        let second = HealthServer::bind(Service::Trader, &name).err().unwrap();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn health_query_returns_what_the_process_answers() {
        let name = format!("test-answers-{}", std::process::id());
        let server = HealthServer::bind(Service::Trader, &name).unwrap();
        let stop = CancellationToken::new();
        let answers = [
            (Ok("3 books".to_owned()), ExitCode::Success),
            (Err(HealthFailure::waiting("no bus")), ExitCode::Unavailable),
            (
                Err(HealthFailure::hung("its loop stands")),
                ExitCode::Internal,
            ),
        ];
        let given = std::sync::Mutex::new(answers[0].0.clone());
        let answering = server.run(|| given.lock().unwrap().clone(), stop.clone());
        let asked = async {
            for (answer, code) in &answers {
                given.lock().unwrap().clone_from(answer);
                assert_eq!(read_result(Service::Trader, &name).await.unwrap(), *answer);
                assert_eq!(
                    query(Service::Trader, &name, OutputArgs::default()).await,
                    *code
                );
            }
            stop.cancel();
        };
        tokio::join!(answering, asked);
    }

    #[test]
    fn health_answer_as_json_has_status_text_and_exit_code() {
        let json = serde_json::to_value(HealthAnswer::waiting("no bus")).unwrap();
        let expected = serde_json::json!({"status": "waiting", "text": "no bus", "exit_code": 69});
        assert_eq!(json, expected);
    }

    #[tokio::test]
    async fn health_query_without_a_process_is_unhealthy() {
        assert_eq!(
            query(Service::Trader, "no-such-process", OutputArgs::default()).await,
            ExitCode::Internal
        );
    }
}
