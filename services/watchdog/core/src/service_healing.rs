//! Healing of the services beside the units (bus, exchange, notifier) that carry the label. Docker's restart policy
//! covers services that exit; this module covers services that hang. Every restart is reported, including one whose
//! record was lost in a crash.
//!
//! A heal is the only Docker call that may be made without a record before it: a bus that hangs stores no record. A
//! service that was started less than the minimum interval ago, by anything, is never restarted.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::exit_code::ExitCode;
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;

use crate::container::{ContainerHealth, Run};
use crate::decision_inputs::DecisionInputs;
use crate::model::StartedBy;
use crate::record::ServiceRecord;
use crate::state::ServiceState;

/// A Compose service beside the units, as Docker reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedService {
    /// Name of the service with its number, such as `nats-1`.
    pub name: SubjectToken,
    /// Run that is in progress, or the last one.
    pub run: Run,
    /// Start of the run by Docker's wall clock.
    pub start_time: UtcMs,
    /// Restarts by Docker's restart policy since the last start by anything else.
    pub restarts: u64,
    /// Time between SIGTERM and SIGKILL, in milliseconds.
    pub grace_ms: u64,
    /// Health by the container's health check.
    pub health: ContainerHealth,
}

/// Interval between notifications of a service that exits repeatedly, unless its restarts have doubled.
const RENOTIFY_INTERVAL: Duration = Duration::from_hours(1);

impl ObservedService {
    /// Why the service is hung. `None` if it is not. A service that waits for a dependency (exit 69) is not hung: a
    /// restart would not help.
    pub fn hang_reason(&self) -> Option<String> {
        let waits = i64::from(ExitCode::Unavailable.number());
        match &self.health {
            ContainerHealth::Unhealthy(checks)
                if !checks.iter().any(|check| check.exit_code == waits) =>
            {
                Some(format!("hung: {}", checks.last()?.describe()))
            }
            ContainerHealth::Unhealthy(_) | ContainerHealth::Healthy | ContainerHealth::Unknown => {
                None
            }
        }
    }
}

/// The record of a new run. `None` if there is nothing new to record.
pub fn detect_start(
    known: Option<&ServiceState>,
    service: &ObservedService,
    now: UtcMs,
) -> Option<ServiceRecord> {
    let by = match known {
        Some(known) if known.run == service.run => return None,
        Some(known) if known.run.container == service.run.container => {
            // The run to be ended need not be the known one.
            if known
                .intended_restart
                .as_ref()
                .is_some_and(|run| *run != service.run)
            {
                StartedBy::Watchdog
            } else if service.restarts <= known.restarts {
                StartedBy::Unknown
            } else if service.restarts >= known.restarts * 2
                || now < known.at
                || now.since(known.at) >= RENOTIFY_INTERVAL
            {
                StartedBy::Docker
            } else {
                return None;
            }
        }
        Some(_) | None => StartedBy::NewContainer,
    };
    Some(ServiceRecord::Started {
        run: service.run.clone(),
        restarts: service.restarts,
        by,
    })
}

/// Which services were healed, and when each may be healed again.
#[derive(Debug)]
pub struct HealLimiter {
    min_interval: Duration,
    last_heals: BTreeMap<SubjectToken, LastHeal>,
}

#[derive(Debug)]
struct LastHeal {
    /// Time of the heal by the monotonic clock, in milliseconds.
    at: u64,
    container: String,
    /// The recovery was not reported yet.
    is_recovery_pending: bool,
}

impl HealLimiter {
    /// Limits heals: a service is not restarted within `min_interval` of its last start.
    pub const fn new(min_interval: Duration) -> Self {
        Self {
            min_interval,
            last_heals: BTreeMap::new(),
        }
    }

    /// Why this service is to be restarted now. `None` if it is not.
    pub fn restart_reason(&self, service: &ObservedService, now: DecisionInputs) -> Option<String> {
        let reason = service.hang_reason()?;
        let is_old_enough = now.clock.utc.since(service.start_time) >= self.min_interval;
        let heal = self.last_heals.get(&service.name);
        let was_healed_recently = heal.is_some_and(|heal| {
            Duration::from_millis(now.clock.mono.saturating_sub(heal.at)) < self.min_interval
        });
        (is_old_enough && !was_healed_recently).then_some(reason)
    }

