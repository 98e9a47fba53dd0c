//! What each kind of event says to the owner. The words are the seed's where it gives some.
//!
//! `tests/golden/catalogue.txt` shows all of them.

use protocol::event::{EventBody, PositionSide};
use protocol::exit_code::ExitCode;
use protocol::ids::{AccountKey, BookKey, SubjectToken};
use rust_decimal::Decimal;

use crate::formatting::{format_amount, format_delay, format_duration, format_pnl, format_uptime};

pub(crate) fn field(name: &str, value: impl std::fmt::Display) -> String {
    format!("{name}: {value}")
}

/// Heading and lines. RESTART TRIGGERED is the seed's example field by field; which unit, and what it
/// said last, are ours.
#[allow(
    clippy::too_many_lines,
    reason = "a table with one row a kind: in one place, so that a new kind cannot be forgotten"
)]
pub(crate) fn event_text(process: &str, body: &EventBody) -> (String, Vec<String>) {
    match body {
        EventBody::TraderStarted {
            mode,
            symbols,
            flags,
            version,
        } => row(
            format!("🚀 STARTED: {process}"),
            [
                field("Mode", mode),
                field("Symbols", join_symbols(symbols)),
                field("Flags", flags.join(" ")),
                field("Version", version),
            ],
        ),
        EventBody::TraderStopped {
            reason,
            exit_code: exit,
            uptime_ms,
        } => row(
            format!("🛑 SHUTDOWN: {process}"),
            [
                field("Reason", reason),
                field("Exit", describe_exit((*exit).into())),
                field("Uptime", format_uptime(*uptime_ms)),
            ],
        ),
        EventBody::BookAcquired { book, instance: by, config_changes: changes } => row(
            "📘 BOOK TAKEN OVER",
            [
                field("Book", book_name(book)),
                by.as_ref()
                    .map_or_else(|| field("By", process), |by| field("By", format!("trader {by}"))),
            ]
                .into_iter()
                .chain(changes.iter().map(|change| field("Changed", change))),
        ),
        EventBody::BookLost { book, reason } => row(
            "⚠️ BOOK LOST",
            [
                field("Book", book_name(book)),
                field("By", process),
                field("Reason", reason),
            ],
        ),
        EventBody::BookHalted { book, reason } => row(
            "🚨 BOOK HALTED",
            [
                field("Book", book_name(book)),
                field("By", process),
                field("Reason", reason),
                "It trades no more until a person looks; other books trade on".to_owned(),
                format!(
                    "When it is understood: trader unhalt --symbol {} --reason REASON",
                    book.symbol
                ),
            ],
        ),
        EventBody::BookUnhalted { book, by: who, reason: why } => row(
            "🔓 BOOK RELEASED",
            [
                field("Book", book_name(book)),
                field("By", who),
                field("Why", why),
            ],
        ),
        EventBody::EntryDropped { book, reason } => row(
            "↩️ ENTRY DROPPED",
            [field("Book", book_name(book)), field("Reason", reason)],
        ),
        EventBody::OrderOutcomeUnknown {
            book,
            leg,
            client_order_id: order,
            error: why,
        } => row(
            "❓ ORDER UNCLEAR",
            [
                field("Book", book_name(book)),
                field("Order", format!("{leg}, {order}")),
                field("What happened", why),
                "It is looked up until that is known; nothing is sent again before".to_owned(),
            ],
        ),
        EventBody::OrderRejected {
            book,
            leg,
            client_order_id: order,
            code,
            reason: why,
        } => row(
            "⛔ ORDER REFUSED",
            [
                field("Book", book_name(book)),
                field("Order", format!("{leg}, {order}")),
                field("The exchange says", format!("{why} ({code})")),
            ],
        ),
        EventBody::PositionOpened {
            book,
            strategy,
            side,
            quantity,
            entry_price: price,
            stop_price: stop,
            target_price: target,
        } => row(
            format!("{} OPENED {side} {}", side_sign(*side), book.symbol),
            [
                field("Book", book_name(book)),
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
            entry_price: entry,
            exit_price: exit,
            reason,
            pnl,
            equity,
        } => row(
            format!("{} CLOSED {side} {}", pnl_sign(*pnl), book.symbol),
            [
                field("Book", book_name(book)),
                field("Strategy", strategy),
                field("Entry", format!("{quantity} at {entry}")),
                field("Exit", format!("{exit} ({reason})")),
                field("Profit", format_pnl(*pnl)),
                field("Equity", format_amount(*equity)),
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
        EventBody::BreakerReset { scope, breaker } => row(
            "✅ CIRCUIT BREAKER RECOVERED",
            [field("Breaker", breaker), field("Of", scope)],
        ),
        EventBody::EntriesLocked {
            book,
            lock: by,
            reason,
            until,
        } => row(
            "⏸️ NO ENTRIES FOR A WHILE",
            [
                field("Book", book_name(book)),
                field("By", by),
                field("Reason", reason),
                field("Until", format!("{until} (exchange time)")),
            ],
        ),
        EventBody::AccountLatched {
            account,
            latch_id: latch,
            trigger: breaker,
            equity,
            peak,
            reason: said,
        } => row(
            "🚨 EMERGENCY STOP",
            [
                field("Account", account),
                said.as_ref().map_or_else(
                    || field("Breaker", breaker),
                    |said| field("Said by", said),
                ),
                field("Equity", format_amount(*equity)),
                field("Fell from", format_amount(*peak)),
                field("Latch", latch),
                "Everything is closed; nobody enters until an operator ends it: manual intervention \
                 required"
                    .to_owned(),
                format!("When it is understood: trader unlatch --latch {latch} --reason REASON"),
            ],
        ),
        EventBody::AccountUnlatched {
            account,
            latch_id: latch,
            by: who,
            reason: why,
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
            by: who,
            reason: why,
        } => row("⏸ ENTRIES PAUSED", pause_fields(account, symbol.as_ref(), who, why)),
        EventBody::EntriesResumed {
            account,
            symbol,
            by: who,
            reason: why,
        } => row("▶️ ENTRIES RESUMED", pause_fields(account, symbol.as_ref(), who, why)),
        EventBody::HealthChanged { from, to, reason } => row(
            format!("{} HEALTH: {to}", health_sign(to)),
            [
                field("From", process),
                field("Was", from),
                field("Reason", reason),
            ],
        ),
        EventBody::ComponentFailed { component: part, error } => row(
            "⚠️ WARNING",
            [
                field("From", process),
                field("Part", part),
                field("Error", error),
            ],
        ),
        EventBody::ComponentRecovered { component: part, after_ms } => row(
            "✅ WORKS AGAIN",
            [
                field("From", process),
                field("Part", part),
                field("After", format_duration(*after_ms)),
            ],
        ),
        EventBody::ServiceStarted { service: part, started_by: how } => row(
            "🔁 RUNS ANEW",
            [
                field("From", process),
                field("Part", part),
                field("How", how),
            ],
        ),
        EventBody::WatchdogStarted { project, version } => row(
            "🐕 WATCHDOG STARTED",
            [field("Project", project), field("Version", version)],
        ),
        EventBody::UnitRestartScheduled {
            unit,
            attempt,
            max_restarts: max,
            reason,
            consecutive_failures: consecutive,
            uptime_ms,
            delay_ms,
            exit_code: _,
            last_error: evidence,
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
                field("Uptime", format_uptime(*uptime_ms)),
                field("Next restart in", format_delay(*delay_ms)),
                field("Unit", unit),
            ];
            row(
                "🔄 AUTO-RESTART TRIGGERED",
                lines.into_iter().chain(last_words),
            )
        }
        EventBody::UnitCycleFinished {
            unit,
            attempt,
            max_restarts: max,
            uptime_ms,
            delay_ms,
        } => row(
            "🔁 CYCLE FINISHED",
            [
                field("Unit", unit),
                field("Attempt", format!("{attempt}/{max}")),
                field("Uptime", format_uptime(*uptime_ms)),
                field("Next cycle in", format_delay(*delay_ms)),
            ],
        ),
        EventBody::UnitRecovered { unit, after_ms } => row(
            "✅ RECOVERED",
            [field("Unit", unit), field("After", format_duration(*after_ms))],
        ),
        EventBody::UnitQuarantined {
            unit,
            reason,
            restarts,
            consecutive_failures: consecutive,
            exit_code: exit,
        } => {
            let lines = [
                Some(field("Unit", unit)),
                Some(field("Reason", reason)),
                Some(field("Restarts", restarts)),
                Some(field("Consecutive Failures", consecutive)),
                exit.map(|exit| field("Last exit", describe_exit(exit))),
                Some(recovery_hint(unit, *exit)),
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
        EventBody::UnitRestartSkipped { unit, reason } => row(
            "⚠️ ONLY OBSERVED",
            [field("Unit", unit), field("Reason", reason)],
        ),
        EventBody::UnitHealthCritical {
            unit,
            for_ms,
            reason,
        } => row(
            "⚠️ CRITICAL FOR LONG",
            [
                field("Unit", unit),
                field("For", format_duration(*for_ms)),
                field("Reason", reason),
            ],
        ),
        EventBody::UnitCommandExecuted {
            unit,
            command: verb,
            by,
            reason: why,
        } => {
            let lines = [
                Some(field("Unit", unit)),
                Some(field("Order", verb)),
                Some(field("By", by)),
                why.as_ref().map(|why| field("Why", why)),
            ];
            row("👤 ORDERED", lines.into_iter().flatten())
        }
        EventBody::OperatorCommandExecuted {
            by: person,
            command,
            result: outcome,
        } => row(
            "🗣 ORDER",
            [
                field("From", person),
                field("Order", command),
                field("Outcome", outcome),
            ],
        ),
        EventBody::UnauthorizedCommand {
            by: person,
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
fn pause_fields(
    account: &AccountKey,
    symbol: Option<&SubjectToken>,
    who: &str,
    why: &str,
) -> [String; 4] {
    let books = symbol.map_or("every one", SubjectToken::as_str);
    [
        field("Account", account),
        field("Books", books),
        field("By", who),
        field("Why", why),
    ]
}

fn join_symbols(symbols: &[SubjectToken]) -> String {
    let symbols: Vec<&str> = symbols.iter().map(SubjectToken::as_str).collect();
    symbols.join(", ")
}

const fn side_sign(side: PositionSide) -> &'static str {
    match side {
        PositionSide::Long => "📈",
        PositionSide::Short => "📉",
    }
}

fn health_sign(to: &str) -> &'static str {
    match to {
        "healthy" => "💚",
        "critical" => "🚨",
        _ => "⚠️",
    }
}

fn pnl_sign(pnl: Decimal) -> &'static str {
    if pnl > Decimal::ZERO { "💰" } else { "🔻" }
}

/// A book as people call it: its symbol, and whose money.
fn book_name(book: &BookKey) -> String {
    format!("{} ({})", book.symbol, book.account)
}

/// The end of a latch starts what ended for it.
fn recovery_hint(unit: &SubjectToken, exit: Option<i64>) -> String {
    if exit == Some(i64::from(ExitCode::AccountLatched.number())) {
        "When it is understood: trader unlatch, which starts it again".to_owned()
    } else {
        format!("When it is mended: watchdog release {unit}")
    }
}

fn describe_exit(exit: i64) -> String {
    match ExitCode::from_number(exit) {
        Some(code) => code.to_string(),
        None => exit.to_string(),
    }
}
