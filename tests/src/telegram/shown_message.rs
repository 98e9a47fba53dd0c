//! A message as its chat shows it.

use std::time::Instant;

use super::entities::Entity;
use super::keyboard::Button;

/// A message as its chat shows it.
#[derive(Debug, Clone)]
pub struct ShownMessage {
    /// Where.
    pub chat: i64,
    /// Its number, also in the answer to the bot.
    pub message_id: i64,
    /// Cleaned and trimmed.
    pub text: String,
    /// Sorted, and moved with the text.
    pub entities: Vec<Entity>,
    /// What can be pressed below it, row by row.
    pub buttons: Vec<Vec<Button>>,
    /// The picture above it.
    pub photo: Option<Vec<u8>>,
    /// Its width and height.
    pub size: Option<(u32, u32)>,
    /// When it came.
    pub shown_at: Instant,
}