    /// Records that the service was restarted now, which delays its next restart by the watchdog.
    pub fn record_heal(&mut self, service: &ObservedService, now: DecisionInputs) {
        let heal = LastHeal {
            at: now.clock.mono,
            container: service.run.container.clone(),
            is_recovery_pending: true,
        };
        self.last_heals.insert(service.name.clone(), heal);
    }

    /// Services whose recovery was not reported yet, each with the id of its container.
    pub fn pending_recoveries(&self) -> Vec<(SubjectToken, String)> {
        let pending = self
            .last_heals
            .iter()
            .filter(|(_, heal)| heal.is_recovery_pending);
        pending
            .map(|(name, heal)| (name.clone(), heal.container.clone()))
            .collect()
    }

    /// Adds an inspection. Returns the record of a recovery, once.
    pub fn observe(
        &mut self,
        service: &ObservedService,
        now: DecisionInputs,
    ) -> Option<ServiceRecord> {
        let heal = self.last_heals.get_mut(&service.name)?;
        if !heal.is_recovery_pending || service.health != ContainerHealth::Healthy {
            return None;
        }
        heal.is_recovery_pending = false;
        let after_ms = now.clock.mono.saturating_sub(heal.at);
        Some(ServiceRecord::Recovered { after_ms })
    }

