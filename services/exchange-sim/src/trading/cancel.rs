//! Cancellation of orders and conditional orders by clients.

use super::enums::{AlgoStatus, OrderStatus};
use super::error::ExchangeError;
use super::exchange_state::ExchangeState;
use super::order::{Algo, Order};

impl ExchangeState {
    /// Cancels an open order by one of its ids.
    ///
    /// # Errors
    /// [`ExchangeError`] if there is no such open order.
    pub fn cancel(
        &mut self,
        account: &str,
        symbol: &str,
        id: (Option<i64>, Option<&str>),
        at_ms: i64,
    ) -> Result<Order, ExchangeError> {
        self.filters(symbol)?;
        let found = self.account(account)?.order(symbol, id.0, id.1);
        let found = found.filter(|o| o.status.is_open()).cloned();
        let mut order = found.ok_or_else(|| ExchangeError::from_code(-2011))?;
        self.end_order(account, &mut order, OrderStatus::Canceled, at_ms);
        Ok(order)
    }

    /// Cancels all open orders of a contract.
    ///
    /// # Errors
    /// [`ExchangeError`] if the contract is not listed.
    pub fn cancel_all(
        &mut self,
        account: &str,
        symbol: &str,
        at_ms: i64,
    ) -> Result<(), ExchangeError> {
        self.filters(symbol)?;
        self.account(account)?;
        self.cancel_orders(account, symbol, at_ms);
        Ok(())
    }

    /// Cancels all open orders of a contract, also of an unlisted one.
    pub(super) fn cancel_orders(&mut self, account: &str, symbol: &str, at_ms: i64) {
        let open = self.accounts.get(account).map(|a| &a.open_orders);
        let open = open.into_iter().flat_map(|orders| orders.values());
        let open: Vec<Order> = open.filter(|o| o.symbol == symbol).cloned().collect();
        for mut order in open {
            self.end_order(account, &mut order, OrderStatus::Canceled, at_ms);
        }
    }

    /// Cancels a waiting conditional order by one of its ids.
    ///
    /// # Errors
    /// [`ExchangeError`] if there is no such waiting order.
    pub fn cancel_algo(
        &mut self,
        account: &str,
        id: (Option<i64>, Option<&str>),
        at_ms: i64,
    ) -> Result<Algo, ExchangeError> {
        let found = self.account(account)?.algo(id.0, id.1);
        let found = found.filter(|a| a.status == AlgoStatus::New).cloned();
        let mut algo = found.ok_or_else(|| ExchangeError::from_code(-2011))?;
        self.end_algo(account, &mut algo, AlgoStatus::Canceled, "", at_ms);
        Ok(algo)
    }

    /// Cancels all waiting conditional orders of a contract.
    ///
    /// # Errors
    /// [`ExchangeError`] if the contract is not listed.
    pub fn cancel_all_algos(
        &mut self,
        account: &str,
        symbol: &str,
        at_ms: i64,
    ) -> Result<(), ExchangeError> {
        self.filters(symbol)?;
        self.end_algos(account, symbol, AlgoStatus::Canceled, "", at_ms);
        Ok(())
    }

    pub(super) fn end_algos(
        &mut self,
        account: &str,
        symbol: &str,
        status: AlgoStatus,
        reason: &str,
        at_ms: i64,
    ) {
        let waiting = self.accounts.get(account).map(|a| &a.waiting_algos);
        let algos = waiting.into_iter().flat_map(|w| w.values());
        let all: Vec<Algo> = algos.filter(|a| a.symbol == symbol).cloned().collect();
        for mut algo in all {
            self.end_algo(account, &mut algo, status, reason, at_ms);
        }
    }

    pub(super) fn end_algo(
        &mut self,
        account: &str,
        algo: &mut Algo,
        status: AlgoStatus,
        reason: &str,
        at_ms: i64,
    ) {
        algo.status = status;
        algo.updated_ms = at_ms;
        reason.clone_into(&mut algo.reason);
        self.record_algo(account, algo, at_ms);
    }
}
