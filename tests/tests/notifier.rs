//! The real notifier between a real nats-server and a strict Telegram: messages, repeats, and
//! failures of the notifier, the bus and Telegram.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::time::Duration;

use bearish_tests::bus_reader;
use bearish_tests::nats::{NatsServer, Role};
use bearish_tests::notifier::{NotifierSetup, TRADER, publish_event, quarantined_event};
use bearish_tests::process::Process;
use bearish_tests::telegram::{RateLimits, Telegram, TelegramFault};
use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use protocol::event::EventBody;
use protocol::unit_remedy::UnitRemedy;

fn restart_event(attempt: u32) -> EventBody {
    EventBody::UnitRestartScheduled {
        unit: TRADER.parse().unwrap(),
        attempt,
        max_restarts: 1000,
        reason: "killed by SIGKILL (exit 137)".to_owned(),
        consecutive_failures: 1,
        uptime_ms: 9_000_000,
        delay_ms: 30_000,
        exit_code: Some(137),
        last_error: None,
    }
}

/// Waits until a message with this text is shown; the whole message.
async fn wait_until_shown(telegram: &Telegram, text: &str) -> String {
    eventually(&format!("{text:?} is shown"), DEFAULT_TIMEOUT, async || {
        let shown = telegram.shown().into_iter();
        let mut texts = shown.map(|shown| shown.text);
        texts.find(|shown| shown.contains(text))
    })
    .await
}

fn assert_no_secret_logged(notifier: &Process, telegram: &Telegram) {
    let secret = telegram.token().split_once(':').unwrap().1;
    for line in notifier.out().iter().chain(&notifier.err()) {
        assert!(!line.contains(secret), "the token is in {line:?}");
        assert!(!line.contains("xyzzy"), "a password is in {line:?}");
    }
}

#[tokio::test]
async fn messages_have_the_specified_text_with_bold_headings() {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let bus = nats.bus(Role::TraderPaper).await;
    publish_event(&bus, TRADER, "e1", restart_event(3)).await;
    let notifier = NotifierSetup::new(&nats).with_telegram(&telegram).start();
    publish_event(&bus, TRADER, "e2", quarantined_event(7)).await;

    let text = wait_until_shown(&telegram, "AUTO-RESTART").await;
    assert_eq!(
        text,
        "🔄 AUTO-RESTART TRIGGERED: PAPER trader-paper-1\nAttempt: 3/1000\nReason: killed by SIGKILL (exit 137)\n\
         Consecutive Failures: 1\nUptime: 2.5h\nNext restart in: 30s\n\
         Open positions: kept, not managed until the restart\n\
         Runbook: docs/operations/runbook.md#unit_restart_scheduled\n\
         Action: none; if it repeats, check with scripts/bearish explain trader-paper-1"
    );
    let shown = telegram.shown();
    let critical = shown.iter().find(|s| s.text.contains("reason-7-")).unwrap();
    assert!(
        critical
            .text
            .starts_with("🚨 MANUAL INTERVENTION REQUIRED: PAPER trader-paper-1\n"),
        "{}",
        critical.text
    );
    let bold = &critical.entities[0];
    assert_eq!((bold.offset, bold.length), (0, 53), "UTF-16 units");
    assert_no_secret_logged(&notifier, &telegram);
}

#[tokio::test]
async fn notifier_without_a_token_logs_the_messages_at_once_whatever_the_log_level_is() {
    let nats = NatsServer::with_streams().await;
    let setup = NotifierSetup::new(&nats).env("LOG_LEVEL", "warn");
    let notifier = setup.start();
    let bus = nats.bus(Role::TraderPaper).await;
    publish_event(&bus, TRADER, "e1", restart_event(3)).await;
    notifier
        .wait_for_log_within("🔄 AUTO-RESTART TRIGGERED", DEFAULT_TIMEOUT)
        .await;
    notifier.wait_for_log("Next restart in: 30s").await;
}

