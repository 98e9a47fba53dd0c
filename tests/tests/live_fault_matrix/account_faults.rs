//! Faults of the account and of the contract, which last for a time or happen at once.

use bearish_tests::live::step::Fault;

use super::lasting_faults::PositionMoment::{BeforeEntry, Closing, Entered, Protected};
use super::lasting_faults::{LastingFault, cleared};

/// What changes for the account.
pub(super) const OF_ACCOUNT: [LastingFault; 15] = [
    LastingFault::at(
        Fault::new(
            "fees in BNB",
            r#"{"fault": "fee-asset", "account": "livekey", "asset": "BNB", "balance": "1"}"#,
        ),
        &[BeforeEntry],
    )
    .repeated()
    .trading(),
    LastingFault::at(
        Fault::new(
            "fees in BNB that is used up",
            r#"{"fault": "fee-asset", "account": "livekey", "asset": "BNB", "balance": "0.008"}"#,
        ),
        &[BeforeEntry],
    )
    .trading(),
    LastingFault::at(
        Fault::new(
            "fees in BNFCR",
            r#"{"fault": "fee-asset", "account": "livekey", "asset": "BNFCR", "balance": "100"}"#,
        ),
        &[BeforeEntry],
    )
    .repeated()
    .trading(),
    LastingFault::at(
        Fault::new(
            "fees in BNB from now on",
            r#"{"fault": "fee-asset", "account": "livekey", "asset": "BNB", "balance": "1"}"#,
        ),
        &[Protected, Closing],
    )
    .trading(),
    LastingFault::at(
        Fault::new("margin at an assumed price", r#"{"fault": "assumed-price", "percent": "0.05"}"#),
        &[BeforeEntry],
    )
    .trading(),
    LastingFault::at(
        Fault::new(
            "entry filled over minutes",
            r#"{"fault": "fill-schedule", "conditional": false, "parts": [{"after_ms": 0, "percent": 40},
                {"after_ms": 60000, "percent": 30}, {"after_ms": 60000, "percent": 30}]}"#,
        ),
        &[BeforeEntry],
    )
    .repeated()
    .trading(),
    LastingFault::at(
        Fault::new(
            "entry filled in part, then expired",
            r#"{"fault": "fill-schedule", "conditional": false, "parts": [{"after_ms": 0, "percent": 40}],
                "end": {"after_ms": 60000, "status": "EXPIRED"}}"#,
        ),
        &[BeforeEntry],
    )
    .repeated()
    .trading(),
    LastingFault::at(
        Fault::new(
            "stop filled over minutes",
            r#"{"fault": "fill-schedule", "conditional": true, "parts": [{"after_ms": 0, "percent": 40},
                {"after_ms": 60000, "percent": 30}, {"after_ms": 60000, "percent": 30}]}"#,
        ),
        &[Protected],
    )
    .repeated()
    .exited_by_stop(),
    LastingFault::at(
        Fault::new(
            "stop filled in part, then expired",
            r#"{"fault": "fill-schedule", "conditional": true, "parts": [{"after_ms": 0, "percent": 40}],
                "end": {"after_ms": 60000, "status": "EXPIRED"}}"#,
        ),
        &[Protected],
    )
    .repeated()
    .exited_by_stop(),
    LastingFault::at(
        Fault::new(
            "exit filled over minutes",
            r#"{"fault": "fill-schedule", "conditional": false, "parts": [{"after_ms": 0, "percent": 40},
                {"after_ms": 60000, "percent": 60}]}"#,
        ),
        &[Closing],
    )
    .repeated(),
    LastingFault::at(
        Fault::new("liquidated", r#"{"fault": "liquidate", "account": "livekey", "symbol": "BTCUSDT"}"#),
        &[Protected],
    )
    .repeated(),
    LastingFault::at(
        Fault::new(
            "deleveraged in part",
            r#"{"fault": "adl", "account": "livekey", "symbol": "BTCUSDT", "quantity": "0.1"}"#,
        ),
        &[Protected],
    )
    .repeated(),
    LastingFault::at(
        Fault::new("deleveraged", r#"{"fault": "adl", "account": "livekey", "symbol": "BTCUSDT"}"#),
        &[Protected],
    )
    .repeated(),
    LastingFault::at(
        Fault::new("funding early", r#"{"fault": "funding", "shift_ms": -15000}"#),
        &[BeforeEntry],
    )
    .over_funding(),
    LastingFault::at(
        Fault::new(
            "funding late, doubled and hidden",
            r#"{"fault": "funding", "shift_ms": 15000, "doubled": true, "hidden_ms": 30000}"#,
        ),
        &[BeforeEntry],
    )
    .over_funding(),
];

/// What changes for the contract.
pub(super) const OF_CONTRACT: [LastingFault; 13] = [
    LastingFault::at(
        cleared(
            "contract settling",
            r#"{"fault": "contract-status", "symbol": "BTCUSDT", "status": "SETTLING"}"#,
        ),
        &[Entered, Protected, Closing],
    )
    .repeated(),
    LastingFault::at(
        cleared(
            "contract closed to orders",
            r#"{"fault": "contract-status", "symbol": "BTCUSDT", "status": "CLOSE"}"#,
        ),
        &[Protected, Closing],
    )
    .ending_contract(),
    LastingFault::at(
        cleared(
            "contract settled",
            r#"{"fault": "settle", "symbol": "BTCUSDT"}"#,
        ),
        &[Protected],
    )
    .repeated()
    .ending_contract(),
    LastingFault::at(
        cleared(
            "contract unlisted",
            r#"{"fault": "unlist", "symbol": "BTCUSDT", "on": true}"#,
        ),
        &[Entered, Protected, Closing],
    )
    .repeated(),
    LastingFault::at(
        cleared(
            "mark price below",
            r#"{"fault": "mark-price", "symbol": "BTCUSDT", "percent": "-1.5"}"#,
        ),
        &[Entered, Protected],
    )
    .harmless(),
    LastingFault::at(
        cleared(
            "mark price above",
            r#"{"fault": "mark-price", "symbol": "BTCUSDT", "percent": "1.5"}"#,
        ),
        &[Protected],
    )
    .harmless(),
    LastingFault::at(
        Fault::new(
            "price gap",
            r#"{"fault": "price-gap", "symbol": "BTCUSDT", "percent": "-2"}"#,
        ),
        &[Entered, Protected],
    ),
    LastingFault::at(
        Fault::new(
            "price step changed",
            r#"{"fault": "filter", "symbol": "BTCUSDT", "tick": "5"}"#,
        ),
        &[Entered, Protected],
    )
    .repeated(),
    LastingFault::at(
        Fault::new(
            "one conditional order allowed",
            r#"{"fault": "filter", "symbol": "BTCUSDT", "max_algos": 1}"#,
        ),
        &[Entered],
    )
    .repeated()
    .exited_by_stop(),
    LastingFault::at(
        Fault::new(
            "largest quantity below the position",
            r#"{"fault": "filter", "symbol": "BTCUSDT", "max_quantity": "0.1"}"#,
        ),
        &[Closing],
    )
    .repeated(),
    LastingFault::at(
        Fault::new(
            "quantity step changed",
            r#"{"fault": "filter", "symbol": "BTCUSDT", "step": "0.01"}"#,
        ),
        &[BeforeEntry, Closing],
    ),
    LastingFault::at(
        cleared(
            "leverage brackets scaled",
            r#"{"fault": "brackets", "symbol": "BTCUSDT", "scale": "0.000005"}"#,
        ),
        &[BeforeEntry, Protected, Closing],
    )
    .repeated()
    .harmless(),
    LastingFault::at(
        Fault::new(
            "smallest value raised",
            r#"{"fault": "filter", "symbol": "BTCUSDT", "notional": "50000"}"#,
        ),
        &[Closing],
    ),
];
