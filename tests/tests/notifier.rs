//! The real notifier between a real nats-server and a strict Telegram: what the owner reads, how often,
//! and what is left of it when the notifier, the bus, or Telegram fails.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::time::Duration;

use bearish_tests::nats::{NatsServer, Role};
use bearish_tests::notifier::{Setup, TRADER, given_up, tell};
use bearish_tests::patience::{SOON, eventually};
use bearish_tests::process::Process;
use bearish_tests::telegram::{Limits, Telegram, Trouble};
use bearish_tests::told;
use protocol::event::EventBody;

fn restart(attempt: u32) -> EventBody {
    EventBody::RestartTriggered {
        unit: TRADER.parse().unwrap(),
        attempt,
        max: 1000,
        reason: "killed by SIGKILL (exit 137)".to_owned(),
        consecutive: 1,
        uptime_ms: 9_000_000,
        delay_ms: 30_000,
        exit: Some(137),
        evidence: None,
    }
}

/// Waits until a message with this text is shown; the whole message.
async fn shows(telegram: &Telegram, text: &str) -> String {
    eventually(&format!("{text:?} is shown"), SOON, async || {
        let shown = telegram.shown().into_iter();
        let mut texts = shown.map(|shown| shown.text);
        texts.find(|shown| shown.contains(text))
    })
    .await
}

fn says_no_secret(notifier: &Process, telegram: &Telegram) {
    let secret = telegram.token().split_once(':').unwrap().1;
    for line in notifier.out().iter().chain(&notifier.err()) {
        assert!(!line.contains(secret), "the token is in {line:?}");
        assert!(!line.contains("xyzzy"), "a password is in {line:?}");
    }
}

#[tokio::test]
async fn the_owner_reads_what_happened_in_the_seeds_words_with_bold_headings() {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let bus = nats.bus(Role::TraderPaper).await;
    tell(&bus, TRADER, "e1", restart(3)).await;
    let notifier = Setup::new(&nats).with(&telegram).start();
    tell(&bus, TRADER, "e2", given_up(7)).await;

    let text = shows(&telegram, "AUTO-RESTART").await;
    assert_eq!(
        text,
        "🔄 AUTO-RESTART TRIGGERED\nAttempt: 3/1000\nReason: killed by SIGKILL (exit 137)\n\
         Consecutive Failures: 1\nUptime: 2.5h\nNext restart in: 30s\nUnit: trader-paper-1"
    );
    let shown = telegram.shown();
    let critical = shown.iter().find(|s| s.text.contains("reason-7-")).unwrap();
    assert!(
        critical
            .text
            .starts_with("🚨 MANUAL INTERVENTION REQUIRED\n"),
        "{}",
        critical.text
    );
    let bold = &critical.entities[0];
    assert_eq!((bold.offset, bold.length), (0, 31), "UTF-16 units");
    says_no_secret(&notifier, &telegram);
}

#[tokio::test]
async fn without_a_token_the_log_has_the_same_messages_at_once() {
    let nats = NatsServer::with_streams().await;
    let notifier = Setup::new(&nats).start();
    let bus = nats.bus(Role::TraderPaper).await;
    notifier.says("telling the owner").await;
    tell(&bus, TRADER, "e1", restart(3)).await;
    notifier
        .says_within("🔄 AUTO-RESTART TRIGGERED", SOON)
        .await;
    notifier.says("Next restart in: 30s").await;
}

#[tokio::test]
async fn the_owner_gets_a_heartbeat_of_every_trader() {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let bus = nats.bus(Role::TraderPaper).await;
    let beat = include_str!("../../services/protocol/tests/golden/heartbeat_full.json");
    let subject = format!("heartbeat.v1.trader.{TRADER}");
    bus.client().publish(subject, beat.into()).await.unwrap();
    bus.client().flush().await.unwrap();
    let setup = Setup::new(&nats).with(&telegram);
    let setup = setup.env("NOTIFY_HEARTBEAT_SECS", "10");
    let _notifier = setup.start();
    let text = shows(&telegram, "💓 HEARTBEAT").await;
    assert!(
        text.contains("trader-paper-1: 🔴 critical (no heartbeat for"),
        "{text}"
    );
    for field in ["Uptime: ", "Loops: ", "Errors: ", "Equity: ", "Positions: "] {
        assert!(text.contains(field), "{field} is not in {text}");
    }
}

async fn status(setup: &Setup) -> String {
    let mut asked = Process::start("notifier status", setup.command(&["status"]));
    let code = asked.exit_within(SOON).await;
    assert_eq!(code, 0, "{:?}", asked.err());
    asked.out().join("\n")
}

