//! Watches the engine: lists and inspects after each connection, then follows its events. An event is
//! only a hint to look; what is reported is what an inspection shows. Reports facts, judges none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bollard::models::EventMessage;
use futures_util::StreamExt;
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
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

const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_CAP: Duration = Duration::from_secs(1);
/// Everything is looked at anew this often: a stream that fell silent must not make us blind.
const RESYNC_INTERVAL: Duration = Duration::from_mins(1);
/// Events from this long before a look are asked for again: none falls between look and stream.
const OVERLAP_MS: i64 = 2_000;
/// An out-of-memory kill this long before the end is its cause.
const OOM_KILL_WINDOW: Duration = Duration::from_secs(5);
/// A stop this close to one of our own container was one of everything: of the engine after a crash
/// (it ends what its predecessor left running), of the host, of `docker compose stop`.
const JOINT_STOP_MS: i64 = 15_000;

/// What there is to watch, and from where.
pub struct DockerScope {
    /// The engine.
    pub docker: DockerClient,
    /// A guard is in between.
    pub is_guarded: bool,
    /// Our own container, if we are in one.
    pub own_container: Option<String>,
    /// Since when the engine answers, if it had to be waited for; else long ago.
    pub answers_since: UtcMs,
}

/// Watches until it is told to stop.
pub struct ContainerWatcher {
    docker: DockerClient,
    /// A guard is in between: that it does not answer says nothing of the engine, which persons may
    /// ask to stop a unit meanwhile.
    is_guarded: bool,
    events: mpsc::Sender<SupervisionEvent>,
    /// Somebody wants everything to be looked at anew.
    resync: Arc<Notify>,
    /// Our own container, if we are in one.
    own_container: Option<String>,
    /// Since when the engine answers: nobody can have asked it for anything before.
    answers_since: UtcMs,
    is_docker_lost: bool,
    /// The engine was away: not reported yet.
    docker_outage: Option<DockerOutage>,
    /// Nothing was looked at yet.
    is_first_listing: bool,
    /// Up to where the engine's events are known, by its wall clock.
    known_until: UtcMs,
    /// When the kernel last killed something in a container.
    oom_kills: BTreeMap<String, UtcMs>,
    /// Containers whose "out of memory" mark is left over from an earlier run.
    stale_oom: BTreeSet<String>,
    /// What is left alone, and why: said once.
    skipped: BTreeMap<String, String>,
    /// The run of each container whose log was read already.
    log_read: BTreeMap<String, String>,
}

