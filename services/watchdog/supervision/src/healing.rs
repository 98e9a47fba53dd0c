//! The services beside the units (the bus, the exchange, the notifier), as far as they carry the label: whether one
//! hangs, and when it is started anew. What has ended Docker starts again by its own policy; what hangs nobody does.
//! Whoever started one anew, the owner hears of it: so also of a call that nobody lived to record.
//!
//! Its calls are the only ones that may be made without a record before them: a journal that hangs cannot be asked.
//! They need none to be made once only: who was started less than [`Ward::new`]'s time ago is left alone, whoever
//! started it, and the engine knows when that was.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::exit::ExitCode;
use protocol::ids::Token;
use protocol::time::UtcMs;
use serde::{Deserialize, Serialize};

use crate::container::Run;
use crate::history::span;
use crate::moment::Moment;
use crate::state::Service;

/// What is known of a service that a container runs, from an inspection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patient {
    /// Service and number.
    pub name: Token,
    /// Its present run.
    pub run: Run,
    /// When that began, by the engine's wall clock.
    pub began: UtcMs,
    /// How often the engine has started it again by its restart policy, since somebody last started it.
    pub restarts: u64,
    /// How long it may take to end after SIGTERM, in milliseconds.
    pub grace_ms: u64,
    /// How it is.
    pub condition: Condition,
}

/// How a service is, by its health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The engine calls it healthy.
    Well,
    /// The engine calls it unhealthy: how its last checks failed, as exit codes; -1 for one that took too long.
    Unwell(Vec<i64>),
    /// It does not run, is frozen by a person, has just begun, or has no check.
    Unknown,
}

/// What was done about a service that hangs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Healing {
    /// It hangs and is started anew.
    RestartIntended {
        /// The run that hangs: another one means that it was done.
        run: Run,
        /// How that shows.
        why: String,
    },
    /// That did not come to pass.
    NotRestarted {
        /// Why.
        error: String,
    },
    /// It is well again.
    Recovered {
        /// Since it was found hung, in milliseconds.
        after_ms: u64,
    },
    /// Another run of it than the one that was known last, or the first that is.
    Began {
        /// Which.
        run: Run,
        /// How often the engine has started it again by its restart policy, since somebody last started it.
        restarts: u64,
        /// Through whom.
        by: BegunBy,
    },
}

/// Through whom a run of a service began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BegunBy {
    /// It is the first that is known of this container: somebody made it.
    Maker,
    /// A watchdog of this project started it anew.
    Watchdog,
    /// It had ended, and the engine's restart policy started it again.
    Docker,
    /// Somebody who did not say so: a person, the engine or its host at their own start, or a watchdog that ended
    /// before it could.
    Somebody,
}

/// A service that ends again and again is told of this seldom, or when its restarts have doubled.
const TELL_AGAIN: Duration = Duration::from_hours(1);

impl Healing {
    /// In one line.
    pub fn words(&self) -> String {
        match self {
            Self::RestartIntended { why, .. } => format!("{why}; it is started anew"),
            Self::NotRestarted { error } => format!("not started anew: {error}"),
            Self::Recovered { after_ms } => format!("healthy again after {}", span(*after_ms)),
            Self::Began { restarts, by, .. } => match by {
                BegunBy::Maker => "runs, in a container not seen before".to_owned(),
                BegunBy::Watchdog => "runs again".to_owned(),
                BegunBy::Docker if *restarts == 1 => {
                    "it ended, and Docker started it again".to_owned()
                }
                BegunBy::Docker => {
                    format!("it ended, and Docker started it again ({restarts} times by now)")
                }
                BegunBy::Somebody => {
                    "started by a person, with the Docker engine or its host, or by a watchdog \
                                      that could not record it"
                        .to_owned()
                }
            },
        }
    }
}

impl Patient {
    /// Why it counts as hung; none if it does not. A service that says itself that it waits for something else
    /// (exit 69) is not: starting it anew would not help.
    pub fn hangs(&self) -> Option<String> {
        let waits = i64::from(ExitCode::Unavailable.number());
        match &self.condition {
            Condition::Unwell(checks) if !checks.contains(&waits) => match checks.last()? {
                -1 => Some("hung: its health check takes too long".to_owned()),
                code => Some(format!("hung: its health check fails (exit {code})")),
            },
            Condition::Unwell(_) | Condition::Well | Condition::Unknown => None,
        }
    }
}

/// What there is to record of a service that was looked at, if anything, beside what is known of it.
pub fn began(known: Option<&Service>, patient: &Patient, now: UtcMs) -> Option<Healing> {
    let by = match known {
        Some(known) if known.run == patient.run => return None,
        Some(known) if known.run.container == patient.run.container => {
            // Another one than the run that was to be ended, which need not be the one that is known.
            if known
                .intended
                .as_ref()
                .is_some_and(|run| *run != patient.run)
            {
                BegunBy::Watchdog
            } else if patient.restarts <= known.restarts {
                BegunBy::Somebody
            } else if patient.restarts >= known.restarts * 2 || now.since(known.at) >= TELL_AGAIN {
                BegunBy::Docker
            } else {
                return None;
            }
        }
        Some(_) | None => BegunBy::Maker,
    };
    Some(Healing::Began {
        run: patient.run.clone(),
        restarts: patient.restarts,
        by,
    })
}

