//! Silences: for a while the owner hears of nothing but criticals, of everybody or of one name. What was not
//! told is counted, and the count is told at the end.

use std::collections::BTreeMap;

use protocol::event::Severity;
use protocol::ids::Token;
use protocol::time::UtcMs;

use crate::letter::Letter;
use crate::record::Record;
use crate::state::State;
use crate::words::delay;

/// Silences at one time.
const MOST: usize = 20;

/// One silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// Whose; everybody's without.
    pub name: Option<Token>,
    /// When it ends by itself.
    pub until: UtcMs,
    /// What it kept from the owner, by kind.
    pub hushed: BTreeMap<String, u64>,
}

impl Silence {
    fn of(&self) -> String {
        self.name
            .as_ref()
            .map_or_else(|| "everybody".to_owned(), Token::to_string)
    }
}

/// What would be told, as it is recorded: queued, or hushed if a silence covers it. `names`: whom it is about.
/// Criticals always pass.
pub fn heed(state: &State, names: &[&str], record: Record, now: UtcMs) -> Record {
    let Record::Queued { event, letters } = &record else {
        return record;
    };
    let is_critical = |letter: &Letter| letter.severity == Severity::Critical;
    let covering = state.silences.iter().position(|silence| {
        let name = silence.name.as_ref().map(Token::as_str);
        silence.until > now && name.is_none_or(|name| names.contains(&name))
    });
    match covering {
        Some(silence) if !letters.iter().any(is_critical) => Record::Hushed {
            event: event.clone(),
            kind: letters
                .first()
                .map_or_else(String::new, |letter| letter.kind.clone()),
            silence,
        },
        _ => record,
    }
}

/// A silence begins; one of the same name begins anew. None if there are too many.
pub fn begin(state: &State, name: Option<Token>, ms: u64, now: UtcMs) -> Option<Record> {
    let known = state.silences.iter().any(|silence| silence.name == name);
    let until = UtcMs(now.0.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX)));
    (known || state.silences.len() < MOST).then_some(Record::Silenced { name, until })
}

/// What there is to record once a silence is over: its end, and what it kept.
pub fn over(state: &State, now: UtcMs) -> Option<Vec<Record>> {
    let index = state
        .silences
        .iter()
        .position(|silence| silence.until <= now)?;
    Some(end(state, index, now))
}

/// Every silence ends now; the last first, so that the others keep their places.
pub fn end_all(state: &State, now: UtcMs) -> Vec<Record> {
    let all = (0..state.silences.len()).rev();
    all.flat_map(|index| end(state, index, now)).collect()
}

fn end(state: &State, index: usize, now: UtcMs) -> Vec<Record> {
    let mut records = vec![Record::SilenceEnded { silence: index }];
    if let Some(silence) = state.silences.get(index)
        && !silence.hushed.is_empty()
    {
        let count: u64 = silence.hushed.values().sum();
        let counts = silence.hushed.iter();
        let lines = counts.map(|(kind, count)| format!("{count} × {}", kind.replace('_', " ")));
        let letter = Letter {
            at: now,
            severity: Severity::Info,
            kind: "silence".to_owned(),
            head: format!("🔔 SILENCE OVER: {count} not told"),
            body: std::iter::once(format!("Of: {}", silence.of()))
                .chain(lines)
                .collect::<Vec<_>>()
                .join("\n"),
            picture: false,
        };
        records.push(Record::Queued {
            event: format!("silence:{}:{}", silence.of(), silence.until.0),
            letters: letter.split(),
        });
    }
    records
}

/// Which there are, for the owner.
pub fn shown(state: &State, now: UtcMs) -> String {
    let lines = state.silences.iter().map(|silence| {
        let left = delay(silence.until.millis_since(now));
        let hushed: u64 = silence.hushed.values().sum();
        format!("{}: {left} more, {hushed} not told so far", silence.of())
    });
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() {
        "There is no silence".to_owned()
    } else {
        lines.join("\n")
    }
}
