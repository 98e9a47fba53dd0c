//! Who may do what on the bus, with the project's own configuration; and that bus-init makes the
//! streams what every service relies on, and keeps them so.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::time::Duration;

use async_nats::jetstream::stream::Config;
use bearish_tests::nats::{Bare, NatsServer, Role};
use bearish_tests::patience::SOON;
use bearish_tests::process::{Process, binary};
use protocol::ids::{BookKey, Token};
use protocol::subject::Subject;
use runtime::bus::Bus;
use runtime::journal::Journal;
use runtime::streams;

/// Of the mode in question; `@` is the mode.
const OWN: [&str; 17] = [
    "heartbeat.v1.trader.t",
    "event.v1.trader.t.info.trader_started",
    "report.v1.book.@.venue.account.S",
    "report.v1.equity.@.venue.account.S",
    "report.v1.account.@.venue.account",
    "journal.v1.account.@.venue.account",
    "journal.v1.operator.@.venue.account",
    "lease.v1.account.@.venue.account",
    "$JS.API.DIRECT.GET.JOURNAL.journal.v1.account.@.venue.account",
    "$JS.API.DIRECT.GET.REPORTS.report.v1.account.@.venue.account",
    "trade.v1.@.venue.account.S",
    "journal.v1.book.@.venue.account.S",
    "snapshot.v1.book.@.venue.account.S",
    "lease.v1.book.@.venue.account.S",
    "lease.v1.instance.trader.@.venue.account.t",
    "$JS.API.DIRECT.GET.JOURNAL.journal.v1.book.@.venue.account.S",
    "$JS.API.CONSUMER.CREATE.JOURNAL.c.journal.v1.book.@.venue.account.S",
];

/// Of nobody who trades, whatever the mode.
const NOBODYS: [&str; 28] = [
    "heartbeat.v1.watchdog.w",
    "event.v1.watchdog.w.info.x",
    "event.v1.notifier.n.info.x",
    "journal.v1.operator.account",
    "journal.v1.watchdog.unit",
    "lease.v1.watchdog.project",
    "command.v1.trader.pause",
    "command.v1.notifier.pause",
    "$JS.API.STREAM.CREATE.MINE",
    "$JS.API.STREAM.UPDATE.JOURNAL",
    "$JS.API.STREAM.DELETE.JOURNAL",
    "$JS.API.STREAM.PURGE.JOURNAL",
    "$JS.API.STREAM.PURGE.EVENTS",
    "$JS.API.STREAM.MSG.DELETE.JOURNAL",
    "$JS.API.STREAM.MSG.GET.JOURNAL",
    "$JS.API.STREAM.SNAPSHOT.JOURNAL",
    "$JS.API.STREAM.RESTORE.JOURNAL",
    "$JS.API.STREAM.LIST",
    "$JS.API.DIRECT.GET.JOURNAL",
    "$JS.API.DIRECT.GET.EVENTS.event.v1.trader.t.info.x",
    "$JS.API.CONSUMER.CREATE.JOURNAL",
    "$JS.API.CONSUMER.CREATE.JOURNAL.c",
    "$JS.API.CONSUMER.CREATE.EVENTS.c.event.v1.trader.t.info.x",
    "$JS.API.CONSUMER.DURABLE.CREATE.JOURNAL.c",
    "$JS.API.CONSUMER.LIST.JOURNAL",
    "$JS.API.CONSUMER.NAMES.JOURNAL",
    "$SYS.REQ.SERVER.PING",
    "_INBOX_operator.x",
];

async fn may_not(bare: &Bare, who: &str, subjects: impl IntoIterator<Item = String>) {
    for subject in subjects {
        assert!(
            !bare.may_publish(&subject, "").await,
            "{who} may publish {subject}"
        );
    }
}

#[tokio::test]
async fn a_trader_has_its_own_modes_subjects_and_no_others() {
    let nats = NatsServer::with_streams().await;
    for (role, own, other) in [
        (Role::TraderPaper, "paper", "live"),
        (Role::TraderLive, "live", "paper"),
    ] {
        let (who, bare) = (role.user(), nats.client(role).await);
        for subject in OWN.map(|subject| subject.replace('@', own)) {
            assert!(
                bare.may_publish(&subject, "").await,
                "{who} needs {subject}"
            );
        }
        let of_mode = OWN.iter().filter(|subject| subject.contains('@'));
        may_not(&bare, who, of_mode.map(|s| s.replace('@', other))).await;
        may_not(&bare, who, NOBODYS.map(str::to_owned)).await;
        let inbox = format!("_INBOX_{who}.x");
        assert!(bare.may_subscribe(&inbox).await, "{who} needs {inbox}");
        for subject in [
            ">",
            "journal.v1.>",
            "event.v1.>",
            "_INBOX.x",
            "_INBOX_operator.>",
        ] {
            assert!(
                !bare.may_subscribe(subject).await,
                "{who} may hear {subject}"
            );
        }
    }
}

