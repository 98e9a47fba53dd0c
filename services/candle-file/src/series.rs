//! [`CandleSeries`]: the candles of one symbol from one or several files, in order of time.
//!
//! Files may follow each other or overlap; a candle that occurs twice with the same prices counts once. A file whose newest
//! candle comes first is read into memory and turned round.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::container::{TableSource, tables};
use crate::error::InvalidCandleFile;
use crate::layout::ColumnNames;
use crate::paths::files;
use crate::row::CandleRow;
use crate::table::Table;

/// Most rows of a file whose newest candle comes first: ten years of minutes, about 250 MB of memory.
pub const MAX_REVERSED_ROWS: usize = 5_300_000;
/// Most files that are read at the same time because they overlap.
const MAX_OVERLAPPING: usize = 64;

type WrapReader = Box<dyn Fn(File) -> Box<dyn Read>>;

/// The candles of one symbol.
pub struct CandleSeries {
    columns: ColumnNames,
    wrap_reader: WrapReader,
    /// Tables that are not open yet, by the time of their first candle.
    pending: VecDeque<(i64, TableSource)>,
    open: Vec<OpenTable>,
    /// The table that ended last.
    ended: Option<OpenTable>,
    /// Index of the table of the newest row.
    newest: usize,
    last: Option<CandleRow>,
    duplicates: u64,
    table_count: usize,
    kinds: BTreeSet<&'static str>,
    paths: Vec<PathBuf>,
}

/// A table that is being read, with its next row.
struct OpenTable {
    table: Table,
    /// Rows that were read ahead, in order of time.
    ahead: VecDeque<CandleRow>,
    next: Option<CandleRow>,
}

impl CandleSeries {
    /// Opens files, directories with files, or patterns; `-` is standard input. Files are read through `wrap_reader`, which
    /// can show the progress.
    ///
    /// # Errors
    /// [`InvalidCandleFile`] for a file that cannot be read, is of another kind, or lacks a column.
    pub fn open(
        paths: &[PathBuf],
        columns: ColumnNames,
        wrap_reader: impl Fn(File) -> Box<dyn Read> + 'static,
    ) -> Result<Self, InvalidCandleFile> {
        let paths = files(paths)?;
        let mut sources = Vec::new();
        for path in &paths {
            sources.extend(tables(path)?);
        }
        let mut series = Self {
            columns,
            wrap_reader: Box::new(wrap_reader),
            pending: VecDeque::new(),
            open: Vec::new(),
            ended: None,
            newest: 0,
            last: None,
            duplicates: 0,
            table_count: sources.len(),
            kinds: BTreeSet::new(),
            paths,
        };
        if let [source] = &sources[..] {
            let table = series.open_table(source)?;
            series.kinds.insert(table.table.kind());
            series.open.push(table);
            return Ok(series);
        }
        let mut pending = Vec::new();
        for source in sources {
            if source.is_single_use() {
                return Err(InvalidCandleFile::OtherKind {
                    file: source.name,
                    found: "a stream beside other files".to_owned(),
                    help: "expected a stream alone, or files".to_owned(),
                });
            }
            let table = series.open_table(&source)?;
            series.kinds.insert(table.table.kind());
            if let Some(first) = table.next {
                pending.push((first.open_time_ms, source));
            }
        }
        pending.sort_by_key(|(first_ms, _)| *first_ms);
        series.pending = pending.into();
        Ok(series)
    }

