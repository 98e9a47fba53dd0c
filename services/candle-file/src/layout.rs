//! Where the columns of a CSV file are: found by the names of its header, else by the order in which all exchanges write
//! them.

use std::str::FromStr;

use crate::cells::{date_and_clock_ms, is_clock, time_ms, trimmed, units};
use crate::error::shown;

/// What a column contains. The first five are needed.
pub(crate) const ROLES: [&str; 8] = [
    "time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "clock",
];
pub(crate) const TIME: usize = 0;
pub(crate) const VOLUME: usize = 5;
pub(crate) const QUOTE_VOLUME: usize = 6;
/// Time of day, where date and time are two columns.
pub(crate) const CLOCK: usize = 7;

/// Name of a column in errors.
pub(crate) const fn column_name(role: usize) -> &'static str {
    match role {
        TIME => "open_time",
        _ => ROLES[role],
    }
}

/// Usual names of each column, letters and digits only, the most exact first.
pub(crate) const USUAL_NAMES: [&[&str]; 7] = [
    &[
        "opentime",
        "opentimems",
        "timestamp",
        "unixtimestamp",
        "unixtime",
        "unix",
        "datetime",
        "dateutc",
        "timeutc",
        "date",
        "time",
        "gmttime",
        "ts",
        "candlebegintime",
        "starttime",
        "start",
        "t",
    ],
    &["open", "openprice", "o", "1open", "2open"],
    &["high", "highprice", "max", "h", "2high", "3high"],
    &["low", "lowprice", "min", "l", "3low", "4low"],
    &["close", "closeprice", "c", "last", "4close", "5close"],
    &["volume", "vol", "basevolume", "v", "5volume", "tickvol"],
    &[
        "quotevolume",
        "quoteassetvolume",
        "volumeusdt",
        "turnover",
        "amount",
    ],
];
const DELIMITERS: [u8; 4] = *b",;\t|";
/// Lines before the header that are skipped: addresses and titles.
const MAX_PREAMBLE: usize = 10;
/// Lines after the header without numbers that are skipped: units and tickers.
const MAX_SUBHEADERS: usize = 3;
/// Columns of Binance's own files.
const BINANCE_COLUMNS: usize = 12;
/// Columns beyond this one are not found.
pub(crate) const MAX_COLUMNS: usize = 64;
const UNUSED: u8 = u8::MAX;

/// Names, or numbers from 1, of columns that the user has given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ColumnNames(Vec<(usize, String)>);

/// A text that is no [`ColumnNames`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected COLUMN=NAME with time, open, high, low, close, volume or quote_volume, e.g. time=Date,close=Last"
)]
pub struct InvalidColumns;

impl FromStr for ColumnNames {
    type Err = InvalidColumns;

    fn from_str(text: &str) -> Result<Self, InvalidColumns> {
        let mut names = Vec::new();
        for part in text.split(',') {
            let (role, name) = part.split_once('=').ok_or(InvalidColumns)?;
            let role = ROLES[..CLOCK]
                .iter()
                .position(|known| *known == role.trim());
            let role = role.ok_or(InvalidColumns)?;
            if name.trim().is_empty() || names.iter().any(|(other, _)| *other == role) {
                return Err(InvalidColumns);
            }
            names.push((role, name.trim().to_owned()));
        }
        Ok(Self(names))
    }
}

/// Delimiter and columns of a CSV file.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) delimiter: u8,
    /// Number of lines before the first candle that are not blank.
    pub(crate) skipped: usize,
    /// Role of each column by its position.
    roles: [u8; MAX_COLUMNS],
    /// Position after the last column that is used.
    end: usize,
    /// What the file is, for the summary.
    pub(crate) kind: &'static str,
}

/// A file whose columns were not found: the line that comes closest, what it lacks, and the line itself.
pub(crate) struct NoColumns {
    pub(crate) line: u64,
    pub(crate) column: &'static str,
    pub(crate) found: String,
}

