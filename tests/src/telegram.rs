//! Telegram's Bot API on this machine, as strict as the real one: what it would refuse is refused
//! here, in its words. Speaks plain HTTP, holds all state in memory, and dies with the value. What
//! it can not do (parse modes, but for HTML without a tag; other keyboards than inline ones; replies)
//! it refuses, saying that the fake is what lacks it.
//!
//! Sources: core.telegram.org/bots/api and /bots/faq; the open server (tdlib/telegram-bot-api at
//! 01a3679: `Client.cpp`, `Query.cpp`) and its library (tdlib/td at 022d602: `HttpReader.cpp`,
//! `MessageEntity.cpp`).
//!
//! - `server.rs`: connections and what arrives on them; `parameters.rs`, `multipart.rs`: the four
//!   ways to pass parameters; `answers.rs`: what comes back.
//! - `methods.rs`: what a bot can call; `chats.rs`: what it has to do with; `limits.rs`: how often.
//! - `text.rs`, `entities.rs`: what Telegram makes of a text; `photo.rs`: of a picture; `keyboard.rs`: of
//!   buttons.
//! - `updates.rs`: what people say to the bot.

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

/// Of the right form, and worth nothing; the second one replaces the first.
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
    /// On the loopback, on any free port.
    pub async fn start() -> Self {
        Self::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// On this address: one that containers reach, or one that a former Telegram had.
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

    /// What a bot on this machine takes for `https://api.telegram.org`.
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

    /// The chat of a user who has started the bot.
    pub const fn private_chat(&self) -> i64 {
        chats::USER
    }

    /// A group that the bot is a member of.
    pub const fn group(&self) -> i64 {
        chats::GROUP
    }

    /// What the chats show, oldest first.
    pub fn shown(&self) -> Vec<ShownMessage> {
        self.chats.shown()
    }

    /// How many that are.
    pub fn shown_count(&self) -> usize {
        self.chats.shown_count()
    }

    /// When the one with this place among them came.
    pub fn shown_at(&self, place: usize) -> Instant {
        self.chats.shown_at(place)
    }

    /// This user writes to this chat; the update's number.
    pub fn send_text(&self, user: i64, chat: i64, text: &str) -> i64 {
        self.chats.receive_text(user, chat, text, 0)
    }

    /// The same, so many seconds ago.
    pub fn send_old_text(&self, user: i64, chat: i64, text: &str, seconds_ago: u64) -> i64 {
        self.chats.receive_text(user, chat, text, seconds_ago)
    }

    /// This user presses the button with this data below the newest message that has it.
    pub fn press_button(&self, user: i64, data: &str) -> i64 {
        self.chats.receive_press(user, data)
    }

    /// What the bot said to those who pressed buttons.
    pub fn callback_answers(&self) -> Vec<String> {
        self.chats.updates().callback_answers()
    }

    /// Updates that the bot has not confirmed.
    pub fn unconfirmed_updates(&self) -> usize {
        self.chats.updates().pending_count()
    }

    /// All calls so far, the refused ones included.
    pub fn request_count(&self) -> usize {
        self.chats.request_count()
    }

    /// The next `sendMessage` or `sendPhoto` meets this; of several, each meets one.
    pub fn prepare_fault(&self, trouble: TelegramFault) {
        self.chats.prepare_fault(trouble);
    }

    /// Troubles that nothing has met yet.
    pub fn pending_faults(&self) -> usize {
        self.chats.pending_faults()
    }

    /// Revokes the token: it is unauthorized from now on.
    pub fn revoke_token(&self) {
        self.chats.revoke_token();
    }

    /// Replaces the token: only the new one, which is returned, is valid from now on.
    pub fn replace_token(&self) {
        self.chats.replace_token(TOKENS[1]);
    }

    /// The token is good again.
    pub fn restore_token(&self) {
        self.chats.restore_token();
    }

    /// Other limits than the documented ones; what was sent so far no longer counts.
    pub fn set_limits(&self, limits: RateLimits) {
        self.chats.set_limits(limits);
    }
}
