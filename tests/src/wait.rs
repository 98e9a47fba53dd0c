//! Polling with a deadline ([`eventually`]) and repeatable randomness ([`SeededRandom`]).

use std::ops::Range;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::time::{Instant, sleep};

/// Long enough for any start or recovery on a busy machine with two cores.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Polls `probe` until it returns a value. Panics with `what` after `within`.
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        sleep(POLL_INTERVAL).await;
    }
}

/// Seeded random numbers. The seed is printed; `BEARISH_TEST_SEED` sets it.
pub struct SeededRandom {
    seed: u64,
    generator: ChaCha8Rng,
}

impl SeededRandom {
    /// Creates a generator with the seed of `BEARISH_TEST_SEED`, or a new one.
    pub fn new() -> Self {
        let seed = std::env::var("BEARISH_TEST_SEED").map_or_else(
            |_| runtime::clock::now().0.unsigned_abs() ^ u64::from(std::process::id()),
            |text| text.parse().expect("BEARISH_TEST_SEED is a number"),
        );
        eprintln!("random seed: BEARISH_TEST_SEED={seed}");
        Self {
            seed,
            generator: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// Seed with which the test can be repeated.
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// A random duration from this range of milliseconds.
    pub fn duration_ms(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.generator.random_range(range))
    }

    /// A random number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.generator.random_range(0..bound)
    }

    /// A random element of `values`.
    pub fn choose<'a, T>(&mut self, values: &'a [T]) -> &'a T {
        &values[self.generator.random_range(0..values.len())]
    }
}

impl Default for SeededRandom {
    fn default() -> Self {
        Self::new()
    }
}
