//! Services of compose.yaml as Compose itself starts them, under a project name of their own: with its
//! health checks, labels and restart policies. What is done to them is the caller's business.

use std::process::Command;

use serde_json::Value;

use super::{
    BUS_PORT, compose_service::compose, connect_operator, docker, run_cleanup, run_command,
};
use runtime::bus::Bus;

/// The password of every role where nobody set another.
const DEFAULT_PASSWORD: &str = "development";

/// A Compose project that is gone when this is dropped.
pub struct Project(String);

impl Project {
    /// `docker compose up` with these variables and arguments; returns when all is healthy. What was
    /// started is also gone if it never is.
    pub fn up(name: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        let project = Self(name.to_owned());
        let up = "up --no-build --detach --wait --wait-timeout 120";
        let mut command = project.compose();
        command.envs(variables.iter().copied());
        run_command(command.args(up.split(' ')).args(arguments));
        project
    }

    /// Compose on this project.
    pub fn compose(&self) -> Command {
        compose(&self.0)
    }

    /// The name of a service's container in Docker.
    pub fn container_name(&self, service: &str, number: u32) -> String {
        format!("{}-{service}-{number}", self.0)
    }

    /// Where this machine reaches a service; also on a network of which nothing leads outside.
    pub fn address(&self, service: &str) -> String {
        let networks = "{{json .NetworkSettings.Networks}}";
        let known = inspect(&self.container_name(service, 1), networks);
        let networks: Value = serde_json::from_str(&known).unwrap();
        let bus = &networks[format!("{}_bus", self.0)];
        bus["IPAddress"].as_str().unwrap().to_owned()
    }

    /// A connection to its bus with the operator's permissions.
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

/// What `docker inspect` says of a container in this format.
pub fn inspect(container: &str, format: &str) -> String {
    let said = docker(&["inspect", "--format", format, container]);
    said.trim().to_owned()
}
