//! What the journal adds up to: letters that wait, the message under way, events already known.
//! Folding is total: a notifier that refuses its own history tells nobody anything.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::VERSION;
use protocol::ids::SubjectToken;
use protocol::journal::JournalBatch;
use protocol::time::UtcMs;
use serde::{Deserialize, Serialize};

use crate::dead_letters::{self, DeadLetter};
use crate::inhibition::Outages;
use crate::notification::Notification;
use crate::record::DeliveryRecord;
use crate::silence::Silence;
use crate::summary;
use crate::watchdog_outage;

/// How long an event's id is remembered: as long as the bus keeps events.
const EVENT_MEMORY_MS: i64 = 7 * 24 * 3_600_000;
/// Updates that are remembered: more than Telegram hands over at once.
const MAX_PROCESSED_UPDATES: usize = 500;
/// What was told last, for `/logs`.
const MAX_RECENT_TITLES: usize = 30;

/// Everything the journal says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryState {
    /// Letters that wait, by number: older ones have lower numbers.
    pub queued: BTreeMap<u64, QueuedNotification>,
    /// The message under way.
    pub in_flight: Option<MessageInFlight>,
    /// Letters that will never arrive, newest last.
    pub dead_letters: VecDeque<DeadLetter>,
    /// The critical under way over the fallback; it waits for Telegram all the while.
    pub fallback_in_flight: Option<u64>,
    /// Telegram's last call did not deliver: since when that is so, and why.
    pub channel_outage: Option<ChannelOutage>,
    /// What became of all messages so far.
    pub message_counts: MessageCounts,
    /// Another chat in place of the one that was set.
    pub chat_migration: Option<(i64, i64)>,
    /// The newest period that a heartbeat was written for.
    pub summary_period: Option<u64>,
    /// The last heartbeat before a silence of the watchdog that was told and has not ended.
    pub watchdog_lost_after: Option<String>,
    /// When the last message arrived.
    pub last_sent_at: Option<UtcMs>,
    /// The order that is being carried out.
    pub running_command: Option<RunningCommand>,
    /// Where those who may order gave their last one.
    command_chats: BTreeMap<String, i64>,
    /// What the owner does not want to hear of.
    pub silences: Vec<Silence>,
    /// Who was away, and what is held because of it.
    pub outages: Outages,
    /// The headings of what was queued last, newest last.
    pub recent_titles: VecDeque<(UtcMs, String)>,
    /// Updates that were looked at, newest last. A set and not a mark: Telegram begins anew, anywhere, after a
    /// week without one.
    processed_updates: VecDeque<i64>,
    known_events: BTreeSet<String>,
    /// The same, oldest first, with when they were queued.
    events_by_age: VecDeque<(UtcMs, String)>,
    next_number: u64,
}

/// A letter that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedNotification {
    /// It.
    pub notification: Notification,
    /// How often it may have arrived already.
    pub repeats: u32,
    /// When it was queued.
    pub queued_at: UtcMs,
    /// What became of it over the fallback.
    pub fallback_status: FallbackStatus,
    /// It answers an order.
    pub reply: Option<Reply>,
}

/// How an answer goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Where the order came from.
    pub chat: i64,
    /// What can be pressed below it.
    pub buttons: Vec<Button>,
}

/// A button below a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Button {
    /// What it says.
    pub text: String,
    /// What comes back when it is pressed, at most 64 bytes.
    pub data: String,
}

/// An order that is being carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningCommand {
    /// Who gave it.
    pub by: String,
    /// Where he is answered.
    pub chat: i64,
    /// It, in one line.
    pub command: String,
}

/// What became of a letter over the fallback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FallbackStatus {
    /// It did not arrive there.
    NotSent,
    /// It arrived there: in Telegram it is only counted.
    Sent,
    /// It is refused there: Telegram alone is left.
    Rejected,
}

/// Telegram takes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelOutage {
    /// Since this call.
    pub since: UtcMs,
    /// Why the last one failed, one line.
    pub error: String,
}

/// A message under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageInFlight {
    /// The letters in it.
    pub notifications: BTreeMap<u64, QueuedNotification>,
    /// They are only counted in it.
    pub digest: bool,
}

/// Counts of messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MessageCounts {
    /// Arrived.
    pub sent: u64,
    /// Went out without a clear answer.
    pub outcome_unknown: u64,
    /// Surely did not arrive, and were tried again.
    pub failed: u64,
    /// Refused for good.
    pub dead_lettered: u64,
    /// Arrived over the fallback.
    pub sent_by_fallback: u64,
}

/// A record of a newer program: to go on without it could repeat or lose a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnsupportedVersion(pub u16);

