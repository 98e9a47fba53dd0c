//! What an exit code means for the unit: the exit-code table, and nothing of what was decided before.

use protocol::exit::ExitCode;

use crate::container::{Container, Exit};
use crate::policy::Policy;
use crate::record::{Reason, Why};

/// What an end asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Its work is done.
    Finished,
    /// The next cycle.
    Cycle,
    /// A restart, as a failure.
    Failure(Reason),
    /// No restart until a person has acted.
    Quarantine(Why),
}

/// The engine's own codes: the command could not be run at all.
const ENGINE_CODES: std::ops::RangeInclusive<i64> = 125..=128;
const SIGKILL: i64 = 137;

/// Reads the table. `policy` is that of a unit which may be restarted.
pub fn ending(exit: Exit, policy: &Policy) -> Ending {
    match ExitCode::from_number(exit.code) {
        Some(ExitCode::Done) if policy.dry_run => Ending::Finished,
        Some(ExitCode::Done) => Ending::Failure(Reason::Interrupted),
        Some(ExitCode::CycleFinished) => Ending::Cycle,
        Some(ExitCode::CriticalHalt) => Ending::Quarantine(Why::CriticalHalt),
        Some(ExitCode::Usage | ExitCode::Config) => Ending::Quarantine(Why::Misconfigured),
        None if ENGINE_CODES.contains(&exit.code) => Ending::Quarantine(Why::Misconfigured),
        None if exit.code == SIGKILL && exit.oom => Ending::Failure(Reason::OutOfMemory),
        Some(ExitCode::Unavailable | ExitCode::Internal | ExitCode::DuplicateInstance) | None => {
            Ending::Failure(Reason::Crashed { code: exit.code })
        }
    }
}

/// Whether a restart may follow this end at once: then what else there is to be known of it must not hold that up.
pub fn is_urgent(container: &Container) -> bool {
    let (Some(exit), Ok(policy)) = (container.exit(), &container.policy) else {
        return false;
    };
    let at_once = policy.auto_restart && (policy.restart_delay == 0 || policy.fast_first);
    at_once && matches!(ending(exit, policy), Ending::Failure(_) | Ending::Cycle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table() {
        let policy = Policy::read(&["--paper".to_owned(), "--auto-restart".to_owned()]).unwrap();
        let crashed = |code| Ending::Failure(Reason::Crashed { code });
        let misconfigured = Ending::Quarantine(Why::Misconfigured);
        let rows = [
            (0, false, Ending::Failure(Reason::Interrupted)),
            (1, false, crashed(1)),
            (20, false, Ending::Cycle),
            (21, false, Ending::Quarantine(Why::CriticalHalt)),
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
            (137, true, Ending::Failure(Reason::OutOfMemory)),
            // A child was killed for lack of memory; the unit itself ended in its own way.
            (70, true, crashed(70)),
            (139, false, crashed(139)),
            (143, false, crashed(143)),
        ];
        for (code, oom, expected) in rows {
            let exit = Exit {
                code,
                oom,
                uptime_ms: 1,
            };
            assert_eq!(ending(exit, &policy), expected, "exit {code}, oom {oom}");
        }
    }

    #[test]
    fn a_dry_run_is_done_when_it_ends_with_0() {
        let words = ["--paper", "--auto-restart", "--dry-run"].map(str::to_owned);
        let policy = Policy::read(&words).unwrap();
        let exit = Exit {
            code: 0,
            oom: false,
            uptime_ms: 1,
        };
        assert_eq!(ending(exit, &policy), Ending::Finished);
    }
}
