//! Mark price, best bid and ask, last price and a small order book, all made from the one price that
//! this market has. They are public. Not here: candles (`rest/klines.rs`).

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use rust_decimal::{Decimal, dec};
use serde_json::{Value, json};

use super::Answer;
use super::view::digits;
use crate::desk::Desk;
use crate::rest::error::ApiError;
use crate::trading::prices::{Prices, Quote};
use crate::trading::refusal::Refusal;
use crate::trading::settle::next_funding;
use crate::trading::venue::FUNDING;
use crate::ws::event::TOP_QUANTITY;

pub(super) type Asked = Query<HashMap<String, String>>;

/// A contract's price at one moment.
struct Priced {
    symbol: &'static str,
    price: Decimal,
    tick: Decimal,
    at_ms: i64,
}

/// The contract asked for, or all.
fn priced(desk: &Desk, asked: &Asked) -> Result<Vec<Priced>, ApiError> {
    let wanted = asked.get("symbol").filter(|s| !s.is_empty());
    let listed = desk.exchange().listed().iter();
    let listed = listed.filter(|c| wanted.is_none_or(|w| w == c.symbol));
    let rules: Vec<_> = listed
        .filter_map(|c| Some((c.symbol, desk.rules(c.symbol)?)))
        .collect();
    if rules.is_empty() {
        return Err(Refusal::of(-1121).into());
    }
    Ok(desk.exchange().at_once(|moment| {
        let at = |symbol| moment.market.at(symbol, moment.now_ms);
        let priced = rules.into_iter().filter_map(|(symbol, rules)| {
            Some(Priced {
                symbol,
                price: at(symbol)?,
                tick: rules.tick,
                at_ms: moment.now_ms,
            })
        });
        priced.collect()
    }))
}

/// One object for one contract, a list for all.
fn answer(desk: &Desk, asked: &Asked, show: impl Fn(&Priced) -> Value) -> Answer {
    let shown: Vec<Value> = priced(desk, asked)?.iter().map(show).collect();
    let one = asked.contains_key("symbol");
    let first = shown.first().filter(|_| one).cloned();
    Ok(Json(first.unwrap_or_else(|| shown.into())))
}

pub(super) async fn premium(State(desk): State<Arc<Desk>>, asked: Asked) -> Answer {
    answer(&desk, &asked, |p| {
        json!({
            "symbol": p.symbol,
            "markPrice": digits(p.price),
            "indexPrice": digits(p.price),
            "estimatedSettlePrice": digits(p.price),
            "lastFundingRate": digits(FUNDING),
            "interestRate": "0.0001",
            "nextFundingTime": next_funding(p.at_ms),
            "time": p.at_ms,
        })
    })
}

pub(super) async fn book_ticker(State(desk): State<Arc<Desk>>, asked: Asked) -> Answer {
    answer(&desk, &asked, |p| {
        let quote = Quote::around(p.price, p.tick);
        json!({
            "symbol": p.symbol,
            "bidPrice": digits(quote.bid),
            "bidQty": TOP_QUANTITY,
            "askPrice": digits(quote.ask),
            "askQty": TOP_QUANTITY,
            "time": p.at_ms,
            "lastUpdateId": p.at_ms,
        })
    })
}

pub(super) async fn last(State(desk): State<Arc<Desk>>, asked: Asked) -> Answer {
    answer(
        &desk,
        &asked,
        |p| json!({"symbol": p.symbol, "price": digits(p.price), "time": p.at_ms}),
    )
}

pub(super) async fn depth(State(desk): State<Arc<Desk>>, asked: Asked) -> Answer {
    if asked.get("symbol").is_none_or(String::is_empty) {
        return Err(Refusal::missing("symbol").into());
    }
    let limit = asked.get("limit").and_then(|l| l.parse().ok());
    let levels = limit.unwrap_or(500_u32).clamp(1, 20);
    answer(&desk, &asked, |p| {
        let level = |way: Decimal| {
            move |index: u32| {
                let away = Decimal::from(index + 1) * p.tick * way;
                json!([
                    digits(p.price + away),
                    digits(dec!(10) * Decimal::from(index + 1))
                ])
            }
        };
        json!({
            "lastUpdateId": p.at_ms,
            "E": p.at_ms,
            "T": p.at_ms,
            "bids": (0..levels).map(level(dec!(-1))).collect::<Vec<_>>(),
            "asks": (0..levels).map(level(dec!(1))).collect::<Vec<_>>(),
        })
    })
}
