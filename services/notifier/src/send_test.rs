//! `notifier send-test`: one message with the token and chat that are set, and what to do where it does
//! not get there. Needs no bus; the notifier may run beside it.

use std::io::Write;

use delivery::compose::Message;
use delivery::letter::{MESSAGE_LIMIT, units};
use protocol::exit::ExitCode;
use runtime::process::Stop;

use crate::settings::Settings;
use crate::telegram::Telegram;

const GREETING: &str = "✅ TEST: this chat gets what Bearish Alpha has to say";

/// Sends it, once.
///
/// # Errors
/// Exit 69 where waiting may help, 78 where a person must mend something, with one sentence of help.
pub async fn run(text: Option<String>) -> Result<ExitCode, Stop> {
    let message = message(text)?;
    let settings = Settings::from_env()?;
    let Some(bot) = settings.bot()? else {
        return Err(Stop::config(
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
            Ok(ExitCode::Done)
        }
        Err((fault, why)) => Err(Stop::new(
            fault.exit(),
            format!("chat {chat} through {place}: {why}. {}", fault.help()),
        )),
    }
}

fn message(text: Option<String>) -> Result<Message, Stop> {
    let text = text.unwrap_or_else(|| GREETING.to_owned());
    let length = units(&text);
    if text.trim().is_empty() || length > MESSAGE_LIMIT {
        return Err(Stop::new(
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
