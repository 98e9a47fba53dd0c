//! [`Table`]: the rows of one table in the order of the file, each checked by itself.

use std::fs::File;
use std::io::Read;

use crate::cells::{MAX_OPEN_TIME_MS, date_and_clock_ms, time_ms, units};
use crate::container::{TableSource, unreadable};
use crate::error::{InvalidCandleFile, shown};
use crate::json::{Elements, JSON_KIND, fill_cells};
use crate::layout::{CLOCK, ColumnNames, Layout, QUOTE_VOLUME, TIME, VOLUME, column_name};
use crate::lines::Lines;
use crate::row::CandleRow;
use crate::{UNITS_PER_ONE, VALUE_LIMIT};

const HIGH: usize = 2;
const LOW: usize = 3;

/// A table that is being read.
pub(crate) struct Table {
    name: String,
    content: Content,
    line: u64,
}

enum Content {
    Csv {
        lines: Lines,
        layout: Box<Layout>,
    },
    Json {
        elements: Elements,
        cells: Box<[Vec<u8>; 8]>,
    },
}

impl Table {
    /// Opens a table and finds its columns.
    ///
    /// # Errors
    /// [`InvalidCandleFile`] for a file that cannot be read, is of another kind, or lacks a column.
    pub(crate) fn open(
        source: &TableSource,
        columns: &ColumnNames,
        wrap_reader: &dyn Fn(File) -> Box<dyn Read>,
    ) -> Result<Self, InvalidCandleFile> {
        let name = source.name.clone();
        let failed = |error: std::io::Error| unreadable(&source.name, &error);
        let bytes = source.open(wrap_reader)?;
        let mut lines = Lines::new(bytes).map_err(failed)?;
        let first = lines.head().trim_ascii_start().first().copied();
        if matches!(first, Some(b'[' | b'{')) {
            return Ok(Self {
                name,
                content: Content::Json {
                    elements: Elements::new(lines),
                    cells: Box::default(),
                },
                line: 0,
            });
        }
        let layout = Layout::detect(lines.head(), columns).map_err(|missing| {
            InvalidCandleFile::MissingColumn {
                file: name.clone(),
                line: missing.line,
                column: missing.column,
                found: missing.found,
            }
        })?;
        for _ in 0..layout.skipped {
            lines.advance().map_err(failed)?;
        }
        let layout = Box::new(layout);
        Ok(Self {
            name,
            content: Content::Csv { lines, layout },
            line: 0,
        })
    }

    /// Name of the table in messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What the table is.
    pub(crate) const fn kind(&self) -> &'static str {
        match &self.content {
            Content::Csv { layout, .. } => layout.kind,
            Content::Json { .. } => JSON_KIND,
        }
    }

    /// The next row; `None` after the last.
    ///
    /// # Errors
    /// [`InvalidCandleFile::InvalidValue`] for the first invalid value of the row,
    /// [`InvalidCandleFile::Unreadable`] if the file cannot be read on.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<CandleRow>, InvalidCandleFile> {
        let (cells, is_comma) = match &mut self.content {
            Content::Csv { lines, layout } => {
                let more = lines.advance();
                if !more.map_err(|error| unreadable(&self.name, &error))? {
                    return Ok(None);
                }
                self.line = lines.number();
                (
                    layout.roles_of(lines.current()),
                    layout.may_have_decimal_comma(),
                )
            }
            Content::Json { elements, cells } => {
                let next = elements
                    .next()
                    .map_err(|error| unreadable(&self.name, &error))?;
                let Some(element) = next else {
                    return Ok(None);
                };
                self.line += 1;
                fill_cells(&element, cells);
                (cells.each_ref().map(Vec::as_slice), false)
            }
        };
        match parse_row(&cells, is_comma, self.line) {
            Ok(row) => Ok(Some(row)),
            Err((role, expected)) => {
                let value = shown(cells[role]);
                Err(self.invalid_value(self.line, role, value, expected))
            }
        }
    }

    /// Volume in the base or the quote currency of the newest row, in units of 1e-8; `None` if the file has no such column.
    ///
    /// # Errors
    /// [`InvalidCandleFile::InvalidValue`] if it is no number from 0 to below [`VALUE_LIMIT`].
    pub(crate) fn amount(&self, is_quote: bool) -> Result<Option<i64>, InvalidCandleFile> {
        let role = if is_quote { QUOTE_VOLUME } else { VOLUME };
        let cell = match &self.content {
            Content::Csv { layout, .. } if !layout.has(role) => return Ok(None),
            Content::Csv { lines, layout } => layout.roles_of(lines.current())[role],
            Content::Json { cells, .. } if cells[role].is_empty() => return Ok(None),
            Content::Json { cells, .. } => &cells[role],
        };
        if let Some(amount) = units(cell, false) {
            return Ok(Some(amount));
        }
        let expected = format!("a number from 0 to below {VALUE_LIMIT}");
        Err(self.invalid_value(self.line, role, shown(cell), expected))
    }

    /// The error that the time of a row is not the `expected` one.
    pub(crate) fn invalid_time(&self, row: &CandleRow, expected: String) -> InvalidCandleFile {
        let value = row.open_time_ms.to_string();
        self.invalid_value(row.line, TIME, value, expected)
    }

    fn invalid_value(
        &self,
        line: u64,
        role: usize,
        value: String,
        expected: String,
    ) -> InvalidCandleFile {
        InvalidCandleFile::InvalidValue {
            file: self.name.clone(),
            line,
            column: column_name(role),
            value,
            expected,
        }
    }
}

/// The row of these cells; else the role of the first invalid one, and what is expected.
#[inline]
fn parse_row(cells: &[&[u8]; 8], is_comma: bool, line: u64) -> Result<CandleRow, (usize, String)> {
    let time = if cells[CLOCK].is_empty() {
        time_ms(cells[TIME])
    } else {
        date_and_clock_ms(cells[TIME], cells[CLOCK])
    };
    let open_time_ms = time.ok_or_else(|| (TIME, expected_time()))?;
    let mut prices = [0; 4];
    for (index, price) in prices.iter_mut().enumerate() {
        let units = units(cells[index + 1], is_comma).filter(|units| *units > 0);
        *price = units.ok_or_else(|| {
            let expected = format!("a number above 0 and below {VALUE_LIMIT}");
            (index + 1, expected)
        })?;
    }
    let [open, high, low, close] = prices;
    if high < open.max(close) {
        let highest = decimal_text(open.max(close));
        return Err((HIGH, format!("at least open and close, {highest}")));
    }
    if low > open.min(close) {
        let lowest = decimal_text(open.min(close));
        return Err((LOW, format!("at most open and close, {lowest}")));
    }
    Ok(CandleRow {
        line,
        open_time_ms,
        open,
        high,
        low,
        close,
    })
}

fn expected_time() -> String {
    format!(
        "milliseconds since the epoch, 0 to {MAX_OPEN_TIME_MS}, or seconds, microseconds, or a date as 2025-01-31 23:55:00"
    )
}

fn decimal_text(units: i64) -> String {
    let (whole, fraction) = (units / UNITS_PER_ONE, units % UNITS_PER_ONE);
    let text = format!("{whole}.{fraction:08}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
