//! Which command brings a unit back: what messages, `explain` and the rules of commands agree about.

use protocol::unit_remedy::UnitRemedy;

use crate::model::Latch;
use crate::reason::{NoRestartReason, QuarantineReason};

/// The command that ends a quarantine. `latch` is the latch that the unit ended for, if it is known.
pub fn of_quarantine(reason: QuarantineReason, latch: Option<&Latch>) -> UnitRemedy {
    match (reason, latch) {
        (QuarantineReason::MaxRestarts, _) => UnitRemedy::Release {
            reset_restarts: true,
        },
        (QuarantineReason::ConsecutiveFailures | QuarantineReason::RestartBudget, _) => {
            UnitRemedy::Release {
                reset_restarts: false,
            }
        }
        (QuarantineReason::AccountLatched, Some(latch)) => UnitRemedy::Unlatch {
            account: latch.account.clone(),
            latch: latch.id.clone(),
        },
        (QuarantineReason::AccountLatched, None) => UnitRemedy::FindLatch,
        (QuarantineReason::Misconfigured, _) => UnitRemedy::Reconfigure,
    }
}

/// The command that starts a unit that ended and is not restarted. Under a hold `start` is rejected.
pub const fn of_end(reason: NoRestartReason) -> UnitRemedy {
    match reason {
        NoRestartReason::OnHold => UnitRemedy::Release {
            reset_restarts: false,
        },
        NoRestartReason::Finished
        | NoRestartReason::BeforeSupervision
        | NoRestartReason::NoAutoRestart
        | NoRestartReason::NoPolicy
        | NoRestartReason::StartFailed => UnitRemedy::Start,
    }
}
