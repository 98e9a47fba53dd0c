//! Network and volumes of one test.

use super::command::{LABEL, docker, run_name};

/// Volumes that compose.yaml names.
pub(super) const VOLUMES: [&str; 3] = ["nats", "exchange-sim", "logs"];

/// Network and volumes of one test; removed on drop.
pub(crate) struct TestNetwork(String);

impl TestNetwork {
    pub(super) fn new(test: &str) -> Self {
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

    pub(super) fn project_name(&self) -> &str {
        &self.0
    }

    /// Named as Compose names networks: containers derive their project from it.
    pub(super) fn network_name(&self) -> String {
        format!("{}_net", self.0)
    }

    pub(super) fn volume_name(&self, name: &str) -> String {
        format!("{}_{name}", self.0)
    }

    pub(super) fn container_name(&self, service: &str) -> String {
        format!("{}-{service}-1", self.0)
    }
}
