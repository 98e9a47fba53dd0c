//! Faults of single calls, and which calls can meet them.

use bearish_tests::live::step::{CONDITIONAL_ORDER, Fault, INCOME, ORDER, Step, TRADES};

/// Faults with which any call is played twice: the trader continues, and is killed.
const REPEATED: [Fault; 7] = [
    Fault::new(
        "throttled",
        r#"{"fault": "fail-before", "status": 503, "code": -1008}"#,
    ),
    Fault::new(
        "limited",
        r#"{"fault": "fail-before", "status": 429, "code": -1003}"#,
    ),
    Fault::new(
        "banned",
        r#"{"fault": "fail-before", "status": 418, "code": -1003}"#,
    ),
    Fault::new(
        "too late",
        r#"{"fault": "fail-before", "status": 400, "code": -1021}"#,
    ),
    Fault::new(
        "unknown",
        r#"{"fault": "fail-after", "status": 503, "code": -1007}"#,
    ),
    Fault::new("cut", r#"{"fault": "cut-connection"}"#),
    Fault::new("slow", r#"{"fault": "delay", "ms": 3000}"#),
];

/// Fault of orders only. After several rejections the trader places no target any more.
pub(super) const ORDER_REJECTED: Fault = Fault::new(
    "rejected",
    r#"{"fault": "fail-before", "status": 400, "code": -4045}"#,
);
/// Fault of ordinary orders only.
const PARTIAL_FILL: Fault = Fault::new("halved", r#"{"fault": "partial-fill"}"#);

/// Calls that can meet a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Calls {
    Any,
    /// Queries of a list.
    Lists,
    /// New orders, and their cancellation: an unclear answer may hide an execution.
    Orders,
    /// New orders that can open a position.
    Entries,
    OfPath(&'static str),
}

impl Calls {
    fn include(self, step: &Step) -> bool {
        match self {
            Self::Any => true,
            Self::Lists => step.method == "GET",
            Self::Orders => step.method != "GET",
            Self::Entries => step.name == "entry",
            Self::OfPath(path) => step.path == path,
        }
    }
}

/// Faults with which a call is played once: with every other call, the trader is killed.
const SINGLE: [(Calls, Fault); 34] = [
    (
        Calls::Any,
        Fault::new("page with 200", r#"{"fault": "html-page", "status": 200}"#),
    ),
    (
        Calls::Any,
        Fault::new("page with 400", r#"{"fault": "html-page", "status": 400}"#),
    ),
    (
        Calls::Any,
        Fault::new("page with 403", r#"{"fault": "html-page", "status": 403}"#),
    ),
    (
        Calls::Any,
        Fault::new("page with 404", r#"{"fault": "html-page", "status": 404}"#),
    ),
    (
        Calls::Any,
        Fault::new(
            "page with 502, executed",
            r#"{"fault": "html-page", "status": 502, "executed": true}"#,
        ),
    ),
    (
        Calls::Orders,
        Fault::new(
            "page with 200, executed",
            r#"{"fault": "html-page", "status": 200, "executed": true}"#,
        ),
    ),
    (
        Calls::Any,
        Fault::new(
            "key unknown",
            r#"{"fault": "fail-before", "status": 401, "code": -2015}"#,
        ),
    ),
    (
        Calls::Any,
        Fault::new(
            "symbol unknown",
            r#"{"fault": "fail-before", "status": 400, "code": -1121}"#,
        ),
    ),
    (
        Calls::Any,
        Fault::new("empty body", r#"{"fault": "empty-body"}"#),
    ),
    (
        Calls::Any,
        Fault::new("other body", r#"{"fault": "other-body", "body": {}}"#),
    ),
    (
        Calls::Any,
        Fault::new(
            "truncated body",
            r#"{"fault": "truncated-body", "framing": "chunked"}"#,
        ),
    ),
    (
        Calls::Any,
        Fault::new("endless body", r#"{"fault": "endless-body"}"#),
    ),
    (
        Calls::Any,
        Fault::new("slow body", r#"{"fault": "slow-body"}"#),
    ),
    (
        Calls::Any,
        Fault::new("corrupt gzip", r#"{"fault": "gzip", "form": "corrupt"}"#),
    ),
    (
        Calls::Any,
        Fault::new("reset", r#"{"fault": "reset-connection"}"#),
    ),
    (
        Calls::Any,
        Fault::new("no response", r#"{"fault": "drop-response"}"#),
    ),
    (
        Calls::Any,
        Fault::new(
            "unavailable, executed",
            r#"{"fault": "unavailable", "text": "unknown-error", "executed": true}"#,
        ),
    ),
    (
        Calls::Any,
        Fault::new("types swapped", r#"{"fault": "swapped-types"}"#),
    ),
    (
        Calls::Any,
        Fault::new("limits missing", r#"{"fault": "missing-headers"}"#),
    ),
    (
        Calls::Entries,
        Fault::new("overload", r#"{"fault": "overload"}"#),
    ),
    (
        Calls::Orders,
        Fault::new(
            "order limit",
            r#"{"fault": "fail-before", "status": 429, "code": -1015}"#,
        ),
    ),
    (
        Calls::Lists,
        Fault::new("rows doubled", r#"{"fault": "duplicate-rows"}"#),
    ),
    (
        Calls::Lists,
        Fault::new("rows reversed", r#"{"fault": "reverse-rows"}"#),
    ),
    (
        Calls::Lists,
        Fault::new("empty answer", r#"{"fault": "empty-answer"}"#),
    ),
    (
        Calls::Lists,
        Fault::new("late answer", r#"{"fault": "query-lag", "ms": 5000}"#),
    ),
    (
        Calls::OfPath(ORDER),
        Fault::new(
            "status unknown",
            r#"{"fault": "other-value", "field": "status"}"#,
        ),
    ),
    (
        Calls::OfPath(CONDITIONAL_ORDER),
        Fault::new(
            "status unknown",
            r#"{"fault": "other-value", "field": "algoStatus"}"#,
        ),
    ),
    (
        Calls::OfPath(TRADES),
        Fault::new(
            "side unknown",
            r#"{"fault": "other-value", "field": "side"}"#,
        ),
    ),
    (
        Calls::OfPath(INCOME),
        Fault::new(
            "type unknown",
            r#"{"fault": "other-value", "field": "incomeType"}"#,
        ),
    ),
    (
        Calls::OfPath(ORDER),
        Fault::new(
            "price missing",
            r#"{"fault": "missing-field", "field": "avgPrice"}"#,
        ),
    ),
    (
        Calls::OfPath(ORDER),
        Fault::new(
            "quantity missing",
            r#"{"fault": "missing-field", "field": "executedQty"}"#,
        ),
    ),
    (
        Calls::OfPath(CONDITIONAL_ORDER),
        Fault::new(
            "id missing",
            r#"{"fault": "missing-field", "field": "algoId"}"#,
        ),
    ),
    (
        Calls::OfPath(TRADES),
        Fault::new(
            "fee missing",
            r#"{"fault": "missing-field", "field": "commission"}"#,
        ),
    ),
    (
        Calls::OfPath(INCOME),
        Fault::new(
            "income missing",
            r#"{"fault": "missing-field", "field": "income"}"#,
        ),
    ),
];

/// The faults with which a step is played twice.
pub(super) fn repeated_faults(step: &Step) -> Vec<Fault> {
    let is_order = step.method == "POST" && (step.path == ORDER || step.path == CONDITIONAL_ORDER);
    let rejected = is_order.then_some(ORDER_REJECTED);
    let partial_fill = (is_order && step.path == ORDER).then_some(PARTIAL_FILL);
    REPEATED
        .into_iter()
        .chain(rejected)
        .chain(partial_fill)
        .collect()
}

/// The faults with which a step is played once.
pub(super) fn single_faults(step: &Step) -> impl Iterator<Item = Fault> {
    let possible = SINGLE.iter().filter(|(calls, _)| calls.include(step));
    possible.map(|(_, fault)| *fault)
}
