//! Orders on a real exchange: what is asked for, what is known of it, what the exchange says. Pure
//! words; what a book does about them is `book/live`.
//!
//! An order's life, by what the journal holds of it:
//!
//! | fate | answer: working | done | refused | unclear | not found |
//! | --- | --- | --- | --- | --- | --- |
//! | intended | `OrderWorking` | `OrderDone` | `OrderGone` | `OrderUnclear` | as unclear |
//! | unclear | `OrderWorking` | `OrderDone` | `OrderGone` | - | `OrderGone`, once the exchange can no longer take it |
//! | working | - | `OrderDone`, or `OrderGone` if nothing was filled | - | - | `OrderUnclear` |
//! | done, gone | - | - | - | - | - |
//!
//! An intended order becomes unclear when another process takes the book over: it may have been sent.

mod id;
mod order;
mod report;

pub(crate) use id::LAST_ATTEMPT;
pub use id::{BadDeployment, ClientId, Deployment};
pub use order::{Fate, Kind, Leg, Order, Tracked, Way};
pub use report::{Answer, Costs, Fill, OpenOrder, Payment, Report, View};
