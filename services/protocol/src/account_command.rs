//! Operator commands for an account, stored in the journal `journal.v1.account_command.<account>`.
//!
//! A command is stored whether or not a trader is running. The account leader executes each command once.

use serde::{Deserialize, Serialize};

use crate::ids::SubjectToken;

/// One operator command with its origin, as stored in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountCommandRecord {
    /// Command that the account leader executes.
    #[serde(flatten)]
    pub command: AccountCommand,
    /// Operator who gave the command.
    pub by: String,
    /// Reason the operator gave.
    pub reason: String,
}

/// A command that an operator can give for an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum AccountCommand {
    /// Stops entries; open positions are still managed.
    Pause {
        /// Symbol whose book is paused; `None` pauses all books of the account.
        #[serde(skip_serializing_if = "Option::is_none")]
        symbol: Option<SubjectToken>,
    },
    /// Ends one pause, or all pauses of the account.
    Resume {
        /// Symbol whose pause ends; `None` ends every pause of the account.
        #[serde(skip_serializing_if = "Option::is_none")]
        symbol: Option<SubjectToken>,
    },
    /// Closes all positions and latches the account.
    Flatten,
    /// Accepts an unexplained difference of the balance: the balance check counts on from there.
    Accept {
        /// Id of the difference; another difference is not accepted.
        difference_id: String,
    },
    /// Ends the latch of the account that has this id.
    Unlatch {
        /// Id of the latch; another latch is not ended.
        latch_id: String,
    },
}

impl AccountCommand {
    /// Verb of the command, as stored and as typed.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pause { .. } => "pause",
            Self::Resume { .. } => "resume",
            Self::Flatten => "flatten",
            Self::Accept { .. } => "accept",
            Self::Unlatch { .. } => "unlatch",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_command_record_round_trips() {
        let record = |command| AccountCommandRecord {
            command,
            by: "operator".to_owned(),
            reason: "a wick".to_owned(),
        };
        let symbol = Some("BTCUSDT".parse().unwrap());
        let latch = "daily_loss-1".to_owned();
        for (command, json) in [
            (
                AccountCommand::Pause { symbol: None },
                r#""command":"pause""#,
            ),
            (
                AccountCommand::Resume { symbol },
                r#""command":"resume","symbol":"BTCUSDT""#,
            ),
            (AccountCommand::Flatten, r#""command":"flatten""#),
            (
                AccountCommand::Accept {
                    difference_id: "balance-1".to_owned(),
                },
                r#""command":"accept","difference_id":"balance-1""#,
            ),
            (
                AccountCommand::Unlatch { latch_id: latch },
                r#""command":"unlatch","latch_id":"daily_loss-1""#,
            ),
        ] {
            let record = record(command);
            let text = serde_json::to_string(&record).unwrap();
            assert_eq!(
                text,
                format!(r#"{{{json},"by":"operator","reason":"a wick"}}"#)
            );
            assert_eq!(
                serde_json::from_str::<AccountCommandRecord>(&text).unwrap(),
                record
            );
        }
        assert!(
            serde_json::from_str::<AccountCommandRecord>(
                r#"{"command":"sell","by":"x","reason":"y"}"#
            )
            .is_err()
        );
    }
}
