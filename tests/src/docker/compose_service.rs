//! Reads one service of compose.yaml through `docker compose config`, so that tests start what it defines.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::run_command;
use crate::nats::Role;

/// Root of the workspace, the directory of compose.yaml.
fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Command line `docker compose` for this project's file, without any `.env`.
pub fn compose(project: &str) -> Command {
    let mut command = Command::new("docker");
    command
        .args(["compose", "--env-file", "/dev/null", "--project-name"])
        .arg(project)
        .arg("--project-directory")
        .arg(workspace_root());
    command
}

/// A service as compose.yaml defines it.
pub(super) struct ComposeService(Value);

/// A file or volume in a container.
pub(super) struct ServiceMount {
    /// Name of a volume, or a path of this machine.
    pub(super) source: String,
    /// Path in the container.
    pub(super) target: String,
    /// Whether `source` names a volume.
    pub(super) is_volume: bool,
}

impl ComposeService {
    /// Reads one service, with this run's passwords.
    pub(super) fn read(service: &str) -> Self {
        let mut command = compose("settings");
        for role in Role::ALL {
            command.env(role.password_variable(), role.password());
        }
        let text = run_command(command.args(["--profile", "*", "config", "--format", "json"]));
        let mut config: Value = serde_json::from_str(&text).unwrap();
        let found = config["services"][service].take();
        assert!(found.is_object(), "compose.yaml has no service {service}");
        Self(found)
    }

    /// Name and tag of its image.
    pub(super) fn image(&self) -> (&str, &str) {
        self.string("image").rsplit_once(':').unwrap()
    }

    /// Environment variables that have a value.
    pub(super) fn environment(&self) -> BTreeMap<String, String> {
        let all = self.0["environment"].as_object().unwrap();
        let given = all.iter().filter_map(|(name, value)| {
            let value = value.as_str()?;
            Some((name.clone(), value.to_owned()))
        });
        given.collect()
    }

    /// Arguments after the image's entry point.
    pub(super) fn command(&self) -> Vec<String> {
        self.string_list("command")
    }

    /// Command of its health check. `None` if it has no health check.
    pub(super) fn health_check(&self) -> Option<Vec<String>> {
        let test = parse_strings(&self.0["healthcheck"]["test"]);
        let (kind, command) = test.split_first()?;
        assert_eq!(
            kind, "CMD",
            "the image has no shell for a {kind} health check"
        );
        Some(command.to_vec())
    }

    /// Linux capabilities that it drops.
    pub(super) fn cap_drop(&self) -> Vec<String> {
        self.string_list("cap_drop")
    }

    /// Security options, such as `no-new-privileges:true`.
    pub(super) fn security_opt(&self) -> Vec<String> {
        self.string_list("security_opt")
    }

    /// Whether its root file system is read-only.
    pub(super) fn is_read_only(&self) -> bool {
        self.0["read_only"] == true
    }

    /// Memory limit in bytes.
    pub(super) fn memory_limit(&self) -> i64 {
        self.string("mem_limit").parse().unwrap()
    }

    /// Limit of processes and threads.
    pub(super) fn pids_limit(&self) -> i64 {
        self.0["pids_limit"].as_i64().unwrap()
    }

    /// Mounted files and volumes.
    pub(super) fn mounts(&self) -> Vec<ServiceMount> {
        let listed = self.0["volumes"].as_array().into_iter().flatten();
        let mounted = listed.map(|mount| ServiceMount {
            source: mount["source"].as_str().unwrap().to_owned(),
            target: mount["target"].as_str().unwrap().to_owned(),
            is_volume: mount["type"] == "volume",
        });
        mounted.collect()
    }

    fn string(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap()
    }

    fn string_list(&self, field: &str) -> Vec<String> {
        parse_strings(&self.0[field])
    }
}

/// Strings of a JSON array; empty if it is missing.
fn parse_strings(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items
        .map(|item| item.as_str().unwrap().to_owned())
        .collect()
}
