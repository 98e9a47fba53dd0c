//! Reads the fields of a fault. An error names the field, its value and what is expected.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

/// Fields of a request, without those that have been read.
pub(super) type Fields = Map<String, Value>;

/// A field of a request to arm a fault that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum FieldError {
    /// The field has a value that is not possible.
    #[error("{field}={value}: expected {expected}")]
    Invalid {
        field: String,
        value: Value,
        expected: String,
    },
    /// A mandatory field is not there.
    #[error("{field} is not set: expected {expected}")]
    Missing { field: String, expected: String },
}

/// A whole number within bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Bounded<const MIN: u64, const MAX: u64>(pub(crate) u64);

/// Milliseconds of wall time, at most an hour.
pub(crate) type Milliseconds = Bounded<0, 3_600_000>;

/// An HTTP status.
pub(crate) type HttpStatus = Bounded<200, 599>;

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Bounded<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = Value::deserialize(deserializer)?.as_u64();
        let within = number.filter(|number| (MIN..=MAX).contains(number));
        within
            .map(Self)
            .ok_or_else(|| D::Error::custom(format!("expected a whole number from {MIN} to {MAX}")))
    }
}

/// Reads a fault's own fields. `meanings` has a line for each of them.
pub(super) fn read<T: DeserializeOwned>(
    fields: Fields,
    meanings: &[(&str, &str)],
) -> Result<T, FieldError> {
    let fields = Value::Object(fields);
    serde_path_to_error::deserialize(&fields).map_err(|error| {
        let path = error.path().to_string();
        let text = error.into_inner().to_string();
        if let Some(field) = text.strip_prefix("missing field `") {
            let field = field.trim_end_matches('`').to_owned();
            let meaning = meanings.iter().find(|(name, _)| *name == field);
            return FieldError::Missing {
                expected: meaning.map_or_else(String::new, |(_, text)| (*text).to_owned()),
                field,
            };
        }
        let expected = if text.starts_with("unknown field") {
            names(meanings.iter().map(|(name, _)| *name))
        } else {
            text.rsplit_once("expected ")
                .map_or(text.as_str(), |(_, expected)| expected)
                .replace('`', "")
        };
        let value = path
            .split('.')
            .try_fold(&fields, |value, name| value.get(name));
        FieldError::Invalid {
            value: value.cloned().unwrap_or_default(),
            field: path,
            expected,
        }
    })
}

/// Names as they are listed in an error.
pub(super) fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    match names.as_slice() {
        [] => "no field but those that select calls or frames".to_owned(),
        names => format!("one of {}", names.join(", ")),
    }
}
