//! Text of replies to commands, made from the newest reports and heartbeats. Works without any trader running.

use std::collections::BTreeMap;

use protocol::command::UnitStatus;
use protocol::duration::format_ms;
use protocol::heartbeat::Heartbeat;
use protocol::ids::{AccountKey, Mode, Service, SubjectToken};
use protocol::report::{AccountReport, BookReport, EquityPoint};
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use crate::command_parser::VERBS;
use crate::formatting::{
    format_amount, format_percent, format_pnl, format_time, mode_label, trader_label,
};
use crate::state::DeliveryState;
use crate::summary::{grade_process, health_label};

/// Age from which the age of a report is shown, in milliseconds.
const MAX_REPORT_AGE_MS: u64 = 60_000;

/// Newest heartbeat of a process, with its service and instance.
pub type LatestHeartbeat = (Service, SubjectToken, Heartbeat);

/// Newest report of an account.
pub type LatestAccountReport = (AccountKey, AccountReport);

/// Reply to `/help`; with a greeting when a user opens the chat.
pub fn help(is_greeting: bool) -> String {
    let first = is_greeting.then(|| "Welcome. Commands:".to_owned());
    let verbs = VERBS.iter().map(|(verb, arguments, effect)| {
        let command = format!("/{verb} {arguments}");
        format!("{}: {effect}", command.trim_end())
    });
    let lines: Vec<String> = first.into_iter().chain(verbs).collect();
    lines.join("\n")
}

/// Reply to `/health`: every process with a heartbeat, then the notifier's queue.
pub fn health(heartbeats: &[LatestHeartbeat], queue_status: String, now: UtcMs) -> String {
    let mut lines: Vec<String> = heartbeats
        .iter()
        .map(|(service, name, heartbeat)| {
            let (health, reason) = grade_process(heartbeat, now);
            let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
            let uptime = format_ms(heartbeat.uptime_ms);
            format!(
                "{service} {name}: {}{reason}, uptime {uptime}, {} errors",
                health_label(health),
                heartbeat.errors
            )
        })
        .collect();
    if lines.is_empty() {
        lines.push("No heartbeats received".to_owned());
    }
    lines.push(queue_status);
    lines.join("\n")
}

/// State of the notifier's queue in one line.
pub fn queue_status(state: &DeliveryState) -> String {
    format!(
        "notifier: {} notifications queued, {} messages sent, {} dead letters",
        state.queued.len(),
        state.message_counts.sent,
        state.dead_letters.len()
    )
}

/// Reply to `/status`: the units as the watchdog reports them, or by their heartbeats if it does not answer, then the
/// accounts. The number of its first lines that are a table, narrow enough for a phone, comes with it.
pub fn status(
    watchdog: &Result<Vec<UnitStatus>, String>,
    heartbeats: &[LatestHeartbeat],
    accounts: &[LatestAccountReport],
    now: UtcMs,
) -> (String, usize) {
    let mut lines = Vec::new();
    let mut table_lines = 0;
    match watchdog {
        Ok(units) if units.is_empty() => lines.push("The watchdog knows no unit yet".to_owned()),
        Ok(units) => {
            lines.extend(unit_table(units));
            table_lines = lines.len();
            lines.extend(units.iter().filter_map(unit_remark));
        }
        Err(error) => {
            lines.push(format!("{error}; by the newest heartbeats:"));
            let traders = heartbeats
                .iter()
                .filter(|(service, ..)| *service == Service::Trader);
            let traders: Vec<String> = traders
                .map(|(_, name, heartbeat)| {
                    let (health, reason) = grade_process(heartbeat, now);
                    let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
                    let name = trader_label(name.as_str());
                    format!("{name}: {}{reason}", health_label(health))
                })
                .collect();
            lines.push(if traders.is_empty() {
                "No heartbeat of a trader received".to_owned()
            } else {
                traders.join("\n")
            });
        }
    }
    lines.push(self::accounts(accounts, now));
    (lines.join("\n"), table_lines)
}

/// Name, phase and restarts of each unit in aligned columns.
fn unit_table(units: &[UnitStatus]) -> Vec<String> {
    let header = ["UNIT", "STATE", "RESTARTS"].map(str::to_owned);
    let row = |unit: &UnitStatus| {
        [
            unit.unit.to_string(),
            unit.phase.replace('_', " "),
            format!("{}/{}", unit.restarts, unit.max_restarts),
        ]
    };
    let rows: Vec<[String; 3]> = std::iter::once(header)
        .chain(units.iter().map(row))
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let (name, state) = (width(0), width(1));
    let line =
        |[unit, phase, restarts]: &[String; 3]| format!("{unit:name$} {phase:state$} {restarts}");
    rows.iter().map(line).collect()
}

/// Hold, next start and last failure of a unit; `None` for a unit that runs without any of them.
fn unit_remark(unit: &UnitStatus) -> Option<String> {
    let hold = unit.hold.as_ref();
    let hold = hold.map(|hold| format!("on hold by {}: {}", hold.by, hold.reason));
    let next = unit
        .next_start_ms
        .map(|ms| format!("next start in {}", format_ms(ms)));
    let failures = match unit.consecutive_failures {
        0 => None,
        1 => Some("1 failure".to_owned()),
        number => Some(format!("{number} failures in a row")),
    };
    let is_failing = unit.phase != "running" || failures.is_some();
    let reason = unit.last_reason.as_ref().filter(|_| is_failing);
    let reason = reason.map(|reason| format!("last reason: {reason}"));
    let remarks: Vec<String> = [hold, next, failures, reason]
        .into_iter()
        .flatten()
        .collect();
    let name = trader_label(unit.unit.as_str());
    (!remarks.is_empty()).then(|| format!("{name}: {}", remarks.join(", ")))
}

