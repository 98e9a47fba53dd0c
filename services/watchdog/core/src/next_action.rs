//! The Docker call that is due, derived from the folded journal: no call is made without an earlier record.

use protocol::ids::SubjectToken;

use crate::decision_inputs::DecisionInputs;
use crate::model::Action;
use crate::observed_state::{ObservedContainer, ObservedState};
use crate::phase::UnitPhase;
use crate::state::SupervisionState;

/// The due call of a unit. `None` while the unit is on hold, a call is in flight, or the state of the container is not
/// known.
pub fn due_action(
    state: &SupervisionState,
    observed: &ObservedState,
    name: &SubjectToken,
    now: DecisionInputs,
) -> Option<Action> {
    let (unit, observed_unit) = (state.units.get(name)?, observed.unit(name)?);
    let ObservedContainer::Present(container) = &observed_unit.container else {
        return None;
    };
    if unit.hold.is_some()
        || observed_unit.in_flight.is_some()
        || !observed.is_docker_reachable()
        || unit.phase.run() != Some(&container.run)
    {
        return None;
    }
    let run = container.run.clone();
    match unit.phase {
        UnitPhase::Stopping { grace_ms, .. }
            if container.is_alive() && now.clock.mono >= observed_unit.stop_retry_at() =>
        {
            Some(Action::Stop { run, grace_ms })
        }
        UnitPhase::Starting { .. }
            if container.exit().is_some()
                && observed_unit.obstacle().is_none()
                && observed_unit.start_failure(unit.starts).is_none() =>
        {
            Some(Action::Start { run })
        }
        _ => None,
    }
}
