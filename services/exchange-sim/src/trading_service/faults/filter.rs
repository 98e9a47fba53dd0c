//! Selects the calls and the frames that a fault hits, and how often.

use std::time::Duration;

use serde::Deserialize as _;
use serde_json::{Value, json};

use super::fields::{FieldError, Fields};
use super::keys::{CallKey, FaultTarget, FrameKey, Times};
use super::kinds::{Fault, FaultKind};

/// Fields of a filter with their meanings.
pub(super) const FIELDS: [(&str, &str); 7] = [
    ("method", "GET, POST, PUT or DELETE; any if not set"),
    (
        "path",
        "path of the call, such as /fapi/v1/order; any if not set",
    ),
    (
        "to",
        "user, market or all: the fault hits frames of these connections",
    ),
    (
        "event",
        "type of the event, such as ORDER_TRADE_UPDATE; any if not set",
    ),
    (
        "symbol",
        "symbol of the call's parameter or of the event; any if not set",
    ),
    ("times", "number of calls or frames, or \"unlimited\""),
    (
        "for_ms",
        "wall time in milliseconds after which the fault ends; without `times`, unlimited until then",
    ),
];

const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];
const MAX_TIMES: u64 = 1_000_000;
const MAX_FOR_MS: u64 = 3_600_000;

/// The calls and frames that a fault hits. `None` means any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    method: Option<String>,
    path: Option<String>,
    pub(super) symbol: Option<String>,
    /// `None` for a fault of calls.
    pub(super) to: Option<FaultTarget>,
    pub(super) event: Option<String>,
    pub(super) times: Times,
    pub(super) lasts: Option<Duration>,
}

impl Filter {
    /// Takes the filter's fields out of a request; `kind` says which of them are possible.
    pub(super) fn take(fields: &mut Fields, kind: &FaultKind) -> Result<Self, FieldError> {
        let group = kind.group;
        let is_of_stream =
            group.is_of_streams() && (fields.contains_key("to") || !group.is_of_calls());
        let mut filter = Self {
            method: None,
            path: None,
            symbol: None,
            to: is_of_stream.then_some(FaultTarget::All),
            event: None,
            times: kind.default_times(),
            lasts: None,
        };
        if is_of_stream {
            if let Some(to) = fields.remove("to").filter(|to| !to.is_null()) {
                let read = FaultTarget::deserialize(&to);
                filter.to = Some(read.map_err(|_| invalid("to", to, "user, market or all"))?);
            }
            filter.event = text(
                fields,
                "event",
                "a type of event, such as ORDER_TRADE_UPDATE",
                |_| true,
            )?;
        } else if group.is_of_calls() {
            filter.method = text(fields, "method", "GET, POST, PUT or DELETE", |m| {
                METHODS.contains(&m)
            })?;
            filter.path = text(fields, "path", "a path such as /fapi/v1/order", |p| {
                p.starts_with('/')
            })?;
        }
        if group.is_of_streams() || group.is_of_calls() {
            filter.symbol = text(fields, "symbol", "a symbol such as BTCUSDT", |_| true)?;
            let lasts = number(fields, "for_ms", MAX_FOR_MS)?;
            if lasts.is_some() {
                filter.lasts = lasts.map(Duration::from_millis);
                filter.times = Times::Unlimited;
            }
            filter.times = times(fields)?.unwrap_or(filter.times);
        }
        Ok(filter)
    }

    /// Names of the fields that are possible for a kind of fault.
    pub(super) fn names(kind: &FaultKind) -> impl Iterator<Item = &'static str> {
        let group = kind.group;
        FIELDS
            .into_iter()
            .map(|(name, _)| name)
            .filter(move |name| match *name {
                "method" | "path" => group.is_of_calls(),
                "to" | "event" => group.is_of_streams(),
                _ => group.is_of_calls() || group.is_of_streams(),
            })
    }

    /// Whether the filter selects a call.
    pub(super) fn selects_call(&self, fault: &Fault, call: &CallKey) -> bool {
        let is = |wanted: &Option<String>, got: &str| wanted.as_ref().is_none_or(|w| w == got);
        self.to.is_none()
            && is(&self.method, &call.method)
            && is(&self.path, &call.path)
            && (self.symbol.is_none() || self.symbol == call.symbol)
            && fault.can_happen_to(call)
    }

    /// Whether the filter selects a frame.
    pub(super) fn selects_frame(&self, frame: &FrameKey) -> bool {
        self.to.is_some_and(|to| to.includes(frame.is_user))
            && (self.event.is_none() || self.event == frame.event)
            && (self.symbol.is_none() || self.symbol == frame.symbol)
    }

    /// Adds the filter to the description of an armed fault.
    pub(super) fn describe(&self, view: &mut Value) {
        let set = [
            ("method", self.method.as_ref().map(|m| json!(m))),
            ("path", self.path.as_ref().map(|p| json!(p))),
            ("symbol", self.symbol.as_ref().map(|s| json!(s))),
            ("to", self.to.map(|to| json!(to))),
            ("event", self.event.as_ref().map(|e| json!(e))),
        ];
        for (name, value) in set {
            if let Some(value) = value {
                view[name] = value;
            }
        }
    }
}

fn invalid(field: &str, value: Value, expected: &str) -> FieldError {
    FieldError::Invalid {
        field: field.to_owned(),
        value,
        expected: expected.to_owned(),
    }
}

fn text(
    fields: &mut Fields,
    name: &str,
    expected: &str,
    is_possible: impl Fn(&str) -> bool,
) -> Result<Option<String>, FieldError> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if !text.is_empty() && is_possible(&text) => Ok(Some(text)),
        Some(other) => Err(invalid(name, other, expected)),
    }
}

fn number(fields: &mut Fields, name: &str, most: u64) -> Result<Option<u64>, FieldError> {
    let Some(value) = fields.remove(name).filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    match value.as_u64().filter(|number| (1..=most).contains(number)) {
        Some(number) => Ok(Some(number)),
        None => Err(invalid(
            name,
            value,
            &format!("a whole number from 1 to {most}"),
        )),
    }
}

fn times(fields: &mut Fields) -> Result<Option<Times>, FieldError> {
    if fields
        .get("times")
        .is_some_and(|times| times == "unlimited")
    {
        fields.remove("times");
        return Ok(Some(Times::Unlimited));
    }
    let times = number(fields, "times", MAX_TIMES).map_err(|error| match error {
        FieldError::Invalid {
            value, expected, ..
        } => invalid("times", value, &format!("{expected}, or \"unlimited\"")),
        missing @ FieldError::Missing { .. } => missing,
    })?;
    Ok(times.map(Times::AtMost))
}