impl DeliveryState {
    /// Adds one journal message.
    ///
    /// # Errors
    /// [`UnsupportedVersion`] for an envelope of a version that this program does not know.
    pub fn fold(&mut self, entry: &JournalBatch<DeliveryRecord>) -> Result<(), UnsupportedVersion> {
        if entry.v > VERSION {
            return Err(UnsupportedVersion(entry.v));
        }
        for record in &entry.records {
            self.apply(entry.at, record);
        }
        Ok(())
    }

    /// Adds one record, stored at this time.
    pub fn apply(&mut self, at: UtcMs, record: &DeliveryRecord) {
        self.outages.apply(at, record);
        match record {
            // For people who read the journal: who delivers is the fence's business.
            // The stranger's is on the bus, too.
            DeliveryRecord::WriterChanged { .. } | DeliveryRecord::UnauthorizedCommand { .. } => {}
            DeliveryRecord::Queued {
                event,
                notifications: letters,
            } => self.queue_event(at, event, letters),
            DeliveryRecord::MessageSending {
                notifications: letters,
                digest,
            } => self.start_sending(letters, *digest),
            DeliveryRecord::MessageSent { .. } => {
                self.in_flight = None;
                self.channel_outage = None;
                self.last_sent_at = Some(at);
                self.message_counts.sent += 1;
            }
            DeliveryRecord::MessageOutcomeUnknown { error: why } => {
                self.requeue_in_flight(1);
                self.note_channel_failure(at, why);
                self.message_counts.outcome_unknown += 1;
            }
            DeliveryRecord::MessageFailed { error: why } => {
                self.requeue_in_flight(0);
                self.note_channel_failure(at, why);
                self.message_counts.failed += 1;
            }
            DeliveryRecord::DeadLettered { error: why } => {
                self.channel_outage = None;
                self.dead_letter_in_flight(why);
            }
            DeliveryRecord::ResendRequested {
                notifications: letters,
            } => {
                dead_letters::requeue_dead_letters(
                    &mut self.dead_letters,
                    &mut self.queued,
                    letters,
                    at,
                );
            }
            DeliveryRecord::ChatMigrated { from, to } => {
                self.channel_outage = None;
                self.chat_migration = Some((*from, *to));
                self.requeue_in_flight(0);
            }
            DeliveryRecord::FallbackSending {
                notification: letter,
            } => {
                // What was under way before has no outcome: it may have arrived.
                self.end_fallback(FallbackStatus::NotSent, 1);
                self.fallback_in_flight = Some(*letter);
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

    /// Orders, their answers, and silences.
    fn apply_command_record(&mut self, at: UtcMs, record: &DeliveryRecord) {
        match record {
            DeliveryRecord::UpdateProcessed { update } => {
                if self.processed_updates.len() == MAX_PROCESSED_UPDATES {
                    self.processed_updates.pop_front();
                }
                self.processed_updates.push_back(*update);
            }
            DeliveryRecord::CommandStarted {
                by: who,
                chat,
                command,
            } => {
                self.command_chats.insert(who.clone(), *chat);
                self.running_command = Some(RunningCommand {
                    by: who.clone(),
                    chat: *chat,
                    command: command.clone(),
                });
            }
            // One is carried out at a time; what only was asked or refused never began.
            DeliveryRecord::CommandFinished {
                by: who, command, ..
            } => {
                let same = |begun: &RunningCommand| begun.by == *who && begun.command == *command;
                self.running_command.take_if(|begun| same(begun));
            }
            DeliveryRecord::Replied {
                chat,
                notifications: letters,
                buttons,
            } => self.queue_reply(at, *chat, letters, buttons),
            DeliveryRecord::SilenceStarted { unit: name, until } => {
                self.start_silence(name.clone(), *until);
            }
            DeliveryRecord::SilenceEnded {
                silence_index: silence,
            } => {
                let mut place = 0..;
                self.silences.retain(|_| place.next() != Some(*silence));
            }
            DeliveryRecord::SilencedNotification {
                event,
                kind,
                silence_index: silence,
            } => self.count_silenced(at, event, kind, *silence),
            DeliveryRecord::Inhibited { event, .. } if !self.knows_event(event) => {
                self.remember_event(at, event);
            }
            // Delivery's, and what only the outages need.
            _ => {}
        }
    }

    /// Whether this event was queued before.
    pub fn knows_event(&self, event: &str) -> bool {
        self.known_events.contains(event)
    }

    /// Whether this update was looked at before.
    pub fn has_processed(&self, update: i64) -> bool {
        self.processed_updates.contains(&update)
    }

    /// The update that was looked at last.
    pub fn last_update(&self) -> Option<i64> {
        self.processed_updates.back().copied()
    }

    /// Which chat an order by this name came from, if the notifier took it.
    pub fn command_chat(&self, who: &str) -> Option<i64> {
        self.command_chats.get(who).copied()
    }

    /// The chat to write to where `set_state` was configured.
    pub fn current_chat(&self, configured: i64) -> i64 {
        match self.chat_migration {
            Some((from, to)) if from == configured => to,
            _ => configured,
        }
    }

    fn queue_event(&mut self, at: UtcMs, event: &str, letters: &[Notification]) {
        if self.knows_event(event) {
            return;
        }
        self.remember_event(at, event);
        self.summary_period = self.summary_period.max(summary::period_from_id(event));
        self.watchdog_lost_after =
            watchdog_outage::lost_after_event(event, self.watchdog_lost_after.take());
        for letter in letters {
            if self.recent_titles.len() == MAX_RECENT_TITLES {
                self.recent_titles.pop_front();
            }
            self.recent_titles
                .push_back((letter.at, letter.title.clone()));
            self.queue_notification(at, letter, None);
        }
    }

    /// Its buttons stand below its last part.
    fn queue_reply(&mut self, at: UtcMs, chat: i64, letters: &[Notification], buttons: &[Button]) {
        for (index, letter) in letters.iter().enumerate() {
            let is_last = index + 1 == letters.len();
            let buttons = if is_last {
                buttons.to_vec()
            } else {
                Vec::new()
            };
            self.queue_notification(at, letter, Some(Reply { chat, buttons }));
        }
    }

    fn queue_notification(&mut self, at: UtcMs, letter: &Notification, reply: Option<Reply>) {
        let waiting = QueuedNotification {
            notification: letter.clone(),
            repeats: 0,
            queued_at: at,
            fallback_status: FallbackStatus::NotSent,
            reply,
        };
        self.queued.insert(self.next_number, waiting);
        self.next_number += 1;
    }

    fn start_silence(&mut self, name: Option<SubjectToken>, until: UtcMs) {
        match self.silences.iter_mut().find(|known| known.unit == name) {
            Some(known) => known.until = until,
            None => self.silences.push(Silence {
                unit: name,
                until,
                silenced_counts: BTreeMap::new(),
            }),
        }
    }

    fn count_silenced(&mut self, at: UtcMs, event: &str, kind: &str, silence: usize) {
        if self.knows_event(event) {
            return;
        }
        self.remember_event(at, event);
        self.summary_period = self.summary_period.max(summary::period_from_id(event));
        self.watchdog_lost_after =
            watchdog_outage::lost_after_event(event, self.watchdog_lost_after.take());
        if let Some(silence) = self.silences.get_mut(silence) {
            *silence.silenced_counts.entry(kind.to_owned()).or_default() += 1;
        }
    }

    fn remember_event(&mut self, at: UtcMs, event: &str) {
        let old = |queued: &UtcMs| at.0.saturating_sub(queued.0) >= EVENT_MEMORY_MS;
        while self
            .events_by_age
            .front()
            .is_some_and(|(queued, _)| old(queued))
        {
            if let Some((_, event)) = self.events_by_age.pop_front() {
                self.known_events.remove(&event);
            }
        }
        self.known_events.insert(event.to_owned());
        self.events_by_age.push_back((at, event.to_owned()));
    }

    fn start_sending(&mut self, letters: &[u64], digest: bool) {
        // What was under way before has no outcome: it may have arrived.
        self.requeue_in_flight(1);
        let taken = letters
            .iter()
            .filter_map(|n| Some((*n, self.queued.remove(n)?)));
        let letters = taken.collect();
        self.in_flight = Some(MessageInFlight {
            notifications: letters,
            digest,
        });
    }

    fn requeue_in_flight(&mut self, repeats: u32) {
        let Some(sending) = self.in_flight.take() else {
            return;
        };
        for (number, mut waiting) in sending.notifications {
            waiting.repeats += repeats;
            self.queued.insert(number, waiting);
        }
    }

    fn note_channel_failure(&mut self, at: UtcMs, why: &str) {
        let since = self.channel_outage.as_ref().map_or(at, |away| away.since);
        let why = why.to_owned();
        self.channel_outage = Some(ChannelOutage { since, error: why });
    }

    /// The critical under way over the fallback has come to an end there.
    fn end_fallback(&mut self, elsewhere: FallbackStatus, repeats: u32) {
        let letter = self
            .fallback_in_flight
            .take()
            .and_then(|number| self.queued.get_mut(&number));
        if let Some(waiting) = letter {
            waiting.fallback_status = elsewhere;
            waiting.repeats += repeats;
        }
    }

    fn dead_letter_in_flight(&mut self, why: &str) {
        self.message_counts.dead_lettered += 1;
        let letters = self.in_flight.take().map(|sending| sending.notifications);
        dead_letters::add_dead_letters(&mut self.dead_letters, letters.unwrap_or_default(), why);
    }
}
