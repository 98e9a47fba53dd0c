//! `trader release`: a person's word that a halted book may go on. It is a record behind the halt in the book's
//! own journal; the trader that holds the book finds it there and trades on. What the book goes on with is
//! decided in the engine.

use clap::Args;
use engine::book::{BookEvent, BookRecord, BookState, Phase, Release, decide};
use engine::fixed::Price;
use engine::rules::SymbolRules;
use protocol::exit::ExitCode;
use protocol::ids::{BookKey, Token};
use protocol::journal::JournalEntry;
use protocol::subject::Subject;
use runtime::bus::{Bus, Refusal};
use runtime::identity::boot_id;
use runtime::journal::Journal;
use runtime::process::Stop;
use runtime::{clock, streams};
use tokio_util::sync::CancellationToken;

use crate::account::{SaidArgs, read as read_account, store};
use crate::settings::Settings;
use crate::start;

/// Which book, and what became of what it held
#[derive(Debug, Clone, Args)]
pub struct ReleaseArgs {
    /// The halted book's symbol
    #[arg(long, value_name = "SYMBOL")]
    pub symbol: Token,

    /// Its position is open no more: it was closed on the exchange at this price (live only)
    #[arg(long, value_name = "PRICE", value_parser = a_price)]
    pub closed_at: Option<Price>,

    #[command(flatten)]
    said: SaidArgs,
}

fn a_price(text: &str) -> Result<Price, String> {
    let price: Price = text.parse().map_err(|_| allowed_price())?;
    if price.units() > 0 {
        Ok(price)
    } else {
        Err(allowed_price())
    }
}

fn allowed_price() -> String {
    "allowed is a number above 0 with at most 8 decimals".to_owned()
}

/// A book as its journal has it, and the end of that journal to write to.
struct Found {
    journal: Journal,
    state: BookState,
    rules: Option<SymbolRules>,
}

/// `trader release`.
///
/// # Errors
/// Exit 78 if the book is not halted or holds nothing to be closed, 69 if the bus does not answer.
#[allow(
    clippy::print_stdout,
    reason = "the answer of a command belongs on standard output"
)]
pub async fn run(args: ReleaseArgs) -> Result<ExitCode, Stop> {
    let settings = Settings::from_env()?;
    let account = start::own_account(&settings).await?;
    let bus = Bus::try_connect(&settings.bus)
        .await
        .map_err(Refusal::into_stop)?;
    let book = account.book(args.symbol.clone());
    let mut found = find(&bus, &book).await?;
    let records = released(&settings, &book, &found, args).await?;
    store(
        &mut found.journal,
        &records,
        "look again with trader status",
    )
    .await?;
    let latched = read_account(&bus, &account).await;
    println!("{}", outcome(&book, &records));
    if latched.is_ok_and(|account| account.latch.is_some()) {
        println!("its account is latched: trader unlatch comes first");
    }
    Ok(ExitCode::Done)
}

async fn find(bus: &Bus, book: &BookKey) -> Result<Found, Stop> {
    let subject = Subject::BookJournal(book.clone());
    let (journal, entries) = Journal::replay::<BookRecord>(bus, &subject, boot_id())
        .await
        .map_err(|error| Stop::new(ExitCode::Unavailable, error.to_string()))?;
    let mut found = Found {
        journal,
        state: BookState::default(),
        rules: None,
    };
    for stored in entries {
        found.state.fold(&stored.entry).map_err(|bad| {
            let seq = stored.seq;
            Stop::config(format!(
                "book {book} cannot be released, its journal cannot be read: sequence {seq}: {bad}"
            ))
        })?;
        for record in stored.entry.records {
            if let BookRecord::BookOpened { rules, .. } = record {
                found.rules = Some(rules);
            }
        }
    }
    Ok(found)
}

/// The records of the release, if the book can be released so.
async fn released(
    settings: &Settings,
    book: &BookKey,
    found: &Found,
    args: ReleaseArgs,
) -> Result<Vec<BookRecord>, Stop> {
    let state = &found.state;
    let Phase::Halted { position, .. } = &state.phase else {
        return Err(Stop::config(format!(
            "--symbol={}: not allowed, in its journal book {book} is {}, not halted (one whose brain \
             panicked goes on when its trader starts again)",
            args.symbol,
            state.phase.as_str()
        )));
    };
    let config = state
        .config
        .clone()
        .map_or_else(|| start::book_config(settings), Ok)?;
    if let Some(price) = args.closed_at {
        let why_not = match (config.live.is_some(), position) {
            (false, _) => Some("a paper book's position is closed by nobody else"),
            (true, None) => Some("the book holds nothing"),
            (true, Some(_)) => None,
        };
        if let Some(why_not) = why_not {
            return Err(Stop::config(format!(
                "--closed-at={price}: not allowed, {why_not}"
            )));
        }
    }
    let rules = match &found.rules {
        Some(rules) => rules.clone(),
        None => rules_of(settings, &args.symbol).await?,
    };
    let release = Release {
        who: args.said.who,
        why: args.said.why,
        closed: args.closed_at.map(|price| (clock::now(), price)),
    };
    Ok(decide(state, &config, &rules, BookEvent::Released(release)))
}

/// Of a book that was halted before it had capital.
async fn rules_of(settings: &Settings, symbol: &Token) -> Result<SymbolRules, Stop> {
    let market = start::market(settings)?;
    let mut rules = start::rules(&market, settings, &CancellationToken::new()).await?;
    rules
        .remove(symbol)
        .ok_or_else(|| Stop::config(format!("--symbol={symbol}: allowed are the symbols traded")))
}

fn outcome(book: &BookKey, records: &[BookRecord]) -> String {
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
                trade.price, trade.pnl
            )
        },
    );
    format!("book {book} is released: {what}; its trader goes on within seconds, or when it starts")
}

/// Where in its journal a book was released last, if nobody has gone on with it since.
///
/// # Errors
/// Why that could not be read, in one line.
pub(crate) async fn unheeded(bus: &Bus, book: &BookKey) -> Result<Option<u64>, String> {
    let subject = Subject::BookJournal(book.clone()).to_string();
    let Some(newest) = bus.newest(streams::JOURNAL, &subject).await? else {
        return Ok(None);
    };
    let entry: JournalEntry<BookRecord> =
        serde_json::from_slice(&newest.payload).map_err(|error| error.to_string())?;
    let is_release = |record: &BookRecord| matches!(record, BookRecord::BookReleased { .. });
    Ok(entry.records.iter().any(is_release).then_some(newest.seq))
}
