//! A progress bar, shown only on a terminal.

use std::fs::File;
use std::io::{self, IsTerminal, Read};

use indicatif::{ProgressBar, ProgressStyle};

const TEMPLATE: &str = "{percent:>3} % {wide_bar} {eta} left";

/// A file with a progress bar on standard error. The bar disappears when the file is closed.
struct ProgressReader {
    file: File,
    bar: ProgressBar,
}

/// Wraps the file in a progress bar if standard error is a terminal.
pub(super) fn with_progress_bar(file: File) -> Box<dyn Read> {
    let length = file.metadata().map_or(0, |found| found.len());
    if !io::stderr().is_terminal() || length == 0 {
        return Box::new(file);
    }
    let style = ProgressStyle::with_template(TEMPLATE);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(length).with_style(style);
    Box::new(ProgressReader { file, bar })
}

impl Read for ProgressReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.bar.inc(count as u64);
        Ok(count)
    }
}

impl Drop for ProgressReader {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
