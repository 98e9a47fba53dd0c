//! Endpoints of leverage, margin mode, position mode, multi-assets mode and fees in BNB.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::account::pays_in_bnb;
use super::response::{JsonResult, success};
use super::response_json;
use crate::rest::auth::SignedAuth;
use crate::rest::exchange_info::order_limits_json;
use crate::trading::enums::MarginMode;
use crate::trading::error::ExchangeError;
use crate::trading::leverage_brackets;
use crate::trading_service::TradingService;

pub(super) async fn set_leverage(
    State(trading_service): State<Arc<TradingService>>,
    signed: SignedAuth,
) -> JsonResult {
    let SignedAuth {
        account, params, ..
    } = signed.require_trading()?;
    let symbol = params.required("symbol")?.to_owned();
    let leverage = params.required_parsed("leverage")?;
    let changed = symbol.clone();
    let most = trading_service.execute(move |state, now| {
        state.set_leverage(&account, &changed, leverage, now.ms)?;
        let brackets = state.filters(&changed)?.brackets();
        Ok(leverage_brackets::max_notional(&brackets, leverage))
    });
    let most = response_json::format_decimal(most.await?);
    Ok(Json(
        json!({"leverage": leverage, "maxNotionalValue": most, "symbol": symbol}),
    ))
}

pub(super) async fn set_margin_type(
    State(trading_service): State<Arc<TradingService>>,
    signed: SignedAuth,
) -> JsonResult {
    let SignedAuth {
        account, params, ..
    } = signed.require_trading()?;
    let symbol = params.required("symbol")?.to_owned();
    let margin = MarginMode::from_wire(params.required("marginType")?);
    let margin = margin.ok_or_else(|| ExchangeError::missing_parameter("marginType"))?;
    trading_service
        .execute(move |state, _| state.set_margin_mode(&account, &symbol, margin))
        .await?;
    Ok(success())
}

pub(super) async fn position_mode(
    State(trading_service): State<Arc<TradingService>>,
    signed: SignedAuth,
) -> JsonResult {
    let dual = trading_service.query(signed.lag, move |state, _| {
        Ok(state.account(&signed.account)?.hedge_mode)
    });
    Ok(Json(json!({"dualSidePosition": dual.await?})))
}

pub(super) async fn set_position_mode(
    State(trading_service): State<Arc<TradingService>>,
    signed: SignedAuth,
) -> JsonResult {
    let SignedAuth {
        account, params, ..
    } = signed.require_trading()?;
    params.required("dualSidePosition")?;
    let dual = params.flag("dualSidePosition")?;
    trading_service
        .execute(move |state, _| state.set_hedge_mode(&account, dual))
        .await?;
    Ok(success())
}

pub(super) async fn multi_assets(
    State(trading_service): State<Arc<TradingService>>,
    signed: SignedAuth,
) -> JsonResult {
    let on = trading_service.query(signed.lag, move |state, _| {
        Ok(state.account(&signed.account)?.multi_assets)
    });
    Ok(Json(json!({"multiAssetsMargin": on.await?})))
}

pub(super) async fn set_multi_assets(
    State(trading_service): State<Arc<TradingService>>,
    signed: SignedAuth,
) -> JsonResult {
    let SignedAuth {
        account, params, ..
    } = signed.require_trading()?;
    params.required("multiAssetsMargin")?;
    let on = params.flag("multiAssetsMargin")?;
    trading_service
        .execute(move |state, _| state.set_multi_assets(&account, on))
        .await?;
    Ok(success())
}

/// Whether fees are paid in BNB.
pub(super) async fn fee_burn(
    State(trading_service): State<Arc<TradingService>>,
    signed: SignedAuth,
) -> JsonResult {
    let on = trading_service.query(signed.lag, move |state, _| {
        Ok(pays_in_bnb(state.account(&signed.account)?))
    });
    Ok(Json(json!({"feeBurn": on.await?})))
}

pub(super) async fn set_fee_burn(
    State(trading_service): State<Arc<TradingService>>,
    signed: SignedAuth,
) -> JsonResult {
    let SignedAuth {
        account, params, ..
    } = signed.require_trading()?;
    params.required("feeBurn")?;
    let on = params.flag("feeBurn")?;
    trading_service
        .execute(move |state, _| state.set_fee_burn(&account, on))
        .await?;
    Ok(success())
}

/// Order limits of the account.
pub(super) async fn order_limits(
    State(trading_service): State<Arc<TradingService>>,
    _: SignedAuth,
) -> Json<Value> {
    Json(order_limits_json(trading_service.exchange().limits()).into())
}
