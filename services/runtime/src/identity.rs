//! Who this process is: a name that survives restarts, and a boot id that does not.

use std::net::IpAddr;
use std::time::Duration;

use clap::Args;
use protocol::ids::SubjectToken;

use crate::process::ExitError;
use crate::settings::whole_number;

const LOOKUP_DEADLINE: Duration = Duration::from_secs(2);

/// What every long-lived process is told about itself. Part of its settings.
#[derive(Debug, Clone, Args)]
pub struct InstanceSettings {
    /// This instance's name; else the container's service and number, else the host's
    #[arg(long, env = "INSTANCE", value_name = "INSTANCE")]
    pub instance: Option<SubjectToken>,

    /// Seconds between heartbeats
    #[arg(long, env = "HEARTBEAT_SECS", value_name = "HEARTBEAT_SECS",
          default_value = "5", value_parser = whole_number::<u64>(1..=60))]
    heartbeat_secs: u64,
}

impl InstanceSettings {
    /// Who this process is.
    ///
    /// # Errors
    /// As [`Identity::find`].
    pub async fn identify(&self) -> Result<Identity, ExitError> {
        Identity::find(self.instance.clone()).await
    }

    /// Time between heartbeats.
    pub const fn heartbeat_interval(&self) -> Duration {
        Duration::from_secs(self.heartbeat_secs)
    }
}

/// This run of this instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The same after a restart: `trader-paper-2`.
    pub instance: SubjectToken,
    /// New with every start.
    pub boot: SubjectToken,
}

impl Identity {
    /// The given name, else the one Docker's DNS knows this container by (service and number), else
    /// the host name.
    ///
    /// # Errors
    /// Exit 78 if no usable name is found: `INSTANCE` must be set.
    pub async fn find(given: Option<SubjectToken>) -> Result<Self, ExitError> {
        let instance = match given {
            Some(name) => name,
            None => tokio::time::timeout(LOOKUP_DEADLINE, tokio::task::spawn_blocking(own_name))
                .await
                .ok()
                .and_then(Result::ok)
                .flatten()
                .or_else(host_name)
                .ok_or_else(|| ExitError::config("INSTANCE is not set and the host has no name"))?,
        };
        Ok(Self {
            instance,
            boot: boot_id(),
        })
    }
}

/// A name that no other run of any process has.
pub fn boot_id() -> SubjectToken {
    let id = uuid::Uuid::new_v4().simple().to_string();
    // 32 hex digits are a token; the empty-handed branch cannot be reached.
    id.parse()
        .unwrap_or_else(|_| unreachable!("hex is a token"))
}

/// Docker answers the reverse lookup of a container's address with `<container>.<network>`.
fn own_name() -> Option<SubjectToken> {
    let name = dns_lookup::lookup_addr(&own_address()?).ok()?;
    let (container, network) = name.split_once('.')?;
    service_and_number(container, network)
}

/// `bearish-alpha-trader-paper-2` in network `bearish-alpha_default` is `trader-paper-2`.
fn service_and_number(container: &str, network: &str) -> Option<SubjectToken> {
    let (project, _) = network.rsplit_once('_')?;
    let name = container.strip_prefix(project)?.strip_prefix('-')?;
    name.parse().ok()
}

/// Docker writes a container's own address into its `/etc/hosts`, also on an internal network.
fn own_address() -> Option<IpAddr> {
    let host = dns_lookup::get_hostname().ok()?;
    dns_lookup::lookup_host(&host).ok()?.next()
}

fn host_name() -> Option<SubjectToken> {
    let name = dns_lookup::get_hostname().ok()?;
    name.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instance_name_is_service_and_number_in_any_project() {
        let name = |c, n| service_and_number(c, n).map(String::from);
        let found = name("bearish-alpha-trader-paper-2", "bearish-alpha_default");
        assert_eq!(found.as_deref(), Some("trader-paper-2"));
        let found = name("my_proj-trader-live-1", "my_proj_default");
        assert_eq!(found.as_deref(), Some("trader-live-1"));
        assert_eq!(name("db", "bridge"), None);
    }

    #[tokio::test]
    async fn identity_keeps_the_given_name_and_gets_a_new_boot() {
        let given: SubjectToken = "t1".parse().unwrap();
        let first = Identity::find(Some(given.clone())).await.unwrap();
        let second = Identity::find(Some(given.clone())).await.unwrap();
        assert_eq!(first.instance, given);
        assert_ne!(first.boot, second.boot);
    }
}
