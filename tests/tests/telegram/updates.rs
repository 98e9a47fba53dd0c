//! The other direction of our Telegram, and pictures, driven by the same foreign library.

use std::time::Duration;

use bearish_tests::telegram::{Telegram, TelegramFault};
use protocol::time::UtcMs;
use teloxide_core::payloads::{
    AnswerCallbackQuerySetters, GetUpdatesSetters, SendMessageSetters, SendPhotoSetters,
};
use teloxide_core::requests::Requester;
use teloxide_core::types::{
    CallbackQueryId, ChatId, InlineKeyboardButton, InlineKeyboardMarkup, InputFile, MessageEntity,
    MessageEntityKind, MessageId, Update, UpdateKind,
};
use teloxide_core::{ApiError, Bot, RequestError};
use tokio::time::Instant;

use super::{api_error, bot};

async fn get_updates(bot: &Bot, from: i64, wait: u32) -> Result<Vec<Update>, RequestError> {
    let from = i32::try_from(from).unwrap();
    bot.get_updates().offset(from).timeout(wait).await
}

fn message_texts(updates: &[Update]) -> Vec<&str> {
    let text = |update: &Update| match &update.kind {
        UpdateKind::Message(message) => message.text().map(str::len),
        _ => None,
    };
    assert!(updates.iter().all(|update| text(update).is_some()));
    let texts = updates.iter().filter_map(|update| match &update.kind {
        UpdateKind::Message(message) => message.text(),
        _ => None,
    });
    texts.collect()
}

#[tokio::test]
async fn update_is_returned_until_confirmed_and_polls_wait() {
    let telegram = Telegram::start().await;
    let (bot, user) = (bot(&telegram), telegram.private_chat());
    let first = telegram.send_text(user, user, "/status");
    let second = telegram.send_old_text(8, telegram.group(), "/help", 90);
    for _ in 0..2 {
        let updates = get_updates(&bot, 0, 0).await.unwrap();
        assert_eq!(message_texts(&updates), ["/status", "/help"]);
    }
    let updates = get_updates(&bot, first + 1, 0).await.unwrap();
    assert_eq!(message_texts(&updates), ["/help"]);
    let UpdateKind::Message(message) = &updates[0].kind else {
        panic!("{updates:?}");
    };
    assert!(message.chat.is_group());
    assert_eq!(message.from.as_ref().unwrap().id.0, 8);
    let age = runtime::clock::now().millis_since(UtcMs(message.date.timestamp_millis()));
    assert!((89_000..93_000).contains(&age), "{age}");

    let begin = Instant::now();
    let none = get_updates(&bot, second + 1, 1).await.unwrap();
    assert!(none.is_empty() && begin.elapsed() >= Duration::from_secs(1));
    assert_eq!(telegram.unconfirmed_updates(), 0);
    let (updates, _) = tokio::join!(get_updates(&bot, second + 1, 5), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        telegram.send_text(user, user, "/logs")
    });
    assert_eq!(message_texts(&updates.unwrap()), ["/logs"]);
}

#[tokio::test]
async fn second_poller_ends_the_first_with_a_conflict() {
    let telegram = Telegram::start().await;
    let bot = bot(&telegram);
    let (first, second) = tokio::join!(get_updates(&bot, 0, 5), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        get_updates(&bot, 0, 1).await
    });
    assert_eq!(
        api_error(first.unwrap_err()),
        ApiError::TerminatedByOtherGetUpdates
    );
    assert!(second.unwrap().is_empty());
}

