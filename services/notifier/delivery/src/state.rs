//! What the journal adds up to: letters that wait, the message under way, events already known.
//! Folding is total: a notifier that refuses its own history tells nobody anything.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::VERSION;
use protocol::ids::Token;
use protocol::journal::JournalEntry;
use protocol::time::UtcMs;
use serde::{Deserialize, Serialize};

use crate::dead::{self, DeadLetter};
use crate::heartbeat;
use crate::inhibition::Outages;
use crate::letter::Letter;
use crate::record::Record;
use crate::silence::Silence;
use crate::vigil;

/// How long an event's id is remembered: as long as the bus keeps events.
const REMEMBERED_MS: i64 = 7 * 24 * 3_600_000;
/// Updates that are remembered: more than Telegram hands over at once.
const UPDATES_KEPT: usize = 500;
/// What was told last, for `/logs`.
const RECENT_KEPT: usize = 30;

/// Everything the journal says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Letters that wait, by number: older ones have lower numbers.
    pub waiting: BTreeMap<u64, Waiting>,
    /// The message under way.
    pub sending: Option<Sending>,
    /// Letters that will never arrive, newest last.
    pub dead: VecDeque<DeadLetter>,
    /// The critical under way over the fallback; it waits for Telegram all the while.
    pub falling: Option<u64>,
    /// Telegram's last call did not deliver: since when that is so, and why.
    pub away: Option<Away>,
    /// What became of all messages so far.
    pub totals: Totals,
    /// Another chat in place of the one that was set.
    pub migrated: Option<(i64, i64)>,
    /// The newest period that a heartbeat was written for.
    pub heartbeat: Option<u64>,
    /// The last heartbeat before a silence of the watchdog that was told and has not ended.
    pub silence: Option<String>,
    /// When the last message arrived.
    pub last_sent: Option<UtcMs>,
    /// The order that is being carried out.
    pub under_way: Option<UnderWay>,
    /// Where those who may order gave their last one.
    orderers: BTreeMap<String, i64>,
    /// What the owner does not want to hear of.
    pub silences: Vec<Silence>,
    /// Who was away, and what is held because of it.
    pub outages: Outages,
    /// The headings of what was queued last, newest last.
    pub recent: VecDeque<(UtcMs, String)>,
    /// Updates that were looked at, newest last. A set and not a mark: Telegram begins anew, anywhere, after a
    /// week without one.
    updates: VecDeque<i64>,
    known: BTreeSet<String>,
    /// The same, oldest first, with when they were queued.
    remembered: VecDeque<(UtcMs, String)>,
    next: u64,
}

/// A letter that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// It.
    pub letter: Letter,
    /// How often it may have arrived already.
    pub repeats: u32,
    /// When it was queued.
    pub queued: UtcMs,
    /// What became of it over the fallback.
    pub elsewhere: Elsewhere,
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
pub struct UnderWay {
    /// Who gave it.
    pub who: String,
    /// Where he is answered.
    pub chat: i64,
    /// It, in one line.
    pub command: String,
}

/// What became of a letter over the fallback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elsewhere {
    /// It did not arrive there.
    No,
    /// It arrived there: in Telegram it is only counted.
    Told,
    /// It is refused there: Telegram alone is left.
    Refused,
}

/// Telegram takes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Away {
    /// Since this call.
    pub since: UtcMs,
    /// Why the last one failed, one line.
    pub why: String,
}

/// A message under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending {
    /// The letters in it.
    pub letters: BTreeMap<u64, Waiting>,
    /// They are only counted in it.
    pub digest: bool,
}

/// Counts of messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Arrived.
    pub sent: u64,
    /// Went out without a clear answer.
    pub unknown: u64,
    /// Surely did not arrive, and were tried again.
    pub returned: u64,
    /// Refused for good.
    pub dead: u64,
    /// Arrived over the fallback.
    pub fallen: u64,
}

/// A record of a newer program: to go on without it could repeat or lose a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newer(pub u16);

