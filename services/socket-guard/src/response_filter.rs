//! Filter of Docker's responses: only the fields that supervision needs, no value of an environment, and no secret.
//! The module is pure.

use protocol::redact::{
    REDACTED, is_secret_setting_name, redact, redact_arguments, redact_command,
    redact_setting_value,
};
use serde_json::{Map, Value, json};

const INSPECT: [&str; 11] = [
    "Args",
    "Config",
    "Created",
    "HostConfig",
    "Id",
    "Image",
    "Name",
    "Path",
    "Platform",
    "RestartCount",
    "State",
];
const STATE: [&str; 12] = [
    "Dead",
    "Error",
    "ExitCode",
    "FinishedAt",
    "Health",
    "OOMKilled",
    "Paused",
    "Pid",
    "Restarting",
    "Running",
    "StartedAt",
    "Status",
];
const CONFIG: [&str; 11] = [
    "Cmd",
    "Entrypoint",
    "Env",
    "Hostname",
    "Image",
    "Labels",
    "OpenStdin",
    "StopSignal",
    "StopTimeout",
    "Tty",
    "User",
];
/// Without the sources of mounts.
const HOST: [&str; 4] = ["LogConfig", "Memory", "PidsLimit", "RestartPolicy"];
const SUMMARY: [&str; 10] = [
    "Command", "Created", "Id", "Image", "ImageID", "Labels", "Names", "Ports", "State", "Status",
];
/// Without the number of containers, proxies and registries.
const INFO: [&str; 14] = [
    "Architecture",
    "CgroupDriver",
    "CgroupVersion",
    "Driver",
    "KernelVersion",
    "LiveRestoreEnabled",
    "LoggingDriver",
    "MemTotal",
    "NCPU",
    "Name",
    "OSType",
    "OperatingSystem",
    "ServerVersion",
    "SystemTime",
];

/// Attributes of events. Others are labels, which may hold secrets.
const EVENT_ATTRIBUTES: [&str; 3] = ["signal", "exitCode", "name"];
/// Longest event; a longer one is dropped.
const MAX_EVENT_BYTES: usize = 256 << 10;

/// Reduces a stream of events, one JSON object a line, to what supervision needs: action, container, signal and time. The
/// action of a health check names its whole command, and the attributes hold every label.
#[derive(Debug, Default)]
pub struct EventFilter {
    partial: Vec<u8>,
}

impl EventFilter {
    /// The complete events of what has arrived so far, reduced; empty if none is complete.
    pub fn push(&mut self, data: &[u8]) -> Vec<u8> {
        self.partial.extend_from_slice(data);
        let mut shown = Vec::new();
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            if let Ok(found) = serde_json::from_slice(&line) {
                shown.extend_from_slice(event(&found).to_string().as_bytes());
                shown.push(b'\n');
            }
        }
        if self.partial.len() > MAX_EVENT_BYTES {
            self.partial.clear();
        }
        shown
    }
}

fn event(found: &Value) -> Value {
    let action = found["Action"].as_str().unwrap_or_default();
    let action = action.split(':').next().unwrap_or_default();
    let attributes: Map<String, Value> = EVENT_ATTRIBUTES
        .into_iter()
        .filter_map(|name| {
            let value = found["Actor"]["Attributes"].get(name)?;
            Some((name.to_owned(), value.clone()))
        })
        .collect();
    json!({
        "Type": found["Type"],
        "Action": action,
        "Actor": { "ID": found["Actor"]["ID"], "Attributes": attributes },
        "scope": found["scope"],
        "time": found["time"],
        "timeNano": found["timeNano"],
    })
}

/// Filters the description of a container.
pub fn inspect(mut found: Value) -> Value {
    retain_fields(&mut found, &INSPECT);
    mask_arguments(&mut found["Args"]);
    let state = &mut found["State"];
    retain_fields(state, &STATE);
    if let Some(error) = state["Error"].as_str() {
        // It quotes the command that could not be run.
        state["Error"] = redact(error).into();
    }
    if let Some(health) = state.get_mut("Health") {
        retain_fields(health, &["FailingStreak", "Log", "Status"]);
        for check in health["Log"].as_array_mut().into_iter().flatten() {
            retain_fields(check, &["End", "ExitCode", "Output", "Start"]);
            // Docker's own error for a check that it could not run. Not what a health check printed.
            if check["ExitCode"] != -1 {
                retain_fields(check, &["End", "ExitCode", "Start"]);
            } else if let Some(error) = check["Output"].as_str() {
                check["Output"] = redact(error).into();
            }
        }
    }
    retain_fields(&mut found["HostConfig"], &HOST);
    if let Some(log) = found["HostConfig"].get_mut("LogConfig") {
        // Options of a log driver hold its credentials.
        retain_fields(log, &["Type"]);
    }
    let config = &mut found["Config"];
    retain_fields(config, &CONFIG);
    mask_arguments(&mut config["Cmd"]);
    mask_arguments(&mut config["Entrypoint"]);
    mask_labels(&mut config["Labels"]);
    mask_environment(&mut config["Env"]);
    found
}

