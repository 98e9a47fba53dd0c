//! What an exit code means for a unit: the table of exit codes, without the history of the unit.

use protocol::exit_code::ExitCode;

use crate::container::{Container, Exit};
use crate::reason::{QuarantineReason, RestartReason};
use crate::restart_policy::RestartPolicy;

/// What follows from an exit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitAction {
    /// The unit has done what it was started for.
    Finished,
    /// The next cycle starts.
    NextCycle,
    /// A restart that counts as a failure.
    Failure(RestartReason),
    /// No restart until an operator acts.
    Quarantine(QuarantineReason),
}

/// Exit codes of Docker itself: the command could not be run.
const DOCKER_EXIT_CODES: std::ops::RangeInclusive<i64> = 125..=128;

/// The row of the table for an exit. `policy` is that of a unit with `--auto-restart`.
pub fn exit_action(exit: Exit, policy: &RestartPolicy) -> ExitAction {
    match ExitCode::from_number(exit.code) {
        Some(ExitCode::Success) if policy.dry_run => ExitAction::Finished,
        Some(ExitCode::Success) => ExitAction::Failure(RestartReason::UnexpectedExit0),
        Some(ExitCode::CycleFinished) => ExitAction::NextCycle,
        Some(ExitCode::AccountLatched) => ExitAction::Quarantine(QuarantineReason::AccountLatched),
        Some(ExitCode::Usage | ExitCode::Config) => {
            ExitAction::Quarantine(QuarantineReason::Misconfigured)
        }
        None if DOCKER_EXIT_CODES.contains(&exit.code) => {
            ExitAction::Quarantine(QuarantineReason::Misconfigured)
        }
        None if exit.is_out_of_memory() => ExitAction::Failure(RestartReason::OutOfMemory),
        Some(ExitCode::Unavailable | ExitCode::Internal | ExitCode::DuplicateInstance) | None => {
            ExitAction::Failure(RestartReason::Crashed { code: exit.code })
        }
    }
}

/// Whether a restart may follow this end at once, so that reading the log must not delay it.
pub fn may_restart_at_once(container: &Container) -> bool {
    let (Some(exit), Ok(policy)) = (container.exit(), &container.policy) else {
        return false;
    };
    let at_once = policy.auto_restart && (policy.restart_delay_s == 0 || policy.fast_first);
    at_once
        && matches!(
            exit_action(exit, policy),
            ExitAction::Failure(_) | ExitAction::NextCycle
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_policy_covers_every_row_of_the_table() {
        let policy =
            RestartPolicy::from_args(&["--paper".to_owned(), "--auto-restart".to_owned()]).unwrap();
        let crashed = |code| ExitAction::Failure(RestartReason::Crashed { code });
        let misconfigured = ExitAction::Quarantine(QuarantineReason::Misconfigured);
        let rows = [
            (
                0,
                false,
                ExitAction::Failure(RestartReason::UnexpectedExit0),
            ),
            (1, false, crashed(1)),
            (20, false, ExitAction::NextCycle),
            (
                21,
                false,
                ExitAction::Quarantine(QuarantineReason::AccountLatched),
            ),
            (64, false, misconfigured.clone()),
            (69, false, crashed(69)),
            (70, false, crashed(70)),
            (71, false, crashed(71)),
            (78, false, misconfigured.clone()),
            (101, false, crashed(101)),
            (125, false, misconfigured.clone()),
            (126, false, misconfigured.clone()),
            (127, false, misconfigured.clone()),
            (128, false, misconfigured),
            (129, false, crashed(129)),
            (134, false, crashed(134)),
            (137, false, crashed(137)),
            (137, true, ExitAction::Failure(RestartReason::OutOfMemory)),
            // The kernel killed a child; the unit itself ended with its own exit code.
            (70, true, crashed(70)),
            (139, false, crashed(139)),
            (143, false, crashed(143)),
        ];
        for (code, oom, expected) in rows {
            let exit = Exit {
                code,
                oom_killed: oom,
                uptime_ms: 1,
            };
            assert_eq!(
                exit_action(exit, &policy),
                expected,
                "exit {code}, oom {oom}"
            );
        }
    }

    #[test]
    fn dry_run_that_exits_0_is_finished() {
        let flags = ["--paper", "--auto-restart", "--dry-run"].map(str::to_owned);
        let policy = RestartPolicy::from_args(&flags).unwrap();
        let exit = Exit {
            code: 0,
            oom_killed: false,
            uptime_ms: 1,
        };
        assert_eq!(exit_action(exit, &policy), ExitAction::Finished);
    }
}
