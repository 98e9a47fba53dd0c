//! The account as a whole: balance, rights of its key, positions, resting orders, funding; leverage and margin
//! mode.

use std::collections::BTreeSet;

use binance_sdk::derivatives_trading_usds_futures::rest_api::{
    AccountInformationV2Params, AccountTradeListParams, AccountTradeListResponseInner,
    ChangeInitialLeverageParams, ChangeMarginTypeMarginTypeEnum, ChangeMarginTypeParams,
    CurrentAllAlgoOpenOrdersParams, CurrentAllOpenOrdersParams, FuturesAccountBalanceV3Params,
    GetCurrentPositionModeParams, GetIncomeHistoryParams, PositionInformationV3Params,
    SymbolConfigurationParams,
};
use exchange::{
    ApiPermissions, ExchangeError, ExchangeFill, ExchangePosition, RestingOrder, WalletBalance,
};
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use trader_core::orders::{ExchangeView, FundingPayment, OpenOrder, OrderSide};

use super::order_answer::fee_of;
use super::order_error::SAME_MARGIN;
use super::order_query::PAGE;
use super::required_fields::{decimal, must, time, unreadable};
use super::signed_call::Need;
use super::{BinanceExecutionClient, QUOTE};
use crate::error::{rejected, retry};

/// The longest span that Binance lists trades of at once: seven days.
const SPAN_MS: i64 = 7 * 24 * 3_600 * 1_000;

/// Kinds of income that are in no trade's fee or profit.
const BESIDE_TRADES: [&str; 2] = ["FUNDING_FEE", "INSURANCE_CLEAR"];

impl BinanceExecutionClient {
    /// Balance and the account's name.
    ///
    /// # Errors
    /// [`ExchangeError`]; refused when the account has no futures wallet in the quote currency.
    pub(super) async fn wallet_balance(&self) -> Result<WalletBalance, ExchangeError> {
        const WHAT: &str = "balance";
        let params = FuturesAccountBalanceV3Params {
            recv_window: Some(self.window()),
        };
        let asked = self.ask(WHAT, Need::Ordinary, |rest| {
            rest.futures_account_balance_v3(params.clone())
        });
        let assets = asked.await?;
        let quote = assets
            .into_iter()
            .find(|a| a.asset.as_deref() == Some(QUOTE))
            .ok_or_else(|| rejected(WHAT, format!("the account has no {QUOTE}")))?;
        let alias = must(WHAT, "accountAlias", quote.account_alias)?;
        Ok(WalletBalance {
            alias: alias
                .parse()
                .map_err(|_| unreadable(WHAT, "accountAlias", &alias))?,
            balance: decimal(WHAT, "balance", quote.balance.as_deref())?,
            available: decimal(WHAT, "availableBalance", quote.available_balance.as_deref())?,
        })
    }

    /// Rights of the key, and settings of the account.
    ///
    /// # Errors
    /// [`ExchangeError`] when the call fails.
    pub(super) async fn permissions(&self) -> Result<ApiPermissions, ExchangeError> {
        const WHAT: &str = "account";
        let params = AccountInformationV2Params {
            recv_window: Some(self.window()),
        };
        let asked = self.ask(WHAT, Need::Ordinary, |rest| {
            rest.account_information_v2(params.clone())
        });
        let account = asked.await?;
        Ok(ApiPermissions {
            trade: must(WHAT, "canTrade", account.can_trade)?,
            withdraw: must(WHAT, "canWithdraw", account.can_withdraw)?,
            multi_assets: account.multi_assets_margin.unwrap_or(false),
        })
    }

    /// Whether positions of both sides may be held at once.
    ///
    /// # Errors
    /// [`ExchangeError`] when the call fails.
    pub(super) async fn is_hedge_mode(&self) -> Result<bool, ExchangeError> {
        const WHAT: &str = "position mode";
        let params = GetCurrentPositionModeParams {
            recv_window: Some(self.window()),
        };
        let asked = self.ask(WHAT, Need::Ordinary, |rest| {
            rest.get_current_position_mode(params.clone())
        });
        must(WHAT, "dualSidePosition", asked.await?.dual_side_position)
    }

