//! Liquidation: closes a position whose margin is used up.

use rust_decimal::Decimal;

use super::enums::{AlgoStatus, IncomeType, MarginMode, OrderStatus, OrderType, Side, TimeInForce};
use super::error::ExchangeError;
use super::exchange_state::ExchangeState;
use super::execute::Fill;
use super::order::Order;
use super::position::{MONEY_DECIMALS, Position};
use super::prices::Now;
use super::record::Record;

/// Liquidation fee as a share of the closed value: `liquidationFee` of `exchangeInfo`. Charged only as
/// far as margin is left.
pub(crate) const LIQUIDATION_FEE_RATE: Decimal = rust_decimal::dec!(0.0125);

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
        let held = self.account(account)?.open_positions();
        let held: Vec<Position> = held.filter(|p| p.symbol == symbol).cloned().collect();
        if held.is_empty() {
            return Err(ExchangeError::new(-1102, "no such position to liquidate"));
        }
        for position in held {
            self.liquidate(account, &position, now);
        }
        Ok(())
    }

    /// Liquidates a position: ends the contract's orders, closes the position at the mark price, and pays the
    /// liquidation fee into the insurance fund as far as margin is left. The insurance fund bears a deficit.
    pub(super) fn liquidate(&mut self, account: &str, position: &Position, now: &Now<'_>) {
        let symbol = position.symbol.as_str();
        // Cannot fail: a contract with an open position is listed.
        let _ = self.cancel_all(account, symbol, now.ms);
        self.end_algos(account, symbol, AlgoStatus::Expired, "liquidation", now.ms);
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
        let mut order = liquidation_order(position, self.ids.order + 1, now.ms);
        self.record(account, Record::Order(order.clone()));
        self.notify_order(account, &order, "NEW", None, now.ms);
        let fill = Fill {
            quantity: order.quantity,
            price: now.mark_price(symbol),
            is_maker: false,
        };
        self.fill(account, &mut order, fill, now);
        let wallet = self.accounts.get(account).map(|a| a.wallet_balance);
        let rest = wallet.unwrap_or_default() - lost;
        if isolated || rest.is_sign_negative() {
            let fee = (order.filled_quote * LIQUIDATION_FEE_RATE).round_dp(MONEY_DECIMALS);
            let cleared = -rest.min(fee);
            self.change_wallet(account, symbol, IncomeType::Insurance, cleared, now);
            self.notify_account(account, "INSURANCE_CLEAR", cleared, &[], now);
        }
    }
}

/// The order that closes a liquidated position, with Binance's client order id.
fn liquidation_order(position: &Position, id: i64, at_ms: i64) -> Order {
    Order {
        id,
        client_id: format!("autoclose-{id}"),
        symbol: position.symbol.clone(),
        side: if position.amount.is_sign_positive() {
            Side::Sell
        } else {
            Side::Buy
        },
        position_side: position.side,
        kind: OrderType::Liquidation,
        time_in_force: TimeInForce::Ioc,
        price: Decimal::ZERO,
        quantity: position.amount.abs(),
        filled: Decimal::ZERO,
        filled_quote: Decimal::ZERO,
        reduce_only: true,
        close_position: false,
        origin: None,
        status: OrderStatus::New,
        created_ms: at_ms,
        updated_ms: at_ms,
        no_fill_until_ms: 0,
        fills_in_parts: false,
    }
}
