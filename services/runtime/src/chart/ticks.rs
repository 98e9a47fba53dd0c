//! Positions and texts of axis labels: round times and round amounts.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "amounts up to 1e14 and times up to the year 9999 have room in either type"
)]

use jiff::Timestamp;
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;

/// Largest number of labels side by side.
const MAX_TIME_LABELS: i64 = 7;
/// Largest number of labels above each other.
const MAX_AMOUNT_LABELS: f64 = 6.0;
const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Steps that begin at midnight UTC, 1 January 1970.
const STEPS: [i64; 20] = [
    SECOND,
    5 * SECOND,
    10 * SECOND,
    30 * SECOND,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    4 * DAY,
    7 * DAY,
    14 * DAY,
];
/// Longer steps, which begin with a month.
const MONTHS: [i64; 14] = [
    1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1_200, 6_000, 12_000, 24_000,
];

/// Range and labels of one axis.
pub(super) struct Axis<T> {
    /// Start of the axis.
    pub(super) from: T,
    /// End of the axis, which differs from its start.
    pub(super) to: T,
    /// Positions of the labels.
    pub(super) at: Vec<T>,
    /// Texts of the labels.
    pub(super) label: Box<dyn Fn(T) -> String>,
}

/// Axis for these times. A single time gets a second before and after it.
pub(super) fn time_axis(first: i64, last: i64) -> Axis<i64> {
    let (from, to) = if first == last {
        (first - SECOND, last + SECOND)
    } else {
        (first, last)
    };
    let span = to - from;
    let (at, pattern) = match STEPS.into_iter().find(|step| span / step < MAX_TIME_LABELS) {
        Some(step) => (multiples(step, from, to), pattern(step, from, to)),
        None => month_ticks(from, to),
    };
    Axis {
        from,
        to,
        at,
        label: Box::new(move |ms| format_time(ms, pattern)),
    }
}

fn multiples(step: i64, from: i64, to: i64) -> Vec<i64> {
    let begin = from.div_euclid(step) + i64::from(from.rem_euclid(step) > 0);
    let end = to.div_euclid(step);
    (begin..=end).map(|i| i * step).collect()
}

const fn pattern(step: i64, from: i64, to: i64) -> &'static str {
    let one_day = from.div_euclid(DAY) == to.div_euclid(DAY);
    match step {
        DAY.. => "%Y-%m-%d",
        MINUTE.. if one_day => "%H:%M",
        MINUTE.. => "%m-%d %H:%M",
        _ => "%H:%M:%S",
    }
}

fn month_ticks(from: i64, to: i64) -> (Vec<i64>, &'static str) {
    let month = |ms| {
        let day = utc_date(ms);
        i64::from(day.year()) * 12 + i64::from(day.month()) - 1
    };
    let (begin, end) = (month(from), month(to));
    let fits = |step: &i64| (end - begin) / step < MAX_TIME_LABELS;
    let step = MONTHS.into_iter().find(fits).unwrap_or(MONTHS[13]);
    let starts = (begin / step..=end / step).filter_map(|i| month_start(i * step));
    let at = starts.filter(|ms| (from..=to).contains(ms)).collect();
    (at, if step % 12 == 0 { "%Y" } else { "%Y-%m" })
}

fn utc_date(ms: i64) -> Date {
    let at = Timestamp::from_millisecond(ms).unwrap_or_default();
    TimeZone::UTC.to_datetime(at).date()
}

/// Start of a month counted from the year 0; `None` outside the calendar.
fn month_start(month: i64) -> Option<i64> {
    let year = i16::try_from(month / 12).ok().filter(|year| *year > 0)?;
    let month = i8::try_from(month % 12 + 1).ok()?;
    let first = date(year, month, 1).at(0, 0, 0, 0);
    Some(TimeZone::UTC.to_timestamp(first).ok()?.as_millisecond())
}

fn format_time(ms: i64, pattern: &str) -> String {
    let at = Timestamp::from_millisecond(ms).unwrap_or_default();
    at.strftime(pattern).to_string()
}

/// Text of the time span of a curve.
pub(super) fn format_span(first: i64, last: i64) -> String {
    let pattern = "%Y-%m-%d %H:%M";
    let (first, last) = (format_time(first, pattern), format_time(last, pattern));
    format!("{first} to {last} UTC")
}

/// Axis for the amounts of these points with a margin. Expects at least one point.
pub(super) fn amount_axis(points: &[(i64, f64)]) -> Axis<f64> {
    let all = || points.iter().map(|(_, amount)| *amount);
    let (low, high) = (
        all().fold(f64::MAX, f64::min),
        all().fold(f64::MIN, f64::max),
    );
    // What is nearly flat shall look flat: no axis is finer than a ten-thousandth of its amounts.
    let least = (low.abs().max(high.abs()) * 1e-4).max(1e-2);
    let middle = low.midpoint(high);
    let half = ((high - low) / 2.0).max(least) * 1.08;
    let (from, to) = (middle - half, middle + half);
    let step = round_step((to - from) / MAX_AMOUNT_LABELS);
    let begin = (from / step).ceil() as i64;
    let end = (to / step).floor() as i64;
    Axis {
        from,
        to,
        at: (begin..=end).map(|i| i as f64 * step).collect(),
        label: Box::new(move |value| format_label(value, step)),
    }
}

