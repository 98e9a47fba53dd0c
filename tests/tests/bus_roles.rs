//! Who may do what on the bus, with the project's own configuration; and that bus-init makes the
//! streams what every service relies on, and keeps them so.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::time::Duration;

use async_nats::jetstream::stream::Config;
use bearish_tests::nats::{NatsServer, RawClient, Role};
use bearish_tests::process::{Process, binary};
use bearish_tests::wait::DEFAULT_TIMEOUT;
use protocol::ids::{BookKey, SubjectToken};
use protocol::subject::Subject;
use runtime::bus::Bus;
use runtime::journal::Journal;
use runtime::streams;

/// Of the mode in question; `@` is the mode.
const TRADER_SUBJECTS: [&str; 21] = [
    "heartbeat.v1.trader.@.p.h.t",
    "event.v1.trader.@.p.h.t.info.trader_started",
    "report.v1.book.@.venue.account.S",
    "report.v1.equity.@.venue.account.S",
    "report.v1.account.@.venue.account",
    "journal.v1.account.@.venue.account",
    "journal.v1.account_command.@.venue.account",
    "lease.v1.account.@.venue.account",
    "bus.API.DIRECT.GET.JOURNAL.journal.v1.account.@.venue.account",
    "bus.API.DIRECT.GET.REPORTS.report.v1.account.@.venue.account",
    "trade.v1.@.venue.account.S",
    "journal.v1.book.@.venue.account.S",
    "snapshot.v1.book.@.venue.account.S",
    "lease.v1.book.@.venue.account.S",
    "lease.v1.member.@.venue.account.p.h.t",
    "presence.v1.trader.@.p.h.t",
    "bus.API.DIRECT.GET.JOURNAL.journal.v1.book.@.venue.account.S",
    "bus.API.CONSUMER.CREATE.JOURNAL.c.journal.v1.book.@.venue.account.S",
    "bus.API.CONSUMER.CREATE.JOURNAL.c.journal.v1.account_command.@.venue.account",
    "bus.API.CONSUMER.CREATE.REPORTS.c.report.v1.account.@.venue.account",
    "bus.API.CONSUMER.CREATE.REPORTS.c.report.v1.book.@.venue.account.*",
];

/// Subjects that no trader may use, in either mode.
const FORBIDDEN_SUBJECTS: [&str; 28] = [
    "heartbeat.v1.watchdog.p.h.w",
    "event.v1.watchdog.p.h.w.info.x",
    "event.v1.notifier.p.h.n.info.x",
    "journal.v1.account_command.account",
    "journal.v1.watchdog.p.h",
    "lease.v1.watchdog.p.h",
    "command.v1.trader.pause",
    "command.v1.notifier.pause",
    "bus.API.STREAM.CREATE.MINE",
    "bus.API.STREAM.UPDATE.JOURNAL",
    "bus.API.STREAM.DELETE.JOURNAL",
    "bus.API.STREAM.PURGE.JOURNAL",
    "bus.API.STREAM.PURGE.EVENTS",
    "bus.API.STREAM.MSG.DELETE.JOURNAL",
    "bus.API.STREAM.MSG.GET.JOURNAL",
    "bus.API.STREAM.SNAPSHOT.JOURNAL",
    "bus.API.STREAM.RESTORE.JOURNAL",
    "bus.API.STREAM.LIST",
    "bus.API.DIRECT.GET.JOURNAL",
    "bus.API.DIRECT.GET.EVENTS.event.v1.trader.@.p.h.t.info.x",
    "bus.API.CONSUMER.CREATE.JOURNAL",
    "bus.API.CONSUMER.CREATE.JOURNAL.c",
    "bus.API.CONSUMER.CREATE.EVENTS.c.event.v1.trader.@.p.h.t.info.x",
    "bus.API.CONSUMER.DURABLE.CREATE.JOURNAL.c",
    "bus.API.CONSUMER.LIST.JOURNAL",
    "bus.API.CONSUMER.NAMES.JOURNAL",
    "$SYS.REQ.SERVER.PING",
    "_INBOX_operator.x",
];

async fn assert_may_not_publish(
    client: &RawClient,
    user: &str,
    subjects: impl IntoIterator<Item = String>,
) {
    for subject in subjects {
        assert!(
            !client.may_publish(&subject, "").await,
            "{user} may publish {subject}"
        );
    }
}

