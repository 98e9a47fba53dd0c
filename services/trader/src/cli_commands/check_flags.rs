//! `trader check-flags`: checks trading flags for scripts.

use protocol::exit_code::ExitCode;
use protocol::trader_args::TraderArgs;
use runtime::exit_error::ExitError;
use runtime::process::print_error;
use runtime::stdout::print_line;

use crate::app::startup;

/// Prints the mode that the flags select; exit 64 if they are invalid.
pub fn run(args: &TraderArgs) -> ExitCode {
    let printed = match startup::check_mode(args) {
        Err(error) if error.code == ExitCode::Usage => Err(error),
        _ => print_line(&args.mode().to_string()),
    };
    printed.map_or_else(
        |ExitError { code, message }| {
            print_error(&message);
            code
        },
        |()| ExitCode::Success,
    )
}
