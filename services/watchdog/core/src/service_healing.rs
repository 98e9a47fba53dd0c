//! The services beside the units (the bus, the exchange, the notifier), as far as they carry the label: whether one
//! hangs, and when it is started anew. What has ended Docker starts again by its own policy; what hangs nobody does.
//! Whoever started one anew, the owner hears of it: so also of a call that nobody lived to record.
//!
//! Its calls are the only ones that may be made without a record before them: a journal that hangs cannot be asked.
//! They need none to be made once only: who was started less than [`HealLimiter::new`]'s time ago is left alone, whoever
//! started it, and the engine knows when that was.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::exit_code::ExitCode;
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use serde::{Deserialize, Serialize};

use crate::container::Run;
use crate::decision_inputs::DecisionInputs;
use crate::history::format_duration;
use crate::state::ServiceState;

/// What is known of a service that a container runs, from an inspection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedService {
    /// Service and number.
    pub name: SubjectToken,
    /// Its present run.
    pub run: Run,
    /// When that began, by the engine's wall clock.
    pub start_time: UtcMs,
    /// How often the engine has started it again by its restart policy, since somebody last started it.
    pub restarts: u64,
    /// How long it may take to end after SIGTERM, in milliseconds.
    pub grace_ms: u64,
    /// How it is.
    pub health: ContainerHealth,
}

/// How a service is, by its health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerHealth {
    /// The engine calls it healthy.
    Healthy,
    /// The engine calls it unhealthy: how its last checks failed, as exit codes; -1 for one that took too long.
    Unhealthy(Vec<i64>),
    /// It does not run, is frozen by a person, has just begun, or has no check.
    Unknown,
}

/// What was done about a service that hangs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServiceRecord {
    /// It hangs and is started anew.
    RestartIntended {
        /// The run that hangs: another one means that it was done.
        run: Run,
        /// How that shows.
        reason: String,
    },
    /// That did not come to pass.
    RestartFailed {
        /// Why.
        error: String,
    },
    /// It is well again.
    Recovered {
        /// Since it was found hung, in milliseconds.
        after_ms: u64,
    },
    /// Another run of it than the one that was known last, or the first that is.
    Started {
        /// Which.
        run: Run,
        /// How often the engine has started it again by its restart policy, since somebody last started it.
        restarts: u64,
        /// Through whom.
        by: ServiceStartedBy,
    },
}

/// Through whom a run of a service began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceStartedBy {
    /// It is the first that is known of this container: somebody made it.
    NewContainer,
    /// A watchdog of this project started it anew.
    Watchdog,
    /// It had ended, and the engine's restart policy started it again.
    Docker,
    /// Somebody who did not say so: a person, the engine or its host at their own start, or a watchdog that ended
    /// before it could.
    Unknown,
}

/// A service that ends again and again is told of this seldom, or when its restarts have doubled.
const RENOTIFY_INTERVAL: Duration = Duration::from_hours(1);

impl ServiceRecord {
    /// In one line.
    pub fn describe(&self) -> String {
        match self {
            Self::RestartIntended { reason: why, .. } => format!("{why}; it is started anew"),
            Self::RestartFailed { error } => format!("not started anew: {error}"),
            Self::Recovered { after_ms } => {
                format!("healthy again after {}", format_duration(*after_ms))
            }
            Self::Started { restarts, by, .. } => match by {
                ServiceStartedBy::NewContainer => "runs, in a container not seen before".to_owned(),
                ServiceStartedBy::Watchdog => "runs again".to_owned(),
                ServiceStartedBy::Docker if *restarts == 1 => {
                    "it ended, and Docker started it again".to_owned()
                }
                ServiceStartedBy::Docker => {
                    format!("it ended, and Docker started it again ({restarts} times by now)")
                }
                ServiceStartedBy::Unknown => {
                    "started by a person, with the Docker engine or its host, or by a watchdog \
                                      that could not record it"
                        .to_owned()
                }
            },
        }
    }
}

impl ObservedService {
    /// Why it counts as hung; none if it does not. A service that says itself that it waits for something else
    /// (exit 69) is not: starting it anew would not help.
    pub fn hang_reason(&self) -> Option<String> {
        let waits = i64::from(ExitCode::Unavailable.number());
        match &self.health {
            ContainerHealth::Unhealthy(checks) if !checks.contains(&waits) => {
                match checks.last()? {
                    -1 => Some("hung: its health check takes too long".to_owned()),
                    code => Some(format!("hung: its health check fails (exit {code})")),
                }
            }
            ContainerHealth::Unhealthy(_) | ContainerHealth::Healthy | ContainerHealth::Unknown => {
                None
            }
        }
    }
}

