//! Starts services of compose.yaml through Compose, with their health checks, labels and restart policies, under
//! a project name of the test's own. Entry point: [`Project`].

use std::process::Command;

use serde_json::Value;

use super::{
    BUS_PORT, compose_service::compose, connect_operator, docker, run_cleanup, run_command,
};
use runtime::bus::Bus;

/// Password of every role that has no other password configured.
const DEFAULT_PASSWORD: &str = "development";

/// A running Compose project. Removed with its volumes on drop.
pub struct Project(String);

impl Project {
    /// Runs `docker compose up` with these variables and arguments, and waits until all services are healthy.
    /// If it fails, the started containers are removed.
    pub fn up(name: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        let project = Self(name.to_owned());
        let up = "up --no-build --detach --wait --wait-timeout 120";
        let mut command = project.compose();
        command.envs(variables.iter().copied());
        run_command(command.args(up.split(' ')).args(arguments));
        project
    }

    /// Command line `docker compose` for this project.
    pub fn compose(&self) -> Command {
        compose(&self.0)
    }

    /// Docker's name of a service's container.
    pub fn container_name(&self, service: &str, number: u32) -> String {
        format!("{}-{service}-{number}", self.0)
    }

    /// IP address of a service on the bus network; reachable from this machine although the network is internal.
    pub fn address(&self, service: &str) -> String {
        let networks = "{{json .NetworkSettings.Networks}}";
        let output = inspect(&self.container_name(service, 1), networks);
        let networks: Value = serde_json::from_str(&output).unwrap();
        let bus = &networks[format!("{}_bus", self.0)];
        bus["IPAddress"].as_str().unwrap().to_owned()
    }

    /// Connects to the project's bus with the operator's permissions.
    pub async fn operator_bus(&self) -> Bus {
        let address = format!("{}:{BUS_PORT}", self.address("nats"));
        connect_operator(&address, DEFAULT_PASSWORD.to_owned()).await
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let down = ["--profile", "*", "down", "--volumes", "--timeout", "1"];
        run_cleanup(self.compose().args(down));
    }
}

/// Output of `docker inspect` for a container in this format.
pub fn inspect(container: &str, format: &str) -> String {
    let output = docker(&["inspect", "--format", format, container]);
    output.trim().to_owned()
}
