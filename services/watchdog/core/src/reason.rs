//! Why a unit is restarted, quarantined or left down.

use std::fmt;

use protocol::exit_code::ExitCode;
use protocol::ids::SubjectToken;
use serde::{Deserialize, Serialize};

use crate::format::format_seconds;

/// What went wrong, or right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RestartReason {
    /// It ended with an error.
    Crashed {
        /// Its exit code.
        code: i64,
    },
    /// The kernel killed it for lack of memory.
    OutOfMemory,
    /// It ended with 0 and nobody had asked for it.
    #[serde(rename = "unexpected_exit_0")]
    UnexpectedExit0,
    /// The engine or its host went down and took it along: no failure, and it counts for nothing.
    DockerOutage {
        /// What it ended with; 255: the engine found it gone.
        code: i64,
    },
    /// Its heartbeat stopped.
    HeartbeatLost {
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// A part of it stands still while its heart beats on.
    ComponentStalled {
        /// Which part.
        component: String,
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// It reaches its market no more, while another does.
    MarketDataLost {
        /// For how long, in milliseconds.
        for_ms: u64,
        /// Who does.
        peer: SubjectToken,
    },
    /// Its heartbeat never began.
    NoFirstHeartbeat {
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// The engine did not start it.
    StartFailed {
        /// What it said.
        error: String,
    },
    /// It finished a cycle.
    CycleFinished,
    /// It ended with a code that a restart does not mend.
    ExitNotRestartable {
        /// The code.
        code: i64,
    },
    /// A person wanted it.
    Commanded {
        /// Who.
        by: String,
    },
}

impl RestartReason {
    /// Whether the unit failed.
    pub const fn is_failure(&self) -> bool {
        !matches!(self, Self::CycleFinished | Self::DockerOutage { .. })
    }

    /// Whether the restart that follows is one of those that it may have.
    pub const fn is_counted(&self) -> bool {
        !matches!(self, Self::DockerOutage { .. })
    }

    /// The word in numbers: the kind, without its particulars.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Crashed { .. } => "crashed",
            Self::OutOfMemory => "out_of_memory",
            Self::UnexpectedExit0 => "unexpected_exit_0",
            Self::DockerOutage { .. } => "docker_outage",
            Self::HeartbeatLost { .. } => "heartbeat_lost",
            Self::ComponentStalled { .. } => "component_stalled",
            Self::MarketDataLost { .. } => "market_data_lost",
            Self::NoFirstHeartbeat { .. } => "no_first_heartbeat",
            Self::StartFailed { .. } => "start_failed",
            Self::CycleFinished => "cycle_finished",
            Self::ExitNotRestartable { .. } => "exit_not_restartable",
            Self::Commanded { .. } => "commanded",
        }
    }
}

impl fmt::Display for RestartReason {
    /// In words, for the owner.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crashed { code } | Self::ExitNotRestartable { code } => describe_exit(f, *code),
            Self::OutOfMemory => f.write_str("out of memory, killed by the kernel (exit 137)"),
            Self::UnexpectedExit0 => f.write_str("unexpected exit 0: no stop was requested"),
            Self::DockerOutage { code } => write!(
                f,
                "stopped together with Docker or the host (exit {code}); not counted"
            ),
            Self::HeartbeatLost { for_ms } => {
                write!(f, "hung: no heartbeat for {} s", format_seconds(*for_ms))
            }
            Self::ComponentStalled { component, for_ms } => write!(
                f,
                "hung: component {component} made no progress for {} s",
                format_seconds(*for_ms)
            ),
            Self::MarketDataLost { for_ms, peer } => write!(
                f,
                "hung: no market data for {} s, while {peer} receives it",
                format_seconds(*for_ms)
            ),
            Self::NoFirstHeartbeat { for_ms } => write!(
                f,
                "hung: no heartbeat within {} s after the start",
                format_seconds(*for_ms)
            ),
            Self::StartFailed { error } => write!(f, "start failed: {error}"),
            Self::CycleFinished => f.write_str("cycle finished"),
            Self::Commanded { by } => write!(f, "commanded by {by}"),
        }
    }
}

fn describe_exit(f: &mut fmt::Formatter<'_>, code: i64) -> fmt::Result {
    let signal = match code {
        129 => "SIGHUP",
        130 => "SIGINT",
        132 => "SIGILL",
        134 => "SIGABRT",
        135 => "SIGBUS",
        137 => "SIGKILL",
        139 => "SIGSEGV",
        143 => "SIGTERM",
        _ => "",
    };
    match (ExitCode::from_number(code), signal) {
        (Some(known), _) => write!(f, "{} (exit {code})", known.meaning()),
        (None, "") if code == 101 => f.write_str("panicked (exit 101)"),
        (None, "") if (125..=128).contains(&code) => {
            write!(f, "Docker could not run the command (exit {code})")
        }
        (None, "") => write!(f, "crashed with exit {code}"),
        (None, signal) => write!(f, "killed by {signal} (exit {code})"),
    }
}

/// Why a unit is left down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuarantineReason {
    /// It had all its restarts.
    MaxRestarts,
    /// It failed too often in a row.
    ConsecutiveFailures,
    /// It had more restarts within the window than the watchdog's own setting allows.
    RestartBudget,
    /// A critical circuit breaker closed everything.
    AccountLatched,
    /// Its command line or configuration must be mended.
    Misconfigured,
}

/// Why an end is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoRestartReason {
    /// Its work is done.
    Finished,
    /// It had ended well before anybody watched.
    BeforeSupervision,
    /// It lacks `--auto-restart`.
    NoAutoRestart,
    /// Nobody knows what it asks for.
    NoPolicy,
    /// A person wants it to be watched only.
    OnHold,
    /// A person had ordered its start, and the engine did not do it; its flags allow no other try.
    StartFailed,
}

impl NoRestartReason {
    /// The reason as a clause.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Finished => "finished as requested",
            Self::BeforeSupervision => "ended before supervision began",
            Self::NoAutoRestart => "not restarted: --auto-restart is not set",
            Self::NoPolicy => "not restarted: the restart policy is unknown",
            Self::OnHold => "not restarted: the unit is on hold",
            Self::StartFailed => "the commanded start failed: Docker did not start the container",
        }
    }
}
