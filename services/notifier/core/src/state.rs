//! State of delivery, folded from the journal: queued notifications, the message in flight, known events, silences,
//! outages and the running command.
//!
//! Folding accepts every record: a notifier that rejects its own journal reports nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::VERSION;
use protocol::ids::SubjectToken;
use protocol::journal::JournalBatch;
use protocol::time::UtcMs;

use crate::event_ids;
use crate::model::{
    Button, ChannelOutage, DeadLetter, DeadLetters, FallbackStatus, MessageCounts, MessageInFlight,
    QueuedNotification, Reply, RunningCommand, Silence,
};
use crate::notification::Notification;
use crate::outages::Outages;
use crate::record::DeliveryRecord;

/// Time for which an event id is remembered; the bus keeps events for as long.
const EVENT_MEMORY_MS: i64 = 7 * 24 * 3_600_000;
/// Update ids that are remembered; more than Telegram returns at once.
const MAX_PROCESSED_UPDATES: usize = 500;
/// Titles that are remembered for `/logs`.
const MAX_RECENT_TITLES: usize = 30;
/// Dead letters that are kept.
const MAX_DEAD_LETTERS: usize = 100;

/// Folded state of the notifier's journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryState {
    /// Queued notifications by number; older ones have lower numbers.
    pub queued: BTreeMap<u64, QueuedNotification>,
    /// Message that is being sent.
    pub in_flight: Option<MessageInFlight>,
    /// Notifications that Telegram rejected for good, oldest first.
    pub dead_letters: DeadLetters,
    /// Number of the critical notification in flight on the fallback; it stays queued for Telegram.
    pub fallback_in_flight: Option<u64>,
    /// Outage of Telegram; `None` if the last call delivered.
    pub channel_outage: Option<ChannelOutage>,
    /// Counts of all messages so far.
    pub message_counts: MessageCounts,
    /// Old and new id of a chat that migrated.
    pub chat_migration: Option<(i64, i64)>,
    /// Newest period that has a summary.
    pub summary_period: Option<u64>,
    /// Last heartbeat before the reported watchdog outage; `None` if no outage is reported.
    pub watchdog_lost_after: Option<String>,
    /// Time of the last delivered message.
    pub last_sent_at: Option<UtcMs>,
    /// Command that is being executed.
    pub running_command: Option<RunningCommand>,
    /// Chat of each operator's last command.
    command_chats: BTreeMap<String, i64>,
    /// Silences that are in force, oldest first.
    pub silences: Vec<Silence>,
    /// Known outages with their inhibited notifications.
    pub outages: Outages,
    /// Time and title of the notifications that were queued last, newest last.
    pub recent_titles: VecDeque<(UtcMs, String)>,
    /// Ids of processed updates, newest last. A set, because Telegram may restart its numbering after a week
    /// without updates.
    processed_updates: VecDeque<i64>,
    known_events: BTreeSet<String>,
    /// Ids of `known_events` with the time at which they were queued, oldest first.
    events_by_age: VecDeque<(UtcMs, String)>,
    next_number: u64,
}

/// A batch of a newer program. Continuing without its records could repeat or lose a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnsupportedVersion(pub u16);

impl DeliveryState {
    /// Folds one journal batch.
    ///
    /// # Errors
    /// [`UnsupportedVersion`] if the batch has a version that this program does not know.
    pub fn fold(&mut self, batch: &JournalBatch<DeliveryRecord>) -> Result<(), UnsupportedVersion> {
        if batch.v > VERSION {
            return Err(UnsupportedVersion(batch.v));
        }
        for record in &batch.records {
            self.apply(batch.at, record);
        }
        Ok(())
    }

    /// Folds one record that was stored at `at`.
    pub fn apply(&mut self, at: UtcMs, record: &DeliveryRecord) {
        self.outages.apply(at, record);
        match record {
            // Only readers of the journal need these.
            DeliveryRecord::WriterChanged { .. } | DeliveryRecord::UnauthorizedCommand { .. } => {}
            DeliveryRecord::Queued {
                event,
                notifications,
            } => self.queue_event(at, event, notifications),
            DeliveryRecord::MessageSending {
                notifications,
                digest,
            } => self.start_sending(notifications, *digest),
            DeliveryRecord::MessageSent { .. } => {
                self.in_flight = None;
                self.channel_outage = None;
                self.last_sent_at = Some(at);
                self.message_counts.sent += 1;
            }
            DeliveryRecord::MessageOutcomeUnknown { error } => {
                self.requeue_in_flight(1);
                self.note_channel_failure(at, error);
                self.message_counts.outcome_unknown += 1;
            }
            DeliveryRecord::MessageFailed { error } => {
                self.requeue_in_flight(0);
                self.note_channel_failure(at, error);
                self.message_counts.failed += 1;
            }
            DeliveryRecord::DeadLettered { error } => {
                self.channel_outage = None;
                self.dead_letter_in_flight(error);
            }
            DeliveryRecord::ResendRequested { notifications } => {
                self.requeue_dead_letters(notifications, at);
            }
            DeliveryRecord::ChatMigrated { from, to } => {
                self.channel_outage = None;
                self.chat_migration = Some((*from, *to));
                self.requeue_in_flight(0);
            }
            other => self.apply_fallback_record(at, other),
        }
    }