    /// Stops waiting for a recovery: the container was removed.
    pub fn forget(&mut self, name: &SubjectToken) {
        if let Some(heal) = self.last_heals.get_mut(name) {
            heal.is_recovery_pending = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::time::ClockReading;

    use super::*;
    use crate::container::FailedCheck;
    use crate::record::SupervisionRecord;
    use crate::state::SupervisionState;

    const EVERY: Duration = Duration::from_mins(5);
    const EVERY_MS: i64 = 300_000;

    fn nats(health: ContainerHealth) -> ObservedService {
        ObservedService {
            name: "nats-1".parse().unwrap(),
            run: run("4f1c", 0),
            start_time: UtcMs(0),
            restarts: 0,
            grace_ms: 10_000,
            health,
        }
    }

    fn unhealthy(exit_codes: &[i64]) -> ContainerHealth {
        let check = |&exit_code: &i64| FailedCheck {
            exit_code,
            docker_error: None,
        };
        ContainerHealth::Unhealthy(exit_codes.iter().map(check).collect())
    }

    #[test]
    fn health_check_that_cannot_be_run_is_named_with_dockers_text() {
        for (error, expected) in [
            (
                "OCI runtime exec failed: no such file",
                "hung: the health check cannot be run: OCI runtime exec failed: no such file",
            ),
            (
                "Health check exceeded timeout (5s)",
                "hung: the health check timed out",
            ),
        ] {
            let check = FailedCheck {
                exit_code: -1,
                docker_error: Some(error.to_owned()),
            };
            let service = nats(ContainerHealth::Unhealthy(vec![check]));
            assert_eq!(service.hang_reason().as_deref(), Some(expected));
        }
    }

    fn at(ms: i64) -> DecisionInputs {
        DecisionInputs {
            clock: ClockReading {
                utc: UtcMs(ms),
                mono: u64::try_from(ms).unwrap(),
            },
            random: 0,
        }
    }

    #[test]
    fn service_is_hung_if_docker_reports_unhealthy_unless_a_check_exited_69() {
        let hang_reason_of = |checks: &[i64]| nats(unhealthy(checks)).hang_reason();
        let hung = |reason: &str| Some(format!("hung: the health check {reason}"));
        assert_eq!(hang_reason_of(&[-1, 70, 1]), hung("failed (exit 1)"));
        assert_eq!(hang_reason_of(&[1, -1]), hung("timed out"));
        assert_eq!(hang_reason_of(&[69, 69, 69]), None);
        assert_eq!(
            hang_reason_of(&[69, -1, -1]),
            None,
            "the bus is unreachable and the check is slow"
        );
        assert_eq!(hang_reason_of(&[]), None, "no check result is known");
        for health in [ContainerHealth::Healthy, ContainerHealth::Unknown] {
            assert_eq!(nats(health).hang_reason(), None);
        }
    }

    #[test]
    fn service_is_not_restarted_twice_within_the_interval_on_any_clock() {
        let hung = nats(unhealthy(&[70]));
        let mut limiter = HealLimiter::new(EVERY);
        assert_eq!(
            limiter.restart_reason(&hung, at(EVERY_MS - 1)),
            None,
            "it began just now"
        );
        assert!(limiter.restart_reason(&hung, at(EVERY_MS)).is_some());
        limiter.record_heal(&hung, at(EVERY_MS));
        // The call failed, or the wall clock has jumped by a year.
        for (utc, mono, due) in [
            (EVERY_MS * 2 - 1, EVERY_MS * 2 - 1, false),
            (EVERY_MS * 1_000, EVERY_MS + 1, false),
            (-EVERY_MS, EVERY_MS * 9, false),
            (EVERY_MS * 2, EVERY_MS * 2, true),
        ] {
            let now = DecisionInputs {
                clock: ClockReading {
                    utc: UtcMs(utc),
                    ..at(mono).clock
                },
                random: 0,
            };
            assert_eq!(
                limiter.restart_reason(&hung, now).is_some(),
                due,
                "{utc} {mono}"
            );
        }
        // A new watchdog process knows only Docker's start time.
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
        let mut limiter = HealLimiter::new(EVERY);
        let well = nats(ContainerHealth::Healthy);
        assert_eq!(limiter.observe(&well, at(0)), None, "no heal before");
        limiter.record_heal(&well, at(1_000));
        assert_eq!(limiter.pending_recoveries().len(), 1);
        assert_eq!(
            limiter.observe(&nats(ContainerHealth::Unknown), at(2_000)),
            None
        );
        let recovered = ServiceRecord::Recovered { after_ms: 30_000 };
        assert_eq!(limiter.observe(&well, at(31_000)), Some(recovered));
        assert_eq!(limiter.observe(&well, at(32_000)), None);
        assert_eq!(limiter.pending_recoveries().len(), 0);
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
        use StartedBy::{Docker, NewContainer, Unknown, Watchdog};
        const HOUR: i64 = 3_600_000;
        const SAME: (&str, u8) = ("4f1c", 0);
        const NEXT: (&str, u8) = ("4f1c", 9);
        // The known run's restarts and the second of the run to be ended; the observed run, its restarts, and the time.
        let rows = [
            (None, SAME, 3, 0, Some(NewContainer)),
            (Some((0, None)), SAME, 0, 0, None),
            (Some((0, Some(0))), SAME, 0, 0, None),
            (Some((0, None)), ("77aa", 9), 5, 0, Some(NewContainer)),
            (Some((4, Some(0))), NEXT, 0, 0, Some(Watchdog)),
            // A run between that only the process which was to end it has seen.
            (Some((4, Some(7))), NEXT, 0, 0, Some(Watchdog)),
            (Some((4, Some(9))), NEXT, 0, 0, Some(Unknown)),
            (Some((4, None)), NEXT, 0, 0, Some(Unknown)),
            (Some((4, None)), NEXT, 4, 0, Some(Unknown)),
            // A service that exits repeatedly is not reported each time.
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
            let service = ObservedService {
                run: run(container, second),
                restarts,
                ..nats(ContainerHealth::Healthy)
            };
            let found = detect_start(known.as_ref(), &service, UtcMs(at));
            let record = expected.map(|by| ServiceRecord::Started {
                run: service.run.clone(),
                restarts,
                by,
            });
            assert_eq!(found, record, "{row:?}");
        }
    }

    #[test]
    fn intended_restart_is_kept_while_its_run_lives() {
        let mut state = SupervisionState::default();
        let mut fold = |record| {
            let (service, at) = ("nats-1".parse().unwrap(), UtcMs(0));
            state.apply(&SupervisionRecord::Service {
                service,
                at,
                record,
            });
            state
                .services
                .values()
                .next()
                .unwrap()
                .intended_restart
                .clone()
        };
        let started = |second| ServiceRecord::Started {
            run: run("4f1c", second),
            restarts: 0,
            by: StartedBy::Unknown,
        };
        let intended = |second| ServiceRecord::RestartIntended {
            run: run("4f1c", second),
            reason: "hung".to_owned(),
        };
        let error = "Docker did not restart the container".to_owned();
        assert_eq!(fold(started(0)), None);
        assert_eq!(fold(intended(7)), Some(run("4f1c", 7)));
        assert_eq!(fold(started(7)), Some(run("4f1c", 7)), "it still runs");
        assert_eq!(fold(started(9)), None);
        assert_eq!(fold(intended(9)), Some(run("4f1c", 9)));
        assert_eq!(fold(ServiceRecord::RestartFailed { error }), None);
    }
}
