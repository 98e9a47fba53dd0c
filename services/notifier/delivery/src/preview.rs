//! The whole catalogue with sample values: what the owner can read before anything happens.

use protocol::event::{Event, EventBody};
use protocol::ids::{BadToken, Service};
use protocol::samples;
use protocol::time::UtcMs;

use crate::letter::Letter;
use crate::news::News;
use crate::record::Record;
use crate::state::State;
use crate::{decide, inhibition};

const MINUTE_MS: i64 = 60_000;

/// Every kind of event as the owner reads it, severity first, sorted by kind; then what an absence of the bus
/// or the watchdog makes of many.
///
/// # Errors
/// As [`samples::events`].
pub fn catalogue() -> Result<String, BadToken> {
    let mut events = samples::events()?;
    events.sort_by_key(|event| event.body.kind());
    let shown: Result<Vec<String>, BadToken> = events.into_iter().map(shown).collect();
    let mut shown = shown?;
    shown.extend(held()?);
    Ok(shown.join("\n"))
}

/// What an absence of the bus, and one of the watchdog, did to two traders.
fn held() -> Result<Vec<String>, BadToken> {
    let at = samples::AT;
    let since = UtcMs(at.0 - MINUTE_MS);
    let mut texts = Vec::new();
    for bus_was_away in [true, false] {
        let mut state = State::default();
        if bus_was_away {
            state.apply(at, &Record::BusWasAway { since, until: at });
        }
        for records in decide::take_in(&state, &news_after(at)?, None, at) {
            for record in records {
                state.apply(at, &record);
            }
        }
        let told = inhibition::due(&state, UtcMs(at.0 + 2 * MINUTE_MS));
        texts.extend(
            told.into_iter()
                .flatten()
                .filter_map(|record| match record {
                    Record::Queued { letters, .. } => {
                        Some(letters.iter().map(text).collect::<String>())
                    }
                    _ => None,
                }),
        );
    }
    Ok(texts)
}

/// A watchdog starts and finds two traders dead.
fn news_after(at: UtcMs) -> Result<Vec<News>, BadToken> {
    let mut news = Vec::new();
    for mut event in samples::events()? {
        let units: &[&str] = match &event.body {
            EventBody::WatchdogStarted { .. } => &[""],
            EventBody::RestartTriggered { .. } => &["trader-paper-1", "trader-paper-2"],
            _ => &[],
        };
        for name in units {
            if let EventBody::RestartTriggered { unit, .. } = &mut event.body {
                *unit = name.parse()?;
            }
            event.id = format!("{}:{name}", event.body.kind());
            event.at = at;
            news.push(News::Known {
                service: Service::Watchdog,
                instance: "watchdog-1".parse()?,
                event: event.clone(),
            });
        }
    }
    Ok(news)
}

fn text(letter: &Letter) -> String {
    let (severity, head, body) = (letter.severity, &letter.head, &letter.body);
    format!("{severity}: {head}\n{body}\n")
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
    Ok(news.letters().iter().map(text).collect())
}
