//! The exchange's answers and stream events as types, with exactly the fields that are used.
//!
//! A field that is not an `Option` must be there, or the answer is an error as a whole. Other fields of an answer are
//! ignored. Numbers are read from strings and from numbers, without a float in between. A value of an enumeration
//! that is not known is kept as text.
//!
//! | file | contents |
//! | --- | --- |
//! | `scalar` | decimals, ids, times and texts in every form that the exchange uses |
//! | `market` | time, symbols, klines |
//! | `orders` | orders, conditional orders, trades |
//! | `account` | balance, permissions, positions, settings, income |
//! | `stream` | events of market streams and the user stream |

pub mod account;
pub mod market;
pub mod orders;
pub mod scalar;
pub mod stream;

use serde::Deserialize;

/// An answer of which only the success counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Acknowledged {}
