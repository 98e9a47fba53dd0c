//! The likely cause of a failure and what helps against it: by exit code, by how it hung, by what its
//! last error says. The seed's troubleshooting, as a table.

use protocol::exit::ExitCode;
use serde::Serialize;

use crate::record::Reason;

/// A cause and what helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Remedy {
    /// What is likely wrong.
    pub cause: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

impl Remedy {
    /// In one sentence.
    pub fn sentence(&self) -> String {
        format!("Likely cause: {}; {}.", self.cause, self.remedy)
    }
}

/// Words of an error, lower case, and what they tell. The first row that fits counts.
const BY_WORDS: [(&[&str], Remedy); 6] = [
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
        Remedy {
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
        Remedy {
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
        Remedy {
            cause: "the exchange is in maintenance or overloaded",
            remedy: "check the exchange's status page and wait",
        },
    ),
    (
        &["429", "418", "too many requests", "rate limit", "-1003"],
        Remedy {
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
        Remedy {
            cause: "the network, or the host at its other end",
            remedy: "check this machine's connection and name resolution",
        },
    ),
    (
        &["no space", "disk", "read-only file"],
        Remedy {
            cause: "the disk is full or read-only",
            remedy: "make room, then look at the bus's volume",
        },
    ),
];

const CONFIG: Remedy = Remedy {
    cause: "its configuration or command line",
    remedy: "read the line in its log that names variable and value, mend it, make the container anew",
};

/// What is known about a failure that ended so, and whose last error says this.
pub fn remedy_of(reason: &Reason, last_error: Option<&str>) -> Option<Remedy> {
    by_reason(reason)
        .or_else(|| by_words(last_error?))
        .or_else(|| otherwise(reason))
}

/// What an error's words tell.
fn by_words(error: &str) -> Option<Remedy> {
    let error = error.to_lowercase();
    let fits = |(words, _): &&(&[&str], Remedy)| words.iter().any(|word| error.contains(word));
    BY_WORDS.iter().find(fits).map(|(_, remedy)| *remedy)
}

/// What is certain whatever its last error was.
fn by_reason(reason: &Reason) -> Option<Remedy> {
    match reason {
        Reason::OutOfMemory => Some(Remedy {
            cause: "it used more memory than its container has",
            remedy: "raise mem_limit or run fewer symbols",
        }),
        Reason::Refused { code } | Reason::Crashed { code } => by_code(*code),
        Reason::NotStarted { .. } => Some(Remedy {
            cause: "the Docker engine could not start it",
            remedy: "look at its image, mounts and networks with `docker inspect`",
        }),
        _ => None,
    }
}

fn by_code(code: i64) -> Option<Remedy> {
    match ExitCode::from_number(code) {
        Some(ExitCode::Usage | ExitCode::Config) => Some(CONFIG),
        Some(ExitCode::CriticalHalt) => Some(Remedy {
            cause: "a critical circuit breaker or an operator closed the account",
            remedy: "find out why; `trader unlatch` ends that and starts it again",
        }),
        Some(ExitCode::DuplicateInstance) => Some(Remedy {
            cause: "another process runs under its name",
            remedy: "give each instance a name of its own",
        }),
        Some(ExitCode::Unavailable) => Some(Remedy {
            cause: "something it needs is not there",
            remedy: "run it with --dry-run: the table says what",
        }),
        None if (125..=128).contains(&code) => Some(CONFIG),
        _ => None,
    }
}

/// What is left when no error says more.
fn otherwise(reason: &Reason) -> Option<Remedy> {
    match reason {
        Reason::Crashed { .. } => Some(Remedy {
            cause: "a bug, or an error it could not recover from",
            remedy: "read its last log lines in `history`",
        }),
        Reason::Silent { .. } | Reason::NeverBeat { .. } | Reason::Stuck { .. } => Some(Remedy {
            cause: "its loop is blocked, or the machine is overloaded",
            remedy: "look at CPU, disk and network of this machine",
        }),
        Reason::CutOff { .. } => Some(Remedy {
            cause: "its own way to the exchange is broken, the exchange is not",
            remedy: "look at its container's network and name resolution",
        }),
        Reason::Interrupted | Reason::WithEngine { .. } => Some(Remedy {
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
    fn a_cause_is_named_by_exit_code_and_by_the_last_errors_words() {
        let crashed = |code| Reason::Crashed { code };
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
                Reason::Refused { code: 78 },
                Some("timeout"),
                "configuration",
            ),
            (Reason::Refused { code: 64 }, None, "configuration"),
            (Reason::Refused { code: 127 }, None, "configuration"),
            (Reason::Refused { code: 21 }, None, "circuit breaker"),
            (crashed(71), None, "another process"),
            (crashed(69), None, "needs"),
            (Reason::OutOfMemory, Some("timeout"), "memory"),
            (Reason::Silent { for_ms: 1 }, Some("dns error"), "network"),
            (Reason::Silent { for_ms: 1 }, None, "blocked"),
            (Reason::Interrupted, None, "host"),
            (Reason::WithEngine { code: 255 }, None, "host"),
        ];
        for (reason, error, cause) in rows {
            let found = remedy_of(&reason, error).unwrap();
            assert!(
                found.cause.contains(cause),
                "{reason}, {error:?}: {}",
                found.cause
            );
        }
        assert_eq!(remedy_of(&Reason::CycleFinished, None), None);
    }
}
