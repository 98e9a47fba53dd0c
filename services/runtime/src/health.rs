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

/// `Ok`: well, in a few words, one line.
pub type Answer = Result<String, Ailment>;

/// Why a process is not well, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ailment {
    /// Something else keeps it from its work: a restart would not help.
    Waits(String),
    /// It stands still: a restart would help.
    Hangs(String),
}

impl Ailment {
    /// It waits for something else.
    pub fn waits(why: impl Into<String>) -> Self {
        Self::Waits(why.into())
    }

    /// It stands still.
    pub fn hangs(why: impl Into<String>) -> Self {
        Self::Hangs(why.into())
    }
}

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

/// Asks the process of this name; prints its answer. The body of every `health` subcommand: exit 69 is for who
/// waits for something else, 70 for who hangs or does not answer.
pub async fn ask(service: Service, name: &str) -> ExitCode {
    let answer = timeout(DEADLINE, fetch(service, name)).await;
    let (line, code) = match answer {
        Ok(Ok(Ok(line))) => (line, ExitCode::Done),
        Ok(Ok(Err(Ailment::Waits(why)))) => (format!("failing {why}"), ExitCode::Unavailable),
        Ok(Ok(Err(Ailment::Hangs(why)))) => (format!("hanging {why}"), ExitCode::Internal),
        Ok(Err(error)) => (format!("not running: {error}"), ExitCode::Internal),
        Err(_) => (format!("no answer within {DEADLINE:?}"), ExitCode::Internal),
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
        Some(("failing", why)) => Err(Ailment::waits(why)),
        Some(("hanging", why)) => Err(Ailment::hangs(why)),
        _ => Err(Ailment::hangs(format!("answers {text:?}"))),
    })
}

async fn answer(mut stream: UnixStream, answer: &Answer) -> io::Result<()> {
    let line = match answer {
        Ok(words) => format!("ok {words}\n"),
        Err(Ailment::Waits(why)) => format!("failing {why}\n"),
        Err(Ailment::Hangs(why)) => format!("hanging {why}\n"),
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
    async fn a_duplicate_is_noticed() {
        let name = format!("test-{}", std::process::id());
        let _server = HealthServer::bind(Service::Trader, &name).unwrap();
        let second = HealthServer::bind(Service::Trader, &name).err().unwrap();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn the_answer_arrives_as_it_was_given() {
        let name = format!("test-answers-{}", std::process::id());
        let server = HealthServer::bind(Service::Trader, &name).unwrap();
        let stop = CancellationToken::new();
        let answers = [
            (Ok("3 books".to_owned()), ExitCode::Done),
            (Err(Ailment::waits("no bus")), ExitCode::Unavailable),
            (Err(Ailment::hangs("its loop stands")), ExitCode::Internal),
        ];
        let given = std::sync::Mutex::new(answers[0].0.clone());
        let answering = server.run(|| given.lock().unwrap().clone(), stop.clone());
        let asked = async {
            for (answer, code) in &answers {
                given.lock().unwrap().clone_from(answer);
                assert_eq!(fetch(Service::Trader, &name).await.unwrap(), *answer);
                assert_eq!(ask(Service::Trader, &name).await, *code);
            }
            stop.cancel();
        };
        tokio::join!(answering, asked);
    }

    #[tokio::test]
    async fn nobody_there_is_not_healthy() {
        assert_eq!(ask(Service::Trader, "nobody").await, ExitCode::Internal);
    }
}
