//! The watchdog: parse, dispatch, exit code.

use std::process::ExitCode as Status;

use bearish_watchdog::cli::{Cli, Command};
use bearish_watchdog::{app, orders, status};
use runtime::process;

fn main() -> Status {
    let code = match process::parse::<Cli>() {
        Err(code) => code,
        Ok(cli) => match cli.command {
            None => process::run(app::run()),
            Some(Command::Health) => process::run(app::health()),
            Some(Command::Status) => return status::main(),
            Some(Command::Release { unit, total }) => process::run(orders::release(unit, total)),
        },
    };
    code.into()
}