#[tokio::test]
async fn summary_lists_every_trader() {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let bus = nats.bus(Role::TraderPaper).await;
    let beat = include_str!("../../services/protocol/tests/golden/heartbeat_full.json");
    let subject = format!("heartbeat.v1.trader.paper.p.local.{TRADER}");
    bus.client().publish(subject, beat.into()).await.unwrap();
    bus.client().flush().await.unwrap();
    let setup = NotifierSetup::new(&nats).with_telegram(&telegram);
    let setup = setup.env("NOTIFIER_SUMMARY_SECS", "10");
    let _notifier = setup.start();
    let text = wait_until_shown(&telegram, "💓 HEARTBEAT").await;
    assert!(
        text.contains("trader-paper-1: 🔴 critical (no heartbeat for"),
        "{text}"
    );
    for field in [
        "Uptime: ",
        "Loops: ",
        "Errors: ",
        "Equity: ",
        "Positions: ",
        "Last heartbeat: ",
    ] {
        assert!(text.contains(field), "{field} is not in {text}");
    }
}

async fn notifier_status(setup: &NotifierSetup) -> String {
    let mut asked = Process::start("notifier status", setup.command(&["status"]));
    let code = asked.exit_within(DEFAULT_TIMEOUT).await;
    assert_eq!(code, 0, "{:?}", asked.err());
    asked.out().join("\n")
}

#[tokio::test]
async fn retry_after_is_obeyed_and_unknown_outcomes_are_repeated_and_counted() {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let bus = nats.bus(Role::TraderPaper).await;
    let setup = NotifierSetup::new(&nats).with_telegram(&telegram);
    let notifier = setup.start();
    notifier
        .wait_for_log("became leader; sending notifications")
        .await;
    telegram.prepare_fault(TelegramFault::TooManyRequests { retry_after: 4 });
    let asked = std::time::Instant::now();
    publish_event(&bus, TRADER, "e1", quarantined_event(1)).await;
    let text = wait_until_shown(&telegram, "reason-1-").await;
    assert!(
        asked.elapsed() >= Duration::from_secs(4),
        "{:?}",
        asked.elapsed()
    );
    assert!(!text.contains("repeat"), "{text}");

    telegram.prepare_fault(TelegramFault::ServerError(502));
    publish_event(&bus, TRADER, "e2", quarantined_event(2)).await;
    let text = wait_until_shown(&telegram, "reason-2-").await;
    assert!(text.contains("(possible repeat"), "{text}");
    // Telegram shows it a moment before the notifier has its answer.
    let lines = [
        "messages sent     2",
        "outcome unknown   1",
        "failed, retried   1",
    ];
    eventually("both are counted as sent", DEFAULT_TIMEOUT, async || {
        let status = notifier_status(&setup).await;
        lines.iter().all(|line| status.contains(line)).then_some(())
    })
    .await;
    assert_no_secret_logged(&notifier, &telegram);
}

async fn resend(setup: &NotifierSetup, arguments: &[&str]) -> (i32, String) {
    let arguments = [&["resend"], arguments].concat();
    let mut asked = Process::start("notifier resend", setup.command(&arguments));
    let code = asked.exit_within(DEFAULT_TIMEOUT).await;
    (code, [asked.out(), asked.err()].concat().join("\n"))
}

