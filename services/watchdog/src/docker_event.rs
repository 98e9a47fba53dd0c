//! Docker events, reduced to what triggers an inspection or counts as a stop request.

use bollard::models::EventMessage;
use protocol::time::UtcMs;
use watchdog_core::observed_state::StopRequest;

/// An event of a container, as Docker reports it.
pub struct DockerEvent {
    /// Name of the event.
    pub action: &'static str,
    /// Id of the container.
    pub container: String,
    signal: Option<String>,
    /// Time by Docker's wall clock.
    pub at: UtcMs,
}

impl DockerEvent {
    /// The event of a message. `None` if it is of no interest.
    pub fn from_message(message: &EventMessage) -> Option<Self> {
        const KNOWN: [&str; 9] = [
            "kill", "die", "stop", "start", "pause", "unpause", "oom", "destroy", "rename",
        ];
        let action = message.action.as_deref()?;
        let action = KNOWN.into_iter().find(|known| *known == action)?;
        let actor = message.actor.as_ref()?;
        let attributes = actor.attributes.as_ref();
        Some(Self {
            action,
            container: actor.id.clone()?,
            signal: attributes.and_then(|all| all.get("signal").cloned()),
            at: UtcMs(message.time_nano? / 1_000_000),
        })
    }

    /// Whether the event is a request to stop: SIGTERM or SIGINT. Every other signal is a failure.
    pub fn is_stop_request(&self) -> bool {
        match self.action {
            "stop" => true,
            "kill" => matches!(
                self.signal.as_deref(),
                Some("15" | "2" | "SIGTERM" | "SIGINT" | "TERM" | "INT")
            ),
            _ => false,
        }
    }

    /// The event as the core's stop request.
    pub fn to_stop_request(&self) -> StopRequest {
        StopRequest {
            container: self.container.clone(),
            at: self.at,
        }
    }
}

/// Whether the last start among these events of one container followed an end that Docker did not see, or that was
/// requested.
pub fn started_after_outage(events: &[DockerEvent]) -> bool {
    let Some(start) = events.iter().rposition(|event| event.action == "start") else {
        return false;
    };
    let before = &events[..start];
    let ended = before.iter().any(|event| event.action == "die");
    !ended || before.iter().any(DockerEvent::is_stop_request)
}

/// Unix time in Docker's format.
pub fn format_unix_time(at: UtcMs) -> String {
    format!(
        "{}.{:03}000000",
        at.0.div_euclid(1000),
        at.0.rem_euclid(1000)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_event(json: &str) -> Option<DockerEvent> {
        DockerEvent::from_message(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn docker_event_of_version_20_10_is_parsed() {
        let hint = parse_event(
            r#"{"status":"kill","id":"7bab","from":"x","Type":"container","Action":"kill",
                "Actor":{"ID":"7bab","Attributes":{"signal":"15","name":"t"}},
                "scope":"local","time":1795493127,"timeNano":1795493127216500402}"#,
        )
        .unwrap();
        assert!(hint.is_stop_request());
        assert_eq!(
            (hint.container.as_str(), hint.at),
            ("7bab", UtcMs(1_795_493_127_216))
        );
    }

    #[test]
    fn docker_event_asks_to_stop_only_on_sigterm_and_sigint() {
        for (action, signal, asks) in [
            ("kill", "15", true),
            ("kill", "2", true),
            ("kill", "9", false),
            ("kill", "1", false),
            ("stop", "", true),
            ("die", "", false),
        ] {
            let json = format!(
                r#"{{"Type":"container","Action":"{action}","timeNano":1,
                    "Actor":{{"ID":"a","Attributes":{{"signal":"{signal}"}}}}}}"#
            );
            assert_eq!(
                parse_event(&json).unwrap().is_stop_request(),
                asks,
                "{action} {signal}"
            );
        }
        let exec = r#"{"Type":"container","Action":"exec_die","timeNano":1,"Actor":{"ID":"a"}}"#;
        assert!(parse_event(exec).is_none());
    }

    #[test]
    fn container_that_ended_alone_did_not_start_after_an_outage() {
        let rows = [
            ("start", true),
            ("kill:15 die stop start", true),
            ("die start", false),
            ("kill:9 die start", false),
            ("die start kill:15 die stop start", true),
            ("die", false),
            ("", false),
        ];
        for (events, expected) in rows {
            let events: Vec<DockerEvent> = events.split_whitespace().map(event_from_text).collect();
            assert_eq!(started_after_outage(&events), expected);
        }
    }

    fn event_from_text(event: &str) -> DockerEvent {
        let (action, signal) = event.split_once(':').unwrap_or((event, ""));
        let json = format!(
            r#"{{"Type":"container","Action":"{action}","timeNano":1,
                "Actor":{{"ID":"a","Attributes":{{"signal":"{signal}"}}}}}}"#
        );
        parse_event(&json).unwrap()
    }

    #[test]
    fn unix_time_is_formatted_as_docker_reads_it() {
        assert_eq!(
            format_unix_time(UtcMs(1_795_493_127_016)),
            "1795493127.016000000"
        );
    }
}
