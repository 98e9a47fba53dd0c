//! Telegram's Bot API: one call, and what its end means. Never tries twice, never decides.
//!
//! What the answers mean: <https://core.telegram.org/bots/api#making-requests>. The token is in the
//! address of every call; it leaves this file neither in an error nor in an answer (see `Telegram::redact`).

mod photo;
mod updates;

use std::time::Duration;

use notifier_core::decide::Outcome;
use notifier_core::message::Message;
use reqwest::{Client, RequestBuilder, StatusCode};
use runtime::process::ExitError;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::updates::PollError;
use crate::secret_url::error_chain;
use crate::settings::Bot;
use crate::telegram_error::TelegramError;

const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
const DEADLINE: Duration = Duration::from_secs(15);
/// Longest explanation that is kept.
const MAX_ERROR_CHARS: usize = 300;

/// One bot.
#[derive(Clone)]
pub struct Telegram {
    client: Client,
    /// For calls that wait long for their answer: they hold up nobody else's.
    poll_client: Client,
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
struct Keyboard<'a> {
    inline_keyboard: [Vec<KeyboardButton<'a>>; 1],
}

#[derive(Serialize)]
struct KeyboardButton<'a> {
    text: &'a str,
    callback_data: &'a str,
}

impl<'a> Keyboard<'a> {
    fn for_message(message: &'a Message) -> Option<Self> {
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
struct Entity {
    r#type: &'static str,
    offset: usize,
    length: usize,
}

#[derive(Serialize)]
struct LinkPreview {
    is_disabled: bool,
}

/// Telegram's answer to any call.
#[derive(Deserialize)]
struct ApiResponse {
    ok: bool,
    result: Option<Value>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    parameters: ResponseParameters,
}

#[derive(Deserialize, Default)]
struct ResponseParameters {
    retry_after: Option<u64>,
    migrate_to_chat_id: Option<i64>,
}

impl Telegram {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// Exit 70 if there is no TLS.
    pub fn new(bot: &Bot) -> Result<Self, ExitError> {
        // A second installation is refused, and as good as the first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Self {
            client: build_client(DEADLINE)?,
            poll_client: build_client(updates::POLL_DEADLINE)?,
            api_url: bot.api_url.clone(),
            token: bot.token.clone(),
        })
    }

