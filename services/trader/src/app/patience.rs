//! Repeats the calls of a command within one deadline: one odd answer of the exchange or of the bus ends no command.
//! Entry point: [`Patience`].

use std::fmt::Display;
use std::io::Write;
use std::time::Duration;

use runtime::backoff::Backoff;
use tokio::time::{Instant, sleep, timeout_at};

/// Time for which the calls of a command are repeated.
const DEADLINE: Duration = Duration::from_secs(10);
/// Wait before a call is repeated.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(250),
    cap: Duration::from_secs(2),
};

/// The time that is left for the calls of one command.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    until: Instant,
}

impl Patience {
    /// The time begins now.
    pub fn start() -> Self {
        Self {
            until: Instant::now() + DEADLINE,
        }
    }

    /// No time: each call is made once.
    pub fn none() -> Self {
        Self {
            until: Instant::now(),
        }
    }

    /// Makes a call, and repeats it while it fails and time is left. The first failure is a line on standard error.
    ///
    /// # Errors
    /// The error of the last call, or the first that `is_final` accepts.
    pub async fn answer<T, E: Display>(
        self,
        what: &str,
        is_final: impl Fn(&E) -> bool,
        mut call: impl AsyncFnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        let mut failures = 0;
        loop {
            let error = match call().await {
                Ok(answer) => return Ok(answer),
                Err(error) if is_final(&error) || Instant::now() >= self.until => {
                    return Err(error);
                }
                Err(error) => error,
            };
            if failures == 0 {
                say_waiting(what, &error);
            }
            failures += 1;
            // The last try is at the deadline.
            let _: Result<(), _> = timeout_at(self.until, sleep(BACKOFF.wait(failures))).await;
        }
    }
}

/// Says on standard error what a command waits for. An error of writing it must not end the command.
pub fn say_waiting(what: &str, error: impl Display) {
    let _: std::io::Result<()> = writeln!(std::io::stderr(), "waiting for {what}: {error}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn call_is_repeated_until_it_is_answered_final_or_the_time_is_over() {
        let begun = Instant::now();
        let patience = Patience::start();
        let mut calls = 0;
        let mut odd_once = async || {
            calls += 1;
            if calls == 1 { Err("odd") } else { Ok(calls) }
        };
        let answer = patience.answer("a call", |_| false, &mut odd_once);
        assert_eq!(answer.await, Ok(2));
        let refused = patience.answer("a call", |_| true, async || Err::<(), _>("refused"));
        assert_eq!(refused.await, Err("refused"));
        assert!(begun.elapsed() < DEADLINE);
        let silent = patience.answer("a call", |_| false, async || Err::<(), _>("silent"));
        assert_eq!(silent.await, Err("silent"));
        assert!(begun.elapsed() >= DEADLINE && begun.elapsed() < 2 * DEADLINE);
    }
}
