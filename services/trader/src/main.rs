//! The trader: parses the command line, runs the command, ends with its exit code.

use bearish_trader::cli::{Cli, Command};
use bearish_trader::{app, backtest, cli_commands as commands};
use runtime::process;

fn main() -> std::process::ExitCode {
    let code = match process::parse::<Cli>() {
        Err(code) => code,
        Ok(cli) => match cli.command {
            Some(Command::Health(output)) => process::run(commands::health::run(output)),
            Some(Command::Status(output)) => process::run(commands::status::run(output)),
            Some(Command::Trades(args)) => process::run(commands::trades::run(args)),
            Some(Command::Pause(args)) => process::run(commands::account_commands::pause(args)),
            Some(Command::Resume(args)) => process::run(commands::account_commands::resume(args)),
            Some(Command::Flatten(args)) => process::run(commands::account_commands::flatten(args)),
            Some(Command::Accept(args)) => process::run(commands::account_commands::accept(args)),
            Some(Command::Unlatch(args)) => process::run(commands::account_commands::unlatch(args)),
            Some(Command::Unhalt(args)) => process::run(commands::unhalt::run(args)),
            Some(Command::Init(args)) => process::run(commands::init::run(args)),
            Some(Command::Backtest(args)) => backtest::run(&args),
            Some(Command::CheckFlags(args)) => commands::check_flags::run(&args),
            None if cli.args.dry_run => process::run(commands::dry_run::run(cli.args, cli.output)),
            None => process::run(app::run(cli.args)),
        },
    };
    code.into()
}
