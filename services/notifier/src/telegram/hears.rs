//! What is said to the bot: its own name, updates by long polling, and the answer to a pressed button.

use std::time::Duration;

use delivery::hear::{Said, Update};
use protocol::time::UtcMs;
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Telegram;

/// How long Telegram waits for something to say.
const WAIT_SECS: u64 = 25;
/// Longer than that by what an answer takes.
pub(super) const POLL_DEADLINE: Duration = Duration::from_secs(WAIT_SECS + 15);
/// Updates at a time.
const AT_ONCE: u32 = 20;
/// Longest text of an update that is looked at, in characters.
const LONGEST_TEXT: usize = 1_000;

/// Why there are no updates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unheard {
    /// Somebody else asks with the same token, or a webhook is set.
    Conflict(String),
    /// Telegram says how many seconds to wait.
    Wait(u64),
    /// Anything else, in one line.
    Failed(String),
}

#[derive(Serialize)]
struct GetUpdates {
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
    timeout: u64,
    limit: u32,
    allowed_updates: [&'static str; 2],
}

#[derive(Serialize)]
struct AnswerCallbackQuery<'a> {
    callback_query_id: &'a str,
    text: &'a str,
}

/// Without a keyboard: there is none from then on.
#[derive(Serialize)]
struct EditMessageReplyMarkup {
    chat_id: i64,
    message_id: i64,
}

#[derive(Deserialize)]
struct Raw {
    update_id: i64,
    message: Option<Value>,
    callback_query: Option<Value>,
}

impl Telegram {
    /// The bot's name without @.
    ///
    /// # Errors
    /// One line.
    pub async fn name(&self) -> Result<String, String> {
        let me = self.result("getMe", &serde_json::json!({}), false).await;
        let me = me.map_err(|unheard| format!("{unheard:?}"))?;
        let name = me["username"].as_str();
        name.map(str::to_owned)
            .ok_or_else(|| "Telegram does not name it".to_owned())
    }

    /// What was said from this update on, for which Telegram waits a while; older ones are done with.
    ///
    /// # Errors
    /// [`Unheard`].
    pub async fn updates(&self, from: Option<i64>) -> Result<Vec<Update>, Unheard> {
        let asked = GetUpdates {
            offset: from,
            timeout: WAIT_SECS,
            limit: AT_ONCE,
            allowed_updates: ["message", "callback_query"],
        };
        let result = self.result("getUpdates", &asked, true).await?;
        let all: Vec<Value> = serde_json::from_value(result)
            .map_err(|_| Unheard::Failed("updates that are no list".to_owned()))?;
        Ok(all.into_iter().filter_map(read).collect())
    }

    /// Ends the waiting of whoever pressed a button; nothing depends on it.
    pub async fn answer_press(&self, call: &str, text: &str) {
        let answer = AnswerCallbackQuery {
            callback_query_id: call,
            text,
        };
        if let Err(unheard) = self.result("answerCallbackQuery", &answer, false).await {
            tracing::debug!(?unheard, "a button's press was not answered");
        }
    }

    /// Takes the buttons away below a message; nothing depends on it.
    pub async fn remove_buttons(&self, chat: i64, message: i64) {
        let edit = EditMessageReplyMarkup {
            chat_id: chat,
            message_id: message,
        };
        if let Err(unheard) = self.result("editMessageReplyMarkup", &edit, false).await {
            tracing::debug!(?unheard, "spent buttons were not taken away");
        }
    }

    async fn result(
        &self,
        method: &str,
        parameters: &impl Serialize,
        long: bool,
    ) -> Result<Value, Unheard> {
        let client = if long { &self.poller } else { &self.client };
        let request = client.post(self.address(method)).json(parameters);
        let (status, answer) = match self.ask(request).await {
            Ok(answered) => answered,
            Err((outcome, _)) => {
                let why = outcome.trouble().unwrap_or_default().to_owned();
                return Err(Unheard::Failed(why));
            }
        };
        if answer.ok {
            return Ok(answer.result.unwrap_or_default());
        }
        let why = format!("{}: {}", status.as_u16(), self.clean(&answer.description));
        Err(match (status, answer.parameters.retry_after) {
            (StatusCode::CONFLICT, _) => Unheard::Conflict(why),
            (_, Some(secs)) => Unheard::Wait(secs),
            _ => Unheard::Failed(why),
        })
    }
}

/// One without a number cannot be told from others.
fn read(update: Value) -> Option<Update> {
    let raw: Raw = serde_json::from_value(update).ok()?;
    let said = match (&raw.message, &raw.callback_query) {
        (Some(message), _) => text(message),
        (_, Some(press)) => pressed(press),
        _ => None,
    };
    Some(Update {
        id: raw.update_id,
        said: said.unwrap_or(Said::Other),
    })
}

fn text(message: &Value) -> Option<Said> {
    let text = message["text"].as_str()?;
    Some(Said::Text {
        user: message["from"]["id"].as_i64()?,
        chat: message["chat"]["id"].as_i64()?,
        private: message["chat"]["type"] == "private",
        at: UtcMs(message["date"].as_i64()?.checked_mul(1_000)?),
        text: text.chars().take(LONGEST_TEXT).collect(),
    })
}

fn pressed(press: &Value) -> Option<Said> {
    Some(Said::Press {
        user: press["from"]["id"].as_i64()?,
        call: press["id"].as_str()?.to_owned(),
        data: press["data"].as_str()?.chars().take(64).collect(),
        below: below(&press["message"]),
    })
}

fn below(message: &Value) -> Option<(i64, i64)> {
    let chat = message["chat"]["id"].as_i64()?;
    Some((chat, message["message_id"].as_i64()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_no_text_and_no_press_is_passed_over_but_counted() {
        for update in [
            json!({"update_id": 5, "message": {"photo": []}}),
            json!({"update_id": 5, "message": {"text": "/status", "chat": {"id": 7}}}),
            json!({"update_id": 5, "callback_query": {"id": "c"}}),
            json!({"update_id": 5, "poll": {}}),
        ] {
            let update = read(update).unwrap();
            assert_eq!((update.id, update.said), (5, Said::Other));
        }
        assert_eq!(read(json!({"message": {}})), None);
    }
}
