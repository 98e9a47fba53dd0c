//! Polls Telegram for updates. Only the leading notifier polls, because Telegram allows one poller for a token.

use std::time::{Duration, Instant};

use notifier_core::command_intake::Update;
use runtime::backoff::Backoff;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::telegram::{PollError, Telegram};

/// Batches that may be queued; the next poll waits until a batch is journaled.
pub const QUEUE_CAPACITY: usize = 1;
const MIN_POLL_INTERVAL: Duration = Duration::from_secs(1);
const BACKOFF: Backoff = Backoff {
    first: Duration::from_secs(2),
    cap: Duration::from_mins(1),
};
/// Wait after a conflict: the other poller may be a notifier that is shutting down.
const CONFLICT_BACKOFF: Duration = Duration::from_secs(10);

/// Updates of one poll, to be journaled before Telegram deletes them.
pub struct FetchedUpdates {
    /// Updates in the order of their ids.
    pub updates: Vec<Update>,
    /// Name of this bot; `None` if it is not known yet.
    pub bot_name: Option<String>,
    /// Used when all updates are journaled.
    pub processed: oneshot::Sender<()>,
}

/// Polls from the update `from` on until `shutdown`, or until the receiver is dropped.
pub async fn poll_updates(
    telegram: Telegram,
    from: Option<i64>,
    batches: mpsc::Sender<FetchedUpdates>,
    shutdown: CancellationToken,
) {
    let mut poller = Poller {
        telegram,
        next_update: from,
        bot_name: None,
        failures: 0,
    };
    shutdown
        .run_until_cancelled(async {
            while let Some(pause) = poller.poll_once(&batches).await {
                tokio::time::sleep(pause).await;
            }
        })
        .await;
}

struct Poller {
    telegram: Telegram,
    next_update: Option<i64>,
    bot_name: Option<String>,
    failures: u32,
}

impl Poller {
    /// Polls once; the wait before the next poll, or `None` if the receiver is dropped.
    async fn poll_once(&mut self, batches: &mpsc::Sender<FetchedUpdates>) -> Option<Duration> {
        if self.bot_name.is_none() {
            match self.telegram.bot_name().await {
                Ok(name) => self.bot_name = Some(name),
                Err(error) => tracing::debug!(error, "name of the bot unavailable"),
            }
        }
        let started_at = Instant::now();
        match self.telegram.fetch_updates(self.next_update).await {
            Ok(updates) => {
                self.failures = 0;
                let Some(last) = updates.last().map(|update| update.id) else {
                    // A server that does not wait for updates must not be polled in a tight loop.
                    return Some(MIN_POLL_INTERVAL.saturating_sub(started_at.elapsed()));
                };
                let (processed, journaled) = oneshot::channel();
                let bot_name = self.bot_name.clone();
                let batch = FetchedUpdates {
                    updates,
                    bot_name,
                    processed,
                };
                batches.send(batch).await.ok()?;
                journaled.await.ok()?;
                self.next_update = Some(last + 1);
                Some(Duration::ZERO)
            }
            Err(error) => Some(self.on_poll_error(&error)),
        }
    }

    fn on_poll_error(&mut self, error: &PollError) -> Duration {
        match error {
            PollError::Conflict(error) => {
                tracing::warn!(
                    error,
                    "another client polls this bot (second installation or webhook); commands may be lost"
                );
                CONFLICT_BACKOFF
            }
            PollError::Wait(secs) => Duration::from_secs(*secs),
            PollError::Failed(error) => {
                tracing::warn!(error, "Telegram polling failed; retrying");
                self.failures = self.failures.saturating_add(1);
                BACKOFF.wait(self.failures)
            }
        }
    }
}
