//! Executes Docker calls for units, each in its own task. Entry point: [`ActionExecutor`].
//!
//! A call's own result says little: Docker may fail a call and carry it out later. What counts is the container as an
//! inspection shows it. After a stop that is the inspection of the container watcher, which sees the end of the run.
//! After a start the executor inspects the container, so that a start is never called twice.

use std::time::Duration;

use protocol::ids::SubjectToken;
use tokio::task::{Id, JoinError, JoinSet};
use watchdog_core::container::{Container, Run};
use watchdog_core::evidence::LogTail;
use watchdog_core::exit_policy::may_restart_at_once;
use watchdog_core::model::Action;

use crate::docker::{DockerClient, DockerError};
use crate::{inspect, log_tail};

/// The calls in flight, at most one per unit.
pub struct ActionExecutor {
    docker: DockerClient,
    tasks: JoinSet<ActionResult>,
    units: Vec<(Id, SubjectToken)>,
}

/// The end of a call.
#[derive(Debug)]
pub struct ActionResult {
    /// The unit of the call.
    pub unit: SubjectToken,
    /// The container after the call.
    pub after: ContainerAfter,
    /// The end of the container's log, if it was read after the call.
    pub log_tail: Option<LogTail>,
    /// The error of the call.
    pub error: Option<String>,
}

/// The container after a call.
#[derive(Debug)]
pub enum ContainerAfter {
    /// The container watcher observes the result.
    Watched,
    /// The container as inspected.
    Present(Container),
    /// The container with this id does not exist.
    Removed(String),
    /// Docker could not describe the container, with the error in one line.
    Unknown(String),
}

impl ActionExecutor {
    /// An executor without calls in flight.
    pub fn new(docker: DockerClient) -> Self {
        Self {
            docker,
            tasks: JoinSet::new(),
            units: Vec::new(),
        }
    }

    /// Starts a Docker call for the unit in a task of its own.
    pub fn spawn(&mut self, unit: SubjectToken, action: Action) {
        let docker = self.docker.clone();
        let name = unit.clone();
        let handle = self
            .tasks
            .spawn(async move { execute(&docker, unit, &action).await });
        self.units.push((handle.id(), name));
    }

    /// The next call that ends. Pending while no call is in flight.
    pub async fn next_result(&mut self) -> ActionResult {
        match self.tasks.join_next_with_id().await {
            None => std::future::pending().await,
            Some(ended) => self.finish(ended),
        }
    }

    fn finish(&mut self, ended: Result<(Id, ActionResult), JoinError>) -> ActionResult {
        let (id, result) = match ended {
            Ok((id, result)) => (id, Ok(result)),
            Err(error) => (error.id(), Err(error)),
        };
        let position = self.units.iter().position(|(known, _)| *known == id);
        let unit = position.map(|position| self.units.swap_remove(position).1);
        match (result, unit) {
            (Ok(result), _) => result,
            // After a panic the container is as unknown as after a call without an answer.
            (Err(error), unit) => ActionResult {
                unit: unit.unwrap_or_else(|| unreachable!("every call has a unit")),
                after: ContainerAfter::Unknown("the call failed".to_owned()),
                log_tail: None,
                error: Some(format!("bug: {error}")),
            },
        }
    }
}

async fn execute(docker: &DockerClient, unit: SubjectToken, action: &Action) -> ActionResult {
    match action {
        Action::Start { run } => {
            let error = docker.start(&run.container).await.err();
            let after = inspect_container(docker, &run.container).await;
            let log_tail = match &after {
                // A restart may follow at once: the container watcher reads the log meanwhile.
                ContainerAfter::Present(container) if !may_restart_at_once(container) => {
                    log_tail::read(docker, container).await
                }
                _ => None,
            };
            ActionResult {
                unit,
                after,
                log_tail,
                error: error.map(|error| error.to_string()),
            }
        }
        Action::Stop { run, grace_ms } => {
            let (after, error) = stop(docker, run, Duration::from_millis(*grace_ms)).await;
            ActionResult {
                unit,
                after,
                log_tail: None,
                error,
            }
        }
    }
}

/// Stops a run: SIGTERM, SIGKILL after the grace, and a SIGKILL of its own if Docker's stop fails.
///
/// One inspection comes before: another run of the container is left alone.
async fn stop(
    docker: &DockerClient,
    run: &Run,
    grace: Duration,
) -> (ContainerAfter, Option<String>) {
    match inspect_container(docker, &run.container).await {
        ContainerAfter::Present(container) if container.run != *run || !container.is_alive() => {
            return (ContainerAfter::Present(container), None);
        }
        ContainerAfter::Removed(id) => return (ContainerAfter::Removed(id), None),
        // Without an answer the stop is called all the same: the run may hang.
        ContainerAfter::Present(_) | ContainerAfter::Watched | ContainerAfter::Unknown(_) => {}
    }
    let Err(error) = docker.stop(&run.container, grace).await else {
        return (ContainerAfter::Watched, None);
    };
    tracing::warn!(container = run.container, %error, "docker stop failed; sending SIGKILL");
    match docker.kill(&run.container).await {
        Ok(()) | Err(DockerError::NoSuchContainer) => (ContainerAfter::Watched, None),
        Err(DockerError::Rejected(error)) => (ContainerAfter::Watched, Some(error)),
        Err(
            DockerError::NoAnswer(error)
            | DockerError::Timeout(error)
            | DockerError::DaemonUnreachable(error),
        ) => (ContainerAfter::Unknown(error.clone()), Some(error)),
    }
}

async fn inspect_container(docker: &DockerClient, id: &str) -> ContainerAfter {
    match docker.inspect(id).await.map(inspect::parse_unit) {
        Ok(Ok((_, container))) => ContainerAfter::Present(container),
        Ok(Err(_)) => ContainerAfter::Unknown("the container is not supervised".to_owned()),
        Err(DockerError::NoSuchContainer) => ContainerAfter::Removed(id.to_owned()),
        Err(error) => ContainerAfter::Unknown(error.to_string()),
    }
}
