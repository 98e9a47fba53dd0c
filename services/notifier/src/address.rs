//! An address that is a secret: it may hold a token or a topic that only its owner knows. It leaves this
//! file in a request alone; neither an error nor a `Debug` shows it.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, StatusCode, Url};
use runtime::process::Stop;
use secrecy::{ExposeSecret, SecretString};

const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
const DEADLINE: Duration = Duration::from_secs(10);
/// Longest explanation that is kept.
const LONGEST_WHY: usize = 300;

/// What of an address is worth hiding in words about it.
const SHORTEST_SECRET: usize = 4;

/// A checked address.
#[derive(Debug, Clone)]
pub struct SecretAddress(SecretString);

/// Why there was no answer.
#[derive(Debug)]
pub struct NoAnswer {
    /// No connection stood.
    pub surely_not_sent: bool,
    /// One line without the address.
    pub why: String,
}

impl SecretAddress {
    /// The value of the variable `name`, if it is an address.
    ///
    /// # Errors
    /// Exit 78, without the value.
    pub fn parse(name: &str, value: SecretString) -> Result<Self, Stop> {
        match Url::parse(value.expose_secret()) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
                Ok(Self(value))
            }
            _ => Err(Stop::config(format!(
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
    pub async fn call(&self, request: RequestBuilder) -> Result<StatusCode, NoAnswer> {
        match request.send().await {
            Ok(response) => Ok(response.status()),
            Err(error) => Err(NoAnswer {
                surely_not_sent: error.is_connect() || error.is_builder(),
                why: self.clean(&causes(error)),
            }),
        }
    }

    /// One line of bounded length without anything of the address but its host.
    fn clean(&self, text: &str) -> String {
        let mut text = text.replace(self.expose(), "***");
        if let Ok(url) = Url::parse(self.expose()) {
            let words = url.path().split('/').chain(url.query());
            let words = words.chain([url.username()]).chain(url.password());
            for word in words.filter(|word| word.len() >= SHORTEST_SECRET) {
                text = text.replace(word, "***");
            }
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        words.join(" ").chars().take(LONGEST_WHY).collect()
    }
}

/// A client that connects to nothing yet, follows no redirection, and never waits for ever.
///
/// # Errors
/// Exit 70 if there is no TLS.
pub fn client() -> Result<Client, Stop> {
    // A second installation is refused, and as good as the first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .connect_timeout(CONNECT_DEADLINE)
        .timeout(DEADLINE)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("bearish-alpha/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Stop::internal(format!("no TLS: {}", error.without_url())))
}

/// What an error and everything behind it say, without the address.
pub fn causes(error: reqwest::Error) -> String {
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

    fn parsed(text: &str) -> Result<SecretAddress, Stop> {
        SecretAddress::parse("FALLBACK_URL", SecretString::from(text))
    }

    #[test]
    fn what_is_no_address_is_refused_and_nothing_of_it_is_shown() {
        assert!(parsed("https://ntfy.sh/topic?auth=x").is_ok());
        for bad in ["plugh-5678", "ftp://host/plugh-5678", "https:///"] {
            let stop = parsed(bad).unwrap_err();
            assert!(stop.message.starts_with("FALLBACK_URL (not shown)"));
            assert!(!stop.message.contains("plugh"), "{}", stop.message);
        }
    }

    #[test]
    fn neither_debug_nor_words_about_a_call_show_it() {
        let address = parsed("https://user1:pass2@host:1/topic3/x?auth=tk_4").unwrap();
        assert!(!format!("{address:?}").contains("topic3"));
        let text = "no https://user1:pass2@host:1/topic3/x?auth=tk_4 at\nhost/topic3?auth=tk_4 user1 pass2";
        assert_eq!(address.clean(text), "no *** at host/***?*** *** ***");
    }
}
