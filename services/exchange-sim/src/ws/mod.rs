//! WebSocket routes. Binance serves raw streams under `/ws`, combined streams under `/stream`, and both under a route
//! such as `/market/...`, which the official client uses.

mod connection;
mod context;
pub(crate) mod event;
mod frame_key;
pub(crate) mod hub;
mod request;
pub(crate) mod user_event;

use std::collections::HashMap;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::response::Response;
use axum::routing::get;

use connection::Connection;
pub(crate) use context::ConnectionContext;
use hub::StreamFormat;

use crate::connection::Peer;

/// Largest message of a client, in bytes.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;
const ROUTES: [&str; 4] = ["", "/market", "/public", "/private"];

/// Routes of all stream addresses, with and without Binance's prefixes.
pub(crate) fn router(context: ConnectionContext) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        router = router
            .route(&format!("{route}/ws"), get(bare))
            .route(&format!("{route}/ws/"), get(bare))
            .route(&format!("{route}/ws/{{*streams}}"), get(raw))
            .route(&format!("{route}/stream"), get(combined));
    }
    router.with_state(context)
}

/// A connection without streams, or with the user stream of a listen key in the query.
async fn bare(
    upgrade: WebSocketUpgrade,
    ConnectInfo(peer): ConnectInfo<Peer>,
    State(context): State<ConnectionContext>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let key = query.get("listenKey").map_or("", String::as_str);
    accept(upgrade, peer.address, context, StreamFormat::Raw, key)
}

async fn raw(
    upgrade: WebSocketUpgrade,
    ConnectInfo(peer): ConnectInfo<Peer>,
    State(context): State<ConnectionContext>,
    Path(streams): Path<String>,
) -> Response {
    accept(upgrade, peer.address, context, StreamFormat::Raw, &streams)
}

async fn combined(
    upgrade: WebSocketUpgrade,
    ConnectInfo(peer): ConnectInfo<Peer>,
    State(context): State<ConnectionContext>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let streams = query.get("streams").map_or("", String::as_str);
    accept(
        upgrade,
        peer.address,
        context,
        StreamFormat::Combined,
        streams,
    )
}

fn accept(
    upgrade: WebSocketUpgrade,
    peer: SocketAddr,
    context: ConnectionContext,
    format: StreamFormat,
    streams: &str,
) -> Response {
    let streams: Vec<String> = streams
        .split('/')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    upgrade
        .max_message_size(MAX_MESSAGE_BYTES)
        .on_upgrade(move |socket| {
            let tracker = context.connections.clone();
            let connection = Connection::run(socket, peer, context, format, streams);
            tracker.track_future(connection)
        })
}
