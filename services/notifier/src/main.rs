//! The notifier: parse, dispatch, exit code.

use std::process::ExitCode as Status;

use bearish_notifier::cli::{Cli, Command};
use bearish_notifier::{app, preview, status};
use runtime::process;

fn main() -> Status {
    let code = match process::parse::<Cli>() {
        Err(code) => code,
        Ok(cli) => match cli.command {
            None => process::run(app::run()),
            Some(Command::Preview) => process::run(async { preview::run() }),
            Some(Command::Health) => process::run(app::health()),
            Some(Command::Status) => process::run(status::run()),
        },
    };
    code.into()
}
