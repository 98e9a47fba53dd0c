//! Docker API calls. Each has its own deadline, and errors are classified by what the caller does next.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::path::Path;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, ContainerSummary, EventMessage};
use bollard::query_parameters::{
    EventsOptionsBuilder, KillContainerOptionsBuilder, ListContainersOptionsBuilder,
    LogsOptionsBuilder, RestartContainerOptionsBuilder, StopContainerOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::{Stream, TryStreamExt};
use protocol::ids::SubjectToken;
use runtime::process::ExitError;
use tokio::time::timeout;

use crate::inspect::{HEAL_LABEL, PROJECT_LABEL, SUPERVISE_LABEL};

const QUICK_DEADLINE: Duration = Duration::from_secs(3);
const LIST_DEADLINE: Duration = Duration::from_secs(5);
const LOGS_DEADLINE: Duration = Duration::from_secs(2);
const START_DEADLINE: Duration = Duration::from_secs(30);
/// Time that a stop may take beyond the grace.
const STOP_MARGIN: Duration = Duration::from_secs(5);
/// Timeout of the client itself, longer than all deadlines here.
const CLIENT_TIMEOUT_SECS: u64 = 3_600;
/// Name of the socket guard among Docker's components.
const SOCKET_GUARD: &str = "socket-guard";
/// Events that change a container. Health checks and execs are left out.
const WATCHED_ACTIONS: [&str; 9] = [
    "kill", "die", "stop", "start", "pause", "unpause", "oom", "destroy", "rename",
];

/// Error of a Docker call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DockerError {
    /// The container does not exist.
    #[error("no such container")]
    NoSuchContainer,
    /// Docker rejected the call.
    #[error("{0}")]
    Rejected(String),
    /// The connection failed, so the outcome is unknown.
    #[error("{0}")]
    NoAnswer(String),
    /// The deadline passed, so the outcome is unknown. Docker itself may run: one container can block its own calls.
    #[error("{0}")]
    Timeout(String),
    /// The socket guard answers, but cannot reach Docker.
    #[error("{0}")]
    DaemonUnreachable(String),
}

/// Why Docker cannot be used yet, or at all.
#[derive(Debug)]
pub enum ConnectError {
    /// Docker does not answer, with the error in one line.
    Retry(String),
    /// The configuration is invalid.
    Exit(ExitError),
}

impl From<DockerError> for ConnectError {
    fn from(error: DockerError) -> Self {
        Self::Retry(error.to_string())
    }
}

/// Docker client for the containers of one project. Clones share a connection.
#[derive(Clone)]
pub struct DockerClient {
    docker: Docker,
    project: SubjectToken,
}

/// A client for a socket, not connected yet.
///
/// # Errors
/// Exit 78 if there is no socket.
pub fn new_client(socket: &Path) -> Result<Docker, ExitError> {
    let path = socket.display().to_string();
    Docker::connect_with_unix(&path, CLIENT_TIMEOUT_SECS, API_DEFAULT_VERSION).map_err(|_| {
        ExitError::config(format!(
            "DOCKER_HOST=\"unix://{path}\": expected a socket; mount the Docker socket there"
        ))
    })
}

/// Agrees on an API version, because the client's own is newer than most daemons'.
///
/// # Errors
/// [`ConnectError::Exit`] with exit 78 if this process may not use the socket, else [`ConnectError::Retry`].
pub async fn negotiate(docker: &Docker, socket: &Path) -> Result<Docker, ConnectError> {
    match timeout(QUICK_DEADLINE, docker.clone().negotiate_version()).await {
        Ok(Ok(docker)) => Ok(docker),
        Ok(Err(error)) if is_forbidden(&error) => {
            let path = socket.display();
            Err(ConnectError::Exit(ExitError::config(format!(
                "DOCKER_HOST=\"unix://{path}\": permission denied; run as root or in the socket's group",
            ))))
        }
        Ok(Err(error)) => Err(ConnectError::Retry(error_line(&error))),
        Err(_) => Err(ConnectError::Retry(format!(
            "no answer within {QUICK_DEADLINE:?}"
        ))),
    }
}

/// Compose project of a container. `None` if it has none.
///
/// # Errors
/// [`DockerError`].
pub async fn container_project(
    docker: &Docker,
    hostname: &str,
) -> Result<Option<SubjectToken>, DockerError> {
    let found = with_deadline(QUICK_DEADLINE, docker.inspect_container(hostname, None)).await?;
    let labels = found.config.and_then(|config| config.labels);
    let project = labels.and_then(|mut labels| labels.remove(PROJECT_LABEL));
    Ok(project.and_then(|name| name.parse().ok()))
}

/// Whether the socket guard is between the watchdog and Docker. The guard names itself.
///
/// # Errors
/// [`DockerError`].
pub async fn is_guarded(docker: &Docker) -> Result<bool, DockerError> {
    let found = with_deadline(QUICK_DEADLINE, docker.version()).await?;
    let components = found.components.unwrap_or_default();
    Ok(components
        .iter()
        .any(|component| component.name == SOCKET_GUARD))
}

