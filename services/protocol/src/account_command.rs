//! A person's word about an account, on the journal `journal.v1.account_command.<account>`: it is stored whether or
//! not a trader lives to hear it. The account's keeper carries it out, once.

use serde::{Deserialize, Serialize};

use crate::ids::SubjectToken;

/// What a person said, who it was, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountCommandRecord {
    /// What is to be done.
    #[serde(flatten)]
    pub command: AccountCommand,
    /// Who said it.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// What a person may order for an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", tag = "command", rename_all = "snake_case")]
pub enum AccountCommand {
    /// No entries; positions are managed as before.
    Pause {
        /// Only this symbol's book; all of them without.
        #[serde(skip_serializing_if = "Option::is_none")]
        symbol: Option<SubjectToken>,
    },
    /// Ends a pause: the one of this symbol, or every one.
    Resume {
        /// Only this symbol's.
        #[serde(skip_serializing_if = "Option::is_none")]
        symbol: Option<SubjectToken>,
    },
    /// Closes everything and latches the account.
    Flatten,
    /// Ends the latch of this id, and no other.
    Unlatch {
        /// The latch.
        latch_id: String,
    },
}

impl AccountCommand {
    /// Its verb.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pause { .. } => "pause",
            Self::Resume { .. } => "resume",
            Self::Flatten => "flatten",
            Self::Unlatch { .. } => "unlatch",
        }
    }
}

/// As it lies in a journal: before there were other orders, it was always an unlatch and did not say so.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    Named(Named),
    Unlatch { latch_id: String },
}

#[derive(Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
enum Named {
    Pause { symbol: Option<SubjectToken> },
    Resume { symbol: Option<SubjectToken> },
    Flatten,
    Unlatch { latch_id: String },
}

impl From<Stored> for AccountCommand {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Named(Named::Pause { symbol }) => Self::Pause { symbol },
            Stored::Named(Named::Resume { symbol }) => Self::Resume { symbol },
            Stored::Named(Named::Flatten) => Self::Flatten,
            Stored::Named(Named::Unlatch { latch_id: latch })
            | Stored::Unlatch { latch_id: latch } => Self::Unlatch { latch_id: latch },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_command_record_round_trips() {
        let word = |order| AccountCommandRecord {
            command: order,
            by: "operator".to_owned(),
            reason: "a wick".to_owned(),
        };
        let symbol = Some("BTCUSDT".parse().unwrap());
        let latch = "daily_loss-1".to_owned();
        for (order, json) in [
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
                AccountCommand::Unlatch { latch_id: latch },
                r#""command":"unlatch","latch_id":"daily_loss-1""#,
            ),
        ] {
            let word = word(order);
            let text = serde_json::to_string(&word).unwrap();
            assert_eq!(
                text,
                format!(r#"{{{json},"by":"operator","reason":"a wick"}}"#)
            );
            assert_eq!(
                serde_json::from_str::<AccountCommandRecord>(&text).unwrap(),
                word
            );
        }
        let before = r#"{"latch_id":"daily_loss-1","by":"operator","reason":"a wick"}"#;
        let order = serde_json::from_str::<AccountCommandRecord>(before)
            .unwrap()
            .command;
        assert_eq!(
            order,
            AccountCommand::Unlatch {
                latch_id: "daily_loss-1".to_owned()
            }
        );
        assert!(
            serde_json::from_str::<AccountCommandRecord>(
                r#"{"command":"sell","by":"x","reason":"y"}"#
            )
            .is_err()
        );
    }
}
