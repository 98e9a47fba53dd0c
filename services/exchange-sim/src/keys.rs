//! The API keys this exchange knows, and whether a request was signed with one. Each key is an account
//! of its own. Not here: how a request carries key and signature (`rest/signed.rs`).

use std::collections::BTreeMap;
use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Read only.
    Read,
    /// Read and trade.
    Trade,
    /// Read, trade and withdraw: what a careful client refuses to be given.
    Withdraw,
}

/// One key's secret and right.
#[derive(Clone)]
struct Key {
    secret: String,
    right: Right,
}

/// All keys; none means that nobody may trade.
#[derive(Clone, Default)]
pub struct Keys(BTreeMap<String, Key>);

/// Names only: a secret is shown to nobody.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Keys {
    /// Reads `key:secret` or `key:secret:right`, separated by commas or lines.
    ///
    /// # Errors
    /// What is allowed, without repeating what was given: it may be a secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let entries = text.split([',', '\n']).map(str::trim);
        entries
            .filter(|entry| !entry.is_empty() && !entry.starts_with('#'))
            .map(entry)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether there is any.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names: each is an account.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// What `key` may do, if it is known.
    pub fn right(&self, key: &str) -> Option<Right> {
        self.0.get(key).map(|known| known.right)
    }

    /// Whether `signature` is `key`'s over exactly `payload`, found out in constant time.
    pub fn signed(&self, key: &str, payload: &[u8], signature: &str) -> bool {
        let Some(known) = self.0.get(key) else {
            return false;
        };
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(known.secret.as_bytes()) else {
            return false;
        };
        mac.update(payload);
        hex::decode(signature).is_ok_and(|given| mac.verify_slice(&given).is_ok())
    }
}

fn entry(text: &str) -> Result<(String, Key), String> {
    let refused = || {
        "allowed: key:secret or key:secret:right with right read, trade or withdraw, separated by commas"
            .to_owned()
    };
    let mut parts = text.split(':');
    let (name, secret, right) = (parts.next(), parts.next(), parts.next());
    let right = match right {
        None | Some("trade") => Right::Trade,
        Some("read") => Right::Read,
        Some("withdraw") => Right::Withdraw,
        Some(_) => return Err(refused()),
    };
    match (name, secret, parts.next()) {
        (Some(name), Some(secret), None) if !name.is_empty() && !secret.is_empty() => {
            let secret = secret.to_owned();
            Ok((name.to_owned(), Key { secret, right }))
        }
        _ => Err(refused()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_no_secret_is_shown() {
        let keys = Keys::parse("one:hush, two:quiet:read\nthree:still:withdraw").unwrap();
        assert_eq!(keys.names().collect::<Vec<_>>(), ["one", "three", "two"]);
        assert_eq!(keys.right("one"), Some(Right::Trade));
        assert_eq!(keys.right("two"), Some(Right::Read));
        assert_eq!(keys.right("four"), None);
        assert!(!format!("{keys:?}").contains("hush"));
        assert!(Keys::parse("").unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_is_refused_without_being_repeated() {
        for text in ["hush", "hush:", ":hush", "a:b:fly", "a:b:trade:c"] {
            let refused = Keys::parse(text).unwrap_err();
            assert!(refused.starts_with("allowed: ") && !refused.contains(text));
        }
    }

    /// The example of Binance's own documentation.
    #[test]
    fn the_documented_example_is_a_good_signature() {
        let secret = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9";
        let keys = Keys::parse(&format!("k:{secret}")).unwrap();
        let payload = "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC\
                       &recvWindow=5000&timestamp=1591702613943";
        let good = "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9";
        assert!(keys.signed("k", payload.as_bytes(), good));
        assert!(!keys.signed("k", b"symbol=ETHUSDT", good));
        assert!(!keys.signed("other", payload.as_bytes(), good));
        assert!(!keys.signed("k", payload.as_bytes(), "zz"));
    }
}
