//! Settings of the notifier from the environment. An error names the setting, its value and what is expected; secret
//! values are not shown.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use notifier_core::send_limiter::SendLimits;
use runtime::bus::BusSettings;
use runtime::identity::InstanceSettings;
use runtime::logging::LoggingSettings;
use runtime::metrics::MetricsSettings;
use runtime::process::ExitError;
use runtime::secrets;
use runtime::settings::whole_number;
use secrecy::{ExposeSecret, SecretString};

use crate::config::{Bot, DeadManConfig, FallbackConfig, FallbackFormat};
use crate::secret_url::SecretUrl;

/// Settings of the notifier, from flags and environment.
#[derive(Debug, Clone, Parser)]
#[command(name = "notifier")]
pub struct Settings {
    /// Settings of the bus.
    #[command(flatten)]
    pub bus: BusSettings,

    /// Settings of the log.
    #[command(flatten)]
    pub telemetry: LoggingSettings,

    /// Settings of the metrics.
    #[command(flatten)]
    pub metrics: MetricsSettings,

    /// Settings of the instance.
    #[command(flatten)]
    pub own: InstanceSettings,

    /// Token of the bot, from @BotFather
    #[arg(
        long,
        env = "TELEGRAM_BOT_TOKEN",
        value_name = "TELEGRAM_BOT_TOKEN",
        hide_env_values = true
    )]
    pub token: Option<SecretString>,

    /// File with the token of the bot
    #[arg(
        long,
        env = "TELEGRAM_BOT_TOKEN_FILE",
        value_name = "TELEGRAM_BOT_TOKEN_FILE"
    )]
    pub token_file: Option<PathBuf>,

    /// Id of the chat that receives messages; negative for a group
    #[arg(long, env = "TELEGRAM_CHAT_ID", value_name = "TELEGRAM_CHAT_ID",
          allow_negative_numbers = true, value_parser = chat)]
    pub chat: Option<i64>,

    /// Ids of the users who may give commands, separated by commas; no commands if empty
    #[arg(long, env = "TELEGRAM_ALLOWED_USERS", value_name = "TELEGRAM_ALLOWED_USERS",
          default_value = "", value_parser = users)]
    pub allowed_users: AllowedUsers,

    /// URL of Telegram's Bot API
    #[arg(long, env = "TELEGRAM_API_URL", value_name = "TELEGRAM_API_URL",
          default_value = "https://api.telegram.org", value_parser = api_url)]
    pub api_url: String,

    /// Shortest time between two messages to the chat, in milliseconds
    #[arg(long, env = "TELEGRAM_MIN_INTERVAL_MS", value_name = "TELEGRAM_MIN_INTERVAL_MS",
          default_value = "1000", value_parser = whole_number::<u64>(0..=60_000))]
    pub min_interval_ms: u64,

    /// Time between two summaries, in seconds
    #[arg(long, env = "NOTIFIER_SUMMARY_SECS", value_name = "NOTIFIER_SUMMARY_SECS",
          default_value = "3600", value_parser = whole_number::<u64>(10..=86_400))]
    pub summary_secs: u64,

    /// URL for critical notifications that Telegram does not accept; may contain a secret
    #[arg(
        long,
        env = "FALLBACK_URL",
        value_name = "FALLBACK_URL",
        hide_env_values = true
    )]
    pub fallback_url: Option<SecretString>,

    /// File with the URL of the fallback
    #[arg(long, env = "FALLBACK_URL_FILE", value_name = "FALLBACK_URL_FILE")]
    pub fallback_url_file: Option<PathBuf>,

    /// URL that receives a GET at an interval while everything works; may contain a secret
    #[arg(
        long,
        env = "DEADMAN_URL",
        value_name = "DEADMAN_URL",
        hide_env_values = true
    )]
    pub deadman_url: Option<SecretString>,

    /// File with the URL of the dead man's switch
    #[arg(long, env = "DEADMAN_URL_FILE", value_name = "DEADMAN_URL_FILE")]
    pub deadman_url_file: Option<PathBuf>,

    /// Time between two pings of the dead man's switch, in seconds
    #[arg(long, env = "DEADMAN_INTERVAL_SECS", value_name = "DEADMAN_INTERVAL_SECS",
          default_value = "60", value_parser = whole_number::<u64>(1..=3_600))]
    pub deadman_interval_secs: u64,

    /// Format of messages to the fallback: webhook or ntfy
    #[arg(long, env = "FALLBACK_FORMAT", value_name = "FALLBACK_FORMAT",
          default_value_t = FallbackFormat::Webhook, value_parser = format)]
    pub fallback_format: FallbackFormat,
}

