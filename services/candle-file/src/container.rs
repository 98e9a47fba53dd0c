//! What is around a table: gzip, zip, UTF-16, standard input. Detected by the first bytes; kinds that are not read are
//! named with what would help.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Take};
use std::path::{Path, PathBuf};

use flate2::Crc;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder};
use zip::{CompressionMethod, ZipArchive};

use crate::error::InvalidCandleFile;

/// Size of the buffer between the file and the decompression.
const BUFFER_BYTES: usize = 1 << 17;
/// Most files in a zip file.
const MAX_ZIP_ENTRIES: usize = 10_000;
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZIP: &[u8] = b"PK\x03\x04";

/// Kinds that are not read: first bytes, what they are, what would help.
const OTHER_KINDS: [(&[u8], &str, &str); 12] = [
    (
        b"PAR1",
        "a Parquet file",
        "convert it with pandas: pd.read_parquet(FILE).to_csv(\"candles.csv\")",
    ),
    (
        b"ARROW1",
        "a Feather file",
        "convert it: freqtrade convert-data --format-from feather --format-to jsongz, or with pandas: pd.read_feather(FILE).to_csv(\"candles.csv\")",
    ),
    (
        b"FEA1",
        "a Feather file of version 1",
        "convert it with pandas: pd.read_feather(FILE).to_csv(\"candles.csv\")",
    ),
    (
        b"\x89HDF",
        "an HDF5 file",
        "convert it: freqtrade convert-data --format-from hdf5 --format-to jsongz",
    ),
    (
        b"\x28\xb5\x2f\xfd",
        "a zstd file",
        "decompress it first: unzstd FILE",
    ),
    (b"\xfd7zXZ", "an xz file", "decompress it first: unxz FILE"),
    (b"BZh", "a bzip2 file", "decompress it first: bunzip2 FILE"),
    (b"7z\xbc\xaf", "a 7-Zip file", "extract it first: 7z x FILE"),
    (
        b"SQLite format 3",
        "an SQLite database",
        "export the candles as CSV",
    ),
    (
        b"\xd0\xcf\x11\xe0",
        "an Excel file",
        "save the sheet as CSV",
    ),
    (b"%PDF", "a PDF file", "expected CSV or JSON"),
    (
        b"<",
        "an HTML or XML page",
        "download the file itself: this is a page about it",
    ),
];

/// One table: a file, or a file within a zip file.
#[derive(Debug, Clone)]
pub(crate) struct TableSource {
    /// Name in messages.
    pub(crate) name: String,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    File(PathBuf),
    StandardInput,
    ZipEntry {
        path: PathBuf,
        start: u64,
        packed_bytes: u64,
        is_deflated: bool,
        crc32: u32,
    },
}

/// The tables of a file; `-` is standard input.
///
/// # Errors
/// [`InvalidCandleFile`] for a file that cannot be opened, or a zip file without candles.
pub(crate) fn tables(path: &Path) -> Result<Vec<TableSource>, InvalidCandleFile> {
    let name = path.display().to_string();
    if path == Path::new("-") {
        return Ok(vec![TableSource {
            name: "-".to_owned(),
            place: Place::StandardInput,
        }]);
    }
    let mut head = Vec::new();
    let file = File::open(path).map_err(|error| unreadable(&name, &error))?;
    if !path.is_file() {
        // A pipe can be read only once.
        let place = Place::File(path.to_owned());
        return Ok(vec![TableSource { name, place }]);
    }
    let read = (&file).take(4).read_to_end(&mut head);
    read.map_err(|error| unreadable(&name, &error))?;
    if head == ZIP {
        return zip_entries(path, &name, file);
    }
    Ok(vec![TableSource {
        name,
        place: Place::File(path.to_owned()),
    }])
}

fn zip_entries(path: &Path, name: &str, file: File) -> Result<Vec<TableSource>, InvalidCandleFile> {
    let broken = |error: zip::result::ZipError| unreadable(name, &error);
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(broken)?;
    if archive.len() > MAX_ZIP_ENTRIES {
        return Err(InvalidCandleFile::OtherKind {
            file: name.to_owned(),
            found: format!("a zip file of {} files", archive.len()),
            help: format!("expected at most {MAX_ZIP_ENTRIES}"),
        });
    }
    let mut entries = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(broken)?;
        let inner = entry.name().map_err(broken)?.into_owned();
        let is_hidden =
            inner.starts_with("__MACOSX/") || inner.split('/').any(|p| p.starts_with('.'));
        if entry.is_dir() || is_hidden || inner.ends_with(".CHECKSUM") {
            continue;
        }
        if inner.starts_with("xl/") {
            return Err(other_kind(name, "an Excel file", "save the sheet as CSV"));
        }
        let method = entry.compression();
        if ![CompressionMethod::DEFLATE, CompressionMethod::Stored].contains(&method) {
            let found = format!("{inner} in it is packed with {method}");
            return Err(other_kind(name, &found, "extract it first: unzip FILE"));
        }
        if entry.encrypted() {
            let found = format!("{inner} in it is encrypted");
            return Err(other_kind(name, &found, "extract it first: unzip FILE"));
        }
        let start = entry.data_start();
        entries.push(TableSource {
            name: format!("{name}:{inner}"),
            place: Place::ZipEntry {
                path: path.to_owned(),
                start: start
                    .ok_or_else(|| unreadable(name, &zip::result::ZipError::FileNotFound))?,
                packed_bytes: entry.compressed_size(),
                is_deflated: method == CompressionMethod::DEFLATE,
                crc32: entry.crc32(),
            },
        });
    }
    if entries.is_empty() {
        return Err(other_kind(
            name,
            "a zip file without files",
            "expected files of candles",
        ));
    }
    Ok(entries)
}

