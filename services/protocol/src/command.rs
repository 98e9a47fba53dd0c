//! Orders of a person to a service, as request and reply.

use serde::{Deserialize, Serialize};

use crate::ids::Token;

/// Asks the watchdog to end a unit's quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Version of this message.
    pub v: u16,
    /// Which unit.
    pub unit: Token,
    /// Who asks.
    pub by: String,
    /// Its restarts count from zero again, too.
    pub total: bool,
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Version of this message.
    pub v: u16,
    /// It was obeyed.
    pub done: bool,
    /// In words.
    pub text: String,
}
