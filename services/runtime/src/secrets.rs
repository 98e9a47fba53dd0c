//! Secrets from the environment or from a file, in a type that no log or error can show.

use std::path::Path;

use secrecy::SecretString;

use crate::exit_error::ExitError;
use crate::settings::invalid_setting;

/// The value, else the content of the file without trailing line ends; `None` if neither is set.
///
/// # Errors
/// Exit 78 if both are set, or if the file cannot be read or is empty. The content is not shown.
pub fn resolve(
    name: &str,
    value: Option<&SecretString>,
    file: Option<&Path>,
) -> Result<Option<SecretString>, ExitError> {
    match (value, file) {
        (Some(value), None) => Ok(Some(value.clone())),
        (None, None) => Ok(None),
        (None, Some(path)) => read(name, path).map(Some),
        (Some(_), Some(_)) => Err(ExitError::config(format!(
            "{name} and {name}_FILE are both set: expected one of them"
        ))),
    }
}

fn read(name: &str, path: &Path) -> Result<SecretString, ExitError> {
    let invalid = |expected: &str| {
        invalid_setting(
            &format!("{name}_FILE"),
            &path.display().to_string(),
            expected,
        )
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        invalid(&format!(
            "expected a file that this process may read: {error}"
        ))
    })?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(invalid(
            "expected a file with the secret in one line; the file is empty",
        ));
    }
    Ok(SecretString::from(text))
}
