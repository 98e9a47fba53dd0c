//! Secrets from the environment or from a file, typed so that no log or error can show them.

use std::path::Path;

use secrecy::SecretString;

use crate::exit_error::ExitError;

/// The value itself, else the content of the file, else nothing. Trailing line ends are cut.
///
/// # Errors
/// Exit 78 naming the variable and the file (never the content) if it cannot be read or is empty.
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
            "{name} and {name}_FILE are both set: set one"
        ))),
    }
}

fn read(name: &str, path: &Path) -> Result<SecretString, ExitError> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| ExitError::config(format!("{name}_FILE={shown}: {error}")))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(ExitError::config(format!(
            "{name}_FILE={shown}: the file is empty"
        )));
    }
    Ok(SecretString::from(text))
}