impl DockerClient {
    /// A client for the containers of one project.
    pub const fn new(docker: Docker, project: SubjectToken) -> Self {
        Self { docker, project }
    }

    /// Succeeds if Docker accepts new connections. A daemon that shuts down does not.
    ///
    /// # Errors
    /// [`DockerError`].
    pub async fn ping(&self) -> Result<(), DockerError> {
        // The client keeps no idle connection to a socket, so every call is a new connection.
        with_deadline(QUICK_DEADLINE, self.docker.ping())
            .await
            .map(|_| ())
    }

    /// All supervised containers, including ended ones.
    ///
    /// # Errors
    /// [`DockerError`].
    pub async fn list(&self) -> Result<Vec<ContainerSummary>, DockerError> {
        self.list_summaries(&HashMap::from([(
            "label",
            self.label_filters(SUPERVISE_LABEL),
        )]))
        .await
    }

    /// Ids of the unhealthy services with the heal label.
    ///
    /// # Errors
    /// [`DockerError`].
    pub async fn list_unhealthy(&self) -> Result<Vec<String>, DockerError> {
        self.list_healable("health", &["unhealthy"]).await
    }

    /// Ids of all services with the heal label that run, or are about to be restarted by Docker.
    ///
    /// # Errors
    /// [`DockerError`].
    pub async fn list_services(&self) -> Result<Vec<String>, DockerError> {
        self.list_healable("status", &["running", "restarting"])
            .await
    }

    async fn list_healable(&self, filter: &str, any: &[&str]) -> Result<Vec<String>, DockerError> {
        self.list_ids(&HashMap::from([
            ("label", self.label_filters(HEAL_LABEL)),
            (filter, any.iter().map(|&value| value.to_owned()).collect()),
        ]))
        .await
    }

    async fn list_ids(
        &self,
        filters: &HashMap<&str, Vec<String>>,
    ) -> Result<Vec<String>, DockerError> {
        let list = self.list_summaries(filters).await?;
        Ok(list.into_iter().filter_map(|summary| summary.id).collect())
    }

    async fn list_summaries(
        &self,
        filters: &HashMap<&str, Vec<String>>,
    ) -> Result<Vec<ContainerSummary>, DockerError> {
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(filters)
            .build();
        with_deadline(LIST_DEADLINE, self.docker.list_containers(Some(options))).await
    }

    /// Inspects a container.
    ///
    /// # Errors
    /// [`DockerError`].
    pub async fn inspect(&self, id: &str) -> Result<ContainerInspectResponse, DockerError> {
        with_deadline(QUICK_DEADLINE, self.docker.inspect_container(id, None)).await
    }

