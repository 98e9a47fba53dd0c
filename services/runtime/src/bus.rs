//! The connection to NATS: settings, connecting with retries, storing and reading messages.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::DirectGetErrorKind;
use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event};
use bytes::Bytes;
use clap::Args;
use futures_util::TryStreamExt;
use protocol::exit_code::ExitCode;
use protocol::ids::SubjectToken;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::exit_error::ExitError;
use crate::{secrets, streams};

/// Deadline of every call to the bus.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// Begins the subjects of API calls on a bus with users. Not `$JS.API`, which the account of a role would answer itself.
/// The accounts with streams map it.
const API_PREFIX: &str = "bus.API";
const PING_INTERVAL: Duration = Duration::from_secs(5);
const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(200),
    cap: Duration::from_secs(5),
};
const MIN_SERVER_VERSION: (i64, i64, i64) = (2, 10, 0);

/// Bus settings of every service.
#[derive(Debug, Clone, Args)]
pub struct BusSettings {
    /// Address of the NATS server
    #[arg(long, env = "NATS_URL", value_name = "NATS_URL",
          default_value = "nats://nats:4222", value_parser = nats_url)]
    pub nats_url: String,

    /// User of this role
    #[arg(long, env = "NATS_USER", value_name = "NATS_USER")]
    pub nats_user: Option<SubjectToken>,

    /// Password of the user
    #[arg(
        long,
        env = "NATS_PASSWORD",
        value_name = "NATS_PASSWORD",
        hide_env_values = true
    )]
    pub nats_password: Option<SecretString>,

    /// File with the password of the user
    #[arg(long, env = "NATS_PASSWORD_FILE", value_name = "NATS_PASSWORD_FILE")]
    pub nats_password_file: Option<PathBuf>,
}

fn nats_url(text: &str) -> Result<String, String> {
    let parsed: Result<async_nats::ServerAddr, _> = text.parse();
    let schemed = ["nats://", "tls://"].iter().any(|s| text.starts_with(s));
    match parsed {
        Ok(address) if schemed && address.username().is_none() => Ok(text.to_owned()),
        Ok(address) if address.username().is_some() => {
            Err("expected no credentials: use NATS_USER and NATS_PASSWORD".to_owned())
        }
        _ => Err("expected nats://host:port or tls://host:port".to_owned()),
    }
}

/// A connection to the bus; cheap to clone.
#[derive(Clone)]
pub struct Bus {
    client: Client,
    jetstream: Context,
    /// Number of times the connection was established.
    connects: watch::Receiver<u64>,
}

impl Bus {
    /// Connects, and retries until the server accepts or `shutdown` is cancelled. `on_wait` is called with the error of each
    /// attempt.
    ///
    /// # Errors
    /// Exit 78 for a wrong user or password or an older server; exit 0 when cancelled.
    pub async fn connect(
        settings: &BusSettings,
        shutdown: &CancellationToken,
        mut on_wait: impl FnMut(&str),
    ) -> Result<Self, ExitError> {
        for failures in 1.. {
            let error = match Self::try_connect(settings).await {
                Ok(bus) => return Ok(bus),
                Err(BusError::Fatal(error)) => return Err(error),
                Err(BusError::Retryable(error)) => error,
            };
            on_wait(&error);
            wait_for_retry(&error, failures, shutdown).await?;
        }
        Err(stopped_while_waiting())
    }

    /// Connects and waits until the named streams exist as [`streams::stream_configs`] defines them.
    ///
    /// # Errors
    /// As [`connect`](Self::connect); exit 78 for a stream that is missing or different.
    pub async fn connect_with_streams(
        settings: &BusSettings,
        streams: &[&str],
        shutdown: &CancellationToken,
    ) -> Result<Self, ExitError> {
        let bus = Self::connect(settings, shutdown, |_| {}).await?;
        for failures in 1.. {
            match bus.verify_streams(streams).await {
                Ok(()) => break,
                Err(BusError::Fatal(error)) => return Err(error),
                Err(BusError::Retryable(error)) => {
                    wait_for_retry(&error, failures, shutdown).await?;
                }
            }
        }
        Ok(bus)
    }

