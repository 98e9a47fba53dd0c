//! How a process begins and ends: command line in, exit code out, one line on standard error when
//! it refuses.

use std::future::Future;

use clap::Parser;
use protocol::exit_code::ExitCode;
use tokio::runtime::Builder;

use crate::settings::ignore_empty_variables;

/// A reason to end, with the exit code that tells the reader of it what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExitError {
    /// What the process ends with.
    pub code: ExitCode,
    /// One line for a person. Never holds a secret.
    pub message: String,
}

impl ExitError {
    /// Configuration that cannot heal by itself: exit 78.
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(ExitCode::Config, message)
    }

    /// A bug or an exhausted retry: exit 70.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ExitCode::Internal, message)
    }

    /// Any code.
    pub fn new(code: ExitCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// Parses this process's command line.
///
/// # Errors
/// `Success` after printing help or version, `Usage` after printing one line that names the flag, the
/// value and what is allowed.
pub fn parse<P: Parser>() -> Result<P, ExitCode> {
    // An empty variable counts as not set, here as in `settings`.
    let matched = ignore_empty_variables(P::command()).try_get_matches();
    let parsed = matched.and_then(|matches| P::from_arg_matches(&matches));
    parsed.map_err(|error| {
        if error.use_stderr() {
            print_error(&one_line(&error));
            ExitCode::Usage
        } else {
            // A closed standard output is no reason to fail `--help`.
            let _ = error.print();
            ExitCode::Success
        }
    })
}

/// The first sentence of clap's error: what was wrong and what is allowed.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let sentence = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = sentence.split_whitespace().collect();
    let line = words.join(" ");
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    format!("{line} (see --help)")
}

/// Runs the body on a small multi-threaded runtime and turns its end into an exit code.
pub fn run<F>(body: F) -> ExitCode
where
    F: Future<Output = Result<ExitCode, ExitError>>,
{
    run_on(Builder::new_multi_thread().worker_threads(2), body)
}

/// The same on this thread alone: for who mostly waits. Nothing wakes another thread to do a little.
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
            // A blocking call that hangs (name resolution) must not hold up the end.
            runtime.shutdown_background();
            ended
        }
        Err(error) => Err(ExitError::internal(format!(
            "cannot start threads: {error}"
        ))),
    };
    ended.unwrap_or_else(|stop| {
        print_error(&stop.message);
        stop.code
    })
}

/// One line on standard error, with the program's name before it.
#[allow(
    clippy::print_stderr,
    reason = "the last word of a process must reach the terminal even without a log"
)]
pub fn print_error(line: &str) {
    let program = std::env::args().next().unwrap_or_default();
    let program = program.rsplit('/').next().unwrap_or_default();
    eprintln!("{program}: {line}");
}
