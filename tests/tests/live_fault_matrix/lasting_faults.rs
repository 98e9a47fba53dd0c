//! Faults of the exchange which last for a time or happen at once, and the moments of a position at which they start.
//! `account_faults` has those of the account and of the contract.

use bearish_tests::live::step::{Fault, FaultEnd};

use super::EXIT_MINUTE;

/// When a fault of the whole exchange starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PositionMoment {
    /// The trader has not started.
    BeforeEntry,
    /// The entry is filled; its response has not arrived yet.
    Entered,
    /// Stop and target rest on the exchange.
    Protected,
    /// The flatten command is stored; nothing is closed yet.
    Closing,
}

use PositionMoment::{Closing, Entered, Protected};

/// A fault that starts at a moment of a position.
#[allow(
    clippy::struct_excessive_bools,
    reason = "rows of a table: each property is independent of the others"
)]
#[derive(Debug, Clone, Copy)]
pub(super) struct LastingFault {
    pub(super) fault: Fault,
    pub(super) moments: &'static [PositionMoment],
    /// Whether each moment is played twice: the trader continues, and is killed. Otherwise it is killed at every
    /// other moment.
    pub(super) is_repeated: bool,
    /// Whether the contract does not trade any more, so that a halt is right.
    pub(super) ends_contract: bool,
    /// Whether the trader can do all of its work meanwhile: the position needs its stop as ever.
    pub(super) is_harmless: bool,
    /// Whether the position must exit by its stop.
    pub(super) is_exited_by_stop: bool,
    /// Whether a position must have been open.
    pub(super) must_trade: bool,
    /// Time of the entry's bar in minutes after midnight, and of the price move that ends the position in minutes after
    /// the bar.
    pub(super) entry_and_exit: (i64, i64),
}

impl LastingFault {
    pub(super) const fn at(fault: Fault, moments: &'static [PositionMoment]) -> Self {
        Self {
            fault,
            moments,
            is_repeated: false,
            ends_contract: false,
            is_harmless: matches!(fault.end, FaultEnd::ByItself),
            is_exited_by_stop: false,
            must_trade: false,
            entry_and_exit: (0, EXIT_MINUTE),
        }
    }

    pub(super) const fn repeated(self) -> Self {
        Self {
            is_repeated: true,
            ..self
        }
    }

    pub(super) const fn ending_contract(self) -> Self {
        Self {
            ends_contract: true,
            ..self
        }
    }

    pub(super) const fn harmless(self) -> Self {
        Self {
            is_harmless: true,
            ..self
        }
    }

    pub(super) const fn exited_by_stop(self) -> Self {
        Self {
            is_exited_by_stop: true,
            ..self
        }
    }

    pub(super) const fn trading(self) -> Self {
        Self {
            must_trade: true,
            ..self
        }
    }

    /// The position is open at 08:00, when funding is booked.
    pub(super) const fn over_funding(self) -> Self {
        Self {
            entry_and_exit: (450, 34),
            ..self.trading()
        }
    }
}

const ALL: &[PositionMoment] = &[Entered, Protected, Closing];

