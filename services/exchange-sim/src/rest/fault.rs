//! `/sim/fault`, where a test arms faults (only with `--admin`), and how calls then fail. Not here:
//! what faults there are (`desk/faults.rs`).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::error::ApiError;
use super::weight::retry_after;
use crate::desk::Desk;
use crate::desk::faults::{Armed, CallFault, Hole, Standing};
use crate::interval::Interval;
use crate::trading::refusal::Refusal;

const PATH: &str = "/sim/fault";
/// How long a lost answer's connection stays open at most.
const SILENCE: Duration = Duration::from_mins(1);
/// When a call refused with 429 or 418 may come again.
const RETRY_AFTER_MS: i64 = 999;

/// The admin's routes.
pub(super) fn router() -> Router<Arc<Desk>> {
    let methods = routing::post(arm).get(list).delete(clear);
    Router::new().route(PATH, methods)
}

async fn arm(
    State(desk): State<Arc<Desk>>,
    Json(wanted): Json<Value>,
) -> Result<Json<Value>, ApiError> {
    if let Ok(armed) = serde_json::from_value::<Armed>(wanted.clone()) {
        desk.faults.arm(armed);
        return Ok(Json(json!({})));
    }
    let standing: Standing = serde_json::from_value(wanted)
        .map_err(|e| Refusal::new(-1102, format!("no such fault: {e}")))?;
    if let Some(of_venue) = desk.faults.stand(standing) {
        change(&desk, of_venue).await?;
    }
    Ok(Json(json!({})))
}

async fn list(State(desk): State<Arc<Desk>>) -> Json<Vec<Armed>> {
    Json(desk.faults.armed())
}

async fn clear(State(desk): State<Arc<Desk>>) -> Json<Value> {
    desk.faults.clear();
    Json(json!({}))
}

/// Changes the venue (filters, accounts whose triggered orders are refused or whose position ends), or what is
/// told of the market.
async fn change(desk: &Arc<Desk>, fault: Standing) -> Result<(), Refusal> {
    let hidden_in = Arc::clone(desk);
    desk.run(move |venue, now| {
        match fault {
            Standing::RefuseTriggers { account, code } => venue.refuse_triggers(&account, code),
            Standing::Liquidate { account, symbol } => {
                venue.liquidate_now(&account, &symbol, now)?;
            }
            Standing::MissingCandle {
                symbol,
                interval,
                from,
                count,
            } => {
                venue.rules(&symbol)?;
                let interval = Interval::from_name(&interval).ok_or_else(|| Refusal::of(-1120))?;
                let from = from.unwrap_or_else(|| interval.bucket(now.ms));
                let range = from..from.saturating_add(i64::from(count) * interval.ms());
                hidden_in.faults.hide(Hole {
                    symbol,
                    interval,
                    range,
                });
            }
            Standing::Filter {
                symbol,
                tick,
                step,
                least,
                notional,
                trading,
            } => {
                let mut rules = venue.rules(&symbol)?.clone();
                rules.tick = tick.unwrap_or(rules.tick);
                rules.step = step.unwrap_or(rules.step);
                rules.notional = notional.unwrap_or(rules.notional);
                rules.trading = trading.unwrap_or(rules.trading);
                let [smallest, largest] = rules.quantity;
                rules.quantity = [least.unwrap_or(smallest), largest];
                venue.change_rules(rules);
            }
            _ => {}
        }
        Ok(())
    })
    .await
}

/// Lets a call fail as it is armed to.
pub(super) async fn fail(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path == PATH {
        return next.run(request).await;
    }
    if desk.faults.maintenance() {
        return ApiError::from(Refusal::of(-1016)).into_response();
    }
    let fault = desk.faults.take(request.method().as_str(), path);
    match fault {
        None | Some(CallFault::Partial) => next.run(request).await,
        Some(CallFault::Before { status, code }) => refusal(status, code),
        Some(CallFault::After { status, code }) => {
            next.run(request).await;
            refusal(status, code)
        }
        Some(CallFault::Delay { ms }) => {
            let response = next.run(request).await;
            sleep(Duration::from_millis(ms)).await;
            response
        }
        Some(CallFault::Lost) => {
            next.run(request).await;
            sleep(SILENCE).await;
            cut()
        }
        Some(CallFault::Cut) => {
            next.run(request).await;
            cut()
        }
    }
}

fn refusal(status: u16, code: i32) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let refused = ApiError::armed(status, Refusal::of(code));
    match status.as_u16() {
        429 | 418 => retry_after(refused, RETRY_AFTER_MS),
        _ => refused.into_response(),
    }
}

/// An answer that breaks off before its first byte of body: the server closes the connection.
fn cut() -> Response {
    let broken = io::Error::new(io::ErrorKind::ConnectionReset, "cut by a fault");
    let body = Body::from_stream(stream::iter([Err::<Vec<u8>, _>(broken)]));
    body.into_response()
}
