//! The likely cause of a failure and what helps against it: by exit code, by how it hung, by what its
//! last error says. The seed's troubleshooting, as a table.

use protocol::exit_code::ExitCode;
use serde::Serialize;

use crate::record::RestartReason;

/// A cause and what helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// What is likely wrong.
    pub cause: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

impl Diagnosis {
    /// In one sentence.
    pub fn describe(&self) -> String {
        format!("Likely cause: {}; {}.", self.cause, self.remedy)
    }
}

/// Words of an error, lower case, and what they tell. The first row that fits counts.
const BY_ERROR_TEXT: [(&[&str], Diagnosis); 6] = [
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
        Diagnosis {
            cause: "the exchange refuses the API credentials",
            remedy: "check key, secret, permissions and the IP list of the key",
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
        Diagnosis {
            cause: "the account has not enough funds",
            remedy: "check balance and margin, or lower CAPITAL_USDT",
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
        Diagnosis {
            cause: "the exchange is in maintenance or overloaded",
            remedy: "check the exchange's status page and wait",
        },
    ),
    (
        &["429", "418", "too many requests", "rate limit", "-1003"],
        Diagnosis {
            cause: "the exchange limits our requests",
            remedy: "run fewer symbols or instances on this address and wait",
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
        Diagnosis {
            cause: "the network, or the host at its other end",
            remedy: "check this machine's connection and name resolution",
        },
    ),
    (
        &["no space", "disk", "read-only file"],
        Diagnosis {
            cause: "the disk is full or read-only",
            remedy: "make room, then look at the bus's volume",
        },
    ),
];

const CONFIG: Diagnosis = Diagnosis {
    cause: "its configuration or command line",
    remedy: "read the line in its log that names variable and value, mend it, make the container anew",
};

/// What is known about a failure that ended so, and whose last error says this.
pub fn diagnose(reason: &RestartReason, last_error: Option<&str>) -> Option<Diagnosis> {
    by_reason(reason)
        .or_else(|| by_error_text(last_error?))
        .or_else(|| fallback_diagnosis(reason))
}

/// What an error's words tell.
fn by_error_text(error: &str) -> Option<Diagnosis> {
    let error = error.to_lowercase();
    let fits = |(words, _): &&(&[&str], Diagnosis)| words.iter().any(|word| error.contains(word));
    BY_ERROR_TEXT.iter().find(fits).map(|(_, remedy)| *remedy)
}

/// What is certain whatever its last error was.
fn by_reason(reason: &RestartReason) -> Option<Diagnosis> {
    match reason {
        RestartReason::OutOfMemory => Some(Diagnosis {
            cause: "it used more memory than its container has",
            remedy: "raise mem_limit or run fewer symbols",
        }),
        RestartReason::ExitNotRestartable { code } | RestartReason::Crashed { code } => {
            by_exit_code(*code)
        }
        RestartReason::StartFailed { .. } => Some(Diagnosis {
            cause: "the Docker engine could not start it",
            remedy: "look at its image, mounts and networks with `docker inspect`",
        }),
        _ => None,
    }
}

fn by_exit_code(code: i64) -> Option<Diagnosis> {
    match ExitCode::from_number(code) {
        Some(ExitCode::Usage | ExitCode::Config) => Some(CONFIG),
        Some(ExitCode::AccountLatched) => Some(Diagnosis {
            cause: "a critical circuit breaker or an operator closed the account",
            remedy: "find out why; `trader unlatch` ends that and starts it again",
        }),
        Some(ExitCode::DuplicateInstance) => Some(Diagnosis {
            cause: "another process runs under its name",
            remedy: "give each instance a name of its own",
        }),
        Some(ExitCode::Unavailable) => Some(Diagnosis {
            cause: "something it needs is not there",
            remedy: "run it with --dry-run: the table says what",
        }),
        None if (125..=128).contains(&code) => Some(CONFIG),
        _ => None,
    }
}

/// What is left when no error says more.
fn fallback_diagnosis(reason: &RestartReason) -> Option<Diagnosis> {
    match reason {
        RestartReason::Crashed { .. } => Some(Diagnosis {
            cause: "a bug, or an error it could not recover from",
            remedy: "read its last log lines in `history`",
        }),
        RestartReason::HeartbeatLost { .. }
        | RestartReason::NoFirstHeartbeat { .. }
        | RestartReason::ComponentStalled { .. } => Some(Diagnosis {
            cause: "its loop is blocked, or the machine is overloaded",
            remedy: "look at CPU, disk and network of this machine",
        }),
        RestartReason::MarketDataLost { .. } => Some(Diagnosis {
            cause: "its own way to the exchange is broken, the exchange is not",
            remedy: "look at its container's network and name resolution",
        }),
        RestartReason::UnexpectedExit0 | RestartReason::DockerOutage { .. } => Some(Diagnosis {
            cause: "the engine or the host was stopped",
            remedy: "nothing: it was started again",
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diagnosis_follows_exit_code_and_last_error() {
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
            (crashed(101), None, "bug"),
            (
                RestartReason::ExitNotRestartable { code: 78 },
                Some("timeout"),
                "configuration",
            ),
            (
                RestartReason::ExitNotRestartable { code: 64 },
                None,
                "configuration",
            ),
            (
                RestartReason::ExitNotRestartable { code: 127 },
                None,
                "configuration",
            ),
            (
                RestartReason::ExitNotRestartable { code: 21 },
                None,
                "circuit breaker",
            ),
            (crashed(71), None, "another process"),
            (crashed(69), None, "needs"),
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
            let found = diagnose(&reason, error).unwrap();
            assert!(
                found.cause.contains(cause),
                "{reason}, {error:?}: {}",
                found.cause
            );
        }
        assert_eq!(diagnose(&RestartReason::CycleFinished, None), None);
    }
}