#[tokio::test]
async fn dead_letters_are_resent_once_on_request_also_after_a_kill() {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let bus = nats.bus(Role::TraderPaper).await;
    let setup = NotifierSetup::new(&nats)
        .with_telegram(&telegram)
        .env("TELEGRAM_MIN_INTERVAL_MS", "0");
    let (code, said) = resend(&setup, &["--all"]).await;
    assert!(
        code == 69 && said.contains("no notifier is running"),
        "{said}"
    );
    let mut notifier = setup.start();
    notifier
        .wait_for_log("became leader; sending notifications")
        .await;
    let (code, said) = resend(&setup, &["--all"]).await;
    assert!(
        code == 64 && said.contains("there are no dead letters"),
        "{said}"
    );
    for number in [1, 2, 3] {
        telegram.prepare_fault(TelegramFault::InvalidEntities);
        publish_event(
            &bus,
            TRADER,
            &format!("e{number}"),
            quarantined_event(number),
        )
        .await;
        let refused = format!("messages rejected {number}");
        eventually("it is dead", DEFAULT_TIMEOUT, async || {
            notifier_status(&setup)
                .await
                .contains(&refused)
                .then_some(())
        })
        .await;
    }
    let (code, said) = resend(&setup, &["9"]).await;
    assert!(
        code == 64 && said.contains("no dead letter 9: expected one of 0, 1, 2"),
        "{said}"
    );
    let (code, said) = resend(&setup, &["1"]).await;
    assert!(code == 0 && said == "queued again: dead letter 1", "{said}");
    wait_until_shown(&telegram, "reason-2-").await;

    telegram.prepare_fault(TelegramFault::TooManyRequests { retry_after: 3 });
    let (code, said) = resend(&setup, &["--all"]).await;
    assert!(
        code == 0 && said == "queued again: dead letters 0, 2",
        "{said}"
    );
    notifier.kill();
    notifier = setup.start();
    for number in [1, 3] {
        wait_until_shown(&telegram, &format!("reason-{number}-")).await;
    }
    notifier
        .wait_for_log("became leader; sending notifications")
        .await;
    let (code, _) = resend(&setup, &["--all"]).await;
    assert_eq!(code, 64, "asked twice, sent once");
    let operator = nats.bus(Role::Operator).await;
    let audited = bus_reader::stored_events(&operator).await.into_iter();
    let audited: Vec<EventBody> = audited.map(|stored| stored.event.body).collect();
    for expected in ["resend 1", "resend --all"] {
        let of = |body: &EventBody| {
            matches!(body, EventBody::OperatorCommandExecuted { by, command, .. }
            if by == "notifier (command line)" && command == expected)
        };
        assert_eq!(
            audited.iter().filter(|body| of(body)).count(),
            1,
            "{audited:?}"
        );
    }
    assert_no_secret_logged(&notifier, &telegram);
}

#[tokio::test]
async fn migrated_chat_is_followed() {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let bus = nats.bus(Role::TraderPaper).await;
    let to = -1_009_999_999_999;
    let setup = NotifierSetup::new(&nats).with_telegram(&telegram);
    let setup = setup.env("TELEGRAM_CHAT_ID", &telegram.group().to_string());
    let notifier = setup.start();
    notifier
        .wait_for_log("became leader; sending notifications")
        .await;
    telegram.prepare_fault(TelegramFault::Migrated { to });
    for number in [1, 2] {
        publish_event(
            &bus,
            TRADER,
            &format!("e{number}"),
            quarantined_event(number),
        )
        .await;
        wait_until_shown(&telegram, &format!("reason-{number}-")).await;
    }
    assert!(telegram.shown().iter().all(|shown| shown.chat == to));
}

#[tokio::test]
async fn revoked_token_exits_78_and_its_successor_loses_and_floods_nothing() {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let bus = nats.bus(Role::TraderPaper).await;
    let setup = NotifierSetup::new(&nats).with_telegram(&telegram);
    let mut notifier = setup.start();
    notifier
        .wait_for_log("became leader; sending notifications")
        .await;
    telegram.revoke_token();
    publish_event(&bus, TRADER, "e1", quarantined_event(1)).await;
    notifier
        .wait_for_log("notifications are queued until the configuration is fixed")
        .await;
    notifier.kill();
    assert_no_secret_logged(&notifier, &telegram);

    let mut refused = setup.start();
    assert_eq!(refused.exit_within(DEFAULT_TIMEOUT).await, 78);
    let line = refused.err().join("\n");
    assert!(
        line.contains("TELEGRAM_BOT_TOKEN (not shown)") && line.contains("401"),
        "{line}"
    );
    assert_no_secret_logged(&refused, &telegram);

    for number in 0..40 {
        publish_event(&bus, TRADER, &format!("i{number}"), restart_event(number)).await;
    }
    telegram.replace_token();
    let _notifier = setup.with_telegram(&telegram).start();
    wait_until_shown(&telegram, "reason-1-").await;
    let text = wait_until_shown(&telegram, "40 × unit restart scheduled").await;
    assert!(text.starts_with("🗂 40 NOTIFICATIONS IN ONE"), "{text}");
    assert_eq!(telegram.shown().len(), 2, "{:?}", telegram.shown());
}

