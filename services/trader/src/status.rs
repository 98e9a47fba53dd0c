//! `trader status`: every account and book that the journals know, folded as the trader folds them.
//! Works with every trader dead. What a book is worth now is in its newest report.

use std::fmt::Write as _;

use engine::account::Pause;
use engine::book::{BookState, Phase};
use engine::fixed::Price;
use engine::summary::{self, BookStatus};
use protocol::exit::ExitCode;
use protocol::ids::{AccountKey, BookKey, Mode, Token};
use protocol::report::{AccountReport, BookReport};
use protocol::subject::{Subject, filter};
use runtime::bus::{Bus, Refusal};
use runtime::process::Stop;
use runtime::streams;
use serde::de::DeserializeOwned;

use crate::account;
use crate::book;
use crate::settings::Settings;

const COLUMNS: &str = "BOOK                                              EQUITY    REALISED    \
                       FEES  TRADES  WINS  STATE";

/// Prints the tables.
///
/// # Errors
/// Exit 78 for settings, 69 if the bus does not answer.
pub async fn run() -> Result<ExitCode, Stop> {
    let settings = Settings::from_env()?;
    let bus = Bus::try_connect(&settings.bus)
        .await
        .map_err(Refusal::into_stop)?;
    let mut lines = Vec::new();
    let modes = settings.modes();
    for key in keys(&bus, modes, filter::account_journals, account_of).await? {
        lines.push(match account_line(&bus, &key).await {
            Ok(line) => line,
            Err(why) => format!("ACCOUNT {key}  unreadable: {why}"),
        });
    }
    lines.push(COLUMNS.to_owned());
    let books = keys(&bus, modes, filter::book_journals, book_of).await?;
    for key in &books {
        match book::read(&bus, key).await {
            Ok(state) => lines.extend(book_lines(&bus, key, &state).await),
            Err(why) => lines.push(format!("{key:<44} unreadable: {why}")),
        }
    }
    if books.is_empty() {
        lines.push("no book has been opened yet".to_owned());
    }
    print(&lines);
    Ok(ExitCode::Done)
}

/// The keys of all journals of these modes that a filter finds, sorted.
///
/// # Errors
/// Exit 69 if the bus does not answer.
pub(crate) async fn keys<K>(
    bus: &Bus,
    modes: &[Mode],
    filter: fn(Mode) -> String,
    key_of: fn(&str) -> Option<K>,
) -> Result<Vec<K>, Stop> {
    let unavailable = |why: String| Stop::new(ExitCode::Unavailable, why);
    let mut subjects = Vec::new();
    for mode in modes {
        let found = bus.subjects(streams::JOURNAL, &filter(*mode)).await;
        subjects.extend(found.map_err(unavailable)?);
    }
    subjects.sort();
    Ok(subjects.iter().filter_map(|s| key_of(s)).collect())
}

pub(crate) fn book_of(subject: &str) -> Option<BookKey> {
    subject.strip_prefix("journal.v1.book.")?.parse().ok()
}

fn account_of(subject: &str) -> Option<AccountKey> {
    subject.strip_prefix("journal.v1.account.")?.parse().ok()
}

async fn account_line(bus: &Bus, key: &AccountKey) -> Result<String, String> {
    let state = account::read(bus, key).await?;
    let report: Option<AccountReport> = newest(bus, &Subject::AccountReport(key.clone())).await;
    let worth = match report {
        None => "not valued yet".to_owned(),
        Some(report) => format!(
            "equity {:.2}, peak {:.2}, of this day {:.2}{}",
            report.equity,
            report.peak,
            report.day_peak,
            if report.unknown.is_empty() {
                ""
            } else {
                ", a book's worth is unknown"
            }
        ),
    };
    let mut line = match state.latch {
        None => format!("ACCOUNT {key}  {worth}, clear"),
        Some(latch) => format!("ACCOUNT {key}  {worth}, LATCHED by {}", latch.id),
    };
    for Pause { symbol, said } in state.pauses {
        let books = symbol.as_ref().map_or("every book", Token::as_str);
        let _ = write!(
            line,
            "\n  entries of {books} PAUSED by {}: {}",
            said.who, said.why
        );
    }
    Ok(line)
}

async fn newest<M: DeserializeOwned>(bus: &Bus, subject: &Subject) -> Option<M> {
    let found = bus.newest(streams::REPORTS, &subject.to_string()).await;
    serde_json::from_slice(&found.ok()??.payload).ok()
}

/// One line, and a second one that answers "why no trade?".
async fn book_lines(bus: &Bus, key: &BookKey, state: &BookState) -> Vec<String> {
    let report: Option<BookReport> = newest(bus, &Subject::BookReport(key.clone())).await;
    let price = report.as_ref().and_then(|r| r.price);
    let price = price.and_then(|p| Price::from_decimal(p).ok());
    let status = summary::status(state, price);
    let mut lines = vec![format!(
        "{:<44} {:>11.2} {:>11.2} {:>7.2} {:>7} {:>5}  {}",
        key.to_string(),
        status.equity,
        status.realised,
        status.fees,
        status.trades,
        status.wins,
        what_it_does(state, &status)
    )];
    if !state.refusals.is_empty() {
        let reasons = state.refusals.iter().map(|(why, n)| format!("{why} {n}"));
        let reasons: Vec<String> = reasons.collect();
        lines.push(format!("    signals refused: {}", reasons.join(", ")));
    }
    let unclear = state.orders.iter().filter(|o| o.is_unclear());
    lines.extend(unclear.map(|o| {
        let (leg, id, at) = (o.order.leg, &o.order.id, o.order.at);
        format!("    UNKNOWN: whether the exchange has the {leg} {id} of {at}; it is looked up")
    }));
    if let Some(locked) = report.and_then(|r| r.locked) {
        let (by, until) = (locked.by, locked.until);
        lines.push(format!(
            "    no entries until {until} (exchange time): {by}"
        ));
    }
    lines
}

fn what_it_does(state: &BookState, status: &BookStatus) -> String {
    match &state.phase {
        Phase::Open(p) => format!(
            "{} {} at {}, stop {}, target {}",
            p.side, p.quantity, p.price, p.stop, p.target
        ),
        Phase::Halted { reason, .. } => format!("halted: {reason}"),
        Phase::Unopened | Phase::Flat | Phase::EntryPending(_) => status.phase.to_owned(),
    }
}

#[allow(clippy::print_stdout, reason = "the table is this command's answer")]
fn print(lines: &[String]) {
    for line in lines {
        println!("{line}");
    }
}
