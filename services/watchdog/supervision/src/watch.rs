//! What has been seen since this process began: containers, heartbeats, signs of our own blindness,
//! calls under way. Nothing here is journaled; all of it is seen again after a restart.

mod sight;

pub use sight::{Seen, Sight};

use std::collections::BTreeMap;

use protocol::ids::{AccountKey, Token};
use protocol::time::UtcMs;

use self::sight::Armed;
use crate::absence::{Absence, GONE};
use crate::act::Action;
use crate::container::{Container, Exit};
use crate::evidence::LastWords;
use crate::moment::Moment;
use crate::phase::Phase;
use crate::pulse::Beat;
use crate::record::Latch;
use crate::rules::Rules;
use crate::state::State;
use crate::unit::Unit;

/// After a second without a heartbeat an echo over the bus is asked for; neither for longer than this, and the bus
/// carries nothing, or our own loop was held up: either way what we did not hear proves nothing.
const ECHO_MS: u64 = 2_000;
/// After the bus was away everybody needs time to find it again.
const RECONNECT_MS: u64 = 10_000;
/// Who was started and is not heard of counts as on its way up for so long.
const ON_ITS_WAY_MS: u64 = 15_000;
/// A run that we have watched for this long is not confused with the one before.
const SURELY_THIS_RUN_MS: u64 = 5_000;

/// Something was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Everything, after each connection to the engine and now and then.
    Listed {
        /// Every container of every unit.
        containers: Vec<(Token, Container)>,
        /// Stops asked for while nobody watched.
        stops: Vec<StopAsked>,
    },
    /// One container.
    Seen {
        /// Whose.
        unit: Token,
        /// As the engine shows it now.
        container: Container,
    },
    /// A container was removed.
    Removed {
        /// Its id.
        container: String,
    },
    /// The engine was told to stop a container.
    StopAsked(StopAsked),
    /// The engine cannot be reached: what we know of containers is old.
    EngineLost,
    /// It went down and came back; what it shows of that time is reported behind this.
    EngineWasAway(Absence),
    /// A heartbeat.
    Beat {
        /// Whose.
        unit: Token,
        /// What it says.
        beat: Beat,
    },
    /// The end of the log of a run that has ended.
    LastWords {
        /// Whose.
        unit: Token,
        /// What it says.
        words: LastWords,
    },
    /// An operator ended a latch.
    Unlatched {
        /// Which.
        latch: Latch,
        /// Who.
        by: String,
        /// Why.
        why: String,
    },
    /// Our own message came back over the bus.
    Echoed,
    /// A call has ended.
    Acted {
        /// For which unit.
        unit: Token,
        /// Why it failed, if so.
        error: Option<String>,
    },
    /// Time passed.
    Ticked,
}

/// The engine was told to stop a container, or to send it SIGTERM or SIGINT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopAsked {
    /// The container's id.
    pub container: String,
    /// When, by the engine's wall clock.
    pub at: UtcMs,
}

/// For whom an event may change a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Nobody.
    Nobody,
    /// This unit.
    One(Token),
    /// Every unit.
    All,
}

/// Everything seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watch {
    rules: Rules,
    sights: BTreeMap<Token, Sight>,
    engine: bool,
    /// When it was away last.
    absence: Option<Absence>,
    echo: Option<u64>,
    /// Since when silence means something.
    hearing: u64,
    /// Latches that operators ended: who and why, of those that keep a unit down.
    unlatched: BTreeMap<Latch, (String, String)>,
}

impl Watch {
    /// Nothing seen yet; these rules hold.
    pub fn under(rules: Rules) -> Self {
        Self {
            rules,
            ..Self::default()
        }
    }

    /// What holds for every unit.
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Whether a unit other than this one may be started now: not while enough of them are on their way up.
    pub fn has_room(&self, state: &State, name: &Token, now: Moment) -> bool {
        let others = state.units.iter().filter(|(other, _)| *other != name);
        let starting = others.filter(|(other, unit)| self.is_starting(other, unit, now));
        starting.count() < usize::try_from(self.rules.most_starting).unwrap_or(usize::MAX)
    }

    /// Being started, or started by us and not heard of yet; who is never heard of blocks nobody for long.
    fn is_starting(&self, name: &Token, unit: &Unit, now: Moment) -> bool {
        match unit.phase {
            Phase::Starting { .. } => unit.held.is_none(),
            Phase::Running(_) => {
                let watched = self.of(name).map_or(0, |sight| sight.watched);
                let lately = now.mono.saturating_sub(watched) < ON_ITS_WAY_MS;
                unit.ours && unit.healthy.is_none() && lately
            }
            _ => false,
        }
    }

    /// Takes in what was seen.
    pub fn take_in(&mut self, state: &State, event: Event, now: Moment) -> Scope {
        match event {
            Event::Listed { containers, stops } => {
                self.listed(state, containers, now);
                for asked in stops {
                    self.stop_asked(state, &asked, now);
                }
                Scope::All
            }
            Event::Seen { unit, container } => {
                self.sight(&unit).container(container, now);
                Scope::One(unit)
            }
            Event::Removed { container } => self.removed(&container),
            Event::StopAsked(asked) => self.stop_asked(state, &asked, now),
            Event::EngineLost => {
                self.engine = false;
                Scope::Nobody
            }
            Event::EngineWasAway(absence) => {
                self.absence = Some(absence);
                Scope::Nobody
            }
            Event::Beat { unit, beat } => {
                self.carries(now);
                self.sight(&unit).beat(beat, now);
                Scope::One(unit)
            }
            Event::LastWords { unit, words } => {
                self.sight(&unit).last_words = Some(words);
                Scope::One(unit)
            }
            Event::Unlatched { latch, by, why } => self.was_unlatched(state, latch, by, why),
            Event::Echoed => {
                self.carries(now);
                Scope::Nobody
            }
            Event::Acted { unit, error } => {
                let starts = state.units.get(&unit).map_or(0, |unit| unit.starts);
                // One that is away has refused nothing: what it did shows when it is back.
                let error = error.filter(|_| self.engine);
                self.sight(&unit).acted(error, starts, now);
                Scope::One(unit)
            }
            Event::Ticked => Scope::All,
        }
    }

