//! What the owner reads when he asks: from the newest reports and heartbeats, whoever lives. Text alone; where
//! it comes from is the body's business.

use std::collections::BTreeMap;

use protocol::heartbeat::Heartbeat;
use protocol::ids::{AccountKey, Mode, Service, Token};
use protocol::report::{AccountReport, BookReport, EquityPoint};
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use crate::command::VERBS;
use crate::heartbeat::{judge, mark};
use crate::state::State;
use crate::words::{amount, profit, span, uptime};

/// A report older than this says how old it is, in milliseconds.
const FRESH_MS: u64 = 60_000;

/// The newest heartbeat of a process.
pub type Beat = (Service, Token, Heartbeat);

/// One account with its newest report.
pub type Account = (AccountKey, AccountReport);

/// What there is to order.
pub fn help(greeting: bool) -> String {
    let first = greeting.then(|| "Welcome. What you can order:".to_owned());
    let verbs = VERBS.iter().map(|(verb, arguments, does)| {
        let call = format!("/{verb} {arguments}");
        format!("{}: {does}", call.trim_end())
    });
    let lines: Vec<String> = first.into_iter().chain(verbs).collect();
    lines.join("\n")
}

/// How every process is that has a heartbeat.
pub fn health(beats: &[Beat], queue: String, now: UtcMs) -> String {
    let mut lines: Vec<String> = beats
        .iter()
        .map(|(service, name, beat)| {
            let (health, why) = judge(beat, now);
            let why = why.map_or_else(String::new, |why| format!(" ({why})"));
            let up = uptime(beat.uptime_ms);
            format!(
                "{service} {name}: {}{why}, up {up}, {} errors",
                mark(health),
                beat.errors
            )
        })
        .collect();
    if lines.is_empty() {
        lines.push("Nobody has been heard of".to_owned());
    }
    lines.push(queue);
    lines.join("\n")
}

/// How delivery itself is.
pub fn queue(state: &State) -> String {
    format!(
        "notifier: {} letters wait, {} messages sent, {} letters refused",
        state.waiting.len(),
        state.totals.sent,
        state.dead.len()
    )
}

/// The units, in the watchdog's words or, where none answers, by their heartbeats; then the accounts.
pub fn status(
    watchdog: &Result<String, String>,
    beats: &[Beat],
    accounts: &[Account],
    now: UtcMs,
) -> String {
    let mut lines = Vec::new();
    match watchdog {
        Ok(text) => lines.push(text.clone()),
        Err(why) => {
            lines.push(format!("{why}; by the newest heartbeats:"));
            let traders = beats
                .iter()
                .filter(|(service, ..)| *service == Service::Trader);
            let known: Vec<String> = traders
                .map(|(_, name, beat)| {
                    let (health, why) = judge(beat, now);
                    let why = why.map_or_else(String::new, |why| format!(" ({why})"));
                    format!("{name}: {}{why}", mark(health))
                })
                .collect();
            lines.push(if known.is_empty() {
                "No trader has been heard of".to_owned()
            } else {
                known.join("\n")
            });
        }
    }
    lines.push(self::accounts(accounts, now));
    lines.join("\n")
}