/// Filters a list of containers: only those of the project, whatever Docker made of the filter.
pub fn list(found: Value, is_ours: impl Fn(&Value) -> bool) -> Value {
    let Value::Array(all) = found else {
        return Value::Array(Vec::new());
    };
    let ours = all
        .into_iter()
        .filter(|summary| is_ours(&summary["Labels"]));
    Value::Array(ours.map(summary).collect())
}

/// Filters the description of the host and the settings of Docker.
pub fn info(mut found: Value) -> Value {
    retain_fields(&mut found, &INFO);
    found
}

fn summary(mut found: Value) -> Value {
    retain_fields(&mut found, &SUMMARY);
    mask_labels(&mut found["Labels"]);
    if let Some(command) = found["Command"].as_str() {
        found["Command"] = redact_command(command).into();
    }
    found
}

fn retain_fields(object: &mut Value, names: &[&str]) {
    if let Value::Object(fields) = object {
        fields.retain(|name, _| names.contains(&name.as_str()));
    } else {
        *object = Value::Object(Map::new());
    }
}

/// Redacts the values of an environment; `NAME=value` keeps its name.
fn mask_environment(list: &mut Value) {
    let Value::Array(list) = list else {
        *list = Value::Null;
        return;
    };
    for pair in list {
        let name = pair.as_str().and_then(|pair| pair.split('=').next());
        *pair = format!("{}={REDACTED}", name.unwrap_or_default()).into();
    }
}

/// Redacts a command line: values of flags with a secret name, also in the next argument.
fn mask_arguments(list: &mut Value) {
    let Value::Array(list) = list else {
        *list = Value::Null;
        return;
    };
    // An argument of another kind is hidden whole.
    let arguments = list
        .iter()
        .map(|argument| argument.as_str().unwrap_or(REDACTED));
    let redacted = redact_arguments(arguments);
    *list = redacted.into_iter().map(Value::from).collect();
}

