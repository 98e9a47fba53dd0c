//! Watches Docker: lists and inspects all containers after each connection, then follows the events.
//!
//! An event only triggers an inspection. What is sent to the supervisor is what the inspection shows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bollard::models::EventMessage;
use futures_util::StreamExt;
use protocol::duration::format_duration;
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use runtime::backoff::Backoff;
use runtime::clock;
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use watchdog_core::container::{Container, Status};
use watchdog_core::docker_outage::DockerOutage;
use watchdog_core::exit_policy::may_restart_at_once;
use watchdog_core::observed_state::{StopRequest, SupervisionEvent};

use crate::docker::{DockerClient, DockerError, classify_error};
use crate::docker_event::{DockerEvent, format_unix_time, started_after_outage};
use crate::inspect::{self, SkipReason};
use crate::log_tail;

const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(200),
    cap: Duration::from_secs(1),
};
/// Interval of complete lists, in case an event was lost.
const RESYNC_INTERVAL: Duration = Duration::from_mins(1);
/// Time before a list from which events are requested, in milliseconds, so that none falls between list and stream.
const OVERLAP_MS: i64 = 2_000;
/// An out-of-memory kill this long before the end of a run is its cause.
const OOM_KILL_WINDOW: Duration = Duration::from_secs(5);
/// A stop this close to a stop of the watchdog's own container was a stop of everything: by Docker after a crash, by
/// the host, or by `docker compose stop`. In milliseconds.
const JOINT_STOP_MS: i64 = 15_000;

/// The Docker daemon to watch, and the watchdog's place in it.
pub struct DockerScope {
    /// Client of the daemon.
    pub docker: DockerClient,
    /// Whether the socket guard is between the watchdog and Docker.
    pub is_guarded: bool,
    /// Id or name of the watchdog's own container. `None` outside a container.
    pub own_container: Option<String>,
    /// First answer of Docker, if it had to be waited for, else the start of the Unix epoch.
    pub answers_since: UtcMs,
}

/// Watches the containers of one project.
pub struct ContainerWatcher {
    docker: DockerClient,
    /// Whether the socket guard is in between. If only the guard is down, Docker runs on and operators may stop a unit
    /// meanwhile.
    is_guarded: bool,
    events: mpsc::Sender<SupervisionEvent>,
    /// Requests a complete list.
    resync: Arc<Notify>,
    /// The watchdog's own container.
    own_container: Option<String>,
    /// First answer of Docker. No stop can have been requested before.
    answers_since: UtcMs,
    is_docker_lost: bool,
    /// A Docker outage that is not sent yet.
    docker_outage: Option<DockerOutage>,
    /// Nothing was listed yet.
    is_first_listing: bool,
    /// Time up to which Docker's events are known, by its wall clock.
    known_until: UtcMs,
    /// The last out-of-memory kill in each container.
    oom_kills: BTreeMap<String, UtcMs>,
    /// Containers whose out-of-memory flag is left over from an earlier run.
    stale_oom: BTreeSet<String>,
    /// Containers that are not supervised, with the reason that was logged.
    skipped: BTreeMap<String, String>,
    /// The run of each container whose log was read.
    log_read: BTreeMap<String, String>,
}

/// The event channel is closed.
struct ReceiverDropped;

enum WatchError {
    ReceiverDropped,
    Docker(DockerError),
}

impl From<ReceiverDropped> for WatchError {
    fn from(_: ReceiverDropped) -> Self {
        Self::ReceiverDropped
    }
}

impl From<DockerError> for WatchError {
    fn from(error: DockerError) -> Self {
        Self::Docker(error)
    }
}

