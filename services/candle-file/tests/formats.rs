//! Files as exchanges, tools and users have them: one small sample of each, and how it is read.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use candle_file::{CandleRow, CandleSeries, ColumnNames};
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use tempfile::TempDir;

/// 2022-01-01T00:00Z.
const DAY: i64 = 1_640_995_200_000;
const MINUTE: i64 = 60_000;

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

fn open(paths: &[PathBuf], columns: &str) -> Result<CandleSeries, String> {
    let columns = match columns {
        "" => ColumnNames::default(),
        names => names.parse().unwrap(),
    };
    CandleSeries::open(paths, columns, |file| Box::new(file)).map_err(|error| error.to_string())
}

fn rows_of(mut series: CandleSeries) -> Result<(Vec<CandleRow>, String), String> {
    let mut rows = Vec::new();
    while let Some(row) = series.next().map_err(|error| error.to_string())? {
        rows.push(row);
    }
    Ok((rows, series.description()))
}

fn read(bytes: impl AsRef<[u8]>) -> Result<(Vec<CandleRow>, String), String> {
    read_with(bytes, "")
}

fn read_with(bytes: impl AsRef<[u8]>, columns: &str) -> Result<(Vec<CandleRow>, String), String> {
    let files = Files::new();
    let path = files.write("candles", bytes);
    rows_of(open(&[path], columns)?)
}

/// Minutes and prices in whole units of each row.
fn figures(rows: &[CandleRow]) -> Vec<(i64, [i64; 4])> {
    let whole = |units: i64| units / 100_000_000;
    rows.iter()
        .map(|row| {
            let prices = [row.open, row.high, row.low, row.close].map(whole);
            ((row.open_time_ms - DAY) / MINUTE, prices)
        })
        .collect()
}

/// The two candles of every sample.
const TWO: [(i64, [i64; 4]); 2] = [(0, [10, 12, 9, 11]), (1, [11, 13, 10, 12])];

