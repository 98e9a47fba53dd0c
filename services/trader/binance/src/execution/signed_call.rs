//! Signed calls, and the time that they are signed with: [`BinanceExecutionClient::submit`] for orders,
//! [`BinanceExecutionClient::query`] for calls that may be repeated.

use std::time::Duration;

use exchange::ExchangeError;
use protocol::time::UtcMs;
use serde::de::DeserializeOwned;
use trader_core::orders::Order;

use super::client::BinanceExecutionClient;
use crate::client::{Auth, Call, CallError, Deadline};

/// Highest age of the exchange's time that a call is signed with. It is also how far our time may be ahead of an
/// exchange whose time is paused: Binance accepts less than a second.
const MOST_CARRIED: Duration = Duration::from_millis(900);

/// Largest list, in bytes. A thousand orders have less than one MB.
const LIST_BYTES: usize = 4 * 1024 * 1024;

/// Deadline of a call whose answer is a list: it may be long, and must make progress.
const LIST_DEADLINE: Deadline = Deadline {
    total: Duration::from_secs(8),
    between: Duration::from_secs(3),
};

/// Request weight of most lists.
const LIST_WEIGHT: u32 = 5;

/// A call whose answer is a list.
pub(super) const fn list(what: &'static str, path: &'static str) -> Call {
    Call::get(what, path)
        .weight(LIST_WEIGHT)
        .at_most(LIST_BYTES)
        .within(LIST_DEADLINE)
}

impl BinanceExecutionClient {
    /// Makes the call that submits an order, once, signed with the time in the order's record: an order that was
    /// delayed is refused as too old and does not fill late.
    pub(super) async fn submit<T: DeserializeOwned>(
        &self,
        call: Call,
        order: &Order,
    ) -> Result<T, CallError> {
        let signed = Auth::Signed {
            timestamp: order.at,
            recv_window_ms: order.recv_window_ms,
        };
        let outcome = self.inner.http.call(call.auth(signed)).await;
        if outcome.as_ref().is_err_and(CallError::is_stale) {
            // The time that dated this order was wrong: the next order needs a new one.
            self.inner.public.clock().doubt();
        }
        outcome
    }

    /// Makes a call that may be repeated.
    pub(super) async fn query<T: DeserializeOwned>(&self, call: Call) -> Result<T, ExchangeError> {
        self.signed(call).await?.map_err(ExchangeError::from)
    }

    /// Makes a call that may be repeated; `None` if the exchange answers with one of the errors `absent`.
    pub(super) async fn query_unless<T: DeserializeOwned>(
        &self,
        absent: &[i64],
        call: Call,
    ) -> Result<Option<T>, ExchangeError> {
        match self.signed(call).await? {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.code().is_some_and(|code| absent.contains(&code)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a call, and repeats it once with a newer time if its timestamp was too old.
    async fn signed<T: DeserializeOwned>(
        &self,
        call: Call,
    ) -> Result<Result<T, CallError>, ExchangeError> {
        let outcome = self.signed_once(call.clone()).await?;
        if !outcome.as_ref().is_err_and(CallError::is_stale) {
            return Ok(outcome);
        }
        self.inner.public.clock().doubt();
        self.signed_once(call).await
    }

    async fn signed_once<T: DeserializeOwned>(
        &self,
        call: Call,
    ) -> Result<Result<T, CallError>, ExchangeError> {
        let signed = Auth::Signed {
            timestamp: self.timestamp().await?,
            recv_window_ms: self.inner.recv_window_ms,
        };
        Ok(self.inner.http.call(call.auth(signed)).await)
    }

    async fn timestamp(&self) -> Result<UtcMs, ExchangeError> {
        match self.inner.public.clock().carried(MOST_CARRIED) {
            Some(now) => Ok(now),
            None => self.inner.public.server_time().await,
        }
    }
}
