//! The trader: parse, dispatch, exit code.

use std::process::ExitCode as Status;

use bearish_trader::cli::{Cli, Command};
use bearish_trader::{account, app, backtest, book_task, dry_run, status, trades};
use runtime::process;

fn main() -> Status {
    let code = match process::parse::<Cli>() {
        Err(code) => code,
        Ok(cli) => match cli.command {
            Some(Command::Health) => process::run(app::health()),
            Some(Command::Status) => process::run(status::run()),
            Some(Command::Trades(args)) => process::run(trades::run(args)),
            Some(Command::Pause(args)) => process::run(account::pause(args)),
            Some(Command::Resume(args)) => process::run(account::resume(args)),
            Some(Command::Flatten(args)) => process::run(account::flatten(args)),
            Some(Command::Unlatch(args)) => process::run(account::unlatch(args)),
            Some(Command::Unhalt(args)) => process::run(book_task::release(args)),
            Some(Command::Init(args)) => process::run(account::init(args)),
            Some(Command::Backtest(args)) => backtest::run(&args),
            Some(Command::CheckFlags(args)) => app::check_flags(&args),
            None if cli.args.dry_run => process::run(dry_run::run(cli.args)),
            None => process::run(app::run(cli.args)),
        },
    };
    code.into()
}