#[test]
#[expect(clippy::too_many_lines, reason = "one sample after another")]
fn csv_of_every_origin_is_read() {
    let samples: [(&str, &str, &str); 22] = [
        (
            "Binance, with a header",
            "Binance portal",
            "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore\n1640995200000,10,12,9,11,1,1640995259999,10,1,1,1,0\n1640995260000,11,13,10,12,1,1640995319999,10,1,1,1,0\n",
        ),
        (
            "Binance before 2022, without",
            "Binance portal",
            "1640995200000,10,12,9,11,1,1640995259999,10,1,1,1,0\n1640995260000,11,13,10,12,1,1640995319999,10,1,1,1,0\n",
        ),
        (
            "Binance spot since 2025, microseconds",
            "Binance portal",
            "1640995200000000,10.00,12,9,11,1,1640995259999999,10,1,1,1,0\n1640995260000000,11,13,10,12,1,1640995319999999,10,1,1,1,0\n",
        ),
        (
            "CryptoDataDownload",
            "CryptoDataDownload",
            "https://www.CryptoDataDownload.com\nUnix,Date,Symbol,Open,High,Low,Close,Volume BTC,Volume USDT,tradecount\n1640995260000,2022-01-01 00:01:00,BTCUSDT,11,13,10,12,1,10,1\n1640995200000,2022-01-01 00:00:00,BTCUSDT,10,12,9,11,1,10,1\n",
        ),
        (
            "TradingView",
            "CSV with a header",
            "time,open,high,low,close,Volume\n1640995200,10,12,9,11,1\n1640995260,11,13,10,12,1\n",
        ),
        (
            "ccxt to pandas",
            "CSV with a header",
            ",timestamp,open,high,low,close,volume\n0,2022-01-01 00:00:00,10,12,9,11,1\n1,2022-01-01 00:01:00,11,13,10,12,1\n",
        ),
        (
            "yfinance",
            "CSV with a header",
            "Datetime,Open,High,Low,Close,Adj Close,Volume\n2022-01-01 00:00:00+00:00,10,12,9,11,11,1\n2022-01-01 00:01:00+00:00,11,13,10,12,12,1\n",
        ),
        (
            "yfinance, columns of several levels",
            "CSV with a header",
            "Price,Close,High,Low,Open,Volume\nTicker,BTC-USD,BTC-USD,BTC-USD,BTC-USD,BTC-USD\nDatetime,,,,,\n2022-01-01 00:00:00+00:00,11,12,9,10,1\n2022-01-01 00:01:00+00:00,12,13,10,11,1\n",
        ),
        (
            "backtesting.py",
            "CSV with a header",
            ",Open,High,Low,Close,Volume\n2022-01-01 00:00:00,10,12,9,11,1\n2022-01-01 00:01:00,11,13,10,12,1\n",
        ),
        (
            "Kaggle",
            "CSV with a header",
            "Timestamp,Open,High,Low,Close,Volume_(BTC),Volume_(Currency)\n1640995200.0,10,12,9,11,1,10\n1640995260.0,11,13,10,12,1,10\n",
        ),
        (
            "freqtrade as CSV",
            "CSV with a header",
            "date,open,high,low,close,volume\n2022-01-01 00:00:00+00:00,10,12,9,11,1\n2022-01-01 00:01:00+00:00,11,13,10,12,1\n",
        ),
        (
            "MetaTrader 5",
            "CSV with date and time",
            "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\n2022.01.01\t00:00:00\t10\t12\t9\t11\t1\n2022.01.01\t00:01:00\t11\t13\t10\t12\t1\n",
        ),
        (
            "MetaTrader 4, no header",
            "CSV without a header",
            "2022.01.01,00:00,10,12,9,11,1\n2022.01.01,00:01,11,13,10,12,1\n",
        ),
        (
            "Dukascopy",
            "CSV with a header",
            "Gmt time,Open,High,Low,Close,Volume\n01.01.2022 00:00:00.000,10,12,9,11,1\n01.01.2022 00:01:00.000,11,13,10,12,1\n",
        ),
        (
            "semicolons and decimal commas",
            "CSV with a header",
            "Time;Open;High;Low;Close\n2022-01-01 00:00;10,0;12,5;9,0;11,25\n2022-01-01 00:01;11,0;13,0;10,0;12,0\n",
        ),
        (
            "tabs",
            "CSV with a header",
            "open_time\topen\thigh\tlow\tclose\n1640995200000\t10\t12\t9\t11\n1640995260000\t11\t13\t10\t12\n",
        ),
        (
            "quotes, spaces, CRLF, BOM",
            "CSV with a header",
            "\u{feff}\"Open Time\", \"Open\",\"High\",\"Low\",\"Close\"\r\n\"1640995200000\",\"10\", 12 ,9,11\r\n\r\n1640995260000,11,13,10,12\r\n",
        ),
        (
            "newest first",
            "CSV with a header",
            "open_time,open,high,low,close\n1640995260000,11,13,10,12\n1640995200000,10,12,9,11\n",
        ),
        (
            "identical rows",
            "CSV with a header",
            "open_time,open,high,low,close\n1640995200000,10,12,9,11\n1640995200000,10.0,12,9,11\n1640995260000,11,13,10,12\n1640995260000,11,13,10,12\n",
        ),
        (
            "nanoseconds of pandas",
            "CSV with a header",
            "timestamp,open,high,low,close\n1640995200000000000,10,12,9,11\n1640995260000000000,11,13,10,12\n",
        ),
        (
            "names with other letters",
            "CSV with a header",
            "Open_Time,OPEN,HIGH,LOW,CLOSE\n1640995200000,10,12,9,11\n1640995260000,11,13,10,12\n",
        ),
        (
            "no line end",
            "CSV with a header",
            "t,o,h,l,c,v\n1640995200,10,12,9,11,1\n1640995260,11,13,10,12,1",
        ),
    ];
    for (origin, kind, text) in samples {
        let (rows, description) = read(text).unwrap_or_else(|error| panic!("{origin}: {error}"));
        assert_eq!(figures(&rows), TWO, "{origin}");
        assert_eq!(description, format!("{kind}, 1 file"), "{origin}");
    }
}

