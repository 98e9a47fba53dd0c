//! `trader status`: every account and book in the journals, with profit, position, and why no trade was made. Works
//! while no trader runs; prices come from the newest reports.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::duration::format_duration;
use protocol::event::PositionSide;
use protocol::exit_code::ExitCode;
use protocol::host_command;
use protocol::ids::{AccountKey, BookKey, Mode, SubjectToken};
use protocol::report::{AccountReport, BalanceReport, BookReport, WaitReport};
use protocol::subject::{Subject, filter};
use protocol::time::UtcMs;
use runtime::bus::Bus;
use runtime::clock;
use runtime::exit_error::ExitError;
use runtime::stdout::OutputArgs;
use runtime::streams;
use rust_decimal::Decimal;
use serde::Serialize;
use serde::de::DeserializeOwned;
use trader_core::account::{AccountState, BalanceDifference, TOLERANCE};
use trader_core::book::{BookPhase, BookState, RejectedEntries, RejectedSignals};
use trader_core::book_status;
use trader_core::circuit_breaker::Breaker;
use trader_core::entry::SignalRejection;
use trader_core::fixed_point::Price;

use super::bus_access::{ask_bus, connect};
use super::output::{as_text, percent, signed, table, time};
use crate::account::command_journal::read_account_state;
use crate::app::patience::Patience;
use crate::books::book_journal::{book_key, read_book_state};
use crate::settings::Settings;

/// Result as JSON. Amounts in USDT, times of the exchange in UTC milliseconds.
#[derive(Debug, Serialize)]
struct Status {
    accounts: Vec<AccountStatus>,
}

#[derive(Debug, Serialize)]
struct AccountStatus {
    #[serde(serialize_with = "as_text")]
    account: AccountKey,
    /// Why the account's journal could not be read, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    profit: Profit,
    /// Highest equity ever and of this UTC day; `None` before the first report.
    peak: Option<Decimal>,
    day_peak: Option<Decimal>,
    latch_id: Option<String>,
    pauses: Vec<PauseStatus>,
    /// Newest check of the exchange's balance; `None` on paper and before the first.
    balance: Option<BalanceReport>,
    /// The difference that stops entries; `None` if there is none.
    difference: Option<BalanceDifference>,
    books: Vec<BookStatus>,
}

/// Profit of a book or of all books of an account. Fees and funding are deducted.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Profit {
    capital: Decimal,
    equity: Decimal,
    realized_pnl: Decimal,
    unrealized_pnl: Decimal,
}

impl Profit {
    fn total(self) -> Decimal {
        self.realized_pnl.saturating_add(self.unrealized_pnl)
    }

    fn add(&mut self, other: Self) {
        self.capital = self.capital.saturating_add(other.capital);
        self.equity = self.equity.saturating_add(other.equity);
        self.realized_pnl = self.realized_pnl.saturating_add(other.realized_pnl);
        self.unrealized_pnl = self.unrealized_pnl.saturating_add(other.unrealized_pnl);
    }
}

#[derive(Debug, Serialize)]
struct PauseStatus {
    /// `None`: the entries of all books.
    symbol: Option<SubjectToken>,
    by: String,
    reason: String,
}

#[derive(Debug, Serialize)]
struct BookStatus {
    #[serde(serialize_with = "as_text")]
    book: BookKey,
    /// Why the book's journal could not be read, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    profit: Profit,
    fees: Decimal,
    trades: u64,
    winning_trades: u64,
    phase: &'static str,
    halt_reason: Option<String>,
    /// What the book waits for, and since when; `None` if it does not wait.
    waits_for: Option<WaitReport>,
    /// Close of the newest candle, and its time.
    price: Option<Decimal>,
    price_at: Option<UtcMs>,
    position: Option<PositionStatus>,
    rejected_signals: BTreeMap<SignalRejection, RejectedSignalsStatus>,
    /// Entry orders that the exchange rejected, by its error code.
    rejected_entries: BTreeMap<i64, RejectedEntries>,
    /// Circuit breakers that are tripped.
    tripped_breakers: BTreeSet<Breaker>,
    /// Orders whose outcome is unknown.
    unknown_orders: Vec<String>,
    /// What bans entries now, and until when.
    lock: Option<(String, UtcMs)>,
}

#[derive(Debug, Serialize)]
struct RejectedSignalsStatus {
    count: u64,
    /// Close of the newest bar with such a signal.
    last_at: UtcMs,
    /// The reason as a sentence.
    reason: &'static str,
}

