//! Commands of `scripts/bearish` as messages name them. A command for an account names the mode: without it, a host with
//! a paper and a live account rejects the command.

use std::fmt;

use crate::ids::Mode;

/// Ends a latch.
pub fn unlatch(mode: Mode, latch: impl fmt::Display) -> String {
    format!("scripts/bearish unlatch --latch {latch} --reason TEXT --{mode}")
}

/// Accepts a difference between the exchange's balance and the books.
pub fn accept(mode: Mode, difference: impl fmt::Display) -> String {
    format!("scripts/bearish accept --difference {difference} --reason TEXT --{mode}")
}

/// Lets a halted book trade again.
pub fn unhalt(mode: Mode, symbol: impl fmt::Display) -> String {
    format!("scripts/bearish unhalt --symbol {symbol} --reason TEXT --{mode}")
}

/// Allows entries again: of one symbol, or of all.
pub fn resume(mode: Mode, symbol: Option<&str>) -> String {
    let scope = symbol.map_or_else(String::new, |symbol| format!("--symbol {symbol} "));
    format!("scripts/bearish resume {scope}--reason TEXT --{mode}")
}

/// Closes every position on the exchange, without the bus.
pub fn flatten_direct(mode: Mode) -> String {
    format!("scripts/bearish flatten --confirm --direct --reason TEXT --{mode}")
}