    /// The last lines of a container's log since a Unix time in seconds, from both outputs, each after its timestamp.
    /// At most `bytes` and one frame more are read.
    ///
    /// # Errors
    /// [`DockerError`].
    pub async fn logs(
        &self,
        id: &str,
        since: i32,
        lines: usize,
        bytes: usize,
    ) -> Result<String, DockerError> {
        let options = LogsOptionsBuilder::new()
            .stdout(true)
            .stderr(true)
            .since(since)
            .timestamps(true)
            .tail(&lines.to_string())
            .build();
        let mut frames = Box::pin(self.docker.logs(id, Some(options)));
        let read = async {
            let mut text = Vec::new();
            while let Some(frame) = frames.try_next().await? {
                text.extend_from_slice(&frame.into_bytes());
                if text.len() > bytes {
                    break;
                }
            }
            Ok(text)
        };
        let text = with_deadline(LOGS_DEADLINE, read).await?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Starts a container. A running container is left as it is.
    ///
    /// # Errors
    /// [`DockerError`].
    pub async fn start(&self, id: &str) -> Result<(), DockerError> {
        with_deadline(START_DEADLINE, self.docker.start_container(id, None)).await
    }

    /// Stops a container: SIGTERM, and SIGKILL after the grace.
    ///
    /// # Errors
    /// [`DockerError`].
    pub async fn stop(&self, id: &str, grace: Duration) -> Result<(), DockerError> {
        let options = StopContainerOptionsBuilder::new()
            .t(whole_secs(grace))
            .build();
        let stop = self.docker.stop_container(id, Some(options));
        with_deadline(grace + STOP_MARGIN, stop).await
    }

    /// Stops a container as [`Self::stop`] does, and starts it at once. Docker does both.
    ///
    /// # Errors
    /// [`DockerError`].
    pub async fn restart(&self, id: &str, grace: Duration) -> Result<(), DockerError> {
        let options = RestartContainerOptionsBuilder::new()
            .t(whole_secs(grace))
            .build();
        let restart = self.docker.restart_container(id, Some(options));
        with_deadline(grace + STOP_MARGIN + START_DEADLINE, restart).await
    }

    /// Sends SIGKILL.
    ///
    /// # Errors
    /// [`DockerError`].
    pub async fn kill(&self, id: &str) -> Result<(), DockerError> {
        let options = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
        with_deadline(
            QUICK_DEADLINE,
            self.docker.kill_container(id, Some(options)),
        )
        .await
    }

    /// All events of the project's containers that Docker still has, in Docker's order: at most 256 of the whole
    /// host, none from before Docker's own start. No time limits them, so that a step of the clock hides none.
    ///
    /// # Errors
    /// [`DockerError`].
    pub async fn past_events(&self) -> Result<Vec<EventMessage>, DockerError> {
        let filters = HashMap::from([
            ("type", vec!["container".to_owned()]),
            ("label", vec![format!("{PROJECT_LABEL}={}", self.project)]),
        ]);
        // `until` zero: the past only, and no upper limit.
        let options = EventsOptionsBuilder::new()
            .since("0")
            .until("0")
            .filters(&filters)
            .build();
        with_deadline(
            LIST_DEADLINE,
            self.docker.events(Some(options)).try_collect(),
        )
        .await
    }

    /// The events of supervised containers that Docker still has, followed by new ones.
    pub fn events(&self) -> impl Stream<Item = Result<EventMessage, Error>> + use<> {
        let filters = HashMap::from([
            ("type", vec!["container".to_owned()]),
            ("label", self.label_filters(SUPERVISE_LABEL)),
            ("event", WATCHED_ACTIONS.map(str::to_owned).to_vec()),
        ]);
        let options = EventsOptionsBuilder::new().since("0").filters(&filters);
        self.docker.events(Some(options.build()))
    }

    fn label_filters(&self, label: &str) -> Vec<String> {
        vec![
            format!("{PROJECT_LABEL}={}", self.project),
            format!("{label}=true"),
        ]
    }
}

fn whole_secs(grace: Duration) -> i32 {
    i32::try_from(grace.as_millis().div_ceil(1000)).unwrap_or(i32::MAX)
}

async fn with_deadline<T>(
    deadline: Duration,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, DockerError> {
    match timeout(deadline, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(classify_error(&error)),
        Err(_) => Err(DockerError::Timeout(format!(
            "no answer within {deadline:?}"
        ))),
    }
}

/// Classifies a client library's error by what the caller can do about it.
pub fn classify_error(error: &Error) -> DockerError {
    match error {
        // A start that needs a network which was removed is a 404, too.
        Error::DockerResponseServerError {
            status_code: 404,
            message,
        } if names_a_container(message) => DockerError::NoSuchContainer,
        // Only the socket guard sends these: it reached no Docker daemon, or waited too long for one.
        Error::DockerResponseServerError {
            status_code: 502 | 503,
            message,
        } => DockerError::DaemonUnreachable(message.replace('\n', " ")),
        Error::DockerResponseServerError {
            status_code: 504,
            message,
        } => DockerError::Timeout(message.replace('\n', " ")),
        Error::DockerResponseServerError { message, .. } => {
            DockerError::Rejected(message.replace('\n', " "))
        }
        other => DockerError::NoAnswer(error_line(other)),
    }
}

/// Whether Docker says that the container of a call does not exist.
fn names_a_container(message: &str) -> bool {
    message.to_ascii_lowercase().contains("no such container")
}

/// An error with its causes in one line: the client's own text leaves the causes out.
fn error_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text.replace('\n', " ")
}

fn is_forbidden(error: &Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = next {
        let io = cause.downcast_ref::<io::Error>();
        if io.is_some_and(|io| io.kind() == io::ErrorKind::PermissionDenied) {
            return true;
        }
        next = cause.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreachable_daemon_is_distinguished_from_a_rejection_and_from_a_timeout() {
        let classified = |status_code| {
            classify_error(&Error::DockerResponseServerError {
                status_code,
                message: "no\nanswer".to_owned(),
            })
        };
        for status in [502, 503] {
            assert_eq!(
                classified(status),
                DockerError::DaemonUnreachable("no answer".to_owned())
            );
        }
        assert_eq!(
            classified(504),
            DockerError::Timeout("no answer".to_owned())
        );
        for status in [400, 403, 404, 409, 500] {
            assert_eq!(
                classified(status),
                DockerError::Rejected("no answer".to_owned())
            );
        }
    }

    #[test]
    fn missing_container_is_distinguished_from_a_missing_network() {
        let classified = |message: &str| {
            classify_error(&Error::DockerResponseServerError {
                status_code: 404,
                message: message.to_owned(),
            })
        };
        for message in ["No such container: 4f1c", "no such container"] {
            assert_eq!(classified(message), DockerError::NoSuchContainer);
        }
        let missing = "network b280c1 not found";
        assert_eq!(
            classified(missing),
            DockerError::Rejected(missing.to_owned())
        );
    }
}
