//! The state file: identity of the market, and exchange time at a wall time. A restart needs nothing else, because
//! the market follows from its identity.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{ClockStart, exchange_elapsed_ms};

const FILE_NAME: &str = "exchange-sim.json";
const VERSION: u32 = 1;

/// Content of the state file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateFile {
    version: u32,
    /// [`Market::identity`](crate::market::Market::identity) of its market.
    market: String,
    exchange_ms: i64,
    wall_ms: i64,
    running: bool,
}

/// Error of the state directory, in one line.
#[derive(Debug, thiserror::Error)]
pub enum InvalidState {
    /// The file belongs to another market.
    #[error(
        "state file {file} belongs to the market \"{stored}\", not to \"{requested}\"; set that market again, or empty SIM_STATE_DIR (scripts/down --volumes)"
    )]
    OtherMarket {
        /// Path of the file.
        file: String,
        /// Identity of the stored market.
        stored: String,
        /// Identity of the configured market.
        requested: String,
    },
    /// The file was not written by this version of exchange-sim.
    #[error("state file {file}: {error}; expected a file written by exchange-sim, or none")]
    Unreadable {
        /// Path of the file.
        file: String,
        /// Error of reading it.
        error: String,
    },
    /// The directory cannot be written.
    #[error("SIM_STATE_DIR=\"{dir}\": expected a directory that this process may write: {error}")]
    Unwritable {
        /// Path of the directory.
        dir: String,
        /// Error of the operating system.
        error: String,
    },
}

impl StateFile {
    /// The state at a wall time.
    pub fn new(market: &str, exchange_ms: i64, wall_ms: i64, running: bool) -> Self {
        Self {
            version: VERSION,
            market: market.to_owned(),
            exchange_ms,
            wall_ms,
            running,
        }
    }

    /// The stored state of `market`; `None` without a file.
    ///
    /// # Errors
    /// [`InvalidState`] if the file cannot be read, was not written by this version, or belongs to another market.
    pub fn load(dir: &Path, market: &str) -> Result<Option<Self>, InvalidState> {
        let path = dir.join(FILE_NAME);
        let unreadable = |cause: String| InvalidState::Unreadable {
            file: path.display().to_string(),
            error: cause,
        };
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(unreadable(e.to_string())),
        };
        let anchor: Self = serde_json::from_slice(&text).map_err(|e| unreadable(e.to_string()))?;
        if anchor.version != VERSION {
            return Err(unreadable(format!("version {}", anchor.version)));
        }
        if anchor.market != market {
            return Err(InvalidState::OtherMarket {
                file: path.display().to_string(),
                stored: anchor.market,
                requested: market.to_owned(),
            });
        }
        Ok(Some(anchor))
    }

    /// Replaces the file atomically.
    ///
    /// # Errors
    /// [`InvalidState::Unwritable`] if the directory cannot be written.
    pub fn store(&self, dir: &Path) -> Result<(), InvalidState> {
        let write = || -> io::Result<()> {
            let staged: PathBuf = dir.join(format!("{FILE_NAME}.new"));
            let mut file = File::create(&staged)?;
            file.write_all(&serde_json::to_vec(self)?)?;
            file.sync_all()?;
            fs::rename(&staged, dir.join(FILE_NAME))?;
            File::open(dir)?.sync_all()
        };
        write().map_err(|e| InvalidState::Unwritable {
            dir: dir.display().to_string(),
            error: e.to_string(),
        })
    }

    /// Start of the clock at `wall_ms`, as if it had run all the time. A wall clock that was set back does not set
    /// exchange time back.
    pub fn clock_start(&self, wall_ms: i64, speed: f64, ends_ms: Option<i64>) -> ClockStart {
        let elapsed_ms = u64::try_from(wall_ms.saturating_sub(self.wall_ms)).unwrap_or(0);
        let passed = if self.running {
            exchange_elapsed_ms(Duration::from_millis(elapsed_ms), speed)
        } else {
            0
        };
        ClockStart {
            exchange_ms: self.exchange_ms.saturating_add(passed),
            running: self.running,
            ends_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_clock_advances_while_the_process_is_down() {
        let anchor = StateFile::new("m", 1_000, 50_000, true);
        assert_eq!(anchor.clock_start(52_000, 60.0, None).exchange_ms, 121_000);
        let held = StateFile::new("m", 1_000, 50_000, false);
        assert_eq!(held.clock_start(52_000, 60.0, None).exchange_ms, 1_000);
    }

    #[test]
    fn exchange_time_does_not_go_back_if_the_wall_clock_does() {
        let anchor = StateFile::new("m", 1_000, 50_000, true);
        assert_eq!(anchor.clock_start(10_000, 60.0, None).exchange_ms, 1_000);
    }

    #[test]
    fn stored_state_is_loaded_and_rejected_for_another_market() {
        let dir = tempfile::tempdir().unwrap();
        assert!(StateFile::load(dir.path(), "a").unwrap().is_none());
        let anchor = StateFile::new("a", 7, 8, true);
        anchor.store(dir.path()).unwrap();
        assert_eq!(StateFile::load(dir.path(), "a").unwrap(), Some(anchor));
        let refused = StateFile::load(dir.path(), "b").unwrap_err().to_string();
        assert!(
            refused.contains("\"a\"") && refused.contains("\"b\""),
            "{refused}"
        );
    }

    #[test]
    fn broken_state_file_is_rejected_in_one_line() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE_NAME), "{\"version\":1").unwrap();
        let refused = StateFile::load(dir.path(), "a").unwrap_err().to_string();
        assert!(
            refused.contains(FILE_NAME) && !refused.contains('\n'),
            "{refused}"
        );
    }
}
