//! One container: its setup from a service of compose.yaml ([`ContainerSetup`]), and control of a running one
//! ([`Container`]).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use testcontainers::bollard::Docker;
use testcontainers::bollard::models::{HealthStatusEnum, HostConfig};
use testcontainers::bollard::query_parameters::{
    InspectContainerOptions, KillContainerOptionsBuilder,
};
use testcontainers::core::client::docker_client_instance;
use testcontainers::core::{AccessMode, IntoContainerPort, Mount, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, Healthcheck, ImageExt};

use super::compose_service::ComposeService;
use super::{LABEL, TestNetwork, run_name};
use crate::wait::{DEFAULT_TIMEOUT, eventually};

const LOOPBACK: &str = "127.0.0.1";

/// Settings of a container that is to be started.
pub struct ContainerSetup<'a> {
    network: &'a TestNetwork,
    service: ComposeService,
    name: String,
    hostname: Option<String>,
    env: BTreeMap<String, String>,
    flags: Vec<String>,
    port: Option<u16>,
}

impl<'a> ContainerSetup<'a> {
    /// The first container of a service, named as Compose names it.
    pub(super) fn new(network: &'a TestNetwork, service: &str) -> Self {
        let name = network.container_name(service);
        let service = ComposeService::read(service);
        Self {
            name,
            hostname: None,
            env: service.environment(),
            flags: service.command(),
            port: None,
            network,
            service,
        }
        // No password may be logged at any level.
        .env("LOG_LEVEL", "debug")
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Replaces compose.yaml's command by these flags.
    #[must_use]
    pub fn flags(mut self, flags: &str) -> Self {
        self.flags = flags.split_whitespace().map(str::to_owned).collect();
        self
    }

    /// Sets the host name, and a container name that differs from Compose's.
    #[must_use]
    pub fn with_hostname(mut self, hostname: &str) -> Self {
        self.name = format!("{hostname}-of-{}", self.network.project_name());
        self.hostname = Some(hostname.to_owned());
        self
    }

    /// Publishes this port on the loopback interface of this machine.
    #[must_use]
    pub(super) fn with_published_port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Starts the container without waiting for its health check.
    pub async fn start(self) -> Container {
        self.launch(Vec::new()).await
    }

    /// Starts the container and waits until its health check succeeds.
    pub async fn start_healthy(self) -> Container {
        self.launch(vec![WaitFor::healthcheck()]).await
    }

    async fn launch(self, ready: Vec<WaitFor>) -> Container {
        let name = self.name.clone();
        let request = self.request().with_ready_conditions(ready);
        let started = request.start().await;
        let inner = started.unwrap_or_else(|error| panic!("{name}: {error}"));
        Container { name, inner }
    }

    fn request(self) -> ContainerRequest<GenericImage> {
        let service = &self.service;
        let (image, tag) = service.image();
        let mut request = GenericImage::new(image, tag)
            .with_container_name(&self.name)
            .with_label(LABEL, run_name())
            .with_network(self.network.network_name())
            .with_readonly_rootfs(service.is_read_only())
            .with_cmd(self.flags)
            .with_host_config_modifier(with_limits(service.memory_limit(), service.pids_limit()));
        for capability in service.cap_drop() {
            request = request.with_cap_drop(capability);
        }
        for option in service.security_opt() {
            request = request.with_security_opt(option);
        }
        for (name, value) in self.env {
            request = request.with_env_var(name, value);
        }
        for mount in service.mounts() {
            request = request.with_mount(if mount.is_volume {
                Mount::volume_mount(self.network.volume_name(&mount.source), mount.target)
            } else {
                Mount::bind_mount(mount.source, mount.target).with_access_mode(AccessMode::ReadOnly)
            });
        }
        if let Some(check) = service.health_check() {
            request = request.with_health_check(health_check_every_second(check));
        }
        if let Some(hostname) = self.hostname {
            request = request.with_hostname(hostname);
        }
        match self.port {
            Some(port) => request.with_mapped_port(0, port.tcp()),
            None => request,
        }
    }
}

/// Health check with compose.yaml's command and an interval of one second, because tests wait for it.
fn health_check_every_second(command: Vec<String>) -> Healthcheck {
    Healthcheck::cmd(command)
        .with_interval(Duration::from_secs(1))
        .with_timeout(Duration::from_secs(5))
        .with_retries(5)
        .with_start_period(DEFAULT_TIMEOUT)
}

fn with_limits(memory: i64, pids: i64) -> impl Fn(&mut HostConfig) + Send + Sync + 'static {
    move |host| {
        host.memory = Some(memory);
        host.pids_limit = Some(pids);
        let bindings = host
            .port_bindings
            .iter_mut()
            .flat_map(|all| all.values_mut());
        for binding in bindings.flatten().flatten() {
            binding.host_ip = Some(LOOPBACK.to_owned());
        }
    }
}

/// A container that was started. Removed on drop.
pub struct Container {
    name: String,
    inner: ContainerAsync<GenericImage>,
}

impl Container {
    /// Name in Docker and on its network.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Kills the container through Docker.
    pub async fn kill(&self) {
        let signal = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
        let docker = docker_client().await;
        let killed = docker.kill_container(&self.name, Some(signal)).await;
        killed.unwrap();
    }

    /// Stops the container: SIGTERM, then SIGKILL after compose.yaml's 10 s. Returns the time until it ended.
    pub async fn stop(&self) -> Duration {
        let start = Instant::now();
        self.inner.stop_with_timeout(Some(10)).await.unwrap();
        start.elapsed()
    }

    /// Starts the same container again, with its volumes.
    pub async fn restart(&self) {
        self.inner.start().await.unwrap();
    }

    /// Waits until its health check succeeds.
    pub async fn wait_until_healthy(&self) {
        let what = format!("{} is healthy", self.name);
        eventually(&what, DEFAULT_TIMEOUT, async || {
            let found = docker_client()
                .await
                .inspect_container(&self.name, None::<InspectContainerOptions>)
                .await
                .unwrap();
            let status = found.state?.health?.status?;
            (status == HealthStatusEnum::HEALTHY).then_some(())
        })
        .await;
    }

    /// Waits until the container has ended and returns its exit code.
    pub async fn wait_for_exit_code(&self) -> i64 {
        let what = format!("{} has ended", self.name);
        eventually(&what, DEFAULT_TIMEOUT, async || {
            self.inner.exit_code().await.unwrap()
        })
        .await
    }

    /// Whether the container is running.
    pub async fn is_running(&self) -> bool {
        self.inner.is_running().await.unwrap()
    }

    /// Log so far, both streams.
    pub async fn log(&self) -> String {
        let out = self.inner.stdout_to_vec().await.unwrap();
        String::from_utf8(out).unwrap() + &self.stderr().await
    }

    /// Standard error so far.
    pub async fn stderr(&self) -> String {
        let err = self.inner.stderr_to_vec().await.unwrap();
        String::from_utf8(err).unwrap()
    }

    /// Current address of a published port; it changes with a restart. Does not use testcontainers' `get_host`:
    /// if this machine has a `/.dockerenv`, that is the bridge's gateway, but the port is published on the
    /// loopback interface only.
    pub async fn address(&self, port: u16) -> String {
        let port = self.inner.get_host_port_ipv4(port.tcp()).await.unwrap();
        format!("{LOOPBACK}:{port}")
    }
}

async fn docker_client() -> Docker {
    docker_client_instance().await.unwrap()
}
