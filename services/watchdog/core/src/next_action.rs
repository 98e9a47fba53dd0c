//! Which call to make: read off the folded state, so that no call is made without an earlier record.

use protocol::ids::SubjectToken;

use crate::container::Run;
use crate::decision_inputs::DecisionInputs;
use crate::observed_state::{ObservedContainer, ObservedState};
use crate::phase::UnitPhase;
use crate::state::SupervisionState;

/// A call to the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// End this run: SIGTERM, and SIGKILL after the grace.
    Stop {
        /// Which run.
        run: Run,
        /// In milliseconds.
        grace_ms: u64,
    },
    /// Start this container again; its last run tells a start that was made from one that was not.
    Start {
        /// Its last run.
        run: Run,
    },
}

impl Action {
    /// Its name in logs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Stop { .. } => "stop",
            Self::Start { .. } => "start",
        }
    }
}

/// The call that is due for a unit; none while it is held, while another one is under way, or while the
/// engine's present state is not known.
pub fn due_action(
    state: &SupervisionState,
    observed: &ObservedState,
    name: &SubjectToken,
    now: DecisionInputs,
) -> Option<Action> {
    let (unit, sight) = (state.units.get(name)?, observed.unit(name)?);
    let ObservedContainer::Present(here) = &sight.container else {
        return None;
    };
    if unit.hold.is_some()
        || sight.in_flight.is_some()
        || !observed.is_docker_reachable()
        || unit.phase.run() != Some(&here.run)
    {
        return None;
    }
    let run = here.run.clone();
    match unit.phase {
        UnitPhase::Stopping { grace_ms, .. }
            if here.is_alive() && now.mono >= sight.stop_retry_at() =>
        {
            Some(Action::Stop { run, grace_ms })
        }
        UnitPhase::Starting { .. }
            if here.exit().is_some() && sight.start_failure(unit.starts).is_none() =>
        {
            Some(Action::Start { run })
        }
        _ => None,
    }
}
