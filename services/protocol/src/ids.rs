//! Identities in subjects and messages, made of names that cannot break a subject.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One segment of a subject: 1 to 64 of `A-Z a-z 0-9 _ -`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SubjectToken(String);

/// Error of a text that is not a [`SubjectToken`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?}: expected 1 to 64 of A-Z a-z 0-9 _ -")]
pub struct InvalidSubjectToken(String);

impl SubjectToken {
    /// Text of the token.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SubjectToken {
    type Err = InvalidSubjectToken;

    fn from_str(text: &str) -> Result<Self, InvalidSubjectToken> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidSubjectToken(text.to_owned()))
        }
    }
}

impl TryFrom<String> for SubjectToken {
    type Error = InvalidSubjectToken;

    fn try_from(text: String) -> Result<Self, InvalidSubjectToken> {
        text.parse()
    }
}

impl From<SubjectToken> for String {
    fn from(token: SubjectToken) -> Self {
        token.0
    }
}

impl fmt::Display for SubjectToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Program of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// Trades the books of one account.
    Trader,
    /// Supervises the units of a project on one host.
    Watchdog,
    /// Sends notifications and receives commands.
    Notifier,
    /// Simulates an exchange: its market data, accounts and orders.
    ExchangeSim,
}

impl Service {
    /// All services, in the order of their declaration.
    pub const ALL: [Self; 4] = [
        Self::Trader,
        Self::Watchdog,
        Self::Notifier,
        Self::ExchangeSim,
    ];

    /// Name in subjects and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trader => "trader",
            Self::Watchdog => "watchdog",
            Self::Notifier => "notifier",
            Self::ExchangeSim => "exchange-sim",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether fills are simulated. Paper and live share no data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Fills are simulated against market data.
    Paper,
    /// Orders go to the exchange.
    Live,
}

impl Mode {
    /// Both modes.
    pub const ALL: [Self; 2] = [Self::Paper, Self::Live];

    /// Name in subjects and keys.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paper => "paper",
            Self::Live => "live",
        }
    }

    /// Mode of this name; `None` if there is none.
    fn of_name(name: &str) -> Option<Self> {
        [Self::Paper, Self::Live]
            .into_iter()
            .find(|mode| mode.as_str() == name)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a process is on the bus: its service, and the mode of a trader, which its credential determines. Written as
/// the service; a trader as `trader.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProcessRole {
    /// A trader in one mode.
    Trader(Mode),
    /// A watchdog.
    Watchdog,
    /// A notifier.
    Notifier,
    /// A simulated exchange.
    ExchangeSim,
}

impl ProcessRole {
    /// Program of the process.
    pub const fn service(self) -> Service {
        match self {
            Self::Trader(_) => Service::Trader,
            Self::Watchdog => Service::Watchdog,
            Self::Notifier => Service::Notifier,
            Self::ExchangeSim => Service::ExchangeSim,
        }
    }

    /// Mode of a trader; `None` for other services.
    pub const fn mode(self) -> Option<Mode> {
        match self {
            Self::Trader(mode) => Some(mode),
            Self::Watchdog | Self::Notifier | Self::ExchangeSim => None,
        }
    }
}

impl fmt::Display for ProcessRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.service().as_str())?;
        self.mode().map_or(Ok(()), |mode| write!(f, ".{mode}"))
    }
}

/// Everything that trades one exchange account in one mode. Written `mode.venue.account`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AccountKey {
    /// Mode of the account.
    pub mode: Mode,
    /// Exchange segment, e.g. `binance-usdm`.
    pub venue: SubjectToken,
    /// Live: the exchange's alias of the account. Paper: project, host and market-data feed.
    pub account: SubjectToken,
}

impl AccountKey {
    /// Key of the book of one symbol of this account.
    pub fn book(&self, symbol: SubjectToken) -> BookKey {
        BookKey {
            account: self.clone(),
            symbol,
        }
    }
}

impl fmt::Display for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.mode, self.venue, self.account)
    }
}

/// One symbol of one account. Written `mode.venue.account.symbol`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BookKey {
    /// Account of the book.
    pub account: AccountKey,
    /// Symbol of the exchange, e.g. `BTCUSDT`.
    pub symbol: SubjectToken,
}

/// One project on one host: what one watchdog supervises. Written `project.host`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostKey {
    /// Compose project, e.g. `bearish-alpha`.
    pub project: SubjectToken,
    /// Machine with one Docker daemon, named by `BEARISH_HOST`.
    pub host: SubjectToken,
}

impl HostKey {
    /// Key of one process of this project on this host.
    pub fn process(&self, role: ProcessRole, instance: SubjectToken) -> ProcessKey {
        ProcessKey {
            role,
            host: self.clone(),
            instance,
        }
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.project, self.host)
    }
}

/// Error of a text that is not a [`HostKey`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?}: expected project.host")]
pub struct InvalidHostKey(String);

impl FromStr for HostKey {
    type Err = InvalidHostKey;

    fn from_str(text: &str) -> Result<Self, InvalidHostKey> {
        let invalid = || InvalidHostKey(text.to_owned());
        let (project, host) = text.split_once('.').ok_or_else(invalid)?;
        Ok(Self {
            project: project.parse().map_err(|_| invalid())?,
            host: host.parse().map_err(|_| invalid())?,
        })
    }
}

