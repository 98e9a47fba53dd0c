//! [`BacktestError`].

use crate::bar_aggregator::OutOfOrder;
use crate::book::FoldError;
use crate::market_state::MarketDataError;

/// Error that ends a backtest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BacktestError {
    /// The candles cannot be used.
    #[error(transparent)]
    Market(#[from] MarketDataError),
    /// A decision that cannot be applied: a bug.
    #[error("internal error: a decided record cannot be applied: {0}")]
    Record(#[from] FoldError),
}

impl From<OutOfOrder> for BacktestError {
    fn from(error: OutOfOrder) -> Self {
        Self::Market(error.into())
    }
}