#[tokio::test]
async fn the_operator_reads_everything_and_writes_nothing() {
    let nats = NatsServer::with_streams().await;
    let bare = nats.client(Role::Operator).await;
    let reads = |subject: &&str| {
        let words = ["$JS.API.DIRECT.GET.", "$JS.API.CONSUMER.CREATE."];
        words.iter().any(|word| subject.starts_with(word))
            || ["$JS.API.STREAM.MSG.GET.JOURNAL", "$JS.API.STREAM.LIST"].contains(subject)
    };
    for subject in NOBODYS.iter().chain(&OWN).filter(|s| reads(s)) {
        assert!(
            bare.may_publish(subject, "").await,
            "operator needs {subject}"
        );
    }
    let mut others = NOBODYS.iter().chain(&OWN).filter(|s| !reads(s)).copied();
    assert!(others.clone().count() > 20);
    may_not(
        &bare,
        "operator",
        others.by_ref().map(|s| s.replace('@', "paper")),
    )
    .await;
}

#[tokio::test]
async fn the_notifier_hears_every_event_and_writes_its_own_journal_and_the_owners_words_alone() {
    let nats = NatsServer::with_streams().await;
    let bare = nats.client(Role::Notifier).await;
    for subject in [
        "heartbeat.v1.notifier.n",
        "event.v1.notifier.n.info.x",
        "command.v1.watchdog.stop",
        "command.v1.notifier.resend",
        "journal.v1.operator.paper.venue.account",
        "$JS.API.CONSUMER.CREATE.JOURNAL.c.journal.v1.operator.paper.venue.account",
        "$JS.API.CONSUMER.CREATE.REPORTS.c.report.v1.equity.>",
        "$JS.API.DIRECT.GET.REPORTS.report.v1.book.paper.venue.account.S",
        "journal.v1.notifier.owner",
        "lease.v1.notifier.owner",
        "$JS.API.CONSUMER.CREATE.EVENTS.notifier.event.v1.>",
        "$JS.API.CONSUMER.MSG.NEXT.EVENTS.notifier",
        "$JS.ACK.EVENTS.notifier.1.1.1.1.0",
        "$JS.API.DIRECT.GET.HEARTBEATS.heartbeat.v1.trader.t",
        "$JS.API.DIRECT.GET.HEARTBEATS.heartbeat.v1.watchdog.w",
        "$JS.API.DIRECT.GET.JOURNAL.journal.v1.notifier.owner",
    ] {
        assert!(
            bare.may_publish(subject, "").await,
            "notifier needs {subject}"
        );
    }
    // What it tells the owner nobody else may have made up through it.
    let heard_only = "event.v1.watchdog.w.critical.given_up";
    let its_own = [
        "journal.v1.operator.@.",
        "GET.REPORTS.",
        "event.v1.notifier.",
    ];
    let others = OWN.iter().chain(&NOBODYS);
    let others = others.filter(|subject| !its_own.iter().any(|own| subject.contains(own)));
    let others = others.map(|subject| subject.replace('@', "paper"));
    may_not(&bare, "notifier", others).await;
    may_not(&bare, "notifier", [heard_only.to_owned()]).await;
    assert!(!bare.may_subscribe("event.v1.>").await);
    assert!(bare.may_subscribe("command.v1.notifier.resend").await);
    let trader = nats.client(Role::TraderPaper).await;
    for subject in [
        "$JS.ACK.EVENTS.notifier.1.1.1.1.0",
        "$JS.API.CONSUMER.MSG.NEXT.EVENTS.notifier",
        "$JS.API.CONSUMER.DELETE.EVENTS.notifier",
    ] {
        assert!(!trader.may_publish(subject, "").await, "{subject}");
    }
}

