//! A message as its chat shows it.

use std::time::Instant;

use super::entities::Entity;
use super::keyboard::Button;

/// A message as its chat shows it.
#[derive(Debug, Clone)]
pub struct ShownMessage {
    /// Chat that shows the message.
    pub chat: i64,
    /// Id of the message, as in the response to the bot.
    pub message_id: i64,
    /// Text after Telegram has cleaned and trimmed it.
    pub text: String,
    /// Formats of parts of the text, in order.
    pub entities: Vec<Entity>,
    /// Buttons below the message, by row.
    pub buttons: Vec<Vec<Button>>,
    /// PNG file above the text; `None` for a text message.
    pub photo: Option<Vec<u8>>,
    /// Width and height of the picture, in pixels.
    pub size: Option<(u32, u32)>,
    /// Time at which the message arrived.
    pub shown_at: Instant,
}
