//! Client of the Bot API: sends one message and classifies the outcome.
//!
//! Meaning of the responses: <https://core.telegram.org/bots/api#making-requests>. The token is part of the URL of every
//! call; `Telegram::redact` removes it from every error.

use std::time::Duration;

use notifier_core::message::{Message, StyledSpan, TextStyle};
use notifier_core::model::Outcome;
use reqwest::{Client, RequestBuilder, StatusCode};
use runtime::process::ExitError;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::Bot;
use crate::secret_url::error_chain;
use crate::telegram_error::TelegramError;

const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
const DEADLINE: Duration = Duration::from_secs(15);
/// Longest error text, in characters.
const MAX_ERROR_CHARS: usize = 300;
/// Time for which Telegram waits for an update.
pub(super) const LONG_POLL_SECS: u64 = 25;
/// Longer than a long poll by the time of a response.
const POLL_DEADLINE: Duration = Duration::from_secs(LONG_POLL_SECS + 15);

/// Error of a poll for updates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PollError {
    /// Another client polls with the same token, or a webhook is set.
    Conflict(String),
    /// Telegram names a wait in seconds.
    Wait(u64),
    /// Any other error, in one line.
    Failed(String),
}

/// Client of one bot.
#[derive(Clone)]
pub struct Telegram {
    pub(super) client: Client,
    /// Client of long polls, which must not delay other calls.
    pub(super) poll_client: Client,
    api_url: String,
    token: SecretString,
}

#[derive(Serialize)]
struct SendMessage<'a> {
    chat_id: i64,
    text: &'a str,
    entities: Vec<Entity>,
    link_preview_options: LinkPreview,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_markup: Option<Keyboard<'a>>,
}

/// Buttons below a message, in one row.
#[derive(Serialize)]
pub(super) struct Keyboard<'a> {
    inline_keyboard: [Vec<KeyboardButton<'a>>; 1],
}

#[derive(Serialize)]
struct KeyboardButton<'a> {
    text: &'a str,
    callback_data: &'a str,
}

impl<'a> Keyboard<'a> {
    pub(super) fn for_message(message: &'a Message) -> Option<Self> {
        let keys = message.buttons.iter().map(|button| KeyboardButton {
            text: &button.text,
            callback_data: &button.data,
        });
        let keys: Vec<KeyboardButton<'_>> = keys.collect();
        (!keys.is_empty()).then_some(Self {
            inline_keyboard: [keys],
        })
    }
}

#[derive(Serialize)]
struct SendChatAction {
    chat_id: i64,
    action: &'static str,
}

#[derive(Serialize)]
pub(super) struct Entity {
    r#type: &'static str,
    offset: usize,
    length: usize,
}

#[derive(Serialize)]
struct LinkPreview {
    is_disabled: bool,
}

/// Telegram's response to any call.
#[derive(Deserialize)]
pub(super) struct ApiResponse {
    pub(super) ok: bool,
    pub(super) result: Option<Value>,
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) parameters: ResponseParameters,
}

#[derive(Deserialize, Default)]
pub(super) struct ResponseParameters {
    pub(super) retry_after: Option<u64>,
    migrate_to_chat_id: Option<i64>,
}

