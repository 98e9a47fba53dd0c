//! The endpoints for leverage, margin mode and position mode.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::{Answer, success, view};
use crate::desk::Desk;
use crate::rest::exchange_info::order_limits_of;
use crate::rest::signed::Signed;
use crate::trading::bracket;
use crate::trading::refusal::Refusal;
use crate::trading::terms::Margin;

pub(super) async fn leverage(State(desk): State<Arc<Desk>>, signed: Signed) -> Answer {
    let Signed {
        account, params, ..
    } = signed.may_trade()?;
    let symbol = params.must("symbol")?.to_owned();
    let leverage = params.must_parse("leverage")?;
    let changed = symbol.clone();
    desk.run(move |venue, now| venue.set_leverage(&account, &changed, leverage, now.ms))
        .await?;
    let most = view::digits(bracket::most(leverage));
    Ok(Json(
        json!({"leverage": leverage, "maxNotionalValue": most, "symbol": symbol}),
    ))
}

pub(super) async fn margin(State(desk): State<Arc<Desk>>, signed: Signed) -> Answer {
    let Signed {
        account, params, ..
    } = signed.may_trade()?;
    let symbol = params.must("symbol")?.to_owned();
    let margin = Margin::of(params.must("marginType")?);
    let margin = margin.ok_or_else(|| Refusal::missing("marginType"))?;
    desk.run(move |venue, _| venue.set_margin(&account, &symbol, margin))
        .await?;
    Ok(success())
}

pub(super) async fn mode(State(desk): State<Arc<Desk>>, signed: Signed) -> Answer {
    let dual = desk.run(move |venue, _| Ok(venue.account(&signed.account)?.dual));
    Ok(Json(json!({"dualSidePosition": dual.await?})))
}

pub(super) async fn set_mode(State(desk): State<Arc<Desk>>, signed: Signed) -> Answer {
    let Signed {
        account, params, ..
    } = signed.may_trade()?;
    params.must("dualSidePosition")?;
    let dual = params.flag("dualSidePosition")?;
    desk.run(move |venue, _| venue.set_dual(&account, dual))
        .await?;
    Ok(success())
}

/// Always one asset: this exchange has no other.
pub(super) async fn multi_assets(_: Signed) -> Answer {
    Ok(Json(json!({"multiAssetsMargin": false})))
}

/// How many orders the account may place.
pub(super) async fn order_limits(State(desk): State<Arc<Desk>>, _: Signed) -> Json<Value> {
    Json(order_limits_of(desk.exchange().limits()).into())
}
