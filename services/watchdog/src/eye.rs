//! Watches the engine: lists and inspects after each connection, then follows its events. An event is
//! only a hint to look; what is reported is what an inspection shows. Reports facts, judges none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bollard::models::EventMessage;
use futures_util::StreamExt;
use protocol::ids::Token;
use protocol::time::UtcMs;
use runtime::clock;
use supervision::absence::Absence;
use supervision::container::{Container, Status};
use supervision::ending::is_urgent;
use supervision::watch::{Event, StopAsked};
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, EngineError, told_apart};
use crate::facts::{self, Skip};
use crate::hint::{Hint, seconds, started_with_others};
use crate::last_words;

const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_CAP: Duration = Duration::from_secs(1);
/// Everything is looked at anew this often: a stream that fell silent must not make us blind.
const LOOK_AGAIN: Duration = Duration::from_mins(1);
/// Events from this long before a look are asked for again: none falls between look and stream.
const OVERLAP_MS: i64 = 2_000;
/// An out-of-memory kill this long before the end is its cause.
const JUST_BEFORE: Duration = Duration::from_secs(5);
/// A stop this close to one of our own container was one of everything: of the engine after a crash
/// (it ends what its predecessor left running), of the host, of `docker compose stop`.
const TOGETHER_MS: i64 = 15_000;

/// What there is to watch, and from where.
pub struct Sight {
    /// The engine.
    pub engine: Engine,
    /// A guard is in between.
    pub guarded: bool,
    /// Our own container, if we are in one.
    pub own: Option<String>,
    /// Since when the engine answers, if it had to be waited for; else long ago.
    pub answers_since: UtcMs,
}

/// Watches until it is told to stop.
pub struct Eye {
    engine: Engine,
    /// A guard is in between: that it does not answer says nothing of the engine, which persons may
    /// ask to stop a unit meanwhile.
    guarded: bool,
    reports: mpsc::Sender<Event>,
    /// Somebody wants everything to be looked at anew.
    again: Arc<Notify>,
    /// Our own container, if we are in one.
    own: Option<String>,
    /// Since when the engine answers: nobody can have asked it for anything before.
    answers_since: UtcMs,
    away: bool,
    /// The engine was away: not reported yet.
    absence: Option<Absence>,
    /// Nothing was looked at yet.
    first: bool,
    /// Up to where the engine's events are known, by its wall clock.
    known: UtcMs,
    /// When the kernel last killed something in a container.
    hungry: BTreeMap<String, UtcMs>,
    /// Containers whose "out of memory" mark is left over from an earlier run.
    stale_oom: BTreeSet<String>,
    /// What is left alone, and why: said once.
    unfit: BTreeMap<String, String>,
    /// The run of each container whose log was read already.
    read: BTreeMap<String, String>,
}

/// The reader of our reports is gone: there is nothing more to do.
struct Unheard;

enum Broken {
    Unheard,
    Engine(EngineError),
}

impl From<Unheard> for Broken {
    fn from(_: Unheard) -> Self {
        Self::Unheard
    }
}

impl From<EngineError> for Broken {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl Eye {
    /// An eye that reports to `reports`. What happened since `known` is asked for first; `again` makes
    /// it look at everything anew.
    pub fn new(
        sight: &Sight,
        reports: mpsc::Sender<Event>,
        again: Arc<Notify>,
        known: UtcMs,
    ) -> Self {
        let until = sight.answers_since;
        let waited_for = until > UtcMs::default();
        Self {
            engine: sight.engine.clone(),
            guarded: sight.guarded,
            reports,
            again,
            own: sight.own.clone(),
            answers_since: sight.answers_since,
            away: false,
            absence: waited_for.then_some(Absence { from: known, until }),
            first: true,
            known,
            hungry: BTreeMap::new(),
            stale_oom: BTreeSet::new(),
            unfit: BTreeMap::new(),
            read: BTreeMap::new(),
        }
    }

