//! Read-only endpoints of an account: balances, positions, incomes, fees, leverage brackets.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::orders::PageQuery;
use super::response::JsonResult;
use super::response_json::{format_decimal, format_money};
use crate::api_keys::ApiPermission;
use crate::rest::auth::SignedAuth;
use crate::trading::account::{Account, asset_price, brackets_of};
use crate::trading::enums::{IncomeType, MarginMode, PositionSide};
use crate::trading::error::ExchangeError;
use crate::trading::exchange_state::{ExchangeState, MAKER_FEE_RATE, TAKER_FEE_RATE};
use crate::trading::filters::Contracts;
use crate::trading::leverage_brackets;
use crate::trading::order::Income;
use crate::trading::position::Position;
use crate::trading::prices::Now;
use crate::trading_service::TradingService;

/// Totals of an account at one time.
struct AccountTotals {
    unrealized_pnl: Decimal,
    initial_margin: Decimal,
    order_margin: Decimal,
    maintenance_margin: Decimal,
}

fn account_totals(account: &Account, contracts: &Contracts, now: &Now<'_>) -> AccountTotals {
    let mark = |p: &Position| now.mark_price(&p.symbol);
    AccountTotals {
        unrealized_pnl: account
            .open_positions()
            .map(|p| p.unrealized_pnl(mark(p)))
            .sum(),
        initial_margin: account
            .open_positions()
            .map(|p| account.initial_margin(p, now))
            .sum(),
        order_margin: account.order_margin(),
        maintenance_margin: account
            .open_positions()
            .map(|p| p.maintenance_margin(mark(p), &brackets_of(contracts, &p.symbol)))
            .sum(),
    }
}

pub(super) async fn account(
    State(trading_service): State<Arc<TradingService>>,
    signed: SignedAuth,
) -> JsonResult {
    let view = trading_service.query(signed.lag, move |state, now| {
        account_json(state, &signed.account, now)
    });
    Ok(Json(view.await?))
}

/// The v2 form, which also contains the permissions of the key.
pub(super) async fn account_v2(
    State(trading_service): State<Arc<TradingService>>,
    signed: SignedAuth,
) -> JsonResult {
    let view = trading_service.query(signed.lag, move |state, now| {
        let mut view = account_json(state, &signed.account, now)?;
        for (name, value) in permission_fields(state.account(&signed.account)?, signed.permission) {
            view[name] = value;
        }
        Ok(view)
    });
    Ok(Json(view.await?))
}

