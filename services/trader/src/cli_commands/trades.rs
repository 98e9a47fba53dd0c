//! `trader trades`: the closed trades of every book, from the journals, as a table, CSV or JSON.

use clap::Args;
use protocol::duration::format_duration;
use protocol::exit_code::ExitCode;
use protocol::ids::{BookKey, SubjectToken};
use protocol::subject::{Subject, filter};
use protocol::time::UtcMs;
use runtime::bus::Bus;
use runtime::exit_error::ExitError;
use runtime::stdout::{OutputArgs, print_line};
use rust_decimal::Decimal;
use serde::Serialize;
use trader_core::book::{BookRecord, Position, Trade};

use super::bus_access::{connect, replay};
use super::output::{as_text, percent, signed, table, time};
use super::status::journal_keys;
use crate::app::patience::Patience;
use crate::books::book_journal::book_key;
use crate::settings::Settings;

/// Flags of `trader trades`
#[derive(Debug, Clone, Args)]
pub struct TradesArgs {
    /// Print comma-separated values with a header; times are UTC milliseconds of the exchange
    #[arg(long, conflicts_with = "json")]
    csv: bool,

    /// Only the trades of this symbol
    #[arg(long, value_name = "SYMBOL")]
    symbol: Option<SubjectToken>,

    /// Only trades closed on this UTC date or later, as 2026-01-31 or 2026-01-31T14:30
    #[arg(long, value_name = "DATE", value_parser = parse_since)]
    since: Option<UtcMs>,

    /// Only the last N trades
    #[arg(long, value_name = "N")]
    last: Option<usize>,

    #[command(flatten)]
    output: OutputArgs,
}

/// One closed trade. Amounts in USDT, times of the exchange in UTC milliseconds.
#[derive(Debug, Clone, Serialize)]
struct ClosedTrade {
    #[serde(serialize_with = "as_text")]
    book: BookKey,
    strategy: &'static str,
    side: String,
    entry_time: UtcMs,
    exit_time: UtcMs,
    quantity: Decimal,
    entry_price: Decimal,
    exit_price: Decimal,
    /// Fees of entry and exit.
    fees: Decimal,
    funding: Decimal,
    pnl: Decimal,
    equity: Decimal,
    reason: String,
}

/// Closed trades, as `--json` prints them.
#[derive(Debug, Serialize)]
struct Trades {
    trades: Vec<ClosedTrade>,
    totals: Totals,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Totals {
    trades: usize,
    winning_trades: usize,
    fees: Decimal,
    funding: Decimal,
    pnl: Decimal,
}

fn parse_since(text: &str) -> Result<UtcMs, String> {
    let full = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{text}:00Z"),
        _ => text.to_owned(),
    };
    let parsed: Result<jiff::Timestamp, _> = full.parse();
    parsed
        .map(|at| UtcMs(at.as_millisecond()))
        .map_err(|_| "expected a UTC date like 2026-01-31 or 2026-01-31T14:30".to_owned())
}

/// Prints the trades, ordered by their exit.
///
/// # Errors
/// Exit 78 for invalid settings or an unreadable journal, 69 if the bus does not answer.
pub async fn run(args: TradesArgs) -> Result<ExitCode, ExitError> {
    let settings = Settings::from_env()?;
    let patience = Patience::start();
    let bus = connect(&settings, patience).await?;
    let modes = settings.modes();
    let books = journal_keys(&bus, modes, filter::book_journals, book_key, patience).await?;
    let mut trades = Vec::new();
    for key in &books {
        if args
            .symbol
            .as_ref()
            .is_none_or(|symbol| *symbol == key.symbol)
        {
            trades.extend(read_trades(&bus, key, patience).await?);
        }
    }
    let trades = select(trades, args.since, args.last);
    if args.csv {
        print_line(&csv(&trades))?;
        return Ok(ExitCode::Success);
    }
    let result = Trades {
        totals: totals(&trades),
        trades,
    };
    args.output.print(&result, || describe(&result))?;
    Ok(ExitCode::Success)
}

