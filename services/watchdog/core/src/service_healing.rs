//! Healing of the services beside the units (bus, exchange, notifier) that carry the label. Docker's restart policy
//! covers services that exit; this module covers services that hang. Every restart is reported, including one whose
//! record was lost in a crash.
//!
//! A heal is the only Docker call that may be made without a record before it: a bus that hangs stores no record. A
//! service that was started less than the minimum interval ago, by anything, is never restarted. Restarts in a row have
//! a growing delay and a limit ([`HealLimiter`]); an operator holds and releases a service ([`evaluate_command`]).

mod commands;
mod limiter;
mod observed;

pub use commands::{evaluate_command, explain, reply_text};
pub use limiter::{Heal, HealLimiter, MAX_HEALS};
pub use observed::ObservedService;

use std::time::Duration;

use crate::model::StartedBy;
use crate::record::ServiceRecord;
use crate::state::ServiceState;

/// Interval between notifications of a service that exits repeatedly, unless its restarts have doubled.
const RENOTIFY_INTERVAL: Duration = Duration::from_hours(1);

/// The record of a new run. `None` if there is nothing new to record.
///
/// `since_record` is the time since this process recorded a start of the service, by the monotonic clock. `None` if it
/// has recorded none.
pub fn detect_start(
    known: Option<&ServiceState>,
    service: &ObservedService,
    since_record: Option<Duration>,
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
                || since_record.is_none_or(|since| since >= RENOTIFY_INTERVAL)
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

#[cfg(test)]
mod tests {
    use protocol::time::UtcMs;

    use super::*;
    use crate::container::{ContainerHealth, FailedCheck, Run};
    use crate::record::SupervisionRecord;
    use crate::state::SupervisionState;

    fn nats(health: ContainerHealth) -> ObservedService {
        ObservedService {
            name: "nats-1".parse().unwrap(),
            run: run("4f1c", 0),
            checked_age: Duration::ZERO,
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
        const HOUR: Duration = Duration::from_hours(1);
        const NOW: Option<Duration> = Some(Duration::ZERO);
        const SAME: (&str, u8) = ("4f1c", 0);
        const NEXT: (&str, u8) = ("4f1c", 9);
        // The known run's restarts and the second of the run to be ended; the observed run, its restarts, and the time
        // since the last record.
        let rows = [
            (None, SAME, 3, NOW, Some(NewContainer)),
            (Some((0, None)), SAME, 0, NOW, None),
            (Some((0, Some(0))), SAME, 0, NOW, None),
            (Some((0, None)), ("77aa", 9), 5, NOW, Some(NewContainer)),
            (Some((4, Some(0))), NEXT, 0, NOW, Some(Watchdog)),
            // A run between that only the process which was to end it has seen.
            (Some((4, Some(7))), NEXT, 0, NOW, Some(Watchdog)),
            (Some((4, Some(9))), NEXT, 0, NOW, Some(Unknown)),
            (Some((4, None)), NEXT, 0, NOW, Some(Unknown)),
            (Some((4, None)), NEXT, 4, NOW, Some(Unknown)),
            // A service that exits repeatedly is not reported each time.
            (Some((0, None)), NEXT, 1, NOW, Some(Docker)),
            (
                Some((4, None)),
                NEXT,
                7,
                Some(HOUR.saturating_sub(Duration::from_millis(1))),
                None,
            ),
            (Some((4, None)), NEXT, 8, NOW, Some(Docker)),
            (Some((4, None)), NEXT, 5, Some(HOUR), Some(Docker)),
            (Some((4, None)), NEXT, 5, None, Some(Docker)),
        ];
        for row in rows {
            let (known, (container, second), restarts, since, expected) = row;
            let known = known.map(|(restarts, intended): (u64, Option<u8>)| {
                let mut state = SupervisionState::default();
                let started = ServiceRecord::Started {
                    run: run(SAME.0, SAME.1),
                    restarts,
                    by: NewContainer,
                };
                let intended = intended.map(|second| ServiceRecord::RestartIntended {
                    run: run(SAME.0, second),
                    reason: "hung".to_owned(),
                });
                for record in std::iter::once(started).chain(intended) {
                    state.apply(&SupervisionRecord::Service {
                        service: "nats-1".parse().unwrap(),
                        at: UtcMs(0),
                        record,
                    });
                }
                state.services.into_values().next().unwrap()
            });
            let service = ObservedService {
                run: run(container, second),
                restarts,
                ..nats(ContainerHealth::Healthy)
            };
            let found = detect_start(known.as_ref(), &service, since);
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
