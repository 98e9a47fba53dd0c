//! Faults that a test arms: the table of all kinds, the armed ones, and which of them a call or a frame takes.

pub(crate) mod calls;
mod content;
pub(crate) mod distortion;
mod fields;
mod filter;
mod keys;
pub(crate) mod kinds;
mod lasting;
pub(crate) mod request;
mod trading;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::interval::Interval;
use filter::Filter;
use keys::Times;
pub(crate) use keys::{CallKey, FaultTarget, FrameKey};
use kinds::{Fault, Group};
use trading::{MissingCandle, RevokeKey};

/// Fields of the filters with their meanings.
pub(crate) const fn filter_fields() -> &'static [(&'static str, &'static str)] {
    &filter::FIELDS
}

/// What happens to a frame.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum FrameFault {
    Drop,
    Duplicate,
    Reorder,
}

/// A forced close: its number, so that each connection sees it once, its code, and its target.
pub(crate) type ForcedClose = (u64, Option<u16>, FaultTarget);

#[derive(Debug)]
struct Armed {
    id: u64,
    fault: Fault,
    filter: Filter,
    left: Times,
    ends_at: Option<Instant>,
}

#[derive(Debug, Default)]
struct State {
    last_id: u64,
    armed: Vec<Armed>,
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
            forced_closes: watch::Sender::new((0, None, FaultTarget::All)),
        }
    }
}

impl Faults {
    /// Arms a fault, in place of an armed one that it repeats or ends. `lasts` is a duration that the fault has of its
    /// own. Returns its id, or `None` if the fault ends another one or happens at once.
    pub(crate) fn arm(&self, fault: Fault, filter: Filter, lasts: Option<Duration>) -> Option<u64> {
        if let Fault::Close(close) = &fault {
            let to = close.to.unwrap_or(FaultTarget::All);
            self.forced_closes
                .send_modify(|closing| *closing = (closing.0 + 1, close.code, to));
        }
        let mut state = self.lock();
        state.armed.retain(|armed| !fault.replaces(&armed.fault));
        if fault.ends_others() || matches!(fault.kind().group, Group::Once | Group::State) {
            return None;
        }
        state.last_id += 1;
        let id = state.last_id;
        let ends_at = lasts.or(filter.lasts).map(|lasts| Instant::now() + lasts);
        let left = filter.times;
        state.armed.push(Armed {
            id,
            fault,
            filter,
            left,
            ends_at,
        });
        Some(id)
    }

    /// The armed faults as a client sees them.
    pub(crate) fn list(&self) -> Vec<Value> {
        self.lock().armed.iter().map(Armed::describe).collect()
    }

    /// Clears all faults.
    pub(crate) fn clear(&self) {
        self.lock().armed.clear();
    }

    /// Clears one fault; false if there is none with this id.
    pub(crate) fn clear_one(&self, id: u64) -> bool {
        let armed = &mut self.lock().armed;
        let before = armed.len();
        armed.retain(|a| a.id != id);
        armed.len() < before
    }

