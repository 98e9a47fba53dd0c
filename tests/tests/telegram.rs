//! The Telegram fake, driven by a third-party client library whose typed errors match the real texts. Updates and pictures
//! are in `telegram/updates.rs`, invalid calls in `telegram/wire.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

#[path = "telegram/updates.rs"]
mod orders;
#[path = "telegram/wire.rs"]
mod wire;

use std::time::Duration;

use bearish_tests::telegram::{Entity, RateLimits, Telegram, TelegramFault};
use teloxide_core::payloads::SendMessageSetters;
use teloxide_core::requests::Requester;
use teloxide_core::types::{
    ChatAction, ChatId, Message, MessageEntity, MessageEntityKind, MessageEntityRef, Seconds,
};
use teloxide_core::{ApiError, Bot, RequestError};
use tokio::time::{Instant, sleep, timeout};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// teloxide-core by itself: 17 s.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(15);

fn bot(telegram: &Telegram) -> Bot {
    bot_with(telegram, telegram.token())
}

fn bot_with(telegram: &Telegram, token: &str) -> Bot {
    Bot::new(token).set_api_url(telegram.url().parse().unwrap())
}

async fn send(bot: &Bot, chat: i64, text: &str) -> Result<Message, RequestError> {
    let sending = bot.send_message(ChatId(chat), text);
    timeout(REQUEST_TIMEOUT, async { sending.await })
        .await
        .unwrap()
}

/// What a message meets for which this was prepared.
async fn send_with_fault(telegram: &Telegram, trouble: TelegramFault) -> RequestError {
    telegram.prepare_fault(trouble);
    let sent = send(&bot(telegram), telegram.group(), "hello").await;
    sent.unwrap_err()
}

fn api_error(error: RequestError) -> ApiError {
    match error {
        RequestError::Api(error) => error,
        other => panic!("no answer of the API: {other}"),
    }
}

fn retry_after(error: &RequestError) -> u32 {
    match error {
        RequestError::RetryAfter(seconds) => seconds.seconds(),
        other => panic!("no 429: {other}"),
    }
}

fn shown_texts(telegram: &Telegram) -> Vec<String> {
    let shown = telegram.shown().into_iter();
    shown.map(|message| message.text).collect()
}

fn entity(kind: &str, offset: usize, length: usize) -> Entity {
    Entity {
        kind: kind.to_owned(),
        offset,
        length,
        url: None,
        language: None,
    }
}

#[tokio::test]
async fn get_me_describes_the_bot() {
    let telegram = Telegram::start().await;
    let me = bot(&telegram).get_me().await.unwrap();
    assert!(me.user.is_bot && me.can_join_groups);
    assert!(telegram.token().starts_with(&format!("{}:", me.user.id)));
    assert_eq!(telegram.token().split(':').next_back().unwrap().len(), 35);
}

#[tokio::test]
async fn typing_is_allowed_where_the_bot_may_write_and_leaves_no_message() {
    let telegram = Telegram::start().await;
    let bot = bot(&telegram);
    let type_in = |chat| bot.send_chat_action(ChatId(chat), ChatAction::Typing);
    type_in(telegram.private_chat()).await.unwrap();
    let error = type_in(telegram.private_chat() + 1).await.unwrap_err();
    assert_eq!(api_error(error), ApiError::ChatNotFound);
    assert!(telegram.shown().is_empty());
}

#[tokio::test]
async fn message_with_entities_arrives_as_sent() {
    let telegram = Telegram::start().await;
    let text = "🐻 BTCUSDT\n🔴 stop at 112394.8";
    let entities = [
        MessageEntity::new(MessageEntityKind::Code, 22, 8),
        MessageEntity::new(MessageEntityKind::Bold, 3, 7),
    ];
    let sending = bot(&telegram).send_message(ChatId(telegram.private_chat()), text);
    let message = sending.entities(entities).await.unwrap();
    assert_eq!(message.text(), Some(text));
    let marked = message.parse_entities().unwrap();
    let marked: Vec<&str> = marked.iter().map(MessageEntityRef::text).collect();
    assert_eq!(marked, ["BTCUSDT", "112394.8"]);
    let shown = telegram.shown().pop().unwrap();
    assert_eq!(
        (shown.chat, shown.text.as_str()),
        (telegram.private_chat(), text)
    );
    assert_eq!(shown.message_id, i64::from(message.id.0));
    assert_eq!(
        shown.entities,
        [entity("bold", 3, 7), entity("code", 22, 8)]
    );
    assert!(message.from.unwrap().is_bot && message.chat.is_private());
}

