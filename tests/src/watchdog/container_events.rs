//! Docker's own events of a project, as they happen: Docker remembers only the last 256 of the whole machine.

use super::{Unit, WatchdogRig};
use crate::docker::docker_command;
use crate::process::Process;
use crate::wait::{DEFAULT_TIMEOUT, eventually};

/// Events since the start of this watch.
pub struct ContainerEvents(Process);

impl ContainerEvents {
    /// Starts to watch the containers of the rig's project on the machine's Docker daemon.
    pub fn watch(rig: &WatchdogRig) -> Self {
        let mut command = docker_command(None);
        let label = format!("label=com.docker.compose.project={}", rig.project);
        command.args(["events", "--filter", "type=container", "--filter", &label]);
        // Labels, because an operator may rename a container.
        let [service, number] = ["service", "container-number"]
            .map(|key| format!(r#"{{{{index .Actor.Attributes "com.docker.compose.{key}"}}}}"#));
        command.args(["--format", &format!("{{{{.Action}}}} {service}-{number}")]);
        Self(Process::start("docker events", command))
    }

    /// Number of events of this action and of a unit.
    pub fn count(&self, action: &str, unit: &Unit) -> usize {
        let line = format!("{action} {}", unit.name);
        let lines = self.0.out();
        lines.iter().filter(|known| **known == line).count()
    }

    /// Waits for the `count`-th event of this action and of a unit.
    pub async fn wait_for(&self, action: &str, unit: &Unit, count: usize) {
        let what = format!("{count} events {action} of {}", unit.name);
        eventually(&what, DEFAULT_TIMEOUT, async || {
            (self.count(action, unit) >= count).then_some(())
        })
        .await;
    }
}