    /// Whether no fault is armed.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().armed.is_empty()
    }

    /// The first armed fault of a group for a call; decrements its count.
    pub(crate) fn take(&self, group: Group, call: &CallKey) -> Option<Fault> {
        self.take_first(|a| a.fault.kind().group == group && a.filter.selects_call(&a.fault, call))
    }

    /// All armed faults of content for a call; decrements their counts.
    pub(crate) fn take_content(&self, call: &CallKey) -> Vec<Fault> {
        self.take_all(|a| {
            a.fault.kind().group == Group::Content && a.filter.selects_call(&a.fault, call)
        })
    }

    /// What happens to a frame; `None` if it is sent as it is.
    pub(crate) fn take_frame_fault(&self, frame: &FrameKey) -> Option<FrameFault> {
        let taken = self
            .take_first(|a| a.fault.kind().group == Group::Stream && a.filter.selects_frame(frame));
        match taken? {
            Fault::DuplicateFrames(_) => Some(FrameFault::Duplicate),
            Fault::ReorderFrames(_) => Some(FrameFault::Reorder),
            _ => Some(FrameFault::Drop),
        }
    }

    /// All armed faults of content for a frame; decrements their counts.
    pub(crate) fn take_frame_content(&self, frame: &FrameKey) -> Vec<Fault> {
        self.take_all(|a| a.fault.kind().group == Group::Content && a.filter.selects_frame(frame))
    }

    fn take_first(&self, is_selected: impl Fn(&Armed) -> bool) -> Option<Fault> {
        let mut state = self.lock();
        let found = state.armed.iter_mut().find(|armed| is_selected(armed))?;
        let fault = found.take();
        state.armed.retain(Armed::is_left);
        Some(fault)
    }

    fn take_all(&self, is_selected: impl Fn(&Armed) -> bool) -> Vec<Fault> {
        let mut state = self.lock();
        let found = state.armed.iter_mut().filter(|armed| is_selected(armed));
        let faults = found.map(Armed::take).collect();
        state.armed.retain(Armed::is_left);
        faults
    }

    /// Whether all calls are answered with 503.
    pub(crate) fn is_maintenance(&self) -> bool {
        self.find(|fault| matches!(fault, Fault::Maintenance(_)).then_some(()))
            .is_some()
    }

    /// Offset of the clock shown to clients, in milliseconds.
    pub(crate) fn clock_skew_ms(&self) -> i64 {
        let skew = |fault: &Fault| match fault {
            Fault::ClockSkew(skew) => Some(skew.ms),
            _ => None,
        };
        self.find(skew).unwrap_or_default()
    }

    /// Whether this key is revoked.
    pub(crate) fn is_key_revoked(&self, key: &str) -> bool {
        let is_revoked = |fault: &Fault| match fault {
            Fault::RevokeKey(revoked) if revoked.key == key => Some(()),
            _ => None,
        };
        self.find(is_revoked).is_some()
    }

    /// Whether a limit of clients counts as used by a fault.
    pub(crate) fn is_limit_exhausted(&self) -> bool {
        self.find(|fault| matches!(fault, Fault::ExhaustLimit(_) | Fault::Ban(_)).then_some(()))
            .is_some()
    }

    /// The longest armed lag of queries; `None` without one.
    pub(crate) fn longest_query_lag(&self) -> Option<Duration> {
        let lag = |armed: &Armed| match &armed.fault {
            Fault::QueryLag(lag) => Some(Duration::from_millis(lag.ms.0)),
            _ => None,
        };
        self.lock().armed.iter().filter_map(lag).max()
    }

    /// Whether this candle is withheld.
    pub(crate) fn is_candle_hidden(
        &self,
        symbol: &str,
        interval: Interval,
        open_time: i64,
    ) -> bool {
        let is_hidden = |fault: &Fault| match fault {
            Fault::MissingCandle(missing) if missing.hides(symbol, interval, open_time) => Some(()),
            _ => None,
        };
        self.find(is_hidden).is_some()
    }

    /// Receiver that changes with each forced close.
    pub(crate) fn forced_closes(&self) -> watch::Receiver<ForcedClose> {
        self.forced_closes.subscribe()
    }

    fn find<T>(&self, read: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        self.lock()
            .armed
            .iter()
            .find_map(|armed| read(&armed.fault))
    }

    /// The state without the faults whose time is over.
    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.armed.iter().any(|armed| armed.ends_at.is_some()) {
            let now = Instant::now();
            state
                .armed
                .retain(|armed| armed.ends_at.is_none_or(|end| end > now));
        }
        state
    }
}

impl Armed {
    /// The fault; one time fewer is left.
    fn take(&mut self) -> Fault {
        if let Times::AtMost(left) = &mut self.left {
            *left = left.saturating_sub(1);
        }
        self.fault.clone()
    }

    fn is_left(&self) -> bool {
        self.left != Times::AtMost(0)
    }

    fn describe(&self) -> Value {
        let mut view = self.fault.describe();
        self.filter.describe(&mut view);
        view["id"] = json!(self.id);
        view["times"] = match self.left {
            Times::AtMost(left) => json!(left),
            Times::Unlimited => json!("unlimited"),
        };
        if let Some(end) = self.ends_at {
            let left = end.saturating_duration_since(Instant::now());
            view["ends_in_ms"] = json!(left.as_millis());
        }
        view
    }
}

