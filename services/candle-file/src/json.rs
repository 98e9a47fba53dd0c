//! Candles as JSON: an array of candles, or one candle a line. Each is an array (time, open, high, low, close, volume), as
//! freqtrade, ccxt and Binance's API write them, or an object with named values.

use std::io;

use serde_json::Value;

use crate::layout::{QUOTE_VOLUME, USUAL_NAMES, VOLUME, simplified};
use crate::lines::Lines;

pub(crate) const JSON_KIND: &str = "JSON";
/// Longest text of one candle.
const MAX_ELEMENT_BYTES: usize = 1 << 12;
/// Position of the quote volume in a candle of Binance's API.
const QUOTE_POSITION: usize = 7;

/// The candles of a JSON text, one after another.
pub(crate) struct Elements {
    bytes: Lines,
    has_begun: bool,
}

impl Elements {
    pub(crate) const fn new(bytes: Lines) -> Self {
        Self {
            bytes,
            has_begun: false,
        }
    }

    /// The next candle; `None` after the last.
    ///
    /// # Errors
    /// The error of the stream, or of a text that is no candle.
    pub(crate) fn next(&mut self) -> io::Result<Option<Value>> {
        let Some(mut first) = self.next_begin()? else {
            return Ok(None);
        };
        let mut text = Vec::new();
        if !std::mem::replace(&mut self.has_begun, true) && first == b'[' {
            // The array around all candles, or the first of one candle a line.
            match self.next_begin()? {
                Some(inner @ (b'[' | b'{')) => first = inner,
                Some(other) => text.extend([b'[', other]),
                None => return Ok(None),
            }
        }
        if text.is_empty() {
            text.push(first);
        }
        if !matches!(text[0], b'[' | b'{') {
            return Err(invalid("expected an array of candles"));
        }
        self.read_element(&mut text)?;
        let candle = serde_json::from_slice(&text);
        candle
            .map(Some)
            .map_err(|error| invalid(&error.to_string()))
    }

    /// The next byte that is neither a space nor a separator; `None` at the end of the array or the text.
    fn next_begin(&mut self) -> io::Result<Option<u8>> {
        loop {
            match self.bytes.next_byte()? {
                Some(byte) if byte.is_ascii_whitespace() || byte == b',' => {}
                Some(b']') | None => return Ok(None),
                Some(byte) => return Ok(Some(byte)),
            }
        }
    }

    /// Reads the rest of an element: up to the bracket that closes its first one.
    fn read_element(&mut self, text: &mut Vec<u8>) -> io::Result<()> {
        let (mut depth, mut is_string, mut is_escaped) = (1, false, false);
        while depth > 0 {
            let byte = self.bytes.next_byte()?;
            let byte = byte.ok_or_else(|| invalid("the text ends within a candle"))?;
            text.push(byte);
            if text.len() > MAX_ELEMENT_BYTES {
                return Err(invalid(
                    "a value is longer than a candle; expected an array of candles",
                ));
            }
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if is_string => is_escaped = true,
                b'"' => is_string = !is_string,
                b'[' | b'{' if !is_string => depth += 1,
                b']' | b'}' if !is_string => depth -= 1,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Writes the values of a candle to the cells of their roles; a missing one is empty.
pub(crate) fn fill_cells(element: &Value, cells: &mut [Vec<u8>; 8]) {
    cells.iter_mut().for_each(Vec::clear);
    match element {
        Value::Array(values) => {
            for (cell, value) in cells.iter_mut().zip(values.iter().take(VOLUME + 1)) {
                write_value(value, cell);
            }
            if let Some(quote) = values.get(QUOTE_POSITION) {
                write_value(quote, &mut cells[QUOTE_VOLUME]);
            }
        }
        Value::Object(values) => {
            for (cell, usual) in cells.iter_mut().zip(USUAL_NAMES) {
                let named = |usual: &&str| {
                    let mut entries = values.iter();
                    entries.find(|(name, _)| simplified(name.as_bytes()) == **usual)
                };
                if let Some((_, value)) = usual.iter().find_map(named) {
                    write_value(value, cell);
                }
            }
        }
        _ => {}
    }
}

fn write_value(value: &Value, cell: &mut Vec<u8>) {
    match value {
        Value::String(text) => cell.extend(text.trim().as_bytes()),
        other => cell.extend(other.to_string().as_bytes()),
    }
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.to_owned())
}
