//! Endpoints of orders: place, query, cancel, lists and fills.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::response::{JsonResult, place_counted};
use super::response_json;
use crate::rest::auth::SignedAuth;
use crate::rest::call_key::call_key;
use crate::rest::error::ApiError;
use crate::rest::params::Params;
use crate::trading::enums::{OrderType, PositionSide, Side, TimeInForce};
use crate::trading::error::ExchangeError;
use crate::trading::order::NewOrder;
use crate::trading_service::TradingService;
use crate::trading_service::faults::kinds::Group;

/// Path of a new order, as filters of faults have it.
const ORDER_PATH: &str = "/fapi/v1/order";
/// Default and largest number of entries in a list.
const DEFAULT_LIMIT: usize = 500;
const MAX_LIMIT: usize = 1_000;

pub(super) async fn place(
    State(trading_service): State<Arc<TradingService>>,
    signed: SignedAuth,
) -> Result<Response, ApiError> {
    let SignedAuth {
        account, params, ..
    } = signed.require_trading()?;
    let name = account.clone();
    let place = async {
        let wanted = parse_new_order(&params)?;
        let call = call_key("POST", ORDER_PATH, &params);
        let in_parts = trading_service.faults.take(Group::Order, &call).is_some();
        let full = matches!(params.text("newOrderRespType"), Some("RESULT"));
        let order = trading_service
            .execute(move |state, now| state.place(&account, &wanted, now, in_parts))
            .await?;
        Ok(if full {
            response_json::changed(&order)
        } else {
            response_json::acknowledged(&order)
        })
    };
    Ok(place_counted(&trading_service, &name, place).await)
}

pub(super) async fn query(
    State(trading_service): State<Arc<TradingService>>,
    signed: SignedAuth,
) -> JsonResult {
    query_order(&trading_service, signed, false).await
}

pub(super) async fn query_open(
    State(trading_service): State<Arc<TradingService>>,
    signed: SignedAuth,
) -> JsonResult {
    query_order(&trading_service, signed, true).await
}

