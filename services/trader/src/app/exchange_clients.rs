//! The clients of the exchange. No other module of the trader names an adapter.

use std::sync::Arc;

use binance::{
    BinanceDataClient, BinanceExecutionClient, DataClientSettings, ExecutionClientSettings,
    FeedSettings, QueryAges, UserStreamTiming,
};
use exchange::{DataClient, ExchangeError, ExecutionClient};
use protocol::ids::Mode;
use runtime::exit_error::ExitError;
use trader_core::candle::Interval;

use crate::settings::Settings;

/// Interval of the candles that the feed delivers, and that paper fills are made against.
pub(super) const BASE_INTERVAL: Interval = Interval::M1;

/// The clients of the exchange. They connect when they are used.
pub struct ExchangeClients {
    /// Client for market data.
    pub data: Arc<dyn DataClient>,
    /// Client for orders; `None` on paper.
    pub execution: Option<Arc<dyn ExecutionClient>>,
}

impl ExchangeClients {
    /// The clients of these settings. The feed ends after `feed_failures` failures in a row; `None`: it never does.
    ///
    /// # Errors
    /// Exit 78 for live without keys, and for invalid keys or addresses.
    pub fn new(
        settings: &Settings,
        mode: Mode,
        feed_failures: Option<u32>,
    ) -> Result<Self, ExitError> {
        let invalid = |error: ExchangeError| ExitError::config(error.to_string());
        let feed = FeedSettings {
            give_up_after: feed_failures,
            ..FeedSettings::new(BASE_INTERVAL)
        };
        let data = BinanceDataClient::new(&DataClientSettings {
            rest_url: settings.rest_url.clone(),
            ws_url: settings.ws_url.clone(),
            feed,
        })
        .map_err(invalid)?;
        let execution: Option<Arc<dyn ExecutionClient>> = match mode {
            Mode::Paper => None,
            Mode::Live => {
                let client = live_settings(settings)?;
                let client = BinanceExecutionClient::new(&client, &data);
                Some(Arc::new(client))
            }
        };
        Ok(Self {
            data: Arc::new(data),
            execution,
        })
    }

    /// The client for the orders of a live account.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn live_execution(settings: &Settings) -> Result<Arc<dyn ExecutionClient>, ExitError> {
        let clients = Self::new(settings, Mode::Live, None)?;
        clients
            .execution
            .ok_or_else(|| ExitError::internal("bug: live without an execution client"))
    }
}

fn live_settings(settings: &Settings) -> Result<ExecutionClientSettings, ExitError> {
    let Some(credentials) = settings.credentials.credentials()? else {
        return Err(ExitError::config(
            "BINANCE_API_KEY is not set: live trading requires BINANCE_API_KEY and BINANCE_API_SECRET, or \
             BINANCE_API_KEY_FILE and BINANCE_API_SECRET_FILE; --paper requires none",
        ));
    };
    Ok(ExecutionClientSettings {
        ws_url: settings.ws_url.clone(),
        credentials,
        recv_window_ms: settings.recv_window_ms,
        stream_timing: UserStreamTiming::default(),
        query_ages: QueryAges::default(),
    })
}
