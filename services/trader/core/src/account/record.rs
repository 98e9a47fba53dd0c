//! Records of an account's journal.

use std::collections::BTreeMap;
use std::fmt;

use protocol::event::OpenPosition;
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::circuit_breaker::Breaker;
use crate::orders::InstallationId;

/// One fact in an account's journal. Amounts are in the quote currency, times are exchange times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AccountRecord {
    /// The operator opened a live account on this bus. A live account without this record is not traded.
    AccountOpened {
        /// Installation id that the account's client order ids carry.
        installation_id: InstallationId,
        /// User name of the operator who opened the account.
        by: String,
    },
    /// Another process writes this journal from here on.
    WriterChanged {
        /// Boot id of the new writer.
        boot: SubjectToken,
        /// Instance name of the new writer.
        instance: SubjectToken,
    },
    /// Equity and peaks that a restart must know.
    ValueRecorded(AccountValue),
    /// An account breaker tripped, or the operator flattened the account: all positions are closed, no book enters.
    Latched(Latch),
    /// The latched account is flat: every journal of its books says so, and in live mode the exchange too.
    Flattened(Flattened),
    /// Positions of the latched account are still open; the operator has been notified.
    StillOpen(StillOpen),
    /// The operator ended the latch.
    Unlatched(UnlatchCommand),
    /// The operator paused entries.
    EntriesPaused(Pause),
    /// The operator resumed entries.
    EntriesResumed(Pause),
    /// The balance check counts from here on.
    BalanceBaselined(BalanceBaseline),
    /// Money was moved into or out of the account.
    FundsTransferred(FundsTransfer),
    /// Nothing explains the balance: no book enters.
    BalanceDiffers(BalanceDifference),
    /// The difference has explained itself: books may enter again.
    BalanceExplained {
        /// Id of the difference.
        difference_id: String,
        /// Balance on the exchange.
        balance: Decimal,
    },
    /// The operator accepted a difference: books may enter again.
    DifferenceAccepted(AcceptedDifference),
}

impl AccountRecord {
    /// The latch that this record begins; `None` for another record.
    pub const fn latch_mut(&mut self) -> Option<&mut Latch> {
        match self {
            Self::Latched(latch) => Some(latch),
            _ => None,
        }
    }
}

/// Equity of an account with its all-time and daily peak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountValue {
    /// Time of the valuation.
    pub at: UtcMs,
    /// Capital of all books together.
    pub capital: Decimal,
    /// Equity of all books together, unrealized profit included.
    pub equity: Decimal,
    /// Highest equity since the last latch.
    pub peak: Decimal,
    /// Highest equity of this UTC day.
    pub day_peak: Decimal,
}

/// Lock on an account: all positions are closed, and no book enters until the operator unlatches it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latch {
    /// Id that the operator names to end the latch.
    pub latch_id: String,
    /// What latched the account.
    pub trigger: LatchReason,
    /// Time at which the account was latched.
    pub at: UtcMs,
    /// Equity of the account at that time.
    pub equity: Decimal,
    /// Peak from which the equity fell.
    pub peak: Decimal,
    /// The operator's command; `None` if a breaker tripped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandSource>,
    /// Positions that were open at that time, and entries that could still open one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub positions: Vec<OpenPosition>,
}

/// Result of closing a latched account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flattened {
    /// Id of the latch.
    pub latch_id: String,
    /// Positions that were closed since the latch.
    pub trades: u64,
    /// Profit of these positions after fees and funding; negative for a loss.
    pub pnl: Decimal,
    /// Equity of all books afterwards.
    pub equity: Decimal,
}

/// Positions of a latched account that are not closed in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StillOpen {
    /// Id of the latch.
    pub latch_id: String,
    /// Number of this reminder of the latch, from 1.
    pub reminder: u32,
    /// Time since the latch in milliseconds, wall clock.
    pub after_ms: u64,
    /// The positions, with what protects each.
    pub positions: Vec<OpenPosition>,
}

/// What can latch an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LatchReason {
    /// The breaker for the loss of one day.
    DailyLoss,
    /// The breaker for the fall from the highest equity.
    Drawdown,
    /// The operator's command `flatten`.
    Operator,
}

impl LatchReason {
    /// Name of the breaker, or `operator`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DailyLoss => Breaker::DailyLoss.as_str(),
            Self::Drawdown => Breaker::Drawdown.as_str(),
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for LatchReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Author, reason and journal position of an operator's command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandSource {
    /// Who gave the command.
    pub by: String,
    /// Reason that was given.
    pub reason: String,
    /// Sequence of the command in the operator journal: each command is executed once.
    #[serde(default)]
    pub seq: u64,
}

/// The operator's command that ended a latch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnlatchCommand {
    /// Id of the ended latch.
    pub latch_id: String,
    /// Author, reason and sequence of the command.
    #[serde(flatten)]
    pub source: CommandSource,
}

/// Entries that the operator paused or resumed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Symbol whose entries are meant; `None` for all symbols of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<SubjectToken>,
    /// Author, reason and sequence of the command.
    #[serde(flatten)]
    pub source: CommandSource,
}

/// State from which the check counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalanceBaseline {
    /// Exchange time: later cash flows count.
    pub at: UtcMs,
    /// Balance that was expected at that time.
    pub balance: Decimal,
    /// What each book had changed on the balance; a book that is not listed, nothing.
    pub books: BTreeMap<SubjectToken, Decimal>,
    /// Cash flows since the last baseline that are no book's: sums by kind, or by kind and symbol.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub explained: BTreeMap<String, Decimal>,
}

/// A difference of the balance that nothing explains. Entries are stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalanceDifference {
    /// Id that the operator names to accept the difference.
    pub difference_id: String,
    /// Balance less what is expected.
    pub amount: Decimal,
    /// The baseline that follows if the operator accepts the difference.
    pub accepted_as: BalanceBaseline,
    /// Sums that the exchange lists and a book's journal does not have, by symbol.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unbooked: BTreeMap<String, Decimal>,
}

/// Money that was moved into or out of the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FundsTransfer {
    /// Id of the cash flow.
    pub id: String,
    /// Exchange time.
    pub at: UtcMs,
    /// Amount: positive for a deposit, negative for a withdrawal.
    pub amount: Decimal,
    /// The exchange's name for the kind of transfer.
    pub name: String,
    /// Balance on the exchange when it was booked.
    pub balance: Decimal,
    /// Equity of all books at that time; `None` before the first valuation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equity: Option<Decimal>,
}

/// The operator's command that accepted a difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedDifference {
    /// Id of the difference.
    pub difference_id: String,
    /// The difference.
    pub amount: Decimal,
    /// Author, reason and sequence of the command.
    #[serde(flatten)]
    pub source: CommandSource,
}
