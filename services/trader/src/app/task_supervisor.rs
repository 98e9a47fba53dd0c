//! The task supervisor. With `--infinite`, failed tasks are restarted with backoff. An error that a restart cannot fix
//! ends the process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::duration::format_duration;
use protocol::event::EventBody;
use protocol::exit_code::ExitCode;
use protocol::heartbeat::ComponentState;
use runtime::components::ProcessStatus;
use runtime::exit_error::ExitError;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use runtime::backoff::Backoff;

const BACKOFF: Backoff = Backoff {
    first: Duration::from_secs(1),
    cap: Duration::from_mins(1),
};
/// A task that has run this long has recovered: the next failure counts as the first.
const FAILURE_RESET: Duration = Duration::from_mins(1);

/// Restarts the tasks of a process.
#[derive(Clone)]
pub struct TaskSupervisor {
    /// Component counters for heartbeats and the health grade.
    pub process_status: Arc<ProcessStatus>,
    /// Publishes an event for the operator.
    pub publish_event: Arc<dyn Fn(EventBody) + Send + Sync>,
    /// `--infinite`. Without it, the first failure ends the process.
    pub restarts_failed_tasks: bool,
}

impl TaskSupervisor {
    /// Runs a task until `shutdown`; restarts it when it fails or panics.
    ///
    /// # Errors
    /// The failure, if its exit code is not 70 or without `--infinite`.
    pub async fn supervise<P>(
        self,
        name: &'static str,
        shutdown: CancellationToken,
        start: impl Fn() -> P + Send,
    ) -> Result<(), ExitError>
    where
        P: Future<Output = Result<(), ExitError>> + Send + 'static,
    {
        let mut failures = 0;
        loop {
            let began = Instant::now();
            // A Tokio task of its own, so that a panic is caught.
            let mut task = JoinSet::new();
            task.spawn(start());
            let Some(ended) = task.join_next().await else {
                return Ok(());
            };
            let failure = match task_result(ended) {
                Ok(()) => return Ok(()),
                Err(failure)
                    if !self.restarts_failed_tasks || failure.code != ExitCode::Internal =>
                {
                    return Err(failure);
                }
                Err(failure) => failure.message,
            };
            failures = if began.elapsed() >= FAILURE_RESET {
                1
            } else {
                failures + 1
            };
            let wait = BACKOFF.wait(failures);
            self.report_failure(name, failures, &failure);
            tracing::error!(
                component = name,
                error = failure,
                failures,
                retry_in = %format_duration(wait),
                "task failed; restarting it"
            );
            if shutdown
                .run_until_cancelled(tokio::time::sleep(wait))
                .await
                .is_none()
            {
                return Ok(());
            }
        }
    }

    /// Counts a failure. The operator is notified of the first failure in a row.
    fn report_failure(&self, name: &str, failures: u32, failure: &str) {
        self.process_status.record_error(name, failure);
        self.process_status
            .component(name)
            .set_state(ComponentState::Retrying);
        if failures == 1 {
            (self.publish_event)(EventBody::ComponentFailed {
                component: name.to_owned(),
                error: failure.to_owned(),
            });
        }
    }
}

fn task_result(ended: Result<Result<(), ExitError>, JoinError>) -> Result<(), ExitError> {
    ended.unwrap_or_else(|error| Err(ExitError::internal(format!("bug: {error}"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn supervisor(restarts_failed_tasks: bool) -> TaskSupervisor {
        TaskSupervisor {
            process_status: Arc::default(),
            publish_event: Arc::new(|_| ()),
            restarts_failed_tasks,
        }
    }

    /// Runs a task whose n-th start ends with `endings(n)`. Returns the number of starts, the end and the errors.
    async fn count_starts(
        restarts_failed_tasks: bool,
        endings: fn(u32) -> Result<(), ExitError>,
    ) -> (u32, Result<(), ExitError>, u64) {
        let count = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&count);
        let task = move || {
            let start = counter.fetch_add(1, Ordering::Relaxed) + 1;
            async move { endings(start) }
        };
        let supervisor = supervisor(restarts_failed_tasks);
        let process_status = Arc::clone(&supervisor.process_status);
        let ended = supervisor
            .supervise("task", CancellationToken::new(), task)
            .await;
        (
            count.load(Ordering::Relaxed),
            ended,
            process_status.errors(),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn failed_or_panicked_task_is_restarted_without_ending_the_process() {
        let endings = |start| match start {
            1 => Err(ExitError::internal("stream ended")),
            2 => panic!("a bug in a task"),
            _ => Ok(()),
        };
        let (starts, ended, errors) = count_starts(true, endings).await;
        assert_eq!((starts, errors), (3, 2));
        assert!(ended.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn error_that_a_restart_cannot_fix_ends_the_process() {
        for code in [
            ExitCode::AccountLatched,
            ExitCode::DuplicateInstance,
            ExitCode::Config,
        ] {
            let task = move || async move { Err(ExitError::new(code, "no")) };
            let ended = supervisor(true)
                .supervise("task", CancellationToken::new(), task)
                .await;
            assert_eq!(ended.unwrap_err().code, code);
        }
    }

    #[tokio::test]
    async fn first_failure_without_infinite_ends_the_process() {
        let (starts, ended, _) = count_starts(false, |_| Err(ExitError::internal("gave up"))).await;
        assert_eq!(starts, 1);
        assert_eq!(ended.unwrap_err().code, ExitCode::Internal);
    }

    #[tokio::test(start_paused = true)]
    async fn supervisor_waits_longer_each_time_and_ends_at_once_on_shutdown() {
        let shutdown = CancellationToken::new();
        let cancelled = shutdown.clone();
        let task = || async { Err(ExitError::internal("again")) };
        let began = tokio::time::Instant::now();
        let cancel = async {
            tokio::time::sleep(Duration::from_secs(40)).await;
            cancelled.cancel();
        };
        let supervisor = supervisor(true);
        let process_status = Arc::clone(&supervisor.process_status);
        let (ended, ()) = tokio::join!(supervisor.supervise("task", shutdown, task), cancel);
        assert!(ended.is_ok());
        assert_eq!(began.elapsed().as_secs(), 40);
        // 0.5 to 1 s, 1 to 2, 2 to 4, 4 to 8, 8 to 16, 16 to 32: five to seven starts in 40 s.
        assert!(
            (5..=7).contains(&process_status.errors()),
            "{}",
            process_status.errors()
        );
    }
}
