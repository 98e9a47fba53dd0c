//! What each kind of event says to the owner. The words are the seed's where it gives some.
//!
//! `tests/golden/catalogue.txt` shows all of them.

use protocol::event::{EventBody, Side};
use protocol::exit::ExitCode;
use protocol::ids::{AccountKey, BookKey, Token};
use rust_decimal::Decimal;

use crate::words::{amount, delay, profit, span, uptime};

pub(crate) fn field(name: &str, value: impl std::fmt::Display) -> String {
    format!("{name}: {value}")
}

/// Heading and lines. RESTART TRIGGERED is the seed's example field by field; which unit, and what it
/// said last, are ours.
#[allow(
    clippy::too_many_lines,
    reason = "a table with one row a kind: in one place, so that a new kind cannot be forgotten"
)]
pub(crate) fn words(who: &str, body: &EventBody) -> (String, Vec<String>) {
    match body {
        EventBody::TraderStarted {
            mode,
            symbols,
            flags,
            version,
        } => row(
            format!("🚀 STARTED: {who}"),
            [
                field("Mode", mode),
                field("Symbols", list(symbols)),
                field("Flags", flags.join(" ")),
                field("Version", version),
            ],
        ),
        EventBody::TraderStopped {
            reason,
            exit,
            uptime_ms,
        } => row(
            format!("🛑 SHUTDOWN: {who}"),
            [
                field("Reason", reason),
                field("Exit", exit_words((*exit).into())),
                field("Uptime", uptime(*uptime_ms)),
            ],
        ),
        EventBody::BookClaimed { book, by, changes } => row(
            "📘 BOOK TAKEN OVER",
            [
                field("Book", name(book)),
                by.as_ref()
                    .map_or_else(|| field("By", who), |by| field("By", format!("trader {by}"))),
            ]
                .into_iter()
                .chain(changes.iter().map(|change| field("Changed", change))),
        ),
        EventBody::BookLost { book, reason } => row(
            "⚠️ BOOK LOST",
            [
                field("Book", name(book)),
                field("By", who),
                field("Reason", reason),
            ],
        ),
        EventBody::BookHalted { book, reason } => row(
            "🚨 BOOK HALTED",
            [
                field("Book", name(book)),
                field("By", who),
                field("Reason", reason),
                "It trades no more until a person looks; other books trade on".to_owned(),
                format!(
                    "When it is understood: trader release --symbol {} --why REASON",
                    book.symbol
                ),
            ],
        ),
        EventBody::BookReleased { book, who, why } => row(
            "🔓 BOOK RELEASED",
            [
                field("Book", name(book)),
                field("By", who),
                field("Why", why),
            ],
        ),
        EventBody::EntryDropped { book, reason } => row(
            "↩️ ENTRY DROPPED",
            [field("Book", name(book)), field("Reason", reason)],
        ),
        EventBody::OrderUnclear {
            book,
            leg,
            order,
            why,
        } => row(
            "❓ ORDER UNCLEAR",
            [
                field("Book", name(book)),
                field("Order", format!("{leg}, {order}")),
                field("What happened", why),
                "It is looked up until that is known; nothing is sent again before".to_owned(),
            ],
        ),
        EventBody::OrderRefused {
            book,
            leg,
            order,
            code,
            why,
        } => row(
            "⛔ ORDER REFUSED",
            [
                field("Book", name(book)),
                field("Order", format!("{leg}, {order}")),
                field("The exchange says", format!("{why} ({code})")),
            ],
        ),
        EventBody::PositionOpened {
            book,
            strategy,
            side,
            quantity,
            price,
            stop,
            target,
        } => row(
            format!("{} OPENED {side} {}", arrow(*side), book.symbol),
            [
                field("Book", name(book)),
                field("Strategy", strategy),
                field("Entry", format!("{quantity} at {price}")),
                field("Stop", stop),
                field("Target", target),
            ],
        ),
        EventBody::PositionClosed {
            book,
            strategy,
            side,
            quantity,
            entry,
            exit,
            reason,
            pnl,
            equity,
        } => row(
            format!("{} CLOSED {side} {}", outcome(*pnl), book.symbol),
            [
                field("Book", name(book)),
                field("Strategy", strategy),
                field("Entry", format!("{quantity} at {entry}")),
                field("Exit", format!("{exit} ({reason})")),
                field("Profit", profit(*pnl)),
                field("Equity", amount(*equity)),
            ],
        ),
        EventBody::BreakerTripped {
            scope,
            breaker,
            reason,
        } => row(
            "⚠️ CIRCUIT BREAKER TRIPPED",
            [
                field("Breaker", breaker),
                field("Of", scope),
                field("Reason", reason),
                "It recovers by itself".to_owned(),
            ],
        ),
        EventBody::BreakerRecovered { scope, breaker } => row(
            "✅ CIRCUIT BREAKER RECOVERED",
            [field("Breaker", breaker), field("Of", scope)],
        ),
        EventBody::EntriesLocked {
            book,
            by,
            reason,
            until,
        } => row(
            "⏸️ NO ENTRIES FOR A WHILE",
            [
                field("Book", name(book)),
                field("By", by),
                field("Reason", reason),
                field("Until", format!("{until} (exchange time)")),
            ],
        ),
        EventBody::AccountLatched {
            account,
            latch,
            breaker,
            equity,
            peak,
            said,
        } => row(
            "🚨 EMERGENCY STOP",
            [
                field("Account", account),
                said.as_ref().map_or_else(
                    || field("Breaker", breaker),
                    |said| field("Said by", said),
                ),
                field("Equity", amount(*equity)),
                field("Fell from", amount(*peak)),
                field("Latch", latch),
                "Everything is closed; nobody enters until an operator ends it: manual intervention \
                 required"
                    .to_owned(),
                format!("When it is understood: trader unlatch --latch {latch} --why REASON"),
            ],
        ),
        EventBody::AccountUnlatched {
            account,
            latch,
            who,
            why,
        } => row(
            "🔓 LATCH ENDED",
            [
                field("Account", account),
                field("Latch", latch),
                field("By", who),
                field("Why", why),
            ],
        ),
        EventBody::EntriesPaused {
            account,
            symbol,
            who,
            why,
        } => row("⏸ ENTRIES PAUSED", said_of(account, symbol.as_ref(), who, why)),
        EventBody::EntriesResumed {
            account,
            symbol,
            who,
            why,
        } => row("▶️ ENTRIES RESUMED", said_of(account, symbol.as_ref(), who, why)),
        EventBody::HealthChanged { from, to, reason } => row(
            format!("{} HEALTH: {to}", health_sign(to)),
            [
                field("From", who),
                field("Was", from),
                field("Reason", reason),
            ],
        ),
        EventBody::PartFailed { part, error } => row(
            "⚠️ WARNING",
            [
                field("From", who),
                field("Part", part),
                field("Error", error),
            ],
        ),
        EventBody::PartRecovered { part, after_ms } => row(
            "✅ WORKS AGAIN",
            [
                field("From", who),
                field("Part", part),
                field("After", span(*after_ms)),
            ],
        ),
        EventBody::PartStarted { part, how } => row(
            "🔁 RUNS ANEW",
            [
                field("From", who),
                field("Part", part),
                field("How", how),
            ],
        ),
        EventBody::WatchdogStarted { project, version } => row(
            "🐕 WATCHDOG STARTED",
            [field("Project", project), field("Version", version)],
        ),
        EventBody::RestartTriggered {
            unit,
            attempt,
            max,
            reason,
            consecutive,
            uptime_ms,
            delay_ms,
            exit: _,
            evidence,
        } => {
            let last_words = evidence.as_ref().map(|said| field("Last words", said));
            let attempt = match attempt {
                0 => "not counted".to_owned(),
                counted => format!("{counted}/{max}"),
            };
            let lines = [
                field("Attempt", attempt),
                field("Reason", reason),
                field("Consecutive Failures", consecutive),
                field("Uptime", uptime(*uptime_ms)),
                field("Next restart in", delay(*delay_ms)),
                field("Unit", unit),
            ];
            row(
                "🔄 AUTO-RESTART TRIGGERED",
                lines.into_iter().chain(last_words),
            )
        }
        EventBody::CycleFinished {
            unit,
            attempt,
            max,
            uptime_ms,
            delay_ms,
        } => row(
            "🔁 CYCLE FINISHED",
            [
                field("Unit", unit),
                field("Attempt", format!("{attempt}/{max}")),
                field("Uptime", uptime(*uptime_ms)),
                field("Next cycle in", delay(*delay_ms)),
            ],
        ),
        EventBody::UnitRecovered { unit, after_ms } => row(
            "✅ RECOVERED",
            [field("Unit", unit), field("After", span(*after_ms))],
        ),
        EventBody::GivenUp {
            unit,
            reason,
            restarts,
            consecutive,
            exit,
        } => {
            let lines = [
                Some(field("Unit", unit)),
                Some(field("Reason", reason)),
                Some(field("Restarts", restarts)),
                Some(field("Consecutive Failures", consecutive)),
                exit.map(|exit| field("Last exit", exit_words(exit))),
                Some(way_back(unit, *exit)),
            ];
            row(
                "🚨 MANUAL INTERVENTION REQUIRED",
                lines.into_iter().flatten(),
            )
        }
        EventBody::UnitStopped { unit, reason } => row(
            "🛑 STAYS STOPPED",
            [field("Unit", unit), field("Reason", reason)],
        ),
        EventBody::UnitObservedOnly { unit, reason } => row(
            "⚠️ ONLY OBSERVED",
            [field("Unit", unit), field("Reason", reason)],
        ),
        EventBody::UnitCritical {
            unit,
            for_ms,
            reason,
        } => row(
            "⚠️ CRITICAL FOR LONG",
            [
                field("Unit", unit),
                field("For", span(*for_ms)),
                field("Reason", reason),
            ],
        ),
        EventBody::UnitOrdered {
            unit,
            verb,
            by,
            why,
        } => {
            let lines = [
                Some(field("Unit", unit)),
                Some(field("Order", verb)),
                Some(field("By", by)),
                why.as_ref().map(|why| field("Why", why)),
            ];
            row("👤 ORDERED", lines.into_iter().flatten())
        }
        EventBody::OwnerCommand {
            who: person,
            command,
            outcome,
        } => row(
            "🗣 ORDER",
            [
                field("From", person),
                field("Order", command),
                field("Outcome", outcome),
            ],
        ),
        EventBody::StrangerIgnored {
            who: person,
            command,
        } => row(
            "⚠️ AN ORDER OF A STRANGER WAS IGNORED",
            [
                field("From", person),
                field("Said", command),
                "Only who is listed in TELEGRAM_ALLOWED_USERS may give orders".to_owned(),
            ],
        ),
    }
}