    /// Makes one attempt to connect.
    ///
    /// # Errors
    /// [`BusError::Retryable`] if a retry can help, otherwise [`BusError::Fatal`].
    pub async fn try_connect(settings: &BusSettings) -> Result<Self, BusError> {
        let (established, connects) = watch::channel(0);
        let client = connect_options(settings)
            .map_err(BusError::Fatal)?
            .event_callback(move |event| {
                log_connection_event(&event);
                if matches!(event, Event::Connected) {
                    established.send_modify(|count| *count += 1);
                }
                std::future::ready(())
            })
            .connect(settings.nats_url.as_str())
            .await
            .map_err(|error| classify_connect_error(settings, &error))?;
        let (major, minor, patch) = MIN_SERVER_VERSION;
        if !client.is_server_compatible(major, minor, patch) {
            let found = client.server_info().version;
            return Err(BusError::Fatal(ExitError::config(format!(
                "NATS_URL={:?}: the server is {found}, needed is {major}.{minor} or newer",
                settings.nats_url
            ))));
        }
        let mut jetstream = match &settings.nats_user {
            Some(_) => jetstream::with_prefix(client.clone(), API_PREFIX),
            None => jetstream::new(client.clone()),
        };
        jetstream.set_timeout(DEADLINE);
        Ok(Self {
            client,
            jetstream,
            connects,
        })
    }

    /// Compares the named streams with [`streams::stream_configs`].
    ///
    /// # Errors
    /// [`BusError::Fatal`] (exit 78) if a stream is missing or different, [`BusError::Retryable`] if the bus does not
    /// answer.
    pub async fn verify_streams(&self, names: &[&str]) -> Result<(), BusError> {
        for wanted in streams::stream_configs() {
            if !names.contains(&wanted.name.as_str()) {
                continue;
            }
            let name = &wanted.name;
            let stream = match self.jetstream.get_stream(name).await {
                Ok(stream) => stream,
                Err(error) if is_stream_missing(&error) => {
                    return Err(BusError::Fatal(ExitError::config(format!(
                        "stream {name} is missing; run bus-init"
                    ))));
                }
                Err(error) => return Err(BusError::Retryable(format!("stream {name}: {error}"))),
            };
            let found = differences(&wanted, &stream.cached_info().config);
            if !found.is_empty() {
                return Err(BusError::Fatal(ExitError::config(format!(
                    "stream {name}: {found}; run bus-init or fix it"
                ))));
            }
        }
        Ok(())
    }

    /// Stores a message in a stream and returns its sequence.
    ///
    /// # Errors
    /// [`StoreError`], if the message was not stored or its outcome is unknown.
    pub async fn store(&self, subject: &str, message: PublishMessage) -> Result<u64, StoreError> {
        let acked = async {
            let ack = self
                .jetstream
                .send_publish(subject.to_owned(), message)
                .await?;
            ack.await
        };
        match timeout(DEADLINE, acked).await {
            Ok(Ok(ack)) => Ok(ack.sequence),
            Ok(Err(error)) => Err(match error.kind() {
                PublishErrorKind::WrongLastSequence => StoreError::Fenced,
                PublishErrorKind::MaxPayloadExceeded => StoreError::TooLarge,
                _ => StoreError::Unknown(error.to_string()),
            }),
            Err(_) => Err(StoreError::Unknown(format!(
                "no acknowledgement within {DEADLINE:?}"
            ))),
        }
    }

