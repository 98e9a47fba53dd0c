//! A fake of Telegram's Bot API on this machine, as strict as Telegram: it rejects what Telegram rejects, with the same
//! error texts. It speaks plain HTTP, holds all state in memory, and stops on drop. Requests that it does not support
//! (parse modes other than HTML without tags, keyboards other than inline ones, replies) are rejected with an error
//! that names the fake.
//!
//! Sources: core.telegram.org/bots/api and /bots/faq; the open server (tdlib/telegram-bot-api at 01a3679: `Client.cpp`,
//! `Query.cpp`) and its library (tdlib/td at 022d602: `HttpReader.cpp`, `MessageEntity.cpp`).
//!
//! - `server.rs`: connections and routing; `parameters.rs`, `multipart.rs`: the four ways to pass parameters;
//!   `answers.rs`: responses.
//! - `methods.rs`: the methods of the API; `chats.rs`: the bot's chats and their messages; `limits.rs`: rate limits.
//! - `text.rs`, `entities.rs`: how Telegram changes a text; `photo.rs`: rules of pictures; `keyboard.rs`: buttons.
//! - `updates.rs`: messages and button presses for the bot.

mod answers;
mod chats;
mod entities;
mod fault;
mod keyboard;
mod limits;
mod methods;
mod multipart;
mod parameters;
mod photo;
mod server;
mod shown_message;
mod text;
mod updates;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use entities::Entity;
pub use fault::TelegramFault;
pub use keyboard::Button;
pub use limits::RateLimits;
pub use shown_message::ShownMessage;

use chats::Chats;

/// Tokens of the right form that are valid here only. `replace_token` switches to the second one.
const TOKENS: [&str; 2] = [
    "123456789:AAF-this_is_a_token_of_the_fake_Bot",
    "123456789:AAH-and_this_one_replaced_the_first",
];

/// A running Telegram with one bot; stops on drop.
pub struct Telegram {
    address: SocketAddr,
    chats: Arc<Chats>,
    _server: JoinSet<()>,
    _connections: DropGuard,
}

impl Telegram {
    /// Starts on a free port of the loopback interface.
    pub async fn start() -> Self {
        Self::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// Starts on this address: one that containers reach, or that of an earlier Telegram.
    pub async fn start_on(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let chats = Arc::new(Chats::new(TOKENS[0]));
        let end = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(server::serve(listener, Arc::clone(&chats), end.clone()));
        Self {
            address,
            chats,
            _server: task,
            _connections: end.drop_guard(),
        }
    }

    /// Base URL of the API, in place of `https://api.telegram.org`.
    pub fn url(&self) -> String {
        format!("http://{}:{}", Ipv4Addr::LOCALHOST, self.port())
    }

    /// Port of the API.
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// Token that is valid now.
    pub fn token(&self) -> &'static str {
        self.chats.token()
    }

    /// Private chat of a user who has started the bot; also the id of that user.
    pub const fn private_chat(&self) -> i64 {
        chats::USER
    }

    /// Group of which the bot is a member.
    pub const fn group(&self) -> i64 {
        chats::GROUP
    }

    /// Messages of all chats, oldest first.
    pub fn shown(&self) -> Vec<ShownMessage> {
        self.chats.shown()
    }

    /// Number of messages in all chats.
    pub fn shown_count(&self) -> usize {
        self.chats.shown_count()
    }

    /// Time at which the message with this index arrived.
    pub fn shown_at(&self, place: usize) -> Instant {
        self.chats.shown_at(place)
    }

    /// Lets a user write to a chat. Returns the number of the update.
    pub fn send_text(&self, user: i64, chat: i64, text: &str) -> i64 {
        self.chats.receive_text(user, chat, text, 0)
    }

    /// As [`Self::send_text`], with a time this many seconds ago.
    pub fn send_old_text(&self, user: i64, chat: i64, text: &str, seconds_ago: u64) -> i64 {
        self.chats.receive_text(user, chat, text, seconds_ago)
    }

    /// Lets a user press the button with this data, below the newest message that has it. Returns the number of the
    /// update.
    pub fn press_button(&self, user: i64, data: &str) -> i64 {
        self.chats.receive_press(user, data)
    }

    /// Texts with which the bot answered button presses.
    pub fn callback_answers(&self) -> Vec<String> {
        self.chats.updates().callback_answers()
    }

    /// Number of updates that the bot has not confirmed.
    pub fn unconfirmed_updates(&self) -> usize {
        self.chats.updates().pending_count()
    }

    /// Number of calls so far, including rejected ones.
    pub fn request_count(&self) -> usize {
        self.chats.request_count()
    }

    /// Prepares a fault for the next `sendMessage` or `sendPhoto`. Several faults are used one per call.
    pub fn prepare_fault(&self, trouble: TelegramFault) {
        self.chats.prepare_fault(trouble);
    }

    /// Number of prepared faults that no call has used yet.
    pub fn pending_faults(&self) -> usize {
        self.chats.pending_faults()
    }

    /// Revokes the token: every call is unauthorized from now on.
    pub fn revoke_token(&self) {
        self.chats.revoke_token();
    }

    /// Replaces the token: only the second one is valid from now on.
    pub fn replace_token(&self) {
        self.chats.replace_token(TOKENS[1]);
    }

    /// Makes the revoked token valid again.
    pub fn restore_token(&self) {
        self.chats.restore_token();
    }

    /// Replaces the documented rate limits by these, and forgets the messages sent so far.
    pub fn set_limits(&self, limits: RateLimits) {
        self.chats.set_limits(limits);
    }
}