#[tokio::test]
async fn what_telegram_says_to_wait_is_waited_and_what_it_refuses_is_kept_for_people() {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let bus = nats.bus(Role::TraderPaper).await;
    let setup = Setup::new(&nats).with(&telegram);
    let notifier = setup.start();
    notifier.says("telling the owner").await;
    telegram.next(Trouble::TooManyRequests { retry_after: 4 });
    let asked = std::time::Instant::now();
    tell(&bus, TRADER, "e1", given_up(1)).await;
    let text = shows(&telegram, "reason-1-").await;
    assert!(
        asked.elapsed() >= Duration::from_secs(4),
        "{:?}",
        asked.elapsed()
    );
    assert!(!text.contains("repeat"), "{text}");

    telegram.next(Trouble::ServerError(502));
    tell(&bus, TRADER, "e2", given_up(2)).await;
    let text = shows(&telegram, "reason-2-").await;
    assert!(text.contains("(possible repeat"), "{text}");
    // Telegram shows it a moment before the notifier has its answer.
    let lines = [
        "messages sent     2",
        "outcome unknown   1",
        "tried again       1",
    ];
    eventually("both are counted as sent", SOON, async || {
        let status = status(&setup).await;
        lines.iter().all(|line| status.contains(line)).then_some(())
    })
    .await;
    says_no_secret(&notifier, &telegram);
}

async fn resend(setup: &Setup, arguments: &[&str]) -> (i32, String) {
    let arguments = [&["resend"], arguments].concat();
    let mut asked = Process::start("notifier resend", setup.command(&arguments));
    let code = asked.exit_within(SOON).await;
    (code, [asked.out(), asked.err()].concat().join("\n"))
}

#[tokio::test]
async fn what_telegram_refused_is_sent_again_when_a_person_wants_it_once_and_after_a_kill_too() {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let bus = nats.bus(Role::TraderPaper).await;
    let setup = Setup::new(&nats)
        .with(&telegram)
        .env("TELEGRAM_GAP_MS", "0");
    let (code, said) = resend(&setup, &["--all"]).await;
    assert!(code == 69 && said.contains("none is at work"), "{said}");
    let mut notifier = setup.start();
    notifier.says("telling the owner").await;
    let (code, said) = resend(&setup, &["--all"]).await;
    assert!(
        code == 64 && said.contains("there are no dead letters"),
        "{said}"
    );
    for number in [1, 2, 3] {
        telegram.next(Trouble::Unreadable);
        tell(&bus, TRADER, &format!("e{number}"), given_up(number)).await;
        let refused = format!("messages refused  {number}");
        eventually("it is dead", SOON, async || {
            status(&setup).await.contains(&refused).then_some(())
        })
        .await;
    }
    let (code, said) = resend(&setup, &["9"]).await;
    assert!(
        code == 64 && said.contains("there is no dead letter 9: allowed are 0, 1, 2"),
        "{said}"
    );
    let (code, said) = resend(&setup, &["1"]).await;
    assert!(code == 0 && said == "sent again: letter 1", "{said}");
    shows(&telegram, "reason-2-").await;

    telegram.next(Trouble::TooManyRequests { retry_after: 3 });
    let (code, said) = resend(&setup, &["--all"]).await;
    assert!(code == 0 && said == "sent again: letters 0, 2", "{said}");
    notifier.kill();
    notifier = setup.start();
    for number in [1, 3] {
        shows(&telegram, &format!("reason-{number}-")).await;
    }
    notifier.says("telling the owner").await;
    let (code, _) = resend(&setup, &["--all"]).await;
    assert_eq!(code, 64, "asked twice, sent once");
    let operator = nats.bus(Role::Operator).await;
    let audited = told::events(&operator).await.into_iter();
    let audited: Vec<EventBody> = audited.map(|told| told.event.body).collect();
    for order in ["resend 1", "resend --all"] {
        let of = |body: &EventBody| {
            matches!(body, EventBody::OwnerCommand { who, command, .. }
            if who == "notifier (command line)" && command == order)
        };
        assert_eq!(
            audited.iter().filter(|body| of(body)).count(),
            1,
            "{audited:?}"
        );
    }
    says_no_secret(&notifier, &telegram);
}