fn mask_labels(all: &mut Value) {
    let Value::Object(all) = all else {
        *all = Value::Null;
        return;
    };
    for (name, value) in all {
        let shown = match value.as_str() {
            Some(text) if !is_secret_setting_name(name) => redact(&redact_setting_value(text)),
            _ => REDACTED.to_owned(),
        };
        *value = shown.into();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found() -> Value {
        json!({
            "Id": "4f1c", "Name": "/t", "Args": ["--paper", "--auto-restart", "--api-key", "s3cret-a",
                "--token=s3cret-b", "nats://u:s3cret-c@nats:4222", "-c",
                "exec trader --token s3cret-n", "A=1 TOKEN=s3cret-o app", "-ps3cret-p", "--pwd", "s3cret-q"],
            "State": {"Running": true, "StartedAt": "2026", "Error": "exec: --password s3cret-r", "Health": {"Status": "healthy",
                "FailingStreak": 0, "Log": [{"Output": "s3cret-d"}]}},
            "HostConfig": {"RestartPolicy": {"Name": "no"}, "Binds": ["/s3cret-e:/x"],
                "LogConfig": {"Type": "x", "Config": {"url": "s3cret-f"}}},
            "Mounts": [{"Source": "/s3cret-g"}],
            "GraphDriver": {},
            "Config": {"Env": ["PATH=/s3cret-h", "EMPTY=", "BARE"], "StopTimeout": 8,
                "Cmd": ["PASSWORD=s3cret-i"], "Healthcheck": {"Test": ["s3cret-j"]},
                "Labels": {"com.docker.compose.project": "p", "bearish-alpha.supervise": "true",
                    "api.token": "s3cret-k", "repo": "https://u:s3cret-l@host/x",
                    "hook": "https://hooks.slack.com/services/s3cret-m"}}
        })
    }

    #[test]
    fn response_filter_hides_environment_values_and_secrets() {
        let shown = inspect(found());
        assert!(!shown.to_string().contains("s3cret"), "{shown}");
        let names = json!(["PATH=***", "EMPTY=***", "BARE=***"]);
        assert_eq!(shown["Config"]["Env"], names);
    }

    #[test]
    fn response_filter_masks_names_that_contain_a_secret_part() {
        let shown = inspect(json!({
            "Args": ["--keyfile=s3cret-a", "--oauthid", "s3cret-b", "MYKEY=s3cret-c",
                "nats://u:s3cret/d@nats:4222", "nats://u:s3cret@nats?auth=s3cret"],
            "Config": {"Env": ["MYKEY=s3cret-e"], "Cmd": ["--authfile", "s3cret-f"],
                "Labels": {"keyfile": "s3cret-g", "x.oauthid": "s3cret-h", "MYKEY": "s3cret-i"}}
        }));
        assert!(!shown.to_string().contains("s3cret"), "{shown}");
        let arguments = json!([
            "--keyfile=***",
            "--oauthid",
            "***",
            "MYKEY=***",
            "nats://***@nats:4222",
            "nats://***@nats?auth=***"
        ]);
        assert_eq!(shown["Args"], arguments);
        assert_eq!(shown["Config"]["Env"], json!(["MYKEY=***"]));
        let labels = json!({"keyfile": "***", "x.oauthid": "***", "MYKEY": "***"});
        assert_eq!(shown["Config"]["Labels"], labels);
        let listed = list(json!([{"Command": "x --keyfile s3cret"}]), |_| true);
        assert_eq!(listed[0]["Command"], "x --keyfile ***");
    }

    #[test]
    fn response_filter_shows_what_supervision_needs() {
        let shown = inspect(found());
        assert_eq!(shown["Args"][1], "--auto-restart");
        assert_eq!(shown["State"]["StartedAt"], "2026");
        assert_eq!(shown["State"]["Health"]["Status"], "healthy");
        assert_eq!(shown["HostConfig"]["RestartPolicy"]["Name"], "no");
        assert_eq!(shown["Config"]["StopTimeout"], 8);
        let labels = &shown["Config"]["Labels"];
        assert_eq!(labels["com.docker.compose.project"], "p");
        assert_eq!(labels["bearish-alpha.supervise"], "true");
    }

    #[test]
    fn response_of_another_shape_shows_nothing() {
        assert_eq!(info(json!("s3cret")), json!({}));
        assert_eq!(list(json!({"x": "s3cret"}), |_| true), json!([]));
        assert!(!inspect(json!(["s3cret"])).to_string().contains("s3cret"));
        let odd = json!({"Config": {"Env": [["s3cret"], {"s3cret": 1}], "Labels": {"a": ["s3cret"]},
            "Cmd": "s3cret"}, "State": ["s3cret"], "Args": [{"s3cret": 1}]});
        assert!(!inspect(odd).to_string().contains("s3cret"));
    }

    #[test]
    fn event_is_reduced_to_action_container_signal_and_time() {
        let event = json!({
            "status": "exec_create: /app --password s3cret", "id": "4f1c", "from": "image",
            "Type": "container", "Action": "exec_create: /app --password s3cret",
            "Actor": {"ID": "4f1c", "Attributes": {"api.token": "s3cret", "signal": "15", "name": "n"}},
            "scope": "local", "time": 1, "timeNano": 1_000_000_001_i64
        });
        let text = format!("{event}\n");
        let expected = json!({
            "Type": "container", "Action": "exec_create",
            "Actor": {"ID": "4f1c", "Attributes": {"signal": "15", "name": "n"}},
            "scope": "local", "time": 1, "timeNano": 1_000_000_001_i64
        });
        // However the stream is cut into frames.
        for cut in [1, 40, text.len() - 1] {
            let mut filter = EventFilter::default();
            let mut shown = filter.push(&text.as_bytes()[..cut]);
            assert!(shown.is_empty());
            shown.extend(filter.push(&text.as_bytes()[cut..]));
            let shown: Value = serde_json::from_slice(&shown).unwrap();
            assert_eq!(shown, expected);
        }
    }

    #[test]
    fn output_of_a_health_check_is_shown_only_if_docker_wrote_it() {
        let found = json!({"State": {"Health": {"Status": "unhealthy", "Log": [
            {"ExitCode": 1, "Output": "s3cret"},
            {"ExitCode": -1, "Output": "exec failed: TOKEN=s3cret"}
        ]}}});
        let shown = inspect(found);
        let expected =
            json!([{"ExitCode": 1}, {"ExitCode": -1, "Output": "exec failed: TOKEN=***"}]);
        assert_eq!(shown["State"]["Health"]["Log"], expected);
    }

    #[test]
    fn container_list_holds_only_the_own_project() {
        let all = json!([
            {"Id": "a", "Labels": {"p": "ours"}, "Command": "x --token s3cret", "Mounts": ["s3cret"]},
            {"Id": "b", "Labels": {"p": "theirs"}},
            {"Id": "c"}
        ]);
        let shown = list(all, |labels| labels["p"] == "ours");
        let expected = json!([{"Id": "a", "Labels": {"p": "ours"}, "Command": "x --token ***"}]);
        assert_eq!(shown, expected);
    }
}
