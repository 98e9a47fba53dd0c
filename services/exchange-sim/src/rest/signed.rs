//! A request that a known key has signed: the checks in Binance's order (what is missing, the key, the
//! time, the signature). Not here: what the request asks for.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};

use super::error::ApiError;
use super::params::Params;
use crate::desk::Desk;
use crate::keys::Right;
use crate::trading::refusal::Refusal;

const KEY: &str = "x-mbx-apikey";
const LONGEST_BODY: usize = 64 * 1024;
const DEFAULT_WINDOW_MS: i64 = 5_000;
const LONGEST_WINDOW_MS: i64 = 60_000;
/// How far a client's clock may be ahead.
const AHEAD_MS: i64 = 1_000;

/// Who asks (with key and signature), and what.
pub(super) struct Signed {
    /// The account: its key's name.
    pub(super) account: String,
    /// What the key may do.
    pub(super) right: Right,
    pub(super) params: Params,
}

/// Who asks with a key alone: what listen keys need.
pub(super) struct Keyed {
    pub(super) account: String,
    pub(super) params: Params,
}

impl Signed {
    /// Refuses a key that may only read.
    pub(super) fn may_trade(self) -> Result<Self, Refusal> {
        match self.right {
            Right::Read => Err(Refusal::of(-2015)),
            Right::Trade | Right::Withdraw => Ok(self),
        }
    }
}

impl FromRequest<Arc<Desk>> for Signed {
    type Rejection = ApiError;

    async fn from_request(request: Request, desk: &Arc<Desk>) -> Result<Self, ApiError> {
        let raw = Raw::read(request).await?;
        let params = Params::read(&raw.query, &raw.body);
        let signature = params.must("signature")?.to_owned();
        let timestamp = params.must_parse("timestamp")?;
        let (account, right) = known(desk, raw.key.as_deref())?;
        let window = params.parsed("recvWindow")?.unwrap_or(DEFAULT_WINDOW_MS);
        in_time(timestamp, window, desk.clients_time())?;
        if !desk.keys().signed(&account, &raw.payload(), &signature) {
            return Err(Refusal::of(-1022).into());
        }
        Ok(Self {
            account,
            right,
            params,
        })
    }
}

impl FromRequest<Arc<Desk>> for Keyed {
    type Rejection = ApiError;

    async fn from_request(request: Request, desk: &Arc<Desk>) -> Result<Self, ApiError> {
        let raw = Raw::read(request).await?;
        let (account, _) = known(desk, raw.key.as_deref())?;
        let params = Params::read(&raw.query, &raw.body);
        Ok(Self { account, params })
    }
}

fn known(desk: &Desk, key: Option<&str>) -> Result<(String, Right), Refusal> {
    let key = key.filter(|k| !k.is_empty());
    let key = key.ok_or_else(|| Refusal::of(-2014))?;
    let right = desk.keys().right(key);
    let right = right.filter(|_| !desk.faults.revoked(key));
    right
        .map(|right| (key.to_owned(), right))
        .ok_or_else(|| Refusal::of(-2015))
}

fn in_time(timestamp: i64, window: i64, now_ms: i64) -> Result<(), Refusal> {
    if !(0..=LONGEST_WINDOW_MS).contains(&window) {
        return Err(Refusal::of(-1131));
    }
    if timestamp >= now_ms.saturating_add(AHEAD_MS) {
        let words = "Timestamp for this request was 1000ms ahead of the server's time.";
        return Err(Refusal::new(-1021, words));
    }
    if now_ms.saturating_sub(timestamp) > window {
        return Err(Refusal::of(-1021));
    }
    Ok(())
}

/// A request as it came.
struct Raw {
    key: Option<String>,
    query: String,
    body: Vec<u8>,
}

impl Raw {
    async fn read(request: Request) -> Result<Self, ApiError> {
        let (head, body) = request.into_parts();
        let key = head.headers.get(KEY).and_then(|k| k.to_str().ok());
        let body = to_bytes(body, LONGEST_BODY)
            .await
            .map_err(|_| Refusal::missing("body"))?;
        Ok(Self {
            key: key.map(str::to_owned),
            query: head.uri.query().unwrap_or_default().to_owned(),
            body: body.to_vec(),
        })
    }

    /// What was signed: query and body as they came, one after the other, without the signature.
    fn payload(&self) -> Vec<u8> {
        let body = String::from_utf8_lossy(&self.body);
        [unsigned(&self.query), unsigned(&body)].concat().into()
    }
}

fn unsigned(text: &str) -> String {
    let pairs = text.split('&').filter(|p| !p.starts_with("signature="));
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_closed_on_both_sides() {
        let now = 100_000;
        for (timestamp, window, code) in [
            (now, 5_000, None),
            (now - 5_000, 5_000, None),
            (now - 5_001, 5_000, Some(-1021)),
            (now + 999, 5_000, None),
            (now + 1_000, 5_000, Some(-1021)),
            (now, 60_000, None),
            (now, 60_001, Some(-1131)),
            (now, -1, Some(-1131)),
        ] {
            let got = in_time(timestamp, window, now).err().map(|r| r.code);
            assert_eq!(got, code, "{timestamp} {window}");
        }
    }

    #[test]
    fn what_was_signed_is_everything_but_the_signature() {
        let raw = |query: &str, body: &str| Raw {
            key: None,
            query: query.to_owned(),
            body: body.as_bytes().to_vec(),
        };
        assert_eq!(raw("b=2&a=1&signature=f", "").payload(), b"b=2&a=1");
        assert_eq!(raw("", "b=2&signature=f").payload(), b"b=2");
        assert_eq!(raw("a=1", "b=2&signature=f").payload(), b"a=1b=2");
    }
}
