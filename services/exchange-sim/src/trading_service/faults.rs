//! Faults that a test arms: kinds, targets and remaining count.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::interval::Interval;

/// A fault of the next calls of a method and path; `None` means any.
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
    /// The call is executed but never answered: the connection stays open.
    DropResponse,
    /// The call is executed; the connection is cut instead of a response.
    CutConnection,
    /// The call is executed and answered later.
    Delay { ms: u64 },
    /// The call fails and is not executed.
    FailBefore { status: u16, code: i32 },
    /// The call is executed, and answered as if it had failed.
    FailAfter { status: u16, code: i32 },
    /// The order fills only half at once.
    PartialFill,
}

/// A fault that lasts until it is cleared, or that happens at once.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub(crate) enum ActiveFault {
    /// All calls are answered with 503.
    Maintenance { on: bool },
    /// The clock shown to clients, and used to check their timestamps, is off by this time.
    ClockSkew { ms: i64 },
    /// Streams stay open but send nothing.
    Mute { on: bool, to: Option<FaultTarget> },
    /// Streams are closed with this code; without a code they are cut.
    Close {
        code: Option<u16>,
        to: Option<FaultTarget>,
    },
    /// The next frames are sent twice.
    Duplicate { times: u32, to: Option<FaultTarget> },
    /// The next frames are swapped with their successors.
    Reorder { times: u32, to: Option<FaultTarget> },
    /// An API key is revoked for all calls, or restored.
    RevokeKey { key: String, on: bool },
    /// Candles of a contract and interval are withheld, from REST and streams: this many from an open time on, or
    /// from the open one. Zero restores all.
    MissingCandle {
        symbol: String,
        interval: String,
        from: Option<i64>,
        count: u32,
    },
    /// The exchange liquidates a position at once.
    Liquidate { account: String, symbol: String },
    /// Conditional orders of an account are rejected with this code when triggered; without a code no longer.
    RejectTriggers { account: String, code: Option<i32> },
    /// Filters of a contract change.
    Filter {
        symbol: String,
        tick: Option<Decimal>,
        step: Option<Decimal>,
        min_quantity: Option<Decimal>,
        notional: Option<Decimal>,
        trading: Option<bool>,
    },
}

/// Target connections of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FaultTarget {
    /// Connections with a user stream.
    User,
    /// All other connections.
    Market,
}

/// What happens to a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameFault {
    None,
    Drop,
    Duplicate,
    Reorder,
}

/// Withheld candles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MissingCandles {
    pub(crate) symbol: String,
    pub(crate) interval: Interval,
    /// Range of open times.
    pub(crate) open_times: Range<i64>,
}

/// A forced close: its number, so that each connection sees it once, and its kind.
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

/// All armed faults.
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
    /// Arms a fault of the next calls.
    pub(crate) fn arm(&self, armed: ArmedFault) {
        self.lock().armed.push(armed);
    }

    /// The armed faults.
    pub(crate) fn armed(&self) -> Vec<ArmedFault> {
        self.lock().armed.clone()
    }

    /// Clears all faults.
    pub(crate) fn clear(&self) {
        *self.lock() = State::default();
    }

    /// The fault of this call; decrements its count. Partial fills are queried separately.
    pub(crate) fn take_call_fault(&self, method: &str, path: &str) -> Option<CallFault> {
        self.take_matching(|a| a.fault != CallFault::PartialFill && a.matches(method, path))
    }

    /// Whether the next order fills only half at once.
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

    /// Arms a lasting fault; returns faults that concern accounts, contracts or the market.
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

    /// Whether all calls are answered with 503.
    pub(crate) fn is_maintenance(&self) -> bool {
        self.lock().maintenance
    }

    /// Offset of the clock shown to clients, in milliseconds.
    pub(crate) fn clock_skew_ms(&self) -> i64 {
        self.lock().clock_skew_ms
    }

    /// Whether this key is revoked.
    pub(crate) fn is_key_revoked(&self, key: &str) -> bool {
        self.lock().revoked_keys.contains(key)
    }

    /// Withholds these candles; an empty range restores all candles of the contract and interval.
    pub(crate) fn hide_candles(&self, missing: MissingCandles) {
        let holes = &mut self.lock().missing_candles;
        if missing.open_times.is_empty() {
            holes.retain(|h| (&h.symbol, h.interval) != (&missing.symbol, missing.interval));
        } else {
            holes.push(missing);
        }
    }

    /// Whether this candle is withheld.
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

    /// Receiver that changes with each forced close.
    pub(crate) fn forced_closes(&self) -> watch::Receiver<ForcedClose> {
        self.forced_closes.subscribe()
    }

    /// What happens to the next frame of a connection of this kind.
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

/// Whether a connection is a target.
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
