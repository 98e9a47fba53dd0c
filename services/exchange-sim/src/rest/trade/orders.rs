//! The ordinary orders' endpoints: place, query, cancel, lists, fills. Not here: conditional orders
//! (`algos.rs`).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::view;
use super::{Answer, counted};
use crate::desk::Desk;
use crate::rest::error::ApiError;
use crate::rest::params::Params;
use crate::rest::signed::Signed;
use crate::trading::order::NewOrder;
use crate::trading::refusal::Refusal;
use crate::trading::terms::{Kind, PositionSide, Side, TimeInForce};

/// Entries in a list when the client does not say, and at most.
const DEFAULT_LIMIT: usize = 500;
const MOST: usize = 1_000;

pub(super) async fn place(
    State(desk): State<Arc<Desk>>,
    signed: Signed,
) -> Result<(HeaderMap, Json<Value>), ApiError> {
    let Signed {
        account, params, ..
    } = signed.may_trade()?;
    let counts = desk.count_order(&account)?;
    let wanted = wanted(&params)?;
    let in_parts = desk.faults.take_partial();
    let full = matches!(params.text("newOrderRespType"), Some("RESULT"));
    let order = desk
        .run(move |venue, now| venue.place(&account, &wanted, now, in_parts))
        .await?;
    let answer = if full {
        view::order(&order)
    } else {
        view::acknowledged(&order)
    };
    Ok((counted(counts), Json(answer)))
}

pub(super) async fn query(State(desk): State<Arc<Desk>>, signed: Signed) -> Answer {
    one(&desk, signed, false).await
}

pub(super) async fn open_one(State(desk): State<Arc<Desk>>, signed: Signed) -> Answer {
    one(&desk, signed, true).await
}

async fn one(desk: &Arc<Desk>, signed: Signed, only_open: bool) -> Answer {
    let (account, params) = (signed.account, signed.params);
    let symbol = params.must("symbol")?.to_owned();
    let (id, client_id) = ids(&params)?;
    let found = desk.run(move |venue, _| {
        venue.rules(&symbol)?;
        let found = venue
            .account(&account)?
            .order(&symbol, id, client_id.as_deref());
        let found = found.filter(|o| !only_open || o.status.open());
        found.map(view::order).ok_or_else(|| Refusal::of(-2013))
    });
    Ok(Json(found.await?))
}

pub(super) async fn cancel(State(desk): State<Arc<Desk>>, signed: Signed) -> Answer {
    let Signed {
        account, params, ..
    } = signed.may_trade()?;
    let symbol = params.must("symbol")?.to_owned();
    let (id, client_id) = ids(&params)?;
    let order = desk
        .run(move |venue, now| venue.cancel(&account, &symbol, (id, client_id.as_deref()), now.ms))
        .await?;
    Ok(Json(view::order(&order)))
}

pub(super) async fn cancel_all(State(desk): State<Arc<Desk>>, signed: Signed) -> Answer {
    let Signed {
        account, params, ..
    } = signed.may_trade()?;
    let symbol = params.must("symbol")?.to_owned();
    desk.run(move |venue, now| venue.cancel_all(&account, &symbol, now.ms))
        .await?;
    Ok(cancelled_all())
}

/// What is answered when everything of a symbol is cancelled, of either kind.
pub(super) fn cancelled_all() -> Json<Value> {
    let words = "The operation of cancel all open order is done.";
    Json(json!({"code": 200, "msg": words}))
}

pub(super) async fn open(State(desk): State<Arc<Desk>>, signed: Signed) -> Answer {
    let (account, params) = (signed.account, signed.params);
    let symbol = params.text("symbol").map(str::to_owned);
    let open = desk.run(move |venue, _| {
        if let Some(symbol) = &symbol {
            venue.rules(symbol)?;
        }
        let open = venue.account(&account)?.open.values();
        let open = open.filter(|o| symbol.as_ref().is_none_or(|s| *s == o.symbol));
        Ok(open.map(view::order).collect::<Vec<_>>())
    });
    Ok(Json(open.await?.into()))
}

pub(super) async fn all(State(desk): State<Arc<Desk>>, signed: Signed) -> Answer {
    let (account, params) = (signed.account, signed.params);
    let span = Span::read(&params, "orderId")?;
    let symbol = params.must("symbol")?.to_owned();
    let all = desk.run(move |venue, _| {
        venue.rules(&symbol)?;
        let account = venue.account(&account)?;
        let all = account.ended.values().chain(account.open.values());
        let all = all.filter(|o| o.symbol == symbol);
        Ok(span.part(all, |o| (o.id, o.created_ms), view::order))
    });
    Ok(Json(all.await?.into()))
}

/// Orders by which the exchange closed positions; it never has to sort out winners (`ADL`) here.
pub(super) async fn forced(State(desk): State<Arc<Desk>>, signed: Signed) -> Answer {
    let (account, params) = (signed.account, signed.params);
    let span = Span::read(&params, "")?;
    let symbol = params.text("symbol").map(str::to_owned);
    let wanted = params.text("autoCloseType") != Some("ADL");
    let forced = desk.run(move |venue, _| {
        let ended = venue.account(&account)?.ended.values();
        let forced = ended
            .filter(|o| wanted && o.kind == Kind::Liquidation)
            .filter(|o| symbol.as_ref().is_none_or(|s| *s == o.symbol));
        Ok(span.part(forced, |o| (o.id, o.created_ms), view::order))
    });
    Ok(Json(forced.await?.into()))
}