    /// Newest message of one subject, by a direct read; `None` if there is none.
    ///
    /// # Errors
    /// One line, if the bus does not answer.
    pub async fn latest_message(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Option<LatestMessage>, String> {
        let get = async {
            let stream = self
                .jetstream
                .get_stream_no_info(stream)
                .await
                .map_err(|error| error.to_string())?;
            match stream.direct_get_last_for_subject(subject).await {
                Ok(message) => Ok(Some(LatestMessage {
                    subject: subject.to_owned(),
                    seq: message.sequence,
                    payload: message.payload,
                })),
                Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
                Err(error) => Err(error.to_string()),
            }
        };
        timeout(DEADLINE, get)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {DEADLINE:?}")))
    }

    /// Newest message of one subject, parsed from JSON; `None` if there is none, or if it cannot be parsed, which is logged.
    ///
    /// # Errors
    /// One line, if the bus does not answer.
    pub async fn newest_json<M: DeserializeOwned>(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Option<M>, String> {
        let newest = self.latest_message(stream, subject).await?;
        Ok(newest.and_then(|message| message.json()))
    }

    /// As [`newest_json`](Self::newest_json), of every subject that matches a filter; sorted by subject.
    ///
    /// # Errors
    /// As [`newest_json`](Self::newest_json).
    pub async fn newest_json_of_each<M: DeserializeOwned>(
        &self,
        stream: &str,
        filter: &str,
    ) -> Result<Vec<(String, M)>, String> {
        let mut subjects = self.subjects(stream, filter).await?;
        subjects.sort();
        let mut found = Vec::new();
        for subject in subjects {
            if let Some(message) = self.newest_json(stream, &subject).await? {
                found.push((subject, message));
            }
        }
        Ok(found)
    }

    /// Subjects of a stream that match a filter and hold a message.
    ///
    /// # Errors
    /// One line, if the bus does not answer.
    pub async fn subjects(&self, stream: &str, filter: &str) -> Result<Vec<String>, String> {
        let list = async {
            let stream = self
                .jetstream
                .get_stream_no_info(stream)
                .await
                .map_err(|error| error.to_string())?;
            let found: Vec<(String, usize)> = stream
                .info_with_subjects(filter)
                .await
                .map_err(|error| error.to_string())?
                .try_collect()
                .await
                .map_err(|error| error.to_string())?;
            Ok(found.into_iter().map(|(subject, _)| subject).collect())
        };
        timeout(DEADLINE, list)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {DEADLINE:?}")))
    }

    /// JetStream context of the connection.
    pub const fn jetstream(&self) -> &Context {
        &self.jetstream
    }

    /// Core NATS client of the connection.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Changes whenever the connection is established. Messages may have been lost with the connection before it.
    pub fn connects(&self) -> watch::Receiver<u64> {
        self.connects.clone()
    }

    /// Whether the connection is established now.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }
}

/// Newest message of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatestMessage {
    /// Subject of the message.
    pub subject: String,
    /// Sequence in the stream.
    pub seq: u64,
    /// Payload of the message.
    pub payload: Bytes,
}

impl LatestMessage {
    /// Payload parsed from JSON; `None` if it cannot be parsed, which is logged.
    pub fn json<M: DeserializeOwned>(&self) -> Option<M> {
        let parsed = serde_json::from_slice(&self.payload);
        parsed
            .inspect_err(|error| {
                tracing::warn!(subject = self.subject, seq = self.seq, %error, "message not readable; skipped");
            })
            .ok()
    }
}

/// Error of storing a message.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The subject has a newer message (10071), or an earlier attempt was stored after all.
    #[error("the subject has a newer message")]
    Fenced,
    /// The message exceeds the size limit of the server.
    #[error("the message exceeds the size limit of the server")]
    TooLarge,
    /// The outcome is unknown: the message may be stored.
    #[error("{0}")]
    Unknown(String),
}

/// Error of connecting to the bus.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// A retry can help.
    #[error("{0}")]
    Retryable(String),
    /// A retry cannot help.
    #[error("{0}")]
    Fatal(ExitError),
}