/// Equity of every account, with its latch and pauses.
pub fn accounts(accounts: &[LatestAccountReport], now: UtcMs) -> String {
    if accounts.is_empty() {
        return "No account report received yet".to_owned();
    }
    let line = |(key, report): &LatestAccountReport| {
        let latch = report.latch.as_ref().map_or_else(String::new, |latch| {
            format!(
                ", 🛑 LATCHED by {}: no entries until /unlatch {}",
                latch.trigger, latch.latch_id
            )
        });
        let unvalued = join_names(&report.unvalued_books)
            .map_or_else(String::new, |books| format!(", no value for {books}"));
        let symbols: Vec<&str> = report
            .pauses
            .iter()
            .map(|pause| {
                pause
                    .symbol
                    .as_ref()
                    .map_or("all symbols", SubjectToken::as_str)
            })
            .collect();
        let paused = match symbols.as_slice() {
            [] => String::new(),
            symbols => format!(", ⏸️ entries paused: {}", symbols.join(", ")),
        };
        let equity = format_amount(report.equity);
        format!(
            "{mode} {key}: {equity}{latch}{paused}{unvalued}{}",
            describe_age(report.at, now),
            mode = mode_label(key.mode)
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
        format!(" (as of {} ago)", format_ms(age))
    } else {
        String::new()
    }
}

/// Reply to `/positions`: one line for each open position.
pub fn positions(books: &[BookReport], now: UtcMs) -> String {
    if books.is_empty() {
        return "No book report received yet".to_owned();
    }
    let lines: Vec<String> = books
        .iter()
        .filter_map(|book| {
            let position = book.position.as_ref()?;
            let price = book
                .price
                .map_or_else(String::new, |price| format!(", now {price}"));
            Some(format!(
                "{} {} {} {} at {}{price}: {}, stop {}, target {}, {}{}",
                mode_label(book.book.account.mode),
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
        format!("No open positions in {} books", books.len())
    } else {
        lines.join("\n")
    }
}

/// Reply to `/performance`: result of every book, totals of each mode, accounts.
pub fn performance(books: &[BookReport], accounts: &[LatestAccountReport], now: UtcMs) -> String {
    if books.is_empty() {
        return "No book report received yet".to_owned();
    }
    let mut lines: Vec<String> = books.iter().map(|book| book_result(book, now)).collect();
    for mode in [Mode::Paper, Mode::Live] {
        lines.extend(mode_total(mode, books));
    }
    lines.push(self::accounts(accounts, now));
    lines.join("\n")
}

/// Total of all books of a mode; `None` without books. Paper and live are never added up.
fn mode_total(mode: Mode, books: &[BookReport]) -> Option<String> {
    let of_mode = |book: &&BookReport| book.book.account.mode == mode;
    let books: Vec<&BookReport> = books.iter().filter(of_mode).collect();
    let capital: Decimal = books.iter().map(|book| book.capital).sum();
    let equity: Decimal = books.iter().map(|book| book.equity).sum();
    let trades: u64 = books.iter().map(|book| book.trades).sum();
    let line = format!(
        "All {} books: equity {}, capital {}, profit {}{}, {trades} trades",
        mode_label(mode),
        format_amount(equity),
        format_amount(capital),
        format_pnl(equity - capital),
        format_percent(equity - capital, capital)
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
    let drawdown = (book.max_drawdown * Decimal::ONE_HUNDRED).round_dp(2);
    let halted = book
        .halt_reason
        .as_ref()
        .map_or_else(String::new, |reason| format!(", 🚨 HALTED: {reason}"));
    format!(
        "{} {}: equity {}, profit {}, {} trades, {} won{factor}{sharpe}, max drawdown {drawdown} %{halted}{}",
        mode_label(book.book.account.mode),
        book.book.symbol,
        format_amount(book.equity),
        format_pnl(book.equity - book.capital),
        book.trades,
        book.winning_trades,
        describe_age(book.at, now),
    )
}

/// Reply to `/logs`: headings of the last notifications.
pub fn logs(state: &DeliveryState) -> String {
    if state.recent_titles.is_empty() {
        return "No notifications yet".to_owned();
    }
    let titles = state
        .recent_titles
        .iter()
        .map(|(at, title)| format!("{} {title}", format_time(*at)));
    let first = format!(
        "Headings of the last {} notifications, newest last:",
        state.recent_titles.len()
    );
    std::iter::once(first)
        .chain(titles)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Sum of the equity of all books over time. Between two of its points a book has the equity of the earlier one; before
/// its first point, the equity of that point.
pub fn equity_curve(books: &[Vec<EquityPoint>]) -> Vec<(UtcMs, f64)> {
    let mut latest: Vec<Decimal> = Vec::new();
    let mut changes: BTreeMap<UtcMs, Vec<(usize, Decimal)>> = BTreeMap::new();
    for (book, points) in books.iter().filter(|points| !points.is_empty()).enumerate() {
        latest.push(points.first().map_or(Decimal::ZERO, |point| point.equity));
        for point in points {
            changes
                .entry(point.at)
                .or_default()
                .push((book, point.equity));
        }
    }
    let sums = changes.into_iter().map(|(at, changed)| {
        for (book, equity) in changed {
            if let Some(latest) = latest.get_mut(book) {
                *latest = equity;
            }
        }
        let sum: Decimal = latest.iter().sum();
        (at, sum.to_f64().unwrap_or(f64::NAN))
    });
    sums.collect()
}
