//! `trader status`: every account and book that the journals know, folded as the trader folds them.
//! Works with every trader dead. What a book is worth now is in its newest report.

use std::fmt::Write as _;

use protocol::exit_code::ExitCode;
use protocol::ids::{AccountKey, BookKey, Mode, SubjectToken};
use protocol::report::{AccountReport, BookReport};
use protocol::subject::{Subject, filter};
use runtime::bus::{Bus, BusError};
use runtime::process::ExitError;
use runtime::streams;
use serde::de::DeserializeOwned;
use trader_core::account::Pause;
use trader_core::book::{BookPhase, BookState};
use trader_core::book_status::{self, BookStatus};
use trader_core::fixed_point::Price;

use crate::account;
use crate::book_task;
use crate::settings::Settings;

const COLUMNS: &str = "BOOK                                              EQUITY    REALISED    \
                       FEES  TRADES  WINS  STATE";

/// Prints the tables.
///
/// # Errors
/// Exit 78 for settings, 69 if the bus does not answer.
pub async fn run() -> Result<ExitCode, ExitError> {
    let settings = Settings::from_env()?;
    let bus = Bus::try_connect(&settings.bus)
        .await
        .map_err(BusError::into_exit_error)?;
    let mut lines = Vec::new();
    let modes = settings.modes();
    for key in journal_keys(&bus, modes, filter::account_journals, parse_account_key).await? {
        lines.push(match account_line(&bus, &key).await {
            Ok(line) => line,
            Err(why) => format!("ACCOUNT {key}  unreadable: {why}"),
        });
    }
    lines.push(COLUMNS.to_owned());
    let books = journal_keys(&bus, modes, filter::book_journals, parse_book_key).await?;
    for key in &books {
        match book_task::read_book_state(&bus, key).await {
            Ok(state) => lines.extend(book_lines(&bus, key, &state).await),
            Err(why) => lines.push(format!("{key:<44} unreadable: {why}")),
        }
    }
    if books.is_empty() {
        lines.push("no book has been opened yet".to_owned());
    }
    print(&lines);
    Ok(ExitCode::Success)
}

/// The keys of all journals of these modes that a filter finds, sorted.
///
/// # Errors
/// Exit 69 if the bus does not answer.
pub(crate) async fn journal_keys<K>(
    bus: &Bus,
    modes: &[Mode],
    filter: fn(Mode) -> String,
    key_of: fn(&str) -> Option<K>,
) -> Result<Vec<K>, ExitError> {
    let unavailable = |why: String| ExitError::new(ExitCode::Unavailable, why);
    let mut subjects = Vec::new();
    for mode in modes {
        let found = bus.subjects(streams::JOURNAL, &filter(*mode)).await;
        subjects.extend(found.map_err(unavailable)?);
    }
    subjects.sort();
    Ok(subjects.iter().filter_map(|s| key_of(s)).collect())
}

pub(crate) fn parse_book_key(subject: &str) -> Option<BookKey> {
    subject.strip_prefix("journal.v1.book.")?.parse().ok()
}

fn parse_account_key(subject: &str) -> Option<AccountKey> {
    subject.strip_prefix("journal.v1.account.")?.parse().ok()
}

async fn account_line(bus: &Bus, key: &AccountKey) -> Result<String, String> {
    let state = account::read_account_state(bus, key).await?;
    let report: Option<AccountReport> =
        latest_report(bus, &Subject::AccountReport(key.clone())).await;
    let worth = match report {
        None => "not valued yet".to_owned(),
        Some(report) => format!(
            "equity {:.2}, peak {:.2}, of this day {:.2}{}",
            report.equity,
            report.peak,
            report.day_peak,
            if report.unvalued_books.is_empty() {
                ""
            } else {
                ", a book's worth is unknown"
            }
        ),
    };
    let mut line = match state.latch {
        None => format!("ACCOUNT {key}  {worth}, clear"),
        Some(latch) => format!("ACCOUNT {key}  {worth}, LATCHED by {}", latch.latch_id),
    };
    for Pause {
        symbol,
        source: said,
    } in state.pauses
    {
        let books = symbol.as_ref().map_or("every book", SubjectToken::as_str);
        let _ = write!(
            line,
            "\n  entries of {books} PAUSED by {}: {}",
            said.by, said.reason
        );
    }
    Ok(line)
}

async fn latest_report<M: DeserializeOwned>(bus: &Bus, subject: &Subject) -> Option<M> {
    let found = bus
        .latest_message(streams::REPORTS, &subject.to_string())
        .await;
    serde_json::from_slice(&found.ok()??.payload).ok()
}

/// One line, and a second one that answers "why no trade?".
async fn book_lines(bus: &Bus, key: &BookKey, state: &BookState) -> Vec<String> {
    let report: Option<BookReport> = latest_report(bus, &Subject::BookReport(key.clone())).await;
    let price = report.as_ref().and_then(|r| r.price);
    let price = price.and_then(|p| Price::from_decimal(p).ok());
    let status = book_status::status(state, price);
    let mut lines = vec![format!(
        "{:<44} {:>11.2} {:>11.2} {:>7.2} {:>7} {:>5}  {}",
        key.to_string(),
        status.equity,
        status.realized_pnl,
        status.fees,
        status.trades,
        status.winning_trades,
        describe_phase(state, &status)
    )];
    if !state.rejected_signals.is_empty() {
        let reasons = state
            .rejected_signals
            .iter()
            .map(|(why, n)| format!("{why} {n}"));
        let reasons: Vec<String> = reasons.collect();
        lines.push(format!("    signals refused: {}", reasons.join(", ")));
    }
    let unclear = state.orders.iter().filter(|o| o.is_outcome_unknown());
    lines.extend(unclear.map(|o| {
        let (leg, id, at) = (o.order.leg, &o.order.client_order_id, o.order.at);
        format!("    UNKNOWN: whether the exchange has the {leg} {id} of {at}; it is looked up")
    }));
    if let Some(locked) = report.and_then(|r| r.locked) {
        let (by, until) = (locked.lock, locked.until);
        lines.push(format!(
            "    no entries until {until} (exchange time): {by}"
        ));
    }
    lines
}

fn describe_phase(state: &BookState, status: &BookStatus) -> String {
    match &state.phase {
        BookPhase::Open(p) => format!(
            "{} {} at {}, stop {}, target {}",
            p.side, p.quantity, p.entry_price, p.stop_price, p.target_price
        ),
        BookPhase::Halted { reason, .. } => format!("halted: {reason}"),
        BookPhase::Unopened | BookPhase::Flat | BookPhase::EntryPending(_) => {
            status.phase.to_owned()
        }
    }
}

#[allow(clippy::print_stdout, reason = "the table is this command's answer")]
fn print(lines: &[String]) {
    for line in lines {
        println!("{line}");
    }
}