#[tokio::test]
async fn a_chat_that_became_another_is_followed() {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let bus = nats.bus(Role::TraderPaper).await;
    let to = -1_009_999_999_999;
    let setup = Setup::new(&nats).with(&telegram);
    let setup = setup.env("TELEGRAM_CHAT_ID", &telegram.group().to_string());
    let notifier = setup.start();
    notifier.says("telling the owner").await;
    telegram.next(Trouble::Migrated { to });
    for number in [1, 2] {
        tell(&bus, TRADER, &format!("e{number}"), given_up(number)).await;
        shows(&telegram, &format!("reason-{number}-")).await;
    }
    assert!(telegram.shown().iter().all(|shown| shown.chat == to));
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_the_start_and_with_its_successor_nothing_is_lost_and_nothing_floods()
 {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let bus = nats.bus(Role::TraderPaper).await;
    let setup = Setup::new(&nats).with(&telegram);
    let mut notifier = setup.start();
    notifier.says("telling the owner").await;
    telegram.revoke_token();
    tell(&bus, TRADER, "e1", given_up(1)).await;
    notifier
        .says("nothing can be told until a person mends this")
        .await;
    notifier.kill();
    says_no_secret(&notifier, &telegram);

    let mut refused = setup.start();
    assert_eq!(refused.exit_within(SOON).await, 78);
    let line = refused.err().join("\n");
    assert!(
        line.contains("TELEGRAM_BOT_TOKEN (not shown)") && line.contains("401"),
        "{line}"
    );
    says_no_secret(&refused, &telegram);

    for number in 0..40 {
        tell(&bus, TRADER, &format!("i{number}"), restart(number)).await;
    }
    telegram.replace_token();
    let _notifier = setup.with(&telegram).start();
    shows(&telegram, "reason-1-").await;
    let text = shows(&telegram, "40 × restart triggered").await;
    assert!(text.starts_with("🗂 40 MESSAGES IN ONE"), "{text}");
    assert_eq!(telegram.shown().len(), 2, "{:?}", telegram.shown());
}

#[tokio::test]
async fn a_bus_that_dies_and_comes_back_loses_nothing_and_repeats_nothing() {
    let (mut nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let setup = Setup::new(&nats).with(&telegram);
    let notifier = setup.start();
    notifier.says("telling the owner").await;
    let bus = nats.bus(Role::TraderPaper).await;
    tell(&bus, TRADER, "e1", given_up(1)).await;
    shows(&telegram, "reason-1-").await;
    nats.kill();
    nats.restart().await;
    let bus = nats.bus(Role::TraderPaper).await;
    tell(&bus, TRADER, "e2", given_up(2)).await;
    shows(&telegram, "reason-2-").await;
    assert_eq!(telegram.shown().len(), 2, "{:?}", telegram.shown());
}

#[tokio::test]
async fn a_second_notifier_stands_by_and_takes_over() {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let bus = nats.bus(Role::TraderPaper).await;
    let setup = Setup::new(&nats).with(&telegram);
    let mut first = setup.start();
    first.says("telling the owner").await;
    let url = nats.url();
    let name = format!("notifier-b-{}", url.rsplit(':').next().unwrap());
    let second = setup.env("INSTANCE", &name).start();
    second.says("standing by").await;
    tell(&bus, TRADER, "e1", given_up(1)).await;
    shows(&telegram, "reason-1-").await;
    first.kill();
    tell(&bus, TRADER, "e2", given_up(2)).await;
    second.says("telling the owner").await;
    shows(&telegram, "reason-2-").await;
    assert_eq!(telegram.shown().len(), 2, "{:?}", telegram.shown());
}

#[tokio::test]
async fn told_to_stop_it_first_tells_what_is_left() {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let bus = nats.bus(Role::TraderPaper).await;
    let mut notifier = Setup::new(&nats).with(&telegram).start();
    notifier.says("telling the owner").await;
    // Would wait ten seconds for company.
    tell(&bus, TRADER, "e1", restart(3)).await;
    notifier.signal("TERM");
    let began = std::time::Instant::now();
    assert_eq!(notifier.exit_within(SOON).await, 0);
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(telegram.shown().len(), 1);
}

#[tokio::test]
async fn an_event_of_a_newer_service_is_told_as_it_came() {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let bus = nats.bus(Role::TraderPaper).await;
    let notifier = Setup::new(&nats).with(&telegram).start();
    notifier.says("telling the owner").await;
    let subject = "event.v1.trader.trader-paper-1.critical.moon_landed";
    let payload = r#"{"v":9,"id":"e1","kind":"moon_landed","payload":{"crater":"Tycho"}}"#;
    let message = async_nats::jetstream::message::PublishMessage::build()
        .payload(payload.into())
        .message_id("e1");
    bus.store(subject, message).await.unwrap();
    let text = shows(&telegram, "moon_landed").await;
    assert!(text.contains("Tycho"), "{text}");
}

#[tokio::test]
async fn whatever_a_field_holds_telegram_takes_it() {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    telegram.set_limits(Limits::OFF);
    let bus = nats.bus(Role::TraderPaper).await;
    let setup = Setup::new(&nats).with(&telegram);
    let setup = setup.env("TELEGRAM_GAP_MS", "0");
    let _notifier = setup.start();
    let controls: String = (0..32_u8).map(char::from).collect();
    let fields = [
        String::new(),
        "\n".to_owned(),
        "\r\n \n".repeat(3_000),
        controls.repeat(500),
        "\u{202e}שלום مرحبا\u{202c}".to_owned(),
        "👩‍👩‍👧‍👦".repeat(4_000),
        "*_`[<b>&amp;</b>](tg://user?id=1)".to_owned(),
        "a".repeat(100_000),
        "\u{10ffff}\u{ffff}\u{feff}".repeat(1_000),
    ];
    for (number, field) in fields.into_iter().enumerate() {
        let body = EventBody::GivenUp {
            unit: TRADER.parse().unwrap(),
            reason: field,
            restarts: 11,
            consecutive: 11,
            exit: Some(137),
        };
        tell(&bus, TRADER, &format!("e{number}"), body).await;
    }
    tell(&bus, TRADER, "last", given_up(7)).await;
    shows(&telegram, "reason-7-").await;
    eventually("all of it is told, nothing refused", SOON, async || {
        let status = status(&setup).await;
        let done = [
            "letters waiting   0",
            "under way         0",
            "messages refused  0",
        ];
        done.iter().all(|line| status.contains(line)).then_some(())
    })
    .await;
}
