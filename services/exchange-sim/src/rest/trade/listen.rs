//! The user stream's key: begun, prolonged, ended. A key is enough here, no signature. Not here: the
//! stream itself (`ws/`).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::json;

use super::Answer;
use crate::desk::Desk;
use crate::rest::signed::Keyed;
use crate::trading::prices::Now;
use crate::trading::refusal::Refusal;

pub(super) async fn begin(State(desk): State<Arc<Desk>>, keyed: Keyed) -> Answer {
    let wall_ms = runtime::clock::now().0;
    let key = desk.run(move |venue, now: &Now<'_>| {
        let fresh = fresh(&keyed.account, now.ms, wall_ms);
        venue.listen(&keyed.account, &fresh, now.ms)
    });
    Ok(Json(json!({"listenKey": key.await?})))
}

pub(super) async fn prolong(State(desk): State<Arc<Desk>>, keyed: Keyed) -> Answer {
    let given = keyed.params.text("listenKey").map(str::to_owned);
    let key = desk.run(move |venue, now| {
        let listen = venue.account(&keyed.account)?.listen.as_ref();
        if given.is_some_and(|given| listen.is_none_or(|l| l.key != given)) {
            return Err(Refusal::of(-1125));
        }
        venue.keep_listening(&keyed.account, now.ms)
    });
    Ok(Json(json!({"listenKey": key.await?})))
}

pub(super) async fn end(State(desk): State<Arc<Desk>>, keyed: Keyed) -> Answer {
    desk.run(move |venue, _| venue.stop_listening(&keyed.account))
        .await?;
    Ok(Json(json!({})))
}

/// A key nobody has had before: 64 characters, as Binance's.
fn fresh(account: &str, now_ms: i64, wall_ms: i64) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(Sha256::digest(format!("{account} {now_ms} {wall_ms}")))
}
