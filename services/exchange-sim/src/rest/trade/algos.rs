//! Endpoints of conditional orders: Binance's algo service.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use rust_decimal::Decimal;
use serde_json::json;

use super::orders::{PageQuery, cancel_all_response, parse_position_side, parse_side};
use super::response::{JsonResult, place_counted};
use super::response_json;
use crate::rest::auth::SignedAuth;
use crate::rest::error::ApiError;
use crate::rest::params::Params;
use crate::trading::enums::{AlgoType, WorkingType};
use crate::trading::error::ExchangeError;
use crate::trading::order::NewAlgo;
use crate::trading_service::TradingService;

pub(super) async fn place(
    State(trading_service): State<Arc<TradingService>>,
    signed: SignedAuth,
) -> Result<Response, ApiError> {
    let SignedAuth {
        account, params, ..
    } = signed.require_trading()?;
    let name = account.clone();
    let place = async {
        let wanted = parse_new_algo(&params)?;
        let placed =
            trading_service.execute(move |state, now| state.place_algo(&account, &wanted, now));
        Ok(response_json::algo(&placed.await?))
    };
    Ok(place_counted(&trading_service, &name, place).await)
}

pub(super) async fn query(
    State(trading_service): State<Arc<TradingService>>,
    signed: SignedAuth,
) -> JsonResult {
    let (account, params) = (signed.account, signed.params);
    let (id, client_id) = parse_ids(&params)?;
    let found = trading_service.query(signed.lag, move |state, _| {
        let found = state.account(&account)?.algo(id, client_id.as_deref());
        found
            .map(response_json::algo)
            .ok_or_else(|| ExchangeError::from_code(-2013))
    });
    Ok(Json(found.await?))
}

pub(super) async fn cancel(
    State(trading_service): State<Arc<TradingService>>,
    signed: SignedAuth,
) -> JsonResult {
    let SignedAuth {
        account, params, ..
    } = signed.require_trading()?;
    let (id, client_id) = parse_ids(&params)?;
    let algo = trading_service
        .execute(move |state, now| state.cancel_algo(&account, (id, client_id.as_deref()), now.ms))
        .await?;
    Ok(Json(json!({
        "algoId": algo.id,
        "clientAlgoId": algo.client_id,
        "code": "200",
        "msg": "success",
    })))
}

pub(super) async fn cancel_all(
    State(trading_service): State<Arc<TradingService>>,
    signed: SignedAuth,
) -> JsonResult {
    let SignedAuth {
        account, params, ..
    } = signed.require_trading()?;
    let symbol = params.required("symbol")?.to_owned();
    trading_service
        .execute(move |state, now| state.cancel_all_algos(&account, &symbol, now.ms))
        .await?;
    Ok(cancel_all_response())
}

pub(super) async fn open(
    State(trading_service): State<Arc<TradingService>>,
    signed: SignedAuth,
) -> JsonResult {
    let (account, params) = (signed.account, signed.params);
    let symbol = params.text("symbol").map(str::to_owned);
    let id: Option<i64> = params.parsed("algoId")?;
    let open = trading_service.query(signed.lag, move |state, _| {
        if let Some(symbol) = &symbol {
            state.filters(symbol)?;
        }
        let waiting = state.account(&account)?.waiting_algos.values();
        let waiting = waiting
            .filter(|a| symbol.as_ref().is_none_or(|s| *s == a.symbol))
            .filter(|a| id.is_none_or(|id| id == a.id));
        Ok(waiting.map(response_json::algo).collect::<Vec<_>>())
    });
    Ok(Json(open.await?.into()))
}

pub(super) async fn all(
    State(trading_service): State<Arc<TradingService>>,
    signed: SignedAuth,
) -> JsonResult {
    let (account, params) = (signed.account, signed.params);
    let span = PageQuery::parse(&params, "algoId")?;
    let symbol = params.required("symbol")?.to_owned();
    let all = trading_service.query(signed.lag, move |state, now| {
        state.filters(&symbol)?;
        let span = span.within_a_week(now.ms)?;
        let account = state.account(&account)?;
        let all = account
            .ended_algos
            .values()
            .chain(account.waiting_algos.values());
        let all = all.filter(|a| a.symbol == symbol);
        Ok(span.page(all, |a| (a.id, a.created_ms), response_json::algo))
    });
    Ok(Json(all.await?.into()))
}

fn parse_ids(params: &Params) -> Result<(Option<i64>, Option<String>), ExchangeError> {
    let id = params.parsed("algoId")?;
    let client_id = params.text("clientAlgoId").map(str::to_owned);
    if id.is_none() && client_id.is_none() {
        let message = "Param 'clientAlgoId' or 'algoId' must be sent, but both were empty/null!";
        return Err(ExchangeError::new(-1102, message));
    }
    Ok((id, client_id))
}

fn parse_new_algo(params: &Params) -> Result<NewAlgo, ExchangeError> {
    if params.required("algoType")? != "CONDITIONAL" {
        return Err(ExchangeError::new(-1102, "Invalid algoType."));
    }
    let symbol = params.required("symbol")?.to_owned();
    let side = parse_side(params)?;
    let kind = AlgoType::from_wire(params.required("type")?)
        .ok_or_else(|| ExchangeError::from_code(-1116))?;
    let trigger = params.decimal("triggerPrice")?;
    let close_position = params.flag("closePosition")?;
    let reduce_only = params.flag("reduceOnly")?;
    let quantity = params.decimal("quantity")?;
    let quantity = match (close_position, quantity) {
        (true, Some(_)) => {
            let message = "Target strategy invalid for orderType, closePosition(true)";
            return Err(ExchangeError::new(-4136, message));
        }
        (true, None) => Decimal::ZERO,
        (false, quantity) => {
            quantity.ok_or_else(|| ExchangeError::missing_parameter("quantity"))?
        }
    };
    if close_position && params.text("reduceOnly").is_some() {
        return Err(ExchangeError::not_required("reduceOnly"));
    }
    let working = params.text("workingType").unwrap_or("CONTRACT_PRICE");
    Ok(NewAlgo {
        symbol,
        side,
        position_side: parse_position_side(params)?,
        kind,
        trigger_price: trigger.ok_or_else(|| ExchangeError::missing_parameter("triggerPrice"))?,
        quantity,
        close_position,
        reduce_only,
        working_type: WorkingType::from_wire(working)
            .ok_or_else(|| ExchangeError::missing_parameter("workingType"))?,
        client_id: params.text("clientAlgoId").map(str::to_owned),
    })
}
