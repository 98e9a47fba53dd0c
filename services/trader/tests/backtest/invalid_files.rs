//! Every way in which a candle file can be wrong: exit 78 and one line that says where.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::support::{CSV_HEADER, MIDNIGHT, TestDir, random_walk, run};

const ONE: &str = "60000,10,12,9,11\n";
const TWO: &str = "120000,11,13,10,12\n";

fn error_message(text: &str) -> String {
    let place = TestDir::new();
    let out = place.path("trades.jsonl");
    let file = place.candles(text);
    let stop = run(&file, &["--trades", out.to_str().unwrap()]).unwrap_err();
    assert_eq!(stop.code.number(), 78, "{stop}");
    assert!(!stop.message.contains('\n'), "{stop}");
    // No half of a result stays behind.
    assert_eq!(place.file_names(), ["candles.csv"]);
    stop.message
}

#[test]
fn error_names_line_column_value_and_what_is_allowed() {
    for (row, column, value, allowed) in [
        ("180000,12,13,11,NaN", "close", "NaN", "above 0"),
        ("180000,12,13,11,inf", "close", "inf", "above 0"),
        ("180000,-12,13,11,12", "open", "-12", "above 0"),
        ("180000,0,13,11,12", "open", "0", "above 0"),
        ("180000,1e9,13,11,12", "open", "1e9", "below 1000000000"),
        ("180000,12,13,,12", "low", "", "above 0"),
        ("180000,12,13", "low", "", "above 0"),
        (
            "180000,12,10,11,12",
            "high",
            "10",
            "at least open and close, 12",
        ),
        (
            "180000,12,13,11,14",
            "high",
            "13",
            "at least open and close, 14",
        ),
        (
            "180000,12,13,12,11",
            "low",
            "12",
            "at most open and close, 11",
        ),
        (
            "60000,12,13,11,12",
            "open_time",
            "60000",
            "later than the candle before, 120000",
        ),
        ("120000,12,13,11,12", "open_time", "120000", "later than"),
        (
            "150000,12,13,11,12",
            "open_time",
            "150000",
            "a multiple of 60000 ms",
        ),
        (
            "yesterday,12,13,11,12",
            "open_time",
            "yesterday",
            "milliseconds since the epoch",
        ),
    ] {
        let refused = error_message(&format!("{CSV_HEADER}{ONE}{TWO}{row}\n"));
        let place = format!("candles.csv, line 4, column {column}: {value:?}; expected ");
        assert!(refused.contains(&place), "{row}: {refused}");
        assert!(refused.contains(allowed), "{row}: {refused}");
    }
}

#[test]
fn error_far_down_the_file_is_reported_as_well() {
    let mut rows = random_walk(1, 1, 5_000);
    rows[4_000] = rows[3_998].clone();
    let refused = error_message(&format!("{CSV_HEADER}{}\n", rows.join("\n")));
    assert!(refused.contains("line 4002, column open_time"), "{refused}");
}

#[test]
fn columns_are_found_by_name_and_a_missing_one_is_named() {
    let refused = error_message("when,open,high,low,close\n60000,1,1,1,1\n");
    assert!(
        refused.contains("line 1, column open_time: missing"),
        "{refused}"
    );
    assert!(refused.contains("when,open,high,low,close"), "{refused}");
    let place = TestDir::new();
    let file =
        place.candles("volume,close,low,high,open,open_time\n1,2,1,3,1.1e0,0\n1,2,1,3,1,60000\n");
    assert!(run(&file, &[]).unwrap().contains("2 of 1m"));
}

#[test]
fn file_of_another_kind_or_none_is_rejected() {
    let stop = run(Path::new("/nowhere/candles.csv"), &[]).unwrap_err();
    assert_eq!(stop.code.number(), 78);
    let wanted = "/nowhere/candles.csv: No such file";
    assert!(stop.message.contains(wanted), "{stop}");
    assert!(error_message("").contains("column open_time: missing"));
    assert!(
        error_message(&format!("{CSV_HEADER}{ONE}")).contains("1 candles; expected at least 2")
    );
    let place = TestDir::new();
    let file = place.candles("");
    fs::write(&file, [0x1f, 0x8b, 8, 0, 1, 2, 3]).unwrap();
    let stop = run(&file, &[]).unwrap_err();
    assert!(
        stop.message.contains("expected a readable file of candles"),
        "{stop}"
    );
}

#[test]
fn the_interval_is_the_most_common_step_of_the_first_rows() {
    let place = TestDir::new();
    for minutes in [1, 3, 5, 15, 30] {
        let mut rows = random_walk(7, minutes, 2_000);
        // A gap right at the beginning.
        rows.drain(1..4);
        let summary = run(&place.rows(&rows), &[]).unwrap();
        assert!(
            summary.contains(&format!("1,997 of {minutes}m")),
            "{summary}"
        );
        assert!(summary.contains("1, 3 candles missing"), "{summary}");
    }
    for (minutes, line) in [(2, 3), (60, 3), (240, 3)] {
        let refused = error_message(&format!(
            "{CSV_HEADER}{}\n",
            random_walk(7, minutes, 50).join("\n")
        ));
        let second = MIDNIGHT + minutes * 60_000;
        let wanted =
            format!("line {line}, column open_time: \"{second}\"; expected 1, 3, 5, 15 or 30");
        assert!(refused.contains(&wanted), "{refused}");
    }
}

#[test]
fn gaps_are_counted_and_bridged() {
    let place = TestDir::new();
    let mut rows = random_walk(3, 1, 600);
    // The last minute of the 5th half hour; all of the 10th and the first half of the 11th.
    rows.drain(270..315);
    rows.remove(149);
    let summary = run(&place.rows(&rows), &[]).unwrap();
    for wanted in [
        "554 of 1m",
        "2, 46 candles missing; the first from 2026-01-05T02:29Z to 2026-01-05T02:30Z",
        "bridged at the last close",
        // Two of the 20 half hours end with a missing minute.
        "18 complete, too few to judge any",
    ] {
        assert!(summary.contains(wanted), "{wanted} is not in\n{summary}");
    }
}

#[test]
fn prices_finer_than_the_finest_are_rounded() {
    let mut text = String::from(CSV_HEADER);
    for n in 0..3 {
        let _ = writeln!(text, "{},0.30000000000000004,0.4,1e-1,0.3", n * 60_000);
    }
    let place = TestDir::new();
    run(&place.candles(&text), &[]).unwrap();
}
