//! Entry point of socket-guard.

use std::process::ExitCode as Status;

use bearish_socket_guard::app;
use bearish_socket_guard::cli::{Cli, Command};
use runtime::process;

fn main() -> Status {
    let code = match process::parse::<Cli>() {
        Err(code) => code,
        Ok(cli) => match cli.command {
            // One thread: a handler that does not return stops the whole loop, which the hang detector finds.
            None => process::run_single_threaded(app::run()),
            Some(Command::Health(output)) => process::run(app::health(output)),
        },
    };
    code.into()
}