#[tokio::test]
async fn trader_may_use_the_subjects_of_its_own_mode_only() {
    let nats = NatsServer::with_streams().await;
    for (role, own, other) in [
        (Role::TraderPaper, "paper", "live"),
        (Role::TraderLive, "live", "paper"),
    ] {
        let (who, bare) = (role.user(), nats.raw_client(role).await);
        for subject in TRADER_SUBJECTS.map(|subject| subject.replace('@', own)) {
            assert!(
                bare.may_publish(&subject, "").await,
                "{who} needs {subject}"
            );
        }
        let of_mode = TRADER_SUBJECTS
            .iter()
            .filter(|subject| subject.contains('@'));
        assert_may_not_publish(&bare, who, of_mode.map(|s| s.replace('@', other))).await;
        assert_may_not_publish(&bare, who, FORBIDDEN_SUBJECTS.map(str::to_owned)).await;
        let inbox = format!("_INBOX_{who}.x");
        let presence = format!("presence.v1.trader.{own}.p.h.t");
        for subject in [inbox, presence] {
            assert!(bare.may_subscribe(&subject).await, "{who} needs {subject}");
        }
        let presence = format!("presence.v1.trader.{other}.p.h.t");
        assert!(!bare.may_subscribe(&presence).await, "{who}: {presence}");
        for subject in [
            ">",
            "journal.v1.>",
            "event.v1.>",
            "_INBOX.x",
            "_INBOX_operator.>",
        ] {
            assert!(
                !bare.may_subscribe(subject).await,
                "{who} may receive {subject}"
            );
        }
    }
}

#[tokio::test]
async fn operator_reads_everything_and_writes_nothing() {
    let nats = NatsServer::with_streams().await;
    let bare = nats.raw_client(Role::Operator).await;
    let reads = |subject: &&str| {
        // A consumer has a name, and none is in the account of events.
        let prefixes = ["bus.API.DIRECT.GET.", "bus.API.CONSUMER.CREATE.JOURNAL."];
        prefixes.iter().any(|prefix| subject.starts_with(prefix))
            || subject.starts_with("bus.API.CONSUMER.CREATE.REPORTS.")
            || ["bus.API.STREAM.MSG.GET.JOURNAL", "bus.API.STREAM.LIST"].contains(subject)
    };
    for subject in FORBIDDEN_SUBJECTS
        .iter()
        .chain(&TRADER_SUBJECTS)
        .filter(|s| reads(s))
    {
        assert!(
            bare.may_publish(subject, "").await,
            "operator needs {subject}"
        );
    }
    let mut others = FORBIDDEN_SUBJECTS
        .iter()
        .chain(&TRADER_SUBJECTS)
        .filter(|s| !reads(s))
        .copied();
    assert!(others.clone().count() > 20);
    assert_may_not_publish(
        &bare,
        "operator",
        others.by_ref().map(|s| s.replace('@', "paper")),
    )
    .await;
}

#[tokio::test]
async fn notifier_reads_events_and_writes_its_journal_and_account_commands() {
    let nats = NatsServer::with_streams().await;
    let bare = nats.raw_client(Role::Notifier).await;
    for subject in [
        "heartbeat.v1.notifier.p.h.n",
        "event.v1.notifier.p.h.n.info.x",
        "command.v1.watchdog.p.h.stop",
        "command.v1.notifier.resend",
        "journal.v1.account_command.paper.venue.account",
        "bus.API.CONSUMER.CREATE.JOURNAL.c.journal.v1.account_command.paper.venue.account",
        "bus.API.CONSUMER.CREATE.EQUITY.c.report.v1.equity.>",
        "bus.API.DIRECT.GET.REPORTS.report.v1.book.paper.venue.account.S",
        "journal.v1.notifier.operator",
        "lease.v1.notifier.operator",
        "bus.API.CONSUMER.CREATE.EVENTS.notifier.event.v1.>",
        "bus.API.CONSUMER.MSG.NEXT.EVENTS.notifier",
        "$JS.ACK.EVENTS.notifier.1.1.1.1.0",
        "bus.API.DIRECT.GET.HEARTBEATS.heartbeat.v1.trader.@.p.h.t",
        "bus.API.DIRECT.GET.HEARTBEATS.heartbeat.v1.watchdog.p.h.w",
        "bus.API.DIRECT.GET.JOURNAL.journal.v1.notifier.operator",
    ] {
        assert!(
            bare.may_publish(subject, "").await,
            "notifier needs {subject}"
        );
    }
    // No other service may publish its notifications.
    let unit_event = "event.v1.watchdog.p.h.w.critical.unit_quarantined";
    let its_own = [
        "journal.v1.account_command.@.",
        "GET.REPORTS.",
        "event.v1.notifier.",
    ];
    let others = TRADER_SUBJECTS.iter().chain(&FORBIDDEN_SUBJECTS);
    let others = others.filter(|subject| !its_own.iter().any(|own| subject.contains(own)));
    let others = others.map(|subject| subject.replace('@', "paper"));
    assert_may_not_publish(&bare, "notifier", others).await;
    assert_may_not_publish(&bare, "notifier", [unit_event.to_owned()]).await;
    assert!(!bare.may_subscribe("event.v1.>").await);
    assert!(bare.may_subscribe("command.v1.notifier.resend").await);
    let trader = nats.raw_client(Role::TraderPaper).await;
    for subject in [
        "$JS.ACK.EVENTS.notifier.1.1.1.1.0",
        "bus.API.CONSUMER.MSG.NEXT.EVENTS.notifier",
        "bus.API.CONSUMER.DELETE.EVENTS.notifier",
    ] {
        assert!(!trader.may_publish(subject, "").await, "{subject}");
    }
}