    /// Notes that a call is made.
    pub fn launched(&mut self, unit: &Token, action: Action) {
        let sight = self.sight(unit);
        sight.failed_start = None;
        sight.in_flight = Some(action);
    }

    /// Begins to measure the wait of a unit by our own clock, unless it is measured already.
    pub fn arm(&mut self, name: &Token, unit: &Unit, now: Moment) {
        let sight = self.sight(name);
        sight.armed = sight.due(unit, now).map(|due| Armed {
            since: unit.since,
            restarts: unit.restarts,
            delay_ms: unit.phase.delay_ms(),
            due,
        });
    }

    /// What is seen of a unit.
    pub fn of(&self, unit: &Token) -> Option<&Sight> {
        self.sights.get(unit)
    }

    /// Every unit seen.
    pub fn units(&self) -> impl Iterator<Item = &Token> {
        self.sights.keys()
    }

    /// Whether the engine answers.
    pub const fn engine(&self) -> bool {
        self.engine
    }

    /// Whether a run ended because the engine did: while we know it was away, or else by its own word, before we came.
    pub fn took_along(&self, sight: &Sight, container: &Container, exit: Exit) -> bool {
        let absence = self.absence.as_ref();
        let found = sight.found_ended.as_ref() == Some(&container.run);
        found && exit.code == GONE
            || absence.is_some_and(|absence| absence.took_along(container, exit))
    }

    /// Whether silence on the bus may be ours.
    pub fn blind(&self, mono: u64) -> bool {
        self.echo
            .is_none_or(|echo| mono.saturating_sub(echo) > ECHO_MS)
    }

    /// A unit to which the candles of this account's market come.
    pub fn with_market(&self, account: &AccountKey, mono: u64) -> Option<&Token> {
        let mut sights = self.sights.iter();
        let has = |sight: &Sight| {
            let pulse = sight.pulse.as_ref();
            pulse.is_some_and(|pulse| pulse.has_market(account, mono))
        };
        sights.find(|(_, sight)| has(sight)).map(|(name, _)| name)
    }

    /// Since when silence of this unit means something.
    pub fn watched(&self, sight: &Sight) -> u64 {
        sight.watched.max(self.hearing)
    }

    fn sight(&mut self, unit: &Token) -> &mut Sight {
        self.sights.entry(unit.clone()).or_default()
    }

    /// Who ended this latch, and why, if anybody did.
    pub fn unlatched(&self, latch: &Latch) -> Option<&(String, String)> {
        self.unlatched.get(latch)
    }

    fn was_unlatched(&mut self, state: &State, latch: Latch, by: String, why: String) -> Scope {
        self.unlatched.insert(latch, (by, why));
        let keeps = |latch: &Latch| state.latched().any(|(_, known)| known == Some(latch));
        self.unlatched.retain(|latch, _| keeps(latch));
        Scope::All
    }

    /// The bus has just carried something to us.
    fn carries(&mut self, now: Moment) {
        if self.blind(now.mono) {
            let grace = if self.echo.is_some() { RECONNECT_MS } else { 0 };
            self.hearing = self.hearing.max(now.mono.saturating_add(grace));
        }
        self.echo = Some(now.mono);
    }

    fn listed(&mut self, state: &State, containers: Vec<(Token, Container)>, now: Moment) {
        self.engine = true;
        let there = |unit: &Token| containers.iter().any(|(other, _)| other == unit);
        let known: Vec<Token> = state
            .units
            .keys()
            .chain(self.sights.keys())
            .cloned()
            .collect();
        for unit in known.into_iter().filter(|unit| !there(unit)) {
            self.sight(&unit).seen = Seen::Missing;
        }
        for (unit, container) in containers {
            self.sight(&unit).container(container, now);
        }
    }

    fn removed(&mut self, container: &str) -> Scope {
        match self.unit_of(container) {
            Some(unit) => {
                self.sight(&unit).seen = Seen::Missing;
                Scope::One(unit)
            }
            None => Scope::Nobody,
        }
    }

    /// A person's wish, unless it is our own stop that shows.
    fn stop_asked(&mut self, state: &State, asked: &StopAsked, now: Moment) -> Scope {
        let Some(unit) = self.unit_of(&asked.container) else {
            return Scope::Nobody;
        };
        let phase = state.units.get(&unit).map(|unit| &unit.phase);
        let sight = self.sight(&unit);
        let ours = matches!(sight.in_flight, Some(Action::Stop { .. }))
            || matches!(phase, Some(Phase::Stopping { .. }));
        if let (Seen::Here(here), false) = (&sight.seen, ours) {
            // The engine's clock may have jumped since the start; a long look at this run is as good.
            let surely =
                here.lives() && now.mono.saturating_sub(sight.watched) > SURELY_THIS_RUN_MS;
            if surely || asked.at >= here.began {
                sight.stop_asked = Some(here.run.clone());
            }
        }
        Scope::One(unit)
    }

    fn unit_of(&self, container: &str) -> Option<Token> {
        let holds = |sight: &Sight| match &sight.seen {
            Seen::Here(here) => here.run.container == container,
            Seen::NotYet | Seen::Missing => false,
        };
        let found = self.sights.iter().find(|(_, sight)| holds(sight));
        found.map(|(unit, _)| unit.clone())
    }
}