pub(super) async fn trades(State(desk): State<Arc<Desk>>, signed: Signed) -> Answer {
    let (account, params) = (signed.account, signed.params);
    let span = Span::read(&params, "fromId")?;
    let symbol = params.must("symbol")?.to_owned();
    let order: Option<i64> = params.parsed("orderId")?;
    let trades = desk.run(move |venue, _| {
        venue.rules(&symbol)?;
        let trades = venue.account(&account)?.trades.iter();
        let trades = trades.filter(|t| t.symbol == symbol && span.has(t.id, t.at_ms));
        let trades = trades.filter(|t| order.is_none_or(|id| id == t.order_id));
        let trades = span.cut(trades.collect());
        Ok(trades.into_iter().map(view::trade).collect::<Vec<_>>())
    });
    Ok(Json(trades.await?.into()))
}

/// Which part of a list is wanted: from an id on, else the newest within a time.
pub(super) struct Span {
    from: Option<i64>,
    start: Option<i64>,
    end: Option<i64>,
    limit: usize,
}

impl Span {
    pub(super) fn read(params: &Params, id: &str) -> Result<Self, Refusal> {
        let limit = params.parsed("limit")?.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MOST).contains(&limit) {
            let words = "Data sent for parameter 'limit' is not valid.";
            return Err(Refusal::new(-1130, words));
        }
        Ok(Self {
            from: params.parsed(id)?,
            start: params.parsed("startTime")?,
            end: params.parsed("endTime")?,
            limit,
        })
    }

    pub(super) fn has(&self, id: i64, at_ms: i64) -> bool {
        self.from.is_none_or(|from| id >= from)
            && self.start.is_none_or(|start| at_ms >= start)
            && self.end.is_none_or(|end| at_ms <= end)
    }

    /// The wanted part of a list in the order of its ids, as it is shown. `place`: id, and when it came.
    pub(super) fn part<'a, T: 'a>(
        &self,
        all: impl Iterator<Item = &'a T>,
        place: impl Fn(&T) -> (i64, i64),
        view: impl Fn(&T) -> Value,
    ) -> Vec<Value> {
        let wanted = |one: &&T| {
            let (id, at_ms) = place(one);
            self.has(id, at_ms)
        };
        let mut all: Vec<&T> = all.filter(wanted).collect();
        all.sort_by_key(|one| place(one).0);
        self.cut(all).into_iter().map(view).collect()
    }

    pub(super) fn cut<T>(&self, mut all: Vec<T>) -> Vec<T> {
        if self.from.is_some() || self.start.is_some() {
            all.truncate(self.limit);
            return all;
        }
        let surplus = all.len().saturating_sub(self.limit);
        all.split_off(surplus)
    }
}

fn ids(params: &Params) -> Result<(Option<i64>, Option<String>), Refusal> {
    let id = params.parsed("orderId")?;
    let client_id = params.text("origClientOrderId").map(str::to_owned);
    if id.is_none() && client_id.is_none() {
        let words =
            "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!";
        return Err(Refusal::new(-1102, words));
    }
    Ok((id, client_id))
}

fn wanted(params: &Params) -> Result<NewOrder, Refusal> {
    let symbol = params.must("symbol")?.to_owned();
    let side = side(params)?;
    let position_side = position_side(params)?;
    let word = params.must("type")?;
    let conditional = [
        "STOP",
        "STOP_MARKET",
        "TAKE_PROFIT",
        "TAKE_PROFIT_MARKET",
        "TRAILING_STOP_MARKET",
    ];
    let kind = match Kind::of(word).filter(|kind| *kind != Kind::Liquidation) {
        Some(kind) => kind,
        None if conditional.contains(&word) => return Err(Refusal::of(-4120)),
        None => return Err(Refusal::of(-1116)),
    };
    let (price, tif) = match kind {
        Kind::Market | Kind::Liquidation => {
            for other in ["price", "timeInForce"] {
                if params.text(other).is_some() {
                    return Err(Refusal::not_required(other));
                }
            }
            (Decimal::ZERO, TimeInForce::Gtc)
        }
        Kind::Limit => {
            let tif = params.must("timeInForce")?;
            let tif = TimeInForce::of(tif).ok_or_else(|| Refusal::of(-1115))?;
            let price = params.decimal("price")?;
            (price.ok_or_else(|| Refusal::missing("price"))?, tif)
        }
    };
    let quantity = params.decimal("quantity")?;
    Ok(NewOrder {
        symbol,
        side,
        position_side,
        kind,
        tif,
        price,
        quantity: quantity.ok_or_else(|| Refusal::missing("quantity"))?,
        reduce_only: params.flag("reduceOnly")?,
        client_id: params.text("newClientOrderId").map(str::to_owned),
    })
}

pub(super) fn side(params: &Params) -> Result<Side, Refusal> {
    Side::of(params.must("side")?).ok_or_else(|| Refusal::of(-1117))
}

pub(super) fn position_side(params: &Params) -> Result<PositionSide, Refusal> {
    let word = params.text("positionSide").unwrap_or("BOTH");
    PositionSide::of(word).ok_or_else(|| Refusal::new(-1117, "Invalid positionSide."))
}
