//! Reasons for a restart, a quarantine or the lack of a restart.

use std::fmt;

use protocol::duration::format_ms;
use protocol::exit_code::ExitCode;
use protocol::ids::SubjectToken;
use serde::{Deserialize, Serialize};

/// Why a unit is restarted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RestartReason {
    /// Exit with an error.
    Crashed {
        /// Exit code of the process; 128 + n after signal n.
        code: i64,
    },
    /// Killed by the kernel for lack of memory.
    OutOfMemory,
    /// Exit 0 without a request to stop.
    #[serde(rename = "unexpected_exit_0")]
    UnexpectedExit0,
    /// Docker or its host stopped. No failure, and not counted.
    DockerOutage {
        /// Exit code; 255 for a run that Docker found gone.
        code: i64,
    },
    /// No heartbeat for too long.
    HeartbeatLost {
        /// Time since the last heartbeat, in milliseconds.
        for_ms: u64,
    },
    /// A component made no progress although heartbeats arrive.
    ComponentStalled {
        /// Name of the component.
        component: String,
        /// Time without progress, in milliseconds.
        for_ms: u64,
    },
    /// No market data, although another unit of the account receives it.
    MarketDataLost {
        /// Time without market data, in milliseconds.
        for_ms: u64,
        /// The unit that receives market data.
        peer: SubjectToken,
    },
    /// No heartbeat since the start.
    NoFirstHeartbeat {
        /// Time since the start, in milliseconds.
        for_ms: u64,
    },
    /// The process sends heartbeats and stays in phase starting, without waiting for anything.
    StartStalled {
        /// Time in phase starting, in milliseconds.
        for_ms: u64,
    },
    /// Docker calls the container unhealthy.
    Unhealthy {
        /// Time for which it does, in milliseconds.
        for_ms: u64,
        /// The last health check, as a clause.
        check: String,
    },
    /// Docker did not start the container.
    StartFailed {
        /// Error that Docker returned, in one line.
        error: String,
    },
    /// The time of `--duration` is over (exit 20).
    CycleFinished,
    /// Exit with a code that a restart does not fix.
    ExitNotRestartable {
        /// Exit code of the process; 128 + n after signal n.
        code: i64,
    },
    /// A command of an operator.
    Commanded {
        /// User name of the operator, as given with the command.
        by: String,
    },
}

impl RestartReason {
    /// Whether the reason is a failure.
    pub const fn is_failure(&self) -> bool {
        !matches!(self, Self::CycleFinished | Self::DockerOutage { .. })
    }

    /// Whether the restart counts against `--max-restarts`.
    pub const fn is_counted(&self) -> bool {
        !matches!(self, Self::DockerOutage { .. })
    }

    /// The kind without its data, as a metric label.
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
            Self::StartStalled { .. } => "start_stalled",
            Self::Unhealthy { .. } => "unhealthy",
            Self::StartFailed { .. } => "start_failed",
            Self::CycleFinished => "cycle_finished",
            Self::ExitNotRestartable { .. } => "exit_not_restartable",
            Self::Commanded { .. } => "commanded",
        }
    }
}

impl fmt::Display for RestartReason {
    /// The reason for the operator, in one line.
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
                write!(f, "hung: no heartbeat for {}", format_ms(*for_ms))
            }
            Self::ComponentStalled { component, for_ms } => write!(
                f,
                "hung: component {component} made no progress for {}",
                format_ms(*for_ms)
            ),
            Self::MarketDataLost { for_ms, peer } => write!(
                f,
                "hung: no market data for {}, while {peer} receives it",
                format_ms(*for_ms)
            ),
            Self::NoFirstHeartbeat { for_ms } => write!(
                f,
                "hung: no heartbeat within {} after the start",
                format_ms(*for_ms)
            ),
            Self::StartStalled { for_ms } => write!(
                f,
                "hung: not running {} after the start, and waiting for nothing",
                format_ms(*for_ms)
            ),
            Self::Unhealthy { for_ms, check } => {
                write!(f, "hung: unhealthy for {}: {check}", format_ms(*for_ms))
            }
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

/// Why a unit is quarantined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuarantineReason {
    /// All restarts of `--max-restarts` are used up.
    MaxRestarts,
    /// Too many failures in a row.
    ConsecutiveFailures,
    /// The restart budget of the window is used up.
    RestartBudget,
    /// The account is latched.
    AccountLatched,
    /// The command line or the settings are invalid.
    Misconfigured,
}

/// Why a unit is not restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoRestartReason {
    /// The unit has done what it was started for.
    Finished,
    /// The unit had ended successfully before supervision began.
    BeforeSupervision,
    /// `--auto-restart` is not set.
    NoAutoRestart,
    /// The restart policy is not known.
    NoPolicy,
    /// The unit is on hold.
    OnHold,
    /// A commanded start failed, and the flags permit no retry.
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
