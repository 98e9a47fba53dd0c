//! What an attacker with the credential of one role can send.

use async_nats::HeaderMap;
use bearish_tests::bus_config::{self, RoleRights};
use bearish_tests::nats::{RawClient, Role};
use serde_json::json;

/// One message of an attack.
pub(crate) struct Message {
    pub(crate) subject: String,
    pub(crate) reply: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Message {
    fn new(subject: impl Into<String>, body: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            reply: None,
            headers: HeaderMap::new(),
            body: body.into(),
        }
    }

    fn with_reply(self, reply: &str) -> Self {
        Self {
            reply: Some(reply.to_owned()),
            ..self
        }
    }
}

/// A way to reach a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vector {
    /// A plain message.
    Publish,
    /// The answer to a direct get of a message whose text the attacker has chosen.
    DirectGet,
    /// The empty answer to a direct get of a missing message.
    MissingMessage,
    /// The answer to a query of a stream.
    StreamInfo,
    /// The answer to a query of the account.
    AccountInfo,
    /// The acknowledgement of a stored message.
    StoreAck,
    /// The answer to the creation of a consumer.
    ConsumerAnswer,
    /// A message that a pull consumer of the attacker delivers.
    PullRequest,
    /// A message that a push consumer of the attacker delivers.
    DeliverSubject,
}

impl Vector {
    pub(crate) const ALL: [Self; 9] = [
        Self::Publish,
        Self::DirectGet,
        Self::MissingMessage,
        Self::StreamInfo,
        Self::AccountInfo,
        Self::StoreAck,
        Self::ConsumerAnswer,
        Self::PullRequest,
        Self::DeliverSubject,
    ];
}

