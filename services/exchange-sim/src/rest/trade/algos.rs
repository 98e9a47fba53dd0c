//! The conditional orders' endpoints, Binance's algo service. Not here: ordinary orders (`orders.rs`).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::orders::{Span, cancelled_all, position_side, side};
use super::view;
use super::{Answer, counted};
use crate::desk::Desk;
use crate::rest::error::ApiError;
use crate::rest::params::Params;
use crate::rest::signed::Signed;
use crate::trading::order::NewAlgo;
use crate::trading::refusal::Refusal;
use crate::trading::terms::{Conditional, Working};

pub(super) async fn place(
    State(desk): State<Arc<Desk>>,
    signed: Signed,
) -> Result<(HeaderMap, Json<Value>), ApiError> {
    let Signed {
        account, params, ..
    } = signed.may_trade()?;
    let counts = desk.count_order(&account)?;
    let wanted = wanted(&params)?;
    let placed = desk.run(move |venue, now| venue.place_algo(&account, &wanted, now));
    Ok((counted(counts), Json(view::algo(&placed.await?))))
}

pub(super) async fn query(State(desk): State<Arc<Desk>>, signed: Signed) -> Answer {
    let (account, params) = (signed.account, signed.params);
    let (id, client_id) = ids(&params)?;
    let found = desk.run(move |venue, _| {
        let found = venue.account(&account)?.algo(id, client_id.as_deref());
        found.map(view::algo).ok_or_else(|| Refusal::of(-2013))
    });
    Ok(Json(found.await?))
}

pub(super) async fn cancel(State(desk): State<Arc<Desk>>, signed: Signed) -> Answer {
    let Signed {
        account, params, ..
    } = signed.may_trade()?;
    let (id, client_id) = ids(&params)?;
    let algo = desk
        .run(move |venue, now| venue.cancel_algo(&account, (id, client_id.as_deref()), now.ms))
        .await?;
    Ok(Json(json!({
        "algoId": algo.id,
        "clientAlgoId": algo.client_id,
        "code": "200",
        "msg": "success",
    })))
}

pub(super) async fn cancel_all(State(desk): State<Arc<Desk>>, signed: Signed) -> Answer {
    let Signed {
        account, params, ..
    } = signed.may_trade()?;
    let symbol = params.must("symbol")?.to_owned();
    desk.run(move |venue, now| venue.cancel_all_algos(&account, &symbol, now.ms))
        .await?;
    Ok(cancelled_all())
}

pub(super) async fn open(State(desk): State<Arc<Desk>>, signed: Signed) -> Answer {
    let (account, params) = (signed.account, signed.params);
    let symbol = params.text("symbol").map(str::to_owned);
    let id: Option<i64> = params.parsed("algoId")?;
    let open = desk.run(move |venue, _| {
        if let Some(symbol) = &symbol {
            venue.rules(symbol)?;
        }
        let waiting = venue.account(&account)?.waiting.values();
        let waiting = waiting
            .filter(|a| symbol.as_ref().is_none_or(|s| *s == a.symbol))
            .filter(|a| id.is_none_or(|id| id == a.id));
        Ok(waiting.map(view::algo).collect::<Vec<_>>())
    });
    Ok(Json(open.await?.into()))
}

pub(super) async fn all(State(desk): State<Arc<Desk>>, signed: Signed) -> Answer {
    let (account, params) = (signed.account, signed.params);
    let span = Span::read(&params, "algoId")?;
    let symbol = params.must("symbol")?.to_owned();
    let all = desk.run(move |venue, _| {
        venue.rules(&symbol)?;
        let account = venue.account(&account)?;
        let all = account.done.values().chain(account.waiting.values());
        let all = all.filter(|a| a.symbol == symbol);
        Ok(span.part(all, |a| (a.id, a.created_ms), view::algo))
    });
    Ok(Json(all.await?.into()))
}

fn ids(params: &Params) -> Result<(Option<i64>, Option<String>), Refusal> {
    let id = params.parsed("algoId")?;
    let client_id = params.text("clientAlgoId").map(str::to_owned);
    if id.is_none() && client_id.is_none() {
        let words = "Param 'clientAlgoId' or 'algoId' must be sent, but both were empty/null!";
        return Err(Refusal::new(-1102, words));
    }
    Ok((id, client_id))
}

fn wanted(params: &Params) -> Result<NewAlgo, Refusal> {
    if params.must("algoType")? != "CONDITIONAL" {
        return Err(Refusal::new(-1102, "Invalid algoType."));
    }
    let symbol = params.must("symbol")?.to_owned();
    let side = side(params)?;
    let kind = Conditional::of(params.must("type")?).ok_or_else(|| Refusal::of(-1116))?;
    let trigger = params.decimal("triggerPrice")?;
    let close_position = params.flag("closePosition")?;
    let reduce_only = params.flag("reduceOnly")?;
    let quantity = params.decimal("quantity")?;
    let quantity = match (close_position, quantity) {
        (true, Some(_)) => {
            let words = "Target strategy invalid for orderType, closePosition(true)";
            return Err(Refusal::new(-4136, words));
        }
        (true, None) => Decimal::ZERO,
        (false, quantity) => quantity.ok_or_else(|| Refusal::missing("quantity"))?,
    };
    if close_position && params.text("reduceOnly").is_some() {
        return Err(Refusal::not_required("reduceOnly"));
    }
    let working = params.text("workingType").unwrap_or("CONTRACT_PRICE");
    Ok(NewAlgo {
        symbol,
        side,
        position_side: position_side(params)?,
        kind,
        trigger: trigger.ok_or_else(|| Refusal::missing("triggerPrice"))?,
        quantity,
        close_position,
        reduce_only,
        working: Working::of(working).ok_or_else(|| Refusal::missing("workingType"))?,
        client_id: params.text("clientAlgoId").map(str::to_owned),
    })
}