fn row(head: impl Into<String>, lines: impl IntoIterator<Item = String>) -> (String, Vec<String>) {
    (head.into(), lines.into_iter().collect())
}

/// What an operator said of whose entries.
fn said_of(account: &AccountKey, symbol: Option<&Token>, who: &str, why: &str) -> [String; 4] {
    let books = symbol.map_or("every one", Token::as_str);
    [
        field("Account", account),
        field("Books", books),
        field("By", who),
        field("Why", why),
    ]
}

fn list(symbols: &[Token]) -> String {
    let symbols: Vec<&str> = symbols.iter().map(Token::as_str).collect();
    symbols.join(", ")
}

const fn arrow(side: Side) -> &'static str {
    match side {
        Side::Long => "📈",
        Side::Short => "📉",
    }
}

fn health_sign(to: &str) -> &'static str {
    match to {
        "healthy" => "💚",
        "critical" => "🚨",
        _ => "⚠️",
    }
}

fn outcome(pnl: Decimal) -> &'static str {
    if pnl > Decimal::ZERO { "💰" } else { "🔻" }
}

/// A book as people call it: its symbol, and whose money.
fn name(book: &BookKey) -> String {
    format!("{} ({})", book.symbol, book.account)
}

/// The end of a latch starts what ended for it.
fn way_back(unit: &Token, exit: Option<i64>) -> String {
    if exit == Some(i64::from(ExitCode::CriticalHalt.number())) {
        "When it is understood: trader unlatch, which starts it again".to_owned()
    } else {
        format!("When it is mended: watchdog release {unit}")
    }
}

fn exit_words(exit: i64) -> String {
    match ExitCode::from_number(exit) {
        Some(code) => code.to_string(),
        None => exit.to_string(),
    }
}
