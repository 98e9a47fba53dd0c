//! Updates from Telegram that the dispatcher has received and not processed yet.

use std::collections::VecDeque;

use notifier_core::command_intake::{CommandIntake, Update};
use tokio::sync::oneshot;

use crate::update_poller::FetchedUpdates;

/// Queue of one batch of updates, with the intake that processes them.
#[derive(Default)]
pub(super) struct UpdateQueue {
    pub(super) intake: CommandIntake,
    pub(super) updates: VecDeque<Update>,
    pub(super) bot_name: Option<String>,
    /// Used when all updates of the batch are journaled.
    pub(super) processed: Option<oneshot::Sender<()>>,
}

impl UpdateQueue {
    /// Whether the last batch is processed.
    pub(super) const fn is_idle(&self) -> bool {
        self.processed.is_none()
    }

    pub(super) fn accept(&mut self, batch: FetchedUpdates) {
        self.updates = batch.updates.into();
        self.bot_name = batch.bot_name;
        self.processed = Some(batch.processed);
    }
}