/// Faults of the exchange and of its streams.
pub(super) const OF_EXCHANGE: [LastingFault; 10] = [
    LastingFault::at(
        Fault::new("maintenance", r#"{"fault": "maintenance", "on": true}"#)
            .ended_by(r#"{"fault": "maintenance", "on": false}"#),
        ALL,
    )
    .repeated(),
    LastingFault::at(
        Fault::new(
            "user stream muted",
            r#"{"fault": "mute", "on": true, "to": "user"}"#,
        )
        .ended_by(r#"{"fault": "mute", "on": false}"#),
        ALL,
    )
    .repeated(),
    LastingFault::at(
        Fault::new("streams muted", r#"{"fault": "mute", "on": true}"#)
            .ended_by(r#"{"fault": "mute", "on": false}"#),
        ALL,
    )
    .repeated(),
    LastingFault::at(
        Fault::new(
            "user stream closed",
            r#"{"fault": "close", "code": 1000, "to": "user"}"#,
        ),
        ALL,
    )
    .repeated(),
    LastingFault::at(Fault::new("streams cut", r#"{"fault": "close"}"#), ALL).repeated(),
    LastingFault::at(
        Fault::new(
            "user stream doubled",
            r#"{"fault": "duplicate", "times": 9, "to": "user"}"#,
        ),
        ALL,
    )
    .repeated(),
    LastingFault::at(
        Fault::new(
            "user stream reordered",
            r#"{"fault": "reorder", "times": 9, "to": "user"}"#,
        ),
        ALL,
    )
    .repeated(),
    LastingFault::at(
        Fault::new("clock ahead", r#"{"fault": "clock-skew", "ms": 90000}"#)
            .ended_by(r#"{"fault": "clock-skew", "ms": 0}"#),
        ALL,
    )
    .repeated(),
    LastingFault::at(
        Fault::new("clock behind", r#"{"fault": "clock-skew", "ms": -90000}"#)
            .ended_by(r#"{"fault": "clock-skew", "ms": 0}"#),
        ALL,
    )
    .repeated(),
    LastingFault::at(
        Fault::new(
            "triggers rejected",
            r#"{"fault": "reject-triggers", "account": "livekey", "code": -2010}"#,
        ),
        ALL,
    )
    .repeated(),
];

/// A fault that lasts until all faults are cleared.
pub(super) const fn cleared(name: &'static str, start_request: &'static str) -> Fault {
    Fault::new(name, start_request).until_cleared()
}

/// Faults of all calls at once, and of the streams' content.
pub(super) const OF_ALL_CALLS: [LastingFault; 22] = [
    LastingFault::at(
        cleared(
            "all queries late",
            r#"{"fault": "query-lag", "ms": 5000, "times": "unlimited"}"#,
        ),
        ALL,
    )
    .repeated(),
    LastingFault::at(
        cleared(
            "all queries empty",
            r#"{"fault": "empty-answer", "times": "unlimited"}"#,
        ),
        ALL,
    )
    .repeated(),
    LastingFault::at(
        cleared(
            "all rows doubled",
            r#"{"fault": "duplicate-rows", "times": "unlimited"}"#,
        ),
        ALL,
    )
    .harmless(),
    LastingFault::at(
        cleared(
            "all rows reversed",
            r#"{"fault": "reverse-rows", "times": "unlimited"}"#,
        ),
        ALL,
    )
    .harmless(),
    LastingFault::at(
        cleared(
            "new fields everywhere",
            r#"{"fault": "new-field", "times": "unlimited"}"#,
        ),
        ALL,
    )
    .harmless(),
    LastingFault::at(
        cleared(
            "all calls blocked by the network",
            r#"{"fault": "html-page", "status": 403, "times": "unlimited"}"#,
        ),
        ALL,
    )
    .repeated(),
    LastingFault::at(
        cleared(
            "all bodies empty",
            r#"{"fault": "empty-body", "times": "unlimited"}"#,
        ),
        ALL,
    ),
    LastingFault::at(
        Fault::new(
            "key revoked",
            r#"{"fault": "revoke-key", "key": "livekey", "on": true}"#,
        )
        .ended_by(r#"{"fault": "revoke-key", "key": "livekey", "on": false}"#),
        ALL,
    )
    .repeated(),
    LastingFault::at(
        Fault::new("banned for 5 s", r#"{"fault": "ban", "ms": 5000}"#).until_it_expires(),
        ALL,
    ),
    LastingFault::at(
        Fault::new(
            "weight used up",
            r#"{"fault": "exhaust-limit", "limit": "weight"}"#,
        )
        .until_it_expires(),
        ALL,
    )
    .repeated(),
    LastingFault::at(
        Fault::new(
            "orders of 10 s used up",
            r#"{"fault": "exhaust-limit", "limit": "orders-10s"}"#,
        )
        .until_it_expires(),
        ALL,
    )
    .repeated(),
    LastingFault::at(
        Fault::new(
            "orders of a minute used up",
            r#"{"fault": "exhaust-limit", "limit": "orders-1m"}"#,
        )
        .until_it_expires(),
        ALL,
    ),
    LastingFault::at(
        cleared(
            "overloaded",
            r#"{"fault": "overload", "times": "unlimited"}"#,
        ),
        ALL,
    ),
    LastingFault::at(
        cleared(
            "user events lost",
            r#"{"fault": "skip", "times": 9, "to": "user"}"#,
        ),
        ALL,
    )
    .harmless(),
    LastingFault::at(
        cleared(
            "user events with an unknown status",
            r#"{"fault": "other-value", "field": "X", "times": 9, "to": "user"}"#,
        ),
        &[Entered, Protected],
    )
    .harmless(),
    LastingFault::at(
        cleared(
            "user events without a status",
            r#"{"fault": "missing-field", "field": "X", "times": 9, "to": "user"}"#,
        ),
        &[Entered, Protected],
    )
    .harmless(),
    LastingFault::at(
        cleared(
            "types of user events swapped",
            r#"{"fault": "swapped-types", "times": 9, "to": "user"}"#,
        ),
        &[Entered, Protected],
    )
    .harmless(),
    LastingFault::at(
        cleared(
            "new fields in user events",
            r#"{"fault": "new-field", "times": 9, "to": "user"}"#,
        ),
        &[Entered],
    )
    .harmless(),
    LastingFault::at(
        cleared(
            "candles without a close",
            r#"{"fault": "missing-field", "field": "c", "times": 9, "to": "market"}"#,
        ),
        &[Protected],
    )
    .harmless(),
    LastingFault::at(
        cleared(
            "types of candles swapped",
            r#"{"fault": "swapped-types", "times": 9, "to": "market"}"#,
        ),
        &[Protected],
    )
    .harmless(),
    LastingFault::at(
        cleared(
            "candles missing",
            r#"{"fault": "missing-candle", "symbol": "BTCUSDT", "interval": "1m", "count": 2}"#,
        ),
        &[Protected],
    )
    .harmless(),
    LastingFault::at(
        cleared(
            "limits missing",
            r#"{"fault": "missing-headers", "times": "unlimited"}"#,
        ),
        &[Entered],
    )
    .harmless(),
];

macro_rules! faults_of_path {
    ($path:literal) => {
        [
            LastingFault::at(
                cleared(
                    concat!($path, " late"),
                    concat!(
                        r#"{"fault": "query-lag", "ms": 5000, "times": "unlimited", "path": ""#,
                        $path,
                        r#""}"#
                    ),
                ),
                &[Entered, Closing],
            ),
            LastingFault::at(
                cleared(
                    concat!($path, " empty"),
                    concat!(
                        r#"{"fault": "empty-answer", "times": "unlimited", "path": ""#,
                        $path,
                        r#""}"#
                    ),
                ),
                &[Protected, Entered],
            ),
        ]
    };
}

/// Late and empty answers of every query of the account.
pub(super) const OF_QUERIES: [[LastingFault; 2]; 12] = [
    faults_of_path!("/fapi/v1/order"),
    faults_of_path!("/fapi/v1/algoOrder"),
    faults_of_path!("/fapi/v1/openOrders"),
    faults_of_path!("/fapi/v1/openAlgoOrders"),
    faults_of_path!("/fapi/v1/allOrders"),
    faults_of_path!("/fapi/v1/allAlgoOrders"),
    faults_of_path!("/fapi/v1/userTrades"),
    faults_of_path!("/fapi/v1/income"),
    faults_of_path!("/fapi/v1/symbolConfig"),
    faults_of_path!("/fapi/v3/positionRisk"),
    faults_of_path!("/fapi/v3/balance"),
    faults_of_path!("/fapi/v2/account"),
];
