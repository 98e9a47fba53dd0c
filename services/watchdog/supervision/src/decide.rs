//! What to record about a unit: the table in the crate's root. Changes nothing itself.

mod consequence;

use consequence::End;
use protocol::command::UnitOrder;
use protocol::heartbeat::Phase as BeatPhase;
use protocol::ids::Token;

use crate::container::{Container, Exit, Run, Status};
use crate::ending::{Ending, ending, is_urgent};
use crate::mask::mask;
use crate::moment::Moment;
use crate::operator;
use crate::phase::Phase;
use crate::policy::Policy;
use crate::pulse::{self, Pulse};
use crate::record::{EndedWhy, Fact, Latch, Order, Reason, Record, StartedBy, Why};
use crate::state::State;
use crate::unit::{Asked, Unit};
use crate::watch::{Seen, Sight, Watch};

/// A stop that a person asked for is recorded this long after the end: until then a `docker restart`
/// shows its second half, and an engine that is going down takes us along.
const SETTLE_MS: u64 = 1_000;
/// Who says for so long that it is critical gets no better by itself: the owner should look.
const CRITICAL_LONG_MS: u64 = 15 * 60 * 1_000;
/// How long the end of a log is waited for before a unit is given up: reading it takes less.
const WORDS_MS: u64 = 3_000;
/// No chain of records of one instant is longer.
const LONGEST_CHAIN: usize = 8;

/// Decides about one unit. All records belong into one journal message; empty when nothing changes.
pub fn decide(state: &State, watch: &Watch, name: &Token, now: Moment) -> Vec<Record> {
    chain(state, watch, name, now, None)
}

/// Decides about an order of a person: the order and what follows from it at once.
///
/// # Errors
/// Why it is turned down, in one line for who gave it.
pub fn obey(
    state: &State,
    watch: &Watch,
    order: &UnitOrder,
    by: &str,
    now: Moment,
) -> Result<(Token, Vec<Record>), String> {
    let name = order.unit().ok_or("it is no order")?;
    let paused = watch.of(name).is_some_and(Sight::paused);
    let fact = operator::decide(state.units.get(name), paused, order, by)?;
    Ok((name.clone(), chain(state, watch, name, now, Some(fact))))
}

/// The facts of one instant, each deciding over what the one before has made of the unit.
fn chain(
    state: &State,
    watch: &Watch,
    name: &Token,
    now: Moment,
    mut first: Option<Fact>,
) -> Vec<Record> {
    let unseen = Sight::default();
    let sight = watch.of(name).unwrap_or(&unseen);
    let mut unit = state.units.get(name).cloned().unwrap_or_default();
    let mut records = Vec::new();
    while records.len() < LONGEST_CHAIN {
        let desk = Desk {
            name,
            state,
            unit: &unit,
            watch,
            sight,
            now,
        };
        let Some(fact) = first.take().or_else(|| desk.next()) else {
            break;
        };
        unit.apply(now.utc, &fact);
        records.push(Record::Unit {
            unit: name.clone(),
            at: now.utc,
            fact,
        });
    }
    records
}

/// When to decide about this unit again if nothing happens before, by the monotonic clock.
pub fn wake_at(state: &State, watch: &Watch, name: &Token, now: Moment) -> Option<u64> {
    let (unit, sight) = (state.units.get(name)?, watch.of(name)?);
    let Seen::Here(here) = &sight.seen else {
        return None;
    };
    match &unit.phase {
        Phase::Waiting { .. } if unit.held.is_some() => None,
        Phase::Waiting { .. } => sight.due(unit, now),
        Phase::Running(run) if sight.stop_was_asked(run) && !here.lives() => {
            sight.ended_since(run).map(|ended| ended + SETTLE_MS)
        }
        Phase::Running(_) if here.status == Status::Running => {
            let watched = watch.watched(sight);
            Some(pulse::hangs_at(sight.pulse.as_ref(), watched, unit.healthy.as_ref()) + 1)
        }
        Phase::Stopping { .. } => Some(sight.stop_again()),
        Phase::Running(run) => sight.ended_since(run).map(|ended| ended + WORDS_MS),
        _ => None,
    }
}

