//! `trader unhalt`: a person's word that a halted book may go on. It is a record behind the halt in the book's
//! own journal; the trader that holds the book finds it there and trades on. What the book goes on with is
//! decided in the engine.

use clap::Args;
use protocol::exit_code::ExitCode;
use protocol::ids::{BookKey, SubjectToken};
use protocol::journal::JournalBatch;
use protocol::subject::Subject;
use runtime::bus::{Bus, BusError};
use runtime::identity::boot_id;
use runtime::journal::Journal;
use runtime::process::ExitError;
use runtime::{clock, streams};
use tokio_util::sync::CancellationToken;
use trader_core::book::{BookEvent, BookPhase, BookRecord, BookState, Unhalt, decide};
use trader_core::fixed_point::Price;
use trader_core::symbol_filters::SymbolFilters;

use crate::account::{AttributionArgs, append_records, read_account_state as read_account};
use crate::settings::Settings;
use crate::startup;

/// Which book, and what became of what it held
#[derive(Debug, Clone, Args)]
pub struct UnhaltArgs {
    /// The halted book's symbol
    #[arg(long, value_name = "SYMBOL")]
    pub symbol: SubjectToken,

    /// Its position is open no more: it was closed on the exchange at this price (live only)
    #[arg(long, value_name = "PRICE", value_parser = parse_price)]
    pub closed_at: Option<Price>,

    #[command(flatten)]
    attribution: AttributionArgs,
}

fn parse_price(text: &str) -> Result<Price, String> {
    let price: Price = text.parse().map_err(|_| allowed_price_text())?;
    if price.units() > 0 {
        Ok(price)
    } else {
        Err(allowed_price_text())
    }
}

fn allowed_price_text() -> String {
    "allowed is a number above 0 with at most 8 decimals".to_owned()
}

/// A book as its journal has it, and the end of that journal to write to.
struct HaltedBook {
    journal: Journal,
    state: BookState,
    filters: Option<SymbolFilters>,
}

/// `trader unhalt`.
///
/// # Errors
/// Exit 78 if the book is not halted or holds nothing to be closed, 69 if the bus does not answer.
#[allow(
    clippy::print_stdout,
    reason = "the answer of a command belongs on standard output"
)]
pub async fn run(args: UnhaltArgs) -> Result<ExitCode, ExitError> {
    let settings = Settings::from_env()?;
    let account = startup::configured_account(&settings).await?;
    let bus = Bus::try_connect(&settings.bus)
        .await
        .map_err(BusError::into_exit_error)?;
    let book = account.book(args.symbol.clone());
    let mut found = read_book(&bus, &book).await?;
    let records = unhalt_records(&settings, &book, &found, args).await?;
    append_records(
        &mut found.journal,
        &records,
        "look again with trader status",
    )
    .await?;
    let latched = read_account(&bus, &account).await;
    println!("{}", describe_outcome(&book, &records));
    if latched.is_ok_and(|account| account.latch.is_some()) {
        println!("its account is latched: trader unlatch comes first");
    }
    Ok(ExitCode::Success)
}

async fn read_book(bus: &Bus, book: &BookKey) -> Result<HaltedBook, ExitError> {
    let subject = Subject::BookJournal(book.clone());
    let (journal, entries) = Journal::replay::<BookRecord>(bus, &subject, boot_id())
        .await
        .map_err(|error| ExitError::new(ExitCode::Unavailable, error.to_string()))?;
    let mut found = HaltedBook {
        journal,
        state: BookState::default(),
        filters: None,
    };
    for stored in entries {
        found.state.fold(&stored.batch).map_err(|bad| {
            let seq = stored.seq;
            ExitError::config(format!(
                "book {book} cannot be released, its journal cannot be read: sequence {seq}: {bad}"
            ))
        })?;
        for record in stored.batch.records {
            if let BookRecord::BookOpened { filters: rules, .. } = record {
                found.filters = Some(rules);
            }
        }
    }
    Ok(found)
}

/// The records of the release, if the book can be released so.
async fn unhalt_records(
    settings: &Settings,
    book: &BookKey,
    found: &HaltedBook,
    args: UnhaltArgs,
) -> Result<Vec<BookRecord>, ExitError> {
    let state = &found.state;
    let BookPhase::Halted { position, .. } = &state.phase else {
        return Err(ExitError::config(format!(
            "--symbol={}: not allowed, in its journal book {book} is {}, not halted (one whose brain \
             panicked goes on when its trader starts again)",
            args.symbol,
            state.phase.as_str()
        )));
    };
    let config = state
        .config
        .clone()
        .map_or_else(|| startup::book_config(settings), Ok)?;
    if let Some(price) = args.closed_at {
        let why_not = match (config.live.is_some(), position) {
            (false, _) => Some("a paper book's position is closed by nobody else"),
            (true, None) => Some("the book holds nothing"),
            (true, Some(_)) => None,
        };
        if let Some(why_not) = why_not {
            return Err(ExitError::config(format!(
                "--closed-at={price}: not allowed, {why_not}"
            )));
        }
    }
    let rules = match &found.filters {
        Some(rules) => rules.clone(),
        None => fetch_filters(settings, &args.symbol).await?,
    };
    let release = Unhalt {
        by: args.attribution.by,
        reason: args.attribution.reason,
        external_close: args.closed_at.map(|price| (clock::now(), price)),
    };
    Ok(decide(state, &config, &rules, BookEvent::Unhalted(release)))
}

/// Of a book that was halted before it had capital.
async fn fetch_filters(
    settings: &Settings,
    symbol: &SubjectToken,
) -> Result<SymbolFilters, ExitError> {
    let market = startup::data_client(settings)?;
    let mut rules =
        startup::fetch_symbol_filters(&market, settings, &CancellationToken::new()).await?;
    rules.remove(symbol).ok_or_else(|| {
        ExitError::config(format!("--symbol={symbol}: allowed are the symbols traded"))
    })
}

fn describe_outcome(book: &BookKey, records: &[BookRecord]) -> String {
    let trade = records.iter().find_map(|record| match record {
        BookRecord::PositionClosed(trade) => Some(trade),
        _ => None,
    });
    let as_it_was =
        "it goes on as it was halted, and is halted again if the exchange still disagrees";
    let what = trade.map_or_else(
        || as_it_was.to_owned(),
        |trade| {
            format!(
                "its position is booked as closed at {}, profit {}",
                trade.exit_price, trade.pnl
            )
        },
    );
    format!("book {book} is released: {what}; its trader goes on within seconds, or when it starts")
}

/// Where in its journal a book was released last, if nobody has gone on with it since.
///
/// # Errors
/// Why that could not be read, in one line.
pub(crate) async fn pending_unhalt(bus: &Bus, book: &BookKey) -> Result<Option<u64>, String> {
    let subject = Subject::BookJournal(book.clone()).to_string();
    let Some(newest) = bus.latest_message(streams::JOURNAL, &subject).await? else {
        return Ok(None);
    };
    let entry: JournalBatch<BookRecord> =
        serde_json::from_slice(&newest.payload).map_err(|error| error.to_string())?;
    let is_release = |record: &BookRecord| matches!(record, BookRecord::BookUnhalted { .. });
    Ok(entry.records.iter().any(is_release).then_some(newest.seq))
}