impl Telegram {
    /// Makes a client that is not connected yet.
    ///
    /// # Errors
    /// Exit 70 if TLS cannot be initialized.
    pub fn new(bot: &Bot) -> Result<Self, ExitError> {
        // A second installation fails, and the first one stays in place.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Self {
            client: build_client(DEADLINE)?,
            poll_client: build_client(POLL_DEADLINE)?,
            api_url: bot.api_url.clone(),
            token: bot.token.clone(),
        })
    }

    /// Checks token and chat with a "typing" action, which leaves no message.
    ///
    /// # Errors
    /// Exit 78 with Telegram's error if it rejects them. A missing response is no error.
    pub async fn check(&self, chat: i64) -> Result<(), ExitError> {
        let action = SendChatAction {
            chat_id: chat,
            action: "typing",
        };
        let request = self
            .client
            .post(self.method_url("sendChatAction"))
            .json(&action);
        match self.call(chat, request).await.0 {
            Outcome::ChannelRejected { error } | Outcome::MessageRejected { error } => {
                Err(ExitError::config(format!(
                    "TELEGRAM_BOT_TOKEN (not shown) and TELEGRAM_CHAT_ID={chat}: Telegram rejects them: {error}; \
                     correct them in .env, then run scripts/up"
                )))
            }
            Outcome::Unknown { error } | Outcome::Retryable { error, .. } => {
                tracing::warn!(
                    error,
                    "Telegram unreachable; retrying with the first message"
                );
                Ok(())
            }
            Outcome::Delivered { .. } | Outcome::ChatMigrated { .. } => Ok(()),
        }
    }

    /// Sends one message once, with the PNG if there is one. `chat` is used if the message names no other.
    pub async fn send(&self, chat: i64, message: &Message, png: Option<&[u8]>) -> Outcome {
        let to = message.chat.unwrap_or(chat);
        let (outcome, cause) = self.post_with_picture(to, message, png).await;
        match (outcome, cause) {
            // A user who cannot be answered must not block messages to the configured chat.
            (Outcome::ChannelRejected { error }, Some(cause))
                if to != chat && cause.concerns_chat() =>
            {
                Outcome::MessageRejected { error }
            }
            (outcome, _) => outcome,
        }
    }

    /// Sends the text alone if Telegram rejects the picture.
    async fn post_with_picture(
        &self,
        chat: i64,
        message: &Message,
        png: Option<&[u8]>,
    ) -> (Outcome, Option<TelegramError>) {
        if let Some(png) = png {
            let sent = self.post_photo(chat, message, png).await;
            match &sent.0 {
                Outcome::MessageRejected { error } | Outcome::ChannelRejected { error } => {
                    tracing::warn!(error, "picture rejected; sending the text alone");
                }
                _ => return sent,
            }
        }
        self.post_message(chat, message).await
    }

    /// Sends one message for `notifier send-test`; the number of the message.
    ///
    /// # Errors
    /// The cause, and one line without the token.
    pub async fn try_send(
        &self,
        chat: i64,
        message: &Message,
    ) -> Result<Option<i64>, (TelegramError, String)> {
        let (outcome, cause) = self.post_message(chat, message).await;
        let error = outcome
            .error()
            .unwrap_or("the chat has a new id")
            .to_owned();
        match (outcome, cause) {
            (Outcome::Delivered { message_id }, _) => Ok(message_id),
            (Outcome::ChatMigrated { to, .. }, _) => Err((TelegramError::ChatMigrated(to), error)),
            (_, cause) => Err((cause.unwrap_or(TelegramError::MessageRejected), error)),
        }
    }

    async fn post_message(&self, chat: i64, message: &Message) -> (Outcome, Option<TelegramError>) {
        let parameters = SendMessage {
            chat_id: chat,
            text: &message.text,
            entities: entities(message),
            link_preview_options: LinkPreview { is_disabled: true },
            reply_markup: Keyboard::for_message(message),
        };
        let request = self
            .client
            .post(self.method_url("sendMessage"))
            .json(&parameters);
        self.call(chat, request).await
    }

    /// URL of a method, with the token in it: for requests only.
    pub(super) fn method_url(&self, method: &str) -> String {
        let token = self.token.expose_secret();
        format!("{}/bot{token}/{method}", self.api_url)
    }

    /// Makes a call; its outcome, and the cause if it did not deliver.
    pub(super) async fn call(
        &self,
        chat: i64,
        request: RequestBuilder,
    ) -> (Outcome, Option<TelegramError>) {
        match self.request(request).await {
            Ok((status, response)) => self.classify_response(chat, status, &response),
            Err(failed) => failed,
        }
    }

    /// Makes a call; Telegram's response, or the outcome without one.
    pub(super) async fn request(
        &self,
        request: RequestBuilder,
    ) -> Result<(StatusCode, ApiResponse), (Outcome, Option<TelegramError>)> {
        let call = async {
            let response = request.send().await?;
            Ok((response.status(), response.bytes().await?))
        };
        let (status, body) = call.await.map_err(|error| self.classify_error(error))?;
        let response = serde_json::from_slice::<ApiResponse>(&body);
        let response = response.map_err(|_| self.classify_unreadable(status))?;
        Ok((status, response))
    }

    /// Without a connection nothing was sent; with one, the outcome is unknown.
    fn classify_error(&self, error: reqwest::Error) -> (Outcome, Option<TelegramError>) {
        let was_not_sent = error.is_connect() || error.is_builder();
        let error = self.redact(&error_chain(error));
        if was_not_sent {
            let outcome = Outcome::Retryable {
                error,
                wait_ms: None,
            };
            (outcome, Some(TelegramError::NotConnected))
        } else {
            (Outcome::Unknown { error }, Some(TelegramError::NoResponse))
        }
    }

    fn classify_response(
        &self,
        chat: i64,
        status: StatusCode,
        response: &ApiResponse,
    ) -> (Outcome, Option<TelegramError>) {
        let error = format!(
            "{}: {}",
            status.as_u16(),
            self.redact(&response.description)
        );
        if response.ok {
            let number = response.result.as_ref().map(|result| &result["message_id"]);
            let message_id = number.and_then(Value::as_i64);
            return (Outcome::Delivered { message_id }, None);
        }
        if let Some(to) = response.parameters.migrate_to_chat_id {
            return (Outcome::ChatMigrated { from: chat, to }, None);
        }
        let retry_after = response.parameters.retry_after;
        let outcome = match status {
            StatusCode::TOO_MANY_REQUESTS => Outcome::Retryable {
                error,
                wait_ms: retry_after.map(|secs| secs * 1_000),
            },
            // Token or chat is wrong, not the text: the operator has to correct it.
            StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => {
                Outcome::ChannelRejected { error }
            }
            StatusCode::BAD_REQUEST if is_about_chat(&response.description) => {
                Outcome::ChannelRejected { error }
            }
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => {
                Outcome::MessageRejected { error }
            }
            _ => Outcome::Unknown { error },
        };
        let cause =
            TelegramError::from_response(status.as_u16(), &response.description, retry_after);
        (outcome, Some(cause))
    }

    /// Classifies a response that is not Telegram's, such as a proxy's page.
    fn classify_unreadable(&self, status: StatusCode) -> (Outcome, Option<TelegramError>) {
        let error = format!("{}: not a response of Telegram", status.as_u16());
        match status {
            StatusCode::TOO_MANY_REQUESTS => (
                Outcome::Retryable {
                    error,
                    wait_ms: None,
                },
                Some(TelegramError::RateLimited(None)),
            ),
            // Another server answers at this address.
            _ if status.is_client_error() || status.is_redirection() => {
                let error = format!("TELEGRAM_API_URL={:?}: {error}", self.api_url);
                (
                    Outcome::ChannelRejected { error },
                    Some(TelegramError::NotTelegram),
                )
            }
            _ if status.is_server_error() => {
                (Outcome::Unknown { error }, Some(TelegramError::ServerError))
            }
            _ => (Outcome::Unknown { error }, Some(TelegramError::NotTelegram)),
        }
    }

    /// Every error text passes here: one line of bounded length, without the token.
    pub(super) fn redact(&self, text: &str) -> String {
        let text = text.replace(self.token.expose_secret(), "***");
        let parts: Vec<&str> = text.split_whitespace().collect();
        parts.join(" ").chars().take(MAX_ERROR_CHARS).collect()
    }
}

fn build_client(deadline: Duration) -> Result<Client, ExitError> {
    Client::builder()
        .connect_timeout(CONNECT_DEADLINE)
        .timeout(deadline)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("bearish-alpha/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| ExitError::internal(format!("TLS: {}", error.without_url())))
}

pub(super) fn entities(message: &Message) -> Vec<Entity> {
    let entity = |span: &StyledSpan| Entity {
        r#type: match span.style {
            TextStyle::Bold => "bold",
            TextStyle::Table => "pre",
        },
        offset: span.offset,
        length: span.length,
    };
    message.spans.iter().map(entity).collect()
}

/// Whether an error is about the chat and not about the text.
/// Texts: `Client.cpp` of <https://github.com/tdlib/telegram-bot-api>.
fn is_about_chat(description: &str) -> bool {
    let description = description.to_lowercase();
    [
        "chat not found",
        "chat_id",
        "chat identifier",
        "chat was upgraded",
        "chat_write_forbidden",
        "peer_id_invalid",
        "have no rights",
        "not enough rights",
        "need administrator rights",
        "topic_closed",
    ]
    .iter()
    .any(|known| description.contains(known))
}
