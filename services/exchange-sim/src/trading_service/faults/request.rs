//! Reads requests that arm faults.

use super::fields::{FieldError, Fields, names};
use super::filter::Filter;
use super::kinds::{Fault, FaultKind, KINDS};

/// Reads a request that arms a fault.
///
/// # Errors
/// [`FieldError`] names the field, its value and what is expected.
pub(crate) fn parse(mut fields: Fields) -> Result<(Fault, Filter), FieldError> {
    let name = fields.remove("fault").unwrap_or_default();
    let Some(kind) = KINDS.iter().find(|kind| name == kind.name) else {
        return Err(FieldError::Invalid {
            field: "fault".to_owned(),
            value: name,
            expected: names(KINDS.iter().map(|kind| kind.name)),
        });
    };
    let filter = Filter::take(&mut fields, kind)?;
    if let Some((field, value)) = fields
        .iter()
        .find(|(f, _)| kind.fields.iter().all(|(n, _)| n != f))
    {
        return Err(FieldError::Invalid {
            field: field.clone(),
            value: value.clone(),
            expected: names(field_names(kind)),
        });
    }
    Ok(((kind.read)(fields, kind)?, filter))
}

/// Names of all fields of a request: the fault's own and those of its filter.
fn field_names(kind: &FaultKind) -> impl Iterator<Item = &'static str> {
    let own = kind.fields.iter().map(|(name, _)| *name);
    own.chain(Filter::names(kind))
}
