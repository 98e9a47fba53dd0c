//! Client order ids: equal decisions give equal ids, on every machine.

use std::fmt;
use std::str::FromStr;

use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use serde::{Deserialize, Serialize};

use super::Leg;
use crate::strategy::Strategy;

/// Prefix of every client order id of this program.
const PREFIX: &str = "ba-";
/// Length of an installation id.
const INSTALLATION_ID_LENGTH: usize = 6;
/// Length of the digest of the symbol.
const SYMBOL_LENGTH: usize = 5;
/// Length of the bar's minute: enough for four thousand years.
const MINUTE_LENGTH: usize = 6;
/// Length of a time in milliseconds: enough for three thousand years.
const TIME_LENGTH: usize = 9;
/// Length of leg and attempt at the end.
const TAIL_LENGTH: usize = 5;
/// Highest attempt that fits into an id: at one attempt every half minute, a year and a half.
pub(crate) const MAX_ATTEMPT: u32 = 36_u32.pow(4) - 1;

/// Id of the installation that sent an order. Two installations on one exchange account must not take each other's orders
/// for their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstallationId(String);

/// A text that is not an [`InstallationId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid installation id {0:?}: expected six characters a-z 0-9")]
pub struct InvalidInstallationId(String);

impl InstallationId {
    /// An id from 32 random bits.
    pub fn from_bits(bits: u32) -> Self {
        Self(base36(u64::from(bits), INSTALLATION_ID_LENGTH))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InstallationId {
    type Err = InvalidInstallationId;

    fn from_str(text: &str) -> Result<Self, InvalidInstallationId> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        if text.len() == INSTALLATION_ID_LENGTH && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidInstallationId(text.to_owned()))
        }
    }
}

impl TryFrom<String> for InstallationId {
    type Error = InvalidInstallationId;

    fn try_from(text: String) -> Result<Self, InvalidInstallationId> {
        text.parse()
    }
}

impl From<InstallationId> for String {
    fn from(installation_id: InstallationId) -> Self {
        installation_id.0
    }
}

impl fmt::Display for InstallationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Client order id: installation, symbol, bar, strategy, leg and attempt, in 27 of the 36 characters that Binance
/// allows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientOrderId(String);

impl ClientOrderId {
    /// The id of the entry order for a strategy's signal at a bar's close.
    pub fn for_entry(
        installation_id: &InstallationId,
        symbol: &SubjectToken,
        strategy: Strategy,
        bar_close: UtcMs,
    ) -> Self {
        let symbol = base36(digest(symbol.as_str()), SYMBOL_LENGTH);
        let minute = base36(bar_close.0.unsigned_abs() / 60_000, MINUTE_LENGTH);
        let letter = strategy.letter();
        let tail = tail(Leg::Entry, 0);
        Self(format!(
            "{PREFIX}{installation_id}-{symbol}{minute}{letter}{tail}"
        ))
    }

    /// The id of a stop for a position that was found without one, at this exchange time.
    pub fn for_emergency_stop(installation_id: &InstallationId, at: UtcMs) -> Self {
        let at = base36(at.0.unsigned_abs(), TIME_LENGTH);
        Self(format!("{PREFIX}{installation_id}-protect{at}"))
    }

    /// The id of another order for the same position, by leg and attempt.
    #[must_use]
    pub fn sibling(&self, leg: Leg, attempt: u32) -> Self {
        let root = self.root();
        Self(format!("{root}{}", tail(leg, attempt)))
    }

    /// The part that the ids of all orders for one position share.
    fn root(&self) -> &str {
        let end = self.0.len().saturating_sub(TAIL_LENGTH);
        self.0.get(..end).unwrap_or(&self.0)
    }

    /// The leg in the id; [`Leg::Exit`] if the id was not made by this program.
    pub fn leg(&self) -> Leg {
        let letter = self.0.len().checked_sub(TAIL_LENGTH);
        match letter.and_then(|at| self.0.as_bytes().get(at)) {
            Some(b'e') => Leg::Entry,
            Some(b's') => Leg::Stop,
            Some(b't') => Leg::Target,
            _ => Leg::Exit,
        }
    }

    /// The installation id in a client order id from the exchange; `None` if this program did not make it.
    pub fn installation_in(text: &str) -> Option<InstallationId> {
        let rest = text.strip_prefix(PREFIX)?;
        let (installation_id, _) = rest.split_once('-')?;
        installation_id.parse().ok()
    }

    /// An id as the exchange reports it.
    pub fn from_exchange(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientOrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn tail(leg: Leg, attempt: u32) -> String {
    format!(
        "{}{}",
        leg.letter(),
        base36(u64::from(attempt), TAIL_LENGTH - 1)
    )
}

/// FNV-1a: short and stable; only has to distinguish a few symbols.
fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The last `places` digits of the number in base 36.
fn base36(mut number: u64, places: usize) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut text = vec!['0'; places];
    for place in text.iter_mut().rev() {
        let digit = usize::try_from(number % 36).unwrap_or(0);
        *place = DIGITS.get(digit).map_or('0', |d| char::from(*d));
        number /= 36;
    }
    text.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(symbol: &str, minute: i64) -> ClientOrderId {
        let installation_id = "q7x2ab".parse().unwrap();
        let symbol = symbol.parse().unwrap();
        let at = UtcMs(minute * 60_000);
        ClientOrderId::for_entry(&installation_id, &symbol, Strategy::OversoldBounce, at)
    }

    #[test]
    fn same_decision_always_has_the_same_client_order_id() {
        let entry = id("BTCUSDT", 28_401_150);
        assert_eq!(entry.as_str(), "ba-q7x2ab-57kto0gwqguoe0000");
        let stop = entry.sibling(Leg::Stop, 1);
        assert_eq!(stop.as_str(), "ba-q7x2ab-57kto0gwqguos0001");
        assert_eq!(stop.root(), entry.root());
        for leg in [Leg::Entry, Leg::Stop, Leg::Target, Leg::Exit] {
            assert_eq!(entry.sibling(leg, 7).leg(), leg);
        }
    }

    #[test]
    fn another_symbol_or_bar_has_another_client_order_id() {
        let entry = id("BTCUSDT", 28_401_150);
        for other in [id("ETHUSDT", 28_401_150), id("BTCUSDT", 28_401_180)] {
            assert_ne!(other, entry);
            assert_ne!(other.root(), entry.root());
        }
    }

    #[test]
    fn client_order_id_fits_what_binance_allows() {
        let entry = id("BTCUSDT", 28_401_150);
        let last = entry.sibling(Leg::Exit, MAX_ATTEMPT);
        assert_ne!(last, entry.sibling(Leg::Exit, MAX_ATTEMPT - 1));
        assert_eq!(last.leg(), Leg::Exit);
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._:/-".contains(&b);
        assert!(last.as_str().len() <= 36 && last.as_str().bytes().all(allowed));
    }

    #[test]
    fn own_orders_are_recognized_by_their_installation_id() {
        let ours = id("BTCUSDT", 28_401_150);
        let found = ClientOrderId::installation_in(ours.as_str()).unwrap();
        assert_eq!(found.as_str(), "q7x2ab");
        for foreign in ["web_abc", "ba-", "ba-toolong-x", "android-1", ""] {
            assert_eq!(ClientOrderId::installation_in(foreign), None, "{foreign}");
        }
        assert_eq!(
            InstallationId::from_bits(u32::MAX).as_str(),
            "1z141z3".get(1..).unwrap()
        );
        assert!("Q7x2ab".parse::<InstallationId>().is_err());
    }
}
