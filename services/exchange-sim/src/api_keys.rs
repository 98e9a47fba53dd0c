//! API keys and the check of signatures. A key is an account of its own, or a further key of the account of another.

use std::collections::BTreeMap;
use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Permission of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiPermission {
    /// Read orders and balances.
    Read,
    /// Read, and place and cancel orders.
    Trade,
    /// Read, trade and withdraw; careful clients reject such a key.
    Withdraw,
}

/// Secret, permission and account of a key.
#[derive(Clone)]
struct ApiKey {
    secret: String,
    permission: ApiPermission,
    account: String,
}

/// All API keys; without keys there is no trading.
#[derive(Clone, Default)]
pub struct ApiKeys(BTreeMap<String, ApiKey>);

/// Writes names only, no secrets.
impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl ApiKeys {
    /// Parses `key:secret`, `key:secret:permission` or `key:secret:permission:account`, separated by commas or line
    /// breaks. The account is the name of a key without an account of its own in the list.
    ///
    /// # Errors
    /// What is expected, without the given text, which may contain a secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let entries = text.split([',', '\n']).map(str::trim);
        entries
            .filter(|entry| !entry.is_empty() && !entry.starts_with('#'))
            .map(parse_key)
            .collect::<Result<_, _>>()
            .map(Self)
            .and_then(Self::with_known_accounts)
    }

    /// Rejects a key for the account of a key that is not in the list, or that has another account itself.
    fn with_known_accounts(self) -> Result<Self, String> {
        let is_known = |key: &ApiKey| {
            let main = self.0.get(&key.account);
            main.is_some_and(|main| main.account == key.account)
        };
        if self.0.values().all(is_known) {
            Ok(self)
        } else {
            Err("expected the name of another key of the list as the account".to_owned())
        }
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names of the accounts: each is the name of its first key.
    pub fn accounts(&self) -> impl Iterator<Item = &str> {
        let own = self.0.iter().filter(|(name, key)| **name == key.account);
        own.map(|(name, _)| name.as_str())
    }

    /// Account of a key; `None` if the key is unknown.
    pub fn account(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|known| known.account.as_str())
    }

    /// Permission of a key; `None` if the key is unknown.
    pub fn permission(&self, key: &str) -> Option<ApiPermission> {
        self.0.get(key).map(|known| known.permission)
    }

    /// Whether `signature` is the key's signature of the payload, compared in constant time.
    pub fn verify_signature(&self, key: &str, payload: &[u8], signature: &str) -> bool {
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

fn parse_key(text: &str) -> Result<(String, ApiKey), String> {
    let refused = || {
        "expected key:secret, key:secret:permission or key:secret:permission:account with permission read, trade or \
         withdraw, separated by commas"
            .to_owned()
    };
    let mut parts = text.split(':');
    let (name, secret, right) = (parts.next(), parts.next(), parts.next());
    let account = parts.next().or(name).unwrap_or_default().to_owned();
    let right = match right {
        None | Some("trade") => ApiPermission::Trade,
        Some("read") => ApiPermission::Read,
        Some("withdraw") => ApiPermission::Withdraw,
        Some(_) => return Err(refused()),
    };
    match (name, secret, parts.next()) {
        (Some(name), Some(secret), None) if !name.is_empty() && !secret.is_empty() => {
            let secret = secret.to_owned();
            Ok((
                name.to_owned(),
                ApiKey {
                    secret,
                    permission: right,
                    account,
                },
            ))
        }
        _ => Err(refused()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_list_is_parsed_and_no_secret_is_shown() {
        let keys = ApiKeys::parse("one:hush, two:quiet:read\nthree:still:withdraw").unwrap();
        assert_eq!(keys.accounts().collect::<Vec<_>>(), ["one", "three", "two"]);
        assert_eq!(keys.permission("one"), Some(ApiPermission::Trade));
        assert_eq!(keys.permission("two"), Some(ApiPermission::Read));
        assert_eq!(keys.permission("four"), None);
        assert!(!format!("{keys:?}").contains("hush"));
        assert!(ApiKeys::parse("").unwrap().is_empty());
    }

    #[test]
    fn second_key_has_the_account_of_the_first() {
        let keys = ApiKeys::parse("one:hush,app:quiet:trade:one").unwrap();
        assert_eq!(keys.accounts().collect::<Vec<_>>(), ["one"]);
        assert_eq!(
            (keys.account("app"), keys.account("one")),
            (Some("one"), Some("one"))
        );
        assert_eq!(keys.account("two"), None);
        for text in ["a:b:trade:c", "a:b,c:d:trade:a,e:f:trade:c"] {
            let refused = ApiKeys::parse(text).unwrap_err();
            assert!(refused.starts_with("expected "), "{refused}");
        }
    }

    #[test]
    fn invalid_keys_are_rejected_without_being_repeated() {
        for text in ["hush", "hush:", ":hush", "a:b:fly", "a:b:trade:a:d"] {
            let refused = ApiKeys::parse(text).unwrap_err();
            assert!(refused.starts_with("expected ") && !refused.contains(text));
        }
    }

    /// The example of Binance's own documentation.
    #[test]
    fn documented_example_signature_is_verified() {
        let secret = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9";
        let keys = ApiKeys::parse(&format!("k:{secret}")).unwrap();
        let payload = "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC\
                       &recvWindow=5000&timestamp=1591702613943";
        let good = "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9";
        assert!(keys.verify_signature("k", payload.as_bytes(), good));
        assert!(!keys.verify_signature("k", b"symbol=ETHUSDT", good));
        assert!(!keys.verify_signature("other", payload.as_bytes(), good));
        assert!(!keys.verify_signature("k", payload.as_bytes(), "zz"));
    }
}