/// One process. Written `service.project.host.instance`; a trader `trader.mode.project.host.instance`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessKey {
    /// What the process is.
    pub role: ProcessRole,
    /// Project and host of the process.
    pub host: HostKey,
    /// Name that survives restarts, e.g. `trader-paper-1`.
    pub instance: SubjectToken,
}

impl fmt::Display for ProcessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.role, self.host, self.instance)
    }
}

/// Error of a text that is not a [`ProcessKey`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?}: expected service.project.host.instance, or trader.mode.project.host.instance")]
pub struct InvalidProcessKey(String);

impl FromStr for ProcessKey {
    type Err = InvalidProcessKey;

    fn from_str(text: &str) -> Result<Self, InvalidProcessKey> {
        let invalid = || InvalidProcessKey(text.to_owned());
        let (service, rest) = text.split_once('.').ok_or_else(invalid)?;
        let service = Service::ALL.into_iter().find(|s| s.as_str() == service);
        let (role, rest) = match service.ok_or_else(invalid)? {
            Service::Trader => {
                let (mode, rest) = rest.split_once('.').ok_or_else(invalid)?;
                let mode = Mode::of_name(mode).ok_or_else(invalid)?;
                (ProcessRole::Trader(mode), rest)
            }
            Service::Watchdog => (ProcessRole::Watchdog, rest),
            Service::Notifier => (ProcessRole::Notifier, rest),
            Service::ExchangeSim => (ProcessRole::ExchangeSim, rest),
        };
        let (host, instance) = rest.rsplit_once('.').ok_or_else(invalid)?;
        Ok(Self {
            role,
            host: host.parse().map_err(|_| invalid())?,
            instance: instance.parse().map_err(|_| invalid())?,
        })
    }
}

/// Error of a text that is not a [`BookKey`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?}: expected mode.venue.account.symbol with mode paper or live")]
pub struct InvalidBookKey(String);

/// Error of a text that is not an [`AccountKey`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?}: expected mode.venue.account with mode paper or live")]
pub struct InvalidAccountKey(String);

impl FromStr for BookKey {
    type Err = InvalidBookKey;

    fn from_str(text: &str) -> Result<Self, InvalidBookKey> {
        let invalid = || InvalidBookKey(text.to_owned());
        let (account, symbol) = text.rsplit_once('.').ok_or_else(invalid)?;
        let account: AccountKey = account.parse().map_err(|_| invalid())?;
        Ok(account.book(symbol.parse().map_err(|_| invalid())?))
    }
}

impl FromStr for AccountKey {
    type Err = InvalidAccountKey;

    fn from_str(text: &str) -> Result<Self, InvalidAccountKey> {
        let invalid = || InvalidAccountKey(text.to_owned());
        let segments: Vec<&str> = text.split('.').collect();
        let [mode, venue, account] = segments.as_slice() else {
            return Err(invalid());
        };
        let mode = Mode::of_name(mode).ok_or_else(invalid)?;
        let token = |text: &str| text.parse::<SubjectToken>().map_err(|_| invalid());
        Ok(Self {
            mode,
            venue: token(venue)?,
            account: token(account)?,
        })
    }
}

impl TryFrom<String> for BookKey {
    type Error = InvalidBookKey;

    fn try_from(text: String) -> Result<Self, InvalidBookKey> {
        text.parse()
    }
}

impl From<BookKey> for String {
    fn from(key: BookKey) -> Self {
        key.to_string()
    }
}

impl fmt::Display for BookKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.account, self.symbol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subject_token_rejects_separators_and_wildcards() {
        for bad in ["", "a.b", "a b", "*", ">", "ü", &"x".repeat(65)] {
            assert!(bad.parse::<SubjectToken>().is_err(), "{bad:?} was accepted");
        }
        assert!("trader-paper-1".parse::<SubjectToken>().is_ok());
    }

    #[test]
    fn book_key_parses_what_it_prints() {
        let text = "paper.binance-usdm.a1b2c3d4.BTCUSDT";
        let key: BookKey = text.parse().unwrap();
        assert_eq!(key.to_string(), text);
        assert!("demo.binance.x.BTCUSDT".parse::<BookKey>().is_err());
        assert!("paper.binance.BTCUSDT".parse::<BookKey>().is_err());
    }

    #[test]
    fn process_key_parses_what_it_prints() {
        let text = "exchange-sim.bearish-alpha.local.exchange-sim-1";
        let key: ProcessKey = text.parse().unwrap();
        assert_eq!(key.to_string(), text);
        assert_eq!(key.role, ProcessRole::ExchangeSim);
        assert_eq!(key.host.to_string(), "bearish-alpha.local");
        let text = "trader.live.bearish-alpha.local.trader-live-1";
        let key: ProcessKey = text.parse().unwrap();
        assert_eq!(key.to_string(), text);
        assert_eq!(key.role, ProcessRole::Trader(Mode::Live));
        for invalid in [
            "broker.p.h.i",
            "trader.p.h.i",
            "trader.demo.p.h.i",
            "trader.paper.h.i",
            "trader.paper.p.h.h.i",
            "trader.paper..h.i",
            "watchdog.paper.p.h.i",
        ] {
            assert!(invalid.parse::<ProcessKey>().is_err(), "{invalid}");
        }
    }
}