    /// Queries the positions that are not flat: of one symbol, or of the account.
    pub(super) async fn positions_of(
        &self,
        symbol: Option<&SubjectToken>,
    ) -> Result<Vec<ExchangePosition>, ExchangeError> {
        const WHAT: &str = "positions";
        let params = PositionInformationV3Params {
            symbol: symbol.map(SubjectToken::to_string),
            recv_window: Some(self.window()),
        };
        let asked = self.ask(WHAT, Need::Ordinary, |rest| {
            rest.position_information_v3(params.clone())
        });
        let mut held = Vec::new();
        for position in asked.await? {
            let quantity = decimal(WHAT, "positionAmt", position.position_amt.as_deref())?;
            if quantity.is_zero() {
                continue;
            }
            if position.position_side.as_deref() != Some("BOTH") {
                let reason = "the account is in hedge mode: allowed is one-way mode";
                return Err(rejected(WHAT, reason));
            }
            held.push(ExchangePosition {
                symbol: must(WHAT, "symbol", position.symbol)?,
                quantity,
            });
        }
        Ok(held)
    }

    /// Queries the open orders, conditional ones included: of one symbol, or of the account.
    pub(super) async fn open_orders_of(
        &self,
        symbol: Option<&SubjectToken>,
    ) -> Result<Vec<RestingOrder>, ExchangeError> {
        const WHAT: &str = "open orders";
        let params = CurrentAllOpenOrdersParams {
            symbol: symbol.map(SubjectToken::to_string),
            recv_window: Some(self.window()),
        };
        let asked = self.ask(WHAT, Need::Ordinary, |rest| {
            rest.current_all_open_orders(params.clone())
        });
        let ordinary = asked
            .await?
            .into_iter()
            .map(|o| resting(o.symbol, o.client_order_id, o.order_id, false));
        let mut open = ordinary.collect::<Result<Vec<_>, _>>()?;
        let params = CurrentAllAlgoOpenOrdersParams {
            algo_type: None,
            symbol: symbol.map(SubjectToken::to_string),
            algo_id: None,
            recv_window: Some(self.window()),
        };
        let asked = self.ask(WHAT, Need::Ordinary, |rest| {
            rest.current_all_algo_open_orders(params.clone())
        });
        for o in asked.await? {
            open.push(resting(o.symbol, o.client_algo_id, o.algo_id, true)?);
        }
        Ok(open)
    }

    /// Orders and position of one symbol. The orders are requested first: an order that fills meanwhile is
    /// seen twice, as an order and as a position, rather than not at all.
    ///
    /// # Errors
    /// [`ExchangeError`]; refused in hedge mode.
    pub(super) async fn exchange_view(
        &self,
        symbol: &SubjectToken,
    ) -> Result<ExchangeView, ExchangeError> {
        let open = self.open_orders_of(Some(symbol)).await?;
        let held = self.positions_of(Some(symbol)).await?;
        let ours = held.iter().filter(|h| h.symbol == symbol.as_str());
        Ok(ExchangeView {
            position: ours.map(|h| h.quantity).sum(),
            open_orders: open
                .into_iter()
                .filter(|r| r.symbol == symbol.as_str())
                .map(|r| r.order)
                .collect(),
        })
    }

