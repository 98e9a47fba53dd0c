//! Orders on a real exchange: the order as journaled, its status, and what the exchange reports. Decisions about orders
//! are in `book/execution`.
//!
//! The records that follow from the outcome of a call, by the status of the order:
//!
//! | status | open | ended | rejected | unknown | not found |
//! | --- | --- | --- | --- | --- | --- |
//! | intended | `OrderAccepted` | `OrderFilled`, or `OrderClosedUnfilled` without a fill | `OrderClosedUnfilled` | `OrderOutcomeUnknown` | `OrderOutcomeUnknown` |
//! | outcome unknown | `OrderAccepted` | as above | - | - | `OrderClosedUnfilled`, once the exchange can no longer accept the order |
//! | accepted | - | as above | - | - | `OrderOutcomeUnknown` |
//! | closed unfilled | `OrderAccepted` for a stop or target that was believed lost | - | - | - | - |
//! | filled | - | - | - | - | - |
//!
//! When the writer of the book changes, the outcome of an intended order becomes unknown: the last writer may have
//! submitted it.

mod client_order_id;
mod execution_report;
mod leg;
mod order;

pub(crate) use client_order_id::MAX_ATTEMPT;
pub use client_order_id::{ClientOrderId, InstallationId, InvalidInstallationId};
pub use execution_report::{
    AccountTrade, ExchangeView, ExecutionReport, Fill, FillCosts, FundingPayment, OpenOrder,
    OrderCallOutcome, WorkingStop,
};
pub use leg::{Leg, OrderSide};
pub use order::{Order, OrderStatus, OrderType, TrackedOrder};

/// Binance's code for a second order that closes the whole position in the same direction: another order has the place.
pub(crate) const PLACE_TAKEN: i64 = -4130;
