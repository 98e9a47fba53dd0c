//! The error that ends a process.

use protocol::exit_code::ExitCode;

/// Reason to end the process, with its exit code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExitError {
    /// Exit code of the process.
    pub code: ExitCode,
    /// One line for the operator. Never holds a secret.
    pub message: String,
}

impl ExitError {
    /// Invalid configuration, which only the operator can correct: exit 78.
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(ExitCode::Config, message)
    }

    /// A bug or exhausted retries: exit 70.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ExitCode::Internal, message)
    }

    /// Error with this exit code.
    pub fn new(code: ExitCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}
