//! Ends a process whose loop is stuck, so that whoever keeps it starts it again: a thread that is held can be freed
//! in no other way. Looked at from a plain thread, because what is stuck may hold everything else.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use protocol::exit::ExitCode;

use crate::process::{Stop, complain};
use crate::progress::PartProgress;

const LOOK: Duration = Duration::from_secs(3);
/// Without a sign of life at so many looks in a row a loop is stuck: 30 s, where a turn takes milliseconds and every
/// call to the outside gives up sooner. Looks are counted, not time, because a process that was frozen or got no CPU
/// made none either.
const LOOKS: u32 = 10;

/// Looks at this part from now on, for as long as it exists.
///
/// # Errors
/// Exit 70 if there can be no thread.
pub fn end_when_stuck(part: &Arc<PartProgress>) -> Result<(), Stop> {
    let part = Arc::downgrade(part);
    let began = thread::Builder::new()
        .name("stuck".to_owned())
        .spawn(move || look(&part));
    began
        .map(|_| ())
        .map_err(|error| Stop::internal(format!("cannot start a thread: {error}")))
}

#[allow(
    clippy::disallowed_methods,
    reason = "a thread that is held cannot be waited for: there is no way out through main"
)]
fn look(part: &Weak<PartProgress>) {
    let mut patience = Patience::default();
    loop {
        thread::sleep(LOOK);
        let Some(part) = part.upgrade() else {
            return;
        };
        if patience.is_over(part.signs()) {
            complain(&format!(
                "its loop is stuck: no sign of life for {} s; ending, so that it is started again",
                (LOOK * LOOKS).as_secs()
            ));
            std::process::exit(ExitCode::Internal.number().into());
        }
    }
}

/// At how many looks in a row nothing had happened.
#[derive(Debug, Default)]
struct Patience {
    signs: u64,
    in_vain: u32,
}

impl Patience {
    /// Takes in one look.
    const fn is_over(&mut self, signs: u64) -> bool {
        self.in_vain = if signs == self.signs {
            self.in_vain + 1
        } else {
            0
        };
        self.signs = signs;
        self.in_vain >= LOOKS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::heartbeat::PartState;

    #[test]
    fn only_a_loop_that_shows_no_sign_of_life_at_many_looks_in_a_row_is_stuck() {
        let mut patience = Patience::default();
        let stuck_after =
            |patience: &mut Patience, signs| (1..=LOOKS * 2).find(|_| patience.is_over(signs));
        assert!((1..LOOKS * 9).all(|look| !patience.is_over(u64::from(look / 8))));
        assert_eq!(stuck_after(&mut patience, 77), Some(LOOKS + 1));
    }

    #[test]
    fn who_waits_for_something_else_lives_and_is_not_well() {
        let part = PartProgress::default();
        part.turn();
        part.waits();
        assert_eq!(part.signs(), 2);
        assert_eq!(part.view().state, PartState::Retrying);
    }
}
