//! The notifier's settings: all from the environment, each refused with its name, value and what is
//! allowed; the token's value is never shown.

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

use crate::dead_man_ping::DeadManSwitch;
use crate::fallback_sender::{FallbackFormat, FallbackSender};
use crate::secret_url::SecretUrl;

/// Everything but the command line.
#[derive(Debug, Clone, Parser)]
#[command(name = "notifier")]
pub struct Settings {
    /// The bus.
    #[command(flatten)]
    pub bus: BusSettings,

    /// Logs.
    #[command(flatten)]
    pub telemetry: LoggingSettings,

    /// Numbers.
    #[command(flatten)]
    pub metrics: MetricsSettings,

    /// This process.
    #[command(flatten)]
    pub own: InstanceSettings,

    /// The bot's token, from @BotFather
    #[arg(
        long,
        env = "TELEGRAM_BOT_TOKEN",
        value_name = "TELEGRAM_BOT_TOKEN",
        hide_env_values = true
    )]
    pub token: Option<SecretString>,

    /// A file that holds the bot's token
    #[arg(
        long,
        env = "TELEGRAM_BOT_TOKEN_FILE",
        value_name = "TELEGRAM_BOT_TOKEN_FILE"
    )]
    pub token_file: Option<PathBuf>,

    /// The chat to write to; groups have a negative number
    #[arg(long, env = "TELEGRAM_CHAT_ID", value_name = "TELEGRAM_CHAT_ID",
          allow_negative_numbers = true, value_parser = chat)]
    pub chat: Option<i64>,

    /// Numbers of the users who may give orders, with commas; nobody if empty
    #[arg(long, env = "TELEGRAM_ALLOWED_USERS", value_name = "TELEGRAM_ALLOWED_USERS",
          default_value = "", value_parser = users)]
    pub allowed_users: AllowedUsers,

    /// Where Telegram's Bot API is
    #[arg(long, env = "TELEGRAM_API_URL", value_name = "TELEGRAM_API_URL",
          default_value = "https://api.telegram.org", value_parser = api_url)]
    pub api_url: String,

    /// Least milliseconds between two messages to the chat
    #[arg(long, env = "TELEGRAM_MIN_INTERVAL_MS", value_name = "TELEGRAM_MIN_INTERVAL_MS",
          default_value = "1000", value_parser = whole_number::<u64>(0..=60_000))]
    pub min_interval_ms: u64,

    /// Seconds between heartbeat messages to the owner
    #[arg(long, env = "NOTIFIER_SUMMARY_SECS", value_name = "NOTIFIER_SUMMARY_SECS",
          default_value = "3600", value_parser = whole_number::<u64>(10..=86_400))]
    pub summary_secs: u64,

    /// Where criticals go that Telegram does not take; may hold a secret
    #[arg(
        long,
        env = "FALLBACK_URL",
        value_name = "FALLBACK_URL",
        hide_env_values = true
    )]
    pub fallback_url: Option<SecretString>,

    /// A file that holds that address
    #[arg(long, env = "FALLBACK_URL_FILE", value_name = "FALLBACK_URL_FILE")]
    pub fallback_url_file: Option<PathBuf>,

    /// What gets a GET every now and then while all is well; may hold a secret
    #[arg(
        long,
        env = "DEADMAN_URL",
        value_name = "DEADMAN_URL",
        hide_env_values = true
    )]
    pub deadman_url: Option<SecretString>,

    /// A file that holds that address
    #[arg(long, env = "DEADMAN_URL_FILE", value_name = "DEADMAN_URL_FILE")]
    pub deadman_url_file: Option<PathBuf>,

    /// Seconds between two of them
    #[arg(long, env = "DEADMAN_INTERVAL_SECS", value_name = "DEADMAN_INTERVAL_SECS",
          default_value = "60", value_parser = whole_number::<u64>(1..=3_600))]
    pub deadman_interval_secs: u64,

    /// What is understood at the fallback
    #[arg(long, env = "FALLBACK_FORMAT", value_name = "FALLBACK_FORMAT",
          default_value_t = FallbackFormat::Webhook, value_parser = format)]
    pub fallback_format: FallbackFormat,
}

/// People who may give orders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedUsers(pub BTreeSet<i64>);

/// A bot and the chat it writes to.
#[derive(Clone)]
pub struct Bot {
    /// Its token.
    pub token: SecretString,
    /// Whom it writes to.
    pub chat: i64,
    /// Where the Bot API is, without a slash at its end.
    pub api_url: String,
    /// How fast it may write.
    pub limits: SendLimits,
    /// Whose orders it takes.
    pub allowed_users: BTreeSet<i64>,
}

