//! Exit codes of all processes. The watchdog decides by them.

use std::fmt;

/// Exit code of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ExitCode {
    /// Finished, or stopped on request. The watchdog does not restart the unit.
    Success = 0,
    /// A cycle of `--duration` finished under `--auto-restart`. The watchdog starts the next cycle.
    CycleFinished = 20,
    /// The account is latched. The unit is not restarted until an operator ends the latch.
    AccountLatched = 21,
    /// Invalid command line (`EX_USAGE`).
    Usage = 64,
    /// A dependency is unavailable; of commands and `--dry-run` only (`EX_UNAVAILABLE`).
    Unavailable = 69,
    /// A bug, or exhausted retries (`EX_SOFTWARE`). The watchdog restarts the unit.
    Internal = 70,
    /// Another process runs under the same instance name.
    DuplicateInstance = 71,
    /// Invalid configuration, which only the operator can correct (`EX_CONFIG`).
    Config = 78,
}

impl ExitCode {
    /// All exit codes, in ascending order.
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

    /// Number that the operating system reports.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Exit code of a number; `None` if no process of this system exits with it.
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|code| i64::from(code.number()) == number)
    }

    /// Meaning as a short phrase, for logs and messages.
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
