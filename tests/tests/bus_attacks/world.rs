//! A bus with messages of every role and with listeners on everything that a role may receive. What an attack does shows
//! in the streams, at the listeners and in what the attacker receives; no attack is known here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::message::PublishMessage;
use bearish_tests::bus_config::{self, RoleRights};
use bearish_tests::nats::{NatsServer, RawClient, Role};
use futures_util::{StreamExt, TryStreamExt};
use runtime::bus::Bus;
use runtime::streams;
use tokio::task::JoinSet;

use crate::ROLES;
use crate::attacker::{Attacker, Message, Vector, concrete, targets};

/// Begins the text of every stored message; its subject follows.
const SECRET: &str = "secret of ";
/// Time for an answer that needs several messages.
const SETTLE: Duration = Duration::from_secs(1);

/// A message that a role received.
struct ReceivedMessage {
    listener: Role,
    /// Subject of the subscription. An answer that is aimed at it keeps its own subject.
    filter: String,
    subject: String,
    text: String,
}

type Received = Arc<Mutex<Vec<ReceivedMessage>>>;

pub(crate) struct World {
    nats: NatsServer,
    admins: [Bus; 2],
    clients: BTreeMap<&'static str, RawClient>,
    received: Received,
    tasks: JoinSet<()>,
}

impl World {
    /// With the project's configuration.
    pub(crate) async fn with_accounts() -> Self {
        Self::on(NatsServer::with_streams().await).await
    }

    /// With the earlier configuration: one account for all roles.
    pub(crate) async fn with_one_account() -> Self {
        let config =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bus_attacks/one_account.conf");
        Self::on(NatsServer::with_streams_and_config(&config).await).await
    }

    async fn on(nats: NatsServer) -> Self {
        let admins = [
            nats.bus(Role::BusInit).await,
            nats.bus(Role::BusInitEvents).await,
        ];
        let mut world = Self {
            nats,
            admins,
            clients: BTreeMap::new(),
            received: Received::default(),
            tasks: JoinSet::new(),
        };
        for role in ROLES {
            world.seed(role).await;
        }
        world.make_notifier_consumer().await;
        for role in ROLES {
            world.listen(role).await;
        }
        world
    }

    /// One message under each subject that the role may store.
    async fn seed(&self, role: Role) {
        let bus = self.nats.bus(role).await;
        for filter in &Attacker::new(role).rights().stores {
            for subject in seeds(filter) {
                let message = PublishMessage::build().payload(format!("{SECRET}{subject}").into());
                bus.store(&subject, message).await.unwrap();
            }
        }
    }

    /// The durable consumer of the notifier, with events that wait.
    async fn make_notifier_consumer(&self) {
        let bus = self.nats.bus(Role::Notifier).await;
        let stream = bus.jetstream().get_stream(streams::EVENTS).await.unwrap();
        let config = pull::Config {
            durable_name: Some("notifier".to_owned()),
            name: Some("notifier".to_owned()),
            filter_subject: "event.v1.>".to_owned(),
            ack_policy: AckPolicy::Explicit,
            ..pull::Config::default()
        };
        stream.create_consumer(config).await.unwrap();
    }

    /// Subscribes to everything that the role may receive, beginning with its inbox.
    async fn listen(&mut self, role: Role) {
        let client = self.nats.raw_client(role).await;
        let rights = Attacker::new(role);
        let rights = rights.rights();
        let mut subjects = vec![format!("_INBOX_{}.>", role.user())];
        subjects.extend(
            rights
                .receives
                .iter()
                .map(|(_, subject)| (*subject).to_owned()),
        );
        let own = rights.own.iter().chain(&rights.answers);
        subjects.extend(own.filter(|s| !s.starts_with('_')).map(|s| (*s).to_owned()));
        for subject in subjects {
            let mut messages = client.client.subscribe(subject.clone()).await.unwrap();
            let received = Arc::clone(&self.received);
            self.tasks.spawn(async move {
                while let Some(message) = messages.next().await {
                    let text = String::from_utf8_lossy(&message.payload).into_owned();
                    let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
                    received.push(ReceivedMessage {
                        listener: role,
                        filter: subject.clone(),
                        subject: message.subject.to_string(),
                        text,
                    });
                }
            });
        }
        client.client.flush().await.unwrap();
        self.clients.insert(role.user(), client);
    }

    /// Sends every attack of the role; what it changed or learned outside its rights, in one line each.
    pub(crate) async fn damage_of_all(&mut self, role: Role) -> Vec<String> {
        let attacker = Attacker::new(role);
        let mut attacks = Vec::new();
        for (target, body) in targets(role.user()) {
            let call = target.strip_prefix("$JS.API.");
            let mapped = call.map(|call| format!("bus.API.{call}"));
            for target in [Some(target.to_owned()), mapped].into_iter().flatten() {
                let aimed = Vector::ALL.map(|vector| attacker.aim(vector, &target, &body));
                attacks.extend(aimed);
            }
        }
        attacks.extend(
            attacker
                .other_messages()
                .into_iter()
                .map(|message| vec![message]),
        );
        self.damage_of(role, attacks).await
    }