async fn read_trades(
    bus: &Bus,
    key: &BookKey,
    patience: Patience,
) -> Result<Vec<ClosedTrade>, ExitError> {
    let subject = Subject::BookJournal(key.clone());
    let (_, batches) = replay::<BookRecord>(bus, &subject, patience).await?;
    let mut open = None;
    let mut trades = Vec::new();
    for record in batches.iter().flat_map(|stored| &stored.batch.records) {
        match record {
            BookRecord::PositionOpened(position) => open = Some(*position),
            BookRecord::PositionClosed(trade) => {
                trades.extend(
                    open.take()
                        .map(|position| closed_trade(key, &position, trade)),
                );
            }
            _ => {}
        }
    }
    Ok(trades)
}

fn closed_trade(key: &BookKey, position: &Position, trade: &Trade) -> ClosedTrade {
    ClosedTrade {
        book: key.clone(),
        strategy: trade.strategy.as_str(),
        side: trade.side.to_string(),
        entry_time: position.at,
        exit_time: trade.at,
        quantity: trade.quantity.to_decimal(),
        entry_price: trade.entry_price.to_decimal(),
        exit_price: trade.exit_price.to_decimal(),
        fees: position.fee.saturating_add(trade.fee),
        funding: trade.funding,
        pnl: trade.pnl,
        equity: trade.equity,
        reason: trade.reason.to_string(),
    }
}

/// Sorts by exit and keeps what the flags select.
fn select(
    mut trades: Vec<ClosedTrade>,
    since: Option<UtcMs>,
    last: Option<usize>,
) -> Vec<ClosedTrade> {
    trades.retain(|trade| since.is_none_or(|since| trade.exit_time >= since));
    trades.sort_by_key(|trade| trade.exit_time);
    let skipped = last.map_or(0, |last| trades.len().saturating_sub(last));
    trades.split_off(skipped)
}

fn totals(trades: &[ClosedTrade]) -> Totals {
    let mut totals = Totals::default();
    for trade in trades {
        totals.trades += 1;
        totals.winning_trades += usize::from(trade.pnl > Decimal::ZERO);
        totals.fees = totals.fees.saturating_add(trade.fees);
        totals.funding = totals.funding.saturating_add(trade.funding);
        totals.pnl = totals.pnl.saturating_add(trade.pnl);
    }
    totals
}

