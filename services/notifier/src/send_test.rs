//! `notifier send-test`: one message with the token and chat that are set, and what to do where it does
//! not get there. Needs no bus; the notifier may run beside it.

use std::io::Write;

use notifier_core::message::Message;
use notifier_core::notification::{MESSAGE_LIMIT, utf16_length};
use protocol::exit_code::ExitCode;
use runtime::process::ExitError;

use crate::settings::Settings;
use crate::telegram::Telegram;

const DEFAULT_TEXT: &str = "✅ TEST: this chat gets what Bearish Alpha has to say";

/// Sends it, once.
///
/// # Errors
/// Exit 69 where waiting may help, 78 where a person must mend something, with one sentence of help.
pub async fn run(text: Option<String>) -> Result<ExitCode, ExitError> {
    let message = build_message(text)?;
    let settings = Settings::from_env()?;
    let Some(bot) = settings.bot()? else {
        return Err(ExitError::config(
            "TELEGRAM_BOT_TOKEN is not set: nothing to send with. Get a token from @BotFather, then set it \
             (or TELEGRAM_BOT_TOKEN_FILE) and TELEGRAM_CHAT_ID",
        ));
    };
    let (chat, place) = (bot.chat, bot.api_url.clone());
    match Telegram::new(&bot)?.try_send(chat, &message).await {
        Ok(number) => {
            let number = number.map_or_else(String::new, |number| format!(" as message {number}"));
            // Whoever closed the output does not want to know.
            let _ = writeln!(
                std::io::stdout().lock(),
                "sent to chat {chat} through {place}{number}"
            );
            Ok(ExitCode::Success)
        }
        Err((fault, why)) => Err(ExitError::new(
            fault.exit_code(),
            format!("chat {chat} through {place}: {why}. {}", fault.help()),
        )),
    }
}

fn build_message(text: Option<String>) -> Result<Message, ExitError> {
    let text = text.unwrap_or_else(|| DEFAULT_TEXT.to_owned());
    let length = utf16_length(&text);
    if text.trim().is_empty() || length > MESSAGE_LIMIT {
        return Err(ExitError::new(
            ExitCode::Usage,
            format!(
                "TEXT has {length} characters: allowed are 1 to {MESSAGE_LIMIT}, not all blank"
            ),
        ));
    }
    Ok(Message {
        text,
        ..Message::default()
    })
}