    /// What this symbol paid in `from..until` beside its trades, in order: funding, and what a liquidation cost.
    ///
    /// # Errors
    /// [`ExchangeError`]; nothing is returned of a list that could not be read to its end.
    pub(super) async fn funding_payments(
        &self,
        symbol: &SubjectToken,
        from: UtcMs,
        until: UtcMs,
    ) -> Result<Vec<FundingPayment>, ExchangeError> {
        const WHAT: &str = "payments";
        let mut payments: Vec<FundingPayment> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut next = from.0;
        while next < until.0 {
            let end = (until.0 - 1).min(next.saturating_add(SPAN_MS - 1));
            let params = GetIncomeHistoryParams {
                symbol: Some(symbol.to_string()),
                income_type: None,
                start_time: Some(next),
                end_time: Some(end),
                limit: i64::try_from(PAGE).ok(),
                recv_window: Some(self.window()),
            };
            let asked = self.ask(WHAT, Need::Ordinary, |rest| {
                rest.get_income_history(params.clone())
            });
            let page = asked.await?;
            let (full, before) = (page.len() >= PAGE, seen.len());
            let mut last = next;
            for income in page {
                let id = must(WHAT, "tranId", income.tran_id)?;
                let at = time(WHAT, "time", income.time)?;
                let kind = must(WHAT, "incomeType", income.income_type)?;
                let amount = -decimal(WHAT, "income", income.income.as_deref())?;
                let counts = BESIDE_TRADES.contains(&kind.as_str());
                last = last.max(at.0);
                if seen.insert((kind, id, at)) && counts {
                    payments.push(FundingPayment { at, amount });
                }
            }
            next = match full {
                // The next page begins where this one ended, within the same millisecond.
                true if seen.len() > before => last,
                true => return Err(retry(WHAT, "the list does not end")),
                false => end + 1,
            };
        }
        payments.sort_by_key(|p| p.at);
        Ok(payments)
    }

    /// The symbol's trades from `from` on, in order, including trades of orders that another program or the
    /// operator placed.
    ///
    /// # Errors
    /// [`ExchangeError`]; nothing is returned of a list that could not be read to its end.
    pub(super) async fn fills_since(
        &self,
        symbol: &SubjectToken,
        from: UtcMs,
    ) -> Result<Vec<ExchangeFill>, ExchangeError> {
        let now = exchange::ExecutionClient::now(self).await?;
        let mut start = from.0;
        loop {
            let page = self.trade_page(symbol, Span::Time(start)).await?;
            let next = start.saturating_add(SPAN_MS);
            let is_last = next > now.0;
            if is_last && page.len() < PAGE {
                return seen_all(&page);
            }
            if !page.is_empty() {
                return self.all_from(symbol, page).await;
            }
            start = next;
        }
    }

    /// The trades that follow these, by id: requests by id have no longest span.
    async fn all_from(
        &self,
        symbol: &SubjectToken,
        mut all: Vec<AccountTradeListResponseInner>,
    ) -> Result<Vec<ExchangeFill>, ExchangeError> {
        while let Some(last) = all.iter().filter_map(|t| t.id).max() {
            let page = self.trade_page(symbol, Span::From(last + 1)).await?;
            let full = page.len() >= PAGE;
            all.extend(page.into_iter().filter(|t| t.id > Some(last)));
            if !full {
                break;
            }
        }
        seen_all(&all)
    }

    async fn trade_page(
        &self,
        symbol: &SubjectToken,
        span: Span,
    ) -> Result<Vec<AccountTradeListResponseInner>, ExchangeError> {
        let (from_id, start) = match span {
            Span::Time(start) => (None, Some(start)),
            Span::From(id) => (Some(id), None),
        };
        let params = AccountTradeListParams {
            symbol: symbol.to_string(),
            order_id: None,
            start_time: start,
            end_time: start.map(|start| start.saturating_add(SPAN_MS - 1)),
            from_id,
            limit: i64::try_from(PAGE).ok(),
            recv_window: Some(self.window()),
        };
        let asked = self.ask("trades", Need::Ordinary, |rest| {
            rest.account_trade_list(params.clone())
        });
        Ok(asked.await?)
    }

