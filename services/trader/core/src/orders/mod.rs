//! Orders on a real exchange: what is asked for, what is known of it, what the exchange says. Pure
//! words; what a book does about them is `book/live`.
//!
//! An order's life, by what the journal holds of it:
//!
//! | fate | answer: working | done | refused | unclear | not found |
//! | --- | --- | --- | --- | --- | --- |
//! | intended | `OrderAccepted` | `OrderFilled` | `OrderClosedUnfilled` | `OrderOutcomeUnknown` | as unclear |
//! | unclear | `OrderAccepted` | `OrderFilled` | `OrderClosedUnfilled` | - | `OrderClosedUnfilled`, once the exchange can no longer take it |
//! | working | - | `OrderFilled`, or `OrderClosedUnfilled` if nothing was filled | - | - | `OrderOutcomeUnknown` |
//! | done, gone | - | - | - | - | - |
//!
//! An intended order becomes unclear when another process takes the book over: it may have been sent.

mod client_order_id;
mod execution_report;
mod order;

pub(crate) use client_order_id::MAX_ATTEMPT;
pub use client_order_id::{ClientOrderId, InstallationId, InvalidInstallationId};
pub use execution_report::{
    ExchangeView, ExecutionReport, Fill, FillCosts, FundingPayment, OpenOrder, OrderCallOutcome,
};
pub use order::{Leg, Order, OrderSide, OrderStatus, OrderType, TrackedOrder};