/// Subjects that move money, containers, knowledge or the bus itself, and a body that does harm there.
pub(crate) fn targets(user: &str) -> Vec<(&'static str, String)> {
    let loot = format!("_INBOX_{user}.loot");
    let consumer = |stream: &str, filter: &str| {
        let config = json!({"name": "loot", "deliver_subject": loot, "ack_policy": "none",
            "filter_subject": filter, "deliver_policy": "all"});
        json!({"stream_name": stream, "config": config}).to_string()
    };
    let stream = |name: &str, source: &str| {
        json!({"name": name, "storage": "memory", "num_replicas": 1, "retention": "limits",
            "max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "discard": "old",
            source: if source == "mirror" { json!({"name": "JOURNAL"}) } else { json!([{"name": "JOURNAL"}]) }})
        .to_string()
    };
    let command =
        json!({"by": "attacker", "reason": "attack", "unit": "trader-live-1"}).to_string();
    let record =
        json!({"v": 1, "command": "flatten", "by": "attacker", "reason": "attack"}).to_string();
    let text = |text: &str| text.to_owned();
    vec![
        ("command.v1.watchdog.bearish-alpha.local.stop", command.clone()),
        ("command.v1.notifier.resend", command),
        ("journal.v1.account_command.live.venue.account", record.clone()),
        ("journal.v1.account_command.paper.venue.account", record.clone()),
        ("journal.v1.book.live.venue.account.S", record.clone()),
        ("journal.v1.book.paper.venue.account.S", record.clone()),
        ("journal.v1.watchdog.bearish-alpha.local", record.clone()),
        ("journal.v1.notifier.operator", record),
        ("lease.v1.book.live.venue.account.S", text("{}")),
        ("lease.v1.watchdog.bearish-alpha.local", text("{}")),
        ("snapshot.v1.book.live.venue.account.S", text("{}")),
        ("trade.v1.live.venue.account.S", text("{}")),
        ("report.v1.account.live.venue.account", text("{}")),
        ("heartbeat.v1.trader.live.bearish-alpha.local.trader-live-1", text(r#"{"interval_ms":0}"#)),
        ("heartbeat.v1.trader.paper.bearish-alpha.local.trader-paper-1", text(r#"{"interval_ms":0}"#)),
        ("heartbeat.v1.watchdog.bearish-alpha.local.watchdog-1", text("{}")),
        ("event.v1.trader.live.bearish-alpha.local.trader-live-1.info.trader_stopped", text("{}")),
        ("event.v1.watchdog.bearish-alpha.local.watchdog-1.info.unit_stopped", text("{}")),
        ("event.v1.notifier.bearish-alpha.local.notifier-1.info.x", text("{}")),
        ("_INBOX_watchdog.x", text("{}")),
        ("_INBOX_notifier.x", text("{}")),
        ("_INBOX_trader-live.x", text("{}")),
        ("_INBOX_trader-paper.x", text("{}")),
        ("_INBOX_operator.x", text("{}")),
        ("$JS.API.STREAM.DELETE.TRADES", String::new()),
        ("$JS.API.STREAM.DELETE.EVENTS", String::new()),
        ("$JS.API.STREAM.PURGE.REPORTS", String::new()),
        ("$JS.API.STREAM.PURGE.EVENTS", String::new()),
        ("$JS.API.STREAM.MSG.DELETE.REPORTS", text(r#"{"seq":1}"#)),
        ("$JS.API.STREAM.MSG.GET.JOURNAL", text(r#"{"seq":1}"#)),
        ("$JS.API.STREAM.CREATE.COPY", stream("COPY", "mirror")),
        ("$JS.API.STREAM.CREATE.SOURCED", stream("SOURCED", "sources")),
        ("$JS.API.STREAM.UPDATE.LEASES", stream("LEASES", "sources")),
        ("$JS.API.STREAM.SNAPSHOT.JOURNAL", json!({"deliver_subject": loot}).to_string()),
        ("$JS.API.STREAM.RESTORE.FORGED", json!({"config": {"name": "FORGED", "subjects": ["forged"]},
            "state": {"messages": 0, "bytes": 0, "first_seq": 0, "last_seq": 0, "consumer_count": 0}}).to_string()),
        ("$JS.API.CONSUMER.CREATE.JOURNAL.loot.journal.v1.book.live.>", consumer("JOURNAL", "journal.v1.book.live.>")),
        ("$JS.API.CONSUMER.CREATE.JOURNAL.loot.journal.v1.book.paper.>", consumer("JOURNAL", "journal.v1.book.paper.>")),
        ("$JS.API.CONSUMER.CREATE.EVENTS.loot.event.v1.>", consumer("EVENTS", "event.v1.>")),
        ("$JS.API.CONSUMER.DELETE.EVENTS.notifier", String::new()),
        ("$JS.API.CONSUMER.PAUSE.EVENTS.notifier", text(r#"{"pause_until":"2099-01-01T00:00:00Z"}"#)),
        ("$JS.API.CONSUMER.MSG.NEXT.EVENTS.notifier", String::new()),
        ("$JS.ACK.EVENTS.notifier.1.1.1.1.0", text("+TERM")),
        ("$JS.EVENT.ADVISORY.API", text("{}")),
        ("$SYS.REQ.SERVER.PING", String::new()),
        ("$SYS.REQ.ACCOUNT.STREAMS.CONNZ", String::new()),
    ]
}

/// The messages of one role.
pub(crate) struct Attacker {
    role: Role,
    rights: RoleRights,
}

impl Attacker {
    pub(crate) fn new(role: Role) -> Self {
        let mut roles = bus_config::roles().into_iter();
        let rights = roles.find(|rights| rights.user == role.user()).unwrap();
        Self { role, rights }
    }

    pub(crate) fn rights(&self) -> &RoleRights {
        &self.rights
    }

    /// The messages that aim this vector at the target; none if the role lacks the rights for the vector.
    pub(crate) fn aim(&self, vector: Vector, target: &str, body: &str) -> Vec<Message> {
        let api = |call: String| Message::new(format!("bus.API.{call}"), "").with_reply(target);
        let own = self.own_message(vector, target);
        match vector {
            Vector::Publish => vec![Message::new(target, body).with_reply(&self.loot())],
            Vector::DirectGet => own.map_or_else(Vec::new, |(stream, subject)| {
                let get = api(format!("DIRECT.GET.{stream}.{subject}"));
                vec![Message::new(subject, body), get]
            }),
            Vector::MissingMessage => {
                let (stream, filter) = &self.rights.reads[0];
                let missing = concrete(filter, "missing");
                vec![api(format!("DIRECT.GET.{stream}.{missing}"))]
            }
            Vector::StreamInfo => vec![api("STREAM.INFO.JOURNAL".to_owned())],
            Vector::AccountInfo => vec![api("INFO".to_owned())],
            Vector::StoreAck => own.map_or_else(Vec::new, |(_, subject)| {
                vec![Message::new(subject, body).with_reply(target)]
            }),
            Vector::ConsumerAnswer => self.consumer(vector, target, None, Some(target)),
            Vector::PullRequest => {
                let mut messages = self.consumer(vector, target, None, None);
                let stream = self.rights.replays[0].0;
                messages.extend(own.map(|(_, subject)| Message::new(subject, body)));
                let name = consumer_name(vector, target);
                messages.push(api(format!("CONSUMER.MSG.NEXT.{stream}.{name}")));
                messages
            }
            Vector::DeliverSubject => {
                let mut messages = Vec::new();
                messages.extend(own.map(|(_, subject)| Message::new(subject, body)));
                messages.extend(self.consumer(vector, target, Some(target), None));
                messages
            }
        }
    }

    /// Requests that ask for more than their subject says, and headers that change what others have stored.
    pub(crate) fn other_messages(&self) -> Vec<Message> {
        let (stream, filter) = &self.rights.replays[0];
        let own = concrete(filter, "own");
        let secret = "journal.v1.book.live.venue.account.S";
        let create = format!("bus.API.CONSUMER.CREATE.{stream}.more.{own}");
        let consumer = |filters: serde_json::Value| {
            let mut config = json!({"name": "more", "ack_policy": "none",
                "deliver_subject": self.loot(), "deliver_policy": "all"});
            config
                .as_object_mut()
                .unwrap()
                .extend(filters.as_object().unwrap().clone());
            json!({"stream_name": stream, "config": config}).to_string()
        };
        let get = format!(
            "bus.API.DIRECT.GET.{}.{}",
            self.rights.reads[0].0,
            concrete(&self.rights.reads[0].1, "own")
        );
        let request =
            |subject: &str, body: String| Message::new(subject, body).with_reply(&self.loot());
        let mut messages = vec![
            request(&create, consumer(json!({"filter_subject": secret}))),
            request(&create, consumer(json!({"filter_subjects": [own, secret]}))),
            request(&create, consumer(json!({}))),
            request(
                &create,
                json!({"stream_name": "EVENTS", "config": {"name": "more"}}).to_string(),
            ),
            request(&get, json!({"seq": 1}).to_string()),
            request(&get, json!({"last_by_subj": secret}).to_string()),
            request(&get, json!({"multi_last": [secret]}).to_string()),
            request(&get, json!({"batch": 100, "seq": 1}).to_string()),
        ];
        for subject in &self.rights.stores {
            let subject = concrete(subject, "own");
            for (name, value) in [
                ("Nats-Rollup", "all"),
                ("Nats-Msg-Id", "live.venue.account.S:1:0"),
                ("Nats-Expected-Last-Subject-Sequence-Subject", secret),
                ("Nats-TTL", "1s"),
                ("Nats-Schedule", "@at 2026-01-01T00:00:00Z"),
            ] {
                let mut message = request(&subject, "{}".to_owned());
                message.headers.insert(name, value);
                messages.push(message);
            }
        }
        messages
    }

    /// Sends the messages and waits until the server has received them.
    pub(crate) async fn send(client: &RawClient, messages: impl Iterator<Item = Message>) {
        for message in messages {
            let Message {
                subject,
                reply,
                headers,
                body,
            } = message;
            let client = &client.client;
            let sent = match reply {
                Some(reply) => {
                    client
                        .publish_with_reply_and_headers(subject, reply, headers, body.into())
                        .await
                }
                None => {
                    client
                        .publish_with_headers(subject, headers, body.into())
                        .await
                }
            };
            sent.unwrap();
            // More messages at once than the client's buffer holds would wait for ever.
            client.flush().await.unwrap();
        }
    }

    fn loot(&self) -> String {
        format!("_INBOX_{}.loot", self.role.user())
    }

    /// Stream and subject of a message that the role may store, read and replay; `None` if it stores nothing.
    fn own_message(&self, vector: Vector, target: &str) -> Option<(&'static str, String)> {
        let (stream, filter) = &self.rights.replays[0];
        let is_stored = self.rights.stores.contains(filter);
        is_stored.then(|| (*stream, concrete(filter, &consumer_name(vector, target))))
    }

    fn consumer(
        &self,
        vector: Vector,
        target: &str,
        deliver: Option<&str>,
        reply: Option<&str>,
    ) -> Vec<Message> {
        let (stream, filter) = &self.rights.replays[0];
        let name = consumer_name(vector, target);
        // Without messages of its own it delivers what it may read.
        let filter = self.own_message(vector, target).map_or_else(
            || {
                if filter == ">" {
                    "journal.v1.watchdog.bearish-alpha.local".to_owned()
                } else {
                    filter.clone()
                }
            },
            |(_, subject)| subject,
        );
        let mut config = json!({"name": name, "ack_policy": "none", "filter_subject": filter, "deliver_policy": "all"});
        if let Some(deliver) = deliver {
            config["deliver_subject"] = json!(deliver);
            // Its messages have a reply subject, as a request has.
            config["ack_policy"] = json!("explicit");
        }
        let body = json!({"stream_name": stream, "config": config}).to_string();
        let message = Message::new(
            format!("bus.API.CONSUMER.CREATE.{stream}.{name}.{filter}"),
            body,
        );
        let reply = reply.map_or_else(|| self.loot(), str::to_owned);
        vec![message.with_reply(&reply)]
    }
}

/// A subject that matches the filter: its wildcards as names.
pub(crate) fn concrete(filter: &str, last: &str) -> String {
    let tokens = filter.split('.').map(|token| match token {
        "*" => "any",
        ">" => last,
        other => other,
    });
    tokens.collect::<Vec<_>>().join(".")
}

/// Name of the consumer that an attack creates.
fn consumer_name(vector: Vector, target: &str) -> String {
    let target: String = target
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    format!("{vector:?}-{target}")
}
