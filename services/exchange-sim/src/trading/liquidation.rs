//! Closing of positions by the exchange: liquidation, auto-deleveraging, and settlement.

use rust_decimal::Decimal;

use super::enums::{AlgoStatus, IncomeType, MarginMode, OrderStatus, OrderType, Side, TimeInForce};
use super::error::ExchangeError;
use super::exchange_state::ExchangeState;
use super::execute::{Fill, USDT};
use super::order::Order;
use super::position::{MONEY_DECIMALS, Position};
use super::prices::Now;
use super::record::Record;

/// Liquidation fee as a share of the closed value: `liquidationFee` of `exchangeInfo`. Charged only as
/// far as margin is left.
pub(crate) const LIQUIDATION_FEE_RATE: Decimal = rust_decimal::dec!(0.0125);

/// Why the exchange closes a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ForcedClose {
    /// Its margin is used up.
    Liquidation,
    /// It is the counterparty of a liquidated position that no other order takes.
    AutoDeleveraging,
    /// The exchange settles the contract and closes its positions.
    Settlement,
}

impl ForcedClose {
    /// Binance's client order id.
    fn client_id(self, id: i64) -> String {
        match self {
            Self::Liquidation => format!("autoclose-{id}"),
            Self::AutoDeleveraging => "adl_autoclose".to_owned(),
            Self::Settlement => format!("settlement_autoclose-{id}"),
        }
    }
}

impl ExchangeState {
    /// Liquidates an account's position in a contract now.
    ///
    /// # Errors
    /// [`ExchangeError`] if there is no such account or position.
    pub fn liquidate_now(
        &mut self,
        account: &str,
        symbol: &str,
        now: &Now<'_>,
    ) -> Result<(), ExchangeError> {
        for position in self.held(account, symbol)? {
            self.liquidate(account, &position, now);
        }
        Ok(())
    }

    /// Closes an account's position in a contract, or a part, by auto-deleveraging at the mark price. Orders stay.
    ///
    /// # Errors
    /// [`ExchangeError`] if there is no such account or position, or if the quantity is not one that orders may have.
    pub fn deleverage(
        &mut self,
        account: &str,
        symbol: &str,
        quantity: Option<Decimal>,
        now: &Now<'_>,
    ) -> Result<(), ExchangeError> {
        if let Some(quantity) = quantity {
            self.filters(symbol)?.check_quantity(quantity, false)?;
        }
        let price = now.mark_price(symbol);
        for position in self.held(account, symbol)? {
            let held = position.amount.abs();
            let quantity = quantity.map_or(held, |quantity| quantity.min(held));
            let close = (ForcedClose::AutoDeleveraging, quantity, price);
            self.force_close(account, &position, close, now);
        }
        Ok(())
    }

    /// Ends the orders of an account in a contract, and closes its positions at the settlement price.
    pub(super) fn settle_positions(
        &mut self,
        account: &str,
        symbol: &str,
        price: Decimal,
        now: &Now<'_>,
    ) {
        self.end_all_orders(account, symbol, "settlement", now);
        for position in self.held(account, symbol).unwrap_or_default() {
            let close = (ForcedClose::Settlement, position.amount.abs(), price);
            self.force_close(account, &position, close, now);
        }
    }

    /// An account's open positions in a contract, at least one.
    fn held(&self, account: &str, symbol: &str) -> Result<Vec<Position>, ExchangeError> {
        let held = self.account(account)?.open_positions();
        let held: Vec<Position> = held.filter(|p| p.symbol == symbol).cloned().collect();
        if held.is_empty() {
            let message = format!("account {account} has no position in {symbol}");
            return Err(ExchangeError::new(-1102, message));
        }
        Ok(held)
    }

    fn end_all_orders(&mut self, account: &str, symbol: &str, reason: &str, now: &Now<'_>) {
        self.cancel_orders(account, symbol, now.ms);
        self.end_algos(account, symbol, AlgoStatus::Expired, reason, now.ms);
    }

    /// Liquidates a position: ends the contract's orders, closes the position at the last price, and pays the
    /// liquidation fee into the insurance fund as far as margin is left. The insurance fund bears a deficit.
    pub(super) fn liquidate(&mut self, account: &str, position: &Position, now: &Now<'_>) {
        let symbol = position.symbol.as_str();
        self.end_all_orders(account, symbol, "liquidation", now);
        let Some(state) = self.accounts.get(account) else {
            return;
        };
        let isolated = state.symbol_config(symbol).margin_mode == MarginMode::Isolated;
        let lost = state.wallet_balance
            - if isolated {
                position.isolated_margin
            } else {
                state.cross_wallet()
            };
        let close = (
            ForcedClose::Liquidation,
            position.amount.abs(),
            now.last_price(symbol),
        );
        let order = self.force_close(account, position, close, now);
        let wallet = self.accounts.get(account).map(|a| a.wallet_balance);
        let rest = wallet.unwrap_or_default() - lost;
        if isolated || rest.is_sign_negative() {
            let fee = (order.filled_quote * LIQUIDATION_FEE_RATE).round_dp(MONEY_DECIMALS);
            let cleared = -rest.min(fee);
            self.change_wallet(account, symbol, IncomeType::Insurance, cleared, now);
            let balances = self.balances(account, USDT, cleared);
            self.notify_account(account, "INSURANCE_CLEAR", balances, &[], now);
        }
    }

    /// Closes a quantity of a position at a price, with an order of the exchange.
    fn force_close(
        &mut self,
        account: &str,
        position: &Position,
        (close, quantity, price): (ForcedClose, Decimal, Decimal),
        now: &Now<'_>,
    ) -> Order {
        let mut order = forced_order(position, close, self.ids.order + 1, now.ms);
        order.quantity = quantity;
        order.price = price;
        self.record(account, Record::Order(order.clone()));
        self.notify_order(account, &order, "NEW", None, now.ms);
        let fill = Fill {
            quantity,
            price,
            is_maker: false,
        };
        self.fill(account, &mut order, fill, now);
        order
    }
}

/// The order with which the exchange closes a position.
fn forced_order(position: &Position, close: ForcedClose, id: i64, at_ms: i64) -> Order {
    Order {
        id,
        client_id: close.client_id(id),
        symbol: position.symbol.clone(),
        side: if position.amount.is_sign_positive() {
            Side::Sell
        } else {
            Side::Buy
        },
        position_side: position.side,
        kind: OrderType::Liquidation,
        time_in_force: match close {
            ForcedClose::Liquidation => TimeInForce::Ioc,
            ForcedClose::AutoDeleveraging | ForcedClose::Settlement => TimeInForce::Gtc,
        },
        price: Decimal::ZERO,
        quantity: Decimal::ZERO,
        filled: Decimal::ZERO,
        filled_quote: Decimal::ZERO,
        reduce_only: false,
        close_position: false,
        origin: None,
        status: OrderStatus::New,
        created_ms: at_ms,
        updated_ms: at_ms,
        fill_plan: None,
        algo_id: None,
    }
}