/// The filter stands in the API's subject, where permissions see it; the request's body must not be
/// able to ask for something else.
#[tokio::test]
async fn a_request_cannot_ask_for_more_than_its_subject_says() {
    let nats = NatsServer::with_streams().await;
    let live = nats.bus(Role::TraderLive).await;
    let secret = write(&live, "live.venue.account.S").await;
    write(&nats.bus(Role::TraderPaper).await, "paper.venue.account.S").await;
    let bare = nats.client(Role::TraderPaper).await;
    let own = "journal.v1.book.paper.venue.account.S";
    let create = format!("$JS.API.CONSUMER.CREATE.JOURNAL.c.{own}");
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
            &format!("$JS.API.DIRECT.GET.JOURNAL.{own}"),
            format!(r#"{{"last_by_subj":"{secret}"}}"#),
        ),
        (
            &format!("$JS.API.DIRECT.GET.JOURNAL.{own}"),
            r#"{"seq":1}"#.to_owned(),
        ),
    ] {
        let answer = ask(&bare, subject, &body).await;
        let made = answer.contains(r#""created""#) || answer.contains(r#""records""#);
        assert!(!made, "{subject} {body}: {answer}");
    }
    let right = consumer(&format!(r#""filter_subject":"{own}""#));
    let made = ask(&bare, &create, &right).await;
    assert!(
        made.contains(r#""created""#),
        "a sound request fails too: {made}"
    );
}

async fn write(bus: &Bus, key: &str) -> String {
    let key: BookKey = key.parse().unwrap();
    let subject = Subject::BookJournal(key);
    let writer: Token = "writer".parse().unwrap();
    let (mut journal, _) = Journal::replay::<u64>(bus, &subject, writer).await.unwrap();
    journal.append(&[1_u64], 0, |_| {}).await.unwrap();
    subject.to_string()
}

/// Answer's headers and body as text.
async fn ask(bare: &Bare, subject: &str, body: &str) -> String {
    let asked = bare
        .client
        .request(subject.to_owned(), body.to_owned().into());
    let answer = tokio::time::timeout(Duration::from_secs(10), asked).await;
    let message = answer.unwrap().unwrap();
    let status = message.status.map_or(String::new(), |s| s.to_string());
    format!("{status} {}", String::from_utf8_lossy(&message.payload))
}

#[tokio::test]
async fn a_journal_forgets_nothing_whoever_asks() {
    let nats = NatsServer::with_streams().await;
    let paper = nats.bus(Role::TraderPaper).await;
    let subject = write(&paper, "paper.venue.account.S").await;
    let admin = nats.client(Role::BusInit).await;
    for (request, body) in [
        ("$JS.API.STREAM.PURGE.JOURNAL", "{}".to_owned()),
        (
            "$JS.API.STREAM.PURGE.JOURNAL",
            format!(r#"{{"filter":"{subject}"}}"#),
        ),
        (
            "$JS.API.STREAM.MSG.DELETE.JOURNAL",
            r#"{"seq":1}"#.to_owned(),
        ),
    ] {
        let answer = ask(&admin, request, &body).await;
        assert!(answer.contains(r#""error""#), "{request}: {answer}");
    }
    let bus = nats.bus(Role::BusInit).await;
    let mut config = config_of(&bus, streams::JOURNAL).await;
    config.deny_purge = false;
    let update = bus.jetstream().update_stream(config).await;
    assert!(update.is_err(), "the promise never to purge was taken back");
    let still = paper.newest(streams::JOURNAL, &subject).await.unwrap();
    assert!(still.is_some());
    assert!(
        !admin.may_publish(&subject, "").await,
        "bus-init may write journals"
    );
}

async fn config_of(bus: &Bus, stream: &str) -> Config {
    let stream = bus.jetstream().get_stream(stream).await.unwrap();
    stream.cached_info().config.clone()
}

#[tokio::test]
async fn bus_init_changes_nothing_the_second_time() {
    let nats = NatsServer::with_streams().await;
    let subject = write(&nats.bus(Role::TraderPaper).await, "paper.venue.account.S").await;
    let bus = nats.bus(Role::BusInit).await;
    let mut before = Vec::new();
    for wanted in streams::catalogue() {
        let found = config_of(&bus, &wanted.name).await;
        assert_eq!(
            streams::differences(&wanted, &found),
            [""; 0],
            "{}",
            wanted.name
        );
        before.push(found);
    }
    let mut again = nats.bus_init();
    assert_eq!(again.exit_within(SOON).await, 0, "{:?}", again.err());
    for earlier in before {
        assert_eq!(config_of(&bus, &earlier.name).await, earlier);
    }
    let newest = nats.bus(Role::Operator).await;
    let newest = newest.newest(streams::JOURNAL, &subject).await.unwrap();
    assert_eq!(newest.unwrap().seq, 1);
}

#[tokio::test]
async fn a_stream_that_breaks_a_promise_stops_a_trader_until_bus_init_mends_it() {
    let nats = NatsServer::with_streams().await;
    let bus = nats.bus(Role::BusInit).await;
    let mut config = config_of(&bus, streams::EVENTS).await;
    config.max_age = Duration::from_hours(1);
    bus.jetstream().update_stream(config).await.unwrap();
    let mut trader = trader(&nats);
    assert_eq!(trader.exit_within(SOON).await, 78, "{:?}", trader.out());
    let said = trader.err();
    assert_eq!(said.len(), 1, "{said:?}");
    for word in ["stream EVENTS", "max_age", "bus-init"] {
        assert!(said[0].contains(word), "{said:?}");
    }
    let mut mends = nats.bus_init();
    assert_eq!(mends.exit_within(SOON).await, 0, "{:?}", mends.err());
    let wanted = streams::catalogue();
    let wanted = wanted.iter().find(|c| c.name == streams::EVENTS).unwrap();
    let found = config_of(&bus, streams::EVENTS).await;
    assert_eq!(streams::differences(wanted, &found), [""; 0]);
}

/// One without an exchange: it looks at the bus first.
fn trader(nats: &NatsServer) -> Process {
    let mut command = std::process::Command::new(binary("trader"));
    command
        .env_clear()
        .envs(nats.env(Role::TraderPaper))
        .env("INSTANCE", format!("promise-{}", std::process::id()))
        .args(["--paper", "--infinite"]);
    Process::start("trader", command)
}
