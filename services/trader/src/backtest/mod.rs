//! `trader backtest`: runs `trader_core` on candle files and prints a summary. Needs no settings, no bus and no exchange.

pub mod args;
mod candles;
mod candles_arg;
mod curve;
mod format;
mod inputs;
pub mod instruments;
mod jsonl;
mod output_files;
mod period;
mod progress;
mod readiness;
mod stats;
mod summary;
mod summary_json;
mod totals;
mod valuation;

use candles::BacktestCandles;
use protocol::exit_code::ExitCode;
use protocol::time::UtcMs;
use runtime::exit_error::ExitError;
use runtime::process::print_error;
use runtime::stdout::print_line;
use rust_decimal::Decimal;
use trader_core::backtest::{Backtest, BacktestBook, ClosedTrade};
use trader_core::candle::{Candle, Interval};

pub use args::BacktestArgs;

use args::usage;
use jsonl::{EquityLine, SignalLine, TradeLine};
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
    let mut outputs = OutputFiles::create(args)?;
    let mut candles = open_candles(args)?;
    let base = base_interval(&candles)?;
    let config = args.config(base)?;
    let filters = candles.iter().map(|input| input.filters().clone());
    let slice = args.slice(candles.len());
    let backtest = Backtest::new(&config, filters.collect(), slice, args.on_halt());
    let mut run = Run {
        base,
        backtest: backtest.map_err(|fault| ExitError::internal(fault.to_string()))?,
        stats: BacktestStats::new(candles.len(), base),
    };
    run.trade(args, &mut candles, &mut outputs)?;
    run.stats.finish();
    if let (Some(plot), Some(valuation)) = (&mut outputs.plot, &run.stats.valuation) {
        let symbols: Vec<&str> = run
            .backtest
            .books()
            .iter()
            .map(BacktestBook::symbol)
            .collect();
        plot.write_bytes(&valuation.curve.render_png(&symbols.join(", "))?)?;
    }
    let inputs: Vec<_> = candles
        .iter()
        .map(|input| (input.description(), input.gaps()))
        .collect();
    // The progress bar goes before the summary comes.
    drop(candles);
    let summary = BacktestSummary {
        args,
        config: &config,
        inputs: &inputs,
        backtest: &run.backtest,
        stats: &run.stats,
    };
    summary.check_named_strategies()?;
    outputs.finish()?;
    Ok(if args.output.json {
        summary.to_json().to_string()
    } else {
        summary.text()
    })
}

fn open_candles(args: &BacktestArgs) -> Result<Vec<BacktestCandles>, ExitError> {
    let symbols = args.symbols()?;
    let slice = args.slice(symbols.len());
    let of_one_symbol = [
        ("--tick-size", args.tick_size.is_some()),
        ("--lot-size", args.lot_size.is_some()),
        ("--min-notional", args.min_notional.is_some()),
    ];
    if symbols.len() > 1
        && let Some((flag, _)) = of_one_symbol.iter().find(|(_, is_given)| *is_given)
    {
        return Err(usage(format!(
            "{flag}: expected one symbol, there are {}",
            symbols.len()
        )));
    }
    let filters = symbols
        .iter()
        .map(|files| instruments::symbol_filters(args, &files.symbol, slice));
    let filters: Vec<_> = filters.collect::<Result<_, _>>()?;
    let open = |(files, filters)| BacktestCandles::open(files, filters, args.columns.clone());
    symbols.iter().zip(filters).map(open).collect()
}

/// The interval of all candles.
fn base_interval(candles: &[BacktestCandles]) -> Result<Interval, ExitError> {
    let mut intervals = candles.iter().map(BacktestCandles::interval);
    let base = intervals.next().unwrap_or(Interval::M1);
    match intervals.find(|interval| *interval != base) {
        Some(other) => Err(ExitError::config(format!(
            "--candles: candles of {base} and of {other}; expected one interval, as a trader has one BASE_INTERVAL"
        ))),
        None => Ok(base),
    }
}

/// A backtest that is running.
struct Run {
    base: Interval,
    backtest: Backtest,
    stats: BacktestStats,
}

impl Run {
    /// Trades the candles of all symbols in order of time.
    fn trade(
        &mut self,
        args: &BacktestArgs,
        candles: &mut [BacktestCandles],
        outputs: &mut OutputFiles,
    ) -> Result<(), ExitError> {
        while let Some(time) = candles.iter().filter_map(BacktestCandles::next_open).min() {
            if args.to.is_some_and(|to| time >= to) {
                break;
            }
            let is_traded = args.from.is_none_or(|from| time >= from);
            for (index, input) in candles.iter_mut().enumerate() {
                if input.next_open() != Some(time) {
                    continue;
                }
                let Some(candle) = input.take()? else {
                    continue;
                };
                if is_traded {
                    self.candle_closed(index, &candle, outputs)?;
                } else {
                    self.backtest
                        .warm_up_candle(index, &candle)
                        .map_err(|fault| ExitError::internal(fault.to_string()))?;
                    self.stats.add_warm_up(index, &candle);
                }
            }
            if is_traded {
                self.value_account(self.base.close_of(time), outputs)?;
            }
        }
        Ok(())
    }

    #[inline]
    fn candle_closed(
        &mut self,
        index: usize,
        candle: &Candle,
        outputs: &mut OutputFiles,
    ) -> Result<(), ExitError> {
        let step = self.backtest.candle_closed(index, candle);
        let step = step.map_err(|fault| ExitError::internal(fault.to_string()))?;
        self.stats
            .add_book_step(index, candle, &step, &self.backtest);
        for trade in &step.trades {
            self.write_trade(index, trade, outputs)?;
        }
        if step.bar_closed {
            self.write_signals(index, outputs)?;
        }
        Ok(())
    }

    #[inline]
    fn value_account(&mut self, close: UtcMs, outputs: &mut OutputFiles) -> Result<(), ExitError> {
        let step = self.backtest.value_account(close);
        let step = step.map_err(|fault| ExitError::internal(fault.to_string()))?;
        for (index, trade) in &step.trades {
            self.write_trade(*index, trade, outputs)?;
        }
        let equity = self.stats.add_account_step(close, &step, &self.backtest);
        if let (Some(equity), Some(file)) = (equity, &mut outputs.equity) {
            file.write_line(&EquityLine::new(close, equity))?;
        }
        Ok(())
    }

    fn write_trade(
        &self,
        index: usize,
        trade: &ClosedTrade,
        outputs: &mut OutputFiles,
    ) -> Result<(), ExitError> {
        match &mut outputs.trades {
            Some(file) => file.write_line(&TradeLine::new(self.symbol(index), trade)),
            None => Ok(()),
        }
    }

    fn write_signals(&self, index: usize, outputs: &mut OutputFiles) -> Result<(), ExitError> {
        let book = &self.backtest.books()[index];
        if let Some(file) = &mut outputs.signals
            && let (Some(bar), Some(sight)) = (book.last_bar(), book.strategy_inputs())
        {
            for strategy in book.matching_strategies(&sight) {
                file.write_line(&SignalLine::new(
                    book.symbol(),
                    bar.open_time,
                    strategy,
                    &sight,
                ))?;
            }
        }
        Ok(())
    }

    fn symbol(&self, index: usize) -> &str {
        self.backtest.books()[index].symbol()
    }
}

impl BacktestArgs {
    /// Capital of one of so many books, rounded down to cents as a trader does.
    fn slice(&self, books: usize) -> Decimal {
        let books = Decimal::from(books.max(1));
        (self.capital_usdt / books).trunc_with_scale(2).normalize()
    }
}
