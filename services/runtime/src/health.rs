//! Docker's HEALTHCHECK: the process answers one line on an abstract Unix socket, and a `health`
//! subcommand of the same binary asks for it. No port, no file, no shell in the image.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener, UnixStream as StdStream};
use std::time::Duration;

use protocol::exit::ExitCode;
use protocol::ids::Service;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(3);
const LONGEST_ANSWER: u64 = 4096;

/// `Ok`: well, in a few words. `Err`: not, and why. One line each.
pub type Answer = Result<String, String>;

/// A bound socket that will answer.
pub struct HealthServer {
    listener: UnixListener,
}

impl HealthServer {
    /// Binds. `name` is what tells processes of one service on one host apart; inside a container
    /// there is only one.
    ///
    /// # Errors
    /// `AddrInUse` if a process of this name is alive: a duplicate.
    pub fn bind(service: Service, name: &str) -> io::Result<Self> {
        let listener = StdListener::bind_addr(&address(service, name)?)?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener: UnixListener::from_std(listener)?,
        })
    }

    /// Answers every caller with what `examine` says at that moment, until `stop`.
    pub async fn run(self, examine: impl Fn() -> Answer, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            let result = match accepted {
                Ok((stream, _)) => answer(stream, &examine()).await,
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                tracing::debug!(%error, "health caller went away");
            }
        }
    }
}

/// Asks the process of this name; prints its answer. The body of every `health` subcommand.
pub async fn ask(service: Service, name: &str) -> ExitCode {
    let answer = timeout(DEADLINE, fetch(service, name)).await;
    let (line, code) = match answer {
        Ok(Ok(Ok(line))) => (line, ExitCode::Done),
        Ok(Ok(Err(line))) => (line, ExitCode::Unavailable),
        Ok(Err(error)) => (format!("not running: {error}"), ExitCode::Unavailable),
        Err(_) => (
            format!("no answer within {DEADLINE:?}"),
            ExitCode::Unavailable,
        ),
    };
    say(&line);
    code
}

#[allow(
    clippy::print_stdout,
    reason = "Docker keeps what a health check prints"
)]
fn say(line: &str) {
    println!("{line}");
}

async fn fetch(service: Service, name: &str) -> io::Result<Answer> {
    let stream = StdStream::connect_addr(&address(service, name)?)?;
    stream.set_nonblocking(true)?;
    let stream = UnixStream::from_std(stream)?;
    let mut text = String::new();
    stream
        .take(LONGEST_ANSWER)
        .read_to_string(&mut text)
        .await?;
    let text = text.trim_end();
    Ok(match text.split_once(' ') {
        Some(("ok", words)) => Ok(words.to_owned()),
        _ => Err(text.to_owned()),
    })
}

async fn answer(mut stream: UnixStream, answer: &Answer) -> io::Result<()> {
    let line = match answer {
        Ok(words) => format!("ok {words}\n"),
        Err(why) => format!("failing {why}\n"),
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
    async fn the_answer_arrives_as_it_was_given_and_a_duplicate_is_noticed() {
        let name = format!("test-{}", std::process::id());
        let server = HealthServer::bind(Service::Trader, &name).unwrap();
        let second = HealthServer::bind(Service::Trader, &name).err().unwrap();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        let stop = CancellationToken::new();
        let failing = server.run(|| Err("stale".to_owned()), stop.clone());
        let asked = async {
            let answer = fetch(Service::Trader, &name).await.unwrap();
            stop.cancel();
            answer
        };
        let ((), answer) = tokio::join!(failing, asked);
        assert_eq!(answer, Err("failing stale".to_owned()));
    }

    #[tokio::test]
    async fn nobody_there_is_not_healthy() {
        assert_eq!(ask(Service::Trader, "nobody").await, ExitCode::Unavailable);
    }
}
