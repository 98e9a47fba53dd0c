//! Telegram's Bot API: one call, and what its end means. Never tries twice, never decides.
//!
//! What the answers mean: <https://core.telegram.org/bots/api#making-requests>. The token is in the
//! address of every call; it leaves this file neither in an error nor in an answer (see `Telegram::clean`).

mod hears;
mod photo;

use std::time::Duration;

use delivery::compose::Message;
use delivery::decide::Outcome;
use reqwest::{Client, RequestBuilder, StatusCode};
use runtime::process::Stop;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::hears::Unheard;
use crate::address::causes;
use crate::fault::Fault;
use crate::settings::Bot;

const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
const DEADLINE: Duration = Duration::from_secs(15);
/// Longest explanation that is kept.
const LONGEST_WHY: usize = 300;

/// One bot.
#[derive(Clone)]
pub struct Telegram {
    client: Client,
    /// For calls that wait long for their answer: they hold up nobody else's.
    poller: Client,
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
    inline_keyboard: [Vec<Key<'a>>; 1],
}

#[derive(Serialize)]
struct Key<'a> {
    text: &'a str,
    callback_data: &'a str,
}

impl<'a> Keyboard<'a> {
    fn of(message: &'a Message) -> Option<Self> {
        let keys = message.buttons.iter().map(|button| Key {
            text: &button.text,
            callback_data: &button.data,
        });
        let keys: Vec<Key<'_>> = keys.collect();
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
struct Answer {
    ok: bool,
    result: Option<Value>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Deserialize, Default)]
struct Parameters {
    retry_after: Option<u64>,
    migrate_to_chat_id: Option<i64>,
}

impl Telegram {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// Exit 70 if there is no TLS.
    pub fn new(bot: &Bot) -> Result<Self, Stop> {
        // A second installation is refused, and as good as the first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Self {
            client: client(DEADLINE)?,
            poller: client(hears::POLL_DEADLINE)?,
            api_url: bot.api_url.clone(),
            token: bot.token.clone(),
        })
    }

    /// Whether the token holds and this chat may be written to: shows "typing", leaves no message.
    ///
    /// # Errors
    /// Exit 78 in Telegram's words if not. No answer is none: it may come later.
    pub async fn check(&self, chat: i64) -> Result<(), Stop> {
        let action = SendChatAction {
            chat_id: chat,
            action: "typing",
        };
        let request = self
            .client
            .post(self.address("sendChatAction"))
            .json(&action);
        match self.call(chat, request).await.0 {
            Outcome::Closed { why } | Outcome::Refused { why } => Err(Stop::config(format!(
                "TELEGRAM_BOT_TOKEN (not shown) with TELEGRAM_CHAT_ID={chat}: Telegram refuses, {why}"
            ))),
            Outcome::Unknown { why } | Outcome::Returned { why, .. } => {
                tracing::warn!(
                    why,
                    "Telegram not reached; trying again with the first message"
                );
                Ok(())
            }
            Outcome::Sent { .. } | Outcome::Migrated { .. } => Ok(()),
        }
    }

    /// Sends one message, once; with this PNG if there is one. `chat`: the one that was set, where the message
    /// names no other.
    pub async fn send(&self, chat: i64, message: &Message, png: Option<&[u8]>) -> Outcome {
        let to = message.chat.unwrap_or(chat);
        let (outcome, fault) = self.post(to, message, png).await;
        match (outcome, fault) {
            // Somebody who wrote to the bot and cannot be answered: no reason to tell nobody anything.
            (Outcome::Closed { why }, Some(fault)) if to != chat && fault.is_of_the_chat() => {
                Outcome::Refused { why }
            }
            (outcome, _) => outcome,
        }
    }

    /// A picture that Telegram surely did not take leaves the text.
    async fn post(
        &self,
        chat: i64,
        message: &Message,
        png: Option<&[u8]>,
    ) -> (Outcome, Option<Fault>) {
        if let Some(png) = png {
            let sent = self.post_photo(chat, message, png).await;
            match &sent.0 {
                Outcome::Refused { why } | Outcome::Closed { why } => {
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
    ) -> Result<Option<i64>, (Fault, String)> {
        let (outcome, fault) = self.post_message(chat, message).await;
        let why = outcome.trouble().unwrap_or("the chat has moved").to_owned();
        match (outcome, fault) {
            (Outcome::Sent { message }, _) => Ok(message),
            (Outcome::Migrated { to, .. }, _) => Err((Fault::Migrated(to), why)),
            (_, fault) => Err((fault.unwrap_or(Fault::Refused), why)),
        }
    }

    async fn post_message(&self, chat: i64, message: &Message) -> (Outcome, Option<Fault>) {
        let parameters = SendMessage {
            chat_id: chat,
            text: &message.text,
            entities: entities(message),
            link_preview_options: LinkPreview { is_disabled: true },
            reply_markup: Keyboard::of(message),
        };
        let request = self
            .client
            .post(self.address("sendMessage"))
            .json(&parameters);
        self.call(chat, request).await
    }

    /// With the token in it: for a request alone.
    fn address(&self, method: &str) -> String {
        let token = self.token.expose_secret();
        format!("{}/bot{token}/{method}", self.api_url)
    }

    /// How it ended, and what is wrong where it did not do what it should.
    async fn call(&self, chat: i64, request: RequestBuilder) -> (Outcome, Option<Fault>) {
        match self.ask(request).await {
            Ok((status, answer)) => self.judge(chat, status, &answer),
            Err(ended) => ended,
        }
    }

    /// Telegram's answer, or how it ended without one.
    async fn ask(
        &self,
        request: RequestBuilder,
    ) -> Result<(StatusCode, Answer), (Outcome, Option<Fault>)> {
        let answered = async {
            let response = request.send().await?;
            Ok((response.status(), response.bytes().await?))
        };
        let (status, body) = answered.await.map_err(|error| self.failed(error))?;
        let answer = serde_json::from_slice::<Answer>(&body);
        let answer = answer.map_err(|_| self.unreadable(status))?;
        Ok((status, answer))
    }

    /// Before a connection stands nothing was sent; afterwards nobody knows.
    fn failed(&self, error: reqwest::Error) -> (Outcome, Option<Fault>) {
        let before_anything_was_sent = error.is_connect() || error.is_builder();
        let why = self.clean(&causes(error));
        if before_anything_was_sent {
            let outcome = Outcome::Returned { why, wait_ms: None };
            (outcome, Some(Fault::NotConnected))
        } else {
            (Outcome::Unknown { why }, Some(Fault::NoAnswer))
        }
    }

    fn judge(&self, chat: i64, status: StatusCode, answer: &Answer) -> (Outcome, Option<Fault>) {
        let why = format!("{}: {}", status.as_u16(), self.clean(&answer.description));
        if answer.ok {
            let number = answer.result.as_ref().map(|result| &result["message_id"]);
            let message = number.and_then(Value::as_i64);
            return (Outcome::Sent { message }, None);
        }
        if let Some(to) = answer.parameters.migrate_to_chat_id {
            return (Outcome::Migrated { from: chat, to }, None);
        }
        let retry_after = answer.parameters.retry_after;
        let outcome = match status {
            StatusCode::TOO_MANY_REQUESTS => Outcome::Returned {
                why,
                wait_ms: retry_after.map(|secs| secs * 1_000),
            },
            // The token, or the right to write to this chat: a person must mend it, the text is fine.
            StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => {
                Outcome::Closed { why }
            }
            StatusCode::BAD_REQUEST if about_the_chat(&answer.description) => {
                Outcome::Closed { why }
            }
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Outcome::Refused { why },
            _ => Outcome::Unknown { why },
        };
        let fault = Fault::of(status.as_u16(), &answer.description, retry_after);
        (outcome, Some(fault))
    }

    /// A proxy's page in place of an answer.
    fn unreadable(&self, status: StatusCode) -> (Outcome, Option<Fault>) {
        let why = format!("{}: this is no answer of Telegram's", status.as_u16());
        match status {
            StatusCode::TOO_MANY_REQUESTS => (
                Outcome::Returned { why, wait_ms: None },
                Some(Fault::TooFast(None)),
            ),
            // Nothing of Telegram's is at this address.
            _ if status.is_client_error() || status.is_redirection() => {
                let why = format!("TELEGRAM_API_URL={:?}: {why}", self.api_url);
                (Outcome::Closed { why }, Some(Fault::NotTelegram))
            }
            _ if status.is_server_error() => (Outcome::Unknown { why }, Some(Fault::Server)),
            _ => (Outcome::Unknown { why }, Some(Fault::NotTelegram)),
        }
    }

    /// The one place through which words about a call leave: one line, of bounded length, without the
    /// token.
    fn clean(&self, text: &str) -> String {
        let text = text.replace(self.token.expose_secret(), "***");
        let words: Vec<&str> = text.split_whitespace().collect();
        words.join(" ").chars().take(LONGEST_WHY).collect()
    }
}

fn client(deadline: Duration) -> Result<Client, Stop> {
    Client::builder()
        .connect_timeout(CONNECT_DEADLINE)
        .timeout(deadline)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("bearish-alpha/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Stop::internal(format!("no TLS: {}", error.without_url())))
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
fn about_the_chat(description: &str) -> bool {
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
