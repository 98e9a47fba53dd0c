//! What a person asks of the notifier by hand: `preview` and `send-test`, each way the latter can end.

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

/// With the person of this Telegram, and what else is set.
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

/// Ends with this code after one line on standard error that has all these words, and never the token.
async fn assert_fails(telegram: &Telegram, mut process: Process, code: i32, expected: &[&str]) {
    let ended = process.exit_within(DEFAULT_TIMEOUT).await;
    let said = process.err();
    assert_eq!(ended, code, "{said:?}");
    assert_eq!(said.len(), 1, "{said:#?}");
    for word in expected {
        assert!(said[0].contains(word), "{word:?} is not in {said:?}");
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
        (&[][..], "✅ TEST: this chat gets"),
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
            &["another number", "TELEGRAM_CHAT_ID=-1001"],
        ),
        (
            TelegramFault::ServerError(502),
            69,
            &["502", "trouble of its own"],
        ),
        (TelegramFault::RefuseConnection, 69, &["may have arrived"]),
        (TelegramFault::DropReply, 69, &["may have arrived"]),
    ];
    for (trouble, code, words) in table {
        let group = telegram.group().to_string();
        let more = [("TELEGRAM_CHAT_ID", group.as_str())];
        let more: &[_] = match trouble {
            TelegramFault::Migrated { .. } => &more,
            _ => &[],
        };
        telegram.prepare_fault(trouble);
        assert_fails(
            &telegram,
            start_send_test(&telegram, more, &[]),
            code,
            words,
        )
        .await;
    }
    telegram.prepare_fault(TelegramFault::TooManyRequests { retry_after: 37 });
    let words = ["429", "wait 37 s"];
    assert_fails(&telegram, start_send_test(&telegram, &[], &[]), 69, &words).await;
    telegram.revoke_token();
    let words = ["401", "No bot has this token", "@BotFather"];
    assert_fails(&telegram, start_send_test(&telegram, &[], &[]), 78, &words).await;
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
        &["may have arrived", "look into the chat"],
    )
    .await;
    assert_eq!(telegram.shown().len(), 1);
}

#[tokio::test]
async fn send_test_explains_a_wrong_address_and_missing_settings() {
    let (telegram, stranger) = (Telegram::start().await, Endpoint::start().await);
    let try_at = |url: &str| start_send_test(&telegram, &[("TELEGRAM_API_URL", url)], &[]);
    let nobody = format!("http://127.0.0.1:{}", ports::reserve());
    assert_fails(
        &telegram,
        try_at(&nobody),
        69,
        &["Nothing was sent", &nobody],
    )
    .await;
    for status in [200, 302, 404] {
        stranger.set_status(status);
        let process = try_at(&stranger.url());
        assert_fails(&telegram, process, 78, &["Something else than Telegram"]).await;
    }
    let elsewhere = format!("{}/v2", telegram.url());
    assert_fails(&telegram, try_at(&elsewhere), 78, &["404", "knows no bot"]).await;
    let unset = start_send_test(
        &telegram,
        &[("TELEGRAM_BOT_TOKEN", ""), ("TELEGRAM_CHAT_ID", "")],
        &[],
    );
    let words = ["TELEGRAM_BOT_TOKEN is not set", "@BotFather"];
    assert_fails(&telegram, unset, 78, &words).await;
    let blank = start_send_test(&telegram, &[], &["  "]);
    assert_fails(&telegram, blank, 64, &["TEXT", "allowed are 1 to 4096"]).await;
    assert!(telegram.shown().is_empty());
}