impl ContainerWatcher {
    /// A watcher that sends to `events`. Events since `known_until` are requested first; `resync` triggers a complete
    /// list.
    pub fn new(
        scope: &DockerScope,
        events: mpsc::Sender<SupervisionEvent>,
        resync: Arc<Notify>,
        known_until: UtcMs,
    ) -> Self {
        let until = scope.answers_since;
        let was_waited_for = until > UtcMs::default();
        Self {
            docker: scope.docker.clone(),
            is_guarded: scope.is_guarded,
            events,
            resync,
            own_container: scope.own_container.clone(),
            answers_since: scope.answers_since,
            is_docker_lost: false,
            docker_outage: was_waited_for.then_some(DockerOutage {
                from: known_until,
                until,
            }),
            is_first_listing: true,
            known_until,
            oom_kills: BTreeMap::new(),
            stale_oom: BTreeSet::new(),
            skipped: BTreeMap::new(),
            log_read: BTreeMap::new(),
        }
    }

    /// Watches until `shutdown`, or until the event channel is closed.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut failures = 0;
        loop {
            let Some(error) = shutdown
                .run_until_cancelled(self.list_and_follow(&mut failures))
                .await
            else {
                return;
            };
            let WatchError::Docker(error) = error else {
                return;
            };
            failures += 1;
            let retry_delay = BACKOFF.wait(failures);
            tracing::warn!(%error, retry_in = %format_duration(retry_delay), "docker unavailable");
            self.is_docker_lost |= !self.is_guarded || self.is_daemon_unreachable(&error).await;
            if self.send_event(SupervisionEvent::DockerLost).await.is_err() {
                return;
            }
            if shutdown
                .run_until_cancelled(tokio::time::sleep(retry_delay))
                .await
                .is_none()
            {
                return;
            }
        }
    }

    /// Whether Docker itself is down. Asked at once: a new daemon lets clients wait until it is ready, and later
    /// nothing shows that there was none.
    async fn is_daemon_unreachable(&self, reason: &DockerError) -> bool {
        let is_reported = matches!(reason, DockerError::DaemonUnreachable(_));
        is_reported
            || matches!(
                self.docker.ping().await,
                Err(DockerError::DaemonUnreachable(_))
            )
    }

    /// Lists everything, then follows the events until the connection ends.
    async fn list_and_follow(&mut self, failures: &mut u32) -> WatchError {
        loop {
            let from = match self.list_all().await {
                Ok(from) => from,
                Err(error) => return error,
            };
            *failures = 0;
            if let Err(error) = self.follow_events(from).await {
                return error;
            }
        }
    }

    /// Lists all containers. Past events come first: a stop request is known before its end is decided on.
    async fn list_all(&mut self) -> Result<UtcMs, WatchError> {
        if self.is_docker_lost {
            self.docker.ping().await?;
            self.answers_since = clock::now();
            self.is_docker_lost = false;
            self.docker_outage = Some(DockerOutage {
                // The last known event may belong to the shutdown of Docker, and come after an end that was not seen.
                from: UtcMs(self.known_until.0.saturating_sub(OVERLAP_MS)),
                until: self.answers_since,
            });
        }
        let now = clock::now();
        let stop_requests = self.missed_stop_requests(now).await?;
        let mut containers = Vec::new();
        for id in self.docker.list().await? {
            match self.inspect(&id).await {
                Ok(Some(found)) => {
                    self.read_log_tail(&found.0, &found.1).await?;
                    containers.push(found);
                }
                Ok(None) | Err(DockerError::NoSuchContainer) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(outage) = self.docker_outage.take() {
            self.send_event(SupervisionEvent::DockerRecovered(outage))
                .await?;
        }
        self.send_event(SupervisionEvent::Listed {
            containers,
            stop_requests,
        })
        .await?;
        Ok(now)
    }

    /// Stop requests of operators since the last known event.
    async fn missed_stop_requests(&mut self, now: UtcMs) -> Result<Vec<StopRequest>, DockerError> {
        let since = UtcMs(self.known_until.0.saturating_sub(OVERLAP_MS));
        let (since, until) = (format_unix_time(since), format_unix_time(now));
        let own: Vec<DockerEvent> = match &self.own_container {
            None => Vec::new(),
            Some(own) => {
                let events = self.docker.past_events_of(own, &since, &until).await?;
                events
                    .iter()
                    .filter_map(DockerEvent::from_message)
                    .collect()
            }
        };
        self.infer_docker_outage(&own).await?;
        let history = self.docker.past_events(&since, &until).await?;
        let mut stop_requests = Vec::new();
        for event in history.iter().filter_map(DockerEvent::from_message) {
            self.note_oom(&event);
            let is_joint_stop = |own: &DockerEvent| {
                own.is_stop_request() && (own.at.0 - event.at.0).abs() <= JOINT_STOP_MS
            };
            if self.is_operator_stop(&event) && !own.iter().any(is_joint_stop) {
                stop_requests.push(event.to_stop_request());
            }
        }
        Ok(stop_requests)
    }

    /// Infers an outage of Docker from the events of the watchdog's own container, because Docker came back before the
    /// watchdog did. An end without a request means that Docker was up all the time. A requested end, or a start alone,
    /// means an outage.
    async fn infer_docker_outage(&mut self, events: &[DockerEvent]) -> Result<(), DockerError> {
        let is_first = std::mem::replace(&mut self.is_first_listing, false);
        let Some(own) = self.own_container.as_ref().filter(|_| is_first) else {
            return Ok(());
        };
        if self.docker_outage.is_some() || !started_after_outage(events) {
            return Ok(());
        }
        let ended_at = match self.docker.inspect(own).await {
            Ok(found) => inspect::last_end_time(found),
            Err(DockerError::NoSuchContainer) => None,
            Err(error) => return Err(error),
        };
        self.docker_outage = ended_at.map(|ended_at| DockerOutage {
            from: UtcMs(ended_at.0.saturating_sub(JOINT_STOP_MS)),
            until: UtcMs(ended_at.0.saturating_add(JOINT_STOP_MS)),
        });
        Ok(())
    }

    /// A stop request before Docker's first answer is Docker's own.
    fn is_operator_stop(&self, event: &DockerEvent) -> bool {
        event.is_stop_request() && event.at >= self.answers_since
    }

    /// Follows the events until the next complete list is due.
    async fn follow_events(&mut self, from: UtcMs) -> Result<(), WatchError> {
        let since = UtcMs(from.0.saturating_sub(OVERLAP_MS).max(self.known_until.0));
        let mut events = Box::pin(self.docker.events(&format_unix_time(since)));
        let resync = Arc::clone(&self.resync);
        let until = sleep(RESYNC_INTERVAL);
        tokio::pin!(until);
        loop {
            let next = tokio::select! {
                biased;
                next = events.next() => next,
                () = resync.notified() => break,
                () = &mut until => break,
            };
            match next {
                Some(Ok(message)) => self.on_event(&message).await?,
                Some(Err(error)) => return Err(classify_error(&error).into()),
                None => {
                    return Err(DockerError::NoAnswer("the event stream ended".to_owned()).into());
                }
            }
        }
        self.known_until = self.known_until.max(from);
        Ok(())
    }

    async fn on_event(&mut self, message: &EventMessage) -> Result<(), WatchError> {
        let Some(event) = DockerEvent::from_message(message) else {
            return Ok(());
        };
        tracing::debug!(
            action = event.action,
            container = event.container,
            "docker event"
        );
        self.known_until = self.known_until.max(event.at);
        self.note_oom(&event);
        if event.action == "destroy" {
            let container = event.container.clone();
            return Ok(self
                .send_event(SupervisionEvent::ContainerRemoved { container })
                .await?);
        }
        if event.is_stop_request() {
            // A Docker daemon that shuts down stops every container. That is no operator's request.
            self.docker.ping().await?;
            if self.is_operator_stop(&event) {
                let request = event.to_stop_request();
                self.send_event(SupervisionEvent::StopRequested(request))
                    .await?;
            }
            return Ok(());
        }
        match self.inspect(&event.container).await {
            Ok(Some(found)) => Ok(self.on_container(found).await?),
            Ok(None) => Ok(()),
            Err(DockerError::NoSuchContainer) => {
                let container = event.container.clone();
                Ok(self
                    .send_event(SupervisionEvent::ContainerRemoved { container })
                    .await?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Sends an inspected container. Its log is read before, unless a restart may follow at once.
    async fn on_container(
        &mut self,
        (unit, container): (SubjectToken, Container),
    ) -> Result<(), ReceiverDropped> {
        let observed = SupervisionEvent::ContainerObserved {
            unit: unit.clone(),
            container: container.clone(),
        };
        if may_restart_at_once(&container) {
            self.send_event(observed).await?;
            return self.read_log_tail(&unit, &container).await;
        }
        self.read_log_tail(&unit, &container).await?;
        self.send_event(observed).await
    }

    /// Reads the end of a run's log, once.
    async fn read_log_tail(
        &mut self,
        unit: &SubjectToken,
        container: &Container,
    ) -> Result<(), ReceiverDropped> {
        let run = &container.run;
        if self.log_read.get(&run.container) == Some(&run.started_at) {
            return Ok(());
        }
        let Some(log_tail) = log_tail::read(&self.docker, container).await else {
            return Ok(());
        };
        self.log_read
            .insert(run.container.clone(), run.started_at.clone());
        let unit = unit.clone();
        self.send_event(SupervisionEvent::LogRead { unit, log_tail })
            .await
    }

    /// Inspects a container. `None` if it is not supervised.
    async fn inspect(
        &mut self,
        id: &str,
    ) -> Result<Option<(SubjectToken, Container)>, DockerError> {
        let found = self.docker.inspect(id).await?;
        let is_marked = found.state.as_ref().and_then(|state| state.oom_killed) == Some(true);
        match inspect::parse_unit(found) {
            Ok((unit, mut container)) => {
                self.validate_oom_flag(&mut container, is_marked);
                Ok(Some((unit, container)))
            }
            Err(SkipReason::Foreign) => Ok(None),
            Err(SkipReason::NotSupervisable(reason)) => {
                if self.skipped.insert(id.to_owned(), reason.clone()).as_ref() != Some(&reason) {
                    tracing::warn!(reason, "container not supervised");
                }
                Ok(None)
            }
        }
    }

    fn note_oom(&mut self, event: &DockerEvent) {
        match event.action {
            "oom" => {
                self.oom_kills.insert(event.container.clone(), event.at);
            }
            "destroy" => {
                self.oom_kills.remove(&event.container);
                self.stale_oom.remove(&event.container);
                self.skipped.remove(&event.container);
                self.log_read.remove(&event.container);
            }
            _ => {}
        }
    }

    /// Corrects Docker's out-of-memory flag, which survives a restart of the container and is also set by the end of a
    /// child. A new flag counts, or a kill just before the end.
    fn validate_oom_flag(&mut self, container: &mut Container, is_marked: bool) {
        let id = &container.run.container;
        match &mut container.status {
            Status::Exited(exit) => {
                let ended_at = container
                    .start_time
                    .plus(Duration::from_millis(exit.uptime_ms));
                let killed_at = self.oom_kills.get(id);
                let is_recent_kill =
                    killed_at.is_some_and(|at| ended_at.since(*at) <= OOM_KILL_WINDOW);
                exit.oom_killed = is_recent_kill || is_marked && !self.stale_oom.contains(id);
            }
            Status::Running | Status::Paused if is_marked => {
                self.stale_oom.insert(id.clone());
            }
            Status::Running | Status::Paused | Status::Created | Status::InTransition => {}
        }
    }

    async fn send_event(&self, event: SupervisionEvent) -> Result<(), ReceiverDropped> {
        self.events.send(event).await.map_err(|_| ReceiverDropped)
    }
}