#[derive(Debug, Serialize)]
struct PositionStatus {
    side: PositionSide,
    quantity: Decimal,
    entry_price: Decimal,
    stop_price: Decimal,
    target_price: Decimal,
    opened_at: UtcMs,
}

/// Prints all accounts and books.
///
/// # Errors
/// Exit 78 for invalid settings, 69 if the bus does not answer.
pub async fn run(output: OutputArgs) -> Result<ExitCode, ExitError> {
    let settings = Settings::from_env()?;
    let patience = Patience::start();
    let bus = connect(&settings, patience).await?;
    let modes = settings.modes();
    let mut accounts: BTreeSet<AccountKey> =
        journal_keys(&bus, modes, filter::account_journals, account_key, patience)
            .await?
            .into_iter()
            .collect();
    let books = all_books(&bus, modes, patience).await?;
    accounts.extend(books.iter().map(|key| key.account.clone()));
    let mut status = Status {
        accounts: Vec::new(),
    };
    for account in accounts {
        let mut of_account = read_account(&bus, &account, patience).await;
        for key in books.iter().filter(|key| key.account == account) {
            let book = read_book(&bus, key, patience).await;
            of_account.profit.add(book.profit);
            of_account.books.push(book);
        }
        status.accounts.push(of_account);
    }
    output.print(&status, || describe(&status))?;
    Ok(ExitCode::Success)
}

/// The books with a journal or a report, sorted. One that waits for its symbol since its first start has no journal.
async fn all_books(
    bus: &Bus,
    modes: &[Mode],
    patience: Patience,
) -> Result<Vec<BookKey>, ExitError> {
    let journals = journal_keys(bus, modes, filter::book_journals, book_key, patience).await?;
    let mut books: BTreeSet<BookKey> = journals.into_iter().collect();
    for mode in modes {
        let filter = filter::book_reports(*mode);
        let found = ask_bus(patience, async || {
            bus.subjects(streams::REPORTS, &filter).await
        });
        let keys = found.await?;
        books.extend(keys.iter().filter_map(|subject| reported_book(subject)));
    }
    Ok(books.into_iter().collect())
}

fn reported_book(subject: &str) -> Option<BookKey> {
    match Subject::parse(subject)? {
        Subject::BookReport(key) => Some(key),
        _ => None,
    }
}

/// The keys of all journals of these modes that a filter matches, sorted.
///
/// # Errors
/// Exit 69 if the bus does not answer.
pub(super) async fn journal_keys<K>(
    bus: &Bus,
    modes: &[Mode],
    filter: fn(Mode) -> String,
    key_of: fn(&str) -> Option<K>,
    patience: Patience,
) -> Result<Vec<K>, ExitError> {
    let mut subjects = Vec::new();
    for mode in modes {
        let filter = filter(*mode);
        let found = ask_bus(patience, async || {
            bus.subjects(streams::JOURNAL, &filter).await
        });
        subjects.extend(found.await?);
    }
    subjects.sort();
    Ok(subjects.iter().filter_map(|s| key_of(s)).collect())
}

fn account_key(subject: &str) -> Option<AccountKey> {
    match Subject::parse(subject)? {
        Subject::AccountJournal(key) => Some(key),
        _ => None,
    }
}

async fn latest_report<M: DeserializeOwned>(bus: &Bus, subject: &Subject) -> Option<M> {
    let subject = subject.to_string();
    bus.newest_json(streams::REPORTS, &subject).await.ok()?
}

async fn read_account(bus: &Bus, key: &AccountKey, patience: Patience) -> AccountStatus {
    let read = patience.answer(
        "the bus",
        |_| false,
        async || read_account_state(bus, key).await,
    );
    let (state, error) = match read.await {
        Ok(state) => (state, None),
        Err(error) => (AccountState::default(), Some(error)),
    };
    let subject = Subject::AccountReport(key.clone());
    let report: Option<AccountReport> = latest_report(bus, &subject).await;
    AccountStatus {
        account: key.clone(),
        error,
        profit: Profit::default(),
        peak: report.as_ref().map(|report| report.peak),
        day_peak: report.as_ref().map(|report| report.day_peak),
        latch_id: state.latch.map(|latch| latch.latch_id),
        pauses: state
            .pauses
            .into_iter()
            .map(|pause| PauseStatus {
                symbol: pause.symbol,
                by: pause.source.by,
                reason: pause.source.reason,
            })
            .collect(),
        balance: report.and_then(|report| report.balance),
        difference: state.balance.difference,
        books: Vec::new(),
    }
}

