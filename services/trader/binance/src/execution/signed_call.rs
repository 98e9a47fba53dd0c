//! One signed call: when it may be made, and the time that it is signed with. Entry points:
//! [`BinanceExecutionClient::send`] for orders, [`BinanceExecutionClient::ask`] for everything else.

use std::error::Error;
use std::time::{Duration, Instant};

use binance_sdk::derivatives_trading_usds_futures::rest_api::RestApi;
use binance_sdk::models::RestApiResponse;
use exchange::ExchangeError;
use protocol::time::UtcMs;

use super::BinanceExecutionClient;
use super::order_error::{Fault, STALE};
use super::request_time::{MOST_CARRIED, STAMP};
use crate::data::used_weight;

/// Priority of a call within the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Waits at the high-water mark, which keeps a reserve.
    Ordinary,
    /// Opens a position: waits also at the limit of orders.
    Entry,
    /// Protects or closes a position: waits only while the exchange refuses calls.
    Vital,
}

impl BinanceExecutionClient {
    pub(super) fn rest(&self) -> &RestApi {
        &self.inner.rest
    }

    /// `recvWindow` of calls that place no order, in milliseconds.
    pub(super) fn window(&self) -> i64 {
        i64::from(self.inner.recv_window_ms)
    }

    /// Sends an order once, signed with the time in its record.
    pub(super) async fn send<T, E>(
        &self,
        what: &'static str,
        need: Need,
        at: UtcMs,
        request: impl Future<Output = Result<RestApiResponse<T>, E>>,
    ) -> Result<T, Fault>
    where
        T: Send + 'static,
        E: AsRef<dyn Error + Send + Sync>,
    {
        let outcome = STAMP.scope(at, self.call(what, need, request)).await;
        if outcome.as_ref().is_err_and(|f| f.code == Some(STALE)) {
            // The time that dated this order was wrong: the next order needs a new one.
            self.inner.public.clock().doubt();
        }
        outcome
    }

    /// Makes a call that may be repeated: it is repeated once with a newer time if its timestamp was too old.
    pub(super) async fn ask<'a, T, E, F>(
        &'a self,
        what: &'static str,
        need: Need,
        request: impl Fn(&'a RestApi) -> F,
    ) -> Result<T, Fault>
    where
        T: Send + 'static,
        E: AsRef<dyn Error + Send + Sync>,
        F: Future<Output = Result<RestApiResponse<T>, E>>,
    {
        self.know_the_time().await?;
        match self.call(what, need, request(self.rest())).await {
            Err(fault) if fault.code == Some(STALE) => {
                self.inner.public.clock().doubt();
                self.know_the_time().await?;
                self.call(what, need, request(self.rest())).await
            }
            outcome => outcome,
        }
    }

    async fn know_the_time(&self) -> Result<(), ExchangeError> {
        if self.inner.public.clock().carried(MOST_CARRIED).is_none() {
            self.inner.public.server_time().await?;
        }
        Ok(())
    }

    async fn call<T, E>(
        &self,
        what: &'static str,
        need: Need,
        request: impl Future<Output = Result<RestApiResponse<T>, E>>,
    ) -> Result<T, Fault>
    where
        T: Send + 'static,
        E: AsRef<dyn Error + Send + Sync>,
    {
        if let Some(left) = self.closed_for(need, Instant::now()) {
            return Err(Fault::unsent(what, left));
        }
        let outcome = match request.await {
            Ok(response) => {
                self.took_in(&response);
                let data = response.data().await;
                data.map_err(|error| Fault::of_connector(what, &error))
            }
            Err(error) => Err(Fault::of_sdk(what, error.as_ref())),
        };
        if let Err(Fault {
            error: ExchangeError::Retry {
                after: Some(pause), ..
            },
            ..
        }) = &outcome
        {
            self.inner.public.weight().close(*pause, Instant::now());
        }
        outcome
    }

    fn closed_for(&self, need: Need, now: Instant) -> Option<Duration> {
        let weight = self.inner.public.weight();
        match need {
            Need::Vital => weight.rejected_for(now),
            Need::Ordinary => weight.closed_for(now),
            Need::Entry => weight
                .closed_for(now)
                .max(self.inner.orders.closed_for(now)),
        }
    }

    fn took_in<T>(&self, response: &RestApiResponse<T>) {
        let now = Instant::now();
        let limits = || response.rate_limits.iter().flatten();
        let weight = self.inner.public.weight();
        weight.used(used_weight(limits()), now);
        self.inner.orders.counted(limits(), now);
    }
}
