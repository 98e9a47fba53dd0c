//! The trading side's file: one line for each call that changed something, on the disk before the call
//! is answered. A line that was being written when the process was killed belongs to a call that was
//! never answered, and is left out. At each start the file is written anew, as one line.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::anchor::BadState;
use crate::trading::record::Batch;

const FILE: &str = "exchange-sim-trading.jsonl";
const VERSION: u32 = 1;

/// The first line: which market the rest belongs to.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    version: u32,
    market: String,
}

/// An open file.
#[derive(Debug)]
pub(crate) struct Store {
    file: File,
}

impl Store {
    /// What is stored of this market's trading, oldest first.
    ///
    /// # Errors
    /// If the file is not ours or belongs to another market.
    pub(crate) fn load(dir: &Path, market: &str) -> Result<Vec<Batch>, BadState> {
        let path = dir.join(FILE);
        let unreadable = |cause: String| BadState::Unreadable {
            file: path.display().to_string(),
            cause,
        };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(unreadable(e.to_string())),
        };
        // What follows the last line break was being written when the process ended.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut lines = whole.lines();
        let head: Head = serde_json::from_str(lines.next().unwrap_or_default())
            .map_err(|e| unreadable(e.to_string()))?;
        if head.version != VERSION {
            return Err(unreadable(format!("version {}", head.version)));
        }
        if head.market != market {
            return Err(BadState::OtherMarket {
                file: path.display().to_string(),
                stored: head.market,
                asked: market.to_owned(),
            });
        }
        let batch = |(index, line)| {
            serde_json::from_str(line).map_err(|e| unreadable(format!("line {}: {e}", index + 2)))
        };
        lines.enumerate().map(batch).collect()
    }

    /// Writes the file anew with `snapshot`, in place of the one before, and keeps it open.
    ///
    /// # Errors
    /// If the directory cannot be written.
    pub(crate) fn begin(dir: &Path, market: &str, snapshot: &Batch) -> Result<Self, BadState> {
        let write = || -> io::Result<Self> {
            let staged = dir.join(format!("{FILE}.new"));
            let head = Head {
                version: VERSION,
                market: market.to_owned(),
            };
            let mut file = File::create(&staged)?;
            file.write_all(&line(&head)?)?;
            file.write_all(&line(snapshot)?)?;
            file.sync_all()?;
            fs::rename(&staged, dir.join(FILE))?;
            File::open(dir)?.sync_all()?;
            let file = OpenOptions::new().append(true).open(dir.join(FILE))?;
            Ok(Self { file })
        };
        write().map_err(|e| BadState::Unwritable {
            dir: dir.display().to_string(),
            cause: e.to_string(),
        })
    }

    /// Stores a call's changes; they are on the disk when this returns.
    pub(crate) fn append(&mut self, batch: &Batch) -> io::Result<()> {
        self.file.write_all(&line(batch)?)?;
        self.file.sync_data()
    }
}

fn line(what: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trading::record::{Entry, Record};
    use rust_decimal::dec;

    fn batch(settled_ms: i64) -> Batch {
        let entry = Entry {
            account: "a".to_owned(),
            record: Record::Wallet(dec!(1.50)),
        };
        Batch {
            settled_ms,
            entries: vec![entry],
        }
    }

    #[test]
    fn what_was_appended_is_loaded_without_a_torn_last_line() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Store::load(dir.path(), "m").unwrap().is_empty());
        let mut store = Store::begin(dir.path(), "m", &batch(1)).unwrap();
        store.append(&batch(2)).unwrap();
        store.file.write_all(b"{\"settled_ms\":3").unwrap();
        let loaded = Store::load(dir.path(), "m").unwrap();
        assert_eq!(loaded, [batch(1), batch(2)]);
    }

    #[test]
    fn a_broken_line_in_the_middle_and_another_market_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::begin(dir.path(), "m", &batch(1)).unwrap();
        let other = Store::load(dir.path(), "n").unwrap_err().to_string();
        assert!(
            other.contains("\"m\"") && other.contains("\"n\""),
            "{other}"
        );
        store.file.write_all(b"{\"settled\n").unwrap();
        store.append(&batch(2)).unwrap();
        let refused = Store::load(dir.path(), "m").unwrap_err().to_string();
        assert!(refused.contains("line 3"), "{refused}");
    }
}