impl State {
    /// Adds one journal message.
    ///
    /// # Errors
    /// [`Newer`] for an envelope of a version that this program does not know.
    pub fn fold(&mut self, entry: &JournalEntry<Record>) -> Result<(), Newer> {
        if entry.v > VERSION {
            return Err(Newer(entry.v));
        }
        for record in &entry.records {
            self.apply(entry.at, record);
        }
        Ok(())
    }

    /// Adds one record, stored at this time.
    pub fn apply(&mut self, at: UtcMs, record: &Record) {
        self.outages.apply(at, record);
        match record {
            // For people who read the journal: who delivers is the fence's business.
            // The stranger's is on the bus, too.
            Record::OwnerTookOver { .. } | Record::StrangerIgnored { .. } => {}
            Record::Queued { event, letters } => self.queue(at, event, letters),
            Record::Sending { letters, digest } => self.send(letters, *digest),
            Record::Sent { .. } => {
                self.sending = None;
                self.away = None;
                self.last_sent = Some(at);
                self.totals.sent += 1;
            }
            Record::Unknown { why } => {
                self.put_back(1);
                self.failed(at, why);
                self.totals.unknown += 1;
            }
            Record::Returned { why } => {
                self.put_back(0);
                self.failed(at, why);
                self.totals.returned += 1;
            }
            Record::Dead { why } => {
                self.away = None;
                self.bury(why);
            }
            Record::Resent { letters } => {
                dead::raise(&mut self.dead, &mut self.waiting, letters, at);
            }
            Record::Migrated { from, to } => {
                self.away = None;
                self.migrated = Some((*from, *to));
                self.put_back(0);
            }
            Record::FallbackSending { letter } => {
                // What was under way before has no outcome: it may have arrived.
                self.landed(Elsewhere::No, 1);
                self.falling = Some(*letter);
            }
            Record::FallbackSent => {
                self.landed(Elsewhere::Told, 0);
                self.totals.fallen += 1;
            }
            Record::FallbackUnknown { .. } => self.landed(Elsewhere::No, 1),
            Record::FallbackReturned { .. } => self.landed(Elsewhere::No, 0),
            Record::FallbackRefused { .. } => self.landed(Elsewhere::Refused, 0),
            other => self.apply_of_the_owner(at, other),
        }
    }

    /// Orders, their answers, and silences.
    fn apply_of_the_owner(&mut self, at: UtcMs, record: &Record) {
        match record {
            Record::UpdateTaken { update } => {
                if self.updates.len() == UPDATES_KEPT {
                    self.updates.pop_front();
                }
                self.updates.push_back(*update);
            }
            Record::CommandBegun { who, chat, command } => {
                self.orderers.insert(who.clone(), *chat);
                self.under_way = Some(UnderWay {
                    who: who.clone(),
                    chat: *chat,
                    command: command.clone(),
                });
            }
            // One is carried out at a time; what only was asked or refused never began.
            Record::CommandEnded { who, command, .. } => {
                let same = |begun: &UnderWay| begun.who == *who && begun.command == *command;
                self.under_way.take_if(|begun| same(begun));
            }
            Record::Replied {
                chat,
                letters,
                buttons,
            } => self.reply(at, *chat, letters, buttons),
            Record::Silenced { name, until } => self.silence(name.clone(), *until),
            Record::SilenceEnded { silence } => {
                let mut place = 0..;
                self.silences.retain(|_| place.next() != Some(*silence));
            }
            Record::Hushed {
                event,
                kind,
                silence,
            } => self.hush(at, event, kind, *silence),
            Record::Held { event, .. } if !self.knows(event) => self.remember(at, event),
            // Delivery's, and what only the outages need.
            _ => {}
        }
    }

    /// Whether this event was queued before.
    pub fn knows(&self, event: &str) -> bool {
        self.known.contains(event)
    }

    /// Whether this update was looked at before.
    pub fn has_taken(&self, update: i64) -> bool {
        self.updates.contains(&update)
    }

    /// The update that was looked at last.
    pub fn last_update(&self) -> Option<i64> {
        self.updates.back().copied()
    }

    /// Which chat an order by this name came from, if the notifier took it.
    pub fn ordered_from(&self, who: &str) -> Option<i64> {
        self.orderers.get(who).copied()
    }

