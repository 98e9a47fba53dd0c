//! An event of the engine's, reduced to what it hints at. What is true an inspection shows; none is made here.

use bollard::models::EventMessage;
use protocol::time::UtcMs;
use supervision::watch::StopAsked;

/// What an engine event says.
pub struct Hint {
    /// Its name.
    pub action: &'static str,
    /// The container's id.
    pub container: String,
    signal: Option<String>,
    /// When, by the engine's wall clock.
    pub at: UtcMs,
}

impl Hint {
    /// What it says; none if it is of no interest.
    pub fn of(message: &EventMessage) -> Option<Self> {
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

    /// SIGTERM and SIGINT ask; every other signal is an accident.
    pub fn asks_to_stop(&self) -> bool {
        match self.action {
            "stop" => true,
            "kill" => matches!(
                self.signal.as_deref(),
                Some("15" | "2" | "SIGTERM" | "SIGINT" | "TERM" | "INT")
            ),
            _ => false,
        }
    }

    /// For the brain.
    pub fn stop_asked(&self) -> StopAsked {
        StopAsked {
            container: self.container.clone(),
            at: self.at,
        }
    }
}

/// Whether the last start among these events of a container was one after an end that the engine did not see, or was
/// asked for.
pub fn started_with_others(events: &[Hint]) -> bool {
    let Some(start) = events.iter().rposition(|event| event.action == "start") else {
        return false;
    };
    let before = &events[..start];
    let ended = before.iter().any(|event| event.action == "die");
    !ended || before.iter().any(Hint::asks_to_stop)
}

/// Unix time as the engine reads it.
pub fn seconds(at: UtcMs) -> String {
    format!(
        "{}.{:03}000000",
        at.0.div_euclid(1000),
        at.0.rem_euclid(1000)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(json: &str) -> Option<Hint> {
        Hint::of(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn an_event_of_engine_20_10_is_understood() {
        let hint = hint(
            r#"{"status":"kill","id":"7bab","from":"x","Type":"container","Action":"kill",
                "Actor":{"ID":"7bab","Attributes":{"signal":"15","name":"t"}},
                "scope":"local","time":1795493127,"timeNano":1795493127216500402}"#,
        )
        .unwrap();
        assert!(hint.asks_to_stop());
        assert_eq!(
            (hint.container.as_str(), hint.at),
            ("7bab", UtcMs(1_795_493_127_216))
        );
    }

    #[test]
    fn only_a_polite_signal_is_a_wish() {
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
                hint(&json).unwrap().asks_to_stop(),
                asks,
                "{action} {signal}"
            );
        }
        let exec = r#"{"Type":"container","Action":"exec_die","timeNano":1,"Actor":{"ID":"a"}}"#;
        assert!(hint(exec).is_none());
    }

    #[test]
    fn who_ended_alone_was_not_taken_along() {
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
            let events: Vec<Hint> = events.split_whitespace().map(short).collect();
            assert_eq!(started_with_others(&events), expected);
        }
    }

    fn short(event: &str) -> Hint {
        let (action, signal) = event.split_once(':').unwrap_or((event, ""));
        let json = format!(
            r#"{{"Type":"container","Action":"{action}","timeNano":1,
                "Actor":{{"ID":"a","Attributes":{{"signal":"{signal}"}}}}}}"#
        );
        hint(&json).unwrap()
    }

    #[test]
    fn an_instant_is_written_as_the_engine_reads_it() {
        assert_eq!(seconds(UtcMs(1_795_493_127_016)), "1795493127.016000000");
    }
}
