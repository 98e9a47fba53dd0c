//! The numbers with which a process ends. The watchdog decides by them, so they are part of the protocol.

use std::fmt;

/// Every exit code of every service, with what the reader of it should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ExitCode {
    /// Done, or stopped on request. Do not start it again.
    Success = 0,
    /// A cycle of `--duration` finished under `--auto-restart`. Start the next one.
    CycleFinished = 20,
    /// A critical circuit breaker closed everything. Only an operator may start it again.
    AccountLatched = 21,
    /// The command line is wrong (`EX_USAGE`).
    Usage = 64,
    /// A dependency is missing; only from `--dry-run` (`EX_UNAVAILABLE`).
    Unavailable = 69,
    /// A bug or an exhausted retry (`EX_SOFTWARE`). Worth a restart.
    Internal = 70,
    /// Another process runs under this instance's name.
    DuplicateInstance = 71,
    /// Configuration or pre-flight that cannot heal by itself (`EX_CONFIG`).
    Config = 78,
}

impl ExitCode {
    /// All of them, in order.
    pub const ALL: [Self; 8] = [
        Self::Success,
        Self::CycleFinished,
        Self::AccountLatched,
        Self::Usage,
        Self::Unavailable,
        Self::Internal,
        Self::DuplicateInstance,
        Self::Config,
    ];

    /// The number the operating system sees.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The code behind a number, if it is one of ours.
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|code| i64::from(code.number()) == number)
    }

    /// A few words for logs and messages.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Success => "finished or stopped on request",
            Self::CycleFinished => "cycle finished",
            Self::AccountLatched => "account latched",
            Self::Usage => "invalid command line",
            Self::Unavailable => "a dependency is unavailable",
            Self::Internal => "internal error",
            Self::DuplicateInstance => "duplicate instance",
            Self::Config => "invalid configuration",
        }
    }
}

impl fmt::Display for ExitCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.number(), self.meaning())
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_code_numbers_are_the_documented_ones_and_parse() {
        let numbers: Vec<u8> = ExitCode::ALL.iter().map(|c| c.number()).collect();
        assert_eq!(numbers, [0, 20, 21, 64, 69, 70, 71, 78]);
        for code in ExitCode::ALL {
            assert_eq!(ExitCode::from_number(code.number().into()), Some(code));
        }
        assert_eq!(ExitCode::from_number(137), None);
    }
}
