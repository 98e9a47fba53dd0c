//! `notifier send-test`: sends one message with the configured token and chat. Needs no bus; the notifier may run
//! meanwhile.

use notifier_core::message::Message;
use notifier_core::notification::{MESSAGE_LIMIT, utf16_length};
use protocol::exit_code::ExitCode;
use runtime::process::ExitError;
use runtime::stdout::OutputArgs;
use serde_json::json;

use crate::settings::Settings;
use crate::telegram::Telegram;

const DEFAULT_TEXT: &str = "✅ TEST: this chat receives the notifications of Bearish Alpha";

/// Sends one message once.
///
/// # Errors
/// Exit 69 if waiting may help, 78 if the operator has to correct something, with one sentence of help.
pub async fn run(text: Option<String>, output: OutputArgs) -> Result<ExitCode, ExitError> {
    let message = build_message(text)?;
    let settings = Settings::from_env()?;
    let Some(bot) = settings.bot()? else {
        return Err(ExitError::config(
            "TELEGRAM_BOT_TOKEN is not set: get a token from @BotFather, then set TELEGRAM_BOT_TOKEN (or \
             TELEGRAM_BOT_TOKEN_FILE) and TELEGRAM_CHAT_ID",
        ));
    };
    let (chat, place) = (bot.chat, bot.api_url.clone());
    match Telegram::new(&bot)?.try_send(chat, &message).await {
        Ok(number) => {
            let sent = json!({ "chat": chat, "api_url": place, "message": number });
            output.print(&sent, || {
                let number = number.map_or_else(String::new, |n| format!(" as message {n}"));
                format!("sent to chat {chat} through {place}{number}")
            })?;
            Ok(ExitCode::Success)
        }
        Err((cause, error)) => Err(ExitError::new(
            cause.exit_code(),
            format!("chat {chat} through {place}: {error}. {}", cause.help()),
        )),
    }
}

fn build_message(text: Option<String>) -> Result<Message, ExitError> {
    let text = text.unwrap_or_else(|| DEFAULT_TEXT.to_owned());
    let length = utf16_length(&text);
    if text.trim().is_empty() || length > MESSAGE_LIMIT {
        return Err(ExitError::new(
            ExitCode::Usage,
            format!("TEXT has {length} characters: expected 1 to {MESSAGE_LIMIT}, not only spaces"),
        ));
    }
    Ok(Message {
        text,
        ..Message::default()
    })
}
