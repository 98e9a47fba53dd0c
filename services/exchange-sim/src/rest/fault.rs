//! `/sim/fault`: arms faults (only with `SIM_FAULT_API=1`), and applies armed faults to calls.

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
use super::weight_limiter::retry_after;
use crate::interval::Interval;
use crate::trading::error::ExchangeError;
use crate::trading_service::TradingService;
use crate::trading_service::faults::{ActiveFault, ArmedFault, CallFault, MissingCandles};

const PATH: &str = "/sim/fault";
/// Longest time for which the connection of a dropped response stays open.
const DROPPED_RESPONSE_TIMEOUT: Duration = Duration::from_mins(1);
/// Value of `Retry-After` for calls rejected with 429 or 418, in seconds.
const RETRY_AFTER_MS: i64 = 999;

/// Routes of the fault API.
pub(super) fn router() -> Router<Arc<TradingService>> {
    let methods = routing::post(arm).get(list).delete(clear);
    Router::new().route(PATH, methods)
}

async fn arm(
    State(trading_service): State<Arc<TradingService>>,
    Json(body): Json<Value>,
) -> Result<Json<Value>, ApiError> {
    if let Ok(armed) = serde_json::from_value::<ArmedFault>(body.clone()) {
        trading_service.faults.arm(armed);
        return Ok(Json(json!({})));
    }
    let standing: ActiveFault = serde_json::from_value(body)
        .map_err(|e| ExchangeError::new(-1102, format!("no such fault: {e}")))?;
    if let Some(of_exchange) = trading_service.faults.activate(standing) {
        apply_to_exchange(&trading_service, of_exchange).await?;
    }
    Ok(Json(json!({})))
}

async fn list(State(trading_service): State<Arc<TradingService>>) -> Json<Vec<ArmedFault>> {
    Json(trading_service.faults.armed())
}

async fn clear(State(trading_service): State<Arc<TradingService>>) -> Json<Value> {
    trading_service.faults.clear();
    Json(json!({}))
}

/// Applies a fault that changes the exchange's state (filters, rejected triggers, liquidations) or the published
/// market data.
async fn apply_to_exchange(
    trading_service: &Arc<TradingService>,
    fault: ActiveFault,
) -> Result<(), ExchangeError> {
    let hidden_in = Arc::clone(trading_service);
    trading_service
        .execute(move |state, now| {
            match fault {
                ActiveFault::RejectTriggers { account, code } => {
                    state.reject_triggers(&account, code);
                }
                ActiveFault::Liquidate { account, symbol } => {
                    state.liquidate_now(&account, &symbol, now)?;
                }
                ActiveFault::MissingCandle {
                    symbol,
                    interval,
                    from,
                    count,
                } => {
                    state.filters(&symbol)?;
                    let interval = Interval::from_name(&interval)
                        .ok_or_else(|| ExchangeError::from_code(-1120))?;
                    let from = from.unwrap_or_else(|| interval.bucket(now.ms));
                    let range = from..from.saturating_add(i64::from(count) * interval.ms());
                    hidden_in.faults.hide_candles(MissingCandles {
                        symbol,
                        interval,
                        open_times: range,
                    });
                }
                ActiveFault::Filter {
                    symbol,
                    tick,
                    step,
                    min_quantity: least,
                    notional,
                    trading,
                } => {
                    let mut rules = state.filters(&symbol)?.clone();
                    rules.tick = tick.unwrap_or(rules.tick);
                    rules.step = step.unwrap_or(rules.step);
                    rules.min_notional = notional.unwrap_or(rules.min_notional);
                    rules.is_trading = trading.unwrap_or(rules.is_trading);
                    let [smallest, largest] = rules.quantity_range;
                    rules.quantity_range = [least.unwrap_or(smallest), largest];
                    state.set_filters(rules);
                }
                _ => {}
            }
            Ok(())
        })
        .await
}

/// Applies the armed fault to a call.
pub(super) async fn apply_fault(
    State(trading_service): State<Arc<TradingService>>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    if path == PATH {
        return next.run(request).await;
    }
    if trading_service.faults.is_maintenance() {
        return ApiError::from(ExchangeError::from_code(-1016)).into_response();
    }
    let fault = trading_service
        .faults
        .take_call_fault(request.method().as_str(), path);
    match fault {
        None | Some(CallFault::PartialFill) => next.run(request).await,
        Some(CallFault::FailBefore { status, code }) => error_response(status, code),
        Some(CallFault::FailAfter { status, code }) => {
            next.run(request).await;
            error_response(status, code)
        }
        Some(CallFault::Delay { ms }) => {
            let response = next.run(request).await;
            sleep(Duration::from_millis(ms)).await;
            response
        }
        Some(CallFault::DropResponse) => {
            next.run(request).await;
            sleep(DROPPED_RESPONSE_TIMEOUT).await;
            connection_cut()
        }
        Some(CallFault::CutConnection) => {
            next.run(request).await;
            connection_cut()
        }
    }
}

fn error_response(status: u16, code: i32) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let refused = ApiError::from_fault(status, ExchangeError::from_code(code));
    match status.as_u16() {
        429 | 418 => retry_after(refused, RETRY_AFTER_MS),
        _ => refused.into_response(),
    }
}

/// A response that breaks off before its body: the server closes the connection.
fn connection_cut() -> Response {
    let broken = io::Error::new(io::ErrorKind::ConnectionReset, "cut by a fault");
    let body = Body::from_stream(stream::iter([Err::<Vec<u8>, _>(broken)]));
    body.into_response()
}
