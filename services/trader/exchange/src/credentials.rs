//! The API key of an account and its secret.

use std::fmt;

use secrecy::SecretString;

/// An API key and its secret. No text contains them.
#[derive(Clone)]
pub struct ApiCredentials {
    /// The API key, which a call names.
    pub key: SecretString,
    /// The secret, with which a call is signed.
    pub secret: SecretString,
}

impl fmt::Debug for ApiCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiCredentials(hidden)")
    }
}
