//! One unit: the fold of the facts about it.

use std::collections::VecDeque;
use std::time::Duration;

use protocol::ids::Token;
use protocol::time::UtcMs;

use crate::container::Run;
use crate::evidence::{Found, complaint_in};
use crate::failures::Failures;
use crate::phase::Phase;
use crate::policy::Policy;
use crate::record::{EndedWhy, Fact, Latch, Order, Reason, Restart, StartedBy};
use crate::rules::Budget;

/// A run that was healthy for less never ends a series of failures.
const SHORTEST_HEALTHY_RUN: Duration = Duration::from_mins(10);

/// What is known of one unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unit {
    /// What its flags ask for; none until they were read.
    pub policy: Option<Policy>,
    /// The container whose arguments were not understood.
    pub unreadable: Option<String>,
    /// Where in its life it is.
    pub phase: Phase,
    /// Since when.
    pub since: UtcMs,
    /// Restarts so far, finished cycles included.
    pub restarts: u32,
    /// Failures in a row.
    pub consecutive: u32,
    /// Starts meant so far, whoever wanted them: tells one try from the next.
    pub starts: u64,
    /// The delay before the last restart, in milliseconds.
    pub last_delay_ms: u64,
    /// What went wrong last.
    pub last_reason: Option<Reason>,
    /// What it said of an error before that.
    pub last_error: Option<String>,
    /// Its failures by what they look like.
    pub failures: Failures,
    /// When its last failure was noticed, until it is healthy again.
    pub down_since: Option<UtcMs>,
    /// The process that is healthy, and its age when it first was.
    pub healthy: Option<Healthy>,
    /// The hanging run that was only observed.
    pub hang_told: Option<Run>,
    /// What a person ordered and is not done yet.
    pub asked: Option<Asked>,
    /// A person wants it to be watched only.
    pub held: Option<Hold>,
    /// This run was started by us.
    pub ours: bool,
    /// When its last restarts were decided, finished cycles left out.
    pub recent: VecDeque<UtcMs>,
    /// It ended while it was held: its release starts it.
    pub missed: bool,
    /// The failure whose log was not read yet when its restart was decided.
    pub wordless: Option<Wordless>,
    /// The latch that it ended for.
    pub latch: Option<Latch>,
    /// The owner has been told that it is critical for long.
    pub critical_told: bool,
}

/// An order that is being carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What.
    pub order: Order,
    /// Who wants it.
    pub by: String,
}

/// Watch, and do nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Who wants it.
    pub by: String,
    /// Why.
    pub why: String,
}

/// A failure that was answered before its log was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wordless {
    /// The run that ended.
    pub run: Run,
    /// When that was noted.
    at: UtcMs,
    /// What went wrong.
    reason: Reason,
}

/// Since when a process is healthy, by its own clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Healthy {
    /// The process.
    pub boot: Token,
    /// Its age at the first good heartbeat, in milliseconds.
    pub uptime_ms: u64,
    /// Time between two heartbeats, in milliseconds.
    pub interval_ms: u64,
    /// Earlier failures are forgiven.
    pub forgiven: bool,
}

impl Unit {
    /// Folds one fact.
    pub fn apply(&mut self, at: UtcMs, fact: &Fact) {
        match fact {
            Fact::PolicyRead(policy) => self.policy = Some(policy.clone()),
            Fact::PolicyUnreadable { container, .. } => self.unreadable = Some(container.clone()),
            Fact::Started { run, by } => self.started(at, run, *by),
            Fact::Healthy {
                boot,
                uptime_ms,
                interval_ms,
                ..
            } => self.is_healthy(Healthy {
                boot: boot.clone(),
                uptime_ms: *uptime_ms,
                interval_ms: *interval_ms,
                forgiven: false,
            }),
            Fact::FailuresForgiven { .. } => self.forgive(),
            Fact::StopIntended {
                run,
                reason,
                grace_ms,
            } => self.stopping(at, run, reason, *grace_ms),
            Fact::HangObserved { run, .. } => self.hang_told = Some(run.clone()),
            Fact::RestartScheduled(restart) => self.scheduled(at, restart),
            Fact::StartIntended { run } => {
                self.starts = self.starts.saturating_add(1);
                self.asked.take_if(|asked| asked.order == Order::Restart);
                self.enter(at, Phase::Starting { run: run.clone() });
            }
            Fact::Quarantined {
                run,
                why,
                reason,
                consecutive,
                found,
                ..
            } => {
                self.consecutive = *consecutive;
                self.failed(at, reason, found.as_deref());
                self.down_since.get_or_insert(at);
                let (run, why) = (run.clone(), *why);
                self.enter(at, Phase::Quarantined { run, why });
            }
            Fact::Stopped { run, .. } => self.rests(at, Phase::Stopped { run: run.clone() }),
            Fact::Ended { run, why, .. } => {
                self.rests(at, Phase::Ended { run: run.clone() });
                self.missed = *why == EndedWhy::Held;
            }
            Fact::Ordered { order, by } => self.ordered(at, *order, by),
            Fact::Held { by, why } => {
                let (by, why) = (by.clone(), why.clone());
                self.held = Some(Hold { by, why });
            }
            Fact::Released { total, .. } => self.released(at, *total),
            Fact::CriticalForLong { .. } => self.critical_told = true,
            Fact::CriticalNoMore => self.critical_told = false,
            Fact::LatchKnown(latch) => self.latch = Some(latch.clone()),
            Fact::Unlatched { .. } => self.unlatched(at),
            Fact::WordsFound { log, .. } => self.words_found(complaint_in(log)),
            Fact::Gone => self.rests(at, Phase::Gone),
        }
    }

