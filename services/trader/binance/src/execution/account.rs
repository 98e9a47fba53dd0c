//! The account as a whole: balance, permissions, positions, open orders; leverage and margin mode.

use std::sync::{MutexGuard, PoisonError};

use exchange::{ApiPermissions, ExchangeError, ExchangePosition, RestingOrder, WalletBalance};
use protocol::ids::SubjectToken;
use reqwest::Method;
use trader_core::orders::{ExchangeView, OpenOrder};

use super::client::{AccountModes, BinanceExecutionClient};
use super::order_answer::{conditional_stop, ordinary_stop};
use super::signed_call::list;
use crate::QUOTE;
use crate::client::{Call, Priority, code};
use crate::error::{rejected, retry};
use crate::wire::Acknowledged;
use crate::wire::account::{
    AccountAnswer, AccountConfigAnswer, BalanceAnswer, FeeBurnAnswer, MarginType, PositionAnswer,
    PositionMode, PositionModeAnswer, SymbolConfigAnswer,
};
use crate::wire::orders::{AlgoOrderAnswer, OrderAnswer};

impl BinanceExecutionClient {
    /// Queries the balance in the quote currency and the account's name.
    pub(super) async fn wallet_balance(&self) -> Result<WalletBalance, ExchangeError> {
        const WHAT: &str = "balance";
        let assets: Vec<BalanceAnswer> = self.query(list(WHAT, "/fapi/v3/balance")).await?;
        let quote = assets
            .into_iter()
            .find(|balance| balance.asset == QUOTE)
            .ok_or_else(|| rejected(WHAT, format!("the account has no {QUOTE}")))?;
        let alias = quote.account_alias;
        Ok(WalletBalance {
            alias: alias
                .parse()
                .map_err(|error| retry(WHAT, format!("accountAlias: {error}")))?,
            balance: quote.balance,
            available: quote.available_balance,
        })
    }

    /// Queries the permissions of the key and the settings of the account.
    pub(super) async fn permissions(&self) -> Result<ApiPermissions, ExchangeError> {
        let account: AccountAnswer = self.query(list("account", "/fapi/v2/account")).await?;
        Ok(ApiPermissions {
            trade: account.can_trade,
            withdraw: account.can_withdraw,
            multi_assets: account.multi_assets_margin,
        })
    }

    /// Queries whether fees are paid in BNB while its balance lasts.
    pub(super) async fn pays_fees_in_other_asset(&self) -> Result<bool, ExchangeError> {
        let call = Call::get("fee asset", "/fapi/v1/feeBurn").weight(30);
        let answer: FeeBurnAnswer = self.query(call).await?;
        Ok(answer.fee_burn)
    }

    /// Queries whether positions of both sides may be held at once.
    pub(super) async fn is_hedge_mode(&self) -> Result<bool, ExchangeError> {
        let call = Call::get("position mode", "/fapi/v1/positionSide/dual").weight(30);
        let mode: PositionModeAnswer = self.query(call).await?;
        Ok(mode.dual_side_position)
    }

    /// Queries the positions that are not flat: of one symbol, or of the account.
    pub(super) async fn positions_of(
        &self,
        symbol: Option<&SubjectToken>,
    ) -> Result<Vec<ExchangePosition>, ExchangeError> {
        const WHAT: &str = "positions";
        let call = list(WHAT, "/fapi/v3/positionRisk")
            .optional("symbol", symbol)
            .priority(Priority::Vital);
        let all: Vec<PositionAnswer> = self.query(call).await?;
        let mut held: Vec<ExchangePosition> = Vec::new();
        for position in all {
            if position.position_amt.is_zero() {
                continue;
            }
            match position.position_side {
                // A list may have a row twice.
                PositionMode::Both if held.iter().any(|h| h.symbol == position.symbol) => {}
                PositionMode::Both => held.push(ExchangePosition {
                    symbol: position.symbol,
                    quantity: position.position_amt,
                    entry_price: position.entry_price.filter(|price| !price.is_zero()),
                }),
                PositionMode::Long | PositionMode::Short => {
                    let reason = "the account is in hedge mode: allowed is one-way mode";
                    return Err(rejected(WHAT, reason));
                }
                PositionMode::Other(other) => {
                    return Err(retry(WHAT, format!("the position's side is {other:?}")));
                }
            }
        }
        Ok(held)
    }

