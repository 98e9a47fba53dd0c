//! The files that paths name: a file, a directory with files, a pattern.

use std::fs;
use std::path::{Path, PathBuf};

use crate::container::unreadable;
use crate::error::InvalidCandleFile;

/// Endings of files that a directory is searched for.
const ENDINGS: [&str; 6] = [".csv", ".csv.gz", ".zip", ".json", ".json.gz", ".jsonl"];

/// The files of these paths, sorted. A path with `*`, `?` or `[` that is no file is a pattern.
///
/// # Errors
/// [`InvalidCandleFile`] for a directory or a pattern without files.
pub(crate) fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, InvalidCandleFile> {
    let mut files = Vec::new();
    for path in paths {
        let text = path.to_string_lossy();
        if path.is_dir() {
            files.extend(files_of_directory(path)?);
        } else if text.contains(['*', '?', '[']) && !path.exists() {
            files.extend(files_of_pattern(&text)?);
        } else {
            files.push(path.clone());
        }
    }
    files.sort();
    files.dedup();
    Ok(files)
}

fn files_of_directory(path: &Path) -> Result<Vec<PathBuf>, InvalidCandleFile> {
    let name = path.display().to_string();
    let entries = fs::read_dir(path).map_err(|error| unreadable(&name, &error))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| unreadable(&name, &error))?.path();
        let file = path
            .file_name()
            .map(|name| name.to_string_lossy().to_lowercase());
        let is_candles = |name: &str| {
            !name.starts_with('.') && ENDINGS.iter().any(|ending| name.ends_with(ending))
        };
        if path.is_file() && file.is_some_and(|name| is_candles(&name)) {
            files.push(path);
        }
    }
    if files.is_empty() {
        let found = "a directory without candle files";
        return Err(no_files(&name, found, &ENDINGS.join(", ")));
    }
    Ok(files)
}

fn files_of_pattern(pattern: &str) -> Result<Vec<PathBuf>, InvalidCandleFile> {
    let found = glob::glob(pattern).map_err(|error| unreadable(pattern, &error))?;
    let files: Vec<PathBuf> = found.flatten().filter(|path| path.is_file()).collect();
    if files.is_empty() {
        return Err(no_files(
            pattern,
            "no file matches the pattern",
            "existing files",
        ));
    }
    Ok(files)
}

fn no_files(file: &str, found: &str, expected: &str) -> InvalidCandleFile {
    InvalidCandleFile::OtherKind {
        file: file.to_owned(),
        found: found.to_owned(),
        help: format!("expected {expected}"),
    }
}
