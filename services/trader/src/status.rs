//! `trader status`: every paper book that the journals know, folded as the trader folds it. Works
//! with every trader dead.

use engine::book::{BookRecord, BookState, Phase};
use engine::summary::{self, BookStatus};
use protocol::exit::ExitCode;
use protocol::ids::{BookKey, Mode, Token};
use protocol::subject::{Subject, filter};
use runtime::bus::{Bus, Refusal};
use runtime::journal::Journal;
use runtime::process::Stop;
use runtime::streams;

use crate::settings::Settings;

const COLUMNS: &str = "BOOK                                              EQUITY    REALISED    \
                       FEES  TRADES  WINS  STATE";

/// Prints the table.
///
/// # Errors
/// Exit 78 for settings, 69 if the bus does not answer.
pub async fn run() -> Result<ExitCode, Stop> {
    let settings = Settings::from_env()?;
    let unavailable = |why: String| Stop::new(ExitCode::Unavailable, why);
    let bus = Bus::try_connect(&settings.bus)
        .await
        .map_err(Refusal::into_stop)?;
    let filter = filter::book_journals(Mode::Paper);
    let mut subjects = bus
        .subjects(streams::JOURNAL, &filter)
        .await
        .map_err(unavailable)?;
    subjects.sort();
    let mut lines = vec![COLUMNS.to_owned()];
    for key in subjects.iter().filter_map(|subject| book_of(subject)) {
        lines.push(match fold(&bus, &key).await {
            Ok(state) => line(&key, &state),
            Err(why) => format!("{key:<44} unreadable: {why}"),
        });
    }
    if lines.len() == 1 {
        lines.push("no book has been opened yet".to_owned());
    }
    print(&lines);
    Ok(ExitCode::Done)
}

fn book_of(subject: &str) -> Option<BookKey> {
    subject.strip_prefix("journal.v1.book.")?.parse().ok()
}

/// Reads only: the writing end is dropped before anything is appended.
async fn fold(bus: &Bus, key: &BookKey) -> Result<BookState, String> {
    let subject = Subject::BookJournal(key.clone());
    let reader: Token = "status".parse().map_err(|_| "no name".to_owned())?;
    let (_, entries) = Journal::replay::<BookRecord>(bus, &subject, reader)
        .await
        .map_err(|error| error.to_string())?;
    let mut state = BookState::default();
    for stored in &entries {
        state.fold(&stored.entry).map_err(|bad| bad.to_string())?;
    }
    Ok(state)
}

fn line(key: &BookKey, state: &BookState) -> String {
    let status = summary::status(state, None);
    format!(
        "{:<44} {:>11.2} {:>11.2} {:>7.2} {:>7} {:>5}  {}",
        key.to_string(),
        status.equity,
        status.realised,
        status.fees,
        status.trades,
        status.wins,
        what_it_does(state, &status)
    )
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
