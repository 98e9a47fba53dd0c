//! Ends a process whose loop is stuck, so that whoever keeps it starts it again: a thread that is held can be freed
//! in no other way. Looked at from a plain thread, because what is stuck may hold everything else.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use protocol::exit_code::ExitCode;

use crate::components::ComponentHandle;
use crate::process::{ExitError, print_error};

const POLL_INTERVAL: Duration = Duration::from_secs(3);
/// Without a sign of life at so many looks in a row a loop is stuck: 30 s, where a turn takes milliseconds and every
/// call to the outside gives up sooner. Looks are counted, not time, because a process that was frozen or got no CPU
/// made none either.
const MAX_MISSES: u32 = 10;

/// Looks at this part from now on, for as long as it exists.
///
/// # Errors
/// Exit 70 if there can be no thread.
pub fn exit_when_hung(component: &Arc<ComponentHandle>) -> Result<(), ExitError> {
    let part = Arc::downgrade(component);
    let began = thread::Builder::new()
        .name("hang-detector".to_owned())
        .spawn(move || poll_until_hung(&part));
    began
        .map(|_| ())
        .map_err(|error| ExitError::internal(format!("cannot start a thread: {error}")))
}

#[allow(
    clippy::disallowed_methods,
    reason = "a thread that is held cannot be waited for: there is no way out through main"
)]
fn poll_until_hung(component: &Weak<ComponentHandle>) {
    let mut misses = MissCounter::default();
    loop {
        thread::sleep(POLL_INTERVAL);
        let Some(part) = component.upgrade() else {
            return;
        };
        if misses.observe(part.activity_count()) {
            print_error(&format!(
                "its loop is stuck: no sign of life for {} s; ending, so that it is started again",
                (POLL_INTERVAL * MAX_MISSES).as_secs()
            ));
            std::process::exit(ExitCode::Internal.number().into());
        }
    }
}

/// At how many looks in a row nothing had happened.
#[derive(Debug, Default)]
struct MissCounter {
    last_activity: u64,
    misses: u32,
}

impl MissCounter {
    /// Takes in one look.
    const fn observe(&mut self, activity: u64) -> bool {
        self.misses = if activity == self.last_activity {
            self.misses + 1
        } else {
            0
        };
        self.last_activity = activity;
        self.misses >= MAX_MISSES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::heartbeat::ComponentState;

    #[test]
    fn loop_is_hung_after_many_polls_in_a_row_without_activity() {
        let mut patience = MissCounter::default();
        let stuck_after = |patience: &mut MissCounter, signs| {
            (1..=MAX_MISSES * 2).find(|_| patience.observe(signs))
        };
        assert!((1..MAX_MISSES * 9).all(|look| !patience.observe(u64::from(look / 8))));
        assert_eq!(stuck_after(&mut patience, 77), Some(MAX_MISSES + 1));
    }

    #[test]
    fn component_that_waits_is_active_and_retrying() {
        let part = ComponentHandle::default();
        part.record_iteration();
        part.record_retry();
        assert_eq!(part.activity_count(), 2);
        assert_eq!(part.status().state, ComponentState::Retrying);
    }
}