/// Those who are being healed, and how seldom one may be.
#[derive(Debug)]
pub struct Ward {
    at_most_every: Duration,
    treated: BTreeMap<Token, Treated>,
}

#[derive(Debug)]
struct Treated {
    /// By our own clock, which never jumps.
    at: u64,
    container: String,
    /// The owner waits for word that it is well.
    awaited: bool,
}

impl Ward {
    /// Nobody is started anew within this time of their last start.
    pub const fn new(at_most_every: Duration) -> Self {
        Self {
            at_most_every,
            treated: BTreeMap::new(),
        }
    }

    /// Why this one is to be started anew now; none if it is not.
    pub fn due(&self, patient: &Patient, now: Moment) -> Option<String> {
        let why = patient.hangs()?;
        let rested = now.utc.since(patient.began) >= self.at_most_every;
        let treated = self.treated.get(&patient.name);
        let spared = treated.is_some_and(|treated| {
            Duration::from_millis(now.mono.saturating_sub(treated.at)) < self.at_most_every
        });
        (rested && !spared).then_some(why)
    }

    /// Notes that one is being started anew.
    pub fn treated(&mut self, patient: &Patient, now: Moment) {
        let treated = Treated {
            at: now.mono,
            container: patient.run.container.clone(),
            awaited: true,
        };
        self.treated.insert(patient.name.clone(), treated);
    }

    /// Those of whom it is awaited that they are well again, each with its container.
    pub fn awaited(&self) -> Vec<(Token, String)> {
        let awaited = self.treated.iter().filter(|(_, treated)| treated.awaited);
        awaited
            .map(|(name, treated)| (name.clone(), treated.container.clone()))
            .collect()
    }

    /// Takes in a look at one of them. Returns what there is to say, once.
    pub fn looked_at(&mut self, patient: &Patient, now: Moment) -> Option<Healing> {
        let treated = self.treated.get_mut(&patient.name)?;
        if !treated.awaited || patient.condition != Condition::Well {
            return None;
        }
        treated.awaited = false;
        let after_ms = now.mono.saturating_sub(treated.at);
        Some(Healing::Recovered { after_ms })
    }

