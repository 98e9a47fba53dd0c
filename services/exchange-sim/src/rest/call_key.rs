//! Reads what the filters of faults need to know about a call.

use axum::body::{Body, to_bytes};
use axum::extract::Request;

use super::params::Params;
use crate::trading_service::faults::CallKey;

/// Path of the fault API, which has no weight and no faults.
pub(super) const FAULT_API_PATH: &str = "/sim/fault";

/// Longest body of a request, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// The key of a call, and the call as it was. A body that is too long is passed on as an empty one.
pub(super) async fn read_call_key(request: Request) -> (CallKey, Request) {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, MAX_BODY_BYTES).await.unwrap_or_default();
    let params = Params::parse(head.uri.query().unwrap_or_default(), &body);
    let key = call_key(head.method.as_str(), head.uri.path(), &params);
    (key, Request::from_parts(head, Body::from(body)))
}

/// The key of a call with these parameters.
pub(super) fn call_key(method: &str, path: &str, params: &Params) -> CallKey {
    let is_set = |name| {
        params
            .text(name)
            .is_some_and(|text| text.eq_ignore_ascii_case("true"))
    };
    CallKey {
        method: method.to_owned(),
        path: path.to_owned(),
        symbol: params.text("symbol").map(str::to_owned),
        is_reducing: is_set("reduceOnly") || is_set("closePosition"),
    }
}
