//! Orders of a person to a service, as request and reply.

use serde::{Deserialize, Serialize};

use crate::ids::Token;

/// What a person asks of the watchdog, on `command.v1.watchdog.<verb>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Version of this message.
    pub v: u16,
    /// Who asks.
    pub by: String,
    /// What.
    #[serde(flatten)]
    pub order: UnitOrder,
}

/// The verbs of a watchdog. Those that only ask change nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum UnitOrder {
    /// Every unit, as a table. Only asks.
    Status,
    /// Why a unit is as it is, and what would help. Only asks.
    Explain {
        /// Which unit.
        unit: Token,
    },
    /// What was done about a unit, newest last, with what was found before it. Only asks.
    History {
        /// Which unit.
        unit: Token,
    },
    /// Stops it in good order and leaves it so.
    Stop {
        /// Which unit.
        unit: Token,
    },
    /// Starts what a person stopped.
    Start {
        /// Which unit.
        unit: Token,
    },
    /// Stops it in good order and starts it at once; costs no budget.
    Restart {
        /// Which unit.
        unit: Token,
    },
    /// Watches it and does nothing, until it is released.
    Hold {
        /// Which unit.
        unit: Token,
        /// Why.
        why: String,
    },
    /// Ends a hold or a quarantine; its failures in a row count from zero.
    Release {
        /// Which unit.
        unit: Token,
        /// Its restarts count from zero again, too.
        total: bool,
    },
}

impl UnitOrder {
    /// Which unit it is about; none for all of them.
    pub const fn unit(&self) -> Option<&Token> {
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
    pub const fn only_asks(&self) -> bool {
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
    pub letters: Letters,
}

/// Dead letters of the notifier's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "which", rename_all = "snake_case")]
pub enum Letters {
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
pub struct Answer {
    /// Version of this message.
    pub v: u16,
    /// It was obeyed.
    pub done: bool,
    /// In words: one line, or the lines of a table.
    pub text: String,
    /// The same for programs, where there is more to say than a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
}