/// Permissions of the key and settings of the account; fields without a meaning here have fixed values.
fn permission_fields(account: &Account, permission: ApiPermission) -> [(&'static str, Value); 8] {
    [
        ("feeTier", json!(0)),
        ("feeBurn", json!(pays_in_bnb(account))),
        ("canTrade", json!(permission != ApiPermission::Read)),
        ("canDeposit", json!(true)),
        ("canWithdraw", json!(permission == ApiPermission::Withdraw)),
        ("updateTime", json!(0)),
        ("multiAssetsMargin", json!(account.multi_assets)),
        ("tradeGroupId", json!(-1)),
    ]
}

/// Whether fees are paid in BNB.
pub(super) fn pays_in_bnb(account: &Account) -> bool {
    account.fee_asset.as_deref() == Some("BNB")
}

/// An account. In multi-assets mode, the totals include the value of the other assets.
fn account_json(state: &ExchangeState, name: &str, now: &Now<'_>) -> Result<Value, ExchangeError> {
    let (account, contracts) = (state.account(name)?, state.contracts());
    let sums = account_totals(account, contracts, now);
    let wallet = account.wallet_balance + account.collateral(now);
    let positions = account.open_positions();
    let positions = positions.map(|p| position_json(account, p, contracts, now));
    Ok(json!({
        "totalInitialMargin": format_money(sums.initial_margin + sums.order_margin),
        "totalMaintMargin": format_money(sums.maintenance_margin),
        "totalWalletBalance": format_money(wallet),
        "totalUnrealizedProfit": format_money(sums.unrealized_pnl),
        "totalMarginBalance": format_money(wallet + sums.unrealized_pnl),
        "totalPositionInitialMargin": format_money(sums.initial_margin),
        "totalOpenOrderInitialMargin": format_money(sums.order_margin),
        "totalCrossWalletBalance": format_money(account.cross_wallet() + account.collateral(now)),
        "totalCrossUnPnl": format_money(account.cross_unrealized_pnl(now)),
        "availableBalance": format_money(account.available_balance(now)),
        "maxWithdrawAmount": format_money(account.available_balance(now)),
        "assets": asset_rows(account, asset_json(account, &sums, now), now),
        "positions": positions.collect::<Vec<_>>(),
    }))
}

/// The row of USDT among the rows of the other assets, in alphabetical order.
fn asset_rows(account: &Account, usdt: Value, now: &Now<'_>) -> Vec<Value> {
    let mut rows: BTreeMap<&str, Value> = account
        .other_balances
        .iter()
        .map(|(asset, balance)| {
            (
                asset.as_str(),
                other_asset_json(account, asset, *balance, now),
            )
        })
        .collect();
    rows.insert("USDT", usdt);
    rows.into_values().collect()
}

fn other_asset_json(account: &Account, asset: &str, balance: Decimal, now: &Now<'_>) -> Value {
    let available = if account.multi_assets {
        account.available_balance(now) / asset_price(asset, now)
    } else {
        balance
    };
    json!({
        "accountAlias": "sim",
        "asset": asset,
        "balance": format_money(balance),
        "walletBalance": format_money(balance),
        "unrealizedProfit": format_money(Decimal::ZERO),
        "marginBalance": format_money(balance),
        "maintMargin": format_money(Decimal::ZERO),
        "initialMargin": format_money(Decimal::ZERO),
        "positionInitialMargin": format_money(Decimal::ZERO),
        "openOrderInitialMargin": format_money(Decimal::ZERO),
        "crossWalletBalance": format_money(balance),
        "crossUnPnl": format_money(Decimal::ZERO),
        "availableBalance": format_money(available),
        "maxWithdrawAmount": format_money(balance),
        "marginAvailable": true,
        "updateTime": now.ms,
    })
}

fn asset_json(account: &Account, sums: &AccountTotals, now: &Now<'_>) -> Value {
    json!({
        "asset": "USDT",
        "walletBalance": format_money(account.wallet_balance),
        "unrealizedProfit": format_money(sums.unrealized_pnl),
        "marginBalance": format_money(account.wallet_balance + sums.unrealized_pnl),
        "maintMargin": format_money(sums.maintenance_margin),
        "initialMargin": format_money(sums.initial_margin + sums.order_margin),
        "positionInitialMargin": format_money(sums.initial_margin),
        "openOrderInitialMargin": format_money(sums.order_margin),
        "crossWalletBalance": format_money(account.cross_wallet()),
        "crossUnPnl": format_money(account.cross_unrealized_pnl(now)),
        "availableBalance": format_money(account.available_balance(now)),
        "maxWithdrawAmount": format_money(account.available_balance(now)),
        "marginAvailable": true,
        "updateTime": now.ms,
    })
}

/// Margin of an isolated position with its unrealized profit; zero under cross margin.
fn isolated_margin(position: &Position, isolated: bool, unrealised: Decimal) -> Decimal {
    if isolated {
        position.isolated_margin + unrealised
    } else {
        Decimal::ZERO
    }
}

fn position_json(
    account: &Account,
    position: &Position,
    contracts: &Contracts,
    now: &Now<'_>,
) -> Value {
    let brackets = brackets_of(contracts, &position.symbol);
    let mark = now.mark_price(&position.symbol);
    let unrealised = position.unrealized_pnl(mark);
    let settings = account.symbol_config(&position.symbol);
    let isolated = settings.margin_mode == MarginMode::Isolated;
    let margin = isolated_margin(position, isolated, unrealised);
    json!({
        "symbol": position.symbol,
        "positionSide": position.side,
        "positionAmt": format_decimal(position.amount),
        "unrealizedProfit": format_money(unrealised),
        "isolated": isolated,
        "isolatedMargin": format_money(margin),
        "isolatedWallet": format_money(position.isolated_margin),
        "notional": format_money(position.notional(mark)),
        "initialMargin": format_money(account.initial_margin(position, now)),
        "positionInitialMargin": format_money(account.initial_margin(position, now)),
        "openOrderInitialMargin": "0",
        "maintMargin": format_money(position.maintenance_margin(mark, &brackets)),
        "entryPrice": format_decimal(position.entry_price),
        "leverage": settings.leverage.to_string(),
        "maxNotional": format_decimal(leverage_brackets::max_notional(&brackets, settings.leverage)),
        "bidNotional": "0",
        "askNotional": "0",
        "updateTime": position.updated_ms,
    })
}

pub(super) async fn balance(
    State(trading_service): State<Arc<TradingService>>,
    signed: SignedAuth,
) -> JsonResult {
    let view = trading_service.query(signed.lag, move |state, now| {
        let account = state.account(&signed.account)?;
        let usdt = json!({
            "accountAlias": "sim",
            "asset": "USDT",
            "balance": format_money(account.wallet_balance),
            "crossWalletBalance": format_money(account.cross_wallet()),
            "crossUnPnl": format_money(account.cross_unrealized_pnl(now)),
            "availableBalance": format_money(account.available_balance(now)),
            "maxWithdrawAmount": format_money(account.available_balance(now)),
            "marginAvailable": true,
            "updateTime": now.ms,
        });
        Ok(Value::from(asset_rows(account, usdt, now)))
    });
    Ok(Json(view.await?))
}

/// Only contracts with a position.
pub(super) async fn position_risk(
    State(trading_service): State<Arc<TradingService>>,
    signed: SignedAuth,
) -> JsonResult {
    let symbol = signed.params.text("symbol").map(str::to_owned);
    let view = trading_service.query(signed.lag, move |state, now| {
        let account = state.account(&signed.account)?;
        let held = account.open_positions();
        let held = held.filter(|p| symbol.as_ref().is_none_or(|s| *s == p.symbol));
        Ok(held
            .map(|p| position_risk_json(account, p, state.contracts(), now))
            .collect::<Vec<_>>())
    });
    Ok(Json(view.await?.into()))
}

/// All contracts, also without a position.
pub(super) async fn position_risk_v2(
    State(trading_service): State<Arc<TradingService>>,
    signed: SignedAuth,
) -> JsonResult {
    let symbol = signed.params.text("symbol").map(str::to_owned);
    let view = trading_service.query(signed.lag, move |state, now| {
        let account = state.account(&signed.account)?;
        let sides: &[PositionSide] = if account.hedge_mode {
            &[PositionSide::Long, PositionSide::Short]
        } else {
            &[PositionSide::Both]
        };
        let wanted = state
            .listed()
            .filter(|l| symbol.as_ref().is_none_or(|s| s == l));
        let all = wanted.flat_map(|s| sides.iter().map(|side| account.position(s, *side)));
        Ok(all
            .map(|p| position_risk_json(account, &p, state.contracts(), now))
            .collect::<Vec<_>>())
    });
    Ok(Json(view.await?.into()))
}

fn position_risk_json(
    account: &Account,
    position: &Position,
    contracts: &Contracts,
    now: &Now<'_>,
) -> Value {
    let brackets = brackets_of(contracts, &position.symbol);
    let mark = now.mark_price(&position.symbol);
    let settings = account.symbol_config(&position.symbol);
    let isolated = settings.margin_mode == MarginMode::Isolated;
    let liquidation = position.liquidation_price(
        account.liquidation_buffer(position, contracts, now),
        &brackets,
    );
    let unrealised = position.unrealized_pnl(mark);
    let margin = isolated_margin(position, isolated, unrealised);
    json!({
        "symbol": position.symbol,
        "positionSide": position.side,
        "positionAmt": format_decimal(position.amount),
        "entryPrice": format_decimal(position.entry_price),
        "breakEvenPrice": format_decimal(position.entry_price),
        "markPrice": format_money(mark),
        "unRealizedProfit": format_money(unrealised),
        "liquidationPrice": format_decimal(liquidation),
        "leverage": settings.leverage.to_string(),
        "marginType": if isolated { "isolated" } else { "cross" },
        "isolatedMargin": format_money(margin),
        "isolatedWallet": format_money(position.isolated_margin),
        "isAutoAddMargin": "false",
        "maxNotionalValue": format_decimal(leverage_brackets::max_notional(&brackets, settings.leverage)),
        "notional": format_money(position.notional(mark)),
        "marginAsset": "USDT",
        "initialMargin": format_money(account.initial_margin(position, now)),
        "positionInitialMargin": format_money(account.initial_margin(position, now)),
        "openOrderInitialMargin": "0",
        "maintMargin": format_money(position.maintenance_margin(mark, &brackets)),
        "adl": 1,
        "bidNotional": "0",
        "askNotional": "0",
        "updateTime": position.updated_ms,
    })
}

pub(super) async fn income(
    State(trading_service): State<Arc<TradingService>>,
    signed: SignedAuth,
) -> JsonResult {
    let params = signed.params;
    let span = PageQuery::parse(&params, "")?;
    let symbol = params.text("symbol").map(str::to_owned);
    let kind = params.text("incomeType").map(IncomeType::from_wire);
    let view = trading_service.query(signed.lag, move |state, now| {
        let funding = state.funding_fault();
        let is_shown = |income: &&Income| {
            let is_hidden =
                income.kind == IncomeType::Funding && income.at_ms + funding.hidden_ms.0 > now.ms;
            !is_hidden && income.listed_from_ms <= now.ms
        };
        let incomes = state.account(&signed.account)?.incomes.iter();
        let incomes = incomes
            .filter(is_shown)
            .flat_map(|i| {
                let doubled = funding.doubled && i.kind == IncomeType::Funding;
                std::iter::repeat_n(i, if doubled { 2 } else { 1 })
            })
            .filter(|i| symbol.as_ref().is_none_or(|s| *s == i.symbol))
            .filter(|i| kind.is_none_or(|kind| kind == Some(i.kind)))
            .filter(|i| span.contains(i.id, i.at_ms));
        let shown = span.limit_items(incomes.collect()).into_iter().map(|i| {
            json!({
                "symbol": i.symbol,
                "incomeType": i.kind,
                "income": format_money(i.amount),
                "asset": i.asset,
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

pub(super) async fn account_config(
    State(trading_service): State<Arc<TradingService>>,
    signed: SignedAuth,
) -> JsonResult {
    let view = trading_service.query(signed.lag, move |state, _| {
        let account = state.account(&signed.account)?;
        let mut view = json!({"dualSidePosition": account.hedge_mode});
        for (name, value) in permission_fields(account, signed.permission) {
            view[name] = value;
        }
        Ok(view)
    });
    Ok(Json(view.await?))
}

pub(super) async fn symbol_config(
    State(trading_service): State<Arc<TradingService>>,
    signed: SignedAuth,
) -> JsonResult {
    let symbol = signed.params.text("symbol").map(str::to_owned);
    let view = trading_service.query(signed.lag, move |state, _| {
        let account = state.account(&signed.account)?;
        let wanted = state
            .listed()
            .filter(|l| symbol.as_ref().is_none_or(|s| s == l));
        let shown = wanted.map(|symbol| {
            let settings = account.symbol_config(symbol);
            let brackets = brackets_of(state.contracts(), symbol);
            json!({
                "symbol": symbol,
                "marginType": settings.margin_mode,
                "isAutoAddMargin": false,
                "leverage": settings.leverage,
                "maxNotionalValue": format_decimal(leverage_brackets::max_notional(&brackets, settings.leverage)),
            })
        });
        Ok(shown.collect::<Vec<_>>())
    });
    Ok(Json(view.await?.into()))
}

pub(super) async fn commission(
    State(trading_service): State<Arc<TradingService>>,
    signed: SignedAuth,
) -> JsonResult {
    let symbol = signed.params.required("symbol")?.to_owned();
    let known = symbol.clone();
    trading_service
        .execute(move |state, _| state.filters(&known).map(|_| ()))
        .await?;
    Ok(Json(json!({
        "symbol": symbol,
        "makerCommissionRate": format_decimal(MAKER_FEE_RATE),
        "takerCommissionRate": format_decimal(TAKER_FEE_RATE),
        "rpiCommissionRate": "0",
    })))
}

/// Numbers instead of strings, as at Binance.
pub(super) async fn brackets(
    State(trading_service): State<Arc<TradingService>>,
    signed: SignedAuth,
) -> JsonResult {
    let wanted = signed.params.text("symbol").map(str::to_owned);
    let shown = trading_service.query(signed.lag, move |state, _| {
        if let Some(symbol) = &wanted {
            state.filters(symbol)?;
        }
        let listed = state.listed();
        let listed = listed.filter(|symbol| wanted.as_ref().is_none_or(|w| w == symbol));
        let shown = listed.map(|symbol| bracket_json(symbol, state.contracts()));
        Ok(shown.collect::<Vec<_>>())
    });
    Ok(Json(shown.await?.into()))
}

fn bracket_json(symbol: &str, contracts: &Contracts) -> Value {
    let number = |decimal: Decimal| {
        decimal
            .normalize()
            .to_string()
            .parse::<serde_json::Number>()
            .ok()
    };
    let brackets: Vec<Value> = (1..)
        .zip(brackets_of(contracts, symbol))
        .map(|(index, b)| {
            json!({
                "bracket": index,
                "initialLeverage": b.leverage,
                "notionalCap": number(b.notional_cap),
                "notionalFloor": number(b.notional_floor),
                "maintMarginRatio": number(b.maintenance_rate),
                "cum": number(b.deduction),
            })
        })
        .collect();
    json!({"symbol": symbol, "notionalCoef": 1, "brackets": brackets})
}