#[tokio::test]
async fn button_press_comes_back_and_is_answered_once() {
    let telegram = Telegram::start().await;
    let (bot, user) = (bot(&telegram), telegram.private_chat());
    let button = InlineKeyboardButton::callback("Yes", "yes:1");
    let keyboard = InlineKeyboardMarkup::new([[button]]);
    let sending = bot.send_message(ChatId(user), "Sure?");
    let message = sending.reply_markup(keyboard.clone()).await.unwrap();
    assert_eq!(message.reply_markup(), Some(&keyboard));
    assert_eq!(telegram.shown()[0].buttons[0][0].data, "yes:1");
    telegram.press_button(user, "yes:1");
    let updates = get_updates(&bot, 0, 0).await.unwrap();
    let UpdateKind::CallbackQuery(press) = &updates[0].kind else {
        panic!("{updates:?}");
    };
    assert_eq!(press.data.as_deref(), Some("yes:1"));
    assert_eq!(i64::try_from(press.from.id.0).unwrap(), user);
    bot.answer_callback_query(press.id.clone())
        .text("Done")
        .await
        .unwrap();
    assert_eq!(telegram.callback_answers(), ["Done"]);
    for id in [press.id.clone(), CallbackQueryId("none".to_owned())] {
        let error = bot.answer_callback_query(id).await.unwrap_err();
        assert!(error.to_string().contains("query is too old"), "{error}");
    }
    let long = InlineKeyboardButton::callback("Yes", "x".repeat(65));
    let keyboard = InlineKeyboardMarkup::new([[long]]);
    let sending = bot.send_message(ChatId(user), "Sure?");
    let error = sending.reply_markup(keyboard).await.unwrap_err();
    assert_eq!(api_error(error), ApiError::ButtonDataInvalid);
}

#[tokio::test]
async fn buttons_are_removed_once() {
    let telegram = Telegram::start().await;
    let (bot, user) = (bot(&telegram), ChatId(telegram.private_chat()));
    let button = InlineKeyboardButton::callback("Yes", "yes:1");
    let keyboard = InlineKeyboardMarkup::new([[button]]);
    let sending = bot.send_message(user, "Sure?");
    let message = sending.reply_markup(keyboard).await.unwrap();
    let edited = bot.edit_message_reply_markup(user, message.id).await;
    assert_eq!(edited.unwrap().reply_markup(), None);
    assert!(telegram.shown()[0].buttons.is_empty());
    let again = bot.edit_message_reply_markup(user, message.id).await;
    assert_eq!(api_error(again.unwrap_err()), ApiError::MessageNotModified);
    let none = bot.edit_message_reply_markup(user, MessageId(99)).await;
    assert_eq!(
        api_error(none.unwrap_err()),
        ApiError::MessageToEditNotFound
    );
    // A user who still sees the button can press it.
    telegram.press_button(telegram.private_chat(), "yes:1");
    assert_eq!(get_updates(&bot, 0, 0).await.unwrap().len(), 1);
}

fn png() -> Vec<u8> {
    let points: Vec<(UtcMs, f64)> = (0_u32..50)
        .map(|n| (UtcMs(i64::from(n) * 60_000), f64::from(n * n % 7)))
        .collect();
    runtime::chart::equity_curve("Equity", &points, &[]).unwrap()
}

#[tokio::test]
async fn picture_arrives_whole_with_its_caption() {
    let telegram = Telegram::start().await;
    let (bot, png) = (bot(&telegram), png());
    let photo = || InputFile::memory(png.clone()).file_name("equity.png");
    let sending = bot.send_photo(ChatId(telegram.private_chat()), photo());
    let entities = [MessageEntity::new(MessageEntityKind::Bold, 3, 6)];
    let sending = sending.caption("📈 EQUITY").caption_entities(entities);
    let message = sending.await.unwrap();
    assert_eq!(message.caption(), Some("📈 EQUITY"));
    let size = &message.photo().unwrap()[0];
    assert_eq!((size.width, size.height), (800, 400));
    let shown = telegram.shown().pop().unwrap();
    assert_eq!(shown.photo, Some(png.clone()));
    assert_eq!((shown.entities[0].offset, shown.entities[0].length), (3, 6));

    let long = bot.send_photo(ChatId(telegram.private_chat()), photo());
    let error = long.caption("a".repeat(1_025)).await.unwrap_err();
    assert!(error.to_string().contains("caption is too long"), "{error}");
    let noise = InputFile::memory(b"no picture at all".to_vec());
    let error = bot
        .send_photo(ChatId(telegram.private_chat()), noise)
        .await
        .unwrap_err();
    assert_eq!(api_error(error), ApiError::ImageProcessFailed);
    telegram.prepare_fault(TelegramFault::Blocked);
    let error = bot
        .send_photo(ChatId(telegram.private_chat()), photo())
        .await
        .unwrap_err();
    assert_eq!(api_error(error), ApiError::BotBlocked);
    assert_eq!(telegram.shown().len(), 1);
}
