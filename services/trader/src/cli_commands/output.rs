//! Text forms and tables of the commands' output.

use std::fmt::Display;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use serde::Serializer;

/// Serializes a key as its text.
///
/// # Errors
/// The serializer's own.
pub(crate) fn as_text<S: Serializer>(key: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(key)
}

/// A table without borders. Columns listed in `numbers` are aligned to the right.
pub(crate) fn table<R>(
    header: &[&str],
    rows: impl IntoIterator<Item = R>,
    numbers: &[usize],
) -> String
where
    R: IntoIterator<Item = String>,
{
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header.to_vec());
    for row in rows {
        table.add_row(row.into_iter().collect::<Vec<_>>());
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if numbers.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n")
}

/// An amount with two decimals and its sign: `+1.50`, `-0.30`, `0.00`.
pub(crate) fn signed(amount: Decimal) -> String {
    let rounded = amount.round_dp(2);
    if rounded.is_zero() {
        return "0.00".to_owned();
    }
    format!("{rounded:+.2}")
}

/// `part` in percent of `whole`, with its sign; empty if the whole is zero.
pub(crate) fn percent(part: Decimal, whole: Decimal) -> String {
    let share = part
        .checked_div(whole)
        .and_then(|share| share.checked_mul(Decimal::ONE_HUNDRED));
    share.map_or_else(String::new, |share| format!("{} %", signed(share)))
}

/// A time to the minute: `2026-01-05 14:30 UTC`.
pub(crate) fn time(at: UtcMs) -> String {
    let text = at.to_string();
    match (text.get(..10), text.get(11..16)) {
        (Some(date), Some(minute)) if text.ends_with('Z') => format!("{date} {minute} UTC"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_columns_fit_their_cells() {
        let rows = [["BTCUSDT", "1.00"], ["A-VERY-LONG-SYMBOL", "10000.00"]];
        let rows = rows.map(|row| row.map(str::to_owned));
        let expected = "SYMBOL                EQUITY\n\
                        BTCUSDT                 1.00\n\
                        A-VERY-LONG-SYMBOL  10000.00";
        assert_eq!(table(&["SYMBOL", "EQUITY"], rows, &[1]), expected);
    }

    #[test]
    fn amounts_and_times_are_readable() {
        assert_eq!(signed(Decimal::new(1_504, 3)), "+1.50");
        assert_eq!(signed(Decimal::new(-1, 3)), "0.00");
        assert_eq!(
            percent(Decimal::new(-50, 0), Decimal::new(10_000, 0)),
            "-0.50 %"
        );
        assert_eq!(percent(Decimal::ONE, Decimal::ZERO), "");
        assert_eq!(time(UtcMs(1_767_623_400_000)), "2026-01-05 14:30 UTC");
    }
}
