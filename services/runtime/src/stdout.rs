//! Output of commands. A reader that closes the pipe, such as `head`, ends the output without an error.

use std::io::{self, ErrorKind, Write};

use clap::Args;
use serde::Serialize;

use crate::exit_error::ExitError;

/// Format of a command's output
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct OutputArgs {
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

impl OutputArgs {
    /// Prints the result of a command as JSON or as text.
    ///
    /// # Errors
    /// As [`print_lines`].
    pub fn print(
        self,
        result: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), ExitError> {
        if self.json {
            let json = serde_json::to_string(result)
                .map_err(|error| ExitError::internal(format!("output as JSON: {error}")))?;
            return print_line(&json);
        }
        print_line(&text())
    }
}

/// Prints lines to standard output.
///
/// # Errors
/// Exit 70 if standard output cannot be written. A closed pipe is not an error.
pub fn print_lines<L: AsRef<str>>(lines: impl IntoIterator<Item = L>) -> Result<(), ExitError> {
    write_lines(&mut io::stdout().lock(), lines)
        .map_err(|error| ExitError::internal(format!("standard output: {error}")))
}

/// Prints one line to standard output.
///
/// # Errors
/// As [`print_lines`].
pub fn print_line(line: &str) -> Result<(), ExitError> {
    print_lines([line])
}

fn write_lines<L: AsRef<str>>(
    out: &mut impl Write,
    lines: impl IntoIterator<Item = L>,
) -> io::Result<()> {
    let write = || {
        for line in lines {
            writeln!(out, "{}", line.as_ref())?;
        }
        out.flush()
    };
    match write() {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing(ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn closed_pipe_ends_the_output_and_any_other_failure_is_an_error() {
        assert!(write_lines(&mut Failing(ErrorKind::BrokenPipe), ["a", "b"]).is_ok());
        assert!(write_lines(&mut Failing(ErrorKind::StorageFull), ["a"]).is_err());
        let mut out = Vec::new();
        write_lines(&mut out, ["a", "b"]).unwrap();
        assert_eq!(out, b"a\nb\n");
    }
}