/// What there is to record of a service that was looked at, if anything, beside what is known of it.
pub fn detect_start(
    known: Option<&ServiceState>,
    service: &ObservedService,
    now: UtcMs,
) -> Option<ServiceRecord> {
    let by = match known {
        Some(known) if known.run == service.run => return None,
        Some(known) if known.run.container == service.run.container => {
            // Another one than the run that was to be ended, which need not be the one that is known.
            if known
                .intended_restart
                .as_ref()
                .is_some_and(|run| *run != service.run)
            {
                ServiceStartedBy::Watchdog
            } else if service.restarts <= known.restarts {
                ServiceStartedBy::Unknown
            } else if service.restarts >= known.restarts * 2
                || now.since(known.at) >= RENOTIFY_INTERVAL
            {
                ServiceStartedBy::Docker
            } else {
                return None;
            }
        }
        Some(_) | None => ServiceStartedBy::NewContainer,
    };
    Some(ServiceRecord::Started {
        run: service.run.clone(),
        restarts: service.restarts,
        by,
    })
}

/// Those who are being healed, and how seldom one may be.
#[derive(Debug)]
pub struct HealLimiter {
    min_interval: Duration,
    last_heals: BTreeMap<SubjectToken, LastHeal>,
}

#[derive(Debug)]
struct LastHeal {
    /// By our own clock, which never jumps.
    at: u64,
    container: String,
    /// The owner waits for word that it is well.
    is_recovery_pending: bool,
}

impl HealLimiter {
    /// Nobody is started anew within this time of their last start.
    pub const fn new(min_interval: Duration) -> Self {
        Self {
            min_interval,
            last_heals: BTreeMap::new(),
        }
    }

    /// Why this one is to be started anew now; none if it is not.
    pub fn restart_reason(&self, service: &ObservedService, now: DecisionInputs) -> Option<String> {
        let why = service.hang_reason()?;
        let rested = now.utc.since(service.start_time) >= self.min_interval;
        let treated = self.last_heals.get(&service.name);
        let spared = treated.is_some_and(|treated| {
            Duration::from_millis(now.mono.saturating_sub(treated.at)) < self.min_interval
        });
        (rested && !spared).then_some(why)
    }

    /// Notes that one is being started anew.
    pub fn record_heal(&mut self, service: &ObservedService, now: DecisionInputs) {
        let treated = LastHeal {
            at: now.mono,
            container: service.run.container.clone(),
            is_recovery_pending: true,
        };
        self.last_heals.insert(service.name.clone(), treated);
    }

    /// Those of whom it is awaited that they are well again, each with its container.
    pub fn pending_recoveries(&self) -> Vec<(SubjectToken, String)> {
        let awaited = self
            .last_heals
            .iter()
            .filter(|(_, treated)| treated.is_recovery_pending);
        awaited
            .map(|(name, treated)| (name.clone(), treated.container.clone()))
            .collect()
    }

    /// Takes in a look at one of them. Returns what there is to say, once.
    pub fn observe(
        &mut self,
        service: &ObservedService,
        now: DecisionInputs,
    ) -> Option<ServiceRecord> {
        let treated = self.last_heals.get_mut(&service.name)?;
        if !treated.is_recovery_pending || service.health != ContainerHealth::Healthy {
            return None;
        }
        treated.is_recovery_pending = false;
        let after_ms = now.mono.saturating_sub(treated.at);
        Some(ServiceRecord::Recovered { after_ms })
    }

