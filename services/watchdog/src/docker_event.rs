//! Docker events, reduced to what triggers an inspection or shows who stopped a container.
//!
//! The order of events is Docker's own. Their times are compared with each other only, and only within one run.

use std::collections::BTreeMap;

use bollard::models::EventMessage;
use protocol::time::UtcMs;
use watchdog_core::container::normalize_signal;
use watchdog_core::stop_request::{StopEvidence, StopRequest};

/// An event of a container, as Docker reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerEvent {
    /// Name of the event; [`OTHER`] for all that decide nothing.
    pub action: &'static str,
    /// Id of the container.
    pub container: String,
    /// Signal of a `kill`, without `SIG`.
    signal: Option<String>,
    /// Time by Docker's wall clock.
    pub at: UtcMs,
    nanos: i64,
}

/// Name of an event that decides nothing, such as a health check.
pub const OTHER: &str = "other";
const KNOWN: [&str; 9] = [
    "kill", "die", "stop", "start", "pause", "unpause", "oom", "destroy", "rename",
];

/// Identifies an event: time in nanoseconds, container and action.
pub type EventKey = (i64, String, &'static str);

impl DockerEvent {
    /// The event of a message. `None` if it names no container or no time.
    pub fn from_message(message: &EventMessage) -> Option<Self> {
        let action = message.action.as_deref()?;
        let action = KNOWN.into_iter().find(|known| *known == action);
        let actor = message.actor.as_ref()?;
        let attributes = actor.attributes.as_ref();
        let nanos = message.time_nano?;
        Some(Self {
            action: action.unwrap_or(OTHER),
            container: actor.id.clone()?,
            signal: attributes
                .and_then(|all| all.get("signal"))
                .map(|signal| normalize_signal(signal)),
            at: UtcMs(nanos / 1_000_000),
            nanos,
        })
    }

    /// The identity of the event.
    pub fn key(&self) -> EventKey {
        (self.nanos, self.container.clone(), self.action)
    }

    /// Whether the event is part of a stop: a signal or the end of `docker stop`.
    pub fn is_stop_request(&self) -> bool {
        matches!(self.action, "kill" | "stop")
    }

    /// The event as the core's stop request. `None` if it is none.
    pub fn to_stop_request(&self) -> Option<StopRequest> {
        let evidence = match (self.action, &self.signal) {
            ("stop", _) => StopEvidence::Finished,
            ("kill", Some(signal)) => StopEvidence::Signal {
                signal: signal.clone(),
                ended_after_ms: None,
            },
            _ => return None,
        };
        Some(StopRequest {
            container: self.container.clone(),
            at: self.at,
            evidence,
            is_of_last_run: false,
        })
    }
}

/// Number of events at the beginning of Docker's history that Docker's own start caused: after a crash it stops the
/// containers that survived before it starts any. Applies only if Docker is known to have been absent.
pub fn startup_stops(history: &[DockerEvent]) -> usize {
    let is_end = |event: &DockerEvent| matches!(event.action, "kill" | "die" | "stop" | "oom");
    history
        .iter()
        .position(|event| !is_end(event))
        .unwrap_or(history.len())
}

/// What Docker's history says about stops of the last run of each container: the events behind its last start, in
/// Docker's order. A stop that was finished counts more than a signal.
pub fn stops_of_last_runs(history: &[DockerEvent]) -> Vec<StopRequest> {
    let mut stops: BTreeMap<&str, StopRequest> = BTreeMap::new();
    for event in history {
        let id = event.container.as_str();
        match event.action {
            "start" => {
                stops.remove(id);
            }
            "die" => {
                if let Some(request) = stops.get_mut(id) {
                    note_end(request, event.at);
                }
            }
            _ => {
                let Some(mut request) = event.to_stop_request() else {
                    continue;
                };
                request.is_of_last_run = true;
                let is_finished = stops
                    .get(id)
                    .is_some_and(|known| known.evidence == StopEvidence::Finished);
                let is_kill = matches!(&request.evidence, StopEvidence::Signal { signal, .. } if signal == "KILL");
                // The SIGKILL after the grace period does not replace the signal before it.
                if !(is_finished || is_kill && stops.contains_key(id)) {
                    stops.insert(id, request);
                }
            }
        }
    }
    stops.into_values().collect()
}

fn note_end(request: &mut StopRequest, ended_at: UtcMs) {
    let at = request.at;
    if let StopEvidence::Signal { ended_after_ms, .. } = &mut request.evidence {
        ended_after_ms.get_or_insert(ended_at.millis_since(at));
    }
}

/// Whether Docker, and no operator, ended and started a container: its last start follows no end that Docker has seen,
/// or an end that Docker's own start caused. `startup` is the number of those events.
pub fn was_restarted_with_docker(history: &[DockerEvent], container: &str, startup: usize) -> bool {
    let is_own = |event: &DockerEvent| event.container == container;
    let start = history
        .iter()
        .rposition(|event| is_own(event) && event.action == "start");
    let Some(start) = start else {
        return false;
    };
    let end = history[..start]
        .iter()
        .rposition(|event| is_own(event) && event.action == "die");
    end.is_none_or(|end| end < startup)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events such as `a:kill:15 a:die`, one second apart.
    fn history(text: &str) -> Vec<DockerEvent> {
        let parsed = text.split_whitespace().enumerate().map(|(second, event)| {
            let mut parts = event.split(':');
            let (container, action) = (parts.next().unwrap(), parts.next().unwrap());
            let signal = parts.next().unwrap_or_default();
            let nanos = 1_000_000_000 * second;
            let json = format!(
                r#"{{"Type":"container","Action":"{action}","timeNano":{nanos},
                    "Actor":{{"ID":"{container}","Attributes":{{"signal":"{signal}"}}}}}}"#
            );
            DockerEvent::from_message(&serde_json::from_str(&json).unwrap()).unwrap()
        });
        parsed.collect()
    }

    #[test]
    fn docker_event_of_version_20_10_is_parsed() {
        let message = serde_json::from_str(
            r#"{"status":"kill","id":"7bab","from":"x","Type":"container","Action":"kill",
                "Actor":{"ID":"7bab","Attributes":{"signal":"15","name":"t"}},
                "scope":"local","time":1795493127,"timeNano":1795493127216500402}"#,
        )
        .unwrap();
        let request = DockerEvent::from_message(&message)
            .unwrap()
            .to_stop_request()
            .unwrap();
        assert_eq!(
            (request.container.as_str(), request.at),
            ("7bab", UtcMs(1_795_493_127_216))
        );
        let StopEvidence::Signal { signal, .. } = request.evidence else {
            panic!("a signal")
        };
        assert_eq!(signal, "TERM");
    }

    #[test]
    fn stop_belongs_to_the_last_run_whatever_its_time() {
        let evidence = |text: &str| -> Vec<String> {
            stops_of_last_runs(&history(text))
                .into_iter()
                .map(|request| match request.evidence {
                    StopEvidence::Finished => "finished".to_owned(),
                    StopEvidence::Signal {
                        signal,
                        ended_after_ms,
                    } => format!("{signal} {ended_after_ms:?}"),
                })
                .collect()
        };
        for (text, expected) in [
            ("", vec![]),
            ("a:kill:15", vec!["TERM None"]),
            ("a:kill:15 a:die", vec!["TERM Some(1000)"]),
            ("a:kill:15 a:die a:stop", vec!["finished"]),
            ("a:kill:3 a:kill:9 a:die a:stop", vec!["finished"]),
            ("a:kill:15 a:kill:9 a:die", vec!["TERM Some(2000)"]),
            ("a:kill:9 a:die", vec!["KILL Some(1000)"]),
            ("a:kill:15 a:die a:stop a:start", vec![]),
            ("a:stop a:start a:kill:10", vec!["USR1 None"]),
            ("a:stop b:start", vec!["finished"]),
        ] {
            assert_eq!(evidence(text), expected, "{text}");
        }
    }

    #[test]
    fn stops_of_dockers_own_start_come_before_everything_else() {
        for (text, expected) in [
            ("", 0),
            ("a:kill:15 a:die a:stop b:kill:15 b:start", 4),
            ("a:exec_create a:kill:15 a:die a:stop", 0),
            ("a:start a:kill:15", 0),
        ] {
            assert_eq!(startup_stops(&history(text)), expected, "{text}");
        }
    }

    #[test]
    fn watchdog_that_an_operator_restarted_saw_no_docker_outage() {
        for (text, expected) in [
            ("w:start", true),
            ("w:kill:15 w:die w:stop w:start", true),
            (
                "u:kill:15 u:die u:stop w:kill:15 w:die w:stop w:start",
                true,
            ),
            ("u:exec_create w:kill:15 w:die w:stop w:start", false),
            ("u:start w:die w:start", false),
            ("u:start w:kill:9 w:die w:start", false),
            ("u:start u:die", false),
            ("", false),
        ] {
            let events = history(text);
            let startup = startup_stops(&events);
            assert_eq!(
                was_restarted_with_docker(&events, "w", startup),
                expected,
                "{text}"
            );
        }
    }
}
