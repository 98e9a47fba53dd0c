//! What an account has and how it stands: balances, positions, incomes, fees, brackets. Read only.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::Answer;
use super::orders::Span;
use super::view::{digits, money};
use crate::desk::Desk;
use crate::keys::Right;
use crate::rest::signed::Signed;
use crate::trading::account::Account;
use crate::trading::bracket::{self, BRACKETS};
use crate::trading::position::Position;
use crate::trading::prices::Now;
use crate::trading::terms::{IncomeKind, Margin, PositionSide};
use crate::trading::venue::{MAKER, TAKER};

/// An account's sums at one moment.
struct Sums {
    unrealised: Decimal,
    initial: Decimal,
    orders: Decimal,
    maintenance: Decimal,
}

fn sums(account: &Account, now: &Now<'_>) -> Sums {
    let mark = |p: &Position| now.mark(&p.symbol);
    Sums {
        unrealised: account.held().map(|p| p.unrealised(mark(p))).sum(),
        initial: account.held().map(|p| account.initial_margin(p, now)).sum(),
        orders: account.order_margin(),
        maintenance: account.held().map(|p| p.maintenance(mark(p))).sum(),
    }
}

pub(super) async fn account(State(desk): State<Arc<Desk>>, signed: Signed) -> Answer {
    let view = desk.run(move |venue, now| Ok(whole(venue.account(&signed.account)?, now)));
    Ok(Json(view.await?))
}

/// The older form, which also says what the key may do.
pub(super) async fn account_v2(State(desk): State<Arc<Desk>>, signed: Signed) -> Answer {
    let view = desk.run(move |venue, now| {
        let mut view = whole(venue.account(&signed.account)?, now);
        for (name, value) in rights(signed.right) {
            view[name] = value;
        }
        Ok(view)
    });
    Ok(Json(view.await?))
}

