//! [`Lines`]: the lines of a stream, without a copy, in memory that does not grow.

use std::io::{self, Read};

/// Size of the buffer.
const BUFFER_BYTES: usize = 1 << 18;
/// Longest line.
const MAX_LINE_BYTES: usize = 1 << 16;
const BOM: &[u8] = b"\xef\xbb\xbf";

pub(crate) struct Lines {
    source: Box<dyn Read>,
    buffer: Vec<u8>,
    /// Unread bytes.
    start: usize,
    end: usize,
    has_ended: bool,
    /// The newest line within the buffer, without its end.
    current: (usize, usize),
    number: u64,
}

impl Lines {
    /// The lines of a stream, without a byte order mark.
    pub(crate) fn new(source: Box<dyn Read>) -> io::Result<Self> {
        let mut lines = Self {
            source,
            buffer: vec![0; BUFFER_BYTES],
            start: 0,
            end: 0,
            has_ended: false,
            current: (0, 0),
            number: 0,
        };
        lines.fill()?;
        if lines.head().starts_with(BOM) {
            lines.start = BOM.len();
        }
        Ok(lines)
    }

    /// The unread bytes in the buffer: directly after [`Self::new`] the beginning of the stream.
    pub(crate) fn head(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Goes to the next line that is not blank. Returns whether there is one.
    ///
    /// # Errors
    /// The error of the stream, or a line that is too long.
    #[inline]
    pub(crate) fn advance(&mut self) -> io::Result<bool> {
        loop {
            let Some(end) = self.line_end()? else {
                return Ok(false);
            };
            let mut line = (self.start, end);
            self.start = (end + 1).min(self.end);
            self.number += 1;
            if line.1 > line.0 && self.buffer[line.1 - 1] == b'\r' {
                line.1 -= 1;
            }
            if line.0 < line.1 && !self.buffer[line.0..line.1].trim_ascii().is_empty() {
                self.current = line;
                return Ok(true);
            }
        }
    }

    /// The next byte, for a text without lines; `None` at the end of the stream.
    ///
    /// # Errors
    /// The error of the stream.
    #[inline]
    pub(crate) fn next_byte(&mut self) -> io::Result<Option<u8>> {
        if self.start == self.end && !self.has_ended {
            self.fill()?;
        }
        let byte = self.buffer[..self.end].get(self.start).copied();
        self.start += usize::from(byte.is_some());
        Ok(byte)
    }

    /// The line that [`Self::advance`] found.
    #[inline]
    pub(crate) fn current(&self) -> &[u8] {
        &self.buffer[self.current.0..self.current.1]
    }

    /// Number of the current line; of the first line 1.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// Position of the end of the next line; `None` at the end of the stream.
    #[inline]
    fn line_end(&mut self) -> io::Result<Option<usize>> {
        if let Some(length) = memchr::memchr(b'\n', &self.buffer[self.start..self.end]) {
            return Ok(Some(self.start + length));
        }
        if !self.has_ended {
            self.fill()?;
            if let Some(length) = memchr::memchr(b'\n', &self.buffer[self.start..self.end]) {
                return Ok(Some(self.start + length));
            }
        }
        if self.end - self.start > MAX_LINE_BYTES {
            let error = format!(
                "line {} has more than {MAX_LINE_BYTES} bytes",
                self.number + 1
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        Ok((self.start < self.end).then_some(self.end))
    }

    /// Moves the unread bytes to the front and fills the buffer.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        while self.end < self.buffer.len() && !self.has_ended {
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.has_ended = true,
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
