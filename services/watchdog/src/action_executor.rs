//! Makes the brain's calls to the engine, each in a task of its own, and looks at what came of it.
//! Never trusts an answer: what counts is what an inspection shows afterwards.

use std::time::Duration;

use protocol::ids::SubjectToken;
use tokio::task::{Id, JoinError, JoinSet};
use watchdog_core::container::{Container, Run};
use watchdog_core::evidence::LogTail;
use watchdog_core::exit_policy::may_restart_at_once;
use watchdog_core::model::Action;

use crate::docker::{DockerClient, DockerError};
use crate::{inspect, log_tail};

/// The calls under way: at most one for each unit, which the brain sees to.
pub struct ActionExecutor {
    docker: DockerClient,
    tasks: JoinSet<ActionResult>,
    units: Vec<(Id, SubjectToken)>,
}

/// A call that has ended.
#[derive(Debug)]
pub struct ActionResult {
    /// For whom.
    pub unit: SubjectToken,
    /// What an inspection showed afterwards.
    pub after: ContainerAfter,
    /// The end of its log, if it has ended.
    pub log_tail: Option<LogTail>,
    /// Why the call failed, if so.
    pub error: Option<String>,
}

/// What is there after a call.
#[derive(Debug)]
pub enum ContainerAfter {
    /// This container.
    Present(Container),
    /// None any more.
    Removed(String),
    /// Nobody knows: everything must be looked at anew.
    Unknown,
}

impl ActionExecutor {
    /// Idle.
    pub fn new(docker: DockerClient) -> Self {
        Self {
            docker,
            tasks: JoinSet::new(),
            units: Vec::new(),
        }
    }

    /// Begins a call.
    pub fn spawn(&mut self, unit: SubjectToken, action: Action) {
        let engine = self.docker.clone();
        let name = unit.clone();
        let handle = self.tasks.spawn(async move {
            let error = execute(&engine, &action).await.err();
            let id = match &action {
                Action::Start { run } | Action::Stop { run, .. } => &run.container,
            };
            let after = inspect_after(&engine, id).await;
            let words = match &after {
                ContainerAfter::Present(container) if !may_restart_at_once(container) => {
                    log_tail::read(&engine, container).await
                }
                // Where a restart may follow at once the eye reads them, behind that.
                ContainerAfter::Present(_)
                | ContainerAfter::Removed(_)
                | ContainerAfter::Unknown => None,
            };
            ActionResult {
                unit,
                after,
                log_tail: words,
                error,
            }
        });
        self.units.push((handle.id(), name));
    }

    /// The next call that ends; never, while none is under way.
    pub async fn next_result(&mut self) -> ActionResult {
        match self.tasks.join_next_with_id().await {
            None => std::future::pending().await,
            Some(ended) => self.finish(ended),
        }
    }

    fn finish(&mut self, ended: Result<(Id, ActionResult), JoinError>) -> ActionResult {
        let (id, done) = match ended {
            Ok((id, done)) => (id, Ok(done)),
            Err(error) => (error.id(), Err(error)),
        };
        let place = self.units.iter().position(|(known, _)| *known == id);
        let unit = place.map(|place| self.units.swap_remove(place).1);
        match (done, unit) {
            (Ok(done), _) => done,
            // A panic of ours leaves the unit as unknown as an engine that hangs up.
            (Err(error), unit) => ActionResult {
                unit: unit.unwrap_or_else(|| unreachable!("every call has a unit")),
                after: ContainerAfter::Unknown,
                log_tail: None,
                error: Some(format!("bug: {error}")),
            },
        }
    }
}

async fn execute(engine: &DockerClient, action: &Action) -> Result<(), String> {
    match action {
        Action::Start { run } => engine
            .start(&run.container)
            .await
            .map_err(|error| error.to_string()),
        Action::Stop { run, grace_ms } => stop(engine, run, Duration::from_millis(*grace_ms)).await,
    }
}

/// SIGTERM with its grace, then SIGKILL by the engine, then SIGKILL by us. A run that is no longer
/// there is left alone.
async fn stop(engine: &DockerClient, run: &Run, grace: Duration) -> Result<(), String> {
    if !still_runs(engine, run).await {
        return Ok(());
    }
    if let Err(error) = engine.stop(&run.container, grace).await {
        tracing::warn!(container = run.container, %error, "stopping failed; killing");
        if let Err(error) = engine.kill(&run.container).await {
            tracing::warn!(container = run.container, %error, "killing failed");
        }
    }
    if still_runs(engine, run).await {
        return Err("it survives SIGKILL, or the engine does not carry it out".to_owned());
    }
    Ok(())
}

/// An engine that does not say counts as yes: then the call is made again later.
async fn still_runs(engine: &DockerClient, run: &Run) -> bool {
    match inspect_after(engine, &run.container).await {
        ContainerAfter::Present(container) => container.run == *run && container.is_alive(),
        ContainerAfter::Removed(_) => false,
        ContainerAfter::Unknown => true,
    }
}

async fn inspect_after(engine: &DockerClient, id: &str) -> ContainerAfter {
    match engine.inspect(id).await.map(inspect::parse_unit) {
        Ok(Ok((_, container))) => ContainerAfter::Present(container),
        Err(DockerError::NoSuchContainer) => ContainerAfter::Removed(id.to_owned()),
        Ok(Err(_))
        | Err(
            DockerError::Rejected(_) | DockerError::NoAnswer(_) | DockerError::DaemonUnreachable(_),
        ) => ContainerAfter::Unknown,
    }
}