impl Settings {
    /// From the environment.
    ///
    /// # Errors
    /// Exit 78, one line.
    pub fn from_env() -> Result<Self, ExitError> {
        runtime::settings::from_env()
    }

    /// The bot, if one is set.
    ///
    /// # Errors
    /// Exit 78 for a token without a chat, a chat without a token, or what is no token.
    pub fn bot(&self) -> Result<Option<Bot>, ExitError> {
        let file = self.token_file.as_deref();
        let token = secrets::resolve("TELEGRAM_BOT_TOKEN", self.token.as_ref(), file)?;
        match (token, self.chat) {
            (None, None) if !self.allowed_users.0.is_empty() => Err(ExitError::config(
                "TELEGRAM_ALLOWED_USERS is set, but TELEGRAM_BOT_TOKEN is not: allowed is it beside a bot only",
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
                "TELEGRAM_BOT_TOKEN is set, but TELEGRAM_CHAT_ID is not: allowed are both or neither",
            )),
            (None, Some(chat)) => Err(ExitError::config(format!(
                "TELEGRAM_CHAT_ID={chat} is set, but neither TELEGRAM_BOT_TOKEN nor \
                 TELEGRAM_BOT_TOKEN_FILE: allowed are both or neither"
            ))),
        }
    }

    /// The dead man's switch, if one is set.
    ///
    /// # Errors
    /// Exit 78 for what is no address.
    pub fn dead_man_switch(&self) -> Result<Option<DeadManSwitch>, ExitError> {
        let file = self.deadman_url_file.as_deref();
        let Some(value) = secrets::resolve("DEADMAN_URL", self.deadman_url.as_ref(), file)? else {
            return Ok(None);
        };
        let address = SecretUrl::parse("DEADMAN_URL", value)?;
        let every = Duration::from_secs(self.deadman_interval_secs);
        DeadManSwitch::new(address, every).map(Some)
    }

    /// The second way to the owner, if one is set.
    ///
    /// # Errors
    /// Exit 78 for what is no address, or where there is no Telegram to fall back from.
    pub fn fallback(&self) -> Result<Option<FallbackSender>, ExitError> {
        let file = self.fallback_url_file.as_deref();
        let Some(value) = secrets::resolve("FALLBACK_URL", self.fallback_url.as_ref(), file)?
        else {
            return Ok(None);
        };
        let address = SecretUrl::parse("FALLBACK_URL", value)?;
        if self.chat.is_none() {
            return Err(ExitError::config(
                "FALLBACK_URL (not shown) is set, but TELEGRAM_CHAT_ID is not: allowed is a fallback beside \
                 Telegram only",
            ));
        }
        FallbackSender::new(address, self.fallback_format).map(Some)
    }
}

/// A token goes into an address: nothing else may come in with it.
fn check_token(token: &SecretString) -> Result<(), ExitError> {
    let well_formed = token
        .expose_secret()
        .split_once(':')
        .is_some_and(|(id, secret)| {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
            !id.is_empty()
                && id.bytes().all(|b| b.is_ascii_digit())
                && (30..=64).contains(&secret.len())
                && secret.bytes().all(allowed)
        });
    if well_formed {
        Ok(())
    } else {
        Err(ExitError::config(
            "TELEGRAM_BOT_TOKEN (not shown): allowed is what @BotFather gives, digits, a colon and \
             about 35 of A-Z a-z 0-9 _ -",
        ))
    }
}

fn format(text: &str) -> Result<FallbackFormat, String> {
    match text {
        "webhook" => Ok(FallbackFormat::Webhook),
        "ntfy" => Ok(FallbackFormat::Ntfy),
        _ => Err("allowed are webhook, ntfy".to_owned()),
    }
}

fn chat(text: &str) -> Result<i64, String> {
    match text.parse() {
        Ok(id) if id != 0 => Ok(id),
        _ => {
            Err("allowed is a chat's number, e.g. 123456789, for a group -1001234567890".to_owned())
        }
    }
}

fn users(text: &str) -> Result<AllowedUsers, String> {
    let wrong = || {
        "allowed are numbers of users with commas, e.g. 123456789,987654321; @userinfobot tells one's own"
            .to_owned()
    };
    let words = text.split(',').map(str::trim);
    let mut users = BTreeSet::new();
    for word in words.filter(|word| !word.is_empty()) {
        let id: i64 = word.parse().map_err(|_| wrong())?;
        if id <= 0 {
            return Err(wrong());
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
        _ => Err("allowed is https://host or http://host, with port and path".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bot(pairs: &[&str]) -> Result<Option<Bot>, ExitError> {
        let words = ["settings"].iter().chain(pairs);
        Settings::try_parse_from(words).unwrap().bot()
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
