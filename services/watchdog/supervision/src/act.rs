//! Which call to make: read off the folded state, so that no call is made without an earlier record.

use protocol::ids::Token;

use crate::container::Run;
use crate::moment::Moment;
use crate::phase::Phase;
use crate::state::State;
use crate::watch::{Seen, Watch};

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
pub fn due(state: &State, watch: &Watch, name: &Token, now: Moment) -> Option<Action> {
    let (unit, sight) = (state.units.get(name)?, watch.of(name)?);
    let Seen::Here(here) = &sight.seen else {
        return None;
    };
    if unit.held.is_some()
        || sight.in_flight.is_some()
        || !watch.engine()
        || unit.phase.run() != Some(&here.run)
    {
        return None;
    }
    let run = here.run.clone();
    match unit.phase {
        Phase::Stopping { grace_ms, .. } if here.lives() && now.mono >= sight.stop_again() => {
            Some(Action::Stop { run, grace_ms })
        }
        Phase::Starting { .. }
            if here.exit().is_some() && sight.start_failure(unit.starts).is_none() =>
        {
            Some(Action::Start { run })
        }
        _ => None,
    }
}