#[tokio::test]
async fn watchdog_reads_account_commands_and_reports_and_writes_neither() {
    let nats = NatsServer::with_streams().await;
    let bare = nats.raw_client(Role::Watchdog).await;
    for subject in [
        "journal.v1.watchdog.p.h",
        "lease.v1.watchdog.p.h",
        "bus.API.CONSUMER.CREATE.JOURNAL.c.journal.v1.account_command.>",
        "bus.API.CONSUMER.CREATE.REPORTS.c.report.v1.account.>",
        "bus.API.CONSUMER.INFO.REPORTS.c",
        "bus.API.CONSUMER.MSG.NEXT.REPORTS.c",
        "bus.API.DIRECT.GET.REPORTS.report.v1.account.paper.venue.account",
        "bus.API.DIRECT.GET.HEARTBEATS.heartbeat.v1.trader.@.p.h.t",
    ] {
        assert!(
            bare.may_publish(subject, "").await,
            "watchdog needs {subject}"
        );
    }
    let others = [
        "journal.v1.account_command.paper.venue.account",
        "report.v1.account.paper.venue.account",
        "bus.API.CONSUMER.CREATE.REPORTS.c.report.v1.book.paper.venue.account.S",
        "bus.API.CONSUMER.CREATE.REPORTS.c.report.v1.>",
        "bus.API.CONSUMER.CREATE.JOURNAL.c.journal.v1.book.live.venue.account.S",
    ];
    assert_may_not_publish(&bare, "watchdog", others.map(str::to_owned)).await;
}

