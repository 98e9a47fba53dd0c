//! Keeps the parts of a trader alive: one that fails is started again, with growing waits, without ending
//! the process. That is what `--infinite` means within; what cannot be helped by another start ends it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::event::EventBody;
use protocol::exit::ExitCode;
use protocol::heartbeat::PartState;
use runtime::process::Stop;
use runtime::progress::Progress;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::market::Backoff;

const BACKOFF: Backoff = Backoff {
    first: Duration::from_secs(1),
    cap: Duration::from_mins(1),
};
/// A part that ran so long has recovered: its next failure is a first one.
const RECOVERED: Duration = Duration::from_mins(1);

/// Who keeps them.
#[derive(Clone)]
pub struct Keeper {
    /// For heartbeats and the health report.
    pub progress: Arc<Progress>,
    /// Tells the owner.
    pub tell: Arc<dyn Fn(EventBody) + Send + Sync>,
    /// `--infinite`. Without it the first failure ends the process.
    pub enduring: bool,
}

impl Keeper {
    /// Runs a part until `stop`, again whenever it fails or panics.
    ///
    /// # Errors
    /// What another start would not mend; without `--infinite`, the first failure.
    pub async fn keep<P>(
        self,
        name: &'static str,
        stop: CancellationToken,
        part: impl Fn() -> P + Send,
    ) -> Result<(), Stop>
    where
        P: Future<Output = Result<(), Stop>> + Send + 'static,
    {
        let mut failures = 0;
        loop {
            let began = Instant::now();
            // A task of its own, so that its panic is ours to hear of.
            let mut task = JoinSet::new();
            task.spawn(part());
            let Some(ended) = task.join_next().await else {
                return Ok(());
            };
            let failure = match outcome(ended) {
                Ok(()) => return Ok(()),
                Err(failure) if !self.enduring || failure.code != ExitCode::Internal => {
                    return Err(failure);
                }
                Err(failure) => failure.message,
            };
            failures = if began.elapsed() >= RECOVERED {
                1
            } else {
                failures + 1
            };
            let wait = BACKOFF.wait(failures);
            self.tell_failure(name, failures, &failure);
            tracing::error!(
                part = name,
                failure,
                failures,
                ?wait,
                "part failed; starting it again"
            );
            if stop
                .run_until_cancelled(tokio::time::sleep(wait))
                .await
                .is_none()
            {
                return Ok(());
            }
        }
    }

    /// The owner hears of the first failure of a row.
    fn tell_failure(&self, name: &str, failures: u32, failure: &str) {
        self.progress.error(name, failure);
        self.progress.part(name).set(PartState::Retrying);
        if failures == 1 {
            (self.tell)(EventBody::PartFailed {
                part: name.to_owned(),
                error: failure.to_owned(),
            });
        }
    }
}

fn outcome(ended: Result<Result<(), Stop>, JoinError>) -> Result<(), Stop> {
    ended.unwrap_or_else(|error| Err(Stop::internal(format!("bug: {error}"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn keeper(enduring: bool) -> Keeper {
        Keeper {
            progress: Arc::default(),
            tell: Arc::new(|_| ()),
            enduring,
        }
    }

    /// Runs a part that ends as `endings` says, one start after another; how often it was started.
    async fn starts(
        enduring: bool,
        endings: fn(u32) -> Result<(), Stop>,
    ) -> (u32, Result<(), Stop>, u64) {
        let count = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&count);
        let part = move || {
            let start = counter.fetch_add(1, Ordering::Relaxed) + 1;
            async move { endings(start) }
        };
        let keeper = keeper(enduring);
        let progress = Arc::clone(&keeper.progress);
        let ended = keeper.keep("part", CancellationToken::new(), part).await;
        (count.load(Ordering::Relaxed), ended, progress.errors())
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_fails_or_panics_is_started_again_without_ending_the_process() {
        let endings = |start| match start {
            1 => Err(Stop::internal("stream ended")),
            2 => panic!("a bug in a part"),
            _ => Ok(()),
        };
        let (starts, ended, errors) = starts(true, endings).await;
        assert_eq!((starts, errors), (3, 2));
        assert!(ended.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_start_would_not_mend_ends_it() {
        for code in [
            ExitCode::CriticalHalt,
            ExitCode::DuplicateInstance,
            ExitCode::Config,
        ] {
            let part = move || async move { Err(Stop::new(code, "no")) };
            let ended = keeper(true)
                .keep("part", CancellationToken::new(), part)
                .await;
            assert_eq!(ended.unwrap_err().code, code);
        }
    }

    #[tokio::test]
    async fn without_infinite_the_first_failure_ends_it() {
        let (starts, ended, _) = starts(false, |_| Err(Stop::internal("gave up"))).await;
        assert_eq!(starts, 1);
        assert_eq!(ended.unwrap_err().code, ExitCode::Internal);
    }

    #[tokio::test(start_paused = true)]
    async fn it_waits_longer_each_time_and_ends_at_once_when_told_to() {
        let stop = CancellationToken::new();
        let ends = stop.clone();
        let part = || async { Err(Stop::internal("again")) };
        let began = tokio::time::Instant::now();
        let told = async {
            tokio::time::sleep(Duration::from_secs(40)).await;
            ends.cancel();
        };
        let keeper = keeper(true);
        let progress = Arc::clone(&keeper.progress);
        let (ended, ()) = tokio::join!(keeper.keep("part", stop, part), told);
        assert!(ended.is_ok());
        assert_eq!(began.elapsed().as_secs(), 40);
        // 0.5 to 1 s, 1 to 2, 2 to 4, 4 to 8, 8 to 16, 16 to 32: five to seven starts in 40 s.
        assert!(
            (5..=7).contains(&progress.errors()),
            "{}",
            progress.errors()
        );
    }
}
