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
pub(crate) struct ArmedFault {
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
#[serde(tag = "fault", rename_all = "kebab-case")]
pub(crate) enum CallFault {
    /// Carried out, never answered: the connection stays open and silent.
    DropResponse,
    /// Carried out, the connection is cut instead of an answer.
    CutConnection,
    /// Carried out, answered later.
    Delay { ms: u64 },
    /// Not carried out.
    FailBefore { status: u16, code: i32 },
    /// Carried out, answered as if it had failed.
    FailAfter { status: u16, code: i32 },
    /// An order fills half.
    PartialFill,
}

/// A fault that stands until it is ended, or happens at once.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub(crate) enum ActiveFault {
    /// Every call is answered with 503.
    Maintenance { on: bool },
    /// The clock that clients are told, and judged by, is off by so much.
    ClockSkew { ms: i64 },
    /// Streams stay open and say nothing.
    Mute { on: bool, to: Option<FaultTarget> },
    /// Streams are closed with this code; without one they are cut.
    Close {
        code: Option<u16>,
        to: Option<FaultTarget>,
    },
    /// The next frames are sent twice.
    Duplicate { times: u32, to: Option<FaultTarget> },
    /// The next frames change places with those after them.
    Reorder { times: u32, to: Option<FaultTarget> },
    /// An API key is valid no more, for any call; or it is again.
    RevokeKey { key: String, on: bool },
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
    RejectTriggers { account: String, code: Option<i32> },
    /// A contract's filters change.
    Filter {
        symbol: String,
        tick: Option<Decimal>,
        step: Option<Decimal>,
        min_quantity: Option<Decimal>,
        notional: Option<Decimal>,
        trading: Option<bool>,
    },
}

/// Which connections are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FaultTarget {
    /// Those with a user stream.
    User,
    /// All others.
    Market,
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameFault {
    None,
    Drop,
    Duplicate,
    Reorder,
}

/// Candles that are told to nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MissingCandles {
    pub(crate) symbol: String,
    pub(crate) interval: Interval,
    /// Open times.
    pub(crate) open_times: Range<i64>,
}

/// A closing: its number, so that each is seen once, and what it is.
pub(crate) type ForcedClose = (u64, Option<u16>, Option<FaultTarget>);

#[derive(Debug, Default)]
struct State {
    armed: Vec<ArmedFault>,
    maintenance: bool,
    clock_skew_ms: i64,
    mute: (bool, Option<FaultTarget>),
    duplicate: (u32, Option<FaultTarget>),
    reorder: (u32, Option<FaultTarget>),
    revoked_keys: BTreeSet<String>,
    missing_candles: Vec<MissingCandles>,
}

/// All faults.
#[derive(Debug)]
pub(crate) struct Faults {
    state: Mutex<State>,
    forced_closes: watch::Sender<ForcedClose>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            forced_closes: watch::Sender::new((0, None, None)),
        }
    }
}

const fn once() -> u32 {
    1
}

impl Faults {
    /// Arms a fault for the next calls.
    pub(crate) fn arm(&self, armed: ArmedFault) {
        self.lock().armed.push(armed);
    }

    /// What is armed.
    pub(crate) fn armed(&self) -> Vec<ArmedFault> {
        self.lock().armed.clone()
    }

    /// Ends every fault.
    pub(crate) fn clear(&self) {
        *self.lock() = State::default();
    }

    /// The fault of this call, which so has happened once more. Half fills are asked for apart.
    pub(crate) fn take_call_fault(&self, method: &str, path: &str) -> Option<CallFault> {
        self.take_matching(|a| a.fault != CallFault::PartialFill && a.matches(method, path))
    }

    /// Whether the next order fills half.
    pub(crate) fn take_partial_fill(&self) -> bool {
        self.take_matching(|a| a.fault == CallFault::PartialFill)
            .is_some()
    }

    fn take_matching(&self, matches: impl Fn(&ArmedFault) -> bool) -> Option<CallFault> {
        let armed = &mut self.lock().armed;
        let index = armed.iter().position(matches)?;
        let found = armed.get_mut(index)?;
        found.times = found.times.saturating_sub(1);
        let fault = found.fault.clone();
        if found.times == 0 {
            armed.remove(index);
        }
        Some(fault)
    }

