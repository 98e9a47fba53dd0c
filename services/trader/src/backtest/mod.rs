//! `trader backtest`: a candle file through the engine that trades, and what came of it. Needs no
//! environment, no bus and no exchange. What a candle leads to is the engine's business.

pub mod args;
mod candles;
mod curve;
mod lines;
mod output;
mod progress;
pub mod rules;
mod table;
mod tally;

use std::io::Write;

use engine::backtest::{Backtest, Step};
use protocol::exit::ExitCode;
use runtime::process::{Stop, complain};

pub use args::BacktestArgs;

use candles::{BadFile, CandleFile};
use lines::{SignalLine, TradeLine};
use output::Outputs;
use table::Report;
use tally::Tally;

/// Runs it and prints the summary.
pub fn run(args: &BacktestArgs) -> ExitCode {
    match report(args) {
        Ok(text) => {
            // A reader that went away is no reason to fail: the files are written.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::Done
        }
        Err(stop) => {
            complain(&stop.message);
            stop.code
        }
    }
}

/// Runs it, writes the files, returns the summary.
///
/// # Errors
/// Exit 64 for flags that do not fit together, 78 for files that cannot be used.
pub fn report(args: &BacktestArgs) -> Result<String, Stop> {
    args.check()?;
    let rules = rules::rules(args)?;
    let mut outputs = Outputs::create(args)?;
    let mut candles = CandleFile::open(&args.candles, progress::watched).map_err(bad_file)?;
    let base = candles.interval();
    let config = args.config(base)?;
    let mut book = Backtest::new(config.clone(), rules, args.capital, args.after_halt())
        .map_err(|fault| Stop::internal(fault.to_string()))?;
    let mut tally = Tally::default();
    while let Some(candle) = candles.next().map_err(bad_file)? {
        let step = book
            .candle_closed(&candle)
            .map_err(|fault| Stop::internal(fault.to_string()))?;
        tally.take(&candle, base, &step, &book);
        write(&mut outputs, &step, &book)?;
    }
    tally.end(&book);
    if let Some(plot) = &mut outputs.plot {
        plot.bytes(&tally.worth.curve.picture(args.symbol.as_str())?)?;
    }
    outputs.finish()?;
    let gaps = candles.gaps();
    // The progress bar goes before the summary comes.
    drop(candles);
    Ok(Report {
        args,
        config: &config,
        gaps,
        book: &book,
        tally: &tally,
    }
    .text())
}

fn write(outputs: &mut Outputs, step: &Step, book: &Backtest) -> Result<(), Stop> {
    if let Some(trades) = &mut outputs.trades {
        for trade in &step.trades {
            trades.line(&TradeLine::of(trade))?;
        }
    }
    if let Some(signals) = outputs.signals.as_mut().filter(|_| step.bar_closed)
        && let (Some(bar), Some(sight)) = (book.last_bar(), book.sight())
    {
        for strategy in book.holding(&sight) {
            signals.line(&SignalLine::of(bar.open_time, strategy, &sight))?;
        }
    }
    Ok(())
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err takes"
)]
fn bad_file(bad: BadFile) -> Stop {
    Stop::config(bad.to_string())
}