impl Layout {
    /// Detects the layout from the beginning of a file.
    pub(crate) fn detect(head: &[u8], given: &ColumnNames) -> Result<Self, NoColumns> {
        let lines: Vec<(u64, &[u8])> = (1..)
            .zip(head.split(|byte| *byte == b'\n'))
            .filter(|(_, line)| !line.trim_ascii().is_empty())
            .take(MAX_PREAMBLE + MAX_SUBHEADERS + 2)
            .collect();
        let mut nearest: Option<(usize, NoColumns)> = None;
        for (index, (number, line)) in lines.iter().enumerate().take(MAX_PREAMBLE) {
            for delimiter in DELIMITERS {
                let cells = cells_of(line, delimiter);
                let following = &lines[index + 1..];
                let found = match header(&cells, delimiter, following, given) {
                    Ok(layout) => Some((layout, 1)),
                    Err((matched, role)) => {
                        if nearest.as_ref().is_none_or(|(most, _)| matched > *most) {
                            let (line, found) = (*number, shown(line));
                            let column = column_name(role);
                            nearest = Some((
                                matched,
                                NoColumns {
                                    line,
                                    column,
                                    found,
                                },
                            ));
                        }
                        // Below names that are unknown the order of the columns is unknown too.
                        let is_below_names =
                            |(_, line): &(u64, &[u8])| cells_of(line, delimiter).len() > VOLUME - 1;
                        let is_first = !lines[..index].iter().any(is_below_names);
                        let found = headerless(&cells, delimiter, given);
                        found.filter(|_| is_first).map(|layout| (layout, 0))
                    }
                };
                if let Some((mut layout, own)) = found {
                    layout.skipped += index + own;
                    if index > 0 && lines[..index].iter().any(|(_, l)| is_download_note(l)) {
                        layout.kind = "CryptoDataDownload";
                    }
                    return Ok(layout);
                }
            }
        }
        Err(nearest.map_or_else(
            || NoColumns {
                line: 1,
                column: column_name(TIME),
                found: String::new(),
            },
            |(_, nearest)| nearest,
        ))
    }

    fn new(delimiter: u8, kind: &'static str) -> Self {
        Self {
            delimiter,
            skipped: 0,
            roles: [UNUSED; MAX_COLUMNS],
            end: 0,
            kind,
        }
    }

    fn assign(&mut self, role: usize, position: usize) {
        if let Some(slot) = self.roles.get_mut(position) {
            // Roles are fewer than 8.
            *slot = u8::try_from(role).unwrap_or(UNUSED);
            self.end = self.end.max(position + 1);
        }
    }

    pub(crate) fn has(&self, role: usize) -> bool {
        self.roles.iter().any(|slot| usize::from(*slot) == role)
    }

    /// Whether the decimal separator may be a comma.
    pub(crate) const fn may_have_decimal_comma(&self) -> bool {
        self.delimiter != b','
    }

    /// The cells of a line by their roles; empty ones where the line is too short.
    #[inline]
    pub(crate) fn roles_of<'a>(&self, line: &'a [u8]) -> [&'a [u8]; 8] {
        let mut found: [&[u8]; 8] = [&[]; 8];
        let mut position = 0;
        let mut rest = line;
        while position < self.end {
            let (cell, after) = split_cell(rest, self.delimiter);
            if let Some(slot) = found.get_mut(usize::from(self.roles[position])) {
                *slot = match cell {
                    [b'0'..=b'9', .., b'0'..=b'9'] => cell,
                    _ => trimmed(cell),
                };
            }
            position += 1;
            match after {
                Some(after) => rest = after,
                None => break,
            }
        }
        found
    }
}

/// The first cell of a line, and the rest behind the delimiter; `None` at the end of the line.
#[inline]
fn split_cell(line: &[u8], delimiter: u8) -> (&[u8], Option<&[u8]>) {
    let from = match line {
        // A delimiter between quotes is none.
        [b'"', inner @ ..] => inner.iter().position(|b| *b == b'"').map_or(0, |n| n + 2),
        _ => 0,
    };
    let found = line.iter().skip(from).position(|byte| *byte == delimiter);
    match found {
        Some(length) => {
            let at = from + length;
            (&line[..at], Some(&line[at + 1..]))
        }
        None => (line, None),
    }
}

fn cells_of(line: &[u8], delimiter: u8) -> Vec<&[u8]> {
    let mut cells = Vec::new();
    let mut rest = Some(line);
    while let Some(line) = rest.filter(|_| cells.len() < MAX_COLUMNS) {
        let (cell, after) = split_cell(line, delimiter);
        cells.push(trimmed(cell));
        rest = after;
    }
    cells
}