const CSV_COLUMNS: [&str; 13] = [
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

/// The trades as CSV. No field contains a comma or a quote: keys and names are tokens, the rest are numbers.
fn csv(trades: &[ClosedTrade]) -> String {
    let mut lines = vec![CSV_COLUMNS.join(",")];
    for trade in trades {
        let fields = [
            trade.book.to_string(),
            trade.strategy.to_owned(),
            trade.side.clone(),
            trade.entry_time.0.to_string(),
            trade.exit_time.0.to_string(),
            trade.quantity.normalize().to_string(),
            trade.entry_price.normalize().to_string(),
            trade.exit_price.normalize().to_string(),
            trade.fees.normalize().to_string(),
            trade.funding.normalize().to_string(),
            trade.pnl.to_string(),
            trade.equity.to_string(),
            trade.reason.clone(),
        ];
        lines.push(fields.join(","));
    }
    lines.join("\n")
}

fn describe(result: &Trades) -> String {
    let Totals {
        trades,
        winning_trades,
        fees,
        funding,
        pnl,
    } = &result.totals;
    if result.trades.is_empty() {
        return "No closed trades.".to_owned();
    }
    let row = |trade: &ClosedTrade| {
        let notional = trade.entry_price.saturating_mul(trade.quantity);
        vec![
            time(trade.exit_time),
            format!("{} {}", trade.book.account.mode, trade.book.symbol),
            trade.side.clone(),
            trade.quantity.normalize().to_string(),
            trade.entry_price.normalize().to_string(),
            trade.exit_price.normalize().to_string(),
            format_duration(trade.exit_time.since(trade.entry_time)),
            format!("{:.2}", trade.fees),
            signed(trade.pnl),
            percent(trade.pnl, notional),
            trade.reason.clone(),
            trade.strategy.to_owned(),
        ]
    };
    let header = [
        "CLOSED", "BOOK", "SIDE", "QUANTITY", "ENTRY", "EXIT", "HELD", "FEES", "PROFIT",
        "OF ENTRY", "REASON", "STRATEGY",
    ];
    let rows = table(
        &header,
        result.trades.iter().map(row),
        &[3, 4, 5, 6, 7, 8, 9],
    );
    format!(
        "{rows}\n\n{trades} trades, {winning_trades} with a profit. Profit {} USDT after {fees:.2} fees and \
         {funding:.2} funding.\nTimes are the exchange's, in UTC.",
        signed(*pnl)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    fn trade(symbol: &str, exit_day: i64, pnl: i64) -> ClosedTrade {
        let exit_time = UtcMs(1_767_571_200_000 + exit_day * DAY);
        ClosedTrade {
            book: format!("paper.binance-usdm.x.{symbol}").parse().unwrap(),
            strategy: "oversold-bounce",
            side: "long".to_owned(),
            entry_time: UtcMs(exit_time.0 - 11_520_000),
            exit_time,
            quantity: Decimal::new(25, 2),
            entry_price: Decimal::new(40_000, 0),
            exit_price: Decimal::new(40_400, 0),
            fees: Decimal::new(810, 2),
            funding: Decimal::ZERO,
            pnl: Decimal::new(pnl, 0),
            equity: Decimal::new(5_000, 0),
            reason: "target".to_owned(),
        }
    }

    #[test]
    fn trades_are_selected_by_date_and_number_and_ordered_by_exit() {
        let all = || {
            vec![
                trade("BTCUSDT", 2, 1),
                trade("ETHUSDT", 0, 2),
                trade("BTCUSDT", 1, 3),
            ]
        };
        let pnl = |trades: Vec<ClosedTrade>| {
            let pnl = trades.iter().map(|trade| trade.pnl.to_string());
            pnl.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(pnl(select(all(), None, None)), "2 3 1");
        assert_eq!(pnl(select(all(), None, Some(1))), "1");
        assert_eq!(
            pnl(select(
                all(),
                Some(parse_since("2026-01-06").unwrap()),
                None
            )),
            "3 1"
        );
        assert_eq!(parse_since("2026-01-06T00:00"), parse_since("2026-01-06"));
        assert!(parse_since("yesterday").unwrap_err().contains("2026-01-31"));
    }

    #[test]
    fn table_has_readable_times_short_names_and_totals() {
        let trades = vec![trade("BTCUSDT", 0, 100), trade("ETHUSDT", 1, -40)];
        let text = describe(&Trades {
            totals: totals(&trades),
            trades,
        });
        for expected in [
            "2026-01-05 00:00 UTC  paper BTCUSDT  long",
            "3.2h  8.10  +100.00   +1.00 %  target  oversold-bounce",
            "2 trades, 1 with a profit. Profit +60.00 USDT after 16.20 fees and 0.00 funding.",
        ] {
            assert!(text.contains(expected), "{expected:?} is not in\n{text}");
        }
    }

    #[test]
    fn csv_keeps_the_columns_and_raw_numbers() {
        let text = csv(&[trade("BTCUSDT", 0, 100)]);
        let mut lines = text.lines();
        let header = "book,strategy,side,entry_time,exit_time,quantity,entry_price,exit_price,fees,funding,pnl,\
                      equity,reason";
        assert_eq!(lines.next(), Some(header));
        let row = "paper.binance-usdm.x.BTCUSDT,oversold-bounce,long,1767559680000,1767571200000,0.25,40000,40400,\
                   8.1,0,100,5000,target";
        assert_eq!(lines.next(), Some(row));
    }
}
