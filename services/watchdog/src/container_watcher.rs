//! Watches Docker: lists and inspects all containers after each connection, then follows the events.
//!
//! An event only triggers an inspection. What is sent to the supervisor is what the inspection shows. Events have an order,
//! and their times are not compared with this process's clock: a step of a clock hides no event.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bollard::models::{ContainerSummary, EventMessage};
use futures_util::StreamExt;
use protocol::duration::format_duration;
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use runtime::backoff::Backoff;
use runtime::clock;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use watchdog_core::container::Container;
use watchdog_core::docker_outage::DockerOutage;
use watchdog_core::evidence::LogTail;
use watchdog_core::exit_policy::may_restart_at_once;
use watchdog_core::observed_state::{
    ContainerList, ExcludedContainer, FailedInspection, SupervisionEvent,
};
use watchdog_core::stop_request::StopRequest;

use crate::container_inspector::{ContainerInspector, Found, Inspection};
use crate::docker::{DockerClient, DockerError, classify_error};
use crate::docker_event::{self, DockerEvent, EventKey};
use crate::inspect::{self, SkipReason};
use crate::oom_marks::OomMarks;

const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(200),
    cap: Duration::from_secs(1),
};
/// Interval of complete lists, in case an event was lost.
const RESYNC_INTERVAL: Duration = Duration::from_mins(1);
/// Wait before a container that could not be inspected is inspected again.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// Interval of pings: a stream of events that a frozen proxy or daemon holds open says nothing.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// Longest wait of a list for its inspections. What takes longer is sent when it ends.
const LIST_WAIT: Duration = Duration::from_secs(1);
/// Time around the known end of an outage within which Docker ends containers, in milliseconds.
const OUTAGE_MARGIN_MS: i64 = 15_000;
/// The last known event may belong to the shutdown of Docker, and come after an end that was not seen. In milliseconds.
const OVERLAP_MS: i64 = 2_000;

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
    is_docker_lost: bool,
    /// A Docker outage that is not sent yet.
    docker_outage: Option<DockerOutage>,
    /// Nothing was listed yet.
    is_first_listing: bool,
    /// Time of the newest known event by Docker's wall clock, for the beginning of an outage.
    known_until: UtcMs,
    inspector: ContainerInspector,
    /// The unit of each listed container: names the unit whose inspection fails.
    unit_names: BTreeMap<String, SubjectToken>,
    /// Stops of a container whose inspection is in progress. The inspection shows to which run they belong.
    deferred_stops: Vec<StopRequest>,
    /// Events that were read as history, and are repeated by the stream.
    seen: BTreeSet<EventKey>,
    /// Events of stops that Docker's own start caused.
    startup_stops: BTreeSet<EventKey>,
    oom_marks: OomMarks,
    /// Containers that are not supervised, with the reason that was logged.
    skipped: BTreeMap<String, String>,
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

/// What an inspection says about a unit.
enum Judged {
    Present(SubjectToken, Container),
    Failed(FailedInspection),
    Excluded(ExcludedContainer),
    Removed,
    Foreign,
}

