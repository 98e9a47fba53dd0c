//! What the owner reads when he asks: from the newest reports and heartbeats, whoever lives. Text alone; where
//! it comes from is the body's business.

use std::collections::BTreeMap;

use protocol::heartbeat::Heartbeat;
use protocol::ids::{AccountKey, Mode, Service, SubjectToken};
use protocol::report::{AccountReport, BookReport, EquityPoint};
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use crate::command_parser::VERBS;
use crate::formatting::{format_amount, format_duration, format_pnl, format_uptime};
use crate::state::DeliveryState;
use crate::summary::{grade_process, health_label};

/// A report older than this says how old it is, in milliseconds.
const MAX_REPORT_AGE_MS: u64 = 60_000;

/// The newest heartbeat of a process.
pub type LatestHeartbeat = (Service, SubjectToken, Heartbeat);

/// One account with its newest report.
pub type LatestAccountReport = (AccountKey, AccountReport);

/// What there is to order.
pub fn help(is_greeting: bool) -> String {
    let first = is_greeting.then(|| "Welcome. What you can order:".to_owned());
    let verbs = VERBS.iter().map(|(verb, arguments, does)| {
        let call = format!("/{verb} {arguments}");
        format!("{}: {does}", call.trim_end())
    });
    let lines: Vec<String> = first.into_iter().chain(verbs).collect();
    lines.join("\n")
}

/// How every process is that has a heartbeat.
pub fn health(heartbeats: &[LatestHeartbeat], queue: String, now: UtcMs) -> String {
    let mut lines: Vec<String> = heartbeats
        .iter()
        .map(|(service, name, beat)| {
            let (health, why) = grade_process(beat, now);
            let why = why.map_or_else(String::new, |why| format!(" ({why})"));
            let up = format_uptime(beat.uptime_ms);
            format!(
                "{service} {name}: {}{why}, up {up}, {} errors",
                health_label(health),
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
pub fn queue_status(state: &DeliveryState) -> String {
    format!(
        "notifier: {} letters wait, {} messages sent, {} letters refused",
        state.queued.len(),
        state.message_counts.sent,
        state.dead_letters.len()
    )
}

/// The units, in the watchdog's words or, where none answers, by their heartbeats; then the accounts.
pub fn status(
    watchdog: &Result<String, String>,
    heartbeats: &[LatestHeartbeat],
    accounts: &[LatestAccountReport],
    now: UtcMs,
) -> String {
    let mut lines = Vec::new();
    match watchdog {
        Ok(text) => lines.push(text.clone()),
        Err(why) => {
            lines.push(format!("{why}; by the newest heartbeats:"));
            let traders = heartbeats
                .iter()
                .filter(|(service, ..)| *service == Service::Trader);
            let known: Vec<String> = traders
                .map(|(_, name, beat)| {
                    let (health, why) = grade_process(beat, now);
                    let why = why.map_or_else(String::new, |why| format!(" ({why})"));
                    format!("{name}: {}{why}", health_label(health))
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
pub fn accounts(accounts: &[LatestAccountReport], now: UtcMs) -> String {
    if accounts.is_empty() {
        return "No account has reported yet".to_owned();
    }
    let line = |(key, report): &LatestAccountReport| {
        let latch = report.latch.as_ref().map_or_else(String::new, |latch| {
            format!(
                ", 🚨 LATCHED by {} (latch {})",
                latch.trigger, latch.latch_id
            )
        });
        let unknown = join_names(&report.unvalued_books)
            .map_or_else(String::new, |books| format!(", worth not known of {books}"));
        let paused: Vec<&str> = report
            .pauses
            .iter()
            .map(|pause| {
                pause
                    .symbol
                    .as_ref()
                    .map_or("all books", SubjectToken::as_str)
            })
            .collect();
        let paused = match paused.as_slice() {
            [] => String::new(),
            paused => format!(", ⏸ no entries of {}", paused.join(", ")),
        };
        let equity = format_amount(report.equity);
        format!(
            "{key}: {equity}{latch}{paused}{unknown}{}",
            describe_age(report.at, now)
        )
    };
    accounts.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn join_names(names: &[SubjectToken]) -> Option<String> {
    let names: Vec<&str> = names.iter().map(SubjectToken::as_str).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn describe_age(at: UtcMs, now: UtcMs) -> String {
    let age = now.millis_since(at);
    if age > MAX_REPORT_AGE_MS {
        format!(" (as of {} ago)", format_duration(age))
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
                position.entry_price,
                format_pnl(book.unrealized_pnl),
                position.stop_price,
                position.target_price,
                position.strategy,
                describe_age(book.at, now),
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
pub fn performance(books: &[BookReport], accounts: &[LatestAccountReport], now: UtcMs) -> String {
    if books.is_empty() {
        return "No book has reported yet".to_owned();
    }
    let mut lines: Vec<String> = books.iter().map(|book| book_result(book, now)).collect();
    for mode in [Mode::Paper, Mode::Live] {
        lines.extend(mode_total(mode, books));
    }
    lines.push(self::accounts(accounts, now));
    lines.join("\n")
}

/// Paper and real money are never added up.
fn mode_total(mode: Mode, books: &[BookReport]) -> Option<String> {
    let of_mode = |book: &&BookReport| book.book.account.mode == mode;
    let books: Vec<&BookReport> = books.iter().filter(of_mode).collect();
    let capital: Decimal = books.iter().map(|book| book.capital).sum();
    let equity: Decimal = books.iter().map(|book| book.equity).sum();
    let trades: u64 = books.iter().map(|book| book.trades).sum();
    let line = format!(
        "Together ({mode}): {} of {}, {}, {trades} trades",
        format_amount(equity),
        format_amount(capital),
        format_pnl(equity - capital)
    );
    (!books.is_empty()).then_some(line)
}

fn book_result(book: &BookReport, now: UtcMs) -> String {
    let factor = book.profit_factor.map_or_else(String::new, |factor| {
        format!(", profit factor {}", factor.round_dp(2))
    });
    let sharpe = book.sharpe.map_or_else(String::new, |sharpe| {
        format!(", Sharpe {}", sharpe.round_dp(2))
    });
    let fall = (book.max_drawdown * Decimal::ONE_HUNDRED).round_dp(2);
    let halted = book
        .halt_reason
        .as_ref()
        .map_or_else(String::new, |why| format!(", HALTED: {why}"));
    format!(
        "{}: {} ({}), {} trades, {} won{factor}{sharpe}, largest fall {fall} %{halted}{}",
        book.book.symbol,
        format_amount(book.equity),
        format_pnl(book.equity - book.capital),
        book.trades,
        book.winning_trades,
        describe_age(book.at, now),
    )
}

/// The last messages by their headings.
pub fn logs(state: &DeliveryState) -> String {
    if state.recent_titles.is_empty() {
        return "Nothing was told yet".to_owned();
    }
    let heads = state
        .recent_titles
        .iter()
        .map(|(at, head)| format!("{at} {head}"));
    let first = format!(
        "The headings of the last {} messages, newest last:",
        state.recent_titles.len()
    );
    std::iter::once(first)
        .chain(heads)
        .collect::<Vec<_>>()
        .join("\n")
}

/// What all books together were worth, from what each was worth now and then: between two of its points a
/// book is worth what it was at the one before, and before its first what it was there.
pub fn equity_curve(books: &[Vec<EquityPoint>]) -> Vec<(UtcMs, f64)> {
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
