//! Starts the project's images as containers with the settings of compose.yaml: bus, exchange and traders on
//! a network of the test's own. The images must exist. Entry points: [`ComposeStack`] and [`Project`].
//!
//! The `docker` command does what testcontainers does not offer (labels of networks and volumes). Everything
//! carries the run's label, by which `scripts/test` removes what a killed test left behind.

mod command;
mod compose_service;
mod container;
mod network;
mod project;

use std::process::Command;

use runtime::bus::{Bus, BusSettings};
use serde_json::Value;

pub(crate) use command::docker_command;
pub use command::{
    LABEL, bridge_gateway, docker, given_run_name, run_cleanup, run_command, run_name,
};
pub use compose_service::compose;
pub use container::{Container, ContainerSetup};
pub use project::{Project, inspect};

use network::{TestNetwork, VOLUMES};

use crate::journals::{self, Batches};
use crate::nats::Role;
use crate::wait::{DEFAULT_TIMEOUT, eventually};

/// Port of nats-server in its container.
const BUS_PORT: u16 = 4222;
/// Full name and `docker image inspect` of one of the project's images. Panics if it is missing.
pub fn require_image(name: &str) -> (String, Value) {
    let (full, details) = find_image(name);
    let details = details.unwrap_or_else(|| {
        panic!("image {full} is missing: run `bash -c '. scripts/lib.sh; build_images dev'` first")
    });
    (full, details)
}

/// Names of the project's images.
const IMAGES: [&str; 7] = [
    "nats",
    "bus-init",
    "exchange-sim",
    "trader",
    "socket-guard",
    "watchdog",
    "notifier",
];

/// Checks that every image of the system is there.
///
/// # Panics
/// If one is missing.
pub fn require_all_images() {
    for name in IMAGES {
        require_image(name);
    }
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
