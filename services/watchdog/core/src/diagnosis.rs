//! Likely causes of failures and their fixes, by exit code, by kind of hang and by the text of the last error.

use protocol::exit_code::ExitCode;
use protocol::ids::{Mode, SubjectToken};
use serde::Serialize;

use crate::reason::RestartReason;

/// A likely cause and its fix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// Likely cause, as a clause.
    pub cause: &'static str,
    /// Fix, as a clause.
    pub remedy: String,
}

/// A diagnosis of any unit; `UNIT` in its remedy is the name of the unit, `MODE` its mode.
#[derive(Clone, Copy)]
struct Pattern {
    cause: &'static str,
    remedy: &'static str,
}

impl Diagnosis {
    /// Cause and fix in one sentence.
    pub fn describe(&self) -> String {
        format!("Likely cause: {}; {}.", self.cause, self.remedy)
    }
}

/// Lower-case texts of errors and their diagnosis. The first matching row counts.
const BY_ERROR_TEXT: [(&[&str], Pattern); 6] = [
    (
        &[
            "-2014",
            "-2015",
            "api key",
            "api-key",
            "signature",
            "401",
            "unauthori",
            "credential",
            "permission",
        ],
        Pattern {
            cause: "the exchange rejects the API credentials",
            remedy: "check the key, its secret, its permissions and its IP list",
        },
    ),
    (
        &[
            "-2019",
            "insufficient",
            "margin is",
            "not enough balance",
            "funds",
        ],
        Pattern {
            cause: "the account has insufficient funds",
            remedy: "check the balance and the margin, or lower CAPITAL_USDT",
        },
    ),
    (
        &[
            "maintenance",
            "503",
            "502",
            "service unavailable",
            "system busy",
            "-1016",
        ],
        Pattern {
            cause: "the exchange is in maintenance or overloaded",
            remedy: "check the exchange's status page, then wait",
        },
    ),
    (
        &["429", "418", "too many requests", "rate limit", "-1003"],
        Pattern {
            cause: "the exchange limits the request rate",
            remedy: "run fewer symbols or instances on this IP address, then wait",
        },
    ),
    (
        &[
            "timeout",
            "timed out",
            "no answer",
            "connect",
            "dns",
            "resolve",
            "unreachable",
            "network",
            "refused",
            "reset by peer",
        ],
        Pattern {
            cause: "the network or the remote host fails",
            remedy: "check the connection and the name resolution of this machine",
        },
    ),
    (
        &["no space", "disk", "read-only file"],
        Pattern {
            cause: "the disk is full or read-only",
            remedy: "free disk space, then check the volume of the bus",
        },
    ),
];

/// Exit code of a process that SIGKILL ended.
const SIGKILL: i64 = 137;

const CONFIG: Pattern = Pattern {
    cause: "invalid settings or an invalid command line",
    remedy: "correct .env, then run scripts/up (a restart or a release keeps the old settings)",
};

/// The diagnosis of a failure of a unit. `None` if nothing is known about its cause.
pub fn diagnose(
    unit: &SubjectToken,
    reason: &RestartReason,
    last_error: Option<&str>,
) -> Option<Diagnosis> {
    let is_live = unit.as_str().starts_with("trader-live");
    let mode = if is_live { Mode::Live } else { Mode::Paper };
    let pattern = by_reason(reason)
        .or_else(|| by_error_text(last_error?))
        .or_else(|| fallback_diagnosis(reason))?;
    Some(Diagnosis {
        cause: pattern.cause,
        remedy: pattern
            .remedy
            .replace("UNIT", unit.as_str())
            .replace("MODE", mode.as_str()),
    })
}

/// The diagnosis by the text of an error.
fn by_error_text(error: &str) -> Option<Pattern> {
    let error = error.to_lowercase();
    let matches = |(patterns, _): &&(&[&str], Pattern)| {
        patterns.iter().any(|pattern| contains(&error, pattern))
    };
    let row = BY_ERROR_TEXT.iter().find(matches);
    row.map(|(_, diagnosis)| *diagnosis)
}

/// Whether an error contains a pattern. A number must not be a part of a longer number, such as a price or a time.
fn contains(error: &str, pattern: &str) -> bool {
    let is_number_part = |c: char| c.is_ascii_digit() || c == '.';
    let is_number = pattern.ends_with(|c: char| c.is_ascii_digit());
    error.match_indices(pattern).any(|(at, _)| {
        let before = error[..at].ends_with(is_number_part);
        let after = error[at + pattern.len()..].starts_with(|c: char| c.is_ascii_digit());
        !is_number || !(before || after)
    })
}

/// The diagnosis that does not depend on an error.
fn by_reason(reason: &RestartReason) -> Option<Pattern> {
    match reason {
        RestartReason::OutOfMemory => Some(Pattern {
            cause: "the process used more memory than its container may use",
            remedy: "raise mem_limit or run fewer symbols",
        }),
        RestartReason::ExitNotRestartable { code } | RestartReason::Crashed { code } => {
            by_exit_code(*code)
        }
        RestartReason::StartFailed { .. } => Some(Pattern {
            cause: "Docker could not start the container",
            remedy: "check its image, mounts and networks; scripts/up creates it again",
        }),
        _ => None,
    }
}

