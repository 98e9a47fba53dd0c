//! An address that is a secret: it may hold a token or a topic that only its owner knows. It leaves this
//! file in a request alone; neither an error nor a `Debug` shows it.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, StatusCode, Url};
use runtime::process::ExitError;
use secrecy::{ExposeSecret, SecretString};

const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
const DEADLINE: Duration = Duration::from_secs(10);
/// Longest explanation that is kept.
const MAX_ERROR_CHARS: usize = 300;

/// What of an address is worth hiding in words about it.
const MIN_SECRET_CHARS: usize = 4;

/// A checked address.
#[derive(Debug, Clone)]
pub struct SecretUrl(SecretString);

/// Why there was no answer.
#[derive(Debug)]
pub struct RequestError {
    /// No connection stood.
    pub was_not_sent: bool,
    /// One line without the address.
    pub error: String,
}

impl SecretUrl {
    /// The value of the variable `name`, if it is an address.
    ///
    /// # Errors
    /// Exit 78, without the value.
    pub fn parse(name: &str, value: SecretString) -> Result<Self, ExitError> {
        match Url::parse(value.expose_secret()) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
                Ok(Self(value))
            }
            _ => Err(ExitError::config(format!(
                "{name} (not shown): allowed is https://host or http://host, with port, path and query"
            ))),
        }
    }

    /// Where to, for the client.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Makes the call; the status of its answer, whose words nobody reads.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn send(&self, request: RequestBuilder) -> Result<StatusCode, RequestError> {
        match request.send().await {
            Ok(response) => Ok(response.status()),
            Err(error) => Err(RequestError {
                was_not_sent: error.is_connect() || error.is_builder(),
                error: self.redact(&error_chain(error)),
            }),
        }
    }

    /// One line of bounded length without anything of the address but its host.
    fn redact(&self, text: &str) -> String {
        let mut text = text.replace(self.expose(), "***");
        if let Ok(url) = Url::parse(self.expose()) {
            let words = url.path().split('/').chain(url.query());
            let words = words.chain([url.username()]).chain(url.password());
            for word in words.filter(|word| word.len() >= MIN_SECRET_CHARS) {
                text = text.replace(word, "***");
            }
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        words.join(" ").chars().take(MAX_ERROR_CHARS).collect()
    }
}

/// A client that connects to nothing yet, follows no redirection, and never waits for ever.
///
/// # Errors
/// Exit 70 if there is no TLS.
pub fn build_client() -> Result<Client, ExitError> {
    // A second installation is refused, and as good as the first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .connect_timeout(CONNECT_DEADLINE)
        .timeout(DEADLINE)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("bearish-alpha/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| ExitError::internal(format!("no TLS: {}", error.without_url())))
}

/// What an error and everything behind it say, without the address.
pub fn error_chain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut why = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        why = format!("{why}: {error}");
        cause = error.source();
    }
    why
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_url(text: &str) -> Result<SecretUrl, ExitError> {
        SecretUrl::parse("FALLBACK_URL", SecretString::from(text))
    }

    #[test]
    fn secret_url_rejects_invalid_urls_without_showing_them() {
        assert!(parse_url("https://ntfy.sh/topic?auth=x").is_ok());
        for bad in ["plugh-5678", "ftp://host/plugh-5678", "https:///"] {
            let stop = parse_url(bad).unwrap_err();
            assert!(stop.message.starts_with("FALLBACK_URL (not shown)"));
            assert!(!stop.message.contains("plugh"), "{}", stop.message);
        }
    }

    #[test]
    fn secret_url_is_shown_neither_by_debug_nor_in_errors() {
        let address = parse_url("https://user1:pass2@host:1/topic3/x?auth=tk_4").unwrap();
        assert!(!format!("{address:?}").contains("topic3"));
        let text = "no https://user1:pass2@host:1/topic3/x?auth=tk_4 at\nhost/topic3?auth=tk_4 user1 pass2";
        assert_eq!(address.redact(text), "no *** at host/***?*** *** ***");
    }
}