#[tokio::test]
async fn bus_restart_loses_no_notification_and_repeats_none() {
    let (mut nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let setup = NotifierSetup::new(&nats).with_telegram(&telegram);
    let notifier = setup.start();
    notifier
        .wait_for_log("became leader; sending notifications")
        .await;
    let bus = nats.bus(Role::TraderPaper).await;
    publish_event(&bus, TRADER, "e1", quarantined_event(1)).await;
    wait_until_shown(&telegram, "reason-1-").await;
    nats.kill();
    nats.restart().await;
    let bus = nats.bus(Role::TraderPaper).await;
    publish_event(&bus, TRADER, "e2", quarantined_event(2)).await;
    wait_until_shown(&telegram, "reason-2-").await;
    assert_eq!(telegram.shown().len(), 2, "{:?}", telegram.shown());
}

#[tokio::test]
async fn second_notifier_stands_by_and_takes_over() {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let bus = nats.bus(Role::TraderPaper).await;
    let setup = NotifierSetup::new(&nats).with_telegram(&telegram);
    let mut first = setup.start();
    first
        .wait_for_log("became leader; sending notifications")
        .await;
    let url = nats.url();
    let name = format!("notifier-b-{}", url.rsplit(':').next().unwrap());
    let second = setup.env("INSTANCE", &name).start();
    second.wait_for_log("standing by").await;
    publish_event(&bus, TRADER, "e1", quarantined_event(1)).await;
    wait_until_shown(&telegram, "reason-1-").await;
    first.kill();
    publish_event(&bus, TRADER, "e2", quarantined_event(2)).await;
    second
        .wait_for_log("became leader; sending notifications")
        .await;
    wait_until_shown(&telegram, "reason-2-").await;
    assert_eq!(telegram.shown().len(), 2, "{:?}", telegram.shown());
}

#[tokio::test]
async fn notifier_sends_queued_notifications_before_it_ends() {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let bus = nats.bus(Role::TraderPaper).await;
    let mut notifier = NotifierSetup::new(&nats).with_telegram(&telegram).start();
    notifier
        .wait_for_log("became leader; sending notifications")
        .await;
    // Would wait ten seconds for company.
    publish_event(&bus, TRADER, "e1", restart_event(3)).await;
    notifier.signal("TERM");
    let began = std::time::Instant::now();
    assert_eq!(notifier.exit_within(DEFAULT_TIMEOUT).await, 0);
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(telegram.shown().len(), 1);
}

#[tokio::test]
async fn event_of_a_newer_service_is_sent_as_it_came() {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let bus = nats.bus(Role::TraderPaper).await;
    let notifier = NotifierSetup::new(&nats).with_telegram(&telegram).start();
    notifier
        .wait_for_log("became leader; sending notifications")
        .await;
    let subject = "event.v1.trader.paper.p.local.trader-paper-1.critical.moon_landed";
    let payload = r#"{"v":9,"id":"e1","kind":"moon_landed","payload":{"crater":"Tycho"}}"#;
    let message = async_nats::jetstream::message::PublishMessage::build()
        .payload(payload.into())
        .message_id("e1");
    bus.store(subject, message).await.unwrap();
    let text = wait_until_shown(&telegram, "moon_landed").await;
    assert!(text.contains("Tycho"), "{text}");
}

#[tokio::test]
async fn event_fields_of_any_content_are_accepted_by_telegram() {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    telegram.set_limits(RateLimits::UNLIMITED);
    let bus = nats.bus(Role::TraderPaper).await;
    let setup = NotifierSetup::new(&nats).with_telegram(&telegram);
    let setup = setup.env("TELEGRAM_MIN_INTERVAL_MS", "0");
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
        let body = EventBody::UnitQuarantined {
            unit: TRADER.parse().unwrap(),
            reason: field,
            restarts: 11,
            consecutive_failures: 11,
            exit_code: Some(137),
            remedy: UnitRemedy::Release {
                reset_restarts: false,
            },
        };
        publish_event(&bus, TRADER, &format!("e{number}"), body).await;
    }
    publish_event(&bus, TRADER, "last", quarantined_event(7)).await;
    wait_until_shown(&telegram, "reason-7-").await;
    eventually(
        "everything is sent, nothing is rejected",
        DEFAULT_TIMEOUT,
        async || {
            let status = notifier_status(&setup).await;
            let done = [
                "queued            0",
                "in flight         0",
                "messages rejected 0",
            ];
            done.iter().all(|line| status.contains(line)).then_some(())
        },
    )
    .await;
}
