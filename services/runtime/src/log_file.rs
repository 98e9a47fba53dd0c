//! A log file of bounded size: when it is full it is renamed, and the oldest of the renamed files is deleted.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

/// Size above which a file is renamed, in bytes.
const MAX_BYTES: u64 = 10 * 1024 * 1024;
/// Renamed files that are kept, beside the current one: `.log.1` to `.log.4`.
const MAX_RENAMED: u32 = 4;
/// Bytes that wait until the file is opened; more are dropped.
const MAX_PENDING_BYTES: usize = 64 * 1024;

/// Writer of one process's log file; cheap to clone. Lines that are written before [`open`](Self::open) wait for it.
#[derive(Debug, Clone, Default)]
pub struct LogFile(Arc<Mutex<State>>);

#[derive(Debug)]
enum State {
    Pending(Vec<u8>),
    Open(RotatedFile),
}

impl Default for State {
    fn default() -> Self {
        Self::Pending(Vec::new())
    }
}

impl LogFile {
    /// Opens `<dir>/<name>.log`, appends to what it has, and writes the waiting lines.
    ///
    /// # Errors
    /// If the file cannot be opened or written.
    pub fn open(&self, dir: &Path, name: &str) -> io::Result<()> {
        let mut file = RotatedFile::open(dir.join(format!("{name}.log")), MAX_BYTES)?;
        let mut state = self.state();
        if let State::Pending(lines) = &*state {
            file.write_line(lines)?;
        }
        *state = State::Open(file);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for &LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match &mut *self.state() {
            State::Pending(lines) if lines.len() + line.len() <= MAX_PENDING_BYTES => {
                lines.extend_from_slice(line);
            }
            State::Pending(_) => {}
            // Standard output has the line: a full disk must not end the process.
            State::Open(file) => drop(file.write_line(line)),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

#[derive(Debug)]
struct RotatedFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    max_bytes: u64,
}

impl RotatedFile {
    fn open(path: PathBuf, max_bytes: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self {
            path,
            file,
            bytes,
            max_bytes,
        })
    }

    fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if self.bytes > 0 && self.bytes.saturating_add(length) > self.max_bytes {
            self.rotate()?;
        }
        self.file.write_all(line)?;
        self.bytes = self.bytes.saturating_add(length);
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..MAX_RENAMED).rev() {
            let renamed = fs::rename(self.renamed(number), self.renamed(number + 1));
            ignore_missing(renamed)?;
        }
        fs::rename(&self.path, self.renamed(1))?;
        *self = Self::open(self.path.clone(), self.max_bytes)?;
        Ok(())
    }

    fn renamed(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temporary_dir(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("bearish-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn log_file_has_the_lines_from_before_it_was_opened() {
        let dir = temporary_dir("log-file");
        let log = LogFile::default();
        (&log).write_all(b"early\n").unwrap();
        log.open(&dir, "trader-trader-paper-1").unwrap();
        (&log).write_all(b"late\n").unwrap();
        let text = fs::read_to_string(dir.join("trader-trader-paper-1.log")).unwrap();
        assert_eq!(text, "early\nlate\n");
        let again = LogFile::default();
        again.open(&dir, "trader-trader-paper-1").unwrap();
        (&again).write_all(b"after a restart\n").unwrap();
        let text = fs::read_to_string(dir.join("trader-trader-paper-1.log")).unwrap();
        assert_eq!(text, "early\nlate\nafter a restart\n");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn log_files_are_bounded_in_size_and_number() {
        let dir = temporary_dir("rotated");
        let mut file = RotatedFile::open(dir.join("x.log"), 10).unwrap();
        for number in 10..30 {
            file.write_line(format!("line {number}\n").as_bytes())
                .unwrap();
        }
        let mut found: Vec<(String, String)> = fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                (name, fs::read_to_string(path).unwrap())
            })
            .collect();
        found.sort();
        let expected = [
            ("x.log", 29),
            ("x.log.1", 28),
            ("x.log.2", 27),
            ("x.log.3", 26),
            ("x.log.4", 25),
        ];
        let expected = expected.map(|(name, number)| (name.to_owned(), format!("line {number}\n")));
        assert_eq!(found, expected);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn unwritable_directory_is_an_error() {
        let log = LogFile::default();
        assert!(log.open(Path::new("/nowhere/at/all"), "x").is_err());
    }
}
