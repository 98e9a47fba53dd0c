//! What a person asks of the notifier by hand: `preview` and `send-test`, each way the latter can end.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::process::Command;
use std::time::Duration;

use bearish_tests::endpoint::Endpoint;
use bearish_tests::patience::SOON;
use bearish_tests::ports;
use bearish_tests::process::{Process, binary};
use bearish_tests::telegram::{Telegram, Trouble};

fn notifier(env: &[(&str, &str)], arguments: &[&str]) -> Process {
    let mut command = Command::new(binary("notifier"));
    command
        .env_clear()
        .envs(env.iter().copied())
        .args(arguments);
    Process::start("notifier", command)
}

/// With the person of this Telegram, and what else is set.
fn send_test(telegram: &Telegram, more: &[(&str, &str)], text: &[&str]) -> Process {
    let (chat, url) = (telegram.chat().to_string(), telegram.url());
    let mut env = vec![
        ("TELEGRAM_BOT_TOKEN", telegram.token()),
        ("TELEGRAM_CHAT_ID", chat.as_str()),
        ("TELEGRAM_API_URL", url.as_str()),
    ];
    env.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
    env.extend(more);
    notifier(&env, &[&["send-test"], text].concat())
}

/// Ends with this code after one line on standard error that has all these words, and never the token.
async fn fails(telegram: &Telegram, mut process: Process, code: i32, words: &[&str]) {
    let ended = process.exit_within(SOON).await;
    let said = process.err();
    assert_eq!(ended, code, "{said:?}");
    assert_eq!(said.len(), 1, "{said:#?}");
    for word in words {
        assert!(said[0].contains(word), "{word:?} is not in {said:?}");
    }
    says_no_token(telegram, &process);
}

fn says_no_token(telegram: &Telegram, process: &Process) {
    let secret = telegram.token().split_once(':').unwrap().1;
    let text = [process.out(), process.err()].concat().join("\n");
    assert!(!text.contains(secret), "{text}");
}

#[tokio::test]
async fn the_catalogue_is_shown_without_anything_else() {
    let mut process = notifier(&[], &["preview"]);
    assert_eq!(process.exit_within(SOON).await, 0);
    let shown = process.out().join("\n") + "\n";
    let catalogue =
        include_str!("../../services/notifier/delivery/tests/delivery/golden/catalogue.txt");
    assert_eq!(shown, catalogue);
}

#[tokio::test]
async fn a_test_message_arrives_and_its_number_is_told() {
    let telegram = Telegram::start().await;
    for (text, expected) in [
        (&[][..], "✅ TEST: this chat gets"),
        (&["Hello, bears"], "Hello, bears"),
    ] {
        let mut process = send_test(&telegram, &[], text);
        assert_eq!(process.exit_within(SOON).await, 0, "{:?}", process.err());
        let shown = telegram.shown();
        let last = shown.last().unwrap();
        assert!(last.text.starts_with(expected), "{last:?}");
        let said = process.out().join("\n");
        let number = format!("as message {}", last.message_id);
        assert!(said.contains(&number), "{said}");
        says_no_token(&telegram, &process);
    }
}

#[tokio::test]
async fn what_telegram_refuses_ends_with_what_to_do() {
    let telegram = Telegram::start().await;
    let table: [(Trouble, i32, &[&str]); 8] = [
        (Trouble::ChatGone, 78, &["chat not found", "getUpdates"]),
        (
            Trouble::Blocked,
            78,
            &["blocked by the user", "press Start"],
        ),
        (Trouble::Kicked, 78, &["kicked", "Add the bot to the group"]),
        (
            Trouble::NoRights,
            78,
            &["not enough rights", "right to send messages"],
        ),
        (
            Trouble::Migrated { to: -1_001 },
            78,
            &["another number", "TELEGRAM_CHAT_ID=-1001"],
        ),
        (
            Trouble::ServerError(502),
            69,
            &["502", "trouble of its own"],
        ),
        (Trouble::RefuseConnection, 69, &["may have arrived"]),
        (Trouble::DropReply, 69, &["may have arrived"]),
    ];
    for (trouble, code, words) in table {
        let group = telegram.group().to_string();
        let more = [("TELEGRAM_CHAT_ID", group.as_str())];
        let more: &[_] = match trouble {
            Trouble::Migrated { .. } => &more,
            _ => &[],
        };
        telegram.next(trouble);
        fails(&telegram, send_test(&telegram, more, &[]), code, words).await;
    }
    telegram.next(Trouble::TooManyRequests { retry_after: 37 });
    let words = ["429", "wait 37 s"];
    fails(&telegram, send_test(&telegram, &[], &[]), 69, &words).await;
    telegram.revoke_token();
    let words = ["401", "No bot has this token", "@BotFather"];
    fails(&telegram, send_test(&telegram, &[], &[]), 78, &words).await;
}

#[tokio::test]
async fn an_answer_that_takes_too_long_may_have_arrived() {
    let telegram = Telegram::start().await;
    telegram.next(Trouble::Hang(Duration::from_mins(1)));
    let process = send_test(&telegram, &[], &[]);
    fails(
        &telegram,
        process,
        69,
        &["may have arrived", "look into the chat"],
    )
    .await;
    assert_eq!(telegram.shown().len(), 1);
}

#[tokio::test]
async fn a_wrong_address_and_missing_settings_end_with_what_to_do() {
    let (telegram, stranger) = (Telegram::start().await, Endpoint::start().await);
    let try_at = |url: &str| send_test(&telegram, &[("TELEGRAM_API_URL", url)], &[]);
    let nobody = format!("http://127.0.0.1:{}", ports::reserve());
    fails(
        &telegram,
        try_at(&nobody),
        69,
        &["Nothing was sent", &nobody],
    )
    .await;
    for status in [200, 302, 404] {
        stranger.answer(status);
        let process = try_at(&stranger.url());
        fails(&telegram, process, 78, &["Something else than Telegram"]).await;
    }
    let elsewhere = format!("{}/v2", telegram.url());
    fails(&telegram, try_at(&elsewhere), 78, &["404", "knows no bot"]).await;
    let unset = send_test(
        &telegram,
        &[("TELEGRAM_BOT_TOKEN", ""), ("TELEGRAM_CHAT_ID", "")],
        &[],
    );
    let words = ["TELEGRAM_BOT_TOKEN is not set", "@BotFather"];
    fails(&telegram, unset, 78, &words).await;
    let blank = send_test(&telegram, &[], &["  "]);
    fails(&telegram, blank, 64, &["TEXT", "allowed are 1 to 4096"]).await;
    assert!(telegram.shown().is_empty());
}
