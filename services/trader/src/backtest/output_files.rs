//! Output files. Each is written under a temporary name and renamed when it is complete, so that an earlier file
//! stays until then.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use runtime::exit_error::ExitError;
use serde::Serialize;

use super::args::BacktestArgs;

/// An unfinished output file. Removed if it is dropped before [`OutputFile::finish`].
pub(super) struct OutputFile {
    flag: &'static str,
    path: PathBuf,
    temporary_path: PathBuf,
    file: BufWriter<File>,
    finished: bool,
}

impl OutputFile {
    /// Creates the file that a flag names.
    ///
    /// # Errors
    /// Exit 78 if the file cannot be written.
    pub(super) fn create(flag: &'static str, path: &Path) -> Result<Self, ExitError> {
        let refused = |cause: &str| {
            let path = path.display();
            ExitError::config(format!(
                "{flag} {path}: {cause}; expected a file in a directory that can be written"
            ))
        };
        if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(refused("there is something that is no file"));
        }
        let name = path.file_name().ok_or_else(|| refused("no file name"))?;
        let mut part = name.to_owned();
        part.push(".part");
        let part = path.with_file_name(part);
        let file = File::create(&part).map_err(|error| refused(&error.to_string()))?;
        Ok(Self {
            flag,
            path: path.to_owned(),
            temporary_path: part,
            file: BufWriter::new(file),
            finished: false,
        })
    }

    /// Appends one line of JSON.
    ///
    /// # Errors
    /// Exit 78 with the system's error.
    pub(super) fn write_line(&mut self, value: &impl Serialize) -> Result<(), ExitError> {
        let written = serde_json::to_writer(&mut self.file, value).map_err(io::Error::from);
        written
            .and_then(|()| self.file.write_all(b"\n"))
            .map_err(|error| self.write_error(&error))
    }

    /// Appends bytes to the file.
    ///
    /// # Errors
    /// Exit 78 with the system's error.
    pub(super) fn write_bytes(&mut self, bytes: &[u8]) -> Result<(), ExitError> {
        let written = self.file.write_all(bytes);
        written.map_err(|error| self.write_error(&error))
    }

    /// Renames the complete file to its final name.
    ///
    /// # Errors
    /// Exit 78 with the system's error.
    pub(super) fn finish(mut self) -> Result<(), ExitError> {
        let moved = self
            .file
            .flush()
            .and_then(|()| self.file.get_ref().sync_all())
            .and_then(|()| fs::rename(&self.temporary_path, &self.path));
        moved.map_err(|error| self.write_error(&error))?;
        self.finished = true;
        Ok(())
    }

    fn write_error(&self, error: &io::Error) -> ExitError {
        ExitError::config(format!("{} {}: {error}", self.flag, self.path.display()))
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if !self.finished {
            // Nothing more can be done about one that stays.
            let _ = fs::remove_file(&self.temporary_path);
        }
    }
}

/// All output files of a run.
pub(super) struct OutputFiles {
    /// The file of `--trades`.
    pub(super) trades: Option<OutputFile>,
    /// The file of `--signals`: candles on which a condition holds.
    pub(super) signals: Option<OutputFile>,
    /// The file of `--equity`: the equity at each bar.
    pub(super) equity: Option<OutputFile>,
    /// The file of `--plot`: the equity as a picture.
    pub(super) plot: Option<OutputFile>,
}

impl OutputFiles {
    /// Creates all files, before the first candle is read.
    ///
    /// # Errors
    /// Exit 78 for a file that cannot be written, or that is another file of this run.
    pub(super) fn create(args: &BacktestArgs) -> Result<Self, ExitError> {
        let mut taken: Vec<(&str, PathBuf)> = args
            .candle_paths()
            .map(|path| ("--candles", resolved_path(path)))
            .collect();
        let mut create = |flag, path: &Option<PathBuf>| {
            let Some(path) = path else { return Ok(None) };
            let own = resolved_path(path);
            if let Some((other, _)) = taken.iter().find(|(_, path)| *path == own) {
                let path = path.display();
                let why = format!("{flag} {path}: {other} has that file; expected another one");
                return Err(ExitError::config(why));
            }
            taken.push((flag, own));
            OutputFile::create(flag, path).map(Some)
        };
        Ok(Self {
            trades: create("--trades", &args.trades)?,
            signals: create("--signals", &args.signals)?,
            equity: create("--equity", &args.equity)?,
            plot: create("--plot", &args.plot)?,
        })
    }

    /// Renames all files to their final names.
    ///
    /// # Errors
    /// Exit 78 with the system's error.
    pub(super) fn finish(self) -> Result<(), ExitError> {
        [self.trades, self.signals, self.equity, self.plot]
            .into_iter()
            .flatten()
            .try_for_each(OutputFile::finish)
    }
}

/// The path with its links resolved, as far as it exists.
fn resolved_path(path: &Path) -> PathBuf {
    let whole = fs::canonicalize(path);
    whole.unwrap_or_else(|_| {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
        let folder = fs::canonicalize(folder.unwrap_or_else(|| Path::new(".")));
        match (folder, path.file_name()) {
            (Ok(folder), Some(name)) => folder.join(name),
            _ => path.to_owned(),
        }
    })
}
