//! The watchdog: parse, dispatch, exit code.

use std::process::ExitCode as Status;

use bearish_watchdog::cli::{Cli, Command};
use bearish_watchdog::{app, asking};
use runtime::process;

fn main() -> Status {
    match process::parse::<Cli>() {
        Err(code) => code.into(),
        Ok(Cli { command: None }) => process::run_alone(app::run()).into(),
        Ok(Cli {
            command: Some(Command::Health),
        }) => process::run_alone(app::health()).into(),
        Ok(Cli {
            command: Some(command),
        }) => asking::main(command),
    }
}
