//! The signature of a query.

use exchange::ApiCredentials;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::ExposeSecret;
use sha2::Sha256;

/// The query with its signature, HMAC-SHA256 in hex over the bytes of the query as they are sent.
pub(super) fn sign(credentials: &ApiCredentials, query: &str) -> String {
    let secret = credentials.secret.expose_secret().as_bytes();
    // A key of any length is valid for HMAC.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else {
        return query.to_owned();
    };
    mac.update(query.as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    let joint = if query.is_empty() { "" } else { "&" };
    format!("{query}{joint}signature={signature}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_is_that_of_binances_documentation() {
        let query = "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000\
                     &timestamp=1499827319559";
        let credentials = ApiCredentials {
            key: "key".into(),
            secret: "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j".into(),
        };
        let signed = sign(&credentials, query);
        let signature = "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71";
        assert_eq!(signed, format!("{query}&signature={signature}"));
    }
}
