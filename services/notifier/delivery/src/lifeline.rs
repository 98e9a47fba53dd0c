//! That the bus is away, and that it is back: told from this process's memory, because the journal is on
//! the bus. A restart in between may repeat it, which the message says.

use protocol::event::Severity;
use protocol::time::UtcMs;

use crate::compose::Message;
use crate::decide::Outcome;
use crate::fallback::{self, PATIENCE_MS, Parcel};
use crate::letter::Letter;
use crate::moment::Moment;
use crate::pace::{Limits, Pace};
use crate::state::{Away, Elsewhere, Waiting};
use crate::words::span;

/// Away for longer than this, in milliseconds: a restart of the bus takes a few seconds.
const AWAY_MS: u64 = 30_000;

/// Which way a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// To Telegram, or to the log.
    Channel(Message),
    /// Over the fallback.
    Fallback(Parcel),
}

/// An absence of the bus: the one that lasts, or the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Absence {
    /// Since then.
    pub since: UtcMs,
    /// Until then; none while it lasts.
    pub until: Option<UtcMs>,
}

/// Since when the bus is away, and what of it is still to be told.
#[derive(Debug)]
pub struct Lifeline {
    absence: Option<Absence>,
    since: Option<Moment>,
    told: bool,
    /// One thing at most: that it is back also says how long it was away.
    pending: Option<(Waiting, u64)>,
    pace: Pace,
    detour: Pace,
    has_fallback: bool,
    telegram: Option<Away>,
}

impl Lifeline {
    /// The bus was there until now.
    pub const fn new(has_fallback: bool) -> Self {
        Self {
            absence: None,
            since: None,
            told: false,
            pending: None,
            pace: Pace::new(Limits::NONE),
            detour: Pace::new(fallback::LIMITS),
            has_fallback,
            telegram: None,
        }
    }

    /// Whether the bus is there, looked at every now and then.
    pub fn look(&mut self, connected: bool, now: Moment) {
        let Some(since) = self.since else {
            if !connected {
                self.since = Some(now);
                let (since, until) = (now.utc, None);
                self.absence = Some(Absence { since, until });
            }
            return;
        };
        let lasted = now.mono.saturating_sub(since.mono);
        if connected {
            self.since = None;
            let (since, until) = (since.utc, Some(now.utc));
            self.absence = Some(Absence { since, until });
            if std::mem::take(&mut self.told) {
                self.tell(back(since, lasted, now.utc), now);
            }
        } else if lasted > AWAY_MS && !self.told {
            self.told = true;
            self.tell(away(since.utc, now.utc), now);
        }
    }

    /// The absence that lasts, or the last one.
    pub const fn absence(&self) -> Option<Absence> {
        self.absence
    }

    /// The next call to make: to Telegram, and over the fallback once Telegram is shut or did not take it
    /// for too long.
    pub fn next(&self, now: Moment) -> Option<Way> {
        let (waiting, queued) = self.pending.as_ref()?;
        let waited = now.mono.saturating_sub(*queued);
        let falls = self.has_fallback && (self.pace.is_shut() || waited >= PATIENCE_MS);
        if falls
            && let Some(away) = &self.telegram
            && self.detour.open_at() <= now.mono
        {
            let id = format!("notifier-bus-{}", waiting.letter.at.0);
            let parcel = Parcel::of(id, waiting, Some(away), now.utc);
            return Some(Way::Fallback(parcel));
        }
        let open = self.pace.open_at() <= now.mono;
        open.then(|| Way::Channel(Message::of_one(waiting, now.utc)))
    }

    /// How the call to Telegram ended.
    pub fn ended(&mut self, outcome: &Outcome, now: Moment) {
        self.pace.ended(outcome, now.mono);
        match outcome.trouble() {
            Some(why) if !matches!(outcome, Outcome::Refused { .. }) => {
                let since = self.telegram.as_ref().map_or(now.utc, |away| away.since);
                let why = why.to_owned();
                self.telegram = Some(Away { since, why });
            }
            _ => self.telegram = None,
        }
        self.settle(outcome);
    }

    /// How the call over the fallback ended.
    pub fn landed(&mut self, outcome: &Outcome, now: Moment) {
        self.detour.ended(outcome, now.mono);
        self.settle(outcome);
    }

    fn settle(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Sent { .. } | Outcome::Refused { .. } => self.pending = None,
            Outcome::Unknown { .. } => {
                if let Some((waiting, _)) = &mut self.pending {
                    waiting.repeats += 1;
                }
            }
            Outcome::Returned { .. } | Outcome::Closed { .. } | Outcome::Migrated { .. } => {}
        }
    }

    fn tell(&mut self, letter: Letter, now: Moment) {
        let waiting = Waiting {
            letter,
            repeats: 0,
            queued: now.utc,
            elsewhere: Elsewhere::No,
            reply: None,
        };
        self.pending = Some((waiting, now.mono));
    }
}

