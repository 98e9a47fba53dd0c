//! The steps of a live position's life, each known by the call that it is made with, and what may become of
//! the trader at one.

use crate::exchange::Exchange;

/// Ordinary orders.
pub const ORDER: &str = "/fapi/v1/order";
/// Conditional ones.
pub const ALGO: &str = "/fapi/v1/algoOrder";
const TRADES: &str = "/fapi/v1/userTrades";
const INCOME: &str = "/fapi/v1/income";

/// Who brings a step about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The market: it brings the entry, and moves to stop or target.
    Market,
    /// A person who closes everything, once the position is guarded.
    Person,
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
    pub by: By,
}

const fn step(by: By, name: &'static str, call: (&'static str, &'static str), skip: usize) -> Step {
    let (method, path) = call;
    Step {
        name,
        method,
        path,
        skip,
        by,
    }
}

/// Every step: first a position that the market closes, then one that a person closes.
pub const STEPS: [Step; 11] = [
    step(By::Market, "entry", ("POST", ORDER), 0),
    step(By::Market, "stop", ("POST", ALGO), 0),
    step(By::Market, "target", ("POST", ALGO), 1),
    step(By::Market, "fees of the entry", ("GET", TRADES), 0),
    step(By::Market, "cancel of the other", ("DELETE", ALGO), 0),
    step(By::Market, "funding at the end", ("GET", INCOME), 0),
    step(By::Person, "exit", ("POST", ORDER), 0),
    step(By::Person, "fees of the exit", ("GET", TRADES), 0),
    step(By::Person, "cancel of the stop", ("DELETE", ALGO), 0),
    step(By::Person, "cancel of the target", ("DELETE", ALGO), 1),
    step(By::Person, "funding after the exit", ("GET", INCOME), 0),
];

/// What becomes of the trader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It lives.
    Never,
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
    pub begin: &'static str,
    /// What ends it, if it does not end by itself.
    pub end: Option<&'static str>,
}

impl Fault {
    /// Begins it.
    pub async fn begin(&self, exchange: &Exchange) {
        exchange
            .arm(&serde_json::from_str(self.begin).unwrap())
            .await;
    }

    /// Ends it.
    pub async fn end(&self, exchange: &Exchange) {
        if let Some(end) = self.end {
            exchange.arm(&serde_json::from_str(end).unwrap()).await;
        }
    }
}
