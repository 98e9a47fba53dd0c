//! Whether a heartbeat can be of the unit that its subject names. The credential of a sender determines the mode in the
//! subject; project, host and instance are claims of the sender.

use protocol::ids::{Mode, SubjectToken};

use super::{ObservedContainer, ObservedState, ObservedUnit};
use crate::decision_inputs::DecisionInputs;
use crate::liveness::Liveness;
use crate::state::SupervisionState;

/// Names without a container and without a journaled record of which heartbeats are kept.
const MAX_UNKNOWN_UNITS: usize = 64;
/// Time after the last heartbeat after which such a name is forgotten, in milliseconds.
const UNKNOWN_UNIT_MS: u64 = 600_000;

impl ObservedState {
    /// Whether the heartbeat counts. False if the unit's container has another mode, or if it is one unknown name too
    /// many: the container of a unit makes it known.
    pub(super) fn accepts_heartbeat(
        &mut self,
        state: &SupervisionState,
        unit: &SubjectToken,
        mode: Mode,
        now: DecisionInputs,
    ) -> bool {
        if let Some(observed_unit) = self.units.get(unit) {
            return observed_unit.has_mode(mode);
        }
        if state.units.contains_key(unit) {
            return true;
        }
        let is_unknown = |name: &SubjectToken, observed_unit: &ObservedUnit| {
            !state.units.contains_key(name) && observed_unit.is_without_container()
        };
        self.units.retain(|name, observed_unit| {
            !is_unknown(name, observed_unit)
                || observed_unit.has_heartbeat_since(now.clock.mono.saturating_sub(UNKNOWN_UNIT_MS))
        });
        let unknown = self.units.iter();
        let unknown = unknown.filter(|(name, observed_unit)| is_unknown(name, observed_unit));
        unknown.count() < MAX_UNKNOWN_UNITS
    }
}

impl ObservedUnit {
    /// Whether the container, as far as it is known, runs a trader of this mode.
    pub(super) fn has_mode(&self, mode: Mode) -> bool {
        match &self.container {
            ObservedContainer::Present(container) => container.mode.is_none_or(|own| own == mode),
            ObservedContainer::Unknown
            | ObservedContainer::Missing
            | ObservedContainer::Excluded(_) => true,
        }
    }

    /// Drops heartbeats that were accepted before the container was known.
    pub(super) fn drop_heartbeats_of_other_mode(&mut self, mode: Option<Mode>) {
        let other = |liveness: &Liveness| mode.is_some_and(|mode| mode != liveness.heartbeat.mode);
        if self.liveness.as_ref().is_some_and(other) {
            self.liveness = None;
            self.duplicate = None;
        }
    }

    const fn is_without_container(&self) -> bool {
        matches!(
            self.container,
            ObservedContainer::Unknown | ObservedContainer::Missing
        )
    }

    /// Whether a heartbeat arrived after this time by the monotonic clock.
    fn has_heartbeat_since(&self, mono: u64) -> bool {
        let last = self.liveness.as_ref().map(|liveness| liveness.received_at);
        last.is_some_and(|last| last >= mono)
    }
}