/// What every account is worth, and whether it may enter.
pub fn accounts(accounts: &[Account], now: UtcMs) -> String {
    if accounts.is_empty() {
        return "No account has reported yet".to_owned();
    }
    let line = |(key, report): &Account| {
        let latch = report.latch.as_ref().map_or_else(String::new, |latch| {
            format!(", 🚨 LATCHED by {} (latch {})", latch.breaker, latch.id)
        });
        let unknown = list(&report.unknown)
            .map_or_else(String::new, |books| format!(", worth not known of {books}"));
        let paused: Vec<&str> = report
            .pauses
            .iter()
            .map(|pause| pause.symbol.as_ref().map_or("all books", Token::as_str))
            .collect();
        let paused = match paused.as_slice() {
            [] => String::new(),
            paused => format!(", ⏸ no entries of {}", paused.join(", ")),
        };
        let equity = amount(report.equity);
        format!(
            "{key}: {equity}{latch}{paused}{unknown}{}",
            age(report.at, now)
        )
    };
    accounts.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn list(names: &[Token]) -> Option<String> {
    let names: Vec<&str> = names.iter().map(Token::as_str).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn age(at: UtcMs, now: UtcMs) -> String {
    let age = now.millis_since(at);
    if age > FRESH_MS {
        format!(" (as of {} ago)", span(age))
    } else {
        String::new()
    }
}

/// Every open position.
pub fn positions(books: &[BookReport], now: UtcMs) -> String {
    if books.is_empty() {
        return "No book has reported yet".to_owned();
    }
    let lines: Vec<String> = books
        .iter()
        .filter_map(|book| {
            let position = book.position.as_ref()?;
            let price = book
                .price
                .map_or_else(String::new, |price| format!(", now {price}"));
            Some(format!(
                "{} {} {} at {}{price}: {}, stop {}, target {}, {}{}",
                book.book.symbol,
                position.side,
                position.quantity,
                position.entry,
                profit(book.unrealised),
                position.stop,
                position.target,
                position.strategy,
                age(book.at, now),
            ))
        })
        .collect();
    if lines.is_empty() {
        format!("Nothing is open in {} books", books.len())
    } else {
        lines.join("\n")
    }
}

/// How every book has done, and all together.
pub fn performance(books: &[BookReport], accounts: &[Account], now: UtcMs) -> String {
    if books.is_empty() {
        return "No book has reported yet".to_owned();
    }
    let mut lines: Vec<String> = books.iter().map(|book| result(book, now)).collect();
    for mode in [Mode::Paper, Mode::Live] {
        lines.extend(together(mode, books));
    }
    lines.push(self::accounts(accounts, now));
    lines.join("\n")
}

/// Paper and real money are never added up.
fn together(mode: Mode, books: &[BookReport]) -> Option<String> {
    let of_mode = |book: &&BookReport| book.book.account.mode == mode;
    let books: Vec<&BookReport> = books.iter().filter(of_mode).collect();
    let capital: Decimal = books.iter().map(|book| book.capital).sum();
    let equity: Decimal = books.iter().map(|book| book.equity).sum();
    let trades: u64 = books.iter().map(|book| book.trades).sum();
    let line = format!(
        "Together ({mode}): {} of {}, {}, {trades} trades",
        amount(equity),
        amount(capital),
        profit(equity - capital)
    );
    (!books.is_empty()).then_some(line)
}

fn result(book: &BookReport, now: UtcMs) -> String {
    let factor = book.profit_factor.map_or_else(String::new, |factor| {
        format!(", profit factor {}", factor.round_dp(2))
    });
    let sharpe = book.sharpe.map_or_else(String::new, |sharpe| {
        format!(", Sharpe {}", sharpe.round_dp(2))
    });
    let fall = (book.max_drawdown * Decimal::ONE_HUNDRED).round_dp(2);
    let halted = book
        .halted
        .as_ref()
        .map_or_else(String::new, |why| format!(", HALTED: {why}"));
    format!(
        "{}: {} ({}), {} trades, {} won{factor}{sharpe}, largest fall {fall} %{halted}{}",
        book.book.symbol,
        amount(book.equity),
        profit(book.equity - book.capital),
        book.trades,
        book.wins,
        age(book.at, now),
    )
}

/// The last messages by their headings.
pub fn logs(state: &State) -> String {
    if state.recent.is_empty() {
        return "Nothing was told yet".to_owned();
    }
    let heads = state.recent.iter().map(|(at, head)| format!("{at} {head}"));
    let first = format!(
        "The headings of the last {} messages, newest last:",
        state.recent.len()
    );
    std::iter::once(first)
        .chain(heads)
        .collect::<Vec<_>>()
        .join("\n")
}

/// What all books together were worth, from what each was worth now and then: between two of its points a
/// book is worth what it was at the one before, and before its first what it was there.
pub fn curve(books: &[Vec<EquityPoint>]) -> Vec<(UtcMs, f64)> {
    let mut worth: Vec<Decimal> = Vec::new();
    let mut changes: BTreeMap<UtcMs, Vec<(usize, Decimal)>> = BTreeMap::new();
    for (book, points) in books.iter().filter(|points| !points.is_empty()).enumerate() {
        worth.push(points.first().map_or(Decimal::ZERO, |point| point.equity));
        for point in points {
            changes
                .entry(point.at)
                .or_default()
                .push((book, point.equity));
        }
    }
    let sums = changes.into_iter().map(|(at, changed)| {
        for (book, equity) in changed {
            if let Some(worth) = worth.get_mut(book) {
                *worth = equity;
            }
        }
        let sum: Decimal = worth.iter().sum();
        (at, sum.to_f64().unwrap_or(f64::NAN))
    });
    sums.collect()
}
