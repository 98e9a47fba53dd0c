//! `trader backtest`: runs `trader_core` on a candle file and prints a summary. Needs no settings, no bus and no
//! exchange.

pub mod args;
mod candles;
mod equity_curve;
pub mod instruments;
mod jsonl;
mod output_files;
mod progress;
mod stats;
mod summary;
mod summary_json;

use protocol::exit_code::ExitCode;
use runtime::exit_error::ExitError;
use runtime::process::print_error;
use runtime::stdout::print_line;
use trader_core::backtest::{Backtest, StepOutcome};

pub use args::BacktestArgs;

use candles::BacktestCandles;
use jsonl::{SignalLine, TradeLine};
use output_files::OutputFiles;
use stats::BacktestStats;
use summary::BacktestSummary;

/// Runs a backtest and prints its summary.
pub fn run(args: &BacktestArgs) -> ExitCode {
    match run_to_summary(args).and_then(|text| print_line(text.trim_end())) {
        Ok(()) => ExitCode::Success,
        Err(stop) => {
            print_error(&stop.message);
            stop.code
        }
    }
}

/// Runs a backtest, writes its files and returns the summary as text, or as JSON if the flags say so.
///
/// # Errors
/// Exit 64 for flags that do not fit together, 78 for files that cannot be used.
pub fn run_to_summary(args: &BacktestArgs) -> Result<String, ExitError> {
    args.check()?;
    let rules = instruments::symbol_filters(args)?;
    let mut outputs = OutputFiles::create(args)?;
    let mut candles = BacktestCandles::open(&args.candles, progress::with_progress_bar)?;
    let base = candles.interval();
    let config = args.config(base)?;
    let mut book = Backtest::new(config.clone(), rules, args.capital_usdt, args.on_halt())
        .map_err(|fault| ExitError::internal(fault.to_string()))?;
    let mut tally = BacktestStats::default();
    while let Some(candle) = candles.next()? {
        let step = book
            .candle_closed(&candle)
            .map_err(|fault| ExitError::internal(fault.to_string()))?;
        tally.add_step(&candle, base, &step, &book);
        write_lines(&mut outputs, &step, &book)?;
    }
    tally.finish(&book);
    if let Some(plot) = &mut outputs.plot {
        plot.write_bytes(&tally.valuation.curve.render_png(args.symbol.as_str())?)?;
    }
    outputs.finish()?;
    let gaps = candles.gaps();
    // The progress bar goes before the summary comes.
    drop(candles);
    let summary = BacktestSummary {
        args,
        config: &config,
        gaps,
        book: &book,
        stats: &tally,
    };
    Ok(if args.output.json {
        summary.to_json().to_string()
    } else {
        summary.text()
    })
}

fn write_lines(
    outputs: &mut OutputFiles,
    step: &StepOutcome,
    book: &Backtest,
) -> Result<(), ExitError> {
    if let Some(trades) = &mut outputs.trades {
        for trade in &step.trades {
            trades.write_line(&TradeLine::from_trade(trade))?;
        }
    }
    if let Some(signals) = outputs.signals.as_mut().filter(|_| step.bar_closed)
        && let (Some(bar), Some(sight)) = (book.last_bar(), book.strategy_inputs())
    {
        for strategy in book.matching_strategies(&sight) {
            signals.write_line(&SignalLine::new(bar.open_time, strategy, &sight))?;
        }
    }
    Ok(())
}
