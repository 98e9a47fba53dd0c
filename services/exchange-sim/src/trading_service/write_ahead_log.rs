//! Write-ahead log of trading: one line for each call that changed something, on disk before the call is answered. A
//! torn last line belongs to a call that was never answered, and is dropped. Each start compacts the file into one
//! line.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::state_file::InvalidState;
use crate::trading::record::CallRecords;

const FILE_NAME: &str = "exchange-sim-trading.jsonl";
const VERSION: u32 = 3;

/// First line: version and market of the log.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct LogHeader {
    version: u32,
    market: String,
}

/// Log that is open for appending.
#[derive(Debug)]
pub(crate) struct WriteAheadLog {
    file: File,
}

impl WriteAheadLog {
    /// The stored records of this market, oldest first.
    ///
    /// # Errors
    /// [`InvalidState`] if the file cannot be read, was not written by this version, or belongs to another market.
    pub(crate) fn load(dir: &Path, market: &str) -> Result<Vec<CallRecords>, InvalidState> {
        let path = dir.join(FILE_NAME);
        let unreadable = |cause: String| InvalidState::Unreadable {
            file: path.display().to_string(),
            error: cause,
        };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(unreadable(e.to_string())),
        };
        // The text after the last line break is a torn line.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut lines = whole.lines();
        let head: LogHeader = serde_json::from_str(lines.next().unwrap_or_default())
            .map_err(|e| unreadable(e.to_string()))?;
        if head.version != VERSION {
            return Err(unreadable(format!("version {}", head.version)));
        }
        if head.market != market {
            return Err(InvalidState::OtherMarket {
                file: path.display().to_string(),
                stored: head.market,
                requested: market.to_owned(),
            });
        }
        let batch = |(index, line)| {
            serde_json::from_str(line).map_err(|e| unreadable(format!("line {}: {e}", index + 2)))
        };
        lines.enumerate().map(batch).collect()
    }

    /// Replaces the file by one that contains only `snapshot`, and opens it for appending.
    ///
    /// # Errors
    /// [`InvalidState::Unwritable`] if the directory cannot be written.
    pub(crate) fn create(
        dir: &Path,
        market: &str,
        snapshot: &CallRecords,
    ) -> Result<Self, InvalidState> {
        let write = || -> io::Result<Self> {
            let staged = dir.join(format!("{FILE_NAME}.new"));
            let head = LogHeader {
                version: VERSION,
                market: market.to_owned(),
            };
            let mut file = File::create(&staged)?;
            file.write_all(&to_line(&head)?)?;
            file.write_all(&to_line(snapshot)?)?;
            file.sync_all()?;
            fs::rename(&staged, dir.join(FILE_NAME))?;
            File::open(dir)?.sync_all()?;
            let file = OpenOptions::new().append(true).open(dir.join(FILE_NAME))?;
            Ok(Self { file })
        };
        write().map_err(|e| InvalidState::Unwritable {
            dir: dir.display().to_string(),
            error: e.to_string(),
        })
    }

    /// Appends the changes of a call; they are on disk when this returns.
    pub(crate) fn append(&mut self, batch: &CallRecords) -> io::Result<()> {
        self.file.write_all(&to_line(batch)?)?;
        self.file.sync_data()
    }
}

fn to_line(what: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trading::record::{LogRecord, Record};
    use rust_decimal::dec;

    fn call_records(settled_ms: i64) -> CallRecords {
        let entry = LogRecord {
            account: "a".to_owned(),
            record: Record::Wallet(dec!(1.50)),
        };
        CallRecords {
            matched_until_ms: settled_ms,
            records: vec![entry],
        }
    }

    #[test]
    fn appended_records_are_loaded_without_a_torn_last_line() {
        let dir = tempfile::tempdir().unwrap();
        assert!(WriteAheadLog::load(dir.path(), "m").unwrap().is_empty());
        let mut store = WriteAheadLog::create(dir.path(), "m", &call_records(1)).unwrap();
        store.append(&call_records(2)).unwrap();
        store.file.write_all(b"{\"matched_until_ms\":3").unwrap();
        let loaded = WriteAheadLog::load(dir.path(), "m").unwrap();
        assert_eq!(loaded, [call_records(1), call_records(2)]);
    }

    #[test]
    fn broken_middle_line_and_another_market_are_rejected() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = WriteAheadLog::create(dir.path(), "m", &call_records(1)).unwrap();
        let other = WriteAheadLog::load(dir.path(), "n")
            .unwrap_err()
            .to_string();
        assert!(
            other.contains("\"m\"") && other.contains("\"n\""),
            "{other}"
        );
        store.file.write_all(b"{\"matched\n").unwrap();
        store.append(&call_records(2)).unwrap();
        let refused = WriteAheadLog::load(dir.path(), "m")
            .unwrap_err()
            .to_string();
        assert!(refused.contains("line 3"), "{refused}");
    }
}
