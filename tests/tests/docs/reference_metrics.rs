//! The page about metrics, made from what the programs describe to the recorder.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Mutex;

use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    with_local_recorder,
};

use crate::reference::{cell, heading};

/// Labels of the metrics that have some. Descriptions do not hold them.
const LABELS: [(&str, &str); 18] = [
    (
        "bearish_build_info",
        "service, instance, version, project, host",
    ),
    ("bearish_component_up", "component"),
    ("bearish_component_iterations_total", "component"),
    ("bearish_component_errors_total", "component"),
    ("bearish_book_", "symbol"),
    ("bearish_book_signals_rejected_total", "symbol, reason"),
    ("bearish_book_entries_rejected_total", "symbol, code"),
    ("bearish_breaker_tripped", "symbol, breaker"),
    ("bearish_watchdog_unit_restarts_total", "unit, reason"),
    ("bearish_watchdog_service_restarts_total", "service"),
    ("bearish_watchdog_hang_detection_seconds", "unit, quantile"),
    ("bearish_watchdog_unit_recovery_seconds", "unit, quantile"),
    ("bearish_watchdog_unit_phase", "unit, phase"),
    ("bearish_watchdog_unit_on_hold", "unit"),
    ("bearish_watchdog_unit_consecutive_failures", "unit"),
    ("bearish_watchdog_unit_restarts_remaining", "unit"),
    ("bearish_watchdog_blind", "source (`bus`, `docker`)"),
    ("bearish_watchdog_leader", "-"),
];

struct Described {
    kind: &'static str,
    text: String,
}

#[derive(Default)]
struct Descriptions(Mutex<BTreeMap<String, Described>>);

impl Descriptions {
    fn insert(&self, key: &KeyName, kind: &'static str, text: &SharedString) {
        let described = Described {
            kind,
            text: text.to_string(),
        };
        let mut all = self.0.lock().unwrap();
        all.insert(key.as_str().to_owned(), described);
    }
}

impl Recorder for Descriptions {
    fn describe_counter(&self, key: KeyName, _: Option<Unit>, text: SharedString) {
        self.insert(&key, "counter", &text);
    }
    fn describe_gauge(&self, key: KeyName, _: Option<Unit>, text: SharedString) {
        self.insert(&key, "gauge", &text);
    }
    fn describe_histogram(&self, key: KeyName, _: Option<Unit>, text: SharedString) {
        self.insert(&key, "summary", &text);
    }
    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

fn described(describe: fn()) -> BTreeMap<String, Described> {
    let descriptions = Descriptions::default();
    with_local_recorder(&descriptions, describe);
    descriptions.0.into_inner().unwrap()
}

fn sections() -> [(&'static str, BTreeMap<String, Described>); 3] {
    [
        ("Every process", described(runtime::metrics::describe)),
        (
            "Trader",
            described(bearish_trader::app::book_metrics::describe),
        ),
        (
            "Watchdog",
            described(bearish_watchdog::supervision_metrics::describe),
        ),
    ]
}

/// The names of all metrics.
pub(crate) fn names() -> BTreeSet<String> {
    let all = sections().into_iter();
    all.flat_map(|(_, metrics)| metrics.into_keys()).collect()
}

/// Page of metrics.
pub(crate) fn page() -> String {
    let mut page = heading(
        "Metrics",
        "Served in Prometheus's text format at `/metrics`, if `METRICS_ADDR` is set: [monitoring](../operations/monitoring.md).",
    );
    for (title, metrics) in sections() {
        write!(page, "\n## {title}\n\n").unwrap();
        page += "| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n";
        for (name, Described { kind, text }) in metrics {
            writeln!(
                page,
                "| `{name}` | {kind} | {} | {} |",
                labels(&name),
                cell(&text)
            )
            .unwrap();
        }
    }
    page
}

fn labels(name: &str) -> &'static str {
    let exact = LABELS.iter().find(|(known, _)| *known == name);
    let prefix = || {
        LABELS
            .iter()
            .find(|(known, _)| known.ends_with('_') && name.starts_with(known))
    };
    exact.or_else(prefix).map_or("-", |(_, labels)| labels)
}
