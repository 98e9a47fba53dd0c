//! Command that brings a unit back.

use serde::{Deserialize, Serialize};

use crate::ids::AccountKey;

/// Command that brings a unit back. The watchdog accepts it in the state in which it names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum UnitRemedy {
    /// `start` of a unit that ended.
    Start,
    /// `restart` of a unit that runs.
    Restart,
    /// `release` of a hold or a quarantine.
    Release {
        /// Whether the restarts must be reset too: all of them are used.
        reset_restarts: bool,
    },
    /// `unlatch` of the unit's account; the watchdog then starts the unit.
    Unlatch {
        /// Account that is latched.
        account: AccountKey,
        /// Id of the latch.
        latch: String,
    },
    /// `unlatch` with the id that `status` names: the unit ended before it reported its latch.
    FindLatch,
    /// A corrected setting and `scripts/up`: a container keeps its settings.
    Reconfigure,
}