impl ContainerWatcher {
    /// A watcher that sends to `events`. `known_until` is the time of the last journaled decision; `resync` triggers a
    /// complete list.
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
            is_docker_lost: false,
            docker_outage: was_waited_for.then(|| DockerOutage::between(known_until, until)),
            is_first_listing: true,
            known_until,
            inspector: ContainerInspector::new(scope.docker.clone()),
            unit_names: BTreeMap::new(),
            deferred_stops: Vec::new(),
            seen: BTreeSet::new(),
            startup_stops: BTreeSet::new(),
            oom_marks: OomMarks::default(),
            skipped: BTreeMap::new(),
        }
    }

    /// Watches until `shutdown`, or until the event channel is closed.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut failures = 0;
        loop {
            let Some(error) = shutdown
                .run_until_cancelled(Box::pin(self.list_and_follow(&mut failures)))
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
            self.is_docker_lost |= self.is_daemon_gone(&error).await;
            let lost = SupervisionEvent::DockerLost(error.to_string());
            if self.send_event(lost).await.is_err() {
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
    /// nothing shows that there was none. A daemon that rejects a call or is slow is not down.
    async fn is_daemon_gone(&self, reason: &DockerError) -> bool {
        match reason {
            DockerError::Rejected(_) | DockerError::NoSuchContainer => false,
            DockerError::DaemonUnreachable(_) => true,
            DockerError::NoAnswer(_) if !self.is_guarded => true,
            DockerError::Timeout(_) | DockerError::NoAnswer(_) => matches!(
                self.docker.ping().await,
                Err(DockerError::DaemonUnreachable(_))
            ),
        }
    }

    /// Lists everything, then follows the events until the connection ends.
    async fn list_and_follow(&mut self, failures: &mut u32) -> WatchError {
        loop {
            if let Err(error) = self.list_all().await {
                return error;
            }
            *failures = 0;
            if let Err(error) = Box::pin(self.follow_events()).await {
                return error;
            }
        }
    }

    /// Lists all containers. Past events come first: a stop request is known before its end is decided on.
    async fn list_all(&mut self) -> Result<(), WatchError> {
        if self.is_docker_lost {
            self.docker.ping().await?;
            self.is_docker_lost = false;
            let from = UtcMs(self.known_until.0.saturating_sub(OVERLAP_MS));
            self.docker_outage = Some(DockerOutage::between(from, clock::now()));
        }
        let mut list = ContainerList {
            stop_requests: self.past_stops().await?,
            ..ContainerList::default()
        };
        let summaries = self.docker.list().await?;
        let mut open = self.request_inspections(&summaries);
        let deadline = Instant::now() + LIST_WAIT;
        while !open.is_empty() {
            let Ok(found) = timeout_at(deadline, self.inspector.next()).await else {
                break;
            };
            match found {
                Found::Inspected(inspection) => {
                    open.remove(&inspection.container);
                    self.add_to_list(*inspection, &mut list).await?;
                }
                Found::LogRead(unit, log_tail) => {
                    self.send_event(SupervisionEvent::LogRead { unit, log_tail })
                        .await?;
                }
            }
        }
        let unfinished = open.into_iter().filter_map(|container| {
            Some(FailedInspection {
                unit: self.unit_names.get(&container)?.clone(),
                container,
                error: format!("no answer within {LIST_WAIT:?}"),
            })
        });
        list.unjudged.extend(unfinished);
        if let Some(outage) = self.docker_outage.take() {
            self.send_event(SupervisionEvent::DockerRecovered(outage))
                .await?;
        }
        let logs: Vec<(SubjectToken, Container)> = list.containers.clone();
        self.send_event(SupervisionEvent::Listed(list)).await?;
        for (unit, container) in &logs {
            self.inspector.request_log(unit, container);
        }
        Ok(())
    }

    fn request_inspections(&mut self, summaries: &[ContainerSummary]) -> BTreeSet<String> {
        self.unit_names.clear();
        let mut open = BTreeSet::new();
        for summary in summaries {
            let (Some(id), Some(name)) = (&summary.id, inspect::listed_name(summary)) else {
                continue;
            };
            self.unit_names.insert(id.clone(), name);
            self.inspector.request(id);
            open.insert(id.clone());
        }
        open
    }

    async fn add_to_list(
        &mut self,
        inspection: Inspection,
        list: &mut ContainerList,
    ) -> Result<(), ReceiverDropped> {
        let log_tail = inspection.log_tail.clone();
        match self.judge(inspection) {
            Judged::Present(unit, container) => {
                if let Some(log_tail) = log_tail {
                    let unit = unit.clone();
                    self.send_event(SupervisionEvent::LogRead { unit, log_tail })
                        .await?;
                }
                list.containers.push((unit, container));
            }
            Judged::Failed(failed) => list.unjudged.push(failed),
            Judged::Excluded(excluded) => list.excluded.push(excluded),
            Judged::Removed | Judged::Foreign => {}
        }
        Ok(())
    }

    /// Stops of the last run of each container, by Docker's history. Stops that Docker's own start caused are none.
    async fn past_stops(&mut self) -> Result<Vec<StopRequest>, DockerError> {
        let history = self.docker.past_events().await?;
        let history: Vec<DockerEvent> = history
            .iter()
            .filter_map(DockerEvent::from_message)
            .collect();
        let startup = docker_event::startup_stops(&history);
        self.infer_docker_outage(&history, startup).await?;
        if self.docker_outage.is_some() {
            let stops = history[..startup].iter().map(DockerEvent::key);
            self.startup_stops.extend(stops);
        }
        for event in &history {
            self.oom_marks.note(event);
            self.known_until = self.known_until.max(event.at);
        }
        self.seen = history.iter().map(DockerEvent::key).collect();
        self.startup_stops.retain(|key| self.seen.contains(key));
        let operators = history
            .into_iter()
            .filter(|event| !self.startup_stops.contains(&event.key()));
        let operators: Vec<DockerEvent> = operators.collect();
        Ok(docker_event::stops_of_last_runs(&operators))
    }

    /// Infers an outage of Docker from the events of the watchdog's own container, because Docker came back before the
    /// watchdog did.
    async fn infer_docker_outage(
        &mut self,
        history: &[DockerEvent],
        startup: usize,
    ) -> Result<(), DockerError> {
        let is_first = std::mem::replace(&mut self.is_first_listing, false);
        let Some(own) = self.own_container.as_ref().filter(|_| is_first) else {
            return Ok(());
        };
        if self.docker_outage.is_some() {
            return Ok(());
        }
        let found = match self.docker.inspect(own).await {
            Ok(found) => found,
            Err(DockerError::NoSuchContainer) => return Ok(()),
            Err(error) => return Err(error),
        };
        let id = found.id.clone().unwrap_or_default();
        if docker_event::was_restarted_with_docker(history, &id, startup) {
            self.docker_outage = inspect::last_end_time(found).map(|ended_at| DockerOutage {
                from: UtcMs(ended_at.0.saturating_sub(OUTAGE_MARGIN_MS)),
                until: UtcMs(ended_at.0.saturating_add(OUTAGE_MARGIN_MS)),
            });
        }
        Ok(())
    }

    /// Follows the events until the next complete list is due.
    async fn follow_events(&mut self) -> Result<(), WatchError> {
        let mut events = Box::pin(self.docker.events());
        let resync = Arc::clone(&self.resync);
        let (until, retry) = (sleep(RESYNC_INTERVAL), sleep(RETRY_INTERVAL));
        let unreachable = ping_until_unreachable(self.docker.clone());
        tokio::pin!(until, retry, unreachable);
        let mut failed = BTreeSet::new();
        loop {
            tokio::select! {
                biased;
                next = events.next() => match next {
                    Some(Ok(message)) => self.on_event(&message).await?,
                    Some(Err(error)) => return Err(classify_error(&error).into()),
                    None => {
                        let error = "the event stream ended".to_owned();
                        return Err(DockerError::NoAnswer(error).into());
                    }
                },
                found = self.inspector.next() => self.on_found(found, &mut failed).await?,
                error = &mut unreachable => return Err(error.into()),
                () = resync.notified() => return Ok(()),
                () = &mut until => return Ok(()),
                () = &mut retry => {
                    for container in std::mem::take(&mut failed) {
                        self.inspector.request(&container);
                    }
                    retry.as_mut().reset(Instant::now() + RETRY_INTERVAL);
                }
            }
        }
    }

    async fn on_event(&mut self, message: &EventMessage) -> Result<(), WatchError> {
        let Some(event) = DockerEvent::from_message(message) else {
            return Ok(());
        };
        if self.seen.contains(&event.key()) {
            return Ok(());
        }
        tracing::debug!(
            action = event.action,
            container = event.container,
            "docker event"
        );
        self.known_until = self.known_until.max(event.at);
        self.oom_marks.note(&event);
        if event.action == "destroy" {
            return Ok(self.on_removed(event.container).await?);
        }
        let Some(request) = event.to_stop_request() else {
            self.inspector.request(&event.container);
            return Ok(());
        };
        // A Docker daemon that shuts down stops every container. That is no operator's request.
        self.docker.ping().await?;
        if self.inspector.is_pending(&request.container) {
            self.deferred_stops.push(request);
        } else {
            self.send_event(SupervisionEvent::StopRequested(request))
                .await?;
        }
        Ok(())
    }

    /// Sends what was found. An inspection that failed is repeated later; its unit alone is uncertain.
    async fn on_found(
        &mut self,
        found: Found,
        failed: &mut BTreeSet<String>,
    ) -> Result<(), WatchError> {
        let inspection = match found {
            Found::Inspected(inspection) => *inspection,
            Found::LogRead(unit, log_tail) => {
                let event = SupervisionEvent::LogRead { unit, log_tail };
                return Ok(self.send_event(event).await?);
            }
        };
        let (id, log_tail) = (inspection.container.clone(), inspection.log_tail.clone());
        if inspection.result.is_ok() {
            self.send_deferred_stops(&id).await?;
        }
        match self.judge(inspection) {
            Judged::Present(unit, container) => {
                self.on_container(unit, container, log_tail).await?;
            }
            Judged::Failed(failure) => {
                failed.insert(id.clone());
                self.send_event(SupervisionEvent::InspectionFailed(failure))
                    .await?;
            }
            // The next complete list shows it.
            Judged::Excluded(_) => self.resync.notify_one(),
            Judged::Removed => self.on_removed(id.clone()).await?,
            Judged::Foreign => {}
        }
        Ok(())
    }

    /// Sends the stops that waited for this inspection, before it: the end of a run is decided on with them.
    async fn send_deferred_stops(&mut self, container: &str) -> Result<(), ReceiverDropped> {
        for request in std::mem::take(&mut self.deferred_stops) {
            if request.container == container {
                let is_of_last_run = true;
                self.send_event(SupervisionEvent::StopRequested(StopRequest {
                    is_of_last_run,
                    ..request
                }))
                .await?;
            } else {
                self.deferred_stops.push(request);
            }
        }
        Ok(())
    }

    /// Sends an inspected container. Its log comes before, unless a restart may follow at once.
    async fn on_container(
        &mut self,
        unit: SubjectToken,
        container: Container,
        log_tail: Option<LogTail>,
    ) -> Result<(), ReceiverDropped> {
        if let Some(log_tail) = log_tail {
            let unit = unit.clone();
            self.send_event(SupervisionEvent::LogRead { unit, log_tail })
                .await?;
        }
        if may_restart_at_once(&container) {
            self.inspector.request_log(&unit, &container);
        }
        self.send_event(SupervisionEvent::ContainerObserved { unit, container })
            .await
    }

    async fn on_removed(&mut self, container: String) -> Result<(), ReceiverDropped> {
        self.inspector.forget(&container);
        self.skipped.remove(&container);
        self.unit_names.remove(&container);
        self.deferred_stops
            .retain(|request| request.container != container);
        self.send_event(SupervisionEvent::ContainerRemoved { container })
            .await
    }

    /// What an inspection says. One that failed is the failure of its unit alone.
    fn judge(&mut self, inspection: Inspection) -> Judged {
        let id = inspection.container;
        let found = match inspection.result {
            Ok(found) => found,
            Err(DockerError::NoSuchContainer) => return Judged::Removed,
            Err(error) => {
                let Some(unit) = self.unit_names.get(&id).cloned() else {
                    return Judged::Foreign;
                };
                let error = error.to_string();
                tracing::warn!(%unit, error, "container not inspected");
                return Judged::Failed(FailedInspection {
                    unit,
                    container: id,
                    error,
                });
            }
        };
        let is_marked = found.state.as_ref().and_then(|state| state.oom_killed) == Some(true);
        match inspect::parse_unit(found) {
            Ok((unit, mut container)) => {
                self.oom_marks.correct(&mut container, is_marked);
                self.unit_names.insert(id, unit.clone());
                Judged::Present(unit, container)
            }
            Err(SkipReason::Foreign) => Judged::Foreign,
            Err(SkipReason::NotSupervisable(reason)) => {
                if self.skipped.insert(id.clone(), reason.clone()).as_ref() != Some(&reason) {
                    tracing::warn!(reason, "container not supervised");
                }
                match self.unit_names.get(&id).cloned() {
                    Some(unit) => Judged::Excluded(ExcludedContainer {
                        unit,
                        container: id,
                        reason,
                    }),
                    None => Judged::Foreign,
                }
            }
        }
    }

    async fn send_event(&self, event: SupervisionEvent) -> Result<(), ReceiverDropped> {
        self.events.send(event).await.map_err(|_| ReceiverDropped)
    }
}

/// Pings Docker at an interval; returns the error of the first ping that fails.
async fn ping_until_unreachable(docker: DockerClient) -> DockerError {
    loop {
        sleep(PING_INTERVAL).await;
        if let Err(error) = docker.ping().await {
            return error;
        }
    }
}