impl Fault {
    /// Whether the fault takes the place of an armed one.
    fn replaces(&self, armed: &Self) -> bool {
        match (self, armed) {
            (Self::Mute(_), Self::Mute(_))
            | (Self::Maintenance(_), Self::Maintenance(_))
            | (Self::ClockSkew(_), Self::ClockSkew(_))
            | (Self::Ban(_), Self::Ban(_)) => true,
            (Self::RevokeKey(new), Self::RevokeKey(old)) => new.key == old.key,
            (Self::ExhaustLimit(new), Self::ExhaustLimit(old)) => new.limit == old.limit,
            (Self::RejectTriggers(new), Self::RejectTriggers(old)) => new.account == old.account,
            (Self::MissingCandle(new), Self::MissingCandle(old)) => {
                new.count == 0 && (&new.symbol, &new.interval) == (&old.symbol, &old.interval)
            }
            _ => false,
        }
    }

    /// Whether the fault only ends others.
    fn ends_others(&self) -> bool {
        match self {
            Self::Mute(switch) | Self::Maintenance(switch) => !switch.on,
            Self::RevokeKey(RevokeKey { on, .. }) => !on,
            Self::ClockSkew(skew) => skew.ms == 0,
            Self::Ban(ban) => ban.ms.0 == 0,
            Self::RejectTriggers(triggers) => triggers.code.is_none(),
            Self::MissingCandle(MissingCandle { count, .. }) => *count == 0,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::kinds::KINDS;
    use super::request::parse;
    use super::*;

    fn arm(faults: &Faults, request: &str) -> Option<u64> {
        let (fault, filter) = parse(serde_json::from_str(request).unwrap()).unwrap();
        faults.arm(fault, filter, None)
    }

    fn call(method: &str, path: &str, symbol: Option<&str>) -> CallKey {
        CallKey {
            method: method.to_owned(),
            path: path.to_owned(),
            symbol: symbol.map(str::to_owned),
            is_reducing: false,
        }
    }

    fn rejection(request: &str) -> String {
        parse(serde_json::from_str(request).unwrap())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn armed_fault_hits_matching_calls_as_often_as_armed() {
        let faults = Faults::default();
        arm(
            &faults,
            r#"{"fault":"drop-response","method":"POST","path":"/fapi/v1/order","times":2}"#,
        );
        let take = |method| {
            let taken = faults.take(Group::Delivery, &call(method, "/fapi/v1/order", None));
            taken.is_some()
        };
        assert!(!take("GET"));
        assert!(take("POST") && take("POST") && !take("POST"));
        assert!(faults.is_empty());
    }

    #[test]
    fn symbol_and_group_select_calls_and_unlimited_faults_stay() {
        let faults = Faults::default();
        arm(
            &faults,
            r#"{"fault":"duplicate-rows","symbol":"BTCUSDT","times":"unlimited"}"#,
        );
        arm(&faults, r#"{"fault":"reverse-rows"}"#);
        let count = |symbol, method| {
            faults
                .take_content(&call(method, "/fapi/v1/userTrades", symbol))
                .len()
        };
        assert_eq!(
            count(Some("BTCUSDT"), "POST"),
            0,
            "rows are of queries only"
        );
        assert_eq!(count(Some("BTCUSDT"), "GET"), 2);
        assert_eq!(count(Some("BTCUSDT"), "GET"), 1);
        assert_eq!(count(None, "GET"), 0);
        assert_eq!(faults.list()[0]["times"], "unlimited");
    }

    #[test]
    fn frame_faults_apply_to_the_targeted_frames() {
        let faults = Faults::default();
        arm(&faults, r#"{"fault":"duplicate","to":"user"}"#);
        arm(&faults, r#"{"fault":"skip","event":"kline"}"#);
        let frame = |is_user, event: &str| FrameKey {
            is_user,
            event: Some(event.to_owned()),
            symbol: None,
        };
        assert_eq!(faults.take_frame_fault(&frame(false, "bookTicker")), None);
        let user = frame(true, "ORDER_TRADE_UPDATE");
        assert_eq!(faults.take_frame_fault(&user), Some(FrameFault::Duplicate));
        assert_eq!(faults.take_frame_fault(&user), None);
        assert_eq!(
            faults.take_frame_fault(&frame(false, "kline")),
            Some(FrameFault::Drop)
        );
        arm(&faults, r#"{"fault":"mute","on":true}"#);
        for _ in 0..3 {
            assert_eq!(faults.take_frame_fault(&user), Some(FrameFault::Drop));
        }
        arm(&faults, r#"{"fault":"mute","on":false}"#);
        assert_eq!(faults.take_frame_fault(&user), None);
    }

    #[test]
    fn lasting_faults_are_listed_once_and_end() {
        let faults = Faults::default();
        for ms in [5, 7] {
            arm(
                &faults,
                &json!({"fault": "clock-skew", "ms": ms}).to_string(),
            );
        }
        assert_eq!((faults.clock_skew_ms(), faults.list().len()), (7, 1));
        arm(&faults, r#"{"fault":"clock-skew","ms":0}"#);
        let id = arm(&faults, r#"{"fault":"empty-answer","for_ms":1}"#).unwrap();
        assert!(faults.list().is_empty() || faults.clear_one(id));
        std::thread::sleep(Duration::from_millis(5));
        assert!(faults.is_empty() && !faults.clear_one(id));
    }

    #[test]
    fn each_fault_of_the_table_is_armed_by_its_example_and_listed_with_its_fields() {
        for kind in KINDS {
            let request: Value = serde_json::from_str(kind.example).unwrap();
            let (fault, filter) = parse(request.as_object().unwrap().clone())
                .unwrap_or_else(|error| panic!("{}: {error}", kind.name));
            assert_eq!(fault.kind().name, kind.name);
            let listed = fault.describe();
            let known: BTreeSet<&str> = kind.fields.iter().map(|(name, _)| *name).collect();
            let shown = listed.as_object().unwrap().keys();
            for field in shown.filter(|field| *field != "fault") {
                assert!(
                    known.contains(field.as_str()),
                    "{}: {field} has no meaning",
                    kind.name
                );
            }
            let faults = Faults::default();
            if let Some(id) = faults.arm(fault, filter, None) {
                assert_eq!(faults.list()[0]["id"], id);
            }
        }
    }

    #[test]
    fn each_documented_field_is_read() {
        for kind in KINDS {
            for (field, _) in kind.fields {
                let mut request: Value = serde_json::from_str(kind.example).unwrap();
                request[*field] = json!({"no": ["such", "value"]});
                let read = parse(request.as_object().unwrap().clone());
                // Two fields take any JSON.
                let takes_any = matches!(*field, "value" | "body");
                assert!(read.is_err() != takes_any, "{} {field}", kind.name);
            }
        }
    }

    #[test]
    fn each_rejection_names_the_field_the_value_and_what_is_expected() {
        for (request, text) in [
            (
                r#"{"fault":"delay","ms":"long"}"#,
                r#"ms="long": expected a whole number from 0 to 3600000"#,
            ),
            (
                r#"{"fault":"delay","ms":-1}"#,
                "ms=-1: expected a whole number from 0 to 3600000",
            ),
            (
                r#"{"fault":"delay"}"#,
                "ms is not set: expected wall time in milliseconds, at most an hour",
            ),
            (
                r#"{"fault":"delay","ms":1,"colour":"red"}"#,
                r#"colour="red": expected one of ms, when, method, path, symbol, times, for_ms"#,
            ),
            (
                r#"{"fault":"delay","ms":1,"when":"never"}"#,
                r#"when="never": expected before or after"#,
            ),
            (
                r#"{"fault":"delay","ms":1,"method":"PATCH"}"#,
                r#"method="PATCH": expected GET, POST, PUT or DELETE"#,
            ),
            (
                r#"{"fault":"delay","ms":1,"times":0}"#,
                r#"times=0: expected a whole number from 1 to 1000000, or "unlimited""#,
            ),
            (
                r#"{"fault":"delay","ms":1,"path":"order"}"#,
                r#"path="order": expected a path such as /fapi/v1/order"#,
            ),
            (
                r#"{"fault":"skip","to":"everyone"}"#,
                r#"to="everyone": expected user, market or all"#,
            ),
            (
                r#"{"fault":"mute","on":"yes"}"#,
                r#"on="yes": expected a boolean"#,
            ),
            (
                r#"{"fault":"maintenance","on":true,"times":2}"#,
                "times=2: expected one of on",
            ),
        ] {
            assert_eq!(rejection(request), text);
        }
        assert!(
            rejection(r#"{"fault":"fly"}"#).starts_with(r#"fault="fly": expected one of delay, "#)
        );
        assert!(rejection("{}").starts_with("fault=null: expected one of "));
    }
}
