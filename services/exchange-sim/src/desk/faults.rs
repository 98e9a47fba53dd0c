//! Faults that a test arms: what they are called, for whom they are meant, and how often they still
//! happen. Not here: how a call or a connection then fails (`rest/fault.rs`, `ws/connection.rs`).

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::interval::Interval;

/// A fault for the next calls of a method and path; not given means any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Armed {
    #[serde(flatten)]
    pub(crate) fault: CallFault,
    #[serde(default)]
    pub(crate) method: Option<String>,
    #[serde(default)]
    pub(crate) path: Option<String>,
    #[serde(default = "once")]
    pub(crate) times: u32,
}

/// How a call fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum CallFault {
    /// Carried out, never answered: the connection stays open and silent.
    Lost,
    /// Carried out, the connection is cut instead of an answer.
    Cut,
    /// Carried out, answered later.
    Delay { ms: u64 },
    /// Not carried out.
    Before { status: u16, code: i32 },
    /// Carried out, answered as if it had failed.
    After { status: u16, code: i32 },
    /// An order fills half.
    Partial,
}

/// A fault that stands until it is ended, or happens at once.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Standing {
    /// Every call is answered with 503.
    Maintenance { on: bool },
    /// The clock that clients are told, and judged by, is off by so much.
    Skew { ms: i64 },
    /// Streams stay open and say nothing.
    Silent { on: bool, to: Option<Audience> },
    /// Streams are closed with this code; without one they are cut.
    Close {
        code: Option<u16>,
        to: Option<Audience>,
    },
    /// The next frames are sent twice.
    Duplicate { times: u32, to: Option<Audience> },
    /// The next frames change places with those after them.
    Reorder { times: u32, to: Option<Audience> },
    /// An API key is valid no more, for any call; or it is again.
    Revoke { key: String, on: bool },
    /// A contract's candles of an interval are told to nobody, neither over REST nor on streams: so many from
    /// this open time on, or from the running one. None: all are told again.
    MissingCandle {
        symbol: String,
        interval: String,
        from: Option<i64>,
        count: u32,
    },
    /// The exchange closes an account's position at once, as if its margin were used up.
    Liquidate { account: String, symbol: String },
    /// An account's conditional orders are refused when triggered, with this code; without one not any more.
    RefuseTriggers { account: String, code: Option<i32> },
    /// A contract's filters change.
    Filter {
        symbol: String,
        tick: Option<Decimal>,
        step: Option<Decimal>,
        least: Option<Decimal>,
        notional: Option<Decimal>,
        trading: Option<bool>,
    },
}

/// Which connections are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Audience {
    /// Those with a user stream.
    User,
    /// All others.
    Market,
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameFate {
    Sent,
    Dropped,
    Twice,
    AfterTheNext,
}

/// Candles that are told to nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hole {
    pub(crate) symbol: String,
    pub(crate) interval: Interval,
    /// Open times.
    pub(crate) range: Range<i64>,
}

/// A closing: its number, so that each is seen once, and what it is.
pub(crate) type Closing = (u64, Option<u16>, Option<Audience>);

#[derive(Debug, Default)]
struct State {
    armed: Vec<Armed>,
    maintenance: bool,
    skew_ms: i64,
    silent: (bool, Option<Audience>),
    duplicate: (u32, Option<Audience>),
    reorder: (u32, Option<Audience>),
    revoked: BTreeSet<String>,
    holes: Vec<Hole>,
}

/// All faults.
#[derive(Debug)]
pub(crate) struct Faults {
    state: Mutex<State>,
    closings: watch::Sender<Closing>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            closings: watch::Sender::new((0, None, None)),
        }
    }
}

const fn once() -> u32 {
    1
}

impl Faults {
    /// Arms a fault for the next calls.
    pub(crate) fn arm(&self, armed: Armed) {
        self.lock().armed.push(armed);
    }

    /// What is armed.
    pub(crate) fn armed(&self) -> Vec<Armed> {
        self.lock().armed.clone()
    }

    /// Ends every fault.
    pub(crate) fn clear(&self) {
        *self.lock() = State::default();
    }

    /// The fault of this call, which so has happened once more. Half fills are asked for apart.
    pub(crate) fn take(&self, method: &str, path: &str) -> Option<CallFault> {
        self.find(|a| a.fault != CallFault::Partial && a.meant(method, path))
    }

    /// Whether the next order fills half.
    pub(crate) fn take_partial(&self) -> bool {
        self.find(|a| a.fault == CallFault::Partial).is_some()
    }

    fn find(&self, wanted: impl Fn(&Armed) -> bool) -> Option<CallFault> {
        let armed = &mut self.lock().armed;
        let index = armed.iter().position(wanted)?;
        let found = armed.get_mut(index)?;
        found.times = found.times.saturating_sub(1);
        let fault = found.fault.clone();
        if found.times == 0 {
            armed.remove(index);
        }
        Some(fault)
    }

