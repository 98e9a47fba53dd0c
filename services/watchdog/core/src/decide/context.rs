//! The inputs of one decision, shared by all its rules.

use protocol::ids::SubjectToken;

use crate::decision_inputs::DecisionInputs;
use crate::liveness::Liveness;
use crate::observed_state::{ObservedState, ObservedUnit};
use crate::state::SupervisionState;
use crate::unit::Unit;

/// Everything that the rules about one unit read.
pub(super) struct DecisionContext<'a> {
    pub(super) name: &'a SubjectToken,
    pub(super) state: &'a SupervisionState,
    pub(super) unit: &'a Unit,
    pub(super) observed_state: &'a ObservedState,
    pub(super) observed_unit: &'a ObservedUnit,
    pub(super) now: DecisionInputs,
}

impl DecisionContext<'_> {
    pub(super) fn was_long_healthy(&self) -> bool {
        u128::from(self.healthy_ms()) >= self.unit.min_healthy_run().as_millis()
    }

    /// How long the process has been healthy, by its own monotonic clock, in milliseconds.
    pub(super) fn healthy_ms(&self) -> u64 {
        let liveness = self.observed_unit.liveness.as_ref();
        match (liveness, &self.unit.healthy_since) {
            (Some(Liveness { heartbeat, .. }), Some(healthy)) if heartbeat.boot == healthy.boot => {
                heartbeat.uptime_ms.saturating_sub(healthy.uptime_ms)
            }
            _ => 0,
        }
    }
}