/// Ids of the users who may give commands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedUsers(BTreeSet<i64>);

impl Settings {
    /// Reads the settings from the environment.
    ///
    /// # Errors
    /// Exit 78 that names the setting.
    pub fn from_env() -> Result<Self, ExitError> {
        runtime::settings::from_env()
    }

    /// Configuration of the bot; `None` without a token and a chat.
    ///
    /// # Errors
    /// Exit 78 for an invalid token, or if only one of token and chat is set.
    pub fn bot(&self) -> Result<Option<Bot>, ExitError> {
        let file = self.token_file.as_deref();
        let token = secrets::resolve("TELEGRAM_BOT_TOKEN", self.token.as_ref(), file)?;
        match (token, self.chat) {
            (None, None) if !self.allowed_users.0.is_empty() => Err(ExitError::config(
                "TELEGRAM_ALLOWED_USERS requires TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID",
            )),
            (None, None) => Ok(None),
            (Some(token), Some(chat)) => {
                check_token(&token)?;
                Ok(Some(Bot {
                    token,
                    chat,
                    api_url: self.api_url.trim_end_matches('/').to_owned(),
                    limits: SendLimits::for_telegram(chat, self.min_interval_ms),
                    allowed_users: self.allowed_users.0.clone(),
                }))
            }
            (Some(_), None) => Err(ExitError::config(
                "TELEGRAM_BOT_TOKEN requires TELEGRAM_CHAT_ID",
            )),
            (None, Some(chat)) => Err(ExitError::config(format!(
                "TELEGRAM_CHAT_ID={chat} requires TELEGRAM_BOT_TOKEN or TELEGRAM_BOT_TOKEN_FILE"
            ))),
        }
    }

    /// Configuration of the dead man's switch; `None` without a URL.
    ///
    /// # Errors
    /// Exit 78 for an invalid URL.
    pub fn dead_man_switch(&self) -> Result<Option<DeadManConfig>, ExitError> {
        let file = self.deadman_url_file.as_deref();
        let Some(value) = secrets::resolve("DEADMAN_URL", self.deadman_url.as_ref(), file)? else {
            return Ok(None);
        };
        Ok(Some(DeadManConfig {
            url: SecretUrl::parse("DEADMAN_URL", value)?,
            interval: Duration::from_secs(self.deadman_interval_secs),
        }))
    }

    /// Configuration of the fallback; `None` without a URL.
    ///
    /// # Errors
    /// Exit 78 for an invalid URL, or without Telegram.
    pub fn fallback(&self) -> Result<Option<FallbackConfig>, ExitError> {
        let file = self.fallback_url_file.as_deref();
        let Some(value) = secrets::resolve("FALLBACK_URL", self.fallback_url.as_ref(), file)?
        else {
            return Ok(None);
        };
        let url = SecretUrl::parse("FALLBACK_URL", value)?;
        if self.chat.is_none() {
            return Err(ExitError::config(
                "FALLBACK_URL requires TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID",
            ));
        }
        let format = self.fallback_format;
        Ok(Some(FallbackConfig { url, format }))
    }
}

