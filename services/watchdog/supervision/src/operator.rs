//! What a person may order, and why an order is turned down.

use crate::record::{Fact, Why};
use crate::state::{Phase, Unit};

/// Ends a quarantine: the unit starts at once, its failures in a row count from zero, with `total`
/// also its restarts.
///
/// # Errors
/// Why there is nothing to release, or that it would be quarantined again at once.
pub fn release(unit: Option<&Unit>, by: &str, total: bool) -> Result<Fact, String> {
    let Some(unit) = unit else {
        return Err("no unit of this name was ever seen".to_owned());
    };
    match unit.phase {
        Phase::Quarantined {
            why: Why::MaxRestarts,
            ..
        } if !total => Err(format!(
            "it had all its {} restarts: release it with --total to count from zero",
            unit.restarts
        )),
        Phase::Quarantined { .. } => Ok(Fact::Released {
            by: by.to_owned(),
            total,
        }),
        _ => Err(format!("it is {}, not quarantined", unit.phase.as_str())),
    }
}