    /// The chat to write to where `set` was configured.
    pub fn chat(&self, set: i64) -> i64 {
        match self.migrated {
            Some((from, to)) if from == set => to,
            _ => set,
        }
    }

    fn queue(&mut self, at: UtcMs, event: &str, letters: &[Letter]) {
        if self.knows(event) {
            return;
        }
        self.remember(at, event);
        self.heartbeat = self.heartbeat.max(heartbeat::period_of(event));
        self.silence = vigil::silence_after(event, self.silence.take());
        for letter in letters {
            if self.recent.len() == RECENT_KEPT {
                self.recent.pop_front();
            }
            self.recent.push_back((letter.at, letter.head.clone()));
            self.wait(at, letter, None);
        }
    }

    /// Its buttons stand below its last part.
    fn reply(&mut self, at: UtcMs, chat: i64, letters: &[Letter], buttons: &[Button]) {
        for (index, letter) in letters.iter().enumerate() {
            let is_last = index + 1 == letters.len();
            let buttons = if is_last {
                buttons.to_vec()
            } else {
                Vec::new()
            };
            self.wait(at, letter, Some(Reply { chat, buttons }));
        }
    }

    fn wait(&mut self, at: UtcMs, letter: &Letter, reply: Option<Reply>) {
        let waiting = Waiting {
            letter: letter.clone(),
            repeats: 0,
            queued: at,
            elsewhere: Elsewhere::No,
            reply,
        };
        self.waiting.insert(self.next, waiting);
        self.next += 1;
    }

    fn silence(&mut self, name: Option<Token>, until: UtcMs) {
        match self.silences.iter_mut().find(|known| known.name == name) {
            Some(known) => known.until = until,
            None => self.silences.push(Silence {
                name,
                until,
                hushed: BTreeMap::new(),
            }),
        }
    }

    fn hush(&mut self, at: UtcMs, event: &str, kind: &str, silence: usize) {
        if self.knows(event) {
            return;
        }
        self.remember(at, event);
        self.heartbeat = self.heartbeat.max(heartbeat::period_of(event));
        self.silence = vigil::silence_after(event, self.silence.take());
        if let Some(silence) = self.silences.get_mut(silence) {
            *silence.hushed.entry(kind.to_owned()).or_default() += 1;
        }
    }

    fn remember(&mut self, at: UtcMs, event: &str) {
        let old = |queued: &UtcMs| at.0.saturating_sub(queued.0) >= REMEMBERED_MS;
        while self
            .remembered
            .front()
            .is_some_and(|(queued, _)| old(queued))
        {
            if let Some((_, event)) = self.remembered.pop_front() {
                self.known.remove(&event);
            }
        }
        self.known.insert(event.to_owned());
        self.remembered.push_back((at, event.to_owned()));
    }

    fn send(&mut self, letters: &[u64], digest: bool) {
        // What was under way before has no outcome: it may have arrived.
        self.put_back(1);
        let taken = letters
            .iter()
            .filter_map(|n| Some((*n, self.waiting.remove(n)?)));
        let letters = taken.collect();
        self.sending = Some(Sending { letters, digest });
    }

    fn put_back(&mut self, repeats: u32) {
        let Some(sending) = self.sending.take() else {
            return;
        };
        for (number, mut waiting) in sending.letters {
            waiting.repeats += repeats;
            self.waiting.insert(number, waiting);
        }
    }

    fn failed(&mut self, at: UtcMs, why: &str) {
        let since = self.away.as_ref().map_or(at, |away| away.since);
        let why = why.to_owned();
        self.away = Some(Away { since, why });
    }

    /// The critical under way over the fallback has come to an end there.
    fn landed(&mut self, elsewhere: Elsewhere, repeats: u32) {
        let letter = self
            .falling
            .take()
            .and_then(|number| self.waiting.get_mut(&number));
        if let Some(waiting) = letter {
            waiting.elsewhere = elsewhere;
            waiting.repeats += repeats;
        }
    }

    fn bury(&mut self, why: &str) {
        self.totals.dead += 1;
        let letters = self.sending.take().map(|sending| sending.letters);
        dead::bury(&mut self.dead, letters.unwrap_or_default(), why);
    }
}