async fn query_order(
    trading_service: &Arc<TradingService>,
    signed: SignedAuth,
    only_open: bool,
) -> JsonResult {
    let (account, params) = (signed.account, signed.params);
    let symbol = params.required("symbol")?.to_owned();
    let (id, client_id) = parse_ids(&params)?;
    let found = trading_service.query(signed.lag, move |state, _| {
        state.filters(&symbol)?;
        let found = state
            .account(&account)?
            .order(&symbol, id, client_id.as_deref());
        let found = found.filter(|o| !only_open || o.status.is_open());
        found
            .map(response_json::order)
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
    let symbol = params.required("symbol")?.to_owned();
    let (id, client_id) = parse_ids(&params)?;
    let order = trading_service
        .execute(move |state, now| {
            state.cancel(&account, &symbol, (id, client_id.as_deref()), now.ms)
        })
        .await?;
    Ok(Json(response_json::changed(&order)))
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
        .execute(move |state, now| state.cancel_all(&account, &symbol, now.ms))
        .await?;
    Ok(cancel_all_response())
}

/// Response to the cancellation of all orders of a symbol.
pub(super) fn cancel_all_response() -> Json<Value> {
    let message = "The operation of cancel all open order is done.";
    Json(json!({"code": 200, "msg": message}))
}

pub(super) async fn open(
    State(trading_service): State<Arc<TradingService>>,
    signed: SignedAuth,
) -> JsonResult {
    let (account, params) = (signed.account, signed.params);
    let symbol = params.text("symbol").map(str::to_owned);
    let open = trading_service.query(signed.lag, move |state, _| {
        if let Some(symbol) = &symbol {
            state.filters(symbol)?;
        }
        let open = state.account(&account)?.open_orders.values();
        let open = open.filter(|o| symbol.as_ref().is_none_or(|s| *s == o.symbol));
        Ok(open.map(response_json::order).collect::<Vec<_>>())
    });
    Ok(Json(open.await?.into()))
}

pub(super) async fn all(
    State(trading_service): State<Arc<TradingService>>,
    signed: SignedAuth,
) -> JsonResult {
    let (account, params) = (signed.account, signed.params);
    let span = PageQuery::parse(&params, "orderId")?;
    let symbol = params.required("symbol")?.to_owned();
    let all = trading_service.query(signed.lag, move |state, now| {
        state.filters(&symbol)?;
        let span = span.within_a_week(now.ms)?;
        let account = state.account(&account)?;
        let all = account
            .ended_orders
            .values()
            .chain(account.open_orders.values());
        let all = all.filter(|o| o.symbol == symbol);
        Ok(span.page(all, |o| (o.id, o.created_ms), response_json::order))
    });
    Ok(Json(all.await?.into()))
}

/// Orders of the exchange: liquidation, and auto-deleveraging (`ADL`). Settlement orders are in no list of these.
pub(super) async fn forced(
    State(trading_service): State<Arc<TradingService>>,
    signed: SignedAuth,
) -> JsonResult {
    let (account, params) = (signed.account, signed.params);
    let span = PageQuery::parse(&params, "")?;
    let symbol = params.text("symbol").map(str::to_owned);
    let is_wanted: fn(&str) -> bool = match params.text("autoCloseType") {
        None => |id| is_liquidation(id) || is_deleveraging(id),
        Some("LIQUIDATION") => is_liquidation,
        Some("ADL") => is_deleveraging,
        Some(_) => return Err(ExchangeError::missing_parameter("autoCloseType").into()),
    };
    let forced = trading_service.query(signed.lag, move |state, _| {
        let ended = state.account(&account)?.ended_orders.values();
        let forced = ended
            .filter(|o| o.kind == OrderType::Liquidation && is_wanted(&o.client_id))
            .filter(|o| symbol.as_ref().is_none_or(|s| *s == o.symbol));
        Ok(span.page(forced, |o| (o.id, o.created_ms), response_json::order))
    });
    Ok(Json(forced.await?.into()))
}

fn is_liquidation(client_id: &str) -> bool {
    client_id.starts_with("autoclose-")
}

fn is_deleveraging(client_id: &str) -> bool {
    client_id == "adl_autoclose"
}

pub(super) async fn trades(
    State(trading_service): State<Arc<TradingService>>,
    signed: SignedAuth,
) -> JsonResult {
    let (account, params) = (signed.account, signed.params);
    let span = PageQuery::parse(&params, "fromId")?;
    let symbol = params.required("symbol")?.to_owned();
    let order: Option<i64> = params.parsed("orderId")?;
    let trades = trading_service.query(signed.lag, move |state, now| {
        state.filters(&symbol)?;
        let span = if order.is_none() {
            span.within_a_week(now.ms)?
        } else {
            span
        };
        let trades = state.account(&account)?.trades.iter();
        let trades = trades.filter(|t| t.symbol == symbol && span.contains(t.id, t.at_ms));
        let trades = trades.filter(|t| order.is_none_or(|id| id == t.order_id));
        let trades = span.limit_items(trades.collect());
        Ok(trades
            .into_iter()
            .map(response_json::trade)
            .collect::<Vec<_>>())
    });
    Ok(Json(trades.await?.into()))
}

/// Requested part of a list: from an id on, else the newest within a time range.
pub(super) struct PageQuery {
    from: Option<i64>,
    start: Option<i64>,
    end: Option<i64>,
    limit: usize,
    /// Entries before this time are not shown; `None` without a limit.
    oldest: Option<i64>,
}

/// Longest time between start and end of lists of orders and trades in milliseconds, and what they show without any.
const WEEK_MS: i64 = 7 * 24 * 3_600 * 1_000;

impl PageQuery {
    pub(super) fn parse(params: &Params, id: &str) -> Result<Self, ExchangeError> {
        let limit = params.parsed("limit")?.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            let message = "Data sent for parameter 'limit' is not valid.";
            return Err(ExchangeError::new(-1130, message));
        }
        Ok(Self {
            from: params.parsed(id)?,
            start: params.parsed("startTime")?,
            end: params.parsed("endTime")?,
            limit,
            oldest: None,
        })
    }

    /// The query of a list that shows a week at most: the last one, if neither an id nor a time is asked for.
    ///
    /// # Errors
    /// -4165 for a longer time from start to end. A missing end is now.
    pub(super) fn within_a_week(self, now_ms: i64) -> Result<Self, ExchangeError> {
        let end = self.end.unwrap_or(now_ms);
        if self
            .start
            .is_some_and(|start| end.saturating_sub(start) > WEEK_MS)
        {
            return Err(ExchangeError::from_code(-4165));
        }
        let is_limited = self.start.is_none() && self.from.is_none();
        Ok(Self {
            oldest: is_limited.then(|| end.saturating_sub(WEEK_MS)),
            ..self
        })
    }

    pub(super) fn contains(&self, id: i64, at_ms: i64) -> bool {
        self.oldest.is_none_or(|oldest| at_ms >= oldest)
            && self.from.is_none_or(|from| id >= from)
            && self.start.is_none_or(|start| at_ms >= start)
            && self.end.is_none_or(|end| at_ms <= end)
    }

    /// The requested part of a list, in the order of ids. `position` gives the id and the time of an entry.
    pub(super) fn page<'a, T: 'a>(
        &self,
        all: impl Iterator<Item = &'a T>,
        id_and_time: impl Fn(&T) -> (i64, i64),
        view: impl Fn(&T) -> Value,
    ) -> Vec<Value> {
        let wanted = |one: &&T| {
            let (id, at_ms) = id_and_time(one);
            self.contains(id, at_ms)
        };
        let mut all: Vec<&T> = all.filter(wanted).collect();
        all.sort_by_key(|one| id_and_time(one).0);
        self.limit_items(all).into_iter().map(view).collect()
    }

    pub(super) fn limit_items<T>(&self, mut all: Vec<T>) -> Vec<T> {
        if self.from.is_some() || self.start.is_some() {
            all.truncate(self.limit);
            return all;
        }
        let surplus = all.len().saturating_sub(self.limit);
        all.split_off(surplus)
    }
}

fn parse_ids(params: &Params) -> Result<(Option<i64>, Option<String>), ExchangeError> {
    let id = params.parsed("orderId")?;
    let client_id = params.text("origClientOrderId").map(str::to_owned);
    if id.is_none() && client_id.is_none() {
        let message =
            "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!";
        return Err(ExchangeError::new(-1102, message));
    }
    Ok((id, client_id))
}

fn parse_new_order(params: &Params) -> Result<NewOrder, ExchangeError> {
    let symbol = params.required("symbol")?.to_owned();
    let side = parse_side(params)?;
    let position_side = parse_position_side(params)?;
    let text = params.required("type")?;
    let conditional = [
        "STOP",
        "STOP_MARKET",
        "TAKE_PROFIT",
        "TAKE_PROFIT_MARKET",
        "TRAILING_STOP_MARKET",
    ];
    let kind = match OrderType::from_wire(text).filter(|kind| *kind != OrderType::Liquidation) {
        Some(kind) => kind,
        None if conditional.contains(&text) => return Err(ExchangeError::from_code(-4120)),
        None => return Err(ExchangeError::from_code(-1116)),
    };
    let (price, tif) = match kind {
        OrderType::Market | OrderType::Liquidation => {
            for other in ["price", "timeInForce"] {
                if params.text(other).is_some() {
                    return Err(ExchangeError::not_required(other));
                }
            }
            (Decimal::ZERO, TimeInForce::Gtc)
        }
        OrderType::Limit => {
            let tif = params.required("timeInForce")?;
            let tif = TimeInForce::from_wire(tif).ok_or_else(|| ExchangeError::from_code(-1115))?;
            let price = params.decimal("price")?;
            (
                price.ok_or_else(|| ExchangeError::missing_parameter("price"))?,
                tif,
            )
        }
    };
    let quantity = params.decimal("quantity")?;
    Ok(NewOrder {
        symbol,
        side,
        position_side,
        kind,
        time_in_force: tif,
        price,
        quantity: quantity.ok_or_else(|| ExchangeError::missing_parameter("quantity"))?,
        reduce_only: params.flag("reduceOnly")?,
        client_id: params.text("newClientOrderId").map(str::to_owned),
    })
}

pub(super) fn parse_side(params: &Params) -> Result<Side, ExchangeError> {
    Side::from_wire(params.required("side")?).ok_or_else(|| ExchangeError::from_code(-1117))
}

pub(super) fn parse_position_side(params: &Params) -> Result<PositionSide, ExchangeError> {
    let text = params.text("positionSide").unwrap_or("BOTH");
    PositionSide::from_wire(text).ok_or_else(|| ExchangeError::new(-1117, "Invalid positionSide."))
}
