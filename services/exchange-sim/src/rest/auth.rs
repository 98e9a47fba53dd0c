//! Authentication of requests by key and signature, checked in Binance's order: missing parameters, key, time,
//! signature.

use std::sync::Arc;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};

use super::error::ApiError;
use super::params::Params;
use crate::api_keys::ApiPermission;
use crate::trading::error::ExchangeError;
use crate::trading_service::TradingService;

const KEY_HEADER: &str = "x-mbx-apikey";
const MAX_BODY_BYTES: usize = 64 * 1024;
const DEFAULT_RECV_WINDOW_MS: i64 = 5_000;
const MAX_RECV_WINDOW_MS: i64 = 60_000;
/// Largest time by which a client's clock may be ahead, in milliseconds.
const MAX_CLOCK_AHEAD_MS: i64 = 1_000;

/// Time by which a fault makes a query late; `None` without such a fault.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct QueryLag(pub(super) Option<Duration>);

/// A signed request: account, permission and parameters.
pub(super) struct SignedAuth {
    /// Name of the account: that of its first API key.
    pub(super) account: String,
    /// Permission of the key.
    pub(super) permission: ApiPermission,
    pub(super) params: Params,
    /// Time by which a fault makes the query late; `None` without such a fault.
    pub(super) lag: Option<Duration>,
}

/// A request with a key but without a signature, as for listen keys.
pub(super) struct ApiKeyAuth {
    pub(super) account: String,
    pub(super) params: Params,
}

impl SignedAuth {
    /// Rejects a key that may only read.
    pub(super) fn require_trading(self) -> Result<Self, ExchangeError> {
        match self.permission {
            ApiPermission::Read => Err(ExchangeError::from_code(-2015)),
            ApiPermission::Trade | ApiPermission::Withdraw => Ok(self),
        }
    }
}

impl FromRequest<Arc<TradingService>> for SignedAuth {
    type Rejection = ApiError;

    async fn from_request(
        request: Request,
        trading_service: &Arc<TradingService>,
    ) -> Result<Self, ApiError> {
        let raw = RawRequest::read(request).await?;
        let params = Params::parse(&raw.query, &raw.body);
        let signature = params.required("signature")?.to_owned();
        let timestamp = params.required_parsed("timestamp")?;
        let (key, right) = authenticate_key(trading_service, raw.key.as_deref())?;
        let window = params
            .parsed("recvWindow")?
            .unwrap_or(DEFAULT_RECV_WINDOW_MS);
        check_timestamp(timestamp, window, trading_service.client_time_ms())?;
        if !trading_service
            .api_keys()
            .verify_signature(&key, &raw.signed_payload(), &signature)
        {
            return Err(ExchangeError::from_code(-1022).into());
        }
        Ok(Self {
            account: account_of(trading_service, &key)?,
            permission: right,
            params,
            lag: raw.lag.0,
        })
    }
}

impl FromRequest<Arc<TradingService>> for ApiKeyAuth {
    type Rejection = ApiError;

    async fn from_request(
        request: Request,
        trading_service: &Arc<TradingService>,
    ) -> Result<Self, ApiError> {
        let raw = RawRequest::read(request).await?;
        let (key, _) = authenticate_key(trading_service, raw.key.as_deref())?;
        let account = account_of(trading_service, &key)?;
        let params = Params::parse(&raw.query, &raw.body);
        Ok(Self { account, params })
    }
}

fn authenticate_key(
    trading_service: &TradingService,
    key: Option<&str>,
) -> Result<(String, ApiPermission), ExchangeError> {
    let key = key.filter(|k| !k.is_empty());
    let key = key.ok_or_else(|| ExchangeError::from_code(-2014))?;
    let right = trading_service.api_keys().permission(key);
    let right = right.filter(|_| !trading_service.faults.is_key_revoked(key));
    right
        .map(|right| (key.to_owned(), right))
        .ok_or_else(|| ExchangeError::from_code(-2015))
}

fn account_of(trading_service: &TradingService, key: &str) -> Result<String, ExchangeError> {
    let account = trading_service.api_keys().account(key);
    account
        .map(str::to_owned)
        .ok_or_else(|| ExchangeError::from_code(-2015))
}

fn check_timestamp(timestamp: i64, window: i64, now_ms: i64) -> Result<(), ExchangeError> {
    if !(0..=MAX_RECV_WINDOW_MS).contains(&window) {
        return Err(ExchangeError::from_code(-1131));
    }
    if timestamp >= now_ms.saturating_add(MAX_CLOCK_AHEAD_MS) {
        let message = "Timestamp for this request was 1000ms ahead of the server's time.";
        return Err(ExchangeError::new(-1021, message));
    }
    if now_ms.saturating_sub(timestamp) > window {
        return Err(ExchangeError::from_code(-1021));
    }
    Ok(())
}

struct RawRequest {
    key: Option<String>,
    query: String,
    body: Vec<u8>,
    lag: QueryLag,
}

impl RawRequest {
    async fn read(request: Request) -> Result<Self, ApiError> {
        let (head, body) = request.into_parts();
        let key = head.headers.get(KEY_HEADER).and_then(|k| k.to_str().ok());
        let body = to_bytes(body, MAX_BODY_BYTES)
            .await
            .map_err(|_| ExchangeError::missing_parameter("body"))?;
        Ok(Self {
            key: key.map(str::to_owned),
            query: head.uri.query().unwrap_or_default().to_owned(),
            body: body.to_vec(),
            lag: head.extensions.get().copied().unwrap_or_default(),
        })
    }

    /// The signed text: query and body as received, concatenated, without the signature.
    fn signed_payload(&self) -> Vec<u8> {
        let body = String::from_utf8_lossy(&self.body);
        [without_signature(&self.query), without_signature(&body)]
            .concat()
            .into()
    }
}

fn without_signature(text: &str) -> String {
    let pairs = text.split('&').filter(|p| !p.starts_with("signature="));
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recv_window_is_checked_on_both_sides() {
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
            let got = check_timestamp(timestamp, window, now)
                .err()
                .map(|r| r.code);
            assert_eq!(got, code, "{timestamp} {window}");
        }
    }

    #[test]
    fn signed_payload_is_everything_but_the_signature() {
        let raw = |query: &str, body: &str| RawRequest {
            key: None,
            query: query.to_owned(),
            body: body.as_bytes().to_vec(),
            lag: QueryLag::default(),
        };
        assert_eq!(raw("b=2&a=1&signature=f", "").signed_payload(), b"b=2&a=1");
        assert_eq!(raw("", "b=2&signature=f").signed_payload(), b"b=2");
        assert_eq!(raw("a=1", "b=2&signature=f").signed_payload(), b"a=1b=2");
    }
}
