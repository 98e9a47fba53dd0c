//! A simulated environment of the core: journal, clocks, and a Telegram with scripted outcomes.

use bearish_notifier_core::command_hints::CommandHints;
use bearish_notifier_core::decide::{self, Audience};
use bearish_notifier_core::event_intake::IncomingEvent;
use bearish_notifier_core::fallback::{self, FallbackMessage};
use bearish_notifier_core::message::Message;
use bearish_notifier_core::model::Outcome;
use bearish_notifier_core::record::DeliveryRecord;
use bearish_notifier_core::send_limiter::{SendLimiter, SendLimits};
use bearish_notifier_core::state::DeliveryState;
use protocol::event::{Event, EventBody};
use protocol::ids::Service;
use protocol::time::ClockReading;
use protocol::time::UtcMs;
use protocol::unit_remedy::UnitRemedy;

/// Start of the tests, 2026-11-24T03:00:00Z.
pub(crate) const BEGIN: UtcMs = UtcMs(1_795_489_200_000);

/// Chat that receives messages.
pub(crate) const CHAT: i64 = 5;

/// A chat whose bot accepts commands.
pub(crate) const AUDIENCE: Audience = Audience {
    chat: Some(CHAT),
    hints: CommandHints { telegram: true },
};

/// Successive notifiers on one journal.
pub(crate) struct World {
    /// All records with their times.
    pub(crate) journal: Vec<(UtcMs, DeliveryRecord)>,
    /// Fold of the journal.
    pub(crate) state: DeliveryState,
    channel_limiter: SendLimiter,
    fallback_limiter: SendLimiter,
    limits: SendLimits,
    mono: u64,
}

impl World {
    /// A notifier with an empty journal.
    pub(crate) fn new(limits: SendLimits) -> Self {
        let mut world = Self {
            journal: Vec::new(),
            state: DeliveryState::default(),
            channel_limiter: SendLimiter::new(limits),
            fallback_limiter: SendLimiter::new(fallback::LIMITS),
            limits,
            mono: 0,
        };
        world.change_writer();
        world
    }

    /// Reading of both clocks now.
    pub(crate) fn now(&self) -> ClockReading {
        ClockReading {
            utc: UtcMs(BEGIN.0 + i64::try_from(self.mono).unwrap()),
            mono: self.mono,
        }
    }

    /// Advances both clocks by so many milliseconds.
    pub(crate) fn advance(&mut self, ms: u64) {
        self.mono += ms;
    }

    /// Kills the process and starts another one on the journal.
    pub(crate) fn restart(&mut self) {
        let mut state = DeliveryState::default();
        for (at, record) in &self.journal {
            state.apply(*at, record);
        }
        assert_eq!(state, self.state, "the fold is not what was in memory");
        self.channel_limiter = SendLimiter::new(self.limits);
        self.fallback_limiter = SendLimiter::new(fallback::LIMITS);
        self.change_writer();
    }

    fn change_writer(&mut self) {
        let boot = "boot".parse().unwrap();
        let instance = "notifier-1".parse().unwrap();
        let records = decide::writer_changed(&self.state, boot, instance, "0.1.0", self.now().utc);
        self.commit(records);
    }

    /// Receives one event from the bus.
    pub(crate) fn receive(&mut self, id: &str, body: EventBody) {
        let at = self.now().utc;
        self.receive_all(&[incoming_event(id, at, body)]);
    }

    /// Receives several events at once.
    pub(crate) fn receive_all(&mut self, events: &[IncomingEvent]) {
        for records in decide::enqueue_events(&self.state, events, AUDIENCE, self.now().utc) {
            self.commit(records);
        }
    }

    /// Sends the next message; `None` if none may be sent now.
    pub(crate) fn send(&mut self) -> Option<Message> {
        let now = self.now();
        self.channel_limiter
            .note_waiting(decide::has_groupable(&self.state), now.mono);
        let record = decide::next_message(&self.state, &self.channel_limiter, now)?;
        self.commit(vec![record]);
        self.channel_limiter.note_sent(self.mono);
        Some(decide::message_in_flight(&self.state, self.now().utc).unwrap())
    }

    /// Sends the next message after its wait in milliseconds; `None` if nothing is queued.
    pub(crate) fn wait_and_send(&mut self) -> Option<(u64, Message)> {
        let start = self.mono;
        if let Some(message) = self.send() {
            return Some((0, message));
        }
        let wake = decide::wake_at(&self.state, &self.channel_limiter)?;
        self.mono = self.mono.max(wake);
        let message = self.send().expect("a message is due");
        Some((self.mono - start, message))
    }

    /// Ends the call for the message in flight.
    pub(crate) fn end_message(&mut self, outcome: &Outcome) {
        self.channel_limiter.note_outcome(outcome, self.mono);
        self.commit(vec![decide::outcome_record(outcome)]);
    }

    /// Sends the next critical notification by the fallback; `None` if none may be sent now.
    pub(crate) fn send_fallback(&mut self) -> Option<FallbackMessage> {
        let (is_rejected, now) = (self.channel_limiter.is_channel_rejected(), self.now());
        let record =
            fallback::next_critical(&self.state, is_rejected, &self.fallback_limiter, now)?;
        self.commit(vec![record]);
        self.fallback_limiter.note_sent(self.mono);
        Some(fallback::message_in_flight(&self.state, now.utc).unwrap())
    }

    /// Ends the call for the notification in flight on the fallback.
    pub(crate) fn end_fallback(&mut self, outcome: &Outcome) {
        self.fallback_limiter.note_outcome(outcome, self.mono);
        self.commit(vec![fallback::outcome_record(outcome)]);
    }

    /// Sends and delivers everything that is queued; the texts.
    pub(crate) fn drain(&mut self) -> Vec<String> {
        let mut texts = Vec::new();
        while let Some((_, message)) = self.wait_and_send() {
            texts.push(message.text);
            self.end_message(&SENT);
        }
        texts
    }

    /// Journals and folds records.
    pub(crate) fn commit(&mut self, records: Vec<DeliveryRecord>) {
        let at = self.now().utc;
        for record in records {
            self.state.apply(at, &record);
            self.journal.push((at, record));
        }
    }
}

/// Limits of a private chat.
pub(crate) const TELEGRAM: SendLimits = SendLimits::for_telegram(5, 1_000);

/// Outcome of a delivered message.
pub(crate) const SENT: Outcome = Outcome::Delivered {
    message_id: Some(1),
};

/// Outcome of a call without an answer.
pub(crate) fn outcome_unknown() -> Outcome {
    Outcome::Unknown {
        error: "timed out".to_owned(),
    }
}

/// An event from the bus.
pub(crate) fn incoming_event(id: &str, at: UtcMs, body: EventBody) -> IncomingEvent {
    IncomingEvent::Known {
        service: Service::Trader,
        instance: "trader-paper-1".parse().unwrap(),
        event: Event::new(id, at, body),
    }
}

/// An event of severity info.
pub(crate) fn info_event(number: usize) -> EventBody {
    EventBody::ComponentRecovered {
        component: format!("part-{number}-"),
        after_ms: 1_000,
    }
}

/// An event of severity critical.
pub(crate) fn critical_event(number: usize) -> EventBody {
    EventBody::UnitQuarantined {
        unit: "trader-paper-1".parse().unwrap(),
        reason: format!("reason-{number}-"),
        restarts: 11,
        consecutive_failures: 11,
        exit_code: Some(137),
        remedy: UnitRemedy::Release {
            reset_restarts: false,
        },
    }
}