/// Checks the form of the token, because it becomes part of a URL.
fn check_token(token: &SecretString) -> Result<(), ExitError> {
    let well_formed = token
        .expose_secret()
        .split_once(':')
        .is_some_and(|(id, secret)| {
            let is_valid = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
            !id.is_empty()
                && id.bytes().all(|b| b.is_ascii_digit())
                && (30..=64).contains(&secret.len())
                && secret.bytes().all(is_valid)
        });
    if well_formed {
        Ok(())
    } else {
        Err(ExitError::config(
            "TELEGRAM_BOT_TOKEN (not shown): expected the token that @BotFather sends: digits, a colon and about 35 of \
             A-Z a-z 0-9 _ -, without spaces",
        ))
    }
}

fn format(text: &str) -> Result<FallbackFormat, String> {
    match text {
        "webhook" => Ok(FallbackFormat::Webhook),
        "ntfy" => Ok(FallbackFormat::Ntfy),
        _ => Err("expected webhook or ntfy".to_owned()),
    }
}

fn chat(text: &str) -> Result<i64, String> {
    match text.parse() {
        Ok(id) if id != 0 => Ok(id),
        _ => Err(
            "expected the id of a chat, for example 123456789, or -1001234567890 for a group"
                .to_owned(),
        ),
    }
}

fn users(text: &str) -> Result<AllowedUsers, String> {
    let invalid = || {
        "expected ids of users separated by commas, for example 123456789,987654321; @userinfobot shows your own id"
            .to_owned()
    };
    let ids = text.split(',').map(str::trim);
    let mut users = BTreeSet::new();
    for id in ids.filter(|id| !id.is_empty()) {
        let id: i64 = id.parse().map_err(|_| invalid())?;
        if id <= 0 {
            return Err(invalid());
        }
        users.insert(id);
    }
    Ok(AllowedUsers(users))
}

fn api_url(text: &str) -> Result<String, String> {
    match reqwest::Url::parse(text) {
        Ok(url)
            if matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none() =>
        {
            Ok(text.to_owned())
        }
        _ => Err("expected https://host or http://host, with optional port and path".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bot(pairs: &[&str]) -> Result<Option<Bot>, ExitError> {
        let arguments = ["settings"].iter().chain(pairs);
        Settings::try_parse_from(arguments).unwrap().bot()
    }

    #[test]
    fn settings_need_token_and_chat_together_and_hide_an_invalid_token() {
        let good = "123456789:AAabcdefghijklmnopqrstuvwxyz0123456";
        assert!(bot(&[]).unwrap().is_none());
        assert!(bot(&["--token", good, "--chat", "-100"]).unwrap().is_some());
        assert!(bot(&["--token", good]).is_err());
        assert!(bot(&["--chat", "5"]).is_err());
        for bad in [
            "secret",
            "12:short",
            "x:AAabcdefghijklmnopqrstuvwxyz0123456",
            "1:../getMe?AAabcdefghijklmnopqrstuvwxyz",
        ] {
            let stop = bot(&["--token", bad, "--chat", "5"]).err().unwrap();
            assert!(!stop.message.contains(bad), "{}", stop.message);
        }
    }

    #[test]
    fn settings_allow_users_by_number_only_and_beside_a_bot() {
        assert_eq!(users(" 7, 9 ,").unwrap().0, [7, 9].into());
        assert!(users("").unwrap().0.is_empty());
        for bad in ["@me", "-100", "0", "7;9"] {
            assert!(users(bad).is_err(), "{bad}");
        }
        assert!(bot(&["--allowed-users", "7"]).is_err());
    }

    #[test]
    fn settings_take_http_urls_without_credentials() {
        for good in ["https://api.telegram.org", "http://127.0.0.1:8081/tg"] {
            assert!(api_url(good).is_ok(), "{good}");
        }
        for bad in [
            "api.telegram.org",
            "ftp://host",
            "https://a:b@host",
            "https://host?x=1",
        ] {
            assert!(api_url(bad).is_err(), "{bad}");
        }
        assert!(chat("0").is_err() && chat("@me").is_err() && chat("-100").is_ok());
    }
}
