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

/// Lists the armed faults. Those of the exchange's state have no id.
async fn list(State(api): State<FaultApi>) -> Result<Json<Vec<Value>>, ApiError> {
    let trading_service = &api.trading_service;
    let of_state = trading_service.execute(|state, _| Ok(state.faults().to_vec()));
    let of_state = of_state.await?.into_iter();
    let of_state = of_state.filter_map(|fault| serde_json::to_value(fault).ok());
    let all = trading_service.faults.list().into_iter().chain(of_state);
    Ok(Json(all.collect()))
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
        let changes = trading_service.execute(|state, now| Ok(state.clear_faults(now)));
        for change in changes.await? {
            trading_service.exchange().change_prices(&change);
        }
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

/// Applies a fault of the exchange's state, and completes one of the published market data.
async fn apply_to_exchange(
    trading_service: &Arc<TradingService>,
    fault: &mut Fault,
) -> Result<(), ExchangeError> {
    if let Some(fault) = fault.of_state() {
        let next_open_ms = trading_service.exchange().next_open_ms();
        let change = trading_service
            .execute(move |state, now| state.apply_fault(fault, next_open_ms, now))
            .await?;
        if let Some(change) = change {
            trading_service.exchange().change_prices(&change);
        }
    } else if let Fault::MissingCandle(missing) = fault {
        let interval = Interval::from_name(&missing.interval)
            .ok_or_else(|| ExchangeError::from_code(-1120))?;
        let symbol = missing.symbol.clone();
        let now_ms = trading_service
            .execute(move |state, now| state.filters(&symbol).map(|_| now.ms))
            .await?;
        missing.from = missing.from.or_else(|| Some(interval.bucket(now_ms)));
    }
    Ok(())
}
