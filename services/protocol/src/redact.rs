//! Removal of secrets from text before it is stored, sent or shown: values whose names suggest a secret, credentials in
//! URLs, private keys, and tokens that their shape gives away.
//!
//! [`redact`] is for text of people and programs: logs, errors, events, evidence. [`redact_arguments`],
//! [`is_secret_setting_name`] and [`redact_setting_value`] are for command lines, environments and labels of containers;
//! these hide too much rather than too little. `tests/redaction.jsonl` shows what is redacted and what is kept.

mod arguments;
mod names;
mod shapes;
mod syntax;
mod text;
mod values;

pub use arguments::{redact_arguments, redact_command};
pub use names::is_secret_setting_name;
pub use syntax::REDACTED;
pub use text::{redact, redact_json, redact_setting_value};