    /// Nothing is awaited of it any more: its container was removed.
    pub fn gone(&mut self, name: &Token) {
        if let Some(treated) = self.treated.get_mut(name) {
            treated.awaited = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;
    use crate::state::State;

    const EVERY: Duration = Duration::from_mins(5);
    const EVERY_MS: i64 = 300_000;

    fn nats(condition: Condition) -> Patient {
        Patient {
            name: "nats-1".parse().unwrap(),
            run: run("4f1c", 0),
            began: UtcMs(0),
            restarts: 0,
            grace_ms: 10_000,
            condition,
        }
    }

    fn at(ms: i64) -> Moment {
        Moment {
            utc: UtcMs(ms),
            mono: u64::try_from(ms).unwrap(),
            chance: 0,
        }
    }

    #[test]
    fn hung_is_whom_the_engine_calls_unhealthy_and_who_does_not_say_that_it_waits() {
        let unwell = |checks: &[i64]| nats(Condition::Unwell(checks.to_vec())).hangs();
        let hung = |why: &str| Some(format!("hung: its health check {why}"));
        assert_eq!(unwell(&[-1, 70, 1]), hung("fails (exit 1)"));
        assert_eq!(unwell(&[1, -1]), hung("takes too long"));
        assert_eq!(unwell(&[69, 69, 69]), None);
        assert_eq!(
            unwell(&[69, -1, -1]),
            None,
            "the bus is away, and we are slow"
        );
        assert_eq!(unwell(&[]), None, "nothing is known of why");
        for condition in [Condition::Well, Condition::Unknown] {
            assert_eq!(nats(condition).hangs(), None);
        }
    }

    #[test]
    fn nobody_is_started_anew_twice_within_the_time_whoever_did_it_and_whatever_clocks_do() {
        let hung = nats(Condition::Unwell(vec![70]));
        let mut ward = Ward::new(EVERY);
        assert_eq!(ward.due(&hung, at(EVERY_MS - 1)), None, "it began just now");
        assert!(ward.due(&hung, at(EVERY_MS)).is_some());
        ward.treated(&hung, at(EVERY_MS));
        // The call failed, or the wall clock says that its run is a year old.
        for (utc, mono, due) in [
            (EVERY_MS * 2 - 1, EVERY_MS * 2 - 1, false),
            (EVERY_MS * 1_000, EVERY_MS + 1, false),
            (-EVERY_MS, EVERY_MS * 9, false),
            (EVERY_MS * 2, EVERY_MS * 2, true),
        ] {
            let now = Moment {
                utc: UtcMs(utc),
                ..at(mono)
            };
            assert_eq!(ward.due(&hung, now).is_some(), due, "{utc} {mono}");
        }
        // A watchdog that has just begun knows of nothing but the engine's own word.
        let again = Patient {
            began: UtcMs(EVERY_MS),
            ..hung
        };
        assert_eq!(Ward::new(EVERY).due(&again, at(EVERY_MS * 2 - 1)), None);
    }

    #[test]
    fn that_it_is_well_again_is_said_once() {
        let mut ward = Ward::new(EVERY);
        let well = nats(Condition::Well);
        assert_eq!(ward.looked_at(&well, at(0)), None, "nobody was ill");
        ward.treated(&well, at(1_000));
        assert_eq!(ward.awaited().len(), 1);
        assert_eq!(ward.looked_at(&nats(Condition::Unknown), at(2_000)), None);
        let recovered = Healing::Recovered { after_ms: 30_000 };
        assert_eq!(ward.looked_at(&well, at(31_000)), Some(recovered));
        assert_eq!(ward.looked_at(&well, at(32_000)), None);
        assert_eq!(ward.awaited().len(), 0);
    }

    /// A run of `container` that began at `second`.
    fn run(container: &str, second: u8) -> Run {
        Run {
            container: container.to_owned(),
            started_at: format!("2026-11-24T03:00:{second:02}Z"),
        }
    }

    #[test]
    fn of_every_new_run_is_said_through_whom_it_began() {
        use BegunBy::{Docker, Maker, Somebody, Watchdog};
        const HOUR: i64 = 3_600_000;
        const SAME: (&str, u8) = ("4f1c", 0);
        const NEXT: (&str, u8) = ("4f1c", 9);
        // Restarts of the run that is known, and the second of the run that was to be ended; the run that is seen, its
        // restarts, and when.
        let rows = [
            (None, SAME, 3, 0, Some(Maker)),
            (Some((0, None)), SAME, 0, 0, None),
            (Some((0, Some(0))), SAME, 0, 0, None),
            (Some((0, None)), ("77aa", 9), 5, 0, Some(Maker)),
            (Some((4, Some(0))), NEXT, 0, 0, Some(Watchdog)),
            // The run between was not seen by anybody but who was to end it.
            (Some((4, Some(7))), NEXT, 0, 0, Some(Watchdog)),
            (Some((4, Some(9))), NEXT, 0, 0, Some(Somebody)),
            (Some((4, None)), NEXT, 0, 0, Some(Somebody)),
            (Some((4, None)), NEXT, 4, 0, Some(Somebody)),
            // One that ends again and again is not told of each time.
            (Some((0, None)), NEXT, 1, 0, Some(Docker)),
            (Some((4, None)), NEXT, 7, HOUR - 1, None),
            (Some((4, None)), NEXT, 8, 0, Some(Docker)),
            (Some((4, None)), NEXT, 5, HOUR, Some(Docker)),
        ];
        for row in rows {
            let (known, (container, second), restarts, at, expected) = row;
            let known = known.map(|(restarts, intended): (u64, Option<u8>)| Service {
                run: run(SAME.0, SAME.1),
                restarts,
                at: UtcMs(0),
                intended: intended.map(|second| run(SAME.0, second)),
            });
            let patient = Patient {
                run: run(container, second),
                restarts,
                ..nats(Condition::Well)
            };
            let found = began(known.as_ref(), &patient, UtcMs(at));
            let fact = expected.map(|by| Healing::Began {
                run: patient.run.clone(),
                restarts,
                by,
            });
            assert_eq!(found, fact, "{row:?}");
        }
    }

    #[test]
    fn what_is_to_be_done_to_a_run_is_remembered_while_that_run_is() {
        let mut state = State::default();
        let mut fold = |fact| {
            let (service, at) = ("nats-1".parse().unwrap(), UtcMs(0));
            state.apply(&Record::Service { service, at, fact });
            state.services.values().next().unwrap().intended.clone()
        };
        let began = |second| Healing::Began {
            run: run("4f1c", second),
            restarts: 0,
            by: BegunBy::Somebody,
        };
        let meant = |second| Healing::RestartIntended {
            run: run("4f1c", second),
            why: "hung".to_owned(),
        };
        let error = "the engine did not carry it out".to_owned();
        assert_eq!(fold(began(0)), None);
        assert_eq!(fold(meant(7)), Some(run("4f1c", 7)));
        assert_eq!(fold(began(7)), Some(run("4f1c", 7)), "it still runs");
        assert_eq!(fold(began(9)), None);
        assert_eq!(fold(meant(9)), Some(run("4f1c", 9)));
        assert_eq!(fold(Healing::NotRestarted { error }), None);
    }
}
