//! What is seen of one unit: its container, its heartbeats, the call under way.

use protocol::ids::Token;
use protocol::time::UtcMs;

use crate::act::Action;
use crate::container::{Container, Run, Status};
use crate::evidence::{Found, LastBeats, LastWords};
use crate::moment::Moment;
use crate::phase::Phase;
use crate::pulse::{Beat, Pulse};
use crate::unit::Unit;

/// A stop call that failed is made again after this.
const STOP_AGAIN_MS: u64 = 10_000;

/// What is seen of one unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sight {
    /// Its container.
    pub seen: Seen,
    /// Its newest heartbeat of this run.
    pub pulse: Option<Pulse>,
    /// The call under way.
    pub in_flight: Option<Action>,
    old_boot: Option<Token>,
    /// The run before this one.
    past: Option<Run>,
    pub(super) watched: u64,
    pub(super) stop_asked: Option<Run>,
    ended: Option<(Run, u64)>,
    /// The run that had ended when we first looked.
    pub(super) found_ended: Option<Run>,
    pub(super) failed_start: Option<(u64, String)>,
    stop_again: u64,
    pub(super) armed: Option<Armed>,
    /// The end of its log, once it has ended.
    pub(super) last_words: Option<LastWords>,
    /// Its last heartbeats.
    beats: LastBeats,
}

/// What is known of a unit's container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Seen {
    /// Not looked yet.
    #[default]
    NotYet,
    /// There is none.
    Missing,
    /// This one.
    Here(Container),
}

/// A stored wait, measured from now on by our own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Armed {
    pub(super) since: UtcMs,
    pub(super) restarts: u32,
    pub(super) delay_ms: u64,
    pub(super) due: u64,
}

impl Sight {
    /// Whether a person has frozen it.
    pub fn paused(&self) -> bool {
        matches!(&self.seen, Seen::Here(here) if here.status == Status::Paused)
    }

    /// Whether a person asked this run to stop.
    pub fn stop_was_asked(&self, run: &Run) -> bool {
        self.stop_asked.as_ref() == Some(run)
    }

    /// When we first saw that this run had ended, by our monotonic clock.
    pub fn ended_since(&self, run: &Run) -> Option<u64> {
        let (ended, since) = self.ended.as_ref()?;
        (ended == run).then_some(*since)
    }

    /// Why the `starts`-th start failed, if it did.
    pub fn start_failure(&self, starts: u64) -> Option<&str> {
        let (attempt, error) = self.failed_start.as_ref()?;
        (*attempt == starts).then_some(error.as_str())
    }

    /// What is known of the end of this run.
    pub fn found(&self, run: &Run, now: Moment) -> Found {
        let here = match &self.seen {
            Seen::Here(here) if here.run == *run => Some(here),
            Seen::Here(_) | Seen::NotYet | Seen::Missing => None,
        };
        Found::of(
            here,
            self.words(run),
            &self.beats,
            self.pulse.as_ref(),
            now.mono,
        )
    }

    /// The end of this run's log, if it was read.
    pub fn words(&self, run: &Run) -> Option<&LastWords> {
        self.last_words.as_ref().filter(|words| words.run == *run)
    }

    /// Before this instant no stop call is made again.
    pub const fn stop_again(&self) -> u64 {
        self.stop_again
    }

    /// When a waiting unit is due, by our monotonic clock; none if it does not wait.
    pub fn due(&self, unit: &Unit, now: Moment) -> Option<u64> {
        let remaining = remaining(unit, now)?;
        let same = (unit.since, unit.restarts, unit.phase.delay_ms());
        let armed = self
            .armed
            .filter(|armed| (armed.since, armed.restarts, armed.delay_ms) == same);
        Some(armed.map_or(now.mono.saturating_add(remaining), |armed| armed.due))
    }

    pub(super) fn container(&mut self, new: Container, now: Moment) {
        if self.past.as_ref() == Some(&new.run) {
            return;
        }
        let old = match &self.seen {
            Seen::Here(old) if !replaces(old, &new) => return,
            Seen::Here(old) => Some(old.clone()),
            Seen::NotYet | Seen::Missing => None,
        };
        let woke = old.as_ref().is_some_and(|old| old.status == Status::Paused);
        let another = old.as_ref().is_none_or(|old| old.run != new.run);
        let first = old.is_none();
        if another {
            self.another_run(&new);
            self.past = old.map(|old| old.run);
        }
        if first && new.exit().is_some() {
            self.found_ended = Some(new.run.clone());
        }
        if another || woke {
            self.watched = now.mono;
        }
        if new.exit().is_some() && self.ended_since(&new.run).is_none() {
            self.ended = Some((new.run.clone(), now.mono));
        }
        self.seen = Seen::Here(new);
    }

    /// A heartbeat heard before we saw the new run may already be of it.
    fn another_run(&mut self, new: &Container) {
        let fits = |pulse: &Pulse| new.lives() && pulse.beat.fits(new.began);
        if let Some(pulse) = self.pulse.take_if(|pulse| !fits(pulse)) {
            self.beats = LastBeats::default();
            self.old_boot = Some(pulse.beat.boot);
        }
    }

    pub(super) fn beat(&mut self, beat: Beat, now: Moment) {
        if self.old_boot.as_ref() != Some(&beat.boot) {
            self.beats.push(&beat, now.mono);
            self.pulse = Some(Pulse::after(self.pulse.as_ref(), beat, now.mono));
        }
    }

    pub(super) fn acted(&mut self, error: Option<String>, starts: u64, now: Moment) {
        match (self.in_flight.take(), error) {
            (Some(Action::Start { .. }), Some(error)) => {
                self.failed_start = Some((starts, error));
            }
            (Some(Action::Stop { .. }), Some(_)) => {
                self.stop_again = now.mono.saturating_add(STOP_AGAIN_MS);
            }
            (_, None) | (None, Some(_)) => {}
        }
    }
}

/// Of two containers of one unit (one is being replaced by the other) the living one counts. Reports
/// come by two ways: one that shows a run alive after its end is late.
fn replaces(old: &Container, new: &Container) -> bool {
    if old.run == new.run {
        return old.exit().is_none() || new.exit().is_some() || new.status == Status::Leaving;
    }
    if old.run.container == new.run.container {
        return true;
    }
    match (old.lives(), new.lives()) {
        (_, true) => true,
        (true, false) => false,
        (false, false) => new.exit().is_some() && new.began >= old.began,
    }
}

/// What is left of a wait by the wall clock, which may have jumped: never more than the whole.
fn remaining(unit: &Unit, now: Moment) -> Option<u64> {
    let Phase::Waiting { delay_ms, .. } = unit.phase else {
        return None;
    };
    let passed = now.utc.0.saturating_sub(unit.since.0).max(0);
    Some(delay_ms.saturating_sub(passed.unsigned_abs()))
}
