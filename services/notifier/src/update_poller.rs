//! Hears the owner by long polling and hands on what was said. Runs only in the turn of the notifier at work,
//! so that one process asks Telegram and no other.

use std::time::{Duration, Instant};

use notifier_core::command_intake::Update;
use runtime::backoff::Backoff;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::telegram::{PollError, Telegram};

/// Batches that wait: the next is asked for when this one is journaled.
pub const QUEUE_CAPACITY: usize = 1;
const MIN_POLL_INTERVAL: Duration = Duration::from_secs(1);
const BACKOFF: Backoff = Backoff {
    first: Duration::from_secs(2),
    cap: Duration::from_mins(1),
};
/// Who else asks with this token may be a notifier that is just ending.
const CONFLICT_BACKOFF: Duration = Duration::from_secs(10);

/// What was said, to be journaled before Telegram may forget it.
pub struct FetchedUpdates {
    /// Oldest first.
    pub updates: Vec<Update>,
    /// Our own name, if it is known.
    pub bot_name: Option<String>,
    /// Dropped or used when all of them are journaled.
    pub processed: oneshot::Sender<()>,
}

/// Polls from the update `next_update` on until `stop`, or until nobody takes what is heard.
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
    /// How long to wait before the next; none if nobody takes what is heard.
    async fn poll_once(&mut self, batches: &mpsc::Sender<FetchedUpdates>) -> Option<Duration> {
        if self.bot_name.is_none() {
            match self.telegram.bot_name().await {
                Ok(name) => self.bot_name = Some(name),
                Err(why) => tracing::debug!(why, "the bot's own name is not known yet"),
            }
        }
        let asked = Instant::now();
        match self.telegram.fetch_updates(self.next_update).await {
            Ok(updates) => {
                self.failures = 0;
                let Some(last) = updates.last().map(|update| update.id) else {
                    // An end that answers without waiting for something is not asked without end.
                    return Some(MIN_POLL_INTERVAL.saturating_sub(asked.elapsed()));
                };
                let (taken, journaled) = oneshot::channel();
                let bot = self.bot_name.clone();
                let batch = FetchedUpdates {
                    updates,
                    bot_name: bot,
                    processed: taken,
                };
                batches.send(batch).await.ok()?;
                journaled.await.ok()?;
                self.next_update = Some(last + 1);
                Some(Duration::ZERO)
            }
            Err(unheard) => Some(self.on_poll_error(&unheard)),
        }
    }

    fn on_poll_error(&mut self, error: &PollError) -> Duration {
        match error {
            PollError::Conflict(why) => {
                tracing::warn!(
                    why,
                    "somebody else hears this bot: a second system, or a webhook; orders may be lost"
                );
                CONFLICT_BACKOFF
            }
            PollError::Wait(secs) => Duration::from_secs(*secs),
            PollError::Failed(why) => {
                tracing::warn!(why, "the owner's orders are not heard; trying again");
                self.failures = self.failures.saturating_add(1);
                BACKOFF.wait(self.failures)
            }
        }
    }
}