#[test]
fn json_of_every_origin_is_read() {
    for text in [
        "[[1640995200000,10.0,12.0,9.0,11.0,1.5],[1640995260000,11.0,13.0,10.0,12.0,1.5]]",
        " [ [1640995200000, \"10\", \"12\", \"9\", \"11\", \"1\", 1640995259999, \"10\"],\n [1640995260000, \"11\", \"13\", \"10\", \"12\", \"1\", 1640995319999, \"10\"] ]\n",
        "[{\"time\":1640995200,\"open\":10,\"high\":12,\"low\":9,\"close\":11},{\"time\":1640995260,\"open\":11,\"high\":13,\"low\":10,\"close\":12}]",
        "{\"date\":\"2022-01-01T00:00:00Z\",\"Open\":10,\"High\":12,\"Low\":9,\"Close\":11}\n{\"date\":\"2022-01-01T00:01:00Z\",\"Open\":11,\"High\":13,\"Low\":10,\"Close\":12}\n",
        "[1640995200000,10,12,9,11,1]\n[1640995260000,11,13,10,12,1]\n",
    ] {
        let (rows, description) = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(figures(&rows), TWO, "{text}");
        assert_eq!(description, "JSON, 1 file");
    }
    for (text, wanted) in [
        ("{\"data\":[[1,2,3,4,5]]}", "column open_time: \"\""),
        ("[[1640995200000,10,12,9", "the text ends within a candle"),
        ("[1,2,3]", "column low: \"\""),
        ("[[\"x\",10,12,9,11]]", "line 1, column open_time: \"x\""),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(wanted), "{error}");
    }
    let long = format!(
        "{{\"data\":[{}]}}",
        "[1640995200000,10,12,9,11],".repeat(9_000)
    );
    let error = read(long).unwrap_err();
    assert!(
        error.len() < 300 && error.contains("longer than a candle"),
        "{error}"
    );
}

const CSV: &str =
    "open_time,open,high,low,close\n1640995200000,10,12,9,11\n1640995260000,11,13,10,12\n";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

/// A zip file of these files, each deflated.
fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let mut writer = DeflateEncoder::new(Vec::new(), Compression::fast());
        writer.write_all(content).unwrap();
        let packed = writer.finish().unwrap();
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let offset = u32::try_from(bytes.len()).unwrap();
        let length = |n: usize| u32::try_from(n).unwrap().to_le_bytes();
        let mut fields = Vec::new();
        fields.extend([20, 0, 0, 0, 8, 0, 0, 0, 0x21, 0x54]);
        fields.extend(crc.sum().to_le_bytes());
        fields.extend(length(packed.len()));
        fields.extend(length(content.len()));
        fields.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        fields.extend([0, 0]);
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&fields);
        bytes.extend(name.as_bytes());
        bytes.extend(&packed);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&fields);
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let begin = u32::try_from(bytes.len()).unwrap();
    let count = u16::try_from(files.len()).unwrap().to_le_bytes();
    let size = u32::try_from(directory.len()).unwrap();
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend(count);
    bytes.extend(count);
    bytes.extend(size.to_le_bytes());
    bytes.extend(begin.to_le_bytes());
    bytes.extend([0, 0]);
    bytes
}

