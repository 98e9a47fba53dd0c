//! The settings of the account's API key and its secret: their sources and their format. No text contains them.

use std::path::PathBuf;

use clap::Args;
use exchange::ApiCredentials;
use runtime::exit_error::ExitError;
use runtime::secrets;
use secrecy::{ExposeSecret, SecretString};

/// Most characters of a key or secret; Binance's have 64.
const LONGEST: usize = 256;

/// Sources of key and secret: the environment or files.
#[derive(Debug, Clone, Default, Args)]
pub struct CredentialSettings {
    /// API key of the account, from Binance's page on API management
    #[arg(
        long,
        env = "BINANCE_API_KEY",
        value_name = "BINANCE_API_KEY",
        hide_env_values = true
    )]
    pub api_key: Option<SecretString>,

    /// A file that holds the API key
    #[arg(
        long,
        env = "BINANCE_API_KEY_FILE",
        value_name = "BINANCE_API_KEY_FILE"
    )]
    pub api_key_file: Option<PathBuf>,

    /// The API key's secret
    #[arg(
        long,
        env = "BINANCE_API_SECRET",
        value_name = "BINANCE_API_SECRET",
        hide_env_values = true
    )]
    pub api_secret: Option<SecretString>,

    /// A file that holds the secret
    #[arg(
        long,
        env = "BINANCE_API_SECRET_FILE",
        value_name = "BINANCE_API_SECRET_FILE"
    )]
    pub api_secret_file: Option<PathBuf>,
}

impl CredentialSettings {
    /// Reads key and secret; `None` if neither is set.
    ///
    /// # Errors
    /// Exit 78 naming the variable and what is expected, never the value: key without secret or the reverse, both
    /// value and file, a file that cannot be read, a text that is no key.
    pub fn credentials(&self) -> Result<Option<ApiCredentials>, ExitError> {
        let key = one(
            "BINANCE_API_KEY",
            self.api_key.as_ref(),
            self.api_key_file.as_ref(),
        )?;
        let secret = one(
            "BINANCE_API_SECRET",
            self.api_secret.as_ref(),
            self.api_secret_file.as_ref(),
        )?;
        match (key, secret) {
            (Some(key), Some(secret)) => Ok(Some(ApiCredentials { key, secret })),
            (None, None) => Ok(None),
            (Some(_), None) => Err(alone("BINANCE_API_KEY", "BINANCE_API_SECRET")),
            (None, Some(_)) => Err(alone("BINANCE_API_SECRET", "BINANCE_API_KEY")),
        }
    }
}

fn one(
    name: &str,
    value: Option<&SecretString>,
    file: Option<&PathBuf>,
) -> Result<Option<SecretString>, ExitError> {
    let found = secrets::resolve(name, value, file.map(PathBuf::as_path))?;
    found
        .map(|found| checked(name, found.expose_secret()))
        .transpose()
}

/// Removes the blanks that copying leaves at the ends.
fn checked(name: &str, text: &str) -> Result<SecretString, ExitError> {
    let text = text.trim();
    let valid = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    if (1..=LONGEST).contains(&text.len()) && text.bytes().all(valid) {
        return Ok(SecretString::from(text));
    }
    Err(ExitError::config(format!(
        "{name}: expected 1 to {LONGEST} of A-Z a-z 0-9 - _ (an HMAC key, not an RSA or Ed25519 one); it has {} \
         characters",
        text.chars().count()
    )))
}

fn alone(is: &str, is_not: &str) -> ExitError {
    ExitError::config(format!(
        "{is} requires {is_not} or {is_not}_FILE: expected both or neither"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(key: Option<&str>, secret: Option<&str>) -> CredentialSettings {
        CredentialSettings {
            api_key: key.map(SecretString::from),
            api_secret: secret.map(SecretString::from),
            ..CredentialSettings::default()
        }
    }

    #[test]
    fn blanks_at_the_ends_are_cut_and_neither_is_neither() {
        let keys = settings(Some(" abc\n"), Some("d-e_f\r\n"))
            .credentials()
            .unwrap();
        let keys = keys.unwrap();
        assert_eq!(keys.key.expose_secret(), "abc");
        assert_eq!(keys.secret.expose_secret(), "d-e_f");
        assert!(settings(None, None).credentials().unwrap().is_none());
        assert_eq!(format!("{keys:?}"), "ApiCredentials(hidden)");
    }

    #[test]
    fn a_file_is_read_and_its_path_may_be_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, "abc\n").unwrap();
        let with = |file: PathBuf| CredentialSettings {
            api_key_file: Some(file),
            ..settings(None, Some("def"))
        };
        let keys = with(path).credentials().unwrap().unwrap();
        assert_eq!(keys.key.expose_secret(), "abc");
        let missing = with(dir.path().join("none")).credentials().unwrap_err();
        assert!(missing.message.contains("BINANCE_API_KEY_FILE="));
    }

    #[test]
    fn each_refusal_names_the_variable_and_never_the_value() {
        for (key, secret, named) in [
            (Some("hidden"), None, "BINANCE_API_SECRET_FILE"),
            (None, Some("hidden"), "BINANCE_API_KEY_FILE"),
            (Some("hid den"), Some("x"), "BINANCE_API_KEY: expected"),
            (
                Some("x"),
                Some("-----BEGIN hidden"),
                "BINANCE_API_SECRET: expected",
            ),
            (Some("  "), Some("x"), "BINANCE_API_KEY: expected"),
        ] {
            let refused = settings(key, secret).credentials().unwrap_err();
            assert!(refused.message.contains(named), "{}", refused.message);
            assert!(!refused.message.contains("hid"), "{}", refused.message);
        }
    }
}