    /// How long it must be healthy before its failures count no more.
    pub fn healthy_run(&self) -> Duration {
        SHORTEST_HEALTHY_RUN.max(Duration::from_millis(self.last_delay_ms) * 2)
    }

    fn enter(&mut self, at: UtcMs, phase: Phase) {
        self.phase = phase;
        self.since = at;
    }

    fn stopping(&mut self, at: UtcMs, run: &Run, reason: &Reason, grace_ms: u64) {
        if !matches!(reason, Reason::Ordered { .. }) {
            self.down_since.get_or_insert(at);
        }
        let (run, reason) = (run.clone(), reason.clone());
        self.enter(
            at,
            Phase::Stopping {
                run,
                reason,
                grace_ms,
            },
        );
    }

    fn started(&mut self, at: UtcMs, run: &Run, by: StartedBy) {
        let overtaken =
            |asked: &mut Asked| asked.order == Order::Restart || by != StartedBy::Watchdog;
        self.asked.take_if(overtaken);
        self.missed = false;
        self.ours = by == StartedBy::Watchdog;
        self.healthy = None;
        self.latch = None;
        self.critical_told = false;
        self.enter(at, Phase::Running(run.clone()));
    }

    /// What runs is stopped first; what is down is due at once, and nobody has missed it.
    fn ordered(&mut self, at: UtcMs, order: Order, by: &str) {
        let due = match &self.phase {
            Phase::Waiting { run, .. } | Phase::Stopped { run } | Phase::Ended { run } => Some(run),
            _ => None,
        };
        if let (Order::Start | Order::Restart, Some(run)) = (order, due.cloned()) {
            self.missed = false;
            self.enter(at, Phase::Waiting { run, delay_ms: 0 });
        } else {
            let by = by.to_owned();
            self.asked = Some(Asked { order, by });
        }
    }

    /// Nothing is expected of it: what was down is no longer missed.
    fn rests(&mut self, at: UtcMs, phase: Phase) {
        self.down_since = None;
        self.asked = None;
        self.missed = false;
        self.enter(at, phase);
    }

    fn is_healthy(&mut self, healthy: Healthy) {
        self.down_since = None;
        self.healthy = Some(healthy);
    }

    fn failed(&mut self, at: UtcMs, reason: &Reason, found: Option<&Found>) {
        self.last_reason = Some(reason.clone());
        self.last_error = found.and_then(Found::complaint).map(str::to_owned);
        if reason.is_failure() {
            self.failures.note(at, reason, self.last_error.as_deref());
        }
    }

    /// Heartbeats said more of the cause, if they said anything.
    fn words_found(&mut self, complaint: Option<&str>) {
        let (Some(Wordless { at, reason, .. }), Some(said)) = (self.wordless.take(), complaint)
        else {
            return;
        };
        if self.last_error.is_none() {
            self.last_error = Some(said.to_owned());
            self.failures.learn(at, &reason, said);
        }
    }

    const fn forgive(&mut self) {
        self.consecutive = 0;
        self.last_delay_ms = 0;
        if let Some(healthy) = &mut self.healthy {
            healthy.forgiven = true;
        }
    }

    fn scheduled(&mut self, at: UtcMs, restart: &Restart) {
        self.restarts = restart.attempt;
        if restart.reason.is_failure() {
            self.recent.push_back(at);
            if self.recent.len() > usize::from(Budget::MOST) {
                self.recent.pop_front();
            }
        }
        self.consecutive = restart.consecutive;
        if restart.reason.is_counted() {
            self.last_delay_ms = restart.delay_ms;
        }
        self.failed(at, &restart.reason, restart.found.as_deref());
        self.wordless = wordless(at, restart);
        self.down_since.get_or_insert(at);
        let (run, delay_ms) = (restart.run.clone(), restart.delay_ms);
        self.enter(at, Phase::Waiting { run, delay_ms });
    }

    /// Due at once, with a clean slate; one that is held stays so.
    fn unlatched(&mut self, at: UtcMs) {
        let held = self.held.take();
        self.released(at, false);
        self.held = held;
    }

    /// Due at once, with a clean slate.
    fn released(&mut self, at: UtcMs, total: bool) {
        self.consecutive = 0;
        self.last_delay_ms = 0;
        self.latch = None;
        if total {
            self.restarts = 0;
        }
        self.held = None;
        self.recent.clear();
        let due = match &self.phase {
            Phase::Quarantined { run, .. } => Some(run.clone()),
            Phase::Ended { run } if self.missed => Some(run.clone()),
            _ => None,
        };
        if let Some(run) = due {
            self.missed = false;
            self.enter(at, Phase::Waiting { run, delay_ms: 0 });
        }
    }
}

/// What is no failure has nothing to explain.
fn wordless(at: UtcMs, restart: &Restart) -> Option<Wordless> {
    let found = restart.found.as_deref();
    let read = found.is_some_and(|found| !found.log.is_empty() || found.log_unread.is_some());
    let unread = !read && restart.reason.is_failure();
    unread.then(|| Wordless {
        run: restart.run.clone(),
        at,
        reason: restart.reason.clone(),
    })
}
