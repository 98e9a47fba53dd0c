//! Updates by long polling, the name of the bot, and replies to pressed buttons.

use notifier_core::command_intake::{Update, UpdateKind};
use protocol::time::UtcMs;
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::client::{LONG_POLL_SECS, PollError, Telegram};

/// Most updates of one call.
const MAX_UPDATES: u32 = 20;
/// Longest text of an update, in characters; the rest is dropped.
const MAX_TEXT_CHARS: usize = 1_000;

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

/// Removes the keyboard, because the parameters name none.
#[derive(Serialize)]
struct EditMessageReplyMarkup {
    chat_id: i64,
    message_id: i64,
}

#[derive(Deserialize)]
struct RawUpdate {
    update_id: i64,
    message: Option<Value>,
    callback_query: Option<Value>,
}

impl Telegram {
    /// Name of the bot without @.
    ///
    /// # Errors
    /// Error in one line.
    pub async fn bot_name(&self) -> Result<String, String> {
        let me = self
            .call_method("getMe", &serde_json::json!({}), false)
            .await;
        let me = me.map_err(|error| format!("{error:?}"))?;
        let name = me["username"].as_str();
        name.map(str::to_owned)
            .ok_or_else(|| "response without a user name".to_owned())
    }

    /// Updates from this id on; waits for one if there is none. Telegram deletes older updates.
    ///
    /// # Errors
    /// [`PollError`].
    pub async fn fetch_updates(&self, from: Option<i64>) -> Result<Vec<Update>, PollError> {
        let parameters = GetUpdates {
            offset: from,
            timeout: LONG_POLL_SECS,
            limit: MAX_UPDATES,
            allowed_updates: ["message", "callback_query"],
        };
        let result = self.call_method("getUpdates", &parameters, true).await?;
        let all: Vec<Value> = serde_json::from_value(result)
            .map_err(|_| PollError::Failed("result is not a list of updates".to_owned()))?;
        Ok(all.into_iter().filter_map(parse_update).collect())
    }

    /// Replies to a pressed button. Failures are only logged.
    pub async fn answer_callback(&self, callback_id: &str, text: &str) {
        let parameters = AnswerCallbackQuery {
            callback_query_id: callback_id,
            text,
        };
        if let Err(error) = self
            .call_method("answerCallbackQuery", &parameters, false)
            .await
        {
            tracing::debug!(?error, "reply to a pressed button failed");
        }
    }

    /// Removes the buttons below a message. Failures are only logged.
    pub async fn remove_buttons(&self, chat: i64, message: i64) {
        let edit = EditMessageReplyMarkup {
            chat_id: chat,
            message_id: message,
        };
        if let Err(error) = self
            .call_method("editMessageReplyMarkup", &edit, false)
            .await
        {
            tracing::debug!(?error, "removal of expired buttons failed");
        }
    }

    async fn call_method(
        &self,
        method: &str,
        parameters: &impl Serialize,
        long: bool,
    ) -> Result<Value, PollError> {
        let client = if long {
            &self.poll_client
        } else {
            &self.client
        };
        let request = client.post(self.method_url(method)).json(parameters);
        let (status, response) = match self.request(request).await {
            Ok(response) => response,
            Err((outcome, _)) => {
                let error = outcome.error().unwrap_or_default().to_owned();
                return Err(PollError::Failed(error));
            }
        };
        if response.ok {
            return Ok(response.result.unwrap_or_default());
        }
        let error = format!(
            "{}: {}",
            status.as_u16(),
            self.redact(&response.description)
        );
        Err(match (status, response.parameters.retry_after) {
            (StatusCode::CONFLICT, _) => PollError::Conflict(error),
            (_, Some(secs)) => PollError::Wait(secs),
            _ => PollError::Failed(error),
        })
    }
}

/// Parses an update; `None` without an id.
fn parse_update(update: Value) -> Option<Update> {
    let raw: RawUpdate = serde_json::from_value(update).ok()?;
    let kind = match (&raw.message, &raw.callback_query) {
        (Some(message), _) => parse_text(message),
        (_, Some(press)) => parse_press(press),
        _ => None,
    };
    Some(Update {
        id: raw.update_id,
        kind: kind.unwrap_or(UpdateKind::Other),
    })
}

fn parse_text(message: &Value) -> Option<UpdateKind> {
    let text = message["text"].as_str()?;
    Some(UpdateKind::Text {
        user: message["from"]["id"].as_i64()?,
        chat: message["chat"]["id"].as_i64()?,
        is_private: message["chat"]["type"] == "private",
        sent_at: UtcMs(message["date"].as_i64()?.checked_mul(1_000)?),
        text: text.chars().take(MAX_TEXT_CHARS).collect(),
    })
}

fn parse_press(press: &Value) -> Option<UpdateKind> {
    Some(UpdateKind::ButtonPress {
        user: press["from"]["id"].as_i64()?,
        callback_id: press["id"].as_str()?.to_owned(),
        data: press["data"].as_str()?.chars().take(64).collect(),
        message: message_position(&press["message"]),
    })
}

fn message_position(message: &Value) -> Option<(i64, i64)> {
    let chat = message["chat"]["id"].as_i64()?;
    Some((chat, message["message_id"].as_i64()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn update_without_text_or_button_press_is_kept_as_other() {
        for update in [
            json!({"update_id": 5, "message": {"photo": []}}),
            json!({"update_id": 5, "message": {"text": "/status", "chat": {"id": 7}}}),
            json!({"update_id": 5, "callback_query": {"id": "c"}}),
            json!({"update_id": 5, "poll": {}}),
        ] {
            let update = parse_update(update).unwrap();
            assert_eq!((update.id, update.kind), (5, UpdateKind::Other));
        }
        assert_eq!(parse_update(json!({"message": {}})), None);
    }
}
