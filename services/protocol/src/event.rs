//! What happened, for the owner and for other services: a severity, a kind, a typed payload.

use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::ids::{BookKey, Mode, Token};
use crate::time::UtcMs;

/// How much it matters to the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Look when you can.
    Warning,
    /// Look now.
    Critical,
}

impl Severity {
    /// The word in subjects.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One event. Service and instance are in its subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Version of this message.
    pub v: u16,
    /// The same event has the same id however often it is published.
    pub id: String,
    /// When it happened, wall clock.
    pub at: UtcMs,
    /// How much it matters; follows from the kind.
    pub severity: Severity,
    /// What happened.
    #[serde(flatten)]
    pub body: EventBody,
}

impl Event {
    /// An event of this version with the severity that its kind has.
    pub fn new(id: impl Into<String>, at: UtcMs, body: EventBody) -> Self {
        Self {
            v: crate::VERSION,
            id: id.into(),
            at,
            severity: body.severity(),
            body,
        }
    }
}

/// Which way a position looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Bought; gains when the price rises.
    Long,
    /// Sold; gains when the price falls.
    Short,
}

impl Side {
    /// The word in logs and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Long => "long",
            Self::Short => "short",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Every kind of event with its facts. Prices and amounts in the quote currency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "payload", rename_all = "snake_case")]
pub enum EventBody {
    /// A trader is up and at work.
    TraderStarted {
        /// Paper or live.
        mode: Mode,
        /// Its symbols.
        symbols: Vec<Token>,
        /// Its command line.
        flags: Vec<String>,
        /// Version of the program.
        version: String,
    },
    /// A trader ended by its own will.
    TraderStopped {
        /// Why.
        reason: String,
        /// Its exit code.
        exit: u8,
        /// How long it ran, in milliseconds.
        uptime_ms: u64,
    },
    /// This instance owns the book now.
    BookClaimed {
        /// Which.
        book: BookKey,
    },
    /// The book went to another owner.
    BookLost {
        /// Which.
        book: BookKey,
        /// How that was noticed.
        reason: String,
    },
    /// The book trades no more until a person looks.
    BookHalted {
        /// Which.
        book: BookKey,
        /// Why.
        reason: String,
    },
    /// An entry was decided but not made.
    EntryDropped {
        /// Which book.
        book: BookKey,
        /// Why.
        reason: String,
    },
    /// A position was opened.
    PositionOpened {
        /// Which book.
        book: BookKey,
        /// Whose signal.
        strategy: Token,
        /// Long or short.
        side: Side,
        /// In base units.
        quantity: Decimal,
        /// Fill price.
        price: Decimal,
        /// Stop price.
        stop: Decimal,
        /// Target price.
        target: Decimal,
    },
    /// A position was closed.
    PositionClosed {
        /// Which book.
        book: BookKey,
        /// Whose signal had opened it.
        strategy: Token,
        /// Long or short.
        side: Side,
        /// In base units.
        quantity: Decimal,
        /// Fill price of the entry.
        entry: Decimal,
        /// Fill price of the exit.
        exit: Decimal,
        /// What closed it: `stop` or `target`.
        reason: String,
        /// Profit or loss after fees.
        pnl: Decimal,
        /// The book's equity after it.
        equity: Decimal,
    },
    /// A part of a service failed and is tried again.
    PartFailed {
        /// Which part.
        part: String,
        /// One line.
        error: String,
    },
    /// A part that had failed works again.
    PartRecovered {
        /// Which part.
        part: String,
        /// How long it was away, in milliseconds.
        after_ms: u64,
    },
}

impl EventBody {
    /// The word in subjects; the same as in the message.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::TraderStarted { .. } => "trader_started",
            Self::TraderStopped { .. } => "trader_stopped",
            Self::BookClaimed { .. } => "book_claimed",
            Self::BookLost { .. } => "book_lost",
            Self::BookHalted { .. } => "book_halted",
            Self::EntryDropped { .. } => "entry_dropped",
            Self::PositionOpened { .. } => "position_opened",
            Self::PositionClosed { .. } => "position_closed",
            Self::PartFailed { .. } => "part_failed",
            Self::PartRecovered { .. } => "part_recovered",
        }
    }

    /// How much this kind matters.
    pub const fn severity(&self) -> Severity {
        match self {
            Self::BookHalted { .. } => Severity::Critical,
            Self::BookLost { .. } | Self::PartFailed { .. } => Severity::Warning,
            Self::TraderStarted { .. }
            | Self::TraderStopped { .. }
            | Self::BookClaimed { .. }
            | Self::EntryDropped { .. }
            | Self::PositionOpened { .. }
            | Self::PositionClosed { .. }
            | Self::PartRecovered { .. } => Severity::Info,
        }
    }
}
