//! `trader unhalt`: ends the halt of a book. The record is appended to the book's own journal; the trader that holds the
//! book finds it there and continues. `trader_core` decides with which position.

use clap::Args;
use protocol::exit_code::ExitCode;
use protocol::host_command;
use protocol::ids::{BookKey, Mode, SubjectToken};
use protocol::subject::Subject;
use runtime::bus::Bus;
use runtime::clock;
use runtime::exit_error::ExitError;
use runtime::journal::Journal;
use runtime::stdout::OutputArgs;
use serde::Serialize;
use trader_core::book::{BookEvent, BookPhase, BookRecord, BookState, Trade, Unhalt, decide};
use trader_core::fixed_point::Price;
use trader_core::symbol_filters::SymbolFilters;

use super::account_commands::AttributionArgs;
use super::bus_access::{append_records, connect, replay, unavailable};
use super::output::as_text;
use crate::account::command_journal::read_account_state;
use crate::app::checks::with_deadline;
use crate::app::exchange_clients::ExchangeClients;
use crate::app::patience::Patience;
use crate::app::startup;
use crate::settings::Settings;

/// Flags of `trader unhalt`
#[derive(Debug, Clone, Args)]
pub struct UnhaltArgs {
    /// Symbol of the halted book
    #[arg(long, value_name = "SYMBOL")]
    pub symbol: SubjectToken,

    /// Price at which the book's position was closed on the exchange, if it was (live only)
    #[arg(long, value_name = "PRICE", value_parser = parse_price)]
    pub closed_at: Option<Price>,

    #[command(flatten)]
    attribution: AttributionArgs,

    #[command(flatten)]
    output: OutputArgs,
}

/// Result of the command, as `--json` prints it.
#[derive(Debug, Serialize)]
struct UnhaltedBook {
    #[serde(serialize_with = "as_text")]
    book: BookKey,
    /// The trade that booked the externally closed position, if there was one.
    closed: Option<Trade>,
    /// Latch of the account, which keeps the book from trading; `None` without one.
    latch_id: Option<String>,
}

fn parse_price(text: &str) -> Result<Price, String> {
    let price: Price = text.parse().map_err(|_| expected_price())?;
    if price.units() > 0 {
        Ok(price)
    } else {
        Err(expected_price())
    }
}

fn expected_price() -> String {
    "expected a number above 0 with at most 8 decimals".to_owned()
}

/// A book, folded from its journal, with the writing end of that journal.
struct HaltedBook {
    journal: Journal,
    state: BookState,
    /// The filters of the last time the book was opened; `None` if it was halted before.
    filters: Option<SymbolFilters>,
}

/// `trader unhalt`: ends the halt of a book.
///
/// # Errors
/// Exit 78 if the book is not halted or has no position to close, 69 if the bus does not answer.
pub async fn run(args: UnhaltArgs) -> Result<ExitCode, ExitError> {
    let settings = Settings::from_env()?;
    let patience = Patience::start();
    let account = startup::configured_account(&settings, patience).await?;
    let bus = connect(&settings, patience).await?;
    let output = args.output;
    let book = account.book(args.symbol.clone());
    let mut found = read_book(&bus, &book, patience).await?;
    let records = unhalt_records(&settings, &book, &found, args, patience).await?;
    append_records(
        &mut found.journal,
        &records,
        "check the book with scripts/bearish status, then try again",
    )
    .await?;
    let account = read_account_state(&bus, &account).await;
    let closed = records.iter().find_map(|record| match record {
        BookRecord::PositionClosed(trade) => Some(*trade),
        _ => None,
    });
    let unhalted = UnhaltedBook {
        book,
        closed,
        latch_id: account
            .ok()
            .and_then(|account| account.latch)
            .map(|latch| latch.latch_id),
    };
    output.print(&unhalted, || describe(&unhalted))?;
    Ok(ExitCode::Success)
}

