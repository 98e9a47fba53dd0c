//! The steps of a live position's life, each identified by its call to the exchange, and the ways in which a
//! trader or an exchange can fail at a step.

use std::time::Duration;

use crate::exchange::Exchange;
use crate::wait::eventually;

/// Longest time after which a fault expires: the window of a limit is a minute.
const LONGEST_FAULT: Duration = Duration::from_secs(70);

/// Path of ordinary orders.
pub const ORDER: &str = "/fapi/v1/order";
/// Path of conditional orders.
pub const CONDITIONAL_ORDER: &str = "/fapi/v1/algoOrder";
/// Path of the account's fills.
pub const TRADES: &str = "/fapi/v1/userTrades";
/// Path of the account's income: fees, profit and funding.
pub const INCOME: &str = "/fapi/v1/income";

/// What triggers a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initiator {
    /// The market: it triggers the entry, and moves to stop or target.
    Market,
    /// The operator, who flattens the account once the position has its protective orders.
    Operator,
}

/// A step, identified by its call and by the number of equal calls before it.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Description in test output.
    pub name: &'static str,
    /// HTTP method of the call.
    pub method: &'static str,
    /// Path of the call.
    pub path: &'static str,
    /// Number of calls with this method and path that come before.
    pub skip: usize,
    /// What triggers the step.
    pub initiator: Initiator,
}

const fn step(
    initiator: Initiator,
    name: &'static str,
    call: (&'static str, &'static str),
    skip: usize,
) -> Step {
    let (method, path) = call;
    Step {
        name,
        method,
        path,
        skip,
        initiator,
    }
}

/// All steps: first of a position that the market closes, then of one that the operator closes.
pub const STEPS: [Step; 11] = [
    step(Initiator::Market, "entry", ("POST", ORDER), 0),
    step(Initiator::Market, "stop", ("POST", CONDITIONAL_ORDER), 0),
    step(Initiator::Market, "target", ("POST", CONDITIONAL_ORDER), 1),
    step(Initiator::Market, "fees of the entry", ("GET", TRADES), 0),
    step(
        Initiator::Market,
        "cancel of the other",
        ("DELETE", CONDITIONAL_ORDER),
        0,
    ),
    step(Initiator::Market, "funding at the end", ("GET", INCOME), 0),
    step(Initiator::Operator, "exit", ("POST", ORDER), 0),
    step(Initiator::Operator, "fees of the exit", ("GET", TRADES), 0),
    step(
        Initiator::Operator,
        "cancel of the stop",
        ("DELETE", CONDITIONAL_ORDER),
        0,
    ),
    step(
        Initiator::Operator,
        "cancel of the target",
        ("DELETE", CONDITIONAL_ORDER),
        1,
    ),
    step(
        Initiator::Operator,
        "funding after the exit",
        ("GET", INCOME),
        0,
    ),
];

/// How the trader ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraderEnd {
    /// It continues to run.
    Survives,
    /// It is killed with SIGKILL.
    Killed,
    /// It receives SIGTERM and shuts down gracefully.
    Stopped,
}

/// How a fault ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultEnd {
    /// It happens at once or so many times, or it lasts.
    ByItself,
    /// By itself, after a time that the exchange states.
    Expires,
    /// With this request.
    Request(&'static str),
    /// When all faults of the exchange are cleared.
    Cleared,
}

/// A fault of the exchange, as requests to `/sim/fault`.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// Description in test output.
    pub name: &'static str,
    /// Request that starts the fault.
    pub start_request: &'static str,
    /// How it ends.
    pub end: FaultEnd,
}

impl Fault {
    /// A fault that ends by itself.
    pub const fn new(name: &'static str, start_request: &'static str) -> Self {
        Self {
            name,
            start_request,
            end: FaultEnd::ByItself,
        }
    }

    /// The fault, which this request ends.
    #[must_use]
    pub const fn ended_by(self, end_request: &'static str) -> Self {
        Self {
            end: FaultEnd::Request(end_request),
            ..self
        }
    }

    /// The fault, which lasts as long as the exchange says.
    #[must_use]
    pub const fn until_it_expires(self) -> Self {
        Self {
            end: FaultEnd::Expires,
            ..self
        }
    }

    /// The fault, which lasts until all faults are cleared.
    #[must_use]
    pub const fn until_cleared(self) -> Self {
        Self {
            end: FaultEnd::Cleared,
            ..self
        }
    }

    /// Starts the fault on the exchange.
    pub async fn start(&self, exchange: &Exchange) {
        exchange
            .arm_fault(&serde_json::from_str(self.start_request).unwrap())
            .await;
    }

    /// Ends the fault, or waits until it has expired.
    pub async fn end(&self, exchange: &Exchange) {
        match self.end {
            FaultEnd::ByItself => {}
            FaultEnd::Expires => {
                eventually("the fault expires", LONGEST_FAULT, async || {
                    exchange.armed_faults().await.is_empty().then_some(())
                })
                .await;
            }
            FaultEnd::Request(end) => {
                let end = serde_json::from_str(end).unwrap();
                exchange.arm_fault(&end).await;
            }
            FaultEnd::Cleared => exchange.clear_faults().await,
        }
    }
}
