//! Presence of an instance: how two processes under one name find each other.

use serde::{Deserialize, Serialize};

use crate::ids::SubjectToken;

/// A process that runs under a name, on `presence.v1.trader.<mode>.<project>.<host>.<instance>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Version of the message.
    pub v: u16,
    /// Boot id of the process.
    pub boot: SubjectToken,
    /// Age of the process by its own monotonic clock, in milliseconds.
    pub uptime_ms: u64,
    /// Whether this answers the presence of another process. An answer is not answered.
    pub is_answer: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presence_has_the_documented_form() {
        let presence = Presence {
            v: 1,
            boot: "a1b2c3".parse().unwrap(),
            uptime_ms: 1_500,
            is_answer: false,
        };
        let text = r#"{"v":1,"boot":"a1b2c3","uptime_ms":1500,"is_answer":false}"#;
        assert_eq!(serde_json::to_string(&presence).unwrap(), text);
        assert_eq!(serde_json::from_str::<Presence>(text).unwrap(), presence);
    }
}