#[tokio::test]
async fn group_shows_what_it_is_sent() {
    let telegram = Telegram::start().await;
    let message = send(&bot(&telegram), telegram.group(), "hello")
        .await
        .unwrap();
    assert!(message.chat.is_group());
    assert_eq!(telegram.shown().pop().unwrap().chat, telegram.group());
}

#[tokio::test]
async fn wrong_and_revoked_tokens_are_invalid() {
    let telegram = Telegram::start().await;
    let wrong = telegram.token().replace("AAF", "AAG");
    for token in [wrong.as_str(), "no token"] {
        let error = bot_with(&telegram, token).get_me().await.unwrap_err();
        assert_eq!(api_error(error), ApiError::InvalidToken);
    }
    telegram.revoke_token();
    let error = send(&bot(&telegram), telegram.private_chat(), "hello").await;
    assert_eq!(api_error(error.unwrap_err()), ApiError::InvalidToken);
    assert_eq!((telegram.request_count(), telegram.shown().len()), (3, 0));
}

#[tokio::test]
async fn invalid_requests_have_their_typed_error() {
    let telegram = Telegram::start().await;
    let (bot, chat) = (bot(&telegram), telegram.private_chat());
    let long = "a".repeat(4_097);
    for (chat, text, expected) in [
        (chat + 1, "hello", ApiError::ChatNotFound),
        (chat, "", ApiError::MessageTextIsEmpty),
        (chat, &long, ApiError::MessageIsTooLong),
    ] {
        let error = send(&bot, chat, text).await.unwrap_err();
        assert_eq!(api_error(error), expected);
    }
    assert!(telegram.shown().is_empty());
}

#[tokio::test]
async fn text_length_is_counted_in_utf_16_units_after_trimming() {
    let telegram = Telegram::start().await;
    let bot = bot(&telegram);
    let longest = "🐻".repeat(2_048);
    send(&bot, telegram.private_chat(), &format!("\n {longest} \n"))
        .await
        .unwrap();
    assert_eq!(shown_texts(&telegram), [longest.as_str()]);
    let longer = send(&bot, telegram.private_chat(), &format!("{longest}a")).await;
    assert_eq!(api_error(longer.unwrap_err()), ApiError::MessageIsTooLong);
}

#[tokio::test]
async fn prepared_faults_come_in_order_as_typed_errors() {
    let telegram = Telegram::start().await;
    telegram.prepare_fault(TelegramFault::Blocked);
    let gone = send_with_fault(&telegram, TelegramFault::ChatNotFound);
    assert_eq!(api_error(gone.await), ApiError::BotBlocked);
    let gone = send(&bot(&telegram), telegram.group(), "hello").await;
    assert_eq!(api_error(gone.unwrap_err()), ApiError::ChatNotFound);
    assert!(telegram.shown().is_empty());
    send(&bot(&telegram), telegram.group(), "hello")
        .await
        .unwrap();
    assert_eq!(telegram.shown().len(), 1);
}

#[tokio::test]
async fn migrated_group_is_reached_under_its_new_id_only() {
    let telegram = Telegram::start().await;
    let (old, to) = (telegram.group(), -1_001_234_567_890);
    let moved = |error| matches!(error, RequestError::MigrateToChatId(ChatId(id)) if id == to);
    assert!(moved(
        send_with_fault(&telegram, TelegramFault::Migrated { to }).await
    ));
    let bot = bot(&telegram);
    assert!(moved(send(&bot, old, "hello").await.unwrap_err()));
    let message = send(&bot, to, "hello").await.unwrap();
    assert!(message.chat.is_supergroup());
}

