//! Value of amounts in other assets than the quote currency: fees in BNB, credits of Binance.

use std::sync::atomic::Ordering;

use exchange::ExchangeError;
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use trader_core::candle::Interval;
use trader_core::fixed_point::SCALE;

use super::client::BinanceExecutionClient;
use crate::QUOTE;
use crate::error::retry;

const WHAT: &str = "price of another asset";

/// Refusals in a row after which an asset has no price.
const REFUSALS_TO_BELIEVE: u32 = 3;

/// Assets that Binance itself counts at par: its credits, and dollar coins that are margin.
const AT_PAR: [&str; 8] = [
    "BNFCR", "USDC", "FDUSD", "BUSD", "BFUSD", "LDUSDT", "RWUSD", "USD1",
];

impl BinanceExecutionClient {
    /// The value of an amount at this time, rounded to 1e-8: at par, or at the open of the asset's minute.
    ///
    /// # Errors
    /// [`ExchangeError`] while the price is not known.
    pub(super) async fn value_in_quote(
        &self,
        asset: &str,
        amount: Decimal,
        at: UtcMs,
    ) -> Result<Decimal, ExchangeError> {
        if asset == QUOTE || amount.is_zero() || AT_PAR.contains(&asset) {
            return Ok(amount);
        }
        let symbol = format!("{asset}{QUOTE}").parse::<SubjectToken>();
        let symbol = symbol.map_err(|_| retry(WHAT, format!("{asset:?} is not an asset")))?;
        let minute = Interval::M1.open_of(at);
        let price = match self.known_price(asset, minute) {
            Some(price) => price,
            None => self.query_price(&symbol, minute).await?,
        };
        self.remember_price(asset, minute, price);
        let value = amount.checked_mul(price);
        let value = value.ok_or_else(|| retry(WHAT, format!("{amount} {asset} is too much")))?;
        Ok(value.round_dp(SCALE))
    }

    async fn query_price(
        &self,
        symbol: &SubjectToken,
        minute: UtcMs,
    ) -> Result<Decimal, ExchangeError> {
        let price = self.inner.public.open_price(symbol, minute).await;
        let rejected = &self.inner.rejected_prices;
        match &price {
            Ok(_) => rejected.store(0, Ordering::Relaxed),
            Err(ExchangeError::Rejected { .. }) => {
                rejected.fetch_add(1, Ordering::Relaxed);
            }
            Err(ExchangeError::Retry { .. }) => {}
        }
        price
    }

    /// Whether the exchange refused the price of an asset several times in a row: the asset is not listed.
    pub(super) fn has_no_price(&self) -> bool {
        self.inner.rejected_prices.load(Ordering::Relaxed) >= REFUSALS_TO_BELIEVE
    }
}
