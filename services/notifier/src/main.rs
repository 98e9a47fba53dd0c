//! Entry point of the notifier: parses the command line and runs the command.

use std::process::ExitCode as Status;

use bearish_notifier::cli::{Cli, Command};
use bearish_notifier::{app, preview, resend, send_test, status};
use runtime::process;

fn main() -> Status {
    let code = match process::parse::<Cli>() {
        Err(code) => code,
        Ok(cli) => match cli.command {
            None => process::run(app::run()),
            Some(Command::Preview(output)) => process::run(async move { preview::run(output) }),
            Some(Command::SendTest { text, output }) => process::run(send_test::run(text, output)),
            Some(Command::Health(output)) => process::run(app::health(output)),
            Some(Command::Status(args)) => process::run(status::run(args)),
            Some(Command::Resend {
                dead_letters,
                output,
            }) => process::run(resend::run(dead_letters.selection(), output)),
        },
    };
    code.into()
}
