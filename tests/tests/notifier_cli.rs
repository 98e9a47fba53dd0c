//! Commands of the notifier without a bus: `preview`, and `send-test` with each of its outcomes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::process::Command;
use std::time::Duration;

use bearish_tests::endpoint::Endpoint;
use bearish_tests::ports;
use bearish_tests::process::{Process, binary};
use bearish_tests::telegram::{Telegram, TelegramFault};
use bearish_tests::wait::DEFAULT_TIMEOUT;

fn start_notifier(env: &[(&str, &str)], arguments: &[&str]) -> Process {
    let mut command = Command::new(binary("notifier"));
    command
        .env_clear()
        .envs(env.iter().copied())
        .args(arguments);
    Process::start("notifier", command)
}

/// Starts `send-test` with the user of this Telegram and more variables.
fn start_send_test(telegram: &Telegram, more: &[(&str, &str)], text: &[&str]) -> Process {
    let (chat, url) = (telegram.private_chat().to_string(), telegram.url());
    let mut env = vec![
        ("TELEGRAM_BOT_TOKEN", telegram.token()),
        ("TELEGRAM_CHAT_ID", chat.as_str()),
        ("TELEGRAM_API_URL", url.as_str()),
    ];
    env.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
    env.extend(more);
    start_notifier(&env, &[&["send-test"], text].concat())
}

/// Expects this exit code and one line on standard error with all these texts, without the token.
async fn assert_fails(telegram: &Telegram, mut process: Process, code: i32, expected: &[&str]) {
    let ended = process.exit_within(DEFAULT_TIMEOUT).await;
    let said = process.err();
    assert_eq!(ended, code, "{said:?}");
    assert_eq!(said.len(), 1, "{said:#?}");
    for text in expected {
        assert!(said[0].contains(text), "{text:?} is not in {said:?}");
    }
    assert_token_not_shown(telegram, &process);
}

fn assert_token_not_shown(telegram: &Telegram, process: &Process) {
    let secret = telegram.token().split_once(':').unwrap().1;
    let text = [process.out(), process.err()].concat().join("\n");
    assert!(!text.contains(secret), "{text}");
}

#[tokio::test]
async fn preview_prints_the_message_texts_and_nothing_else() {
    let mut process = start_notifier(&[], &["preview"]);
    assert_eq!(process.exit_within(DEFAULT_TIMEOUT).await, 0);
    let shown = process.out().join("\n") + "\n";
    let catalogue = include_str!("../../services/notifier/core/tests/core/golden/catalogue.txt");
    assert_eq!(shown, catalogue);
}

#[tokio::test]
async fn send_test_delivers_and_prints_the_message_id() {
    let telegram = Telegram::start().await;
    for (text, expected) in [
        (&[][..], "✅ TEST: this chat receives"),
        (&["Hello, bears"], "Hello, bears"),
    ] {
        let mut process = start_send_test(&telegram, &[], text);
        assert_eq!(
            process.exit_within(DEFAULT_TIMEOUT).await,
            0,
            "{:?}",
            process.err()
        );
        let shown = telegram.shown();
        let last = shown.last().unwrap();
        assert!(last.text.starts_with(expected), "{last:?}");
        let said = process.out().join("\n");
        let number = format!("as message {}", last.message_id);
        assert!(said.contains(&number), "{said}");
        assert_token_not_shown(&telegram, &process);
    }
}

#[tokio::test]
async fn send_test_explains_each_telegram_error() {
    let telegram = Telegram::start().await;
    let table: [(TelegramFault, i32, &[&str]); 8] = [
        (
            TelegramFault::ChatNotFound,
            78,
            &["chat not found", "getUpdates"],
        ),
        (
            TelegramFault::Blocked,
            78,
            &["blocked by the user", "press Start"],
        ),
        (
            TelegramFault::Kicked,
            78,
            &["kicked", "Add the bot to the group"],
        ),
        (
            TelegramFault::NoRights,
            78,
            &["not enough rights", "right to send messages"],
        ),
        (
            TelegramFault::Migrated { to: -1_001 },
            78,
            &["a new id", "TELEGRAM_CHAT_ID=-1001"],
        ),
        (
            TelegramFault::ServerError(502),
            69,
            &["502", "internal error"],
        ),
        (TelegramFault::RefuseConnection, 69, &["may have arrived"]),
        (TelegramFault::DropReply, 69, &["may have arrived"]),
    ];
    for (fault, code, texts) in table {
        let group = telegram.group().to_string();
        let more = [("TELEGRAM_CHAT_ID", group.as_str())];
        let more: &[_] = match fault {
            TelegramFault::Migrated { .. } => &more,
            _ => &[],
        };
        telegram.prepare_fault(fault);
        assert_fails(
            &telegram,
            start_send_test(&telegram, more, &[]),
            code,
            texts,
        )
        .await;
    }
    telegram.prepare_fault(TelegramFault::TooManyRequests { retry_after: 37 });
    let texts = ["429", "wait 37 s"];
    assert_fails(&telegram, start_send_test(&telegram, &[], &[]), 69, &texts).await;
    telegram.revoke_token();
    let texts = ["401", "No bot has this token", "@BotFather"];
    assert_fails(&telegram, start_send_test(&telegram, &[], &[]), 78, &texts).await;
}

#[tokio::test]
async fn send_test_without_an_answer_says_it_may_have_arrived() {
    let telegram = Telegram::start().await;
    telegram.prepare_fault(TelegramFault::DelayReply(Duration::from_mins(1)));
    let process = start_send_test(&telegram, &[], &[]);
    assert_fails(
        &telegram,
        process,
        69,
        &["may have arrived", "check the chat"],
    )
    .await;
    assert_eq!(telegram.shown().len(), 1);
}

#[tokio::test]
async fn send_test_explains_a_wrong_address_and_missing_settings() {
    let (telegram, other) = (Telegram::start().await, Endpoint::start().await);
    let try_at = |url: &str| start_send_test(&telegram, &[("TELEGRAM_API_URL", url)], &[]);
    let closed_port = format!("http://127.0.0.1:{}", ports::reserve());
    assert_fails(
        &telegram,
        try_at(&closed_port),
        69,
        &["Nothing was sent", &closed_port],
    )
    .await;
    for status in [200, 302, 404] {
        other.set_status(status);
        let process = try_at(&other.url());
        assert_fails(&telegram, process, 78, &["Another server answers"]).await;
    }
    let elsewhere = format!("{}/v2", telegram.url());
    assert_fails(&telegram, try_at(&elsewhere), 78, &["404", "knows no bot"]).await;
    let unset = start_send_test(
        &telegram,
        &[("TELEGRAM_BOT_TOKEN", ""), ("TELEGRAM_CHAT_ID", "")],
        &[],
    );
    let texts = ["TELEGRAM_BOT_TOKEN is not set", "@BotFather"];
    assert_fails(&telegram, unset, 78, &texts).await;
    let blank = start_send_test(&telegram, &[], &["  "]);
    assert_fails(&telegram, blank, 64, &["TEXT", "expected 1 to 4096"]).await;
    assert!(telegram.shown().is_empty());
}