    fn apply_fallback_record(&mut self, at: UtcMs, record: &DeliveryRecord) {
        match record {
            DeliveryRecord::FallbackSending { notification } => {
                // One that was in flight before has no outcome: it may have been delivered.
                self.end_fallback(FallbackStatus::NotSent, 1);
                self.fallback_in_flight = Some(*notification);
            }
            DeliveryRecord::FallbackSent => {
                self.end_fallback(FallbackStatus::Sent, 0);
                self.message_counts.sent_by_fallback += 1;
            }
            DeliveryRecord::FallbackOutcomeUnknown { .. } => {
                self.end_fallback(FallbackStatus::NotSent, 1);
            }
            DeliveryRecord::FallbackFailed { .. } => self.end_fallback(FallbackStatus::NotSent, 0),
            DeliveryRecord::FallbackRejected { .. } => {
                self.end_fallback(FallbackStatus::Rejected, 0);
            }
            other => self.apply_command_record(at, other),
        }
    }

    /// Commands, replies and silences.
    fn apply_command_record(&mut self, at: UtcMs, record: &DeliveryRecord) {
        match record {
            DeliveryRecord::UpdateProcessed { update } => {
                if self.processed_updates.len() == MAX_PROCESSED_UPDATES {
                    self.processed_updates.pop_front();
                }
                self.processed_updates.push_back(*update);
            }
            DeliveryRecord::CommandStarted { by, chat, command } => {
                self.command_chats.insert(by.clone(), *chat);
                self.running_command = Some(RunningCommand {
                    by: by.clone(),
                    chat: *chat,
                    command: command.clone(),
                });
            }
            // One command runs at a time; a command that was only asked about or rejected never started.
            DeliveryRecord::CommandFinished { by, command, .. } => {
                self.running_command
                    .take_if(|running| running.by == *by && running.command == *command);
            }
            DeliveryRecord::Replied {
                chat,
                notifications,
                buttons,
            } => self.queue_reply(at, *chat, notifications, buttons),
            DeliveryRecord::SilenceStarted { unit, until } => {
                self.start_silence(unit.clone(), *until);
            }
            DeliveryRecord::SilenceEnded { silence_index } => {
                let mut index = 0..;
                self.silences
                    .retain(|_| index.next() != Some(*silence_index));
            }
            DeliveryRecord::SilencedNotification {
                event,
                kind,
                silence_index,
            } => self.count_silenced(at, event, kind, *silence_index),
            DeliveryRecord::Inhibited { event, .. } if !self.knows_event(event) => {
                self.remember_event(at, event);
            }
            // Folded by `apply` or by the outages.
            _ => {}
        }
    }

    /// Whether this event was queued before.
    pub fn knows_event(&self, event: &str) -> bool {
        self.known_events.contains(event)
    }

    /// Whether this update was processed before.
    pub fn has_processed(&self, update: i64) -> bool {
        self.processed_updates.contains(&update)
    }

    /// Id of the update that was processed last.
    pub fn last_update(&self) -> Option<i64> {
        self.processed_updates.back().copied()
    }

    /// Chat of the last command of this operator; `None` if they gave none by Telegram.
    pub fn command_chat(&self, by: &str) -> Option<i64> {
        self.command_chats.get(by).copied()
    }

    /// Id of the configured chat, after its migration if there was one.
    pub fn current_chat(&self, configured: i64) -> i64 {
        match self.chat_migration {
            Some((from, to)) if from == configured => to,
            _ => configured,
        }
    }

    fn queue_event(&mut self, at: UtcMs, event: &str, notifications: &[Notification]) {
        if !self.note_event(at, event) {
            return;
        }
        for notification in notifications {
            if self.recent_titles.len() == MAX_RECENT_TITLES {
                self.recent_titles.pop_front();
            }
            self.recent_titles
                .push_back((notification.at, notification.title.clone()));
            self.queue_notification(at, notification, None);
        }
    }