fn away(since: UtcMs, now: UtcMs) -> Letter {
    Letter {
        at: now,
        severity: Severity::Critical,
        kind: "bus".to_owned(),
        head: "🚨 BUS AWAY".to_owned(),
        body: format!(
            "The bus is away since {since}\nUntil it is back nothing is decided, nobody restarts a trader that \
             dies, and nothing else can be told\nLook: docker compose ps -a nats\n\
             (said from memory: a restart of the notifier may repeat it)"
        ),
        picture: false,
    }
}

fn back(since: UtcMs, lasted: u64, now: UtcMs) -> Letter {
    Letter {
        at: now,
        severity: Severity::Info,
        kind: "bus".to_owned(),
        head: "✅ BUS BACK".to_owned(),
        body: format!(
            "It was away for {}, since {since}\nWhat happened meanwhile follows",
            span(lasted)
        ),
        picture: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: Outcome = Outcome::Sent { message: Some(1) };

    fn at(secs: u64) -> Moment {
        Moment {
            utc: UtcMs(1_795_489_200_000 + i64::try_from(secs).unwrap() * 1_000),
            mono: secs * 1_000,
        }
    }

    /// Looks every second; what goes out, with when.
    fn live(
        lifeline: &mut Lifeline,
        secs: std::ops::Range<u64>,
        connected: bool,
        telegram: &Outcome,
    ) -> Vec<(u64, Way)> {
        let mut out = Vec::new();
        for now in secs {
            lifeline.look(connected, at(now));
            let Some(way) = lifeline.next(at(now)) else {
                continue;
            };
            match &way {
                Way::Channel(_) => lifeline.ended(telegram, at(now)),
                Way::Fallback(_) => lifeline.landed(&SENT, at(now)),
            }
            out.push((now, way));
        }
        out
    }

    fn text(way: &Way) -> &str {
        match way {
            Way::Channel(message) => &message.text,
            Way::Fallback(parcel) => &parcel.message,
        }
    }

    #[test]
    fn away_is_told_once_after_half_a_minute_and_back_once_with_how_long() {
        let mut lifeline = Lifeline::new(false);
        assert!(live(&mut lifeline, 0..10, true, &SENT).is_empty());
        assert!(live(&mut lifeline, 10..40, false, &SENT).is_empty());
        assert!(live(&mut lifeline, 40..50, true, &SENT).is_empty(), "short");
        let out = live(&mut lifeline, 50..400, false, &SENT);
        assert_eq!(out.len(), 1, "{out:?}");
        assert_eq!(out[0].0, 81);
        let said = text(&out[0].1);
        assert!(
            said.starts_with("🚨 BUS AWAY\nThe bus is away since 2026-"),
            "{said}"
        );
        assert!(said.contains("may repeat it"), "{said}");
        let out = live(&mut lifeline, 400..500, true, &SENT);
        assert_eq!(out.len(), 1, "{out:?}");
        assert!(
            text(&out[0].1).starts_with("✅ BUS BACK\nIt was away for 5m"),
            "{out:?}"
        );
    }

    #[test]
    fn an_unclear_answer_is_repeated_and_marked() {
        let mut lifeline = Lifeline::new(false);
        let unknown = Outcome::Unknown {
            why: "timed out".to_owned(),
        };
        let out = live(&mut lifeline, 0..40, false, &unknown);
        assert!(out.len() > 1, "{out:?}");
        assert!(!text(&out[0].1).contains("possible repeat"));
        assert!(text(&out[1].1).contains("(possible repeat"), "{out:?}");
    }

    #[test]
    fn where_telegram_is_shut_it_goes_over_the_fallback_once() {
        let mut lifeline = Lifeline::new(true);
        let shut = Outcome::Closed {
            why: "401: Unauthorized".to_owned(),
        };
        let out = live(&mut lifeline, 0..300, false, &shut);
        assert_eq!(out.len(), 2, "{out:?}");
        let Way::Fallback(parcel) = &out[1].1 else {
            panic!("{out:?}");
        };
        assert!(
            parcel
                .message
                .starts_with("Telegram is not reachable since 2026-")
        );
        assert!(parcel.message.contains("The bus is away since"));
    }

    #[test]
    fn where_telegram_is_not_reached_the_fallback_waits_two_minutes() {
        let mut lifeline = Lifeline::new(true);
        let gone = Outcome::Returned {
            why: "connection refused".to_owned(),
            wait_ms: None,
        };
        let out = live(&mut lifeline, 0..300, false, &gone);
        let fallen: Vec<u64> = out
            .iter()
            .filter(|(_, way)| matches!(way, Way::Fallback(_)))
            .map(|(now, _)| *now)
            .collect();
        assert_eq!(fallen, [31 + 120], "{out:?}");
    }
}
