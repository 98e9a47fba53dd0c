//! The real notifier as a process on a real bus and the fake Telegram, and functions that publish events to it.

use std::collections::BTreeMap;
use std::process::Command;

use async_nats::jetstream::message::PublishMessage;
use protocol::event::{Event, EventBody};
use protocol::ids::{Mode, ProcessRole};
use protocol::subject::Subject;
use protocol::time::UtcMs;
use protocol::unit_remedy::UnitRemedy;
use runtime::bus::Bus;

use crate::nats::{NatsServer, Role};
use crate::process::{self, PROJECT, Process, binary};
use crate::telegram::Telegram;

/// Instance that the tests' events come from.
pub const TRADER: &str = "trader-paper-1";

/// A critical event, which is sent at once in a message of its own. Its reason contains `number`.
pub fn quarantined_event(number: usize) -> EventBody {
    EventBody::UnitQuarantined {
        unit: TRADER.parse().unwrap(),
        reason: format!("reason-{number}-"),
        restarts: 11,
        consecutive_failures: 11,
        exit_code: Some(137),
        remedy: UnitRemedy::Release {
            reset_restarts: false,
        },
    }
}

/// Environment of a notifier; can start several processes.
#[derive(Clone)]
pub struct NotifierSetup(BTreeMap<String, String>);

impl NotifierSetup {
    /// A notifier without a bot token. The port of the bus makes its instance name unique to this test.
    pub fn new(nats: &NatsServer) -> Self {
        let url = nats.url();
        let port = url.rsplit(':').next().unwrap_or_default();
        let setup = Self(BTreeMap::new())
            .env("INSTANCE", &format!("notifier-{port}"))
            .env("BEARISH_PROJECT", PROJECT)
            .env("HEARTBEAT_SECS", "1")
            // No secret may be logged at any level.
            .env("LOG_LEVEL", "debug");
        let bus = nats.env(Role::Notifier);
        bus.iter()
            .fold(setup, |setup, (name, value)| setup.env(name, value))
    }

    /// Sets bot token, private chat and address of this Telegram.
    #[must_use]
    pub fn with_telegram(self, telegram: &Telegram) -> Self {
        self.env("TELEGRAM_BOT_TOKEN", telegram.token())
            .env("TELEGRAM_CHAT_ID", &telegram.private_chat().to_string())
            .env("TELEGRAM_API_URL", &telegram.url())
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.0.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Starts a notifier with these settings.
    pub fn start(&self) -> Process {
        Process::start("notifier", self.command(&[]))
    }

    /// Command line `notifier` with these arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("notifier"));
        command.env_clear().envs(&self.0).args(arguments);
        command
    }
}

/// Stores an event, with its headers, as a trader of this instance name would.
pub async fn publish_event(bus: &Bus, instance: &str, id: &str, body: EventBody) {
    publish_event_at(bus, instance, id, runtime::clock::now(), body).await;
}

/// As [`publish_event`], with the time at which the event happened.
pub async fn publish_event_at(bus: &Bus, instance: &str, id: &str, at: UtcMs, body: EventBody) {
    let event = Event::new(id, at, body);
    let subject = Subject::Event {
        process: process::host()
            .process(ProcessRole::Trader(Mode::Paper), instance.parse().unwrap()),
        severity: event.severity,
        kind: event.body.kind().into(),
    };
    let payload = serde_json::to_vec(&event).unwrap();
    let message = PublishMessage::build()
        .payload(payload.into())
        .message_id(id);
    bus.store(&subject.to_string(), message).await.unwrap();
}
