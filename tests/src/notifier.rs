//! The real notifier as a process, on a real bus and a strict Telegram; and how tests tell it things.

use std::collections::BTreeMap;
use std::process::Command;

use async_nats::jetstream::message::PublishMessage;
use protocol::event::{Event, EventBody};
use protocol::ids::Service;
use protocol::subject::Subject;
use protocol::time::UtcMs;
use runtime::bus::Bus;

use crate::nats::{NatsServer, Role};
use crate::process::{Process, binary};
use crate::telegram::Telegram;

/// Whom the tests' events are of.
pub const TRADER: &str = "trader-paper-1";

/// Look now: a critical, which is told alone and at once, and says which one it is.
pub fn quarantined_event(number: usize) -> EventBody {
    EventBody::UnitQuarantined {
        unit: TRADER.parse().unwrap(),
        reason: format!("reason-{number}-"),
        restarts: 11,
        consecutive_failures: 11,
        exit_code: Some(137),
    }
}

/// How to start a notifier, again and again.
#[derive(Clone)]
pub struct NotifierSetup(BTreeMap<String, String>);

impl NotifierSetup {
    /// A notifier without a token. The bus's address makes its name this test's own.
    pub fn new(nats: &NatsServer) -> Self {
        let url = nats.url();
        let port = url.rsplit(':').next().unwrap_or_default();
        let setup = Self(BTreeMap::new())
            .env("INSTANCE", &format!("notifier-{port}"))
            .env("HEARTBEAT_SECS", "1")
            // No secret may show at any level.
            .env("LOG_LEVEL", "debug");
        let bus = nats.env(Role::Notifier);
        bus.iter()
            .fold(setup, |setup, (name, value)| setup.env(name, value))
    }

    /// With a bot that writes to the person of this Telegram.
    #[must_use]
    pub fn with_telegram(self, telegram: &Telegram) -> Self {
        self.env("TELEGRAM_BOT_TOKEN", telegram.token())
            .env("TELEGRAM_CHAT_ID", &telegram.private_chat().to_string())
            .env("TELEGRAM_API_URL", &telegram.url())
    }

    /// With this variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.0.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Starts one.
    pub fn start(&self) -> Process {
        Process::start("notifier", self.command(&[]))
    }

    /// `start_notifier` with these arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("notifier"));
        command.env_clear().envs(&self.0).args(arguments);
        command
    }
}

/// Stores an event as a paper trader of this name would, headers included.
pub async fn publish_event(bus: &Bus, instance: &str, id: &str, body: EventBody) {
    publish_event_at(bus, instance, id, runtime::clock::now(), body).await;
}

/// The same of something that happened then.
pub async fn publish_event_at(bus: &Bus, instance: &str, id: &str, at: UtcMs, body: EventBody) {
    let event = Event::new(id, at, body);
    let subject = Subject::Event {
        service: Service::Trader,
        instance: instance.parse().unwrap(),
        severity: event.severity,
        kind: event.body.kind(),
    };
    let payload = serde_json::to_vec(&event).unwrap();
    let message = PublishMessage::build()
        .payload(payload.into())
        .message_id(id);
    bus.store(&subject.to_string(), message).await.unwrap();
}