    /// Nothing is awaited of it any more: its container was removed.
    pub fn forget(&mut self, name: &SubjectToken) {
        if let Some(treated) = self.last_heals.get_mut(name) {
            treated.is_recovery_pending = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::SupervisionRecord;
    use crate::state::SupervisionState;

    const EVERY: Duration = Duration::from_mins(5);
    const EVERY_MS: i64 = 300_000;

    fn nats(condition: ContainerHealth) -> ObservedService {
        ObservedService {
            name: "nats-1".parse().unwrap(),
            run: run("4f1c", 0),
            start_time: UtcMs(0),
            restarts: 0,
            grace_ms: 10_000,
            health: condition,
        }
    }

    fn at(ms: i64) -> DecisionInputs {
        DecisionInputs {
            utc: UtcMs(ms),
            mono: u64::try_from(ms).unwrap(),
            random: 0,
        }
    }

    #[test]
    fn service_is_hung_if_docker_reports_unhealthy_unless_a_check_exited_69() {
        let unwell =
            |checks: &[i64]| nats(ContainerHealth::Unhealthy(checks.to_vec())).hang_reason();
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
        for condition in [ContainerHealth::Healthy, ContainerHealth::Unknown] {
            assert_eq!(nats(condition).hang_reason(), None);
        }
    }

    #[test]
    fn service_is_not_restarted_twice_within_the_interval_on_any_clock() {
        let hung = nats(ContainerHealth::Unhealthy(vec![70]));
        let mut ward = HealLimiter::new(EVERY);
        assert_eq!(
            ward.restart_reason(&hung, at(EVERY_MS - 1)),
            None,
            "it began just now"
        );
        assert!(ward.restart_reason(&hung, at(EVERY_MS)).is_some());
        ward.record_heal(&hung, at(EVERY_MS));
        // The call failed, or the wall clock says that its run is a year old.
        for (utc, mono, due) in [
            (EVERY_MS * 2 - 1, EVERY_MS * 2 - 1, false),
            (EVERY_MS * 1_000, EVERY_MS + 1, false),
            (-EVERY_MS, EVERY_MS * 9, false),
            (EVERY_MS * 2, EVERY_MS * 2, true),
        ] {
            let now = DecisionInputs {
                utc: UtcMs(utc),
                ..at(mono)
            };
            assert_eq!(
                ward.restart_reason(&hung, now).is_some(),
                due,
                "{utc} {mono}"
            );
        }
        // A watchdog that has just begun knows of nothing but the engine's own word.
        let again = ObservedService {
            start_time: UtcMs(EVERY_MS),
            ..hung
        };
        assert_eq!(
            HealLimiter::new(EVERY).restart_reason(&again, at(EVERY_MS * 2 - 1)),
            None
        );
    }

    #[test]
    fn service_recovery_is_recorded_once() {
        let mut ward = HealLimiter::new(EVERY);
        let well = nats(ContainerHealth::Healthy);
        assert_eq!(ward.observe(&well, at(0)), None, "nobody was ill");
        ward.record_heal(&well, at(1_000));
        assert_eq!(ward.pending_recoveries().len(), 1);
        assert_eq!(
            ward.observe(&nats(ContainerHealth::Unknown), at(2_000)),
            None
        );
        let recovered = ServiceRecord::Recovered { after_ms: 30_000 };
        assert_eq!(ward.observe(&well, at(31_000)), Some(recovered));
        assert_eq!(ward.observe(&well, at(32_000)), None);
        assert_eq!(ward.pending_recoveries().len(), 0);
    }

    /// A run of `container` that began at `second`.
    fn run(container: &str, second: u8) -> Run {
        Run {
            container: container.to_owned(),
            started_at: format!("2026-11-24T03:00:{second:02}Z"),
        }
    }

    #[test]
    fn service_start_records_what_started_each_run() {
        use ServiceStartedBy::{Docker, NewContainer, Unknown, Watchdog};
        const HOUR: i64 = 3_600_000;
        const SAME: (&str, u8) = ("4f1c", 0);
        const NEXT: (&str, u8) = ("4f1c", 9);
        // Restarts of the run that is known, and the second of the run that was to be ended; the run that is seen, its
        // restarts, and when.
        let rows = [
            (None, SAME, 3, 0, Some(NewContainer)),
            (Some((0, None)), SAME, 0, 0, None),
            (Some((0, Some(0))), SAME, 0, 0, None),
            (Some((0, None)), ("77aa", 9), 5, 0, Some(NewContainer)),
            (Some((4, Some(0))), NEXT, 0, 0, Some(Watchdog)),
            // The run between was not seen by anybody but who was to end it.
            (Some((4, Some(7))), NEXT, 0, 0, Some(Watchdog)),
            (Some((4, Some(9))), NEXT, 0, 0, Some(Unknown)),
            (Some((4, None)), NEXT, 0, 0, Some(Unknown)),
            (Some((4, None)), NEXT, 4, 0, Some(Unknown)),
            // One that ends again and again is not told of each time.
            (Some((0, None)), NEXT, 1, 0, Some(Docker)),
            (Some((4, None)), NEXT, 7, HOUR - 1, None),
            (Some((4, None)), NEXT, 8, 0, Some(Docker)),
            (Some((4, None)), NEXT, 5, HOUR, Some(Docker)),
        ];
        for row in rows {
            let (known, (container, second), restarts, at, expected) = row;
            let known = known.map(|(restarts, intended): (u64, Option<u8>)| ServiceState {
                run: run(SAME.0, SAME.1),
                restarts,
                at: UtcMs(0),
                intended_restart: intended.map(|second| run(SAME.0, second)),
            });
            let patient = ObservedService {
                run: run(container, second),
                restarts,
                ..nats(ContainerHealth::Healthy)
            };
            let found = detect_start(known.as_ref(), &patient, UtcMs(at));
            let fact = expected.map(|by| ServiceRecord::Started {
                run: patient.run.clone(),
                restarts,
                by,
            });
            assert_eq!(found, fact, "{row:?}");
        }
    }

    #[test]
    fn intended_restart_is_kept_while_its_run_lives() {
        let mut state = SupervisionState::default();
        let mut fold = |fact| {
            let (service, at) = ("nats-1".parse().unwrap(), UtcMs(0));
            state.apply(&SupervisionRecord::Service {
                service,
                at,
                record: fact,
            });
            state
                .services
                .values()
                .next()
                .unwrap()
                .intended_restart
                .clone()
        };
        let began = |second| ServiceRecord::Started {
            run: run("4f1c", second),
            restarts: 0,
            by: ServiceStartedBy::Unknown,
        };
        let meant = |second| ServiceRecord::RestartIntended {
            run: run("4f1c", second),
            reason: "hung".to_owned(),
        };
        let error = "the engine did not carry it out".to_owned();
        assert_eq!(fold(began(0)), None);
        assert_eq!(fold(meant(7)), Some(run("4f1c", 7)));
        assert_eq!(fold(began(7)), Some(run("4f1c", 7)), "it still runs");
        assert_eq!(fold(began(9)), None);
        assert_eq!(fold(meant(9)), Some(run("4f1c", 9)));
        assert_eq!(fold(ServiceRecord::RestartFailed { error }), None);
    }
}