/// What the key may do and how the account is set, with words that mean nothing here.
fn rights(right: Right) -> [(&'static str, Value); 8] {
    [
        ("feeTier", json!(0)),
        ("feeBurn", json!(false)),
        ("canTrade", json!(right != Right::Read)),
        ("canDeposit", json!(true)),
        ("canWithdraw", json!(right == Right::Withdraw)),
        ("updateTime", json!(0)),
        ("multiAssetsMargin", json!(false)),
        ("tradeGroupId", json!(-1)),
    ]
}

fn whole(account: &Account, now: &Now<'_>) -> Value {
    let sums = sums(account, now);
    json!({
        "totalInitialMargin": money(sums.initial + sums.orders),
        "totalMaintMargin": money(sums.maintenance),
        "totalWalletBalance": money(account.wallet),
        "totalUnrealizedProfit": money(sums.unrealised),
        "totalMarginBalance": money(account.wallet + sums.unrealised),
        "totalPositionInitialMargin": money(sums.initial),
        "totalOpenOrderInitialMargin": money(sums.orders),
        "totalCrossWalletBalance": money(account.cross_wallet()),
        "totalCrossUnPnl": money(account.cross_unrealised(now)),
        "availableBalance": money(account.available(now)),
        "maxWithdrawAmount": money(account.available(now)),
        "assets": [asset(account, &sums, now)],
        "positions": account.held().map(|p| position(account, p, now)).collect::<Vec<_>>(),
    })
}

fn asset(account: &Account, sums: &Sums, now: &Now<'_>) -> Value {
    json!({
        "asset": "USDT",
        "walletBalance": money(account.wallet),
        "unrealizedProfit": money(sums.unrealised),
        "marginBalance": money(account.wallet + sums.unrealised),
        "maintMargin": money(sums.maintenance),
        "initialMargin": money(sums.initial + sums.orders),
        "positionInitialMargin": money(sums.initial),
        "openOrderInitialMargin": money(sums.orders),
        "crossWalletBalance": money(account.cross_wallet()),
        "crossUnPnl": money(account.cross_unrealised(now)),
        "availableBalance": money(account.available(now)),
        "maxWithdrawAmount": money(account.available(now)),
        "marginAvailable": true,
        "updateTime": now.ms,
    })
}

/// What an isolated position has to lose; a cross one has nothing of its own.
fn margin_of(position: &Position, isolated: bool, unrealised: Decimal) -> Decimal {
    if isolated {
        position.isolated + unrealised
    } else {
        Decimal::ZERO
    }
}

fn position(account: &Account, position: &Position, now: &Now<'_>) -> Value {
    let mark = now.mark(&position.symbol);
    let unrealised = position.unrealised(mark);
    let settings = account.settings(&position.symbol);
    let isolated = settings.margin == Margin::Isolated;
    let margin = margin_of(position, isolated, unrealised);
    json!({
        "symbol": position.symbol,
        "positionSide": position.side,
        "positionAmt": digits(position.amount),
        "unrealizedProfit": money(unrealised),
        "isolated": isolated,
        "isolatedMargin": money(margin),
        "isolatedWallet": money(position.isolated),
        "notional": money(position.notional(mark)),
        "initialMargin": money(account.initial_margin(position, now)),
        "positionInitialMargin": money(account.initial_margin(position, now)),
        "openOrderInitialMargin": "0",
        "maintMargin": money(position.maintenance(mark)),
        "entryPrice": digits(position.entry),
        "leverage": settings.leverage.to_string(),
        "maxNotional": digits(bracket::most(settings.leverage)),
        "bidNotional": "0",
        "askNotional": "0",
        "updateTime": position.updated_ms,
    })
}

pub(super) async fn balance(State(desk): State<Arc<Desk>>, signed: Signed) -> Answer {
    let view = desk.run(move |venue, now| {
        let account = venue.account(&signed.account)?;
        Ok(json!([{
            "accountAlias": "sim",
            "asset": "USDT",
            "balance": money(account.wallet),
            "crossWalletBalance": money(account.cross_wallet()),
            "crossUnPnl": money(account.cross_unrealised(now)),
            "availableBalance": money(account.available(now)),
            "maxWithdrawAmount": money(account.available(now)),
            "marginAvailable": true,
            "updateTime": now.ms,
        }]))
    });
    Ok(Json(view.await?))
}

/// Only contracts with a position.
pub(super) async fn position_risk(State(desk): State<Arc<Desk>>, signed: Signed) -> Answer {
    let symbol = signed.params.text("symbol").map(str::to_owned);
    let view = desk.run(move |venue, now| {
        let account = venue.account(&signed.account)?;
        let held = account.held();
        let held = held.filter(|p| symbol.as_ref().is_none_or(|s| *s == p.symbol));
        Ok(held.map(|p| risk(account, p, now)).collect::<Vec<_>>())
    });
    Ok(Json(view.await?.into()))
}

/// Every contract, flat ones too.
pub(super) async fn position_risk_v2(State(desk): State<Arc<Desk>>, signed: Signed) -> Answer {
    let symbol = signed.params.text("symbol").map(str::to_owned);
    let listed: Vec<_> = desk.exchange().listed().iter().map(|c| c.symbol).collect();
    let view = desk.run(move |venue, now| {
        let account = venue.account(&signed.account)?;
        let sides: &[PositionSide] = if account.dual {
            &[PositionSide::Long, PositionSide::Short]
        } else {
            &[PositionSide::Both]
        };
        let wanted = listed
            .into_iter()
            .filter(|l| symbol.as_ref().is_none_or(|s| s == l));
        let all = wanted.flat_map(|s| sides.iter().map(|side| account.position(s, *side)));
        Ok(all.map(|p| risk(account, &p, now)).collect::<Vec<_>>())
    });
    Ok(Json(view.await?.into()))
}

fn risk(account: &Account, position: &Position, now: &Now<'_>) -> Value {
    let mark = now.mark(&position.symbol);
    let settings = account.settings(&position.symbol);
    let isolated = settings.margin == Margin::Isolated;
    let liquidation = position.liquidation(account.cushion(position, now));
    let unrealised = position.unrealised(mark);
    let margin = margin_of(position, isolated, unrealised);
    json!({
        "symbol": position.symbol,
        "positionSide": position.side,
        "positionAmt": digits(position.amount),
        "entryPrice": digits(position.entry),
        "breakEvenPrice": digits(position.entry),
        "markPrice": money(mark),
        "unRealizedProfit": money(unrealised),
        "liquidationPrice": digits(liquidation),
        "leverage": settings.leverage.to_string(),
        "marginType": if isolated { "isolated" } else { "cross" },
        "isolatedMargin": money(margin),
        "isolatedWallet": money(position.isolated),
        "isAutoAddMargin": "false",
        "maxNotionalValue": digits(bracket::most(settings.leverage)),
        "notional": money(position.notional(mark)),
        "marginAsset": "USDT",
        "initialMargin": money(account.initial_margin(position, now)),
        "positionInitialMargin": money(account.initial_margin(position, now)),
        "openOrderInitialMargin": "0",
        "maintMargin": money(position.maintenance(mark)),
        "adl": 1,
        "bidNotional": "0",
        "askNotional": "0",
        "updateTime": position.updated_ms,
    })
}

pub(super) async fn income(State(desk): State<Arc<Desk>>, signed: Signed) -> Answer {
    let params = signed.params;
    let span = Span::read(&params, "")?;
    let symbol = params.text("symbol").map(str::to_owned);
    let kind = params.text("incomeType").map(IncomeKind::of);
    let view = desk.run(move |venue, _| {
        let incomes = venue.account(&signed.account)?.incomes.iter();
        let incomes = incomes
            .filter(|i| symbol.as_ref().is_none_or(|s| *s == i.symbol))
            .filter(|i| kind.is_none_or(|kind| kind == Some(i.kind)))
            .filter(|i| span.has(i.id, i.at_ms));
        let shown = span.cut(incomes.collect()).into_iter().map(|i| {
            json!({
                "symbol": i.symbol,
                "incomeType": i.kind,
                "income": money(i.amount),
                "asset": "USDT",
                "info": i.kind,
                "time": i.at_ms,
                "tranId": i.id,
                "tradeId": i.trade_id.map(|id| id.to_string()).unwrap_or_default(),
            })
        });
        Ok(shown.collect::<Vec<_>>())
    });
    Ok(Json(view.await?.into()))
}

pub(super) async fn config(State(desk): State<Arc<Desk>>, signed: Signed) -> Answer {
    let dual = desk.run(move |venue, _| Ok(venue.account(&signed.account)?.dual));
    let mut view = json!({"dualSidePosition": dual.await?});
    for (name, value) in rights(signed.right) {
        view[name] = value;
    }
    Ok(Json(view))
}

pub(super) async fn symbols(State(desk): State<Arc<Desk>>, signed: Signed) -> Answer {
    let symbol = signed.params.text("symbol").map(str::to_owned);
    let listed: Vec<_> = desk.exchange().listed().iter().map(|c| c.symbol).collect();
    let view = desk.run(move |venue, _| {
        let account = venue.account(&signed.account)?;
        let wanted = listed
            .into_iter()
            .filter(|l| symbol.as_ref().is_none_or(|s| s == l));
        let shown = wanted.map(|symbol| {
            let settings = account.settings(symbol);
            json!({
                "symbol": symbol,
                "marginType": settings.margin,
                "isAutoAddMargin": false,
                "leverage": settings.leverage,
                "maxNotionalValue": digits(bracket::most(settings.leverage)),
            })
        });
        Ok(shown.collect::<Vec<_>>())
    });
    Ok(Json(view.await?.into()))
}

pub(super) async fn commission(State(desk): State<Arc<Desk>>, signed: Signed) -> Answer {
    let symbol = signed.params.must("symbol")?.to_owned();
    let known = symbol.clone();
    desk.run(move |venue, _| venue.rules(&known).map(|_| ()))
        .await?;
    Ok(Json(json!({
        "symbol": symbol,
        "makerCommissionRate": digits(MAKER),
        "takerCommissionRate": digits(TAKER),
        "rpiCommissionRate": "0",
    })))
}

/// Numbers, as at Binance, not strings.
pub(super) async fn brackets(State(desk): State<Arc<Desk>>, signed: Signed) -> Answer {
    let wanted = signed.params.text("symbol");
    let number = |decimal: Decimal| decimal.to_string().parse::<serde_json::Number>().ok();
    let brackets: Vec<Value> = (1..)
        .zip(BRACKETS)
        .map(|(index, b)| {
            json!({
                "bracket": index,
                "initialLeverage": b.leverage,
                "notionalCap": b.cap,
                "notionalFloor": b.floor,
                "maintMarginRatio": number(b.rate),
                "cum": number(b.deducted),
            })
        })
        .collect();
    let listed = desk.exchange().listed().iter();
    let shown: Vec<Value> = listed
        .filter(|c| wanted.is_none_or(|w| w == c.symbol))
        .map(|c| json!({"symbol": c.symbol, "notionalCoef": 1, "brackets": brackets}))
        .collect();
    Ok(Json(shown.into()))
}
