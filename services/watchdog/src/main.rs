//! The `watchdog` program.

use bearish_watchdog::cli::{Cli, Command};
use bearish_watchdog::{app, command_client};
use runtime::process;

fn main() -> std::process::ExitCode {
    match process::parse::<Cli>() {
        Err(code) => code.into(),
        Ok(Cli { command: None }) => process::run_single_threaded(app::run()).into(),
        Ok(Cli {
            command: Some(Command::Health(output)),
        }) => process::run_single_threaded(app::health(output)).into(),
        Ok(Cli {
            command: Some(command),
        }) => command_client::main(command),
    }
}