/// Smallest of 1, 2, 2.5 and 5 times a power of ten that is not smaller than this.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powi(least.log10().floor() as i32);
    let fits = |factor: &f64| factor * power >= least;
    let factor = [1.0, 2.0, 2.5, 5.0].into_iter().find(fits).unwrap_or(10.0);
    factor * power
}

/// Decimal places that labels with this step need to differ.
fn decimal_places(step: f64) -> usize {
    let mut scaled = step;
    for digits in 0..8 {
        if (scaled - scaled.round()).abs() < 1e-6 {
            return digits;
        }
        scaled *= 10.0;
    }
    8
}

/// Label on an axis with this step; large amounts in millions and billions.
fn format_label(value: f64, step: f64) -> String {
    let (unit, letter) = match value.abs() {
        1e9.. => (1e9, "B"),
        1e7.. => (1e6, "M"),
        _ => (1.0, ""),
    };
    let text = format_amount(value / unit, decimal_places(step / unit));
    format!("{text}{letter}")
}

/// The amount with separated thousands: `-1,234,567.50`.
pub(super) fn format_amount(value: f64, digits: usize) -> String {
    let text = format!("{:.digits$}", value.abs());
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if !rest.is_empty() {
        grouped.push('.');
        grouped.push_str(rest);
    }
    let is_zero = !text.bytes().any(|digit| (b'1'..=b'9').contains(&digit));
    let sign = if value < 0.0 && !is_zero { "-" } else { "" };
    format!("{sign}{grouped}")
}

/// Change from the first amount to the last: `+308.62 (+3.09 %)`; no percentage if the first is zero.
pub(super) fn format_change(first: f64, last: f64) -> String {
    let signed = |value: f64| {
        let text = format_amount(value, 2);
        if text.starts_with('-') {
            text
        } else {
            format!("+{text}")
        }
    };
    let change = last - first;
    if first > 0.0 && change.abs() < first * 1e6 {
        format!("{} ({} %)", signed(change), signed(change / first * 100.0))
    } else {
        signed(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: i64 = 1_764_000_123_456;

    fn labels<T: Copy>(axis: &Axis<T>) -> Vec<String> {
        axis.at.iter().map(|at| (axis.label)(*at)).collect()
    }

    #[test]
    fn time_labels_are_round_and_distinct() {
        for (span, first, number) in [
            (20 * SECOND, "16:02:05", 4),
            (30 * MINUTE, "16:05", 6),
            (6 * HOUR, "17:00", 6),
            (DAY, "11-24 18:00", 4),
            (9 * DAY, "2025-11-26", 4),
            (30 * DAY, "2025-11-27", 4),
            (200 * DAY, "2026-01", 3),
            (365 * DAY, "2026-01", 6),
            (4 * 365 * DAY, "2026", 4),
            (100 * 365 * DAY, "2040", 5),
        ] {
            let found = labels(&time_axis(BEGIN, BEGIN + span));
            assert_eq!(found.first().map(String::as_str), Some(first), "{found:?}");
            assert_eq!(found.len(), number, "{found:?}");
        }
    }

    #[test]
    fn time_axis_has_labels_that_fit_for_every_span() {
        let mut span = 2 * SECOND;
        while BEGIN + span < 253_402_300_799_999 {
            let axis = time_axis(BEGIN, BEGIN + span);
            let count = axis.at.len();
            assert!((1..=9).contains(&count), "{span}: {:?}", labels(&axis));
            assert!(axis.at.iter().all(|at| (axis.from..=axis.to).contains(at)));
            span += span / 7;
        }
        assert!(time_axis(BEGIN, BEGIN).from < time_axis(BEGIN, BEGIN).to);
    }

    #[test]
    fn amount_labels_are_round_and_have_room() {
        for (low, high, expected) in [
            (
                10_000.0,
                10_000.0,
                ["9,999.0", "9,999.5", "10,000.0", "10,000.5", "10,001.0"].as_slice(),
            ),
            (
                9_500.0,
                10_400.0,
                &["9,600", "9,800", "10,000", "10,200", "10,400"],
            ),
            (-2.0, 2.0, &["-2", "-1", "0", "1", "2"]),
            (1e8, 3e8, &["100M", "150M", "200M", "250M", "300M"]),
        ] {
            let axis = amount_axis(&[(0, low), (1, high)]);
            assert!(axis.from < low && high < axis.to);
            let found = labels(&axis);
            assert_eq!(found, expected, "{low} to {high}");
        }
    }

    #[test]
    fn amount_axis_has_labels_that_fit_for_every_range() {
        for exponent in -6..=14 {
            for low in [0.0, 1.0, -1.0, 9_999.99, -3e13] {
                let high = low + 3.7 * 10_f64.powi(exponent);
                let axis = amount_axis(&[(0, high), (1, low)]);
                let count = axis.at.len();
                assert!(
                    (3..=8).contains(&count),
                    "{low} {high}: {:?}",
                    labels(&axis)
                );
            }
        }
    }

    #[test]
    fn amounts_and_changes_are_formatted_with_separators_and_sign() {
        assert_eq!(format_amount(1_234_567.5, 2), "1,234,567.50");
        assert_eq!(format_amount(-999.0, 0), "-999");
        assert_eq!(format_amount(-0.001, 2), "0.00");
        assert_eq!(format_change(10_000.0, 10_308.62), "+308.62 (+3.09 %)");
        assert_eq!(format_change(10_000.0, 9_000.0), "-1,000.00 (-10.00 %)");
        assert_eq!(format_change(0.0, 5.0), "+5.00");
    }
}
