//! Dependencies of a WebSocket connection.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::exchange::Exchange;
use crate::trading_service::TradingService;

/// Dependencies that all connections share.
#[derive(Clone)]
pub(crate) struct ConnectionContext {
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) trading_service: Arc<TradingService>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) connections: TaskTracker,
}
