//! Dependencies of a WebSocket connection.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::exchange::Exchange;
use crate::trading_service::TradingService;

/// What every connection gets: the exchange, the end, and who waits for it.
#[derive(Clone)]
pub(crate) struct ConnectionContext {
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) trading_service: Arc<TradingService>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) connections: TaskTracker,
}
