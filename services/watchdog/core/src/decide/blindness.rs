//! The records of a blindness: its begin, and its end with what was missed.

use protocol::ids::SubjectToken;
use protocol::time::UtcMs;

use crate::container::Container;
use crate::decision_inputs::DecisionInputs;
use crate::observed_state::{ObservedContainer, ObservedState};
use crate::phase::UnitPhase;
use crate::record::SupervisionRecord;
use crate::state::SupervisionState;
use crate::unit::Unit;

/// The record of a blindness that began or ended. `None` if nothing changed. Decided before the units: what was missed
/// follows from the state before it.
pub fn blindness_record(
    state: &SupervisionState,
    observed: &ObservedState,
    now: DecisionInputs,
) -> Option<SupervisionRecord> {
    let at = now.clock.utc;
    match (&state.blindness, observed.blindness(now.clock.mono)) {
        (None, Some(blindness)) => Some(SupervisionRecord::BlindnessBegan {
            at: UtcMs(at.0.saturating_sub(i64::try_from(blindness.for_ms).unwrap_or(i64::MAX))),
            reason: blindness.reason,
            units: blindness.units,
        }),
        (Some(known), None) if !observed.has_obstacle() => {
            Some(SupervisionRecord::BlindnessEnded {
                at,
                for_ms: observed
                    .blind_for(now.clock.mono)
                    .unwrap_or_else(|| at.millis_since(known.since)),
                missed: missed(state, observed),
            })
        }
        _ => None,
    }
}

/// What happened to units, one line each.
fn missed(state: &SupervisionState, observed: &ObservedState) -> Vec<String> {
    let changes = state.units.iter().filter_map(|(name, unit)| {
        let container = &observed.unit(name)?.container;
        change(name, unit, container)
    });
    changes.collect()
}

fn change(name: &SubjectToken, unit: &Unit, container: &ObservedContainer) -> Option<String> {
    let (UnitPhase::Running(run) | UnitPhase::Stopping { run, .. }) = &unit.phase else {
        return None;
    };
    match container {
        ObservedContainer::Missing => Some(format!("{name} was removed")),
        ObservedContainer::Present(container) if container.run != *run => {
            Some(format!("{name} was started again"))
        }
        ObservedContainer::Present(container) => {
            let exit = Container::exit(container)?;
            Some(format!("{name} has ended (exit {})", exit.code))
        }
        ObservedContainer::Unknown | ObservedContainer::Excluded(_) => None,
    }
}
