//! Calls to the exchange before the tasks run: each is repeated until it is answered. The health check says what the
//! start waits for.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use exchange::{ExchangeError, ExecutionClient, Verdict};
use protocol::exit_code::ExitCode;
use runtime::exit_error::ExitError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What a start waits for, in one line; `None` while it waits for nothing.
#[derive(Debug, Default)]
pub struct WaitReason(Mutex<Option<String>>);

impl WaitReason {
    /// The newest reason.
    pub fn get(&self) -> Option<String> {
        self.lock().clone()
    }

    fn set(&self, reason: Option<String>) {
        *self.lock() = reason;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a step of the start has no result yet.
pub enum Unready {
    /// A dependency does not answer, or refuses the call.
    Failed(ExchangeError),
    /// The exchange's answer rules a start out.
    Found(String),
    /// What no repetition changes.
    Final(ExitError),
}

impl From<ExchangeError> for Unready {
    fn from(error: ExchangeError) -> Self {
        Self::Failed(error)
    }
}

/// Repeats the steps of a start.
#[derive(Clone, Copy)]
pub struct StartCalls<'a> {
    /// Ends every wait.
    pub shutdown: &'a CancellationToken,
    /// Where the health check reads what is waited for.
    pub waiting: &'a WaitReason,
    /// The account whose calls decide whether a refusal is final; `None` on paper.
    pub account: Option<&'a dyn ExecutionClient>,
}

impl StartCalls<'_> {
    /// Repeats a step until it has a result.
    ///
    /// # Errors
    /// Exit 78 if the exchange refuses it for minutes, and a call of another kind too, or if its answers rule a start out
    /// for a while; 0 on shutdown.
    pub async fn until_ready<T, F>(&self, mut step: impl FnMut() -> F) -> Result<T, ExitError>
    where
        F: Future<Output = Result<T, Unready>>,
    {
        let mut verdict = Verdict::default();
        loop {
            let Some(outcome) = self.shutdown.run_until_cancelled(step()).await else {
                return Err(stopped_before_start());
            };
            let now = Instant::now().into_std();
            let (reason, wait) = match outcome {
                Ok(result) => {
                    self.waiting.set(None);
                    return Ok(result);
                }
                Err(Unready::Final(end)) => return Err(end),
                Err(Unready::Failed(error)) => {
                    let wait = verdict.record_failure(&error, now);
                    if verdict.needs_second_kind(now) {
                        self.ask_second_kind(&error, &mut verdict).await;
                    }
                    if verdict.is_refusal_final(Instant::now().into_std()) {
                        return Err(ExitError::config(error.to_string()));
                    }
                    (error.to_string(), wait)
                }
                Err(Unready::Found(finding)) => {
                    let wait = verdict.record_finding(&finding, now);
                    if verdict.is_finding_final(now) {
                        return Err(ExitError::config(finding));
                    }
                    (finding, wait)
                }
            };
            self.wait(reason, wait).await?;
        }
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// Exit 0 on shutdown.
    async fn wait(&self, reason: String, wait: Duration) -> Result<(), ExitError> {
        tracing::warn!(error = reason, ?wait, "waiting for the exchange");
        self.waiting.set(Some(reason));
        let slept = self
            .shutdown
            .run_until_cancelled(tokio::time::sleep(wait))
            .await;
        slept.ok_or_else(stopped_before_start)
    }

    /// Asks the account by a call of another kind than the refused one.
    async fn ask_second_kind(&self, refused: &ExchangeError, verdict: &mut Verdict) {
        let ExchangeError::Rejected { what: refused, .. } = refused else {
            return;
        };
        let Some(account) = self.account else { return };
        for answer in [
            account.permissions().await.map(drop),
            account.wallet_balance().await.map(drop),
        ] {
            match answer {
                Err(ExchangeError::Rejected { what, .. }) if what != *refused => {
                    verdict.record_refusal(what, Instant::now().into_std());
                }
                Ok(()) | Err(_) => {}
            }
        }
    }
}

/// Exit 0: a shutdown was requested during the start.
pub(crate) fn stopped_before_start() -> ExitError {
    ExitError::new(ExitCode::Success, "stopped before the start was complete")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use exchange::FOUND_FOR;

    use super::*;

    async fn outcome_of(
        mut answer: impl FnMut(u32) -> Result<u32, Unready>,
    ) -> (Result<u32, ExitError>, WaitReason) {
        let (shutdown, waiting, asked) = (
            CancellationToken::new(),
            WaitReason::default(),
            Cell::new(0),
        );
        let calls = StartCalls {
            shutdown: &shutdown,
            waiting: &waiting,
            account: None,
        };
        let ended = calls
            .until_ready(|| {
                asked.set(asked.get() + 1);
                let answer = answer(asked.get());
                async { answer }
            })
            .await;
        (ended, waiting)
    }

    #[tokio::test(start_paused = true)]
    async fn refused_or_odd_answer_is_waited_for() {
        let refused = || Unready::Failed(ExchangeError::rejected("balance", "(-2015)"));
        let (ended, waiting) = outcome_of(|asked| match asked {
            1 => Err(refused()),
            2 => Err(Unready::Found("hedge mode".to_owned())),
            3 => Err(ExchangeError::retry("balance", "status 404: <html>").into()),
            _ => Ok(asked),
        })
        .await;
        assert_eq!(ended.unwrap(), 4);
        assert_eq!(waiting.get(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn finding_that_lasts_ends_the_start() {
        let begun = Instant::now();
        let (ended, waiting) = outcome_of(|_| Err(Unready::Found("hedge mode".to_owned()))).await;
        let end = ended.unwrap_err();
        assert_eq!(
            (end.code, end.message.as_str()),
            (ExitCode::Config, "hedge mode")
        );
        assert!(begun.elapsed() >= FOUND_FOR);
        assert_eq!(
            waiting.get().as_deref(),
            Some("hedge mode"),
            "health said so"
        );
    }

    #[tokio::test]
    async fn what_no_repetition_changes_ends_the_start_at_once() {
        let unopened = || Unready::Final(ExitError::config("was never opened"));
        let (ended, _) = outcome_of(|_| Err(unopened())).await;
        assert_eq!(ended.unwrap_err().code, ExitCode::Config);
    }
}