    /// Queues a reply; its buttons stand below the last part.
    fn queue_reply(
        &mut self,
        at: UtcMs,
        chat: i64,
        notifications: &[Notification],
        buttons: &[Button],
    ) {
        for (index, notification) in notifications.iter().enumerate() {
            let is_last = index + 1 == notifications.len();
            let buttons = if is_last {
                buttons.to_vec()
            } else {
                Vec::new()
            };
            self.queue_notification(at, notification, Some(Reply { chat, buttons }));
        }
    }

    fn queue_notification(&mut self, at: UtcMs, notification: &Notification, reply: Option<Reply>) {
        let queued = QueuedNotification {
            notification: notification.clone(),
            repeats: 0,
            queued_at: at,
            fallback_status: FallbackStatus::NotSent,
            reply,
        };
        self.queued.insert(self.next_number, queued);
        self.next_number += 1;
    }

    fn start_silence(&mut self, unit: Option<SubjectToken>, until: UtcMs) {
        match self.silences.iter_mut().find(|known| known.unit == unit) {
            Some(known) => known.until = until,
            None => self.silences.push(Silence {
                unit,
                until,
                silenced_counts: BTreeMap::new(),
            }),
        }
    }

    fn count_silenced(&mut self, at: UtcMs, event: &str, kind: &str, silence_index: usize) {
        if !self.note_event(at, event) {
            return;
        }
        if let Some(silence) = self.silences.get_mut(silence_index) {
            *silence.silenced_counts.entry(kind.to_owned()).or_default() += 1;
        }
    }

    /// Remembers a queued or silenced event; `false` if it is known already.
    fn note_event(&mut self, at: UtcMs, event: &str) -> bool {
        if self.knows_event(event) {
            return false;
        }
        self.remember_event(at, event);
        self.summary_period = self.summary_period.max(event_ids::summary_period(event));
        self.watchdog_lost_after =
            event_ids::watchdog_lost_after(event, self.watchdog_lost_after.take());
        true
    }

    fn remember_event(&mut self, at: UtcMs, event: &str) {
        let is_old = |queued: &UtcMs| at.0.saturating_sub(queued.0) >= EVENT_MEMORY_MS;
        while self
            .events_by_age
            .front()
            .is_some_and(|(queued, _)| is_old(queued))
        {
            if let Some((_, event)) = self.events_by_age.pop_front() {
                self.known_events.remove(&event);
            }
        }
        self.known_events.insert(event.to_owned());
        self.events_by_age.push_back((at, event.to_owned()));
    }

    fn start_sending(&mut self, numbers: &[u64], digest: bool) {
        // A message that was in flight before has no outcome: it may have been delivered.
        self.requeue_in_flight(1);
        let taken = numbers
            .iter()
            .filter_map(|number| Some((*number, self.queued.remove(number)?)));
        let notifications = taken.collect();
        self.in_flight = Some(MessageInFlight {
            notifications,
            digest,
        });
    }

    fn requeue_in_flight(&mut self, repeats: u32) {
        let Some(message) = self.in_flight.take() else {
            return;
        };
        for (number, mut queued) in message.notifications {
            queued.repeats += repeats;
            self.queued.insert(number, queued);
        }
    }

    fn note_channel_failure(&mut self, at: UtcMs, error: &str) {
        let since = self
            .channel_outage
            .as_ref()
            .map_or(at, |outage| outage.since);
        let error = error.to_owned();
        self.channel_outage = Some(ChannelOutage { since, error });
    }

    /// Ends the notification in flight on the fallback.
    fn end_fallback(&mut self, status: FallbackStatus, repeats: u32) {
        let queued = self
            .fallback_in_flight
            .take()
            .and_then(|number| self.queued.get_mut(&number));
        if let Some(queued) = queued {
            queued.fallback_status = status;
            queued.repeats += repeats;
        }
    }

    fn dead_letter_in_flight(&mut self, error: &str) {
        self.message_counts.dead_lettered += 1;
        let message = self.in_flight.take();
        for (number, queued) in message.into_iter().flat_map(|m| m.notifications) {
            if self.dead_letters.len() == MAX_DEAD_LETTERS {
                self.dead_letters.pop_front();
            }
            let error = error.to_owned();
            self.dead_letters.push_back(DeadLetter {
                number,
                queued,
                error,
            });
        }
    }

    /// Queues dead letters again under their old numbers.
    fn requeue_dead_letters(&mut self, numbers: &[u64], now: UtcMs) {
        for dead in std::mem::take(&mut self.dead_letters) {
            if numbers.contains(&dead.number) {
                let queued = QueuedNotification {
                    queued_at: now,
                    fallback_status: FallbackStatus::NotSent,
                    ..dead.queued
                };
                self.queued.insert(dead.number, queued);
            } else {
                self.dead_letters.push_back(dead);
            }
        }
    }
}