impl BusError {
    /// Error that ends the process, for callers that do not retry: exit 69 if a retry could help.
    pub fn into_exit_error(self) -> ExitError {
        match self {
            Self::Retryable(reason) => ExitError::new(ExitCode::Unavailable, reason),
            Self::Fatal(stop) => stop,
        }
    }
}

/// Logs the error and waits until the next attempt.
///
/// # Errors
/// Exit 0 when cancelled.
async fn wait_for_retry(
    error: &str,
    failures: u32,
    shutdown: &CancellationToken,
) -> Result<(), ExitError> {
    let wait = BACKOFF.wait(failures);
    tracing::warn!(error, retry_in = ?wait, "bus unavailable");
    let slept = shutdown.run_until_cancelled(tokio::time::sleep(wait)).await;
    slept.ok_or_else(stopped_while_waiting)
}

fn stopped_while_waiting() -> ExitError {
    ExitError::new(ExitCode::Success, "stopped while waiting for the bus")
}

fn differences(wanted: &jetstream::stream::Config, found: &jetstream::stream::Config) -> String {
    streams::differences(wanted, found).join("; ")
}

fn is_stream_missing(error: &jetstream::context::GetStreamError) -> bool {
    use jetstream::ErrorCode;
    use jetstream::context::GetStreamErrorKind;
    matches!(error.kind(), GetStreamErrorKind::JetStream(e)
        if e.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

fn connect_options(settings: &BusSettings) -> Result<ConnectOptions, ExitError> {
    let password = secrets::resolve(
        "NATS_PASSWORD",
        settings.nats_password.as_ref(),
        settings.nats_password_file.as_deref(),
    )?;
    let options = ConnectOptions::new()
        .ping_interval(PING_INTERVAL)
        .connection_timeout(DEADLINE)
        .request_timeout(Some(DEADLINE));
    match (&settings.nats_user, password) {
        (None, None) => Ok(options),
        (Some(user), Some(password)) => Ok(options
            .name(user.to_string())
            .custom_inbox_prefix(format!("_INBOX_{user}"))
            .user_and_password(user.to_string(), password.expose_secret().to_owned())),
        (Some(user), None) => Err(ExitError::config(format!(
            "NATS_USER={user} is set, but neither NATS_PASSWORD nor NATS_PASSWORD_FILE"
        ))),
        (None, Some(_)) => Err(ExitError::config(
            "NATS_PASSWORD is set, but NATS_USER is not",
        )),
    }
}

fn classify_connect_error(settings: &BusSettings, error: &ConnectError) -> BusError {
    let url = &settings.nats_url;
    match error.kind() {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            let user = settings
                .nats_user
                .as_ref()
                .map_or("none", SubjectToken::as_str);
            BusError::Fatal(ExitError::config(format!(
                "NATS_URL={url:?}: the server refused NATS_USER={user} with this password"
            )))
        }
        ConnectErrorKind::ServerParse => {
            BusError::Fatal(ExitError::config(format!("NATS_URL={url:?}: {error}")))
        }
        _ => BusError::Retryable(format!("NATS_URL={url:?}: {error}")),
    }
}

/// Logs an event of the connection. A publish without permission is visible only here and as a timeout.
fn log_connection_event(event: &Event) {
    match event {
        Event::Connected => tracing::info!("bus connected"),
        Event::Disconnected => tracing::warn!("bus disconnected"),
        Event::ServerError(error) => tracing::error!(%error, "bus rejected a request"),
        Event::SlowConsumer(id) => tracing::warn!(subscription = id, "bus subscription too slow"),
        other => tracing::info!(event = %other, "bus connection event"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nats_url_with_credentials_is_rejected() {
        assert!(nats_url("nats://a:b@host:4222").is_err());
        assert!(nats_url("nats://host:4222").is_ok());
        assert!(nats_url("http://host:4222").is_err());
        assert!(nats_url("host").is_err());
    }
}
