//! The trader's command line: the flags of `protocol::trader_args`, and the commands beside trading.

use clap::{Parser, Subcommand};
use protocol::trader_args::TraderArgs;

use crate::account::{FlattenArgs, InitArgs, PauseArgs, UnlatchArgs};
use crate::backtest::BacktestArgs;
use crate::book_task::UnhaltArgs;
use crate::trades::TradesArgs;

/// Trades its books without end; says on the bus how it is
#[derive(Debug, Parser)]
#[command(name = "trader", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// How to trade.
    #[command(flatten)]
    pub args: TraderArgs,

    /// What to do instead.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Commands beside trading.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask the trader running here how it is (exit 0: well, 69: it waits for something else, 70: it hangs)
    Health,
    /// Show every book: equity, position, trades
    Status,
    /// List every closed trade
    Trades(TradesArgs),
    /// Stop entries; positions are managed as before
    Pause(PauseArgs),
    /// Let entries be made again
    Resume(PauseArgs),
    /// Close everything at the market and latch the account
    Flatten(FlattenArgs),
    /// End the latch that closed the account
    Unlatch(UnlatchArgs),
    /// Let a halted book go on
    Unhalt(UnhaltArgs),
    /// Begin a live account on this bus
    Init(InitArgs),
    /// Trade a candle file as a trader would have, and say what came of it
    Backtest(Box<BacktestArgs>),
    /// Check trading flags and print what they mean, without starting anything
    CheckFlags(TraderArgs),
}
