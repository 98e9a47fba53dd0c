//! A URL that may contain a secret, such as a token or a topic. Neither errors nor `Debug` show it.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, StatusCode, Url};
use runtime::process::ExitError;
use secrecy::{ExposeSecret, SecretString};

const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
const DEADLINE: Duration = Duration::from_secs(10);
/// Longest error text, in characters.
const MAX_ERROR_CHARS: usize = 300;

/// Shortest part of a URL that is hidden in errors, in characters.
const MIN_SECRET_CHARS: usize = 4;

/// An HTTP or HTTPS URL whose path and query are hidden in logs and errors.
#[derive(Debug, Clone)]
pub struct SecretUrl(SecretString);

/// Error of a request without a response.
#[derive(Debug)]
pub struct RequestError {
    /// Whether there was no connection, so that nothing was sent.
    pub was_not_sent: bool,
    /// Error in one line without the URL.
    pub error: String,
}

impl SecretUrl {
    /// Parses the value of the setting `name`.
    ///
    /// # Errors
    /// Exit 78 without the value if it is not an HTTP URL.
    pub fn parse(name: &str, value: SecretString) -> Result<Self, ExitError> {
        match Url::parse(value.expose_secret()) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
                Ok(Self(value))
            }
            _ => Err(ExitError::config(format!(
                "{name} (not shown): expected https://host or http://host, with optional port, path and query"
            ))),
        }
    }

    /// The URL, for requests only.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Makes a call; the status of the response.
    ///
    /// # Errors
    /// [`RequestError`] without a response.
    pub async fn send(&self, request: RequestBuilder) -> Result<StatusCode, RequestError> {
        match request.send().await {
            Ok(response) => Ok(response.status()),
            Err(error) => Err(RequestError {
                was_not_sent: error.is_connect() || error.is_builder(),
                error: self.redact(&error_chain(error)),
            }),
        }
    }

    /// One line of bounded length that shows no part of the URL but its host.
    fn redact(&self, text: &str) -> String {
        let mut text = text.replace(self.expose(), "***");
        if let Ok(url) = Url::parse(self.expose()) {
            let parts = url.path().split('/').chain(url.query());
            let parts = parts.chain([url.username()]).chain(url.password());
            for part in parts.filter(|part| part.len() >= MIN_SECRET_CHARS) {
                text = text.replace(part, "***");
            }
        }
        let parts: Vec<&str> = text.split_whitespace().collect();
        parts.join(" ").chars().take(MAX_ERROR_CHARS).collect()
    }
}

/// Makes a client with deadlines that follows no redirection.
///
/// # Errors
/// Exit 70 if TLS cannot be initialized.
pub fn build_client() -> Result<Client, ExitError> {
    // A second installation fails, and the first one stays in place.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .connect_timeout(CONNECT_DEADLINE)
        .timeout(DEADLINE)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("bearish-alpha/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| ExitError::internal(format!("TLS: {}", error.without_url())))
}

/// Text of an error and its sources, without the URL.
pub fn error_chain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
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