    /// Queries the open orders, conditional ones included: of one symbol, or of the account.
    pub(super) async fn open_orders_of(
        &self,
        symbol: Option<&SubjectToken>,
    ) -> Result<Vec<RestingOrder>, ExchangeError> {
        const WHAT: &str = "open orders";
        let weight = if symbol.is_some() { 1 } else { 40 };
        let call = list(WHAT, "/fapi/v1/openOrders").optional("symbol", symbol);
        let call = call.weight(weight).priority(Priority::Vital);
        let ordinary: Vec<OrderAnswer> = self.query(call).await?;
        let call = list(WHAT, "/fapi/v1/openAlgoOrders").optional("symbol", symbol);
        let call = call.weight(weight).priority(Priority::Vital);
        let conditional: Vec<AlgoOrderAnswer> = self.query(call).await?;
        let ordinary = ordinary.into_iter().map(|order| RestingOrder {
            order: OpenOrder {
                stop: ordinary_stop(&order),
                client_order_id: order.client_order_id,
                exchange_order_id: order.order_id,
                is_conditional: false,
            },
            symbol: order.symbol,
        });
        let conditional = conditional.into_iter().map(|algo| RestingOrder {
            order: OpenOrder {
                stop: conditional_stop(&algo),
                client_order_id: algo.client_algo_id,
                exchange_order_id: algo.algo_id,
                is_conditional: true,
            },
            symbol: algo.symbol,
        });
        Ok(ordinary.chain(conditional).collect())
    }

    /// Queries orders and position of one symbol. The orders are queried first: an order that fills meanwhile is
    /// seen twice, as an order and as a position, rather than not at all.
    pub(super) async fn exchange_view(
        &self,
        symbol: &SubjectToken,
    ) -> Result<ExchangeView, ExchangeError> {
        let open = self.open_orders_of(Some(symbol)).await?;
        let held = self.positions_of(Some(symbol)).await?;
        let ours = held.iter().filter(|h| h.symbol == symbol.as_str());
        Ok(ExchangeView {
            position: ours.clone().map(|h| h.quantity).sum(),
            entry_price: ours.clone().find_map(|h| h.entry_price),
            open_orders: open
                .into_iter()
                .filter(|r| r.symbol == symbol.as_str())
                .map(|r| r.order)
                .collect(),
        })
    }

    /// Sets isolated margin and this leverage, reads both back, and notes the asset of the fees.
    pub(super) async fn prepare_symbol(
        &self,
        symbol: &SubjectToken,
        leverage: u8,
    ) -> Result<(), ExchangeError> {
        const WHAT: &str = "margin mode and leverage";
        self.note_fee_asset().await;
        if self.is_prepared(symbol, leverage).await? {
            return Ok(());
        }
        let call = Call::new(WHAT, Method::POST, "/fapi/v1/marginType")
            .param("symbol", symbol)
            .param("marginType", MarginType::Isolated.as_str());
        self.query_unless::<Acknowledged>(&[code::SAME_MARGIN], call)
            .await?;
        let call = Call::new(WHAT, Method::POST, "/fapi/v1/leverage")
            .param("symbol", symbol)
            .param("leverage", leverage);
        self.query::<Acknowledged>(call).await?;
        if self.is_prepared(symbol, leverage).await? {
            return Ok(());
        }
        let reason = format!("{symbol} did not become isolated with leverage {leverage}");
        Err(retry(WHAT, reason))
    }

