//! `trader trades`: every closed trade of every book, out of the journals, as a table or as CSV.

use clap::Args;
use protocol::exit_code::ExitCode;
use protocol::ids::BookKey;
use protocol::subject::{Subject, filter};
use runtime::bus::{Bus, BusError};
use runtime::identity::boot_id;
use runtime::journal::Journal;
use runtime::process::ExitError;
use trader_core::book::{BookRecord, Position, Trade};

use crate::settings::Settings;
use crate::status::{journal_keys, parse_book_key};

const COLUMNS: [&str; 13] = [
    "book",
    "strategy",
    "side",
    "entry_time",
    "exit_time",
    "quantity",
    "entry_price",
    "exit_price",
    "fees",
    "funding",
    "pnl",
    "equity",
    "reason",
];

/// Lists every closed trade
#[derive(Debug, Clone, Args)]
pub struct TradesArgs {
    /// Comma-separated values with a header; times are UTC milliseconds of the exchange's candles
    #[arg(long)]
    pub csv: bool,
}

/// Prints them, book by book, oldest first.
///
/// # Errors
/// Exit 78 for settings or a journal that cannot be read, 69 if the bus does not answer.
pub async fn run(args: TradesArgs) -> Result<ExitCode, ExitError> {
    let settings = Settings::from_env()?;
    let bus = Bus::try_connect(&settings.bus)
        .await
        .map_err(BusError::into_exit_error)?;
    let mut rows = vec![COLUMNS.map(str::to_owned)];
    for key in journal_keys(
        &bus,
        settings.modes(),
        filter::book_journals,
        parse_book_key,
    )
    .await?
    {
        rows.extend(rows_of(&bus, &key).await?);
    }
    print(&rows, args.csv);
    Ok(ExitCode::Success)
}

async fn rows_of(bus: &Bus, key: &BookKey) -> Result<Vec<[String; 13]>, ExitError> {
    let subject = Subject::BookJournal(key.clone());
    let replayed = Journal::replay::<BookRecord>(bus, &subject, boot_id()).await;
    let (_, entries) = replayed.map_err(|error| ExitError::config(error.to_string()))?;
    let mut open = None;
    let mut rows = Vec::new();
    for record in entries.iter().flat_map(|stored| &stored.batch.records) {
        match record {
            BookRecord::PositionOpened(position) => open = Some(*position),
            BookRecord::PositionClosed(trade) => {
                rows.extend(open.take().map(|position| row(key, &position, trade)));
            }
            _ => {}
        }
    }
    Ok(rows)
}

fn row(key: &BookKey, position: &Position, trade: &Trade) -> [String; 13] {
    let fees = position.fee.saturating_add(trade.fee).normalize();
    [
        key.to_string(),
        trade.strategy.to_string(),
        trade.side.to_string(),
        position.at.0.to_string(),
        trade.at.0.to_string(),
        trade.quantity.to_string(),
        trade.entry_price.to_string(),
        trade.exit_price.to_string(),
        fees.to_string(),
        trade.funding.normalize().to_string(),
        trade.pnl.to_string(),
        trade.equity.to_string(),
        trade.reason.to_string(),
    ]
}

/// No field holds a comma or a quote: keys and names are tokens, the rest are numbers.
#[allow(clippy::print_stdout, reason = "the list is this command's answer")]
fn print(rows: &[[String; 13]], csv: bool) {
    if csv {
        for row in rows {
            println!("{}", row.join(","));
        }
        return;
    }
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths);
        let line: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        println!("{}", line.join("  ").trim_end());
    }
}