    /// The next candle, later than the one before; `None` after the last.
    ///
    /// # Errors
    /// [`InvalidCandleFile`] for an invalid row, for candles that are neither in order nor in reverse order, and for two
    /// candles of one time with different prices.
    #[allow(
        clippy::should_implement_trait,
        reason = "an iterator would continue after an error"
    )]
    #[inline]
    pub fn next(&mut self) -> Result<Option<CandleRow>, InvalidCandleFile> {
        loop {
            let Some(index) = self.earliest()? else {
                return Ok(None);
            };
            let Some(row) = self.open[index].take()? else {
                self.ended = Some(self.open.remove(index));
                continue;
            };
            match self.last {
                Some(last) if row.open_time_ms <= last.open_time_ms => {
                    if !row.is_same_candle(&last) {
                        let previous = last.open_time_ms;
                        let expected = if row.open_time_ms == previous {
                            format!(
                                "later than the candle before, {previous}: the same time with other prices"
                            )
                        } else {
                            format!("later than the candle before, {previous}")
                        };
                        return Err(self.open[index].table.invalid_time(&row, expected));
                    }
                    self.duplicates += 1;
                }
                _ => {
                    self.last = Some(row);
                    self.newest = index;
                    return Ok(Some(row));
                }
            }
        }
    }

    /// Number of candles that occurred twice.
    pub const fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// What was found, for example `Binance portal, 12 files`.
    pub fn description(&self) -> String {
        let kinds: Vec<&str> = self.kinds.iter().copied().collect();
        let files = match self.table_count {
            1 => "1 file".to_owned(),
            count => format!("{count} files"),
        };
        format!("{}, {files}", kinds.join(" and "))
    }

    /// The error that a row's open time is not the `expected` one.
    pub fn invalid_open_time(&self, row: &CandleRow, expected: String) -> InvalidCandleFile {
        match self.open.get(self.newest).or(self.ended.as_ref()) {
            Some(open) => open.table.invalid_time(row, expected),
            None => self.invalid_row_count(0, expected),
        }
    }

    /// The error that the files have too few rows.
    pub fn invalid_row_count(&self, rows: usize, expected: String) -> InvalidCandleFile {
        let file = self.paths.first().map_or(Path::new("-"), PathBuf::as_path);
        InvalidCandleFile::RowCount {
            file: file.display().to_string(),
            rows,
            expected,
        }
    }

    /// Index of the table with the earliest next row, after the tables that begin before it were opened.
    #[inline]
    fn earliest(&mut self) -> Result<Option<usize>, InvalidCandleFile> {
        if self.open.len() == 1 && self.pending.is_empty() {
            return Ok(Some(0));
        }
        loop {
            let next_ms = |open: &OpenTable| open.next.map(|row| row.open_time_ms);
            while let Some(index) = self.open.iter().position(|open| open.next.is_none()) {
                self.ended = Some(self.open.remove(index));
            }
            let earliest = (0..self.open.len()).min_by_key(|index| next_ms(&self.open[*index]));
            let earliest_ms = earliest.and_then(|index| next_ms(&self.open[index]));
            let is_due = |first_ms: i64| earliest_ms.is_none_or(|earliest| first_ms <= earliest);
            match self.pending.pop_front() {
                Some((first_ms, source)) if is_due(first_ms) => {
                    if self.open.len() == MAX_OVERLAPPING {
                        return Err(InvalidCandleFile::OtherKind {
                            file: source.name,
                            found: format!("overlaps {MAX_OVERLAPPING} other files"),
                            help: "expected files of one symbol and interval".to_owned(),
                        });
                    }
                    let table = self.open_table(&source)?;
                    self.open.push(table);
                }
                Some(later) => {
                    self.pending.push_front(later);
                    return Ok(earliest);
                }
                None => return Ok(earliest),
            }
        }
    }

    fn open_table(&self, source: &TableSource) -> Result<OpenTable, InvalidCandleFile> {
        let table = Table::open(source, &self.columns, &self.wrap_reader)?;
        let mut open = OpenTable {
            table,
            ahead: VecDeque::new(),
            next: None,
        };
        open.begin()?;
        Ok(open)
    }
}

impl OpenTable {
    /// Reads up to the first two different times; if the second is earlier, reads all rows and turns them round.
    fn begin(&mut self) -> Result<(), InvalidCandleFile> {
        let Some(first) = self.table.next()? else {
            return Ok(());
        };
        self.next = Some(first);
        // An invalid second row is reported where it is, after the first.
        let second = self.table.next()?;
        let Some(second) = second else {
            return Ok(());
        };
        self.ahead.push_back(second);
        if second.open_time_ms >= first.open_time_ms {
            return Ok(());
        }
        self.ahead.push_front(first);
        let mut previous = second;
        while let Some(row) = self.table.next()? {
            if row.open_time_ms > previous.open_time_ms {
                let expected = format!(
                    "earlier than the candle before, {}: the newest candle comes first",
                    previous.open_time_ms
                );
                return Err(self.table.invalid_time(&row, expected));
            }
            if self.ahead.len() == MAX_REVERSED_ROWS {
                return Err(InvalidCandleFile::RowCount {
                    file: self.table.name().to_owned(),
                    rows: MAX_REVERSED_ROWS + 1,
                    expected: format!(
                        "at most {MAX_REVERSED_ROWS} where the newest candle comes first"
                    ),
                });
            }
            self.ahead.push_back(row);
            previous = row;
        }
        self.ahead.make_contiguous().reverse();
        self.next = self.ahead.pop_front();
        Ok(())
    }

    /// The next row, after the one behind it was read.
    #[inline]
    fn take(&mut self) -> Result<Option<CandleRow>, InvalidCandleFile> {
        let Some(row) = self.next else {
            return Ok(None);
        };
        self.next = match self.ahead.pop_front() {
            Some(ahead) => Some(ahead),
            None => self.table.next()?,
        };
        Ok(Some(row))
    }
}