#[test]
fn gzip_zip_and_utf_16_are_recognized_by_their_content() {
    let utf_16 = |little: bool| {
        let units = std::iter::once(0xfeff).chain(CSV.encode_utf16());
        let bytes = units.flat_map(|unit| {
            if little {
                unit.to_le_bytes()
            } else {
                unit.to_be_bytes()
            }
        });
        bytes.collect::<Vec<u8>>()
    };
    let json = b"[[1640995200000,10,12,9,11,1],[1640995260000,11,13,10,12,1]]";
    for (kind, bytes) in [
        ("gzip", gzip(CSV.as_bytes())),
        (
            "gzip twice in a row",
            [gzip(&CSV.as_bytes()[..40]), gzip(&CSV.as_bytes()[40..])].concat(),
        ),
        ("gzip of JSON", gzip(json)),
        ("zip", zip(&[("BTCUSDT-1m-2022-01.csv", CSV.as_bytes())])),
        (
            "zip beside a checksum",
            zip(&[("a.csv", CSV.as_bytes()), ("a.csv.CHECKSUM", b"x")]),
        ),
        ("UTF-16, little", utf_16(true)),
        ("UTF-16, big", utf_16(false)),
    ] {
        let (rows, _) = read(bytes).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(figures(&rows), TWO, "{kind}");
    }
}

#[test]
fn damaged_file_is_no_shorter_file() {
    let text = "open_time,open,high,low,close\n".to_owned() + &minutes(0..5_000);
    let mut zipped = zip(&[("a.csv", text.as_bytes())]);
    // The checksum in the directory.
    let directory = zipped.windows(4).rposition(|w| w == b"PK\x01\x02").unwrap();
    zipped[directory + 16] ^= 1;
    let error = read(zipped).unwrap_err();
    assert!(error.contains("checksum"), "{error}");
    let packed = gzip(text.as_bytes());
    let error = read(&packed[..packed.len() / 2]).unwrap_err();
    assert!(error.contains("candle file"), "{error}");
    let whole = zip(&[("a.csv", text.as_bytes())]);
    assert!(read(&whole[..whole.len() / 2]).is_err());
}

