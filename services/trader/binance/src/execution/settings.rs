//! Settings of the execution client.

use std::time::Duration;

use exchange::ApiCredentials;

/// Credentials of the account, and the address of its user stream.
#[derive(Debug, Clone)]
pub struct ExecutionClientSettings {
    /// Base of the stream addresses, e.g. `wss://fstream.binance.com`.
    pub ws_url: String,
    /// API key and secret of the account.
    pub credentials: ApiCredentials,
    /// `recvWindow` of calls that place no order, in milliseconds; at most 60,000.
    pub recv_window_ms: u32,
    /// Deadlines of the user stream.
    pub stream_timing: UserStreamTiming,
    /// Ages of what is compared before an entry.
    pub query_ages: QueryAges,
}

/// How old the settings of the account may be that are compared before an entry, in wall time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryAges {
    /// Position mode and margin assets.
    pub modes: Duration,
    /// Asset of the fees: the query has six times the weight.
    pub fee_asset: Duration,
}

impl Default for QueryAges {
    fn default() -> Self {
        Self {
            modes: Duration::from_mins(1),
            fee_asset: Duration::from_mins(5),
        }
    }
}

/// Deadlines of the user stream, in wall time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserStreamTiming {
    /// A connection is replaced after this time.
    pub rebuild_after: Duration,
    /// A subscription is answered within this time.
    pub answer_within: Duration,
    /// Wait after the first failure.
    pub retry_first: Duration,
    /// Longest wait between attempts; a stream that lived longer is no failed attempt.
    pub retry_cap: Duration,
}

impl Default for UserStreamTiming {
    fn default() -> Self {
        Self {
            rebuild_after: Duration::from_mins(30),
            answer_within: Duration::from_secs(10),
            retry_first: Duration::from_secs(1),
            retry_cap: Duration::from_mins(1),
        }
    }
}
