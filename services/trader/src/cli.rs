//! The trader's command line: the flags of `protocol::trader_args`, and the commands beside trading.

use std::fmt::Write as _;

use clap::{CommandFactory, Parser, Subcommand};
use protocol::trader_args::TraderArgs;
use runtime::stdout::OutputArgs;

use crate::backtest::BacktestArgs;
use crate::cli_commands::account_commands::{AcceptArgs, FlattenArgs, PauseArgs, UnlatchArgs};
use crate::cli_commands::init::InitArgs;
use crate::cli_commands::trades::TradesArgs;
use crate::cli_commands::unhalt::UnhaltArgs;
use crate::settings::Settings;

/// Trades books on Binance USD-M futures, in paper or live mode
#[derive(Debug, Parser)]
#[command(name = "trader", version, args_conflicts_with_subcommands = true,
          after_long_help = settings_help(), after_help = "Settings: see --help")]
pub struct Cli {
    /// Flags of a trader that trades, without a subcommand.
    #[command(flatten)]
    pub args: TraderArgs,

    /// Format of the dry run's output.
    #[command(flatten)]
    pub output: OutputArgs,

    /// A command beside trading.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Commands that end by themselves, unlike trading.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check the local trader's health (exit 0 healthy, 69 waiting for a dependency, 70 hung)
    Health(OutputArgs),
    /// Show every account and book: profit, position, rejected signals
    Status(OutputArgs),
    /// List the closed trades
    Trades(TradesArgs),
    /// Stop entries; open positions are still managed
    Pause(PauseArgs),
    /// Permit entries again after a pause
    Resume(PauseArgs),
    /// Close all positions at the market and latch the account
    Flatten(FlattenArgs),
    /// Accept an unexplained difference of the exchange's balance
    Accept(AcceptArgs),
    /// End the latch of the account
    Unlatch(UnlatchArgs),
    /// End the halt of a book
    Unhalt(UnhaltArgs),
    /// Open a live account on this bus
    Init(InitArgs),
    /// Run the strategies on a candle file and print the result
    Backtest(Box<BacktestArgs>),
    /// Check trading flags and print the mode they select
    #[command(hide = true)]
    CheckFlags(TraderArgs),
}

/// All settings with default and description, for `--help`.
fn settings_help() -> String {
    let mut text = String::from("Settings (environment variables, in .env):");
    for setting in Settings::command().get_arguments() {
        let Some(name) = setting.get_env().and_then(|name| name.to_str()) else {
            continue;
        };
        let default: Vec<_> = setting
            .get_default_values()
            .iter()
            .map(|value| value.to_string_lossy())
            .collect();
        let help = setting
            .get_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        let _ = write!(text, "\n  {name}\n          {help}");
        if !default.is_empty() {
            let _ = write!(text, " [default: {}]", default.join(","));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_lists_every_setting_with_its_default() {
        let help = Cli::command().render_long_help().to_string();
        for name in [
            "SYMBOLS",
            "CAPITAL_USDT",
            "NATS_URL",
            "BINANCE_API_KEY_FILE",
            "LOG_LEVEL",
        ] {
            assert!(
                help.contains(&format!("\n  {name}\n")),
                "{name} is not in\n{help}"
            );
        }
        assert!(
            help.contains("[default: BTCUSDT,ETHUSDT,SOLUSDT]"),
            "{help}"
        );
        assert!(!help.contains("check-flags"), "{help}");
    }

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
