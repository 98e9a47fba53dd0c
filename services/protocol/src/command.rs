//! Requests of the operator to the watchdog and the notifier, and the reply to them.

use serde::{Deserialize, Serialize};

use crate::ids::SubjectToken;
use crate::time::UtcMs;

/// Request to the watchdog, on `command.v1.watchdog.<project>.<host>.<verb>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitCommandRequest {
    /// Version of the message.
    pub v: u16,
    /// Operator who gave the command.
    pub by: String,
    /// Command that the watchdog executes.
    #[serde(flatten)]
    pub command: UnitCommand,
}

/// A command about units. Read-only commands change nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum UnitCommand {
    /// Shows every unit in a table. Read-only.
    Status,
    /// Explains the phase of a unit and what would help. Read-only.
    Explain {
        /// Unit: service and number, e.g. `trader-paper-1`.
        unit: SubjectToken,
    },
    /// Shows the records of a unit with their evidence, newest last. Read-only.
    History {
        /// Unit: service and number, e.g. `trader-paper-1`.
        unit: SubjectToken,
    },
    /// Stops a unit gracefully; the unit stays stopped.
    Stop {
        /// Unit: service and number, e.g. `trader-paper-1`.
        unit: SubjectToken,
    },
    /// Starts a unit that an operator stopped.
    Start {
        /// Unit: service and number, e.g. `trader-paper-1`.
        unit: SubjectToken,
    },
    /// Stops a unit gracefully and starts it at once. Does not count as a restart.
    Restart {
        /// Unit: service and number, e.g. `trader-paper-1`.
        unit: SubjectToken,
    },
    /// Puts a unit or a service on hold: the watchdog only watches it until its release.
    Hold {
        /// Unit or service, each with its number, e.g. `trader-paper-1` or `nats-1`.
        unit: SubjectToken,
        /// Reason the operator gave.
        reason: String,
    },
    /// Ends a hold or a quarantine and resets the consecutive failures.
    Release {
        /// Unit or service, each with its number, e.g. `trader-paper-1` or `nats-1`.
        unit: SubjectToken,
        /// Whether the restarts of the unit are reset too.
        reset_restarts: bool,
    },
    /// Removes a unit whose container was removed from the list of units.
    Forget {
        /// Unit: service and number, e.g. `trader-paper-1`.
        unit: SubjectToken,
    },
}

impl UnitCommand {
    /// Unit of the command; `None` if the command is about all units.
    pub const fn unit(&self) -> Option<&SubjectToken> {
        match self {
            Self::Status => None,
            Self::Explain { unit }
            | Self::History { unit }
            | Self::Stop { unit }
            | Self::Start { unit }
            | Self::Restart { unit }
            | Self::Hold { unit, .. }
            | Self::Forget { unit }
            | Self::Release { unit, .. } => Some(unit),
        }
    }

    /// Whether the command changes nothing.
    pub const fn is_read_only(&self) -> bool {
        matches!(
            self,
            Self::Status | Self::Explain { .. } | Self::History { .. }
        )
    }

    /// Whether the command needs Docker to be carried out.
    pub const fn needs_docker(&self) -> bool {
        matches!(
            self,
            Self::Stop { .. } | Self::Start { .. } | Self::Restart { .. }
        )
    }

    /// Verb of the command, in subjects and on command lines.
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Explain { .. } => "explain",
            Self::History { .. } => "history",
            Self::Stop { .. } => "stop",
            Self::Start { .. } => "start",
            Self::Restart { .. } => "restart",
            Self::Hold { .. } => "hold",
            Self::Release { .. } => "release",
            Self::Forget { .. } => "forget",
        }
    }
}

/// Request to the notifier, on `command.v1.notifier.resend`: send dead letters again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResendRequest {
    /// Version of the message.
    pub v: u16,
    /// Operator who gave the command.
    pub by: String,
    /// Dead letters to send.
    pub selection: DeadLetterSelection,
}

/// A selection of dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "which", rename_all = "snake_case")]
pub enum DeadLetterSelection {
    /// Every dead letter that the notifier holds.
    All,
    /// The dead letter with this number.
    One {
        /// Number that `notifier status` shows.
        number: u64,
    },
}

/// One unit in the data of the reply to `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitStatus {
    /// Name of the unit.
    pub unit: SubjectToken,
    /// Phase of the unit, such as `running` or `restart_pending`.
    pub phase: String,
    /// The hold on the unit; `None` without one.
    pub hold: Option<UnitHold>,
    /// Time at which the phase began.
    pub since: UtcMs,
    /// Restarts that were used.
    pub restarts: u32,
    /// Restarts that the restart policy allows.
    pub max_restarts: u32,
    /// Failures without a healthy run between them.
    pub consecutive_failures: u32,
    /// Milliseconds until the next start; `None` if no start is scheduled.
    pub next_start_ms: Option<u64>,
    /// Reason of the last restart; `None` before the first.
    pub last_reason: Option<String>,
}

/// A hold on a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitHold {
    /// Operator who gave the command.
    pub by: String,
    /// Reason of the hold.
    pub reason: String,
}

/// A Compose service that an operator holds, or that is quarantined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Service and number, such as `nats-1`.
    pub service: SubjectToken,
    /// Whether the watchdog has given up restarting it.
    pub is_quarantined: bool,
    /// The hold on the service; `None` without one.
    pub hold: Option<UnitHold>,
    /// Restarts of the hung service in a row.
    pub restarts: u32,
}

/// Data of the reply to `status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitStatuses {
    /// Every known unit, by name.
    pub units: Vec<UnitStatus>,
    /// Why units cannot be judged now, in one line; `None` if all can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blindness: Option<String>,
    /// Services that are not restarted when they hang.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceStatus>,
    /// The last step of the host's wall clock that the watchdog has seen, in one line; `None` without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_step: Option<String>,
}

/// Reply to a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandReply {
    /// Version of the message.
    pub v: u16,
    /// Whether the command was executed.
    pub ok: bool,
    /// Result for people: one line, or the lines of a table.
    pub text: String,
    /// Result for programs; `None` if the text says all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
}
