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
            Some(Command::Preview) => process::run(async { preview::run() }),
            Some(Command::SendTest { text }) => process::run(send_test::run(text)),
            Some(Command::Health) => process::run(app::health()),
            Some(Command::Status(args)) => process::run(status::run(args.json)),
            Some(Command::Resend(args)) => process::run(resend::run(args.selection())),
        },
    };
    code.into()
}