    /// Sets isolated margin and this leverage, and reads both back.
    ///
    /// # Errors
    /// [`ExchangeError`]; refused when the account does not take them, for instance with an open position.
    pub(super) async fn prepare_symbol(
        &self,
        symbol: &SubjectToken,
        leverage: u8,
    ) -> Result<(), ExchangeError> {
        const WHAT: &str = "margin mode and leverage";
        if self.is_prepared(symbol, leverage).await? {
            return Ok(());
        }
        let params = ChangeMarginTypeParams {
            symbol: symbol.to_string(),
            margin_type: ChangeMarginTypeMarginTypeEnum::Isolated,
            recv_window: Some(self.window()),
        };
        let asked = self.ask(WHAT, Need::Ordinary, |rest| {
            rest.change_margin_type(params.clone())
        });
        match asked.await {
            Err(fault) if fault.code != Some(SAME_MARGIN) => return Err(fault.into()),
            _ => {}
        }
        let params = ChangeInitialLeverageParams {
            symbol: symbol.to_string(),
            leverage: i64::from(leverage),
            recv_window: Some(self.window()),
        };
        let asked = self.ask(WHAT, Need::Ordinary, |rest| {
            rest.change_initial_leverage(params.clone())
        });
        asked.await?;
        if self.is_prepared(symbol, leverage).await? {
            return Ok(());
        }
        let reason = format!("{symbol} did not become isolated with leverage {leverage}");
        Err(retry(WHAT, reason))
    }

    /// Whether the symbol has isolated margin and this leverage.
    ///
    /// # Errors
    /// [`ExchangeError`] when the call fails.
    pub async fn is_prepared(
        &self,
        symbol: &SubjectToken,
        leverage: u8,
    ) -> Result<bool, ExchangeError> {
        const WHAT: &str = "symbol settings";
        let params = SymbolConfigurationParams {
            symbol: Some(symbol.to_string()),
            recv_window: Some(self.window()),
        };
        let asked = self.ask(WHAT, Need::Ordinary, |rest| {
            rest.symbol_configuration(params.clone())
        });
        let all = asked.await?;
        let found = all
            .into_iter()
            .find(|s| s.symbol.as_deref() == Some(symbol.as_str()));
        let found = must(WHAT, "symbol", found)?;
        let margin = must(WHAT, "marginType", found.margin_type)?;
        let is = must(WHAT, "leverage", found.leverage)?;
        Ok(margin == "ISOLATED" && is == i64::from(leverage))
    }
}

/// The trades that a request asks for.
enum Span {
    /// A week of trades from this time on.
    Time(i64),
    /// Trades from this id on.
    From(i64),
}

fn resting(
    symbol: Option<String>,
    client_id: Option<String>,
    id: Option<i64>,
    conditional: bool,
) -> Result<RestingOrder, ExchangeError> {
    const WHAT: &str = "open orders";
    Ok(RestingOrder {
        symbol: must(WHAT, "symbol", symbol)?,
        order: OpenOrder {
            client_order_id: client_id.unwrap_or_default(),
            exchange_order_id: must(WHAT, "id", id)?,
            is_conditional: conditional,
        },
    })
}

fn seen_all(trades: &[AccountTradeListResponseInner]) -> Result<Vec<ExchangeFill>, ExchangeError> {
    let mut seen = trades.iter().map(seen_one).collect::<Result<Vec<_>, _>>()?;
    seen.sort_by_key(|t| t.id);
    Ok(seen)
}

fn seen_one(trade: &AccountTradeListResponseInner) -> Result<ExchangeFill, ExchangeError> {
    const WHAT: &str = "trades";
    let side = match must(WHAT, "side", trade.side.as_deref())? {
        "BUY" => OrderSide::Buy,
        "SELL" => OrderSide::Sell,
        other => return Err(unreadable(WHAT, "side", other)),
    };
    Ok(ExchangeFill {
        id: must(WHAT, "id", trade.id)?,
        order_id: must(WHAT, "orderId", trade.order_id)?,
        side,
        quantity: decimal(WHAT, "qty", trade.qty.as_deref())?,
        price: decimal(WHAT, "price", trade.price.as_deref())?,
        at: time(WHAT, "time", trade.time)?,
        fee: fee_of(trade).ok(),
        realized_pnl: decimal(WHAT, "realizedPnl", trade.realized_pnl.as_deref())?,
    })
}
