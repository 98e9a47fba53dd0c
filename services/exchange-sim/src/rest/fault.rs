//! `/sim/fault`: arms, lists and clears faults, only with `SIM_FAULT_API=1`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::{Json, Router, routing};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::call_key::FAULT_API_PATH;
use super::error::ApiError;
use super::weight_limiter::WeightLimiter;
use crate::interval::Interval;
use crate::trading::error::ExchangeError;
use crate::trading_service::TradingService;
use crate::trading_service::faults::calls::{ClientLimit, ExhaustLimit};
use crate::trading_service::faults::kinds::Fault;
use crate::trading_service::faults::request::parse;
use crate::trading_service::order_limiter::OrderWindow;

/// What the fault API changes.
#[derive(Clone)]
pub(super) struct FaultApi {
    pub(super) trading_service: Arc<TradingService>,
    pub(super) weight_limiter: Arc<WeightLimiter>,
}

/// Routes of the fault API.
pub(super) fn router(api: FaultApi) -> Router {
    let methods = routing::post(arm).get(list).delete(clear);
    Router::new().route(FAULT_API_PATH, methods).with_state(api)
}

/// Arms a fault; answers with its id, which is null for a fault that ends others or happens at once.
async fn arm(State(api): State<FaultApi>, body: Bytes) -> Result<Json<Value>, ApiError> {
    let fields: Map<String, Value> = serde_json::from_slice(&body).map_err(|error| {
        ExchangeError::new(-1102, format!("body: expected a JSON object: {error}"))
    })?;
    let (mut fault, filter) =
        parse(fields).map_err(|error| ExchangeError::new(-1102, error.to_string()))?;
    let trading_service = &api.trading_service;
    apply_to_exchange(trading_service, &mut fault).await?;
    let wall_ms = runtime::clock::now().0;
    let lasts = match &fault {
        Fault::ExhaustLimit(limit) => Some(exhaust(&api, limit, wall_ms)),
        Fault::Ban(ban) => {
            api.weight_limiter.ban_all(wall_ms, ban.ms.0);
            Some(Duration::from_millis(ban.ms.0))
        }
        _ => None,
    };
    let id = trading_service.faults.arm(fault, filter, lasts);
    if trading_service.faults.longest_query_lag().is_some() {
        // From now on, the earlier states of the accounts are kept.
        trading_service.execute(|_, _| Ok(())).await?;
    }
    Ok(Json(json!({"id": id})))
}

async fn list(State(api): State<FaultApi>) -> Json<Vec<Value>> {
    Json(api.trading_service.faults.list())
}

#[derive(Deserialize)]
struct ClearQuery {
    id: Option<u64>,
}

/// Clears one fault or all; limits that a fault exhausted are free again.
async fn clear(
    State(api): State<FaultApi>,
    Query(query): Query<ClearQuery>,
) -> Result<Json<Value>, ApiError> {
    let trading_service = &api.trading_service;
    let was_exhausted = trading_service.faults.is_limit_exhausted();
    if let Some(id) = query.id {
        if !trading_service.faults.clear_one(id) {
            let message = format!(
                "id={id}: expected the id of an armed fault; GET {FAULT_API_PATH} lists them"
            );
            return Err(ExchangeError::new(-1102, message).into());
        }
    } else {
        trading_service.faults.clear();
        trading_service
            .execute(|state, _| {
                state.accept_triggers();
                Ok(())
            })
            .await?;
    }
    if was_exhausted && !trading_service.faults.is_limit_exhausted() {
        api.weight_limiter.reset();
        trading_service.order_limiter().reset();
    }
    Ok(Json(json!({})))
}

/// Exhausts a limit; returns the time until its window ends.
fn exhaust(api: &FaultApi, fault: &ExhaustLimit, wall_ms: i64) -> Duration {
    let left = u32::try_from(fault.left.0).unwrap_or(u32::MAX);
    let orders = api.trading_service.order_limiter();
    let wait_ms = match fault.limit {
        ClientLimit::Weight => api.weight_limiter.exhaust(left, wall_ms),
        ClientLimit::OrdersPer10s => orders.exhaust(OrderWindow::TenSeconds, left, wall_ms),
        ClientLimit::OrdersPerMinute => orders.exhaust(OrderWindow::Minute, left, wall_ms),
    };
    Duration::from_millis(u64::try_from(wait_ms).unwrap_or_default())
}

/// Applies a fault that changes the exchange's state (filters, rejected triggers, liquidations), and completes one of
/// the published market data.
async fn apply_to_exchange(
    trading_service: &Arc<TradingService>,
    fault: &mut Fault,
) -> Result<(), ExchangeError> {
    let wanted = fault.clone();
    let completed = trading_service
        .execute(move |state, now| {
            match &wanted {
                Fault::RejectTriggers(triggers) => {
                    state.reject_triggers(&triggers.account, triggers.code);
                }
                Fault::Liquidate(liquidate) => {
                    state.liquidate_now(&liquidate.account, &liquidate.symbol, now)?;
                }
                Fault::MissingCandle(missing) => {
                    state.filters(&missing.symbol)?;
                    let interval = Interval::from_name(&missing.interval)
                        .ok_or_else(|| ExchangeError::from_code(-1120))?;
                    let mut missing = missing.clone();
                    missing.from = missing.from.or_else(|| Some(interval.bucket(now.ms)));
                    return Ok(Some(Fault::MissingCandle(missing)));
                }
                Fault::ChangedFilter(changed) => {
                    let mut rules = state.filters(&changed.symbol)?.clone();
                    rules.tick = changed.tick.unwrap_or(rules.tick);
                    rules.step = changed.step.unwrap_or(rules.step);
                    rules.min_notional = changed.notional.unwrap_or(rules.min_notional);
                    rules.is_trading = changed.trading.unwrap_or(rules.is_trading);
                    let [smallest, largest] = rules.quantity_range;
                    rules.quantity_range = [changed.min_quantity.unwrap_or(smallest), largest];
                    state.set_filters(rules);
                }
                _ => {}
            }
            Ok(None)
        })
        .await?;
    if let Some(completed) = completed {
        *fault = completed;
    }
    Ok(())
}
