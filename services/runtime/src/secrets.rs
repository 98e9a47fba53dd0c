//! Secrets from the environment or from a file, in a type that no log or error can show.

use std::io::ErrorKind;
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
    let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => invalid(&format!(
            "expected a file that is readable by user 10001, as whom the containers run: {error}"
        )),
        _ => invalid(&format!(
            "expected a file that this process may read: {error}"
        )),
    })?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        // Compose mounts /dev/null for a setting that is not in .env.
        return Err(ExitError::config(format!(
            "{name}_FILE names no file: set it in .env to a file with the secret in one line ({} is empty)",
            path.display()
        )));
    }
    Ok(SecretString::from(text))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn error_message(path: &str) -> String {
        let error = resolve("BINANCE_API_KEY", None, Some(Path::new(path))).unwrap_err();
        error.message
    }

    #[test]
    fn setting_without_a_file_says_where_to_set_it() {
        let message = error_message("/dev/null");
        let expected = "BINANCE_API_KEY_FILE names no file: set it in .env";
        assert!(message.starts_with(expected), "{message}");
    }

    #[test]
    fn unreadable_file_names_the_user_that_must_read_it() {
        let dir = std::env::temp_dir().join(format!("bearish-secret-{}", std::process::id()));
        std::fs::write(&dir, "abc\n").unwrap();
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o000)).unwrap();
        let path = dir.to_str().unwrap();
        let read = resolve("BINANCE_API_KEY", None, Some(&dir));
        // Root reads everything.
        if let Err(error) = read {
            let message = error.message;
            assert!(message.contains("readable by user 10001"), "{message}");
            assert!(message.contains(path), "{message}");
        }
        std::fs::remove_file(&dir).unwrap();
    }
}
