//! The whole catalogue with sample values: what the owner can read before anything happens.

use protocol::event::Event;
use protocol::ids::{BadToken, Service};
use protocol::samples;

use crate::catalogue::News;

/// Every kind of event as the owner reads it, severity first, sorted by kind.
///
/// # Errors
/// As [`samples::events`].
pub fn catalogue() -> Result<String, BadToken> {
    let mut events = samples::events()?;
    events.sort_by_key(|event| event.body.kind());
    let shown: Result<Vec<String>, BadToken> = events.into_iter().map(shown).collect();
    Ok(shown?.join("\n"))
}

/// One event of a trader, or of a watchdog where only that one tells of it.
///
/// # Errors
/// As [`samples::events`].
pub fn shown(event: Event) -> Result<String, BadToken> {
    let service = match event.body.kind() {
        kind if kind.starts_with("unit_") => Service::Watchdog,
        "owner_command" | "stranger_ignored" => Service::Notifier,
        _ => Service::Trader,
    };
    let news = News::Known {
        service,
        instance: "trader-paper-1".parse()?,
        event,
    };
    let letters = news.letters().into_iter();
    let texts = letters.map(|letter| {
        let (severity, head, body) = (letter.severity, letter.head, letter.body);
        format!("{severity}: {head}\n{body}\n")
    });
    Ok(texts.collect())
}