impl TableSource {
    /// Whether the table can be read only once.
    pub(crate) fn is_single_use(&self) -> bool {
        match &self.place {
            Place::StandardInput => true,
            Place::File(path) => !path.is_file(),
            Place::ZipEntry { .. } => false,
        }
    }

    /// The plain bytes of the table. A file is read through `wrap_reader`.
    ///
    /// # Errors
    /// [`InvalidCandleFile`] for a file that cannot be opened, or is of a kind that is not read.
    pub(crate) fn open(
        &self,
        wrap_reader: &dyn Fn(File) -> Box<dyn Read>,
    ) -> Result<Box<dyn Read>, InvalidCandleFile> {
        let failed = |error: io::Error| unreadable(&self.name, &error);
        let raw: Box<dyn Read> = match &self.place {
            Place::File(path) => wrap_reader(File::open(path).map_err(failed)?),
            Place::StandardInput => Box::new(io::stdin()),
            Place::ZipEntry {
                path,
                start,
                packed_bytes,
                is_deflated,
                crc32,
            } => {
                let mut file = File::open(path).map_err(failed)?;
                file.seek(SeekFrom::Start(*start)).map_err(failed)?;
                let packed = BufReader::with_capacity(BUFFER_BYTES, wrap_reader(file));
                let packed = packed.take(*packed_bytes);
                let plain: Box<dyn Read> = if *is_deflated {
                    Box::new(DeflateDecoder::new(packed))
                } else {
                    Box::new(packed)
                };
                Box::new(Checked::new(plain, *crc32))
            }
        };
        Self::decompressed(raw).map_err(|found| match found {
            Refusal::Io(error) => failed(error),
            Refusal::Kind(found, help) => other_kind(&self.name, found, help),
        })
    }

    fn decompressed(raw: Box<dyn Read>) -> Result<Box<dyn Read>, Refusal> {
        let mut bytes = BufReader::with_capacity(BUFFER_BYTES, raw);
        let head = bytes.fill_buf().map_err(Refusal::Io)?;
        if head.starts_with(GZIP) {
            let mut plain = BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(bytes));
            let head = plain.fill_buf().map_err(Refusal::Io)?;
            refuse_other_kinds(head)?;
            return Ok(Box::new(plain));
        }
        if head.starts_with(ZIP) {
            return Err(Refusal::Kind(
                "a zip file on standard input or within another",
                "extract it first: unzip -p FILE",
            ));
        }
        refuse_other_kinds(head)?;
        let is_big_endian = match head {
            [0xff, 0xfe, ..] => false,
            [0xfe, 0xff, ..] => true,
            _ => return Ok(Box::new(bytes)),
        };
        Ok(Box::new(Utf16::new(bytes, is_big_endian)))
    }
}

enum Refusal {
    Io(io::Error),
    Kind(&'static str, &'static str),
}

fn refuse_other_kinds(head: &[u8]) -> Result<(), Refusal> {
    let kind = OTHER_KINDS.iter().find(|(magic, ..)| {
        // MetaTrader's CSV begins with <DATE>.
        head.starts_with(magic) && !head.starts_with(b"<DATE") && !head.starts_with(b"<TICKER")
    });
    match kind {
        Some((_, found, help)) => Err(Refusal::Kind(found, help)),
        None => Ok(()),
    }
}

fn other_kind(file: &str, found: &str, help: &str) -> InvalidCandleFile {
    InvalidCandleFile::OtherKind {
        file: file.to_owned(),
        found: found.to_owned(),
        help: help.to_owned(),
    }
}

pub(crate) fn unreadable(file: &str, error: &dyn std::error::Error) -> InvalidCandleFile {
    InvalidCandleFile::Unreadable {
        file: file.to_owned(),
        error: error.to_string(),
    }
}

/// Compares the checksum at the end of a file of a zip file.
struct Checked {
    plain: Box<dyn Read>,
    crc: Crc,
    expected: u32,
}

impl Checked {
    fn new(plain: Box<dyn Read>, expected: u32) -> Self {
        let crc = Crc::new();
        Self {
            plain,
            crc,
            expected,
        }
    }
}

impl Read for Checked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.plain.read(buffer)?;
        self.crc.update(&buffer[..count]);
        if count == 0 && !buffer.is_empty() && self.crc.sum() != self.expected {
            let error = "damaged: the checksum differs";
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        Ok(count)
    }
}

/// UTF-16 as UTF-8.
struct Utf16<R> {
    source: Take<R>,
    is_big_endian: bool,
    text: Vec<u8>,
    read: usize,
}

impl<R: BufRead> Utf16<R> {
    fn new(source: R, is_big_endian: bool) -> Self {
        Self {
            source: source.take(0),
            is_big_endian,
            text: Vec::new(),
            read: 0,
        }
    }

    /// Converts the next pairs of bytes. A pair of surrogates that is cut becomes two replacement characters: candles have
    /// none.
    fn refill(&mut self) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(BUFFER_BYTES);
        self.source.set_limit(BUFFER_BYTES as u64);
        self.source.read_to_end(&mut bytes)?;
        let pairs = bytes.chunks_exact(2).map(|pair| {
            let pair = [pair[0], pair[1]];
            if self.is_big_endian {
                u16::from_be_bytes(pair)
            } else {
                u16::from_le_bytes(pair)
            }
        });
        let text: String = char::decode_utf16(pairs)
            .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect();
        (self.text, self.read) = (text.into_bytes(), 0);
        Ok(())
    }
}

impl<R: BufRead> Read for Utf16<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read == self.text.len() {
            self.refill()?;
        }
        let count = (&self.text[self.read..]).read(buffer)?;
        self.read += count;
        Ok(count)
    }
}
