//! Starts the project's images as containers with the settings of compose.yaml: bus, exchange and traders on
//! a network of the test's own. The images must exist. Entry points: [`ComposeStack`] and [`Project`].
//!
//! The `docker` command does what testcontainers does not offer (labels of networks and volumes). Everything
//! carries the run's label, by which `scripts/test` removes what a killed test left behind.

mod compose_service;
mod container;
mod project;

use std::process::{Command, Stdio};

use runtime::bus::{Bus, BusSettings};
use serde_json::Value;

pub use compose_service::compose;
pub use container::{Container, ContainerSetup};
pub use project::{Project, inspect};

use crate::journals::{self, Batches};
use crate::nats::Role;
use crate::wait::{DEFAULT_TIMEOUT, eventually};

/// Key of the label whose value is the run's name.
pub const LABEL: &str = "bearish-alpha.test";
/// Port of nats-server in its container.
const BUS_PORT: u16 = 4222;
/// Volumes that compose.yaml names.
const VOLUMES: [&str; 3] = ["nats", "exchange-sim", "logs"];

/// Name of this test run, the value of [`LABEL`].
pub fn run_name() -> String {
    given_run_name().unwrap_or_else(|| format!("bearish-test-{}", std::process::id()))
}

/// Name of a run that consists of several test processes. `None` outside `scripts/test`.
pub fn given_run_name() -> Option<String> {
    std::env::var("BEARISH_TEST_RUN").ok()
}

/// Runs a command and returns its standard output. Panics with its standard error if it fails.
pub fn run_command(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command in a destructor: prints a failure instead of panicking.
pub fn run_cleanup(command: &mut Command) {
    match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => eprintln!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => eprintln!("{command:?}: {error}"),
    }
}

/// Runs the `docker` command and returns its standard output.
pub fn docker(arguments: &[&str]) -> String {
    run_command(Command::new("docker").args(arguments))
}

/// Full name and `docker image inspect` of one of the project's images. Panics if it is missing.
pub fn require_image(name: &str) -> (String, Value) {
    let (full, details) = find_image(name);
    let details = details.unwrap_or_else(|| {
        panic!("image {full} is missing: run `bash -c '. scripts/lib.sh; build_images'` first")
    });
    (full, details)
}

/// Full name and `docker image inspect` of one of the project's images. `None` if it is missing.
pub fn find_image(name: &str) -> (String, Option<Value>) {
    let prefix = std::env::var("BEARISH_IMAGES");
    let prefix = prefix.as_deref().unwrap_or("bearish-alpha");
    let full = format!("{prefix}/{name}:latest");
    let found = Command::new("docker")
        .args(["image", "inspect", "--format", "{{json .}}", &full])
        .output();
    let found = found.unwrap_or_else(|error| panic!("docker: {error}; run `.ci/prepare docker`"));
    let details = found.status.success().then_some(found.stdout);
    let details = details.map(|json| serde_json::from_slice(&json).unwrap());
    (full, details)
}

/// Network and volumes of one test; removed on drop.
pub(crate) struct TestNetwork(String);

impl TestNetwork {
    fn new(test: &str) -> Self {
        let network = Self(format!("{}-{test}", run_name()));
        let label = format!("{LABEL}={}", run_name());
        docker(&[
            "network",
            "create",
            "--label",
            &label,
            &network.network_name(),
        ]);
        for volume in VOLUMES {
            docker(&[
                "volume",
                "create",
                "--label",
                &label,
                &network.volume_name(volume),
            ]);
        }
        network
    }

    fn project_name(&self) -> &str {
        &self.0
    }

    /// Named as Compose names networks: containers derive their project from it.
    fn network_name(&self) -> String {
        format!("{}_net", self.0)
    }

    fn volume_name(&self, name: &str) -> String {
        format!("{}_{name}", self.0)
    }

    fn container_name(&self, service: &str) -> String {
        format!("{}-{service}-1", self.0)
    }
}

impl Drop for TestNetwork {
    fn drop(&mut self) {
        let volumes = VOLUMES.map(|name| self.volume_name(name));
        run_cleanup(Command::new("docker").args(["network", "rm", &self.network_name()]));
        run_cleanup(Command::new("docker").args(["volume", "rm"]).args(&volumes));
    }
}

/// Bus with its streams, and exchange. Fields are dropped in this order: the network last.
pub struct ComposeStack {
    /// Container of nats-server, with its streams.
    pub nats: Container,
    /// Container of the simulated exchange.
    pub exchange: Container,
    bus_init: Container,
    network: TestNetwork,
}

impl ComposeStack {
    /// Starts both and waits until their health checks succeed. `test` makes the names unique.
    pub async fn up(test: &str) -> Self {
        for name in ["nats", "bus-init", "exchange-sim", "trader"] {
            require_image(name);
        }
        let network = TestNetwork::new(test);

        let nats = ContainerSetup::new(&network, "nats")
            .with_published_port(BUS_PORT)
            .start_healthy();
        let exchange = ContainerSetup::new(&network, "exchange-sim").start_healthy();
        let (nats, exchange) = tokio::join!(nats, exchange);
        let bus_init = ContainerSetup::new(&network, "bus-init");
        let url = bus_url(&network);
        let bus_init = bus_init.env("NATS_URL", &url).start().await;
        let code = bus_init.wait_for_exit_code().await;
        assert_eq!(code, 0, "{}", bus_init.log().await);
        Self {
            nats,
            exchange,
            bus_init,
            network,
        }
    }

    /// Setup of a paper trader on this bus and exchange, with compose.yaml's flags.
    pub fn trader(&self) -> ContainerSetup<'_> {
        let exchange = format!("{}:8080", self.exchange.name());
        ContainerSetup::new(&self.network, "trader-paper")
            .env("NATS_URL", &bus_url(&self.network))
            .env("BINANCE_REST_URL", &format!("http://{exchange}"))
            .env("BINANCE_WS_URL", &format!("ws://{exchange}"))
            .env("HEARTBEAT_SECS", "1")
    }

    /// Connects to the bus at its current address with the operator's permissions.
    pub async fn operator_bus(&self) -> Bus {
        connect_operator(
            &self.nats.address(BUS_PORT).await,
            Role::Operator.password(),
        )
        .await
    }

    /// Reads every paper journal.
    pub async fn journals(&self) -> std::collections::BTreeMap<protocol::ids::BookKey, Batches> {
        journals::read_paper(&self.operator_bus().await).await
    }

    /// Checks that no password is in the logs of the stack and of `others`.
    pub async fn assert_no_secret_in_logs(&self, others: &[&Container]) {
        let own = [&self.nats, &self.exchange, &self.bus_init];
        for container in own.into_iter().chain(others.iter().copied()) {
            let log = container.log().await;
            assert!(!log.is_empty(), "the log of {} is empty", container.name());
            for role in Role::ALL {
                let leak = log.lines().find(|line| line.contains(&role.password()));
                assert_eq!(leak, None, "a password in the log of {}", container.name());
            }
        }
    }
}

fn bus_url(network: &TestNetwork) -> String {
    format!("nats://{}:{BUS_PORT}", network.container_name("nats"))
}

/// Connects to the bus at `address` with the operator's permissions.
pub async fn connect_operator(address: &str, password: String) -> Bus {
    let settings = BusSettings {
        nats_url: format!("nats://{address}"),
        nats_user: Some(Role::Operator.user().parse().unwrap()),
        nats_password: Some(password.into()),
        nats_password_file: None,
    };
    eventually("a connection to the bus", DEFAULT_TIMEOUT, async || {
        Bus::try_connect(&settings).await.ok()
    })
    .await
}
