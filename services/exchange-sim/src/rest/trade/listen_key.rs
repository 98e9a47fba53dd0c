//! Endpoints of the listen key of a user stream: create, keep alive, close. They need an API key but no signature.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::json;

use super::response::JsonResult;
use crate::rest::auth::ApiKeyAuth;
use crate::trading::error::ExchangeError;
use crate::trading::prices::Now;
use crate::trading_service::TradingService;

pub(super) async fn create(
    State(trading_service): State<Arc<TradingService>>,
    keyed: ApiKeyAuth,
) -> JsonResult {
    let wall_ms = runtime::clock::now().0;
    let key = trading_service.execute(move |state, now: &Now<'_>| {
        let fresh = new_listen_key(&keyed.account, now.ms, wall_ms);
        state.open_listen_key(&keyed.account, &fresh, now.ms)
    });
    Ok(Json(json!({"listenKey": key.await?})))
}

pub(super) async fn keep_alive(
    State(trading_service): State<Arc<TradingService>>,
    keyed: ApiKeyAuth,
) -> JsonResult {
    let given = keyed.params.text("listenKey").map(str::to_owned);
    let key = trading_service.execute(move |state, now| {
        let listen = state.account(&keyed.account)?.listen_key.as_ref();
        if given.is_some_and(|given| listen.is_none_or(|l| l.key != given)) {
            return Err(ExchangeError::from_code(-1125));
        }
        state.keep_listen_key_alive(&keyed.account, now.ms)
    });
    Ok(Json(json!({"listenKey": key.await?})))
}

pub(super) async fn close(
    State(trading_service): State<Arc<TradingService>>,
    keyed: ApiKeyAuth,
) -> JsonResult {
    trading_service
        .execute(move |state, _| state.close_listen_key(&keyed.account))
        .await?;
    Ok(Json(json!({})))
}

/// A new random key of 64 characters, as at Binance.
fn new_listen_key(account: &str, now_ms: i64, wall_ms: i64) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(Sha256::digest(format!("{account} {now_ms} {wall_ms}")))
}