/// The layout of a header; else the number of columns that were found, and the first that was not.
fn header(
    cells: &[&[u8]],
    delimiter: u8,
    following: &[(u64, &[u8])],
    given: &ColumnNames,
) -> Result<Layout, (usize, usize)> {
    let names: Vec<String> = cells.iter().map(|cell| simplified(cell)).collect();
    let mut layout = Layout::new(delimiter, "CSV with a header");
    let mut missing = None;
    let mut matched = 0;
    for (role, usual) in USUAL_NAMES.iter().enumerate() {
        let chosen = given.0.iter().find(|(known, _)| *known == role);
        let position = match chosen {
            Some((_, name)) => names.iter().position(|n| *n == simplified(name.as_bytes())),
            None => usual
                .iter()
                .find_map(|usual| names.iter().position(|name| name == usual)),
        };
        match position {
            Some(position) => {
                layout.assign(role, position);
                matched += 1;
            }
            None if role < VOLUME => missing = missing.or(Some(role)),
            None => {}
        }
    }
    if missing == Some(TIME) && matched >= 4 && is_index(&names) {
        // The index of a data frame.
        layout.assign(TIME, 0);
        missing = None;
    }
    if let Some(missing) = missing {
        return Err((matched, missing));
    }
    let is_candle = |line: &[u8]| {
        layout.roles_of(line)[1..VOLUME]
            .iter()
            .any(|c| units(c, true).is_some())
    };
    let subheaders = following
        .iter()
        .take(MAX_SUBHEADERS)
        .take_while(|(_, line)| !is_candle(line));
    let subheaders = subheaders.count();
    if let Some((_, first)) = following.get(subheaders) {
        layout.skipped = subheaders;
        layout.find_clock(&names, first);
    }
    let is_portal =
        cells.len() >= BINANCE_COLUMNS && names.first().is_some_and(|n| n == "opentime");
    if is_portal {
        layout.kind = "Binance portal";
    }
    Ok(layout)
}

impl Layout {
    /// Takes date and time of day from two columns, if the first candle has them so.
    fn find_clock(&mut self, names: &[String], first: &[u8]) {
        let position = |name: &str| names.iter().position(|n| n == name);
        let (Some(date), Some(clock)) = (position("date"), position("time")) else {
            return;
        };
        let cells = cells_of(first, self.delimiter);
        if cells.get(clock).is_some_and(|cell| is_clock(cell)) {
            self.roles
                .iter_mut()
                .filter(|slot| **slot == 0)
                .for_each(|slot| *slot = UNUSED);
            self.assign(TIME, date);
            self.assign(CLOCK, clock);
            self.kind = "CSV with date and time";
        }
    }
}

/// The layout of a file without a header whose first line has these cells; `None` if they are no candle.
fn headerless(cells: &[&[u8]], delimiter: u8, given: &ColumnNames) -> Option<Layout> {
    let mut layout = Layout::new(delimiter, "CSV without a header");
    let has_clock = cells.get(1).is_some_and(|cell| is_clock(cell));
    let first_price = if has_clock { 2 } else { 1 };
    layout.assign(TIME, 0);
    if has_clock {
        layout.assign(CLOCK, 1);
    }
    for role in 1..=VOLUME {
        layout.assign(role, first_price + role - 1);
    }
    if cells.len() >= BINANCE_COLUMNS && !has_clock {
        layout.assign(QUOTE_VOLUME, 7);
        layout.kind = "Binance portal";
    }
    for (role, name) in &given.0 {
        let position = name.parse::<usize>().ok()?.checked_sub(1)?;
        layout
            .roles
            .iter_mut()
            .filter(|slot| usize::from(**slot) == *role)
            .for_each(|s| *s = UNUSED);
        layout.assign(*role, position);
    }
    let at = |role: usize| {
        layout
            .roles
            .iter()
            .position(|slot| usize::from(*slot) == role)
    };
    let cell = |role: usize| cells.get(at(role)?).copied();
    let time = match cell(CLOCK).filter(|_| has_clock && layout.has(CLOCK)) {
        Some(clock) => date_and_clock_ms(cell(TIME)?, clock),
        None => time_ms(cell(TIME)?),
    };
    let prices = [1, 2, 3, 4].map(|role| units(cell(role)?, delimiter != b','));
    let is_time = time.is_some() || cell(TIME)?.iter().any(u8::is_ascii_digit);
    (is_time && prices.iter().all(Option::is_some)).then_some(layout)
}

/// A name without case, spaces and signs.
pub(crate) fn simplified(name: &[u8]) -> String {
    let letters = name.iter().filter(|byte| byte.is_ascii_alphanumeric());
    letters
        .map(|byte| char::from(byte.to_ascii_lowercase()))
        .collect()
}

/// Whether the first column is the index of a data frame.
fn is_index(names: &[String]) -> bool {
    matches!(
        names.first().map(String::as_str),
        Some("" | "price" | "index" | "unnamed0")
    )
}

fn is_download_note(line: &[u8]) -> bool {
    line.to_ascii_lowercase()
        .windows(18)
        .any(|text| text == b"cryptodatadownload")
}