    /// Takes a standing fault; those that concern accounts, contracts and the market are given back.
    pub(crate) fn activate(&self, fault: ActiveFault) -> Option<ActiveFault> {
        let mut state = self.lock();
        match fault {
            ActiveFault::Maintenance { on } => state.maintenance = on,
            ActiveFault::ClockSkew { ms } => state.clock_skew_ms = ms,
            ActiveFault::Mute { on, to } => state.mute = (on, to),
            ActiveFault::Duplicate { times, to } => state.duplicate = (times, to),
            ActiveFault::Reorder { times, to } => state.reorder = (times, to),
            ActiveFault::RevokeKey { key, on: true } => {
                state.revoked_keys.insert(key);
            }
            ActiveFault::RevokeKey { key, on: false } => {
                state.revoked_keys.remove(&key);
            }
            ActiveFault::Close { code, to } => {
                let close = |closing: &mut ForcedClose| *closing = (closing.0 + 1, code, to);
                self.forced_closes.send_modify(close);
            }
            other => return Some(other),
        }
        None
    }

    /// Whether nobody is served.
    pub(crate) fn is_maintenance(&self) -> bool {
        self.lock().maintenance
    }

    /// How far the clock is off for clients.
    pub(crate) fn clock_skew_ms(&self) -> i64 {
        self.lock().clock_skew_ms
    }

    /// Whether this key is valid no more.
    pub(crate) fn is_key_revoked(&self, key: &str) -> bool {
        self.lock().revoked_keys.contains(key)
    }

    /// Tells these candles to nobody; an empty range tells all of its contract and interval again.
    pub(crate) fn hide_candles(&self, missing: MissingCandles) {
        let holes = &mut self.lock().missing_candles;
        if missing.open_times.is_empty() {
            holes.retain(|h| (&h.symbol, h.interval) != (&missing.symbol, missing.interval));
        } else {
            holes.push(missing);
        }
    }

    /// Whether this candle is told to nobody.
    pub(crate) fn is_candle_hidden(
        &self,
        symbol: &str,
        interval: Interval,
        open_time: i64,
    ) -> bool {
        let within = |h: &MissingCandles| {
            h.symbol == symbol && h.interval == interval && h.open_times.contains(&open_time)
        };
        self.lock().missing_candles.iter().any(within)
    }

    /// Changes with every closing.
    pub(crate) fn forced_closes(&self) -> watch::Receiver<ForcedClose> {
        self.forced_closes.subscribe()
    }

    /// What becomes of the next frame to such a connection.
    pub(crate) fn next_frame_fault(&self, is_user: bool) -> FrameFault {
        let mut state = self.lock();
        if state.mute.0 && is_targeted(state.mute.1, is_user) {
            return FrameFault::Drop;
        }
        if take_one(&mut state.duplicate, is_user) {
            return FrameFault::Duplicate;
        }
        if take_one(&mut state.reorder, is_user) {
            return FrameFault::Reorder;
        }
        FrameFault::None
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ArmedFault {
    fn matches(&self, method: &str, path: &str) -> bool {
        let same = |wanted: &Option<String>, got| wanted.as_ref().is_none_or(|w| w == got);
        same(&self.method, method) && same(&self.path, path)
    }
}

/// Whether a connection is meant.
pub(crate) fn is_targeted(to: Option<FaultTarget>, user: bool) -> bool {
    to.is_none_or(|to| (to == FaultTarget::User) == user)
}

fn take_one((times, to): &mut (u32, Option<FaultTarget>), user: bool) -> bool {
    let happens = *times > 0 && is_targeted(*to, user);
    if happens {
        *times -= 1;
    }
    happens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn armed_fault_hits_matching_calls_as_often_as_armed() {
        let faults = Faults::default();
        let text = r#"{"fault":"drop-response","method":"POST","path":"/fapi/v1/order","times":2}"#;
        faults.arm(serde_json::from_str(text).unwrap());
        assert_eq!(faults.take_call_fault("GET", "/fapi/v1/order"), None);
        for _ in 0..2 {
            assert_eq!(
                faults.take_call_fault("POST", "/fapi/v1/order"),
                Some(CallFault::DropResponse)
            );
        }
        assert_eq!(faults.take_call_fault("POST", "/fapi/v1/order"), None);
    }

    #[test]
    fn frame_faults_apply_to_the_targeted_connections() {
        let faults = Faults::default();
        let text = r#"{"fault":"duplicate","times":1,"to":"user"}"#;
        assert_eq!(faults.activate(serde_json::from_str(text).unwrap()), None);
        assert_eq!(faults.next_frame_fault(false), FrameFault::None);
        assert_eq!(faults.next_frame_fault(true), FrameFault::Duplicate);
        assert_eq!(faults.next_frame_fault(true), FrameFault::None);
        faults.activate(ActiveFault::Mute { on: true, to: None });
        assert_eq!(faults.next_frame_fault(true), FrameFault::Drop);
        faults.clear();
        assert_eq!(faults.next_frame_fault(true), FrameFault::None);
    }
}
