//! Start and end of a process: the command line, the tokio runtime, the exit code, and one line on standard error.

use std::ffi::OsString;
use std::future::Future;

use clap::{Command, Parser};
use protocol::exit_code::ExitCode;
use protocol::redact::redact;
use tokio::runtime::Builder;

pub use crate::exit_error::ExitError;
use crate::settings::{self, ignore_empty_variables};

/// Parses the command line of this process. A flag with a variable takes its value from there if it is not typed.
///
/// # Errors
/// After printing: `Success` for help and version; `Usage` for an invalid command line, in one line that names the
/// flag, the value and what is expected; `Config` for an invalid variable, in one line that names the variable.
pub fn parse<P: Parser>() -> Result<P, ExitCode> {
    parse_from(std::env::args_os())
}

fn parse_from<P: Parser>(arguments: impl IntoIterator<Item = OsString>) -> Result<P, ExitCode> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let command = ignore_empty_variables(P::command());
    let matched = command.clone().try_get_matches_from(&arguments);
    let parsed = matched.and_then(|matches| P::from_arg_matches(&matches));
    parsed.map_err(|error| {
        if !error.use_stderr() {
            // A closed standard output does not make `--help` fail.
            let _ = error.print();
            return ExitCode::Success;
        }
        let ExitError { code, message } = command_line_error(&command, &error, &arguments);
        print_error(&message);
        code
    })
}

/// Error of the variable, if the rejected value came from one; else of the command line.
fn command_line_error(command: &Command, error: &clap::Error, arguments: &[OsString]) -> ExitError {
    settings::variable_error(command, error, arguments)
        .unwrap_or_else(|| ExitError::new(ExitCode::Usage, describe_usage_error(error)))
}

/// Clap's error in one line, with clap's suggestions.
fn describe_usage_error(error: &clap::Error) -> String {
    let text = error.to_string();
    let mut paragraphs = text.split("\n\n");
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let what = one_line(paragraphs.next().unwrap_or_default());
    let what = what.strip_prefix("error: ").unwrap_or(&what).to_owned();
    let tips = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("tip: "));
    let suggestions = tips.filter(|tip| tip.contains("similar")).map(one_line);
    let notes: Vec<String> = suggestions.chain(["see --help".to_owned()]).collect();
    format!("{what} ({})", notes.join("; "))
}

/// Runs the body on a runtime with two threads and returns its exit code.
pub fn run<F>(body: F) -> ExitCode
where
    F: Future<Output = Result<ExitCode, ExitError>>,
{
    run_on(Builder::new_multi_thread().worker_threads(2), body)
}

/// Runs the body on this thread alone and returns its exit code: for processes that mostly wait.
pub fn run_single_threaded<F>(body: F) -> ExitCode
where
    F: Future<Output = Result<ExitCode, ExitError>>,
{
    run_on(&mut Builder::new_current_thread(), body)
}

fn run_on<F>(builder: &mut Builder, body: F) -> ExitCode
where
    F: Future<Output = Result<ExitCode, ExitError>>,
{
    let ended = match builder.enable_all().build() {
        Ok(runtime) => {
            let ended = runtime.block_on(body);
            // A blocking call that hangs, such as a name lookup, must not delay the exit.
            runtime.shutdown_background();
            ended
        }
        Err(error) => Err(ExitError::internal(format!(
            "cannot start threads: {error}"
        ))),
    };
    ended.unwrap_or_else(|error| {
        print_error(&error.message);
        error.code
    })
}

/// Prints one line on standard error, behind the name of the program and without its secrets.
#[allow(
    clippy::print_stderr,
    reason = "the last line of a process must reach the terminal even without a log"
)]
pub fn print_error(line: &str) {
    let program = std::env::args().next().unwrap_or_default();
    let program = program.rsplit('/').next().unwrap_or_default();
    eprintln!("{program}: {}", redact(line));
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[derive(Parser, Debug)]
    #[command(name = "sample")]
    struct Sample {
        #[arg(long)]
        paper: bool,
        #[arg(long, env = "PATH_COUNT_OF_TEST", value_name = "COUNT",
              value_parser = settings::whole_number::<u8>(1..=9))]
        count: Option<u8>,
        #[arg(long, env = "PATH", value_name = "SPEED",
              value_parser = settings::whole_number::<u8>(1..=9))]
        speed: Option<u8>,
        #[command(subcommand)]
        action: Option<Action>,
    }

    #[derive(clap::Subcommand, Debug)]
    enum Action {
        Explain,
    }

    fn error_of(arguments: &[&str]) -> ExitError {
        error_of_command(
            &Sample::command().mut_arg("speed", |arg| arg.env(None)),
            arguments,
        )
    }

    fn error_of_command(command: &Command, arguments: &[&str]) -> ExitError {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        let error = command
            .clone()
            .try_get_matches_from(&arguments)
            .unwrap_err();
        command_line_error(command, &error, &arguments)
    }

    #[test]
    fn misspelled_argument_is_reported_with_the_similar_one() {
        let error = error_of(&["sample", "--papper"]);
        assert_eq!(error.code, ExitCode::Usage);
        assert_eq!(
            error.message,
            "unexpected argument '--papper' found (a similar argument exists: '--paper'; see --help)"
        );
        let error = error_of(&["sample", "explian"]);
        assert_eq!(
            error.message,
            "unrecognized subcommand 'explian' (a similar subcommand exists: 'explain'; see --help)"
        );
    }

    /// `PATH` is a variable that is set and is not a number.
    #[test]
    fn rejected_variable_is_named_instead_of_its_flag_and_is_invalid_configuration() {
        let error = error_of_command(&Sample::command(), &["sample"]);
        let path = std::env::var("PATH").unwrap();
        assert_eq!(error.code, ExitCode::Config);
        assert_eq!(
            error.message,
            format!("PATH={path:?}: expected a whole number from 1 to 9")
        );
        let typed = error_of_command(&Sample::command(), &["sample", "--speed", "x"]);
        assert_eq!(typed.code, ExitCode::Usage);
        assert!(
            typed.message.contains("'--speed <SPEED>'"),
            "{}",
            typed.message
        );
    }

    #[test]
    fn rejected_flag_is_named_as_typed() {
        let error = error_of(&["sample", "--count", "10"]);
        assert_eq!(error.code, ExitCode::Usage);
        assert_eq!(
            error.message,
            "invalid value '10' for '--count <COUNT>': expected a whole number from 1 to 9 (see --help)"
        );
    }
}