    /// Carries out these attacks side by side; what they changed or taught the role outside its rights, in one line
    /// each.
    pub(crate) async fn damage_of(
        &mut self,
        role: Role,
        attacks: Vec<Vec<Message>>,
    ) -> Vec<String> {
        let before = self.fingerprint().await;
        self.take_received();
        let steps = attacks.iter().map(Vec::len).max().unwrap_or_default();
        let mut attacks: Vec<_> = attacks.into_iter().map(Vec::into_iter).collect();
        for _ in 0..steps {
            let step = attacks.iter_mut().filter_map(Iterator::next);
            Attacker::send(&self.clients[role.user()], step).await;
            tokio::time::sleep(SETTLE).await;
        }
        let after = self.fingerprint().await;
        let attacker = Attacker::new(role);
        let rights = attacker.rights();
        let mut damage = changes(&before, &after, rights);
        for message in self.take_received() {
            let is_wrong = if message.listener == role {
                is_leak(rights, &message.text)
            } else {
                let is_aimed = !matches(&message.filter, &message.subject);
                is_aimed || !may_send(rights, &message.subject)
            };
            if is_wrong {
                let text: String = message.text.chars().take(100).collect();
                let (listener, subject) = (message.listener.user(), &message.subject);
                damage.push(format!("{listener} received {subject}: {text}"));
            }
        }
        damage
    }

    fn take_received(&self) -> Vec<ReceivedMessage> {
        let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *received)
    }

    /// Everything in both accounts: configuration of each stream, last sequence of each subject, each consumer.
    async fn fingerprint(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for admin in &self.admins {
            let jetstream = admin.jetstream();
            let names: BTreeSet<String> = jetstream.stream_names().try_collect().await.unwrap();
            for name in names {
                let stream = jetstream.get_stream(&name).await.unwrap();
                let config = json_of(&stream.cached_info().config);
                found.insert(format!("stream {name}"), config);
                for subject in admin.subjects(&name, ">").await.unwrap() {
                    let last = admin.latest_message(&name, &subject).await.unwrap();
                    let seq = last.map_or(0, |message| message.seq);
                    found.insert(format!("subject {subject}"), seq.to_string());
                }
                let consumers: Vec<_> = stream.consumers().try_collect().await.unwrap();
                for info in consumers {
                    let state = format!(
                        "{} {:?} {:?} acks pending {}",
                        json_of(&info.config),
                        info.delivered,
                        info.ack_floor,
                        info.num_ack_pending
                    );
                    found.insert(format!("consumer {name} {}", info.name), state);
                }
            }
        }
        found
    }
}

/// A configuration with sorted fields: newer servers add metadata, which has no order.
fn json_of(config: &impl serde::Serialize) -> String {
    serde_json::to_value(config).unwrap().to_string()
}

/// Subjects for a filter; a filter of both modes stands for both.
fn seeds(filter: &str) -> Vec<String> {
    if filter.starts_with("journal.v1.account_command.*") {
        return ["paper", "live"]
            .map(|mode| format!("journal.v1.account_command.{mode}.venue.account"))
            .to_vec();
    }
    let keys = ["venue.account.S", "bearish-alpha.local", "operator"];
    keys.map(|key| concrete(filter, key)).to_vec()
}

/// What differs and does not follow from the role's rights.
fn changes(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
    rights: &RoleRights,
) -> Vec<String> {
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed = keys
        .into_iter()
        .filter(|key| before.get(*key) != after.get(*key));
    changed
        .filter(|key| !is_own_change(key, after, rights))
        .map(|key| format!("{key}: {:?} -> {:?}", before.get(key), after.get(key)))
        .collect()
}

fn is_own_change(key: &str, after: &BTreeMap<String, String>, rights: &RoleRights) -> bool {
    let parts: Vec<&str> = key.split(' ').collect();
    match parts.as_slice() {
        // A message of its own may be replaced by the next one, but not vanish.
        ["subject", subject] => may_store(rights, subject) && after.contains_key(key),
        ["consumer", stream, name] => {
            let is_durable = rights
                .durable
                .is_some_and(|(s, n, _)| (s, n) == (*stream, *name));
            let filter = |stream: &str, filter: &str| {
                rights
                    .replays
                    .iter()
                    .any(|(own, wide)| *own == stream && matches(wide, filter))
            };
            let config = after.get(key).map_or("", String::as_str);
            let filters = config.split("\"filter_subject\":\"").skip(1);
            let filters: Vec<&str> = filters.filter_map(|rest| rest.split('"').next()).collect();
            let replayed = !config.contains("\"filter_subjects\":[\"")
                && !filters.is_empty()
                && filters.iter().all(|f| filter(stream, f));
            is_durable || replayed
        }
        _ => false,
    }
}

fn may_store(rights: &RoleRights, subject: &str) -> bool {
    rights.stores.iter().any(|filter| matches(filter, subject))
}

/// Whether another role may receive this subject from the role.
fn may_send(rights: &RoleRights, subject: &str) -> bool {
    let requested = rights.requests.iter().map(|(_, filter)| *filter);
    let answered = rights.answers.iter().copied();
    may_store(rights, subject)
        || requested
            .chain(answered)
            .any(|filter| matches(filter, subject))
}

/// Whether the text is that of a message which the role may not read.
fn is_leak(rights: &RoleRights, text: &str) -> bool {
    text.split(SECRET).skip(1).any(|rest| {
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)));
        let subject = &rest[..end.unwrap_or(rest.len())];
        let reads = rights
            .reads
            .iter()
            .chain(&rights.replays)
            .map(|(_, filter)| filter.as_str());
        let durable = rights.durable.iter().map(|(_, _, filter)| *filter);
        let receives = rights.receives.iter().map(|(_, filter)| *filter);
        let may_read = reads
            .chain(durable)
            .chain(receives)
            .any(|filter| matches(filter, subject));
        !may_read && !may_store(rights, subject)
    })
}

/// Whether a subject or a narrower filter lies within a filter.
fn matches(filter: &str, subject: &str) -> bool {
    bus_config::is_within(filter, subject)
}
