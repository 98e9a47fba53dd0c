//! A world for the brain: its journal, its clocks, and a Telegram that does as it is told.

use bearish_delivery::compose::Message;
use bearish_delivery::decide::{self, Outcome};
use bearish_delivery::fallback::{self, Parcel};
use bearish_delivery::moment::Moment;
use bearish_delivery::news::News;
use bearish_delivery::pace::{Limits, Pace};
use bearish_delivery::record::Record;
use bearish_delivery::state::State;
use protocol::event::{Event, EventBody};
use protocol::ids::Service;
use protocol::time::UtcMs;

/// 2026-11-24T03:00:00Z.
pub(crate) const BEGIN: UtcMs = UtcMs(1_795_489_200_000);

/// Where messages go.
pub(crate) const CHAT: i64 = 5;

/// One notifier after another on one journal.
pub(crate) struct World {
    /// Everything that was journaled.
    pub(crate) journal: Vec<(UtcMs, Record)>,
    /// Its fold.
    pub(crate) state: State,
    pace: Pace,
    detour: Pace,
    limits: Limits,
    mono: u64,
}

impl World {
    /// Nothing was ever told.
    pub(crate) fn new(limits: Limits) -> Self {
        let mut world = Self {
            journal: Vec::new(),
            state: State::default(),
            pace: Pace::new(limits),
            detour: Pace::new(fallback::LIMITS),
            limits,
            mono: 0,
        };
        world.take_over();
        world
    }

    /// What time it is.
    pub(crate) fn now(&self) -> Moment {
        Moment {
            utc: UtcMs(BEGIN.0 + i64::try_from(self.mono).unwrap()),
            mono: self.mono,
        }
    }

    /// Time goes by.
    pub(crate) fn pass(&mut self, ms: u64) {
        self.mono += ms;
    }

    /// The process is killed and another one starts: only the journal is left.
    pub(crate) fn restart(&mut self) {
        let mut state = State::default();
        for (at, record) in &self.journal {
            state.apply(*at, record);
        }
        assert_eq!(state, self.state, "the fold is not what was in memory");
        self.pace = Pace::new(self.limits);
        self.detour = Pace::new(fallback::LIMITS);
        self.take_over();
    }

    fn take_over(&mut self) {
        let boot = "boot".parse().unwrap();
        let instance = "notifier-1".parse().unwrap();
        let records = decide::take_over(&self.state, boot, instance, "0.1.0", self.now().utc);
        self.commit(records);
    }

    /// Something is told on the bus.
    pub(crate) fn hear(&mut self, id: &str, body: EventBody) {
        let at = self.now().utc;
        self.hear_all(&[news(id, at, body)]);
    }

    /// Several things at once.
    pub(crate) fn hear_all(&mut self, news: &[News]) {
        for records in decide::take_in(&self.state, news, Some(CHAT), self.now().utc) {
            self.commit(records);
        }
    }

    /// The next message, if one may go out now.
    pub(crate) fn send(&mut self) -> Option<Message> {
        let now = self.now();
        self.pace.waits(decide::others_wait(&self.state), now.mono);
        let record = decide::next(&self.state, &self.pace, now)?;
        self.commit(vec![record]);
        self.pace.sent(self.mono);
        Some(decide::due(&self.state, self.now().utc).unwrap())
    }

    /// The next message and how long it had to wait; none if nothing waits.
    pub(crate) fn wait_and_send(&mut self) -> Option<(u64, Message)> {
        let began = self.mono;
        if let Some(message) = self.send() {
            return Some((0, message));
        }
        let wake = decide::wake_at(&self.state, &self.pace)?;
        self.mono = self.mono.max(wake);
        let message = self.send().expect("it is time");
        Some((self.mono - began, message))
    }

    /// The call for the message under way ends.
    pub(crate) fn end(&mut self, outcome: &Outcome) {
        self.pace.ended(outcome, self.mono);
        self.commit(vec![decide::ended(outcome)]);
    }

    /// The next critical that goes over the fallback, if one may now.
    pub(crate) fn fall(&mut self) -> Option<Parcel> {
        let (shut, now) = (self.pace.is_shut(), self.now());
        let record = fallback::next(&self.state, shut, &self.detour, now)?;
        self.commit(vec![record]);
        self.detour.sent(self.mono);
        Some(fallback::due(&self.state, now.utc).unwrap())
    }

    /// The call for the critical under way there ends.
    pub(crate) fn landed(&mut self, outcome: &Outcome) {
        self.detour.ended(outcome, self.mono);
        self.commit(vec![fallback::ended(outcome)]);
    }

    /// Everything that waits goes out and arrives; the texts.
    pub(crate) fn drain(&mut self) -> Vec<String> {
        let mut texts = Vec::new();
        while let Some((_, message)) = self.wait_and_send() {
            texts.push(message.text);
            self.end(&SENT);
        }
        texts
    }

    /// Journals what was decided.
    pub(crate) fn commit(&mut self, records: Vec<Record>) {
        let at = self.now().utc;
        for record in records {
            self.state.apply(at, &record);
            self.journal.push((at, record));
        }
    }
}

/// As a private chat takes it.
pub(crate) const TELEGRAM: Limits = Limits::telegram(5, 1_000);

/// It arrived.
pub(crate) const SENT: Outcome = Outcome::Sent { message: Some(1) };

/// Nobody knows.
pub(crate) fn unknown() -> Outcome {
    Outcome::Unknown {
        why: "timed out".to_owned(),
    }
}

/// An event as it comes from the bus.
pub(crate) fn news(id: &str, at: UtcMs, body: EventBody) -> News {
    News::Known {
        service: Service::Trader,
        instance: "trader-paper-1".parse().unwrap(),
        event: Event::new(id, at, body),
    }
}

/// Good to know.
pub(crate) fn info(number: usize) -> EventBody {
    EventBody::PartRecovered {
        part: format!("part-{number}-"),
        after_ms: 1_000,
    }
}

/// Look now.
pub(crate) fn critical(number: usize) -> EventBody {
    EventBody::GivenUp {
        unit: "trader-paper-1".parse().unwrap(),
        reason: format!("reason-{number}-"),
        restarts: 11,
        consecutive: 11,
        exit: Some(137),
    }
}