    /// Watches until `stop`, or until nobody listens.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut pause = RETRY_FIRST;
        loop {
            let Some(broken) = stop.run_until_cancelled(self.watch(&mut pause)).await else {
                return;
            };
            let Broken::Engine(why) = broken else {
                return;
            };
            tracing::warn!(%why, retry_in = ?pause, "the engine does not answer");
            self.away |= !self.guarded || self.guard_reaches_none(&why).await;
            if self.report(Event::EngineLost).await.is_err() {
                return;
            }
            if stop
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
    async fn guard_reaches_none(&self, why: &EngineError) -> bool {
        let said = matches!(why, EngineError::Unreached(_));
        said || matches!(self.engine.ping().await, Err(EngineError::Unreached(_)))
    }

    /// Looks at everything, then follows the events; ends when the connection does.
    async fn watch(&mut self, pause: &mut Duration) -> Broken {
        loop {
            let from = match self.look_around().await {
                Ok(from) => from,
                Err(broken) => return broken,
            };
            *pause = RETRY_FIRST;
            if let Err(broken) = self.follow(from).await {
                return broken;
            }
        }
    }

    /// History first, then the list: a stop that happened while we were away is known before its
    /// end is judged.
    async fn look_around(&mut self) -> Result<UtcMs, Broken> {
        if self.away {
            self.engine.ping().await?;
            self.answers_since = clock::now();
            self.away = false;
            self.absence = Some(Absence {
                // The last that was heard may be of its way down, and behind an end that was not.
                from: UtcMs(self.known.0.saturating_sub(OVERLAP_MS)),
                until: self.answers_since,
            });
        }
        let now = clock::now();
        let stops = self.stops_missed(now).await?;
        let mut containers = Vec::new();
        for id in self.engine.list().await? {
            match self.inspect(&id).await {
                Ok(Some(found)) => {
                    self.last_words(&found.0, &found.1).await?;
                    containers.push(found);
                }
                Ok(None) | Err(EngineError::NoSuchContainer) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(absence) = self.absence.take() {
            self.report(Event::EngineWasAway(absence)).await?;
        }
        self.report(Event::Listed { containers, stops }).await?;
        Ok(now)
    }

    /// The stops that persons asked for since we last knew.
    async fn stops_missed(&mut self, now: UtcMs) -> Result<Vec<StopAsked>, EngineError> {
        let since = UtcMs(self.known.0.saturating_sub(OVERLAP_MS));
        let (since, until) = (seconds(since), seconds(now));
        let own: Vec<Hint> = match &self.own {
            None => Vec::new(),
            Some(own) => {
                let events = self.engine.history_of(own, &since, &until).await?;
                events.iter().filter_map(Hint::of).collect()
            }
        };
        self.taken_along_ourselves(&own).await?;
        let history = self.engine.history(&since, &until).await?;
        let mut stops = Vec::new();
        for event in history.iter().filter_map(Hint::of) {
            self.note_memory(&event);
            let near =
                |own: &Hint| own.asks_to_stop() && (own.at.0 - event.at.0).abs() <= TOGETHER_MS;
            if self.is_a_wish(&event) && !own.iter().any(near) {
                stops.push(event.stop_asked());
            }
        }
        Ok(stops)
    }

    /// If we are in a container of the same engine, it was back before us. What it has seen of us tells: our end, by
    /// ourselves alone (then it was there all the time); or one that it was asked for, or only our start.
    async fn taken_along_ourselves(&mut self, events: &[Hint]) -> Result<(), EngineError> {
        let first = std::mem::replace(&mut self.first, false);
        let Some(own) = self.own.as_ref().filter(|_| first) else {
            return Ok(());
        };
        if self.absence.is_some() || !started_with_others(events) {
            return Ok(());
        }
        let ended = match self.engine.inspect(own).await {
            Ok(found) => facts::last_end(found),
            Err(EngineError::NoSuchContainer) => None,
            Err(error) => return Err(error),
        };
        self.absence = ended.map(|ended| Absence {
            from: UtcMs(ended.0.saturating_sub(TOGETHER_MS)),
            until: UtcMs(ended.0.saturating_add(TOGETHER_MS)),
        });
        Ok(())
    }

    /// A stop from before the engine answered anybody is its own.
    fn is_a_wish(&self, event: &Hint) -> bool {
        event.asks_to_stop() && event.at >= self.answers_since
    }

    /// Follows the events until it is time for another look at everything.
    async fn follow(&mut self, from: UtcMs) -> Result<(), Broken> {
        let since = UtcMs(from.0.saturating_sub(OVERLAP_MS).max(self.known.0));
        let mut events = Box::pin(self.engine.events(&seconds(since)));
        let again = Arc::clone(&self.again);
        let until = sleep(LOOK_AGAIN);
        tokio::pin!(until);
        loop {
            let next = tokio::select! {
                biased;
                next = events.next() => next,
                () = again.notified() => break,
                () = &mut until => break,
            };
            match next {
                Some(Ok(message)) => self.hear(&message).await?,
                Some(Err(error)) => return Err(told_apart(&error).into()),
                None => return Err(EngineError::Away("the event stream ended".to_owned()).into()),
            }
        }
        self.known = self.known.max(from);
        Ok(())
    }

    async fn hear(&mut self, message: &EventMessage) -> Result<(), Broken> {
        let Some(event) = Hint::of(message) else {
            return Ok(());
        };
        tracing::debug!(
            action = event.action,
            container = event.container,
            "engine event"
        );
        self.known = self.known.max(event.at);
        self.note_memory(&event);
        if event.action == "destroy" {
            let container = event.container.clone();
            return Ok(self.report(Event::Removed { container }).await?);
        }
        if event.asks_to_stop() {
            // An engine that is going down stops everybody; that is no person's wish for this one.
            self.engine.ping().await?;
            if self.is_a_wish(&event) {
                let asked = event.stop_asked();
                self.report(Event::StopAsked(asked)).await?;
            }
            return Ok(());
        }
        match self.inspect(&event.container).await {
            Ok(Some(found)) => Ok(self.saw(found).await?),
            Ok(None) => Ok(()),
            Err(EngineError::NoSuchContainer) => {
                let container = event.container.clone();
                Ok(self.report(Event::Removed { container }).await?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What it said last is known when its end is judged, unless a restart may follow that at once.
    async fn saw(&mut self, (unit, container): (Token, Container)) -> Result<(), Unheard> {
        let seen = Event::Seen {
            unit: unit.clone(),
            container: container.clone(),
        };
        if is_urgent(&container) {
            self.report(seen).await?;
            return self.last_words(&unit, &container).await;
        }
        self.last_words(&unit, &container).await?;
        self.report(seen).await
    }

    /// What a run said last, once.
    async fn last_words(&mut self, unit: &Token, container: &Container) -> Result<(), Unheard> {
        let run = &container.run;
        if self.read.get(&run.container) == Some(&run.started_at) {
            return Ok(());
        }
        let Some(words) = last_words::read(&self.engine, container).await else {
            return Ok(());
        };
        self.read
            .insert(run.container.clone(), run.started_at.clone());
        let unit = unit.clone();
        self.report(Event::LastWords { unit, words }).await
    }

    /// A container as the brain sees it; none if it is not ours.
    async fn inspect(&mut self, id: &str) -> Result<Option<(Token, Container)>, EngineError> {
        let found = self.engine.inspect(id).await?;
        let marked = found.state.as_ref().and_then(|state| state.oom_killed) == Some(true);
        match facts::read(found) {
            Ok((unit, mut container)) => {
                self.judge_memory(&mut container, marked);
                Ok(Some((unit, container)))
            }
            Err(Skip::Foreign) => Ok(None),
            Err(Skip::Unfit(why)) => {
                if self.unfit.insert(id.to_owned(), why.clone()).as_ref() != Some(&why) {
                    tracing::warn!(why, "not supervised");
                }
                Ok(None)
            }
        }
    }

    fn note_memory(&mut self, event: &Hint) {
        match event.action {
            "oom" => {
                self.hungry.insert(event.container.clone(), event.at);
            }
            "destroy" => {
                self.hungry.remove(&event.container);
                self.stale_oom.remove(&event.container);
                self.unfit.remove(&event.container);
                self.read.remove(&event.container);
            }
            _ => {}
        }
    }

    /// The engine's mark survives a restart of the container, and a child's end sets it too: what
    /// counts is one that is new, or a kill just before the end.
    fn judge_memory(&mut self, container: &mut Container, marked: bool) {
        let id = &container.run.container;
        match &mut container.status {
            Status::Exited(exit) => {
                let ended = container.began.plus(Duration::from_millis(exit.uptime_ms));
                let killed = self.hungry.get(id);
                let just_now = killed.is_some_and(|at| ended.since(*at) <= JUST_BEFORE);
                exit.oom = just_now || marked && !self.stale_oom.contains(id);
            }
            Status::Running | Status::Paused if marked => {
                self.stale_oom.insert(id.clone());
            }
            Status::Running | Status::Paused | Status::Created | Status::Leaving => {}
        }
    }

    async fn report(&self, event: Event) -> Result<(), Unheard> {
        self.reports.send(event).await.map_err(|_| Unheard)
    }
}
