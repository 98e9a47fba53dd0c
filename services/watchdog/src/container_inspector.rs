//! Inspects containers, each in its own task with its own deadline: a container that Docker cannot describe delays no
//! other. Entry point: [`ContainerInspector`].

use std::collections::{BTreeMap, VecDeque};

use bollard::models::ContainerInspectResponse;
use protocol::ids::SubjectToken;
use tokio::task::JoinSet;
use watchdog_core::container::Container;
use watchdog_core::evidence::LogTail;
use watchdog_core::exit_policy::may_restart_at_once;

use crate::docker::{DockerClient, DockerError};
use crate::{inspect, log_tail};

/// Inspections that run at the same time. Further ones wait: Docker answers one in milliseconds, a hung one ends at
/// its deadline.
const MAX_CONCURRENT: usize = 16;

/// What the inspector has found.
pub enum Found {
    /// An inspection ended.
    Inspected(Box<Inspection>),
    /// The log of a run was read after its inspection.
    LogRead(SubjectToken, LogTail),
}

/// The end of an inspection.
pub struct Inspection {
    /// Id of the container.
    pub container: String,
    /// The container as Docker describes it.
    pub result: Result<ContainerInspectResponse, DockerError>,
    /// The end of the log, if the container has ended and a restart does not follow at once.
    pub log_tail: Option<LogTail>,
}

/// A request that is not answered yet.
#[derive(Debug, Default, Clone, Copy)]
struct Pending {
    is_running: bool,
    /// Requested again meanwhile: what the running inspection shows may be out of date.
    is_outdated: bool,
}

/// Inspections in progress and waiting, at most one per container.
pub struct ContainerInspector {
    docker: DockerClient,
    tasks: JoinSet<Found>,
    pending: BTreeMap<String, Pending>,
    waiting: VecDeque<String>,
    /// The run of each container whose log was read.
    logged_runs: BTreeMap<String, String>,
}

impl ContainerInspector {
    /// An inspector without requests.
    pub fn new(docker: DockerClient) -> Self {
        Self {
            docker,
            tasks: JoinSet::new(),
            pending: BTreeMap::new(),
            waiting: VecDeque::new(),
            logged_runs: BTreeMap::new(),
        }
    }

    /// Requests an inspection. A container whose inspection runs is inspected again after it.
    pub fn request(&mut self, container: &str) {
        if let Some(pending) = self.pending.get_mut(container) {
            pending.is_outdated |= pending.is_running;
        } else {
            self.pending
                .insert(container.to_owned(), Pending::default());
            self.waiting.push_back(container.to_owned());
        }
        self.start_waiting();
    }

    /// Reads the log of an ended run, once.
    pub fn request_log(&mut self, unit: &SubjectToken, container: &Container) {
        let run = &container.run;
        if container.exit().is_none()
            || self.logged_runs.get(&run.container) == Some(&run.started_at)
        {
            return;
        }
        self.logged_runs
            .insert(run.container.clone(), run.started_at.clone());
        let (docker, unit, container) = (self.docker.clone(), unit.clone(), container.clone());
        self.tasks.spawn(async move {
            let log_tail = match log_tail::read(&docker, &container).await {
                Some(log_tail) => log_tail,
                None => LogTail::new(container.run, Ok("")),
            };
            Found::LogRead(unit, log_tail)
        });
    }

    /// Forgets a container that was removed.
    pub fn forget(&mut self, container: &str) {
        self.logged_runs.remove(container);
    }

    /// Whether an inspection of the container is in progress or waiting.
    pub fn is_pending(&self, container: &str) -> bool {
        self.pending.contains_key(container)
    }

    /// The next inspection or log. Pending while nothing is in progress. Safe to cancel.
    pub async fn next(&mut self) -> Found {
        loop {
            match self.tasks.join_next().await {
                None => std::future::pending().await,
                Some(Ok(Found::Inspected(inspection))) => {
                    let pending = self.pending.remove(&inspection.container);
                    let is_outdated = pending.is_some_and(|pending| pending.is_outdated);
                    if is_outdated {
                        self.request(&inspection.container);
                    } else {
                        self.start_waiting();
                    }
                    if !is_outdated || inspection.result.is_err() {
                        self.note_log(&inspection);
                        return Found::Inspected(inspection);
                    }
                }
                Some(Ok(found)) => {
                    self.start_waiting();
                    return found;
                }
                // A panic of the client library. The next complete list requests the container again.
                Some(Err(error)) => {
                    tracing::error!(%error, "bug: an inspection failed");
                    self.pending.retain(|_, pending| !pending.is_running);
                    self.start_waiting();
                }
            }
        }
    }

    fn note_log(&mut self, inspection: &Inspection) {
        if let Some(log_tail) = &inspection.log_tail {
            let run = &log_tail.run;
            self.logged_runs
                .insert(run.container.clone(), run.started_at.clone());
        }
    }

    fn start_waiting(&mut self) {
        while self.tasks.len() < MAX_CONCURRENT {
            let Some(container) = self.waiting.pop_front() else {
                return;
            };
            if let Some(pending) = self.pending.get_mut(&container) {
                pending.is_running = true;
                let logged = self.logged_runs.get(&container).cloned();
                self.tasks
                    .spawn(inspect(self.docker.clone(), container, logged));
            }
        }
    }
}

/// Inspects a container, and reads its log if its end is decided on with it. `logged` is the run whose log was read.
async fn inspect(docker: DockerClient, container: String, logged: Option<String>) -> Found {
    let result = docker.inspect(&container).await;
    let ended = result.as_ref().ok().and_then(ended_container);
    let log_tail = match ended.filter(|ended| logged.as_ref() != Some(&ended.run.started_at)) {
        Some(ended) => log_tail::read(&docker, &ended).await,
        None => None,
    };
    Found::Inspected(Box::new(Inspection {
        container,
        result,
        log_tail,
    }))
}

/// The container if it has ended and nothing follows at once.
fn ended_container(found: &ContainerInspectResponse) -> Option<Container> {
    let (_, container) = inspect::parse_unit(found.clone()).ok()?;
    (container.exit().is_some() && !may_restart_at_once(&container)).then_some(container)
}