fn by_exit_code(code: i64) -> Option<Pattern> {
    match ExitCode::from_number(code) {
        Some(ExitCode::Usage | ExitCode::Config) => Some(CONFIG),
        Some(ExitCode::AccountLatched) => Some(Pattern {
            cause: "an account breaker or an operator latched the account",
            remedy: "find the cause, then end the latch; the watchdog then starts the unit",
        }),
        Some(ExitCode::DuplicateInstance) => Some(Pattern {
            cause: "another process has the same instance name",
            remedy: "set a different INSTANCE for each process",
        }),
        Some(ExitCode::Unavailable) => Some(Pattern {
            cause: "a dependency is unavailable",
            remedy: "run `scripts/bearish dry-run --MODE`: its table names the dependency",
        }),
        None if (125..=128).contains(&code) => Some(CONFIG),
        _ => None,
    }
}

/// The diagnosis if no error text says more.
fn fallback_diagnosis(reason: &RestartReason) -> Option<Pattern> {
    match reason {
        RestartReason::Crashed { code: SIGKILL } => Some(Pattern {
            cause: "an operator or another program killed the process",
            remedy: "check who did; `dmesg` shows whether the machine ran out of memory",
        }),
        RestartReason::Crashed { .. } => Some(Pattern {
            cause: "a bug, or an error without recovery",
            remedy: "read the last log lines with `scripts/bearish history UNIT`",
        }),
        RestartReason::HeartbeatLost { .. }
        | RestartReason::NoFirstHeartbeat { .. }
        | RestartReason::StartStalled { .. }
        | RestartReason::Unhealthy { .. }
        | RestartReason::ComponentStalled { .. } => Some(Pattern {
            cause: "a loop is blocked, or the machine is overloaded",
            remedy: "check CPU, disk and network of this machine",
        }),
        RestartReason::MarketDataLost { .. } => Some(Pattern {
            cause: "the container cannot reach the exchange, although the exchange works",
            remedy: "check the network and the name resolution of the container",
        }),
        RestartReason::UnexpectedExit0 | RestartReason::DockerOutage { .. } => Some(Pattern {
            cause: "Docker or the host was stopped",
            remedy: "nothing to do, the unit is restarted",
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diagnosis_follows_exit_code_and_last_error() {
        let unit: SubjectToken = "trader-paper-1".parse().unwrap();
        let crashed = |code| RestartReason::Crashed { code };
        let rows = [
            (
                crashed(70),
                Some("code -2015: Invalid API-key, IP, or permissions"),
                "credentials",
            ),
            (crashed(70), Some("-2019: Margin is insufficient."), "funds"),
            (
                crashed(70),
                Some("HTTP 503 Service Unavailable"),
                "maintenance",
            ),
            (crashed(70), Some("HTTP 429"), "limits"),
            (crashed(70), Some("klines: no answer within 5 s"), "network"),
            (crashed(70), Some("No space left on device"), "disk"),
            (crashed(70), Some("index out of bounds"), "bug"),
            (crashed(70), Some("price 40134.2 at 1764014290000"), "bug"),
            (crashed(70), Some("HTTP 401."), "credentials"),
            (crashed(101), None, "bug"),
            (crashed(137), None, "killed"),
            (
                RestartReason::ExitNotRestartable { code: 78 },
                Some("timeout"),
                "settings",
            ),
            (
                RestartReason::ExitNotRestartable { code: 64 },
                None,
                "settings",
            ),
            (
                RestartReason::ExitNotRestartable { code: 127 },
                None,
                "settings",
            ),
            (
                RestartReason::ExitNotRestartable { code: 21 },
                None,
                "breaker",
            ),
            (crashed(71), None, "another process"),
            (crashed(69), None, "dependency"),
            (RestartReason::OutOfMemory, Some("timeout"), "memory"),
            (
                RestartReason::HeartbeatLost { for_ms: 1 },
                Some("dns error"),
                "network",
            ),
            (RestartReason::HeartbeatLost { for_ms: 1 }, None, "blocked"),
            (RestartReason::UnexpectedExit0, None, "host"),
            (RestartReason::DockerOutage { code: 255 }, None, "host"),
        ];
        for (reason, error, cause) in rows {
            let found = diagnose(&unit, &reason, error).unwrap();
            assert!(
                found.cause.contains(cause),
                "{reason}, {error:?}: {}",
                found.cause
            );
        }
        assert_eq!(diagnose(&unit, &RestartReason::CycleFinished, None), None);
        let found = diagnose(&unit, &crashed(70), None).unwrap();
        assert!(
            found
                .remedy
                .ends_with("`scripts/bearish history trader-paper-1`"),
            "{found:?}"
        );
    }
}
