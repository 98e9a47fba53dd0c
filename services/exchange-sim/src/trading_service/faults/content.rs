//! Faults of content, as they are armed: JSON that differs from what Binance documents, in answers and in events of
//! streams.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Value of fields that no documentation lists.
const UNDOCUMENTED: &str = "UNDOCUMENTED";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OtherValue {
    pub(crate) field: String,
    #[serde(default = "undocumented")]
    pub(crate) value: Value,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewField {
    #[serde(default = "new_field")]
    pub(crate) field: String,
    #[serde(default = "undocumented")]
    pub(crate) value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MissingField {
    pub(crate) field: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SwappedTypes {
    /// `None` for all fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) field: Option<String>,
}

fn undocumented() -> Value {
    json!(UNDOCUMENTED)
}

fn new_field() -> String {
    "undocumentedField".to_owned()
}
