//! Answers about the account: balance, permissions, positions, settings, income.

use protocol::time::UtcMs;
use rust_decimal::Decimal;
use serde::Deserialize;

use super::scalar::{self, text_enum};

/// Balance in one asset: an entry of `GET /fapi/v3/balance`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BalanceAnswer {
    /// The exchange's name for the account: the same for every key.
    #[serde(deserialize_with = "scalar::text")]
    pub account_alias: String,
    /// Asset.
    #[serde(deserialize_with = "scalar::text")]
    pub asset: String,
    /// Balance without unrealized profit and loss.
    #[serde(deserialize_with = "scalar::decimal")]
    pub balance: Decimal,
    /// Balance that a new position may use.
    #[serde(deserialize_with = "scalar::decimal")]
    pub available_balance: Decimal,
}

/// Permissions of the key and settings of the account, from `GET /fapi/v2/account`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountAnswer {
    /// Whether the key may trade.
    #[serde(deserialize_with = "scalar::flag")]
    pub can_trade: bool,
    /// Whether the key may withdraw money.
    #[serde(deserialize_with = "scalar::flag")]
    pub can_withdraw: bool,
    /// Whether all assets form one margin.
    #[serde(default, deserialize_with = "scalar::flag")]
    pub multi_assets_margin: bool,
}

/// Answer of `GET /fapi/v1/positionSide/dual`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PositionModeAnswer {
    /// Whether positions of both sides may be held at once.
    #[serde(deserialize_with = "scalar::flag")]
    pub dual_side_position: bool,
}

text_enum! {
    /// Side of a position in its mode.
    PositionMode {
        /// One-way mode.
        Both = "BOTH",
        /// Long, in hedge mode.
        Long = "LONG",
        /// Short, in hedge mode.
        Short = "SHORT",
    }
}

/// Answer of `GET /fapi/v1/accountConfig`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountConfigAnswer {
    /// Whether positions of both sides may be held at once.
    #[serde(deserialize_with = "scalar::flag")]
    pub dual_side_position: bool,
    /// Whether all assets form one margin.
    #[serde(deserialize_with = "scalar::flag")]
    pub multi_assets_margin: bool,
}

/// Answer of `GET /fapi/v1/feeBurn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FeeBurnAnswer {
    /// Whether fees are paid in BNB while its balance lasts.
    #[serde(deserialize_with = "scalar::flag")]
    pub fee_burn: bool,
}

/// A position: an entry of `GET /fapi/v3/positionRisk`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PositionAnswer {
    /// Contract, in the exchange's notation.
    #[serde(deserialize_with = "scalar::text")]
    pub symbol: String,
    /// Amount in base units: positive long, negative short.
    #[serde(deserialize_with = "scalar::decimal")]
    pub position_amt: Decimal,
    /// Side in its mode.
    pub position_side: PositionMode,
    /// Mean entry price in the quote currency; `None` or zero if there is none.
    #[serde(default, deserialize_with = "scalar::optional_decimal")]
    pub entry_price: Option<Decimal>,
}

/// A cash flow: an entry of `GET /fapi/v1/income`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IncomeAnswer {
    /// Kind of the cash flow, such as `FUNDING_FEE`.
    #[serde(deserialize_with = "scalar::text")]
    pub income_type: String,
    /// Amount in `asset`: positive received, negative paid.
    #[serde(deserialize_with = "scalar::decimal")]
    pub income: Decimal,
    /// Asset of the amount.
    #[serde(deserialize_with = "scalar::text")]
    pub asset: String,
    /// Contract, in the exchange's notation; `None` or empty if the cash flow concerns none.
    #[serde(default)]
    pub symbol: Option<String>,
    /// Id, unique within its kind.
    #[serde(deserialize_with = "scalar::integer")]
    pub tran_id: i64,
    /// The exchange's time of the cash flow.
    #[serde(deserialize_with = "scalar::time")]
    pub time: UtcMs,
}

text_enum! {
    /// Margin mode of a symbol.
    MarginType {
        /// The position has a margin of its own.
        Isolated = "ISOLATED",
        /// All positions share the balance.
        Crossed = "CROSSED",
    }
}

/// Settings of one symbol: an entry of `GET /fapi/v1/symbolConfig`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SymbolConfigAnswer {
    /// Contract, in the exchange's notation.
    #[serde(deserialize_with = "scalar::text")]
    pub symbol: String,
    /// Margin mode.
    pub margin_type: MarginType,
    /// Leverage.
    #[serde(deserialize_with = "scalar::integer")]
    pub leverage: i64,
}

/// Answer of `POST /fapi/v1/listenKey`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenKeyAnswer {
    /// Name of the user stream. It gives access to the account's events.
    #[serde(deserialize_with = "scalar::text")]
    pub listen_key: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_with_numbers_for_strings_and_new_fields() {
        let balance: BalanceAnswer = serde_json::from_str(
            r#"{"accountAlias":5,"asset":"USDT","balance":10000.5,"availableBalance":"1","new":null}"#,
        )
        .unwrap();
        assert_eq!(
            (balance.account_alias.as_str(), balance.balance.to_string()),
            ("5", "10000.5".into())
        );
        let account: AccountAnswer =
            serde_json::from_str(r#"{"canTrade":"true","canWithdraw":false}"#).unwrap();
        assert!(account.can_trade && !account.multi_assets_margin);
        let position: PositionAnswer = serde_json::from_str(
            r#"{"symbol":"B","positionAmt":"-0.5","positionSide":"A_NEW_SIDE"}"#,
        )
        .unwrap();
        assert_eq!(position.position_side.as_str(), "A_NEW_SIDE");
        let config: SymbolConfigAnswer =
            serde_json::from_str(r#"{"symbol":"B","marginType":"CROSSED","leverage":"5"}"#)
                .unwrap();
        assert_eq!(
            (config.margin_type, config.leverage),
            (MarginType::Crossed, 5)
        );
    }
}