    /// Takes a standing fault; those that concern accounts, contracts and the market are given back.
    pub(crate) fn stand(&self, fault: Standing) -> Option<Standing> {
        let mut state = self.lock();
        match fault {
            Standing::Maintenance { on } => state.maintenance = on,
            Standing::Skew { ms } => state.skew_ms = ms,
            Standing::Silent { on, to } => state.silent = (on, to),
            Standing::Duplicate { times, to } => state.duplicate = (times, to),
            Standing::Reorder { times, to } => state.reorder = (times, to),
            Standing::Revoke { key, on: true } => {
                state.revoked.insert(key);
            }
            Standing::Revoke { key, on: false } => {
                state.revoked.remove(&key);
            }
            Standing::Close { code, to } => {
                let close = |closing: &mut Closing| *closing = (closing.0 + 1, code, to);
                self.closings.send_modify(close);
            }
            other => return Some(other),
        }
        None
    }

    /// Whether nobody is served.
    pub(crate) fn maintenance(&self) -> bool {
        self.lock().maintenance
    }

    /// How far the clock is off for clients.
    pub(crate) fn skew_ms(&self) -> i64 {
        self.lock().skew_ms
    }

    /// Whether this key is valid no more.
    pub(crate) fn revoked(&self, key: &str) -> bool {
        self.lock().revoked.contains(key)
    }

    /// Tells these candles to nobody; an empty range tells all of its contract and interval again.
    pub(crate) fn hide(&self, hole: Hole) {
        let holes = &mut self.lock().holes;
        if hole.range.is_empty() {
            holes.retain(|h| (&h.symbol, h.interval) != (&hole.symbol, hole.interval));
        } else {
            holes.push(hole);
        }
    }

    /// Whether this candle is told to nobody.
    pub(crate) fn hides(&self, symbol: &str, interval: Interval, open_time: i64) -> bool {
        let within =
            |h: &Hole| h.symbol == symbol && h.interval == interval && h.range.contains(&open_time);
        self.lock().holes.iter().any(within)
    }

    /// Changes with every closing.
    pub(crate) fn closings(&self) -> watch::Receiver<Closing> {
        self.closings.subscribe()
    }

    /// What becomes of the next frame to such a connection.
    pub(crate) fn frame(&self, user: bool) -> FrameFate {
        let mut state = self.lock();
        if state.silent.0 && meant(state.silent.1, user) {
            return FrameFate::Dropped;
        }
        if use_up(&mut state.duplicate, user) {
            return FrameFate::Twice;
        }
        if use_up(&mut state.reorder, user) {
            return FrameFate::AfterTheNext;
        }
        FrameFate::Sent
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Armed {
    fn meant(&self, method: &str, path: &str) -> bool {
        let same = |wanted: &Option<String>, got| wanted.as_ref().is_none_or(|w| w == got);
        same(&self.method, method) && same(&self.path, path)
    }
}

/// Whether a connection is meant.
pub(crate) fn meant(to: Option<Audience>, user: bool) -> bool {
    to.is_none_or(|to| (to == Audience::User) == user)
}

fn use_up((times, to): &mut (u32, Option<Audience>), user: bool) -> bool {
    let happens = *times > 0 && meant(*to, user);
    if happens {
        *times -= 1;
    }
    happens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_happens_as_often_as_armed_and_only_where_it_is_meant() {
        let faults = Faults::default();
        let text = r#"{"do":"lost","method":"POST","path":"/fapi/v1/order","times":2}"#;
        faults.arm(serde_json::from_str(text).unwrap());
        assert_eq!(faults.take("GET", "/fapi/v1/order"), None);
        for _ in 0..2 {
            assert_eq!(faults.take("POST", "/fapi/v1/order"), Some(CallFault::Lost));
        }
        assert_eq!(faults.take("POST", "/fapi/v1/order"), None);
    }

    #[test]
    fn frames_meet_their_fate_by_connection() {
        let faults = Faults::default();
        let text = r#"{"do":"duplicate","times":1,"to":"user"}"#;
        assert_eq!(faults.stand(serde_json::from_str(text).unwrap()), None);
        assert_eq!(faults.frame(false), FrameFate::Sent);
        assert_eq!(faults.frame(true), FrameFate::Twice);
        assert_eq!(faults.frame(true), FrameFate::Sent);
        faults.stand(Standing::Silent { on: true, to: None });
        assert_eq!(faults.frame(true), FrameFate::Dropped);
        faults.clear();
        assert_eq!(faults.frame(true), FrameFate::Sent);
    }
}
