//! Telegram's Bot API: [`Telegram`] makes one call at a time and classifies its outcome. It never retries.

mod client;
mod photo;
mod updates;

pub use self::client::{PollError, Telegram};