/// The filter stands in the API's subject, where permissions see it; the request's body must not be
/// able to ask for something else.
#[tokio::test]
async fn request_cannot_ask_for_more_than_its_subject_says() {
    let nats = NatsServer::with_streams().await;
    let live = nats.bus(Role::TraderLive).await;
    let secret = append_record(&live, "live.venue.account.S").await;
    append_record(&nats.bus(Role::TraderPaper).await, "paper.venue.account.S").await;
    let bare = nats.raw_client(Role::TraderPaper).await;
    let own = "journal.v1.book.paper.venue.account.S";
    let create = format!("bus.API.CONSUMER.CREATE.JOURNAL.c.{own}");
    let consumer = |filter: &str| {
        format!(
            r#"{{"stream_name":"JOURNAL","config":{{"name":"c","ack_policy":"none",{filter}}}}}"#
        )
    };
    for (subject, body) in [
        (
            &create,
            consumer(&format!(r#""filter_subject":"{secret}""#)),
        ),
        (
            &create,
            consumer(&format!(r#""filter_subjects":["{own}","{secret}"]"#)),
        ),
        (&create, consumer(r#""deliver_policy":"all""#)),
        (
            &format!("bus.API.DIRECT.GET.JOURNAL.{own}"),
            format!(r#"{{"last_by_subj":"{secret}"}}"#),
        ),
        (
            &format!("bus.API.DIRECT.GET.JOURNAL.{own}"),
            r#"{"seq":1}"#.to_owned(),
        ),
    ] {
        let answer = send_request(&bare, subject, &body).await;
        let made = answer.contains(r#""created""#) || answer.contains(r#""records""#);
        assert!(!made, "{subject} {body}: {answer}");
    }
    let right = consumer(&format!(r#""filter_subject":"{own}""#));
    let made = send_request(&bare, &create, &right).await;
    assert!(
        made.contains(r#""created""#),
        "a sound request fails too: {made}"
    );
}

async fn append_record(bus: &Bus, key: &str) -> String {
    let key: BookKey = key.parse().unwrap();
    let subject = Subject::BookJournal(key);
    let writer: SubjectToken = "writer".parse().unwrap();
    let (mut journal, _) = Journal::replay::<u64>(bus, &subject, writer).await.unwrap();
    journal.append(&[1_u64], 0, |_| {}).await.unwrap();
    subject.to_string()
}

/// Answer's headers and body as text.
async fn send_request(bare: &RawClient, subject: &str, body: &str) -> String {
    let asked = bare
        .client
        .request(subject.to_owned(), body.to_owned().into());
    let answer = tokio::time::timeout(Duration::from_secs(10), asked).await;
    let message = answer.unwrap().unwrap();
    let status = message.status.map_or(String::new(), |s| s.to_string());
    format!("{status} {}", String::from_utf8_lossy(&message.payload))
}

#[tokio::test]
async fn journal_cannot_be_purged_or_deleted_by_any_role() {
    let nats = NatsServer::with_streams().await;
    let paper = nats.bus(Role::TraderPaper).await;
    let subject = append_record(&paper, "paper.venue.account.S").await;
    let admin = nats.raw_client(Role::BusInit).await;
    for (request, body) in [
        ("bus.API.STREAM.PURGE.JOURNAL", "{}".to_owned()),
        (
            "bus.API.STREAM.PURGE.JOURNAL",
            format!(r#"{{"filter":"{subject}"}}"#),
        ),
        (
            "bus.API.STREAM.MSG.DELETE.JOURNAL",
            r#"{"seq":1}"#.to_owned(),
        ),
    ] {
        let answer = send_request(&admin, request, &body).await;
        assert!(answer.contains(r#""error""#), "{request}: {answer}");
    }
    let bus = nats.bus(Role::BusInit).await;
    let mut config = stream_config(&bus, streams::JOURNAL).await;
    config.deny_purge = false;
    let update = bus.jetstream().update_stream(config).await;
    assert!(update.is_err(), "the promise never to purge was taken back");
    let still = paper
        .latest_message(streams::JOURNAL, &subject)
        .await
        .unwrap();
    assert!(still.is_some());
    assert!(
        !admin.may_publish(&subject, "").await,
        "bus-init may write journals"
    );
}

async fn stream_config(bus: &Bus, stream: &str) -> Config {
    let stream = bus.jetstream().get_stream(stream).await.unwrap();
    stream.cached_info().config.clone()
}

#[tokio::test]
async fn bus_init_changes_nothing_the_second_time() {
    let nats = NatsServer::with_streams().await;
    let subject = append_record(&nats.bus(Role::TraderPaper).await, "paper.venue.account.S").await;
    let [others, events] = [
        nats.bus(Role::BusInit).await,
        nats.bus(Role::BusInitEvents).await,
    ];
    let bus_of = |name: &str| {
        if name == streams::EVENTS {
            &events
        } else {
            &others
        }
    };
    let mut before = Vec::new();
    for wanted in streams::stream_configs() {
        let found = stream_config(bus_of(&wanted.name), &wanted.name).await;
        assert_eq!(
            streams::differences(&wanted, &found),
            [""; 0],
            "{}",
            wanted.name
        );
        before.push(found);
    }
    let mut again = nats.start_bus_init();
    assert_eq!(
        again.exit_within(DEFAULT_TIMEOUT).await,
        0,
        "{:?}",
        again.err()
    );
    for earlier in before {
        let bus = bus_of(&earlier.name);
        assert_eq!(stream_config(bus, &earlier.name).await, earlier);
    }
    let newest = nats.bus(Role::Operator).await;
    let newest = newest
        .latest_message(streams::JOURNAL, &subject)
        .await
        .unwrap();
    assert_eq!(newest.unwrap().seq, 1);
}

#[tokio::test]
async fn trader_exits_78_on_a_wrong_stream_config_until_bus_init_fixes_it() {
    let nats = NatsServer::with_streams().await;
    let bus = nats.bus(Role::BusInitEvents).await;
    let mut config = stream_config(&bus, streams::EVENTS).await;
    config.max_age = Duration::from_hours(1);
    bus.jetstream().update_stream(config).await.unwrap();
    let mut trader = start_trader(&nats);
    assert_eq!(
        trader.exit_within(DEFAULT_TIMEOUT).await,
        78,
        "{:?}",
        trader.out()
    );
    let said = trader.err();
    assert_eq!(said.len(), 1, "{said:?}");
    for part in ["stream EVENTS", "max_age", "bus-init"] {
        assert!(said[0].contains(part), "{said:?}");
    }
    let mut bus_init = nats.start_bus_init();
    assert_eq!(
        bus_init.exit_within(DEFAULT_TIMEOUT).await,
        0,
        "{:?}",
        bus_init.err()
    );
    let wanted = streams::stream_configs();
    let wanted = wanted.iter().find(|c| c.name == streams::EVENTS).unwrap();
    let found = stream_config(&bus, streams::EVENTS).await;
    assert_eq!(streams::differences(wanted, &found), [""; 0]);
}

/// A trader without an exchange: it checks the bus first.
fn start_trader(nats: &NatsServer) -> Process {
    let mut command = std::process::Command::new(binary("trader"));
    command
        .env_clear()
        .envs(nats.env(Role::TraderPaper))
        .env("INSTANCE", format!("promise-{}", std::process::id()))
        .args(["--paper", "--infinite"]);
    Process::start("trader", command)
}
