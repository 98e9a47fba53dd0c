//! The steps of a live position's life, each known by the call that it is made with, and what may become of
//! the trader at one.

use crate::exchange::Exchange;

/// Ordinary orders.
pub const ORDER: &str = "/fapi/v1/order";
/// Conditional ones.
pub const CONDITIONAL_ORDER: &str = "/fapi/v1/algoOrder";
const TRADES: &str = "/fapi/v1/userTrades";
const INCOME: &str = "/fapi/v1/income";

/// Who brings a step about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initiator {
    /// The market: it brings the entry, and moves to stop or target.
    Market,
    /// A person who closes everything, once the position is guarded.
    Operator,
}

/// A step: the call by which it is known, after how many others of its kind.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// In words.
    pub name: &'static str,
    /// The call's method.
    pub method: &'static str,
    /// The call's path.
    pub path: &'static str,
    /// Calls of this kind that come before.
    pub skip: usize,
    /// Who brings it about.
    pub initiator: Initiator,
}

const fn step(
    by: Initiator,
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
        initiator: by,
    }
}

/// Every step: first a position that the market closes, then one that a person closes.
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

/// What becomes of the trader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraderEnd {
    /// It lives.
    Survives,
    /// SIGKILL.
    Killed,
    /// SIGTERM: it ends in good order.
    Stopped,
}

/// A fault that the exchange has by itself, as `/sim/fault` takes it.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// In words.
    pub name: &'static str,
    /// What begins it.
    pub start_request: &'static str,
    /// What ends it, if it does not end by itself.
    pub end_request: Option<&'static str>,
}

impl Fault {
    /// Begins it.
    pub async fn start(&self, exchange: &Exchange) {
        exchange
            .arm_fault(&serde_json::from_str(self.start_request).unwrap())
            .await;
    }

    /// Ends it.
    pub async fn end(&self, exchange: &Exchange) {
        if let Some(end) = self.end_request {
            exchange
                .arm_fault(&serde_json::from_str(end).unwrap())
                .await;
        }
    }
}