    /// Queries what differs from isolated margin, this leverage, one-way mode, single-asset mode and the asset of the fees
    /// when risk was computed.
    pub(super) async fn settings_difference(
        &self,
        symbol: &SubjectToken,
        leverage: u8,
    ) -> Result<Option<String>, ExchangeError> {
        let ages = self.inner.query_ages;
        let (config, modes, in_bnb) = tokio::try_join!(
            self.symbol_config(symbol),
            self.inner.modes.get(ages.modes, self.account_modes()),
            self.recent_fee_burn()
        )?;
        if modes.is_hedge {
            return Ok(Some("the account is in hedge mode".to_owned()));
        }
        if modes.is_multi_assets {
            return Ok(Some("the account is in multi-assets mode".to_owned()));
        }
        let expected = *self.lock_fee_burn().get_or_insert(in_bnb);
        if in_bnb != expected {
            return Ok(Some(fee_asset_changed(in_bnb)));
        }
        Ok(difference(&config, leverage))
    }

    async fn account_modes(&self) -> Result<AccountModes, ExchangeError> {
        let answer: AccountConfigAnswer = self
            .query(list("account modes", "/fapi/v1/accountConfig"))
            .await?;
        Ok(AccountModes {
            is_hedge: answer.dual_side_position,
            is_multi_assets: answer.multi_assets_margin,
        })
    }

    async fn recent_fee_burn(&self) -> Result<bool, ExchangeError> {
        let query = self.pays_fees_in_other_asset();
        let age = self.inner.query_ages.fee_asset;
        self.inner.fee_burn.get(age, query).await
    }

    /// Computes risk with the asset of the fees as it is now. If it cannot be queried, the next entry queries it.
    async fn note_fee_asset(&self) {
        match self.recent_fee_burn().await {
            Ok(in_bnb) => {
                let before = self.lock_fee_burn().replace(in_bnb);
                if before.is_some_and(|before| before != in_bnb) {
                    tracing::warn!(
                        change = fee_asset_changed(in_bnb),
                        "asset of the fees noted"
                    );
                }
            }
            Err(error) => tracing::warn!(%error, "asset of the fees not read"),
        }
    }

    fn lock_fee_burn(&self) -> MutexGuard<'_, Option<bool>> {
        let expected = &self.inner.expected_fee_burn;
        expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queries whether the symbol has isolated margin and this leverage.
    ///
    /// # Errors
    /// [`ExchangeError`] if the call fails.
    pub async fn is_prepared(
        &self,
        symbol: &SubjectToken,
        leverage: u8,
    ) -> Result<bool, ExchangeError> {
        let config = self.symbol_config(symbol).await?;
        Ok(difference(&config, leverage).is_none())
    }

    async fn symbol_config(
        &self,
        symbol: &SubjectToken,
    ) -> Result<SymbolConfigAnswer, ExchangeError> {
        const WHAT: &str = "symbol settings";
        let call = list(WHAT, "/fapi/v1/symbolConfig").param("symbol", symbol);
        let all: Vec<SymbolConfigAnswer> = self.query(call).await?;
        let found = all.into_iter().find(|c| c.symbol == symbol.as_str());
        found.ok_or_else(|| retry(WHAT, format!("the answer has no {symbol}")))
    }
}

fn fee_asset_changed(in_bnb: bool) -> String {
    let (now, before) = if in_bnb {
        ("BNB", "USDT")
    } else {
        ("USDT", "BNB")
    };
    format!("fees are paid in {now} now: risk was computed with {before}")
}

/// What differs from isolated margin and this leverage; `None` if nothing does.
fn difference(config: &SymbolConfigAnswer, leverage: u8) -> Option<String> {
    let is_isolated = config.margin_type == MarginType::Isolated;
    let is_equal = is_isolated && config.leverage == i64::from(leverage);
    (!is_equal).then(|| {
        format!(
            "{} has margin type {} and leverage {}: expected {} and {leverage}",
            config.symbol,
            config.margin_type.as_str(),
            config.leverage,
            MarginType::Isolated.as_str()
        )
    })
}