#[tokio::test]
async fn retry_after_is_announced_and_enforced() {
    let telegram = Telegram::start().await;
    let flood = TelegramFault::TooManyRequests { retry_after: 3 };
    let error = send_with_fault(&telegram, flood).await;
    assert!(
        matches!(error, RequestError::RetryAfter(seconds) if seconds == Seconds::from_seconds(3))
    );
    let (bot, group) = (bot(&telegram), telegram.group());
    assert!((1..=3).contains(&retry_after(&send(&bot, group, "early").await.unwrap_err())));
    sleep(Duration::from_secs(3)).await;
    send(&bot, group, "in time").await.unwrap();
    assert_eq!(shown_texts(&telegram), ["in time"]);
}

#[tokio::test]
async fn burst_passes_and_more_is_rejected_until_its_time() {
    let telegram = Telegram::start().await;
    let slow = Duration::from_secs(10);
    telegram.set_limits(RateLimits {
        chat_every: slow,
        chat_burst: 2,
        ..RateLimits::UNLIMITED
    });
    let (bot, chat) = (bot(&telegram), telegram.private_chat());
    for _ in 0..2 {
        send(&bot, chat, "hello").await.unwrap();
    }
    assert!((5..=10).contains(&retry_after(&send(&bot, chat, "hello").await.unwrap_err())));
    send(&bot, telegram.group(), "another chat").await.unwrap();
    telegram.set_limits(RateLimits::UNLIMITED);
    send(&bot, chat, "no limits").await.unwrap();
    assert_eq!(telegram.request_count(), 5);
}

#[tokio::test]
async fn dropped_reply_is_shown_and_a_network_error() {
    let telegram = Telegram::start().await;
    let error = send_with_fault(&telegram, TelegramFault::DropReply).await;
    assert!(matches!(error, RequestError::Network(_)), "{error}");
    assert_eq!(shown_texts(&telegram), ["hello"]);
}

#[tokio::test]
async fn refused_connection_is_a_network_error_and_shows_nothing() {
    let telegram = Telegram::start().await;
    let error = send_with_fault(&telegram, TelegramFault::RefuseConnection).await;
    assert!(matches!(error, RequestError::Network(_)), "{error}");
    assert_eq!((telegram.shown().len(), telegram.request_count()), (0, 1));
}

#[tokio::test]
async fn delayed_reply_is_shown_without_delay() {
    let telegram = Telegram::start().await;
    telegram.prepare_fault(TelegramFault::DelayReply(Duration::from_millis(300)));
    let begin = Instant::now();
    send(&bot(&telegram), telegram.private_chat(), "hello")
        .await
        .unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(300));
    let shown = telegram.shown().pop().unwrap().shown_at;
    assert!(shown.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn telegram_ends_with_the_value_and_comes_back_on_its_address() {
    let telegram = Telegram::start().await;
    let (bot, chat) = (bot(&telegram), telegram.private_chat());
    let address = ([127, 0, 0, 1], telegram.port()).into();
    send(&bot, chat, "hello").await.unwrap();
    telegram.prepare_fault(TelegramFault::DelayReply(REQUEST_TIMEOUT));
    let begin = Instant::now();
    let (waiting, ()) = tokio::join!(send(&bot, chat, "again"), async {
        while telegram.shown().len() < 2 {
            sleep(Duration::from_millis(10)).await;
        }
        drop(telegram);
    });
    assert!(matches!(waiting, Err(RequestError::Network(_))));
    assert!(begin.elapsed() < CLIENT_TIMEOUT);
    assert!(matches!(
        send(&bot, chat, "gone").await,
        Err(RequestError::Network(_))
    ));
    let telegram = Telegram::start_on(address).await;
    send(&bot, chat, "back").await.unwrap();
    assert_eq!(shown_texts(&telegram), ["back"]);
}