/// The reader of our reports is gone: there is nothing more to do.
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
    /// An eye that reports to `events`. What happened since `known_until` is asked for first; `again` makes
    /// it look at everything anew.
    pub fn new(
        sight: &DockerScope,
        events: mpsc::Sender<SupervisionEvent>,
        resync: Arc<Notify>,
        known_until: UtcMs,
    ) -> Self {
        let until = sight.answers_since;
        let waited_for = until > UtcMs::default();
        Self {
            docker: sight.docker.clone(),
            is_guarded: sight.is_guarded,
            events,
            resync,
            own_container: sight.own_container.clone(),
            answers_since: sight.answers_since,
            is_docker_lost: false,
            docker_outage: waited_for.then_some(DockerOutage {
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

    /// Watches until `shutdown`, or until nobody listens.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut pause = RETRY_FIRST;
        loop {
            let Some(broken) = shutdown
                .run_until_cancelled(self.list_and_follow(&mut pause))
                .await
            else {
                return;
            };
            let WatchError::Docker(why) = broken else {
                return;
            };
            tracing::warn!(%why, retry_in = ?pause, "the engine does not answer");
            self.is_docker_lost |= !self.is_guarded || self.is_daemon_unreachable(&why).await;
            if self.send_event(SupervisionEvent::DockerLost).await.is_err() {
                return;
            }
            if shutdown
                .run_until_cancelled(tokio::time::sleep(pause))
                .await
                .is_none()
            {
                return;
            }
            pause = (pause * 2).min(RETRY_CAP);
        }
    }

    /// Asked at once: a new engine lets callers wait until it is ready, and then nothing shows that there was none.
    async fn is_daemon_unreachable(&self, why: &DockerError) -> bool {
        let said = matches!(why, DockerError::DaemonUnreachable(_));
        said || matches!(
            self.docker.ping().await,
            Err(DockerError::DaemonUnreachable(_))
        )
    }

    /// Looks at everything, then follows the events; ends when the connection does.
    async fn list_and_follow(&mut self, pause: &mut Duration) -> WatchError {
        loop {
            let from = match self.list_all().await {
                Ok(from) => from,
                Err(broken) => return broken,
            };
            *pause = RETRY_FIRST;
            if let Err(broken) = self.follow_events(from).await {
                return broken;
            }
        }
    }

    /// History first, then the list: a stop that happened while we were away is known before its
    /// end is judged.
    async fn list_all(&mut self) -> Result<UtcMs, WatchError> {
        if self.is_docker_lost {
            self.docker.ping().await?;
            self.answers_since = clock::now();
            self.is_docker_lost = false;
            self.docker_outage = Some(DockerOutage {
                // The last that was heard may be of its way down, and behind an end that was not.
                from: UtcMs(self.known_until.0.saturating_sub(OVERLAP_MS)),
                until: self.answers_since,
            });
        }
        let now = clock::now();
        let stops = self.missed_stop_requests(now).await?;
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
        if let Some(absence) = self.docker_outage.take() {
            self.send_event(SupervisionEvent::DockerRecovered(absence))
                .await?;
        }
        self.send_event(SupervisionEvent::Listed {
            containers,
            stop_requests: stops,
        })
        .await?;
        Ok(now)
    }

    /// The stops that persons asked for since we last knew.
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
        let mut stops = Vec::new();
        for event in history.iter().filter_map(DockerEvent::from_message) {
            self.note_oom(&event);
            let near = |own: &DockerEvent| {
                own.is_stop_request() && (own.at.0 - event.at.0).abs() <= JOINT_STOP_MS
            };
            if self.is_operator_stop(&event) && !own.iter().any(near) {
                stops.push(event.to_stop_request());
            }
        }
        Ok(stops)
    }

    /// If we are in a container of the same engine, it was back before us. What it has seen of us tells: our end, by
    /// ourselves alone (then it was there all the time); or one that it was asked for, or only our start.
    async fn infer_docker_outage(&mut self, events: &[DockerEvent]) -> Result<(), DockerError> {
        let first = std::mem::replace(&mut self.is_first_listing, false);
        let Some(own) = self.own_container.as_ref().filter(|_| first) else {
            return Ok(());
        };
        if self.docker_outage.is_some() || !started_after_outage(events) {
            return Ok(());
        }
        let ended = match self.docker.inspect(own).await {
            Ok(found) => inspect::last_end_time(found),
            Err(DockerError::NoSuchContainer) => None,
            Err(error) => return Err(error),
        };
        self.docker_outage = ended.map(|ended| DockerOutage {
            from: UtcMs(ended.0.saturating_sub(JOINT_STOP_MS)),
            until: UtcMs(ended.0.saturating_add(JOINT_STOP_MS)),
        });
        Ok(())
    }

    /// A stop from before the engine answered anybody is its own.
    fn is_operator_stop(&self, event: &DockerEvent) -> bool {
        event.is_stop_request() && event.at >= self.answers_since
    }

    /// Follows the events until it is time for another look at everything.
    async fn follow_events(&mut self, from: UtcMs) -> Result<(), WatchError> {
        let since = UtcMs(from.0.saturating_sub(OVERLAP_MS).max(self.known_until.0));
        let mut events = Box::pin(self.docker.events(&format_unix_time(since)));
        let again = Arc::clone(&self.resync);
        let until = sleep(RESYNC_INTERVAL);
        tokio::pin!(until);
        loop {
            let next = tokio::select! {
                biased;
                next = events.next() => next,
                () = again.notified() => break,
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
            "engine event"
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
            // An engine that is going down stops everybody; that is no person's wish for this one.
            self.docker.ping().await?;
            if self.is_operator_stop(&event) {
                let asked = event.to_stop_request();
                self.send_event(SupervisionEvent::StopRequested(asked))
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

    /// What it said last is known when its end is judged, unless a restart may follow that at once.
    async fn on_container(
        &mut self,
        (unit, container): (SubjectToken, Container),
    ) -> Result<(), ReceiverDropped> {
        let seen = SupervisionEvent::ContainerObserved {
            unit: unit.clone(),
            container: container.clone(),
        };
        if may_restart_at_once(&container) {
            self.send_event(seen).await?;
            return self.read_log_tail(&unit, &container).await;
        }
        self.read_log_tail(&unit, &container).await?;
        self.send_event(seen).await
    }

    /// What a run said last, once.
    async fn read_log_tail(
        &mut self,
        unit: &SubjectToken,
        container: &Container,
    ) -> Result<(), ReceiverDropped> {
        let run = &container.run;
        if self.log_read.get(&run.container) == Some(&run.started_at) {
            return Ok(());
        }
        let Some(words) = log_tail::read(&self.docker, container).await else {
            return Ok(());
        };
        self.log_read
            .insert(run.container.clone(), run.started_at.clone());
        let unit = unit.clone();
        self.send_event(SupervisionEvent::LogRead {
            unit,
            log_tail: words,
        })
        .await
    }

    /// A container as the brain sees it; none if it is not ours.
    async fn inspect(
        &mut self,
        id: &str,
    ) -> Result<Option<(SubjectToken, Container)>, DockerError> {
        let found = self.docker.inspect(id).await?;
        let marked = found.state.as_ref().and_then(|state| state.oom_killed) == Some(true);
        match inspect::parse_unit(found) {
            Ok((unit, mut container)) => {
                self.validate_oom_flag(&mut container, marked);
                Ok(Some((unit, container)))
            }
            Err(SkipReason::Foreign) => Ok(None),
            Err(SkipReason::NotSupervisable(why)) => {
                if self.skipped.insert(id.to_owned(), why.clone()).as_ref() != Some(&why) {
                    tracing::warn!(why, "not supervised");
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

    /// The engine's mark survives a restart of the container, and a child's end sets it too: what
    /// counts is one that is new, or a kill just before the end.
    fn validate_oom_flag(&mut self, container: &mut Container, marked: bool) {
        let id = &container.run.container;
        match &mut container.status {
            Status::Exited(exit) => {
                let ended = container
                    .start_time
                    .plus(Duration::from_millis(exit.uptime_ms));
                let killed = self.oom_kills.get(id);
                let just_now = killed.is_some_and(|at| ended.since(*at) <= OOM_KILL_WINDOW);
                exit.oom_killed = just_now || marked && !self.stale_oom.contains(id);
            }
            Status::Running | Status::Paused if marked => {
                self.stale_oom.insert(id.clone());
            }
            Status::Running | Status::Paused | Status::Created | Status::InTransition => {}
        }
    }

    async fn send_event(&self, event: SupervisionEvent) -> Result<(), ReceiverDropped> {
        self.events.send(event).await.map_err(|_| ReceiverDropped)
    }
}
