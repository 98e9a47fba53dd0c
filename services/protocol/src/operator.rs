//! A person's word about an account, on the journal `journal.v1.operator.<account>`: it is stored whether or
//! not a trader lives to hear it. The account's keeper carries it out, once.

use serde::{Deserialize, Serialize};

use crate::ids::Token;

/// What a person said, who it was, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// What is to be done.
    #[serde(flatten)]
    pub order: AccountOrder,
    /// Who said it.
    pub who: String,
    /// Why.
    pub why: String,
}

/// What a person may order for an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", tag = "order", rename_all = "snake_case")]
pub enum AccountOrder {
    /// No entries; positions are managed as before.
    Pause {
        /// Only this symbol's book; all of them without.
        #[serde(skip_serializing_if = "Option::is_none")]
        symbol: Option<Token>,
    },
    /// Ends a pause: the one of this symbol, or every one.
    Resume {
        /// Only this symbol's.
        #[serde(skip_serializing_if = "Option::is_none")]
        symbol: Option<Token>,
    },
    /// Closes everything and latches the account.
    Flatten,
    /// Ends the latch of this id, and no other.
    Unlatch {
        /// The latch.
        latch: String,
    },
}

impl AccountOrder {
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
    Unlatch { latch: String },
}

#[derive(Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
enum Named {
    Pause { symbol: Option<Token> },
    Resume { symbol: Option<Token> },
    Flatten,
    Unlatch { latch: String },
}

impl From<Stored> for AccountOrder {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Named(Named::Pause { symbol }) => Self::Pause { symbol },
            Stored::Named(Named::Resume { symbol }) => Self::Resume { symbol },
            Stored::Named(Named::Flatten) => Self::Flatten,
            Stored::Named(Named::Unlatch { latch }) | Stored::Unlatch { latch } => {
                Self::Unlatch { latch }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_read_as_it_was_written_and_so_is_one_from_before_there_were_others() {
        let word = |order| Word {
            order,
            who: "operator".to_owned(),
            why: "a wick".to_owned(),
        };
        let symbol = Some("BTCUSDT".parse().unwrap());
        let latch = "daily_loss-1".to_owned();
        for (order, json) in [
            (AccountOrder::Pause { symbol: None }, r#""order":"pause""#),
            (
                AccountOrder::Resume { symbol },
                r#""order":"resume","symbol":"BTCUSDT""#,
            ),
            (AccountOrder::Flatten, r#""order":"flatten""#),
            (
                AccountOrder::Unlatch { latch },
                r#""order":"unlatch","latch":"daily_loss-1""#,
            ),
        ] {
            let word = word(order);
            let text = serde_json::to_string(&word).unwrap();
            assert_eq!(
                text,
                format!(r#"{{{json},"who":"operator","why":"a wick"}}"#)
            );
            assert_eq!(serde_json::from_str::<Word>(&text).unwrap(), word);
        }
        let before = r#"{"latch":"daily_loss-1","who":"operator","why":"a wick"}"#;
        let order = serde_json::from_str::<Word>(before).unwrap().order;
        assert_eq!(
            order,
            AccountOrder::Unlatch {
                latch: "daily_loss-1".to_owned()
            }
        );
        assert!(serde_json::from_str::<Word>(r#"{"order":"sell","who":"x","why":"y"}"#).is_err());
    }
}
