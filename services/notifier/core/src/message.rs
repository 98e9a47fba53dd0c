//! Builds one message from notifications: its text with bold headings and tables. Offsets and lengths are UTF-16 units,
//! as Telegram counts them.

use std::collections::BTreeMap;

use protocol::duration::format_ms;
use protocol::time::UtcMs;

use crate::formatting::{format_counts, format_time};
use crate::model::{Button, FallbackStatus, MessageInFlight, QueuedNotification};
use crate::notification::{MESSAGE_LIMIT, utf16_length};

/// A notification sent later than this names the time of its event, in milliseconds.
const LATE_MS: u64 = 120_000;
const SEPARATOR: &str = "\n\n";
const REPEAT_NOTE: &str = "(possible repeat: an earlier attempt may have arrived)";

/// Style of a stretch of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextStyle {
    /// Bold.
    Bold,
    /// Characters of equal width, so that columns align.
    Table,
}

/// A stretch of text with a style, in UTF-16 units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StyledSpan {
    /// Style of the span.
    pub style: TextStyle,
    /// Begin of the span.
    pub offset: usize,
    /// Length of the span.
    pub length: usize,
}

/// A message as the channel sends it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// Text without markup; its lines are separated by line feeds.
    pub text: String,
    /// Headings and tables, in the order of the text.
    pub spans: Vec<StyledSpan>,
    /// Chat of the message; `None` for the configured one.
    pub chat: Option<i64>,
    /// Buttons below the message.
    pub buttons: Vec<Button>,
    /// Whether the message has a picture of the equity curve.
    pub has_picture: bool,
}

impl Message {
    /// Message of these notifications.
    pub fn from_in_flight(in_flight: &MessageInFlight, now: UtcMs) -> Self {
        if !in_flight.digest
            && in_flight.notifications.len() == 1
            && let Some(only) = in_flight.notifications.values().next()
        {
            return Self::from_notification(only, now);
        }
        let mut builder = MessageBuilder::default();
        if in_flight.digest {
            builder.add_digest(&in_flight.notifications, now);
        } else {
            for queued in in_flight.notifications.values() {
                builder.add_notification(queued, now);
            }
        }
        Self {
            text: builder.text,
            spans: builder.spans,
            ..Self::default()
        }
    }

    /// Message of one notification.
    pub(crate) fn from_notification(queued: &QueuedNotification, now: UtcMs) -> Self {
        let mut builder = MessageBuilder::default();
        builder.add_notification(queued, now);
        let reply = queued.reply.as_ref();
        Self {
            text: builder.text,
            spans: builder.spans,
            chat: reply.map(|reply| reply.chat),
            buttons: reply.map_or_else(Vec::new, |reply| reply.buttons.clone()),
            has_picture: queued.notification.has_picture,
        }
    }
}

/// Number of notifications, from the first on, that fit into one message; at least one.
pub fn count_fitting<'a>(
    notifications: impl Iterator<Item = &'a QueuedNotification>,
    now: UtcMs,
) -> usize {
    let mut builder = MessageBuilder::default();
    let fits = notifications.take_while(|queued| {
        builder.add_notification(queued, now);
        builder.length <= MESSAGE_LIMIT
    });
    fits.count().max(1)
}

/// Lines about the delivery of a notification: a possible repeat, and the time of an event that is long ago.
pub(crate) fn remarks(repeats: u32, at: UtcMs, now: UtcMs) -> Vec<String> {
    let repeat = (repeats > 0).then(|| REPEAT_NOTE.to_owned());
    let age = now.millis_since(at);
    let late =
        (age > LATE_MS).then(|| format!("Time: {} ({} ago)", format_time(at), format_ms(age)));
    repeat.into_iter().chain(late).collect()
}

/// The first lines of a text, and the lines after them.
fn split_after_lines(text: &str, lines: usize) -> (&str, &str) {
    let Some(last) = lines.checked_sub(1) else {
        return ("", text);
    };
    match text.match_indices('\n').nth(last) {
        Some((end, _)) => (&text[..end], &text[end + 1..]),
        None => (text, ""),
    }
}

#[derive(Default)]
struct MessageBuilder {
    text: String,
    length: usize,
    spans: Vec<StyledSpan>,
}

impl MessageBuilder {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.length += utf16_length(text);
    }

    fn add_heading(&mut self, text: &str) {
        if !self.text.is_empty() {
            self.push(SEPARATOR);
        }
        self.push_styled(TextStyle::Bold, text);
    }

    fn push_styled(&mut self, style: TextStyle, text: &str) {
        self.spans.push(StyledSpan {
            style,
            offset: self.length,
            length: utf16_length(text),
        });
        self.push(text);
    }

    fn add_line(&mut self, text: &str) {
        self.push("\n");
        self.push(text);
    }

    fn add_notification(&mut self, queued: &QueuedNotification, now: UtcMs) {
        let notification = &queued.notification;
        self.add_heading(&notification.title);
        for remark in remarks(queued.repeats, notification.at, now) {
            self.add_line(&remark);
        }
        let (table, below) = split_after_lines(&notification.body, notification.table_lines);
        if !table.is_empty() {
            self.push("\n");
            self.push_styled(TextStyle::Table, table);
        }
        if !below.is_empty() {
            self.add_line(below);
        }
    }

    /// Adds counts by kind with the times of the oldest and the newest event.
    fn add_digest(&mut self, notifications: &BTreeMap<u64, QueuedNotification>, now: UtcMs) {
        let times = notifications.values().map(|queued| queued.notification.at);
        let (first, last) = (times.clone().min(), times.max());
        let is_sent = |queued: &QueuedNotification| queued.fallback_status == FallbackStatus::Sent;
        if notifications.values().all(is_sent) {
            self.add_heading(&format!("📮 SENT BY THE FALLBACK: {}", notifications.len()));
            self.add_line("Reason: Telegram accepted no messages at that time");
        } else {
            self.add_heading(&format!("🗂 {} NOTIFICATIONS IN ONE", notifications.len()));
        }
        if notifications.values().any(|queued| queued.repeats > 0) {
            self.add_line(REPEAT_NOTE);
        }
        if let (Some(first), Some(last)) = (first, last) {
            let age = format_ms(now.millis_since(first));
            self.add_line(&format!(
                "From: {} ({age} ago) to {}",
                format_time(first),
                format_time(last)
            ));
        }
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for queued in notifications.values() {
            *counts.entry(queued.notification.kind.clone()).or_default() += 1;
        }
        for line in format_counts(&counts) {
            self.add_line(&line);
        }
    }
}