/// Who is not heard gets no time: a frozen process cannot use it, and one that only the bus does not hear could
/// journal nothing of a good end. Every part is made to be killed.
const fn grace(reason: &Reason, usual_ms: u64) -> u64 {
    match reason {
        Reason::Silent { .. } | Reason::NeverBeat { .. } => 0,
        _ => usual_ms,
    }
}

struct Desk<'a> {
    name: &'a Token,
    state: &'a State,
    unit: &'a Unit,
    watch: &'a Watch,
    sight: &'a Sight,
    now: Moment,
}

impl Desk<'_> {
    /// The next fact, or none.
    fn next(&self) -> Option<Fact> {
        match &self.sight.seen {
            Seen::NotYet => None,
            Seen::Missing => match self.unit.phase {
                Phase::Unknown | Phase::Gone => None,
                _ => Some(Fact::Gone),
            },
            Seen::Here(here) => self
                .words()
                .or_else(|| self.policy(here))
                .or_else(|| self.container(here)),
        }
    }

    /// What came too late to be kept with its restart.
    fn words(&self) -> Option<Fact> {
        let wordless = self.unit.wordless.as_ref()?;
        self.sight.words(&wordless.run)?.record()
    }

    fn policy(&self, here: &Container) -> Option<Fact> {
        let known = self.unit.policy.as_ref();
        match &here.policy {
            Ok(read) => (known != Some(read)).then(|| Fact::PolicyRead(read.clone())),
            Err(why) => {
                let container = &here.run.container;
                (self.unit.unreadable.as_ref() != Some(container)).then(|| Fact::PolicyUnreadable {
                    container: container.clone(),
                    why: why.clone(),
                    observed_only: known.is_none(),
                })
            }
        }
    }

    fn container(&self, here: &Container) -> Option<Fact> {
        match here.status {
            Status::Created | Status::Leaving => None,
            Status::Running | Status::Paused => self.lives(here),
            Status::Exited(exit) => self
                .has_ended(here, exit)
                .filter(|fact| !self.waits_for_words(here, fact)),
        }
    }

    /// Who is given up is told of with what it said last, also where that is read behind the end, because a restart
    /// might have followed at once.
    fn waits_for_words(&self, here: &Container, fact: &Fact) -> bool {
        let given_up = matches!(fact, Fact::Quarantined { .. });
        let unread = is_urgent(here) && self.sight.words(&here.run).is_none();
        let ended = self.sight.ended_since(&here.run);
        given_up && unread && ended.is_some_and(|ended| self.now.mono < ended + WORDS_MS)
    }

    fn lives(&self, here: &Container) -> Option<Fact> {
        match &self.unit.phase {
            Phase::Running(run) if *run == here.run => {
                self.wanted_down(here).or_else(|| self.is_well(here))
            }
            // Its end is journaled: what we see is older than that, or about to end.
            phase if phase.run() == Some(&here.run) => None,
            _ => Some(self.started(here)),
        }
    }

    fn started(&self, here: &Container) -> Fact {
        let by = match &self.unit.phase {
            Phase::Unknown => StartedBy::Found,
            Phase::Starting { run } if run.container == here.run.container => StartedBy::Watchdog,
            _ => StartedBy::Person,
        };
        let run = here.run.clone();
        Fact::Started { run, by }
    }

    /// What a person ordered; one that is paused has to wait until it is not.
    fn wanted_down(&self, here: &Container) -> Option<Fact> {
        let asked = self.asked()?;
        (here.status == Status::Running).then(|| Fact::StopIntended {
            run: here.run.clone(),
            reason: Reason::Ordered {
                by: asked.by.clone(),
            },
            grace_ms: here.grace_ms,
        })
    }

    /// The order under way; none while the unit is held.
    fn asked(&self) -> Option<&Asked> {
        self.unit
            .asked
            .as_ref()
            .filter(|_| self.unit.held.is_none())
    }

    fn is_well(&self, here: &Container) -> Option<Fact> {
        if here.status == Status::Paused {
            return None;
        }
        self.good_news()
            .or_else(|| self.grade())
            .or_else(|| self.hang(here))
    }

    fn good_news(&self) -> Option<Fact> {
        let Pulse { beat, .. } = self.sight.pulse.as_ref()?;
        if beat.phase != BeatPhase::Running {
            return None;
        }
        let boot = beat.boot.clone();
        match &self.unit.healthy {
            Some(healthy) if healthy.boot == boot => self.forgiveness(),
            _ => Some(Fact::Healthy {
                boot,
                uptime_ms: beat.uptime_ms,
                interval_ms: beat.interval_ms,
                after_ms: self.unit.down_since.map(|since| {
                    let span = self.now.utc.since(since);
                    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
                }),
            }),
        }
    }

    /// Told once, until it says otherwise.
    fn grade(&self) -> Option<Fact> {
        let pulse = self.sight.pulse.as_ref()?;
        match (pulse.critical_for(), self.unit.critical_told) {
            (Some(for_ms), false) if for_ms >= CRITICAL_LONG_MS => Some(Fact::CriticalForLong {
                for_ms,
                why: mask(pulse.beat.critical.as_deref().unwrap_or_default()),
            }),
            (None, true) => Some(Fact::CriticalNoMore),
            _ => None,
        }
    }

    fn forgiveness(&self) -> Option<Fact> {
        let forgiven = self.unit.healthy.as_ref().is_some_and(|h| h.forgiven);
        let earned = !forgiven && self.unit.consecutive > 0 && self.was_long_healthy();
        earned.then(|| Fact::FailuresForgiven {
            healthy_ms: self.healthy_ms(),
        })
    }

    fn was_long_healthy(&self) -> bool {
        u128::from(self.healthy_ms()) >= self.unit.healthy_run().as_millis()
    }

    /// How long the process is healthy by its own monotonic clock.
    fn healthy_ms(&self) -> u64 {
        let pulse = self.sight.pulse.as_ref();
        match (pulse, &self.unit.healthy) {
            (Some(Pulse { beat, .. }), Some(healthy)) if beat.boot == healthy.boot => {
                beat.uptime_ms.saturating_sub(healthy.uptime_ms)
            }
            _ => 0,
        }
    }

    fn hang(&self, here: &Container) -> Option<Fact> {
        let mono = self.now.mono;
        if !self.watch.engine() || self.watch.blind(mono) {
            return None;
        }
        let watched = self.watch.watched(self.sight);
        let known = self.unit.healthy.as_ref();
        let reason = pulse::hang(self.sight.pulse.as_ref(), watched, known, mono)
            .or_else(|| self.cut_off(watched))?;
        let run = here.run.clone();
        if self.restartable().is_ok() && self.unit.held.is_none() {
            let grace_ms = grace(&reason, here.grace_ms);
            return Some(Fact::StopIntended {
                run,
                reason,
                grace_ms,
            });
        }
        (self.unit.hang_told.as_ref() != Some(&run)).then_some(Fact::HangObserved { run, reason })
    }

    /// It reaches its market no more, and it is not the market.
    fn cut_off(&self, watched: u64) -> Option<Reason> {
        let pulse = self.sight.pulse.as_ref()?;
        let for_ms = pulse.without_market(watched)?;
        let account = pulse.beat.account.as_ref()?;
        let other = self.watch.with_market(account, self.now.mono)?.clone();
        Some(Reason::CutOff { for_ms, other })
    }

    fn has_ended(&self, here: &Container, exit: Exit) -> Option<Fact> {
        let same = self.unit.phase.run() == Some(&here.run);
        if let (true, Some(asked)) = (same, self.asked()) {
            return self.as_asked(&here.run, exit, asked);
        }
        match &self.unit.phase {
            Phase::Unknown | Phase::Gone if exit.code == 0 => Some(Fact::Ended {
                run: here.run.clone(),
                exit: 0,
                why: EndedWhy::BeforeWatch,
            }),
            Phase::Unknown | Phase::Gone => self.by_exit(here, exit),
            Phase::Running(_) if same => self.by_exit(here, exit),
            Phase::Stopping { reason, .. } if same => {
                Some(self.stopped_by_us(&here.run, exit, reason))
            }
            Phase::Waiting { run, .. } if same => {
                let due = self.sight.due(self.unit, self.now)?;
                (due <= self.now.mono && self.may_start())
                    .then(|| Fact::StartIntended { run: run.clone() })
            }
            Phase::Starting { .. } if same => self.start_refused(here),
            Phase::Quarantined {
                why: Why::CriticalHalt,
                ..
            } if same => match &self.unit.latch {
                None => self.latch(here),
                Some(latch) => self.leave(latch),
            },
            // A run that we did not see begin: by now it has also ended.
            _ => (!same).then(|| self.started(here)),
        }
    }

    /// The latch that it ended for, by the last heartbeat of this run.
    fn latch(&self, here: &Container) -> Option<Fact> {
        let beat = &self.sight.pulse.as_ref()?.beat;
        let latch = beat.latch.as_ref().filter(|_| beat.fits(here.began))?;
        Some(Fact::LatchKnown(latch.clone()))
    }

    /// An operator ended that very latch: that is leave to start it.
    fn leave(&self, latch: &Latch) -> Option<Fact> {
        let (by, why) = self.watch.unlatched(latch)?;
        Some(Fact::Unlatched {
            latch: latch.clone(),
            by: by.clone(),
            why: why.clone(),
        })
    }

    /// It is down while a person wants it stopped, or started anew. A start under way comes first.
    fn as_asked(&self, run: &Run, exit: Exit, asked: &Asked) -> Option<Fact> {
        if self.sight.in_flight.is_some() && matches!(self.unit.phase, Phase::Starting { .. }) {
            return None;
        }
        let run = run.clone();
        Some(match asked.order {
            Order::Stop => Fact::Stopped {
                run,
                exit: exit.code,
                by: Some(asked.by.clone()),
            },
            Order::Start | Order::Restart => Fact::StartIntended { run },
        })
    }

    fn may_start(&self) -> bool {
        let free = self.watch.engine() && self.unit.held.is_none();
        free && self.watch.has_room(self.state, self.name, self.now)
    }

    /// What its flags allow, or why nothing may be done.
    fn restartable(&self) -> Result<&Policy, EndedWhy> {
        match &self.unit.policy {
            None => Err(EndedWhy::NoPolicy),
            Some(policy) if !policy.auto_restart => Err(EndedWhy::NoAutoRestart),
            Some(policy) => Ok(policy),
        }
    }

    fn by_exit(&self, here: &Container, exit: Exit) -> Option<Fact> {
        let run = here.run.clone();
        if self.sight.stop_was_asked(&run) {
            let settled = self.sight.ended_since(&run)? + SETTLE_MS <= self.now.mono;
            let exit = exit.code;
            return settled.then_some(Fact::Stopped {
                run,
                exit,
                by: None,
            });
        }
        let end = End::of(&run, exit);
        Some(match self.restartable() {
            Err(why) => end.ended(why),
            Ok(_) if self.unit.held.is_some() => end.ended(EndedWhy::Held),
            Ok(policy) => match ending(exit, policy) {
                Ending::Finished => end.ended(EndedWhy::Finished),
                Ending::Cycle => self.next_cycle(policy, &end),
                Ending::Failure(_) if self.watch.took_along(self.sight, here, exit) => {
                    self.back_with_the_engine(policy, &end)
                }
                Ending::Failure(reason) => self.failure(policy, &end, reason),
                Ending::Quarantine(why) => {
                    let reason = Reason::Refused { code: exit.code };
                    self.quarantine(&end, why, reason, self.unit.consecutive)
                }
            },
        })
    }

    fn stopped_by_us(&self, run: &Run, exit: Exit, reason: &Reason) -> Fact {
        let end = End::of(run, exit);
        match self.restartable() {
            Err(why) => end.ended(why),
            Ok(policy) => self.failure(policy, &end, reason.clone()),
        }
    }

    fn start_refused(&self, here: &Container) -> Option<Fact> {
        let error = self.sight.start_failure(self.unit.starts)?.to_owned();
        let end = End {
            run: &here.run,
            code: None,
            uptime_ms: 0,
        };
        Some(match self.restartable() {
            Err(_) => end.ended(EndedWhy::NotStarted),
            Ok(policy) => self.failure(policy, &end, Reason::NotStarted { error }),
        })
    }
}
