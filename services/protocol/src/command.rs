//! Orders of a person to a service, as request and reply.

use serde::{Deserialize, Serialize};

use crate::ids::SubjectToken;

/// What a person asks of the watchdog, on `command.v1.watchdog.<verb>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitCommandRequest {
    /// Version of this message.
    pub v: u16,
    /// Who asks.
    pub by: String,
    /// What.
    #[serde(flatten)]
    pub command: UnitCommand,
}

/// The verbs of a watchdog. Those that only ask change nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum UnitCommand {
    /// Every unit, as a table. Only asks.
    Status,
    /// Why a unit is as it is, and what would help. Only asks.
    Explain {
        /// Which unit.
        unit: SubjectToken,
    },
    /// What was done about a unit, newest last, with what was found before it. Only asks.
    History {
        /// Which unit.
        unit: SubjectToken,
    },
    /// Stops it in good order and leaves it so.
    Stop {
        /// Which unit.
        unit: SubjectToken,
    },
    /// Starts what a person stopped.
    Start {
        /// Which unit.
        unit: SubjectToken,
    },
    /// Stops it in good order and starts it at once; costs no budget.
    Restart {
        /// Which unit.
        unit: SubjectToken,
    },
    /// Watches it and does nothing, until it is released.
    Hold {
        /// Which unit.
        unit: SubjectToken,
        /// Why.
        reason: String,
    },
    /// Ends a hold or a quarantine; its failures in a row count from zero.
    Release {
        /// Which unit.
        unit: SubjectToken,
        /// Its restarts count from zero again, too.
        reset_restarts: bool,
    },
}

impl UnitCommand {
    /// Which unit it is about; none for all of them.
    pub const fn unit(&self) -> Option<&SubjectToken> {
        match self {
            Self::Status => None,
            Self::Explain { unit }
            | Self::History { unit }
            | Self::Stop { unit }
            | Self::Start { unit }
            | Self::Restart { unit }
            | Self::Hold { unit, .. }
            | Self::Release { unit, .. } => Some(unit),
        }
    }

    /// Whether it changes nothing.
    pub const fn is_read_only(&self) -> bool {
        matches!(
            self,
            Self::Status | Self::Explain { .. } | Self::History { .. }
        )
    }

    /// The word in subjects and on command lines.
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
        }
    }
}

/// What a person asks of the notifier, on `command.v1.notifier.resend`: to send again what Telegram refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResendRequest {
    /// Version of this message.
    pub v: u16,
    /// Who asks.
    pub by: String,
    /// Which.
    pub selection: DeadLetterSelection,
}

/// Dead letters of the notifier's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "which", rename_all = "snake_case")]
pub enum DeadLetterSelection {
    /// All of them.
    All,
    /// This one.
    One {
        /// As the notifier's `status` shows it.
        number: u64,
    },
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandReply {
    /// Version of this message.
    pub v: u16,
    /// It was obeyed.
    pub ok: bool,
    /// In words: one line, or the lines of a table.
    pub text: String,
    /// The same for programs, where there is more to say than a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
}
