//! Waiting for what must come, with a deadline; and chance that can be repeated.

use std::ops::Range;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::time::{Instant, sleep};

/// Enough for any start or recovery on a busy machine of two cores.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The first answer of `probe`, which is asked until there is one. Panics with `benchmark` after `within`.
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(answer) = probe().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        sleep(POLL_INTERVAL).await;
    }
}

/// Random moments. The seed is printed, and taken from `BEARISH_TEST_SEED` if that is set.
pub struct SeededRandom(ChaCha8Rng);

impl SeededRandom {
    /// New ones.
    pub fn new() -> Self {
        let seed = std::env::var("BEARISH_TEST_SEED").map_or_else(
            |_| runtime::clock::now().0.unsigned_abs() ^ u64::from(std::process::id()),
            |text| text.parse().expect("BEARISH_TEST_SEED is a number"),
        );
        eprintln!("dice: BEARISH_TEST_SEED={seed}");
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A time out of this range of milliseconds.
    pub fn duration_ms(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.0.random_range(range))
    }

    /// A number below this one.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.random_range(0..bound)
    }

    /// One of these.
    pub fn choose<'a, T>(&mut self, these: &'a [T]) -> &'a T {
        &these[self.0.random_range(0..these.len())]
    }
}

impl Default for SeededRandom {
    fn default() -> Self {
        Self::new()
    }
}