async fn read_book(bus: &Bus, key: &BookKey, patience: Patience) -> BookStatus {
    let read = patience.answer(
        "the bus",
        |_| false,
        async || read_book_state(bus, key).await,
    );
    let (state, error) = match read.await {
        Ok(state) => (state, None),
        Err(error) => (BookState::default(), Some(error)),
    };
    let report = latest_report(bus, &Subject::BookReport(key.clone())).await;
    BookStatus {
        error,
        ..book_status(key, &state, report)
    }
}

fn book_status(key: &BookKey, state: &BookState, report: Option<BookReport>) -> BookStatus {
    let price = report.as_ref().and_then(|report| report.price);
    let last_price = price.and_then(|price| Price::from_decimal(price).ok());
    let status = book_status::status(state, last_price);
    let unknown = state.orders.iter().filter(|o| o.is_outcome_unknown());
    BookStatus {
        book: key.clone(),
        error: None,
        profit: Profit {
            capital: status.capital,
            equity: status.equity,
            realized_pnl: status.realized_pnl,
            unrealized_pnl: status.unrealized_pnl,
        },
        fees: status.fees,
        trades: status.trades,
        winning_trades: status.winning_trades,
        phase: status.phase,
        halt_reason: status.halt_reason,
        waits_for: report.as_ref().and_then(|report| report.waits_for.clone()),
        price,
        price_at: report.as_ref().and_then(|report| report.candle_close),
        position: match &state.phase {
            BookPhase::Open(position) => Some(PositionStatus {
                side: position.side,
                quantity: position.quantity.to_decimal(),
                entry_price: position.entry_price.to_decimal(),
                stop_price: position.stop_price.to_decimal(),
                target_price: position.target_price.to_decimal(),
                opened_at: position.at,
            }),
            _ => None,
        },
        rejected_signals: state
            .rejected_signals
            .iter()
            .map(|(reason, rejected)| (*reason, rejected_signals(*reason, *rejected)))
            .collect(),
        rejected_entries: state.rejected_entries.clone(),
        tripped_breakers: state.tripped_breakers.clone(),
        unknown_orders: unknown
            .map(|o| {
                format!(
                    "{} order {} of {}",
                    o.order.leg,
                    o.order.client_order_id,
                    time(o.order.at)
                )
            })
            .collect(),
        lock: report
            .and_then(|report| report.locked)
            .map(|lock| (lock.lock, lock.until)),
    }
}

fn rejected_signals(reason: SignalRejection, rejected: RejectedSignals) -> RejectedSignalsStatus {
    RejectedSignalsStatus {
        count: rejected.count,
        last_at: rejected.last_bar,
        reason: reason.describe(),
    }
}

fn describe(status: &Status) -> String {
    let mut parts: Vec<String> = status.accounts.iter().map(describe_account).collect();
    if status
        .accounts
        .iter()
        .all(|account| account.books.is_empty())
    {
        parts.push("No book has been opened yet.".to_owned());
    } else {
        parts.push(
            "Amounts in USDT, fees and funding deducted. Times are the exchange's, in UTC."
                .to_owned(),
        );
    }
    parts.join("\n\n")
}

fn describe_account(account: &AccountStatus) -> String {
    let profit = account.profit;
    let mode = account.account.mode.to_string().to_uppercase();
    let mut lines = vec![format!("ACCOUNT {} ({mode})", account.account)];
    if let Some(error) = &account.error {
        lines.push(format!("  Journal unreadable: {error}"));
    }
    lines.push(format!(
        "  Profit:  {} ({} of {:.2} capital): realized {}, unrealized {}",
        signed(profit.total()),
        percent(profit.total(), profit.capital),
        profit.capital,
        signed(profit.realized_pnl),
        signed(profit.unrealized_pnl)
    ));
    let peaks = match (account.peak, account.day_peak) {
        (Some(peak), Some(day_peak)) => {
            format!(", peak {peak:.2}, peak of this UTC day {day_peak:.2}")
        }
        _ => String::new(),
    };
    lines.push(format!("  Equity:  {:.2}{peaks}", profit.equity));
    lines.push(match &account.latch_id {
        None => "  Latch:   none".to_owned(),
        Some(latch) => format!(
            "  Latch:   LATCHED by {latch}; to trade again: {}",
            host_command::unlatch(account.account.mode, latch)
        ),
    });
    lines.extend(describe_balance(account));
    for pause in &account.pauses {
        let books = pause
            .symbol
            .as_ref()
            .map_or("all books", SubjectToken::as_str);
        lines.push(format!(
            "  Paused:  entries of {books}, by {}: {}",
            pause.by, pause.reason
        ));
    }
    if !account.books.is_empty() {
        lines.push(String::new());
        lines.push(book_table(&account.books));
        lines.extend(account.books.iter().flat_map(describe_book));
    }
    lines.join("\n")
}