#[test]
fn other_kinds_are_named_with_what_helps() {
    for (bytes, found, helps) in [
        (&b"PAR1\x15\x04"[..], "a Parquet file", "to_csv"),
        (b"ARROW1\0\0", "a Feather file", "freqtrade convert-data"),
        (b"\x28\xb5\x2f\xfd\0", "a zstd file", "unzstd"),
        (
            b"<!DOCTYPE html><html>",
            "an HTML or XML page",
            "download the file itself",
        ),
        (b"%PDF-1.7", "a PDF file", "CSV or JSON"),
    ] {
        for bytes in [bytes.to_vec(), gzip(bytes)] {
            let error = read(bytes).unwrap_err();
            assert!(error.contains(found) && error.contains(helps), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}

#[test]
fn no_error_shows_more_than_a_piece_of_the_file() {
    let noise: Vec<u8> = (0..200_000_u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3])
        .collect();
    let prose = "lorem ipsum ".repeat(20_000).into_bytes();
    let cell = format!("{CSV}1640995320000,{},13,10,12\n", "9".repeat(5_000)).into_bytes();
    let bomb = gzip(&vec![0; 200_000_000]);
    for bytes in [noise, prose, cell, bomb, b"\x1b[2Jopen\x07\n1,2\n".to_vec()] {
        let error = read(bytes).unwrap_err();
        assert!(error.len() < 500, "{}", error.len());
        assert!(!error.chars().any(char::is_control), "{error:?}");
    }
}

#[test]
fn columns_can_be_named() {
    let text = "when;first;top;bottom;final\n1640995200000;10;12;9;11\n1640995260000;11;13;10;12\n";
    let error = read(text).unwrap_err();
    assert!(
        error.contains("line 1, column open_time: missing") && error.contains("--columns"),
        "{error}"
    );
    let names = "time=when,open=first,high=top,low=bottom,close=final";
    assert_eq!(figures(&read_with(text, names).unwrap().0), TWO);
    // Usual names are found beside those that are given; a file without a header has numbers.
    let text = "when,open,high,low,close\n1640995200,10,12,9,11\n1640995260,11,13,10,12\n";
    assert_eq!(figures(&read_with(text, "time=When").unwrap().0), TWO);
    let text = "BTC,10,12,9,11,1640995200\nBTC,11,13,10,12,1640995260\n";
    let numbers = "time=6,open=2,high=3,low=4,close=5";
    assert_eq!(figures(&read_with(text, numbers).unwrap().0), TWO);
    let error = read_with(text, "time=7").unwrap_err();
    assert!(error.contains("missing"), "{error}");
    for names in ["", "time", "time=", "day=x", "time=a,time=b"] {
        assert!(names.parse::<ColumnNames>().is_err(), "{names}");
    }
}

fn minutes(range: std::ops::Range<i64>) -> String {
    let mut text = String::new();
    for n in range {
        writeln!(text, "{},10,12,9,11", DAY + n * MINUTE).unwrap();
    }
    text
}

#[test]
fn files_follow_each_other_or_overlap_in_any_order() {
    let header = "open_time,open,high,low,close\n";
    let files = Files::new();
    // Named against their order; the second overlaps the first, the third is in reverse, the fourth in a zip file.
    let ascending = minutes(90..120);
    let mut reversed: Vec<&str> = ascending.lines().collect();
    reversed.reverse();
    let paths = [
        files.write("d.csv", header.to_owned() + &minutes(0..60)),
        files.write("c.csv", minutes(40..90)),
        files.write("b.csv", header.to_owned() + &reversed.join("\n")),
        files.write(
            "a.zip",
            zip(&[
                ("x.csv", minutes(120..130).as_bytes()),
                ("y.csv", minutes(130..140).as_bytes()),
            ]),
        ),
    ];
    let expected: Vec<i64> = (0..140).collect();
    let by_path = rows_of(open(&paths, "").unwrap()).unwrap();
    let by_directory = rows_of(open(&[files.0.path().to_owned()], "").unwrap()).unwrap();
    let by_pattern = rows_of(open(&[files.0.path().join("[a-d].*")], "").unwrap()).unwrap();
    for (rows, description) in [by_path, by_directory, by_pattern] {
        let minutes: Vec<i64> = figures(&rows).iter().map(|(minute, _)| *minute).collect();
        assert_eq!(minutes, expected);
        assert_eq!(
            description,
            "CSV with a header and CSV without a header, 5 files"
        );
    }
    let empty = Files::new();
    let error = open(&[empty.0.path().to_owned()], "").err().unwrap();
    assert!(
        error.contains("a directory without candle files"),
        "{error}"
    );
    let error = open(&[empty.0.path().join("*.csv")], "").err().unwrap();
    assert!(error.contains("no file matches"), "{error}");
}

#[test]
fn other_prices_at_the_same_time_are_refused() {
    let files = Files::new();
    let paths = [
        files.write("a.csv", minutes(0..60)),
        files.write("b.csv", minutes(50..70).replacen(",11\n", ",10\n", 1)),
    ];
    let error = rows_of(open(&paths, "").unwrap()).unwrap_err();
    let is_named = error.contains("a.csv") || error.contains("b.csv");
    assert!(
        is_named && error.contains("the same time with other prices"),
        "{error}"
    );
    let unsorted = minutes(0..5) + &minutes(3..4);
    let error = read(unsorted).unwrap_err();
    assert!(
        error.contains("line 6") && error.contains("later than the candle before"),
        "{error}"
    );
    let error = read(minutes(1..2) + &minutes(0..1) + &minutes(2..3)).unwrap_err();
    assert!(error.contains("earlier than the candle before"), "{error}");
}

#[test]
fn path_that_cannot_be_read_is_named() {
    let error = open(&[Path::new("/nowhere/candles.csv").to_owned()], "")
        .err()
        .unwrap();
    assert!(
        error.contains("/nowhere/candles.csv: No such file"),
        "{error}"
    );
}