async fn read_book(bus: &Bus, book: &BookKey, patience: Patience) -> Result<HaltedBook, ExitError> {
    let subject = Subject::BookJournal(book.clone());
    let (journal, batches) = replay::<BookRecord>(bus, &subject, patience).await?;
    let mut found = HaltedBook {
        journal,
        state: BookState::default(),
        filters: None,
    };
    for stored in batches {
        found.state.fold(&stored.batch).map_err(|error| {
            let seq = stored.seq;
            ExitError::config(format!(
                "book {book} cannot be unhalted: journal sequence {seq}: {error}"
            ))
        })?;
        for record in stored.batch.records {
            if let BookRecord::BookOpened { filters, .. } = record {
                found.filters = Some(filters);
            }
        }
    }
    Ok(found)
}

/// The records that unhalt the book.
///
/// # Errors
/// Exit 78 if the book is not halted or `--closed-at` does not fit.
async fn unhalt_records(
    settings: &Settings,
    book: &BookKey,
    found: &HaltedBook,
    args: UnhaltArgs,
    patience: Patience,
) -> Result<Vec<BookRecord>, ExitError> {
    let state = &found.state;
    let BookPhase::Halted { position, .. } = &state.phase else {
        return Err(ExitError::config(format!(
            "--symbol=\"{}\": expected a halted book; the journal of {book} says {}",
            args.symbol,
            state.phase.as_str()
        )));
    };
    let config = state
        .config
        .clone()
        .map_or_else(|| startup::book_config(settings), Ok)?;
    if let Some(price) = args.closed_at {
        let problem = match (config.live.is_some(), position) {
            (false, _) => Some("no external order can close a paper position"),
            (true, None) => Some("the book has no position"),
            (true, Some(_)) => None,
        };
        if let Some(problem) = problem {
            return Err(ExitError::config(format!(
                "--closed-at=\"{price}\": expected no price: {problem}"
            )));
        }
    }
    let filters = match &found.filters {
        Some(filters) => filters.clone(),
        None => fetch_filters(settings, &args.symbol, patience).await?,
    };
    let unhalt = Unhalt {
        by: args.attribution.by,
        reason: args.attribution.reason,
        external_close: args.closed_at.map(|price| (clock::now(), price)),
    };
    Ok(decide(
        state,
        &config,
        &filters,
        BookEvent::Unhalted(unhalt),
    ))
}

/// The exchange's filters, for a book that was halted before it was opened.
async fn fetch_filters(
    settings: &Settings,
    symbol: &SubjectToken,
    patience: Patience,
) -> Result<SymbolFilters, ExitError> {
    let clients = ExchangeClients::new(settings, Mode::Paper, None)?;
    let wanted = std::slice::from_ref(symbol);
    let listings = patience.answer(
        "the exchange",
        |_| false,
        async || with_deadline(clients.data.symbol_listings(wanted)).await,
    );
    let mut listings = listings.await.map_err(unavailable)?;
    let listing = listings.remove(symbol);
    let (filters, obstacle) = listing.map_or((None, None), |l| (l.filters, l.obstacle));
    filters.ok_or_else(|| {
        let reason = obstacle.map_or_else(|| "not listed".to_owned(), |o| o.to_string());
        ExitError::config(format!(
            "--symbol=\"{symbol}\": expected a listed symbol: {reason}"
        ))
    })
}

fn describe(unhalted: &UnhaltedBook) -> String {
    let result = unhalted.closed.map_or_else(
        || {
            "it continues with the position it was halted with, and is halted again if the exchange still differs"
                .to_owned()
        },
        |trade| {
            format!(
                "its position is booked as closed at {}, profit {} USDT",
                trade.exit_price, trade.pnl
            )
        },
    );
    let mut text = format!(
        "book {} is unhalted: {result}. Its trader continues within seconds, or at its next start.",
        unhalted.book
    );
    if let Some(latch) = &unhalted.latch_id {
        let unlatch = host_command::unlatch(unhalted.book.account.mode, latch);
        text.push_str("\nThe account is latched. The book trades again after: ");
        text.push_str(&unlatch);
    }
    text
}