/// The exchange's balance, and the difference that stops entries. Empty on paper.
fn describe_balance(account: &AccountStatus) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(BalanceReport {
        at,
        balance,
        difference,
    }) = &account.balance
    {
        let age = format_duration(clock::now().since(*at));
        let finding = if difference.abs() <= TOLERANCE {
            "as expected".to_owned()
        } else {
            format!("{} against what is expected", signed(*difference))
        };
        lines.push(format!(
            "  Balance: {balance:.2} on the exchange, {finding} (compared {age} ago)"
        ));
    }
    if let Some(BalanceDifference {
        difference_id: id,
        amount,
        ..
    }) = &account.difference
    {
        lines.push(format!(
            "  Differs: ENTRIES STOPPED, nothing explains {} of the balance; to accept it: {}",
            signed(*amount),
            host_command::accept(account.account.mode, id)
        ));
    }
    lines
}

fn book_table(books: &[BookStatus]) -> String {
    let row = |book: &BookStatus| {
        let profit = book.profit;
        vec![
            book.book.symbol.to_string(),
            format!("{:.2}", profit.equity),
            signed(profit.realized_pnl),
            signed(profit.unrealized_pnl),
            signed(profit.total()),
            percent(profit.total(), profit.capital),
            format!("{:.2}", book.fees),
            book.trades.to_string(),
            book.winning_trades.to_string(),
            book.price
                .map_or_else(|| "-".to_owned(), |price| price.normalize().to_string()),
            describe_phase(book),
        ]
    };
    let header = [
        "SYMBOL",
        "EQUITY",
        "REALIZED",
        "UNREALIZED",
        "TOTAL",
        "OF CAPITAL",
        "FEES",
        "TRADES",
        "WINS",
        "PRICE",
        "STATE",
    ];
    table(&header, books.iter().map(row), &[1, 2, 3, 4, 5, 6, 7, 8, 9])
}

fn describe_phase(book: &BookStatus) -> String {
    match (&book.position, &book.error) {
        (_, Some(error)) => format!("journal unreadable: {error}"),
        (Some(position), None) => {
            let age = book
                .price_at
                .map_or(Duration::ZERO, |at| at.since(position.opened_at));
            format!(
                "{} {} from {} for {}, stop {}, target {}",
                position.side,
                position.quantity.normalize(),
                position.entry_price.normalize(),
                format_duration(age),
                position.stop_price.normalize(),
                position.target_price.normalize()
            )
        }
        (None, None) if book.halt_reason.is_some() => "halted".to_owned(),
        (None, None) if book.waits_for.is_some() => format!("{}, waits", book.phase),
        (None, None) => book.phase.to_owned(),
    }
}

/// The lines that say why a book does not trade.
fn describe_book(book: &BookStatus) -> Vec<String> {
    let symbol = &book.book.symbol;
    let mut lines = Vec::new();
    if let Some(reason) = &book.halt_reason {
        lines.push(format!(
            "{symbol}: halted: {reason}. To continue: {}",
            host_command::unhalt(book.book.account.mode, symbol)
        ));
    }
    if let Some(wait) = &book.waits_for {
        lines.push(format!(
            "{symbol}: waits since {} for: {}",
            time(wait.since),
            wait.reason
        ));
    }
    for order in &book.unknown_orders {
        lines.push(format!(
            "{symbol}: outcome UNKNOWN: {order}; its trader queries the exchange"
        ));
    }
    if let Some((lock, until)) = &book.lock {
        lines.push(format!(
            "{symbol}: no entries until {}: {lock}",
            time(*until)
        ));
    }
    if !book.tripped_breakers.is_empty() {
        let names: Vec<&str> = book.tripped_breakers.iter().map(|b| b.as_str()).collect();
        lines.push(format!(
            "{symbol}: circuit breakers tripped: {}",
            names.join(", ")
        ));
    }
    for (code, rejected) in &book.rejected_entries {
        lines.push(format!(
            "{symbol}: entries rejected by the exchange: {} because {} ({code}), the last at {}",
            rejected.count,
            rejected.text,
            time(rejected.last_at)
        ));
    }
    for rejected in book.rejected_signals.values() {
        lines.push(format!(
            "{symbol}: signals rejected: {} because {}, the last at {}",
            rejected.count,
            rejected.reason,
            time(rejected.last_at)
        ));
    }
    lines
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