    /// Whether the token holds and this chat may be written to: shows "typing", leaves no message.
    ///
    /// # Errors
    /// Exit 78 in Telegram's words if not. No answer is none: it may come later.
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
            Outcome::ChannelRejected { error: why } | Outcome::MessageRejected { error: why } => {
                Err(ExitError::config(format!(
                    "TELEGRAM_BOT_TOKEN (not shown) with TELEGRAM_CHAT_ID={chat}: Telegram refuses, {why}"
                )))
            }
            Outcome::Unknown { error: why } | Outcome::Retryable { error: why, .. } => {
                tracing::warn!(
                    why,
                    "Telegram not reached; trying again with the first message"
                );
                Ok(())
            }
            Outcome::Delivered { .. } | Outcome::ChatMigrated { .. } => Ok(()),
        }
    }

    /// Sends one message, once; with this PNG if there is one. `current_chat`: the one that was set, where the message
    /// names no other.
    pub async fn send(&self, chat: i64, message: &Message, png: Option<&[u8]>) -> Outcome {
        let to = message.chat.unwrap_or(chat);
        let (outcome, fault) = self.post_with_picture(to, message, png).await;
        match (outcome, fault) {
            // Somebody who wrote to the bot and cannot be answered: no reason to tell nobody anything.
            (Outcome::ChannelRejected { error: why }, Some(fault))
                if to != chat && fault.concerns_chat() =>
            {
                Outcome::MessageRejected { error: why }
            }
            (outcome, _) => outcome,
        }
    }

    /// A picture that Telegram surely did not take leaves the text.
    async fn post_with_picture(
        &self,
        chat: i64,
        message: &Message,
        png: Option<&[u8]>,
    ) -> (Outcome, Option<TelegramError>) {
        if let Some(png) = png {
            let sent = self.post_photo(chat, message, png).await;
            match &sent.0 {
                Outcome::MessageRejected { error: why }
                | Outcome::ChannelRejected { error: why } => {
                    tracing::warn!(why, "the picture is not taken; the text goes alone");
                }
                _ => return sent,
            }
        }
        self.post_message(chat, message).await
    }

    /// The same for a person who waits: the message's number, or what is wrong and why.
    ///
    /// # Errors
    /// The fault, and one line without the token.
    pub async fn try_send(
        &self,
        chat: i64,
        message: &Message,
    ) -> Result<Option<i64>, (TelegramError, String)> {
        let (outcome, fault) = self.post_message(chat, message).await;
        let why = outcome.error().unwrap_or("the chat has moved").to_owned();
        match (outcome, fault) {
            (
                Outcome::Delivered {
                    message_id: message,
                },
                _,
            ) => Ok(message),
            (Outcome::ChatMigrated { to, .. }, _) => Err((TelegramError::ChatMigrated(to), why)),
            (_, fault) => Err((fault.unwrap_or(TelegramError::MessageRejected), why)),
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

    /// With the token in it: for a request alone.
    fn method_url(&self, method: &str) -> String {
        let token = self.token.expose_secret();
        format!("{}/bot{token}/{method}", self.api_url)
    }

    /// How it ended, and what is wrong where it did not do what it should.
    async fn call(&self, chat: i64, request: RequestBuilder) -> (Outcome, Option<TelegramError>) {
        match self.request(request).await {
            Ok((status, answer)) => self.classify_response(chat, status, &answer),
            Err(ended) => ended,
        }
    }

    /// Telegram's answer, or how it ended without one.
    async fn request(
        &self,
        request: RequestBuilder,
    ) -> Result<(StatusCode, ApiResponse), (Outcome, Option<TelegramError>)> {
        let answered = async {
            let response = request.send().await?;
            Ok((response.status(), response.bytes().await?))
        };
        let (status, body) = answered.await.map_err(|error| self.classify_error(error))?;
        let answer = serde_json::from_slice::<ApiResponse>(&body);
        let answer = answer.map_err(|_| self.classify_unreadable(status))?;
        Ok((status, answer))
    }

    /// Before a connection stands nothing was sent; afterwards nobody knows.
    fn classify_error(&self, error: reqwest::Error) -> (Outcome, Option<TelegramError>) {
        let before_anything_was_sent = error.is_connect() || error.is_builder();
        let why = self.redact(&error_chain(error));
        if before_anything_was_sent {
            let outcome = Outcome::Retryable {
                error: why,
                wait_ms: None,
            };
            (outcome, Some(TelegramError::NotConnected))
        } else {
            (
                Outcome::Unknown { error: why },
                Some(TelegramError::NoResponse),
            )
        }
    }

    fn classify_response(
        &self,
        chat: i64,
        status: StatusCode,
        answer: &ApiResponse,
    ) -> (Outcome, Option<TelegramError>) {
        let why = format!("{}: {}", status.as_u16(), self.redact(&answer.description));
        if answer.ok {
            let number = answer.result.as_ref().map(|result| &result["message_id"]);
            let message = number.and_then(Value::as_i64);
            return (
                Outcome::Delivered {
                    message_id: message,
                },
                None,
            );
        }
        if let Some(to) = answer.parameters.migrate_to_chat_id {
            return (Outcome::ChatMigrated { from: chat, to }, None);
        }
        let retry_after = answer.parameters.retry_after;
        let outcome = match status {
            StatusCode::TOO_MANY_REQUESTS => Outcome::Retryable {
                error: why,
                wait_ms: retry_after.map(|secs| secs * 1_000),
            },
            // The token, or the right to write to this chat: a person must mend it, the text is fine.
            StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => {
                Outcome::ChannelRejected { error: why }
            }
            StatusCode::BAD_REQUEST if is_about_chat(&answer.description) => {
                Outcome::ChannelRejected { error: why }
            }
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => {
                Outcome::MessageRejected { error: why }
            }
            _ => Outcome::Unknown { error: why },
        };
        let fault = TelegramError::from_response(status.as_u16(), &answer.description, retry_after);
        (outcome, Some(fault))
    }

    /// A proxy's page in place of an answer.
    fn classify_unreadable(&self, status: StatusCode) -> (Outcome, Option<TelegramError>) {
        let why = format!("{}: this is no answer of Telegram's", status.as_u16());
        match status {
            StatusCode::TOO_MANY_REQUESTS => (
                Outcome::Retryable {
                    error: why,
                    wait_ms: None,
                },
                Some(TelegramError::RateLimited(None)),
            ),
            // Nothing of Telegram's is at this address.
            _ if status.is_client_error() || status.is_redirection() => {
                let why = format!("TELEGRAM_API_URL={:?}: {why}", self.api_url);
                (
                    Outcome::ChannelRejected { error: why },
                    Some(TelegramError::NotTelegram),
                )
            }
            _ if status.is_server_error() => (
                Outcome::Unknown { error: why },
                Some(TelegramError::ServerError),
            ),
            _ => (
                Outcome::Unknown { error: why },
                Some(TelegramError::NotTelegram),
            ),
        }
    }

    /// The one place through which words about a call leave: one line, of bounded length, without the
    /// token.
    fn redact(&self, text: &str) -> String {
        let text = text.replace(self.token.expose_secret(), "***");
        let words: Vec<&str> = text.split_whitespace().collect();
        words.join(" ").chars().take(MAX_ERROR_CHARS).collect()
    }
}

fn build_client(deadline: Duration) -> Result<Client, ExitError> {
    Client::builder()
        .connect_timeout(CONNECT_DEADLINE)
        .timeout(deadline)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("bearish-alpha/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| ExitError::internal(format!("no TLS: {}", error.without_url())))
}

fn entities(message: &Message) -> Vec<Entity> {
    let bold = message.bold.iter().map(|bold| Entity {
        r#type: "bold",
        offset: bold.offset,
        length: bold.length,
    });
    bold.collect()
}

/// Whether a refusal is about the chat and not about the text.
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
