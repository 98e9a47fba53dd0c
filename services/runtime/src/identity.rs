//! Identity of this process: project, host and instance, which survive restarts, and a boot id, which does not.

use std::net::IpAddr;
use std::time::Duration;

use clap::Args;
use protocol::ids::{HostKey, ProcessKey, ProcessRole, Service, SubjectToken};

use crate::exit_error::ExitError;
use crate::settings::whole_number;

const LOOKUP_DEADLINE: Duration = Duration::from_secs(2);
/// Project of a process that runs in no container and has no `BEARISH_PROJECT`.
const DEFAULT_PROJECT: &str = "bearish-alpha";

/// Settings of every long-lived process about itself.
#[derive(Debug, Clone, Args)]
pub struct InstanceSettings {
    /// Name of this instance [default: service and number of the container, else the host name]
    #[arg(long, env = "INSTANCE", value_name = "INSTANCE")]
    pub instance: Option<SubjectToken>,

    /// Compose project of this process [default: that of its container, else bearish-alpha]
    #[arg(long, env = "BEARISH_PROJECT", value_name = "BEARISH_PROJECT")]
    pub project: Option<SubjectToken>,

    /// Name of this machine on the bus
    #[arg(
        long,
        env = "BEARISH_HOST",
        value_name = "BEARISH_HOST",
        default_value = "local"
    )]
    pub host: SubjectToken,

    /// Seconds between heartbeats
    #[arg(long, env = "HEARTBEAT_SECS", value_name = "HEARTBEAT_SECS",
          default_value = "5", value_parser = whole_number::<u64>(1..=60))]
    heartbeat_secs: u64,
}

impl InstanceSettings {
    /// Identity of this process, with a new boot id.
    ///
    /// # Errors
    /// Exit 78 if `INSTANCE` is not set and neither the container nor the host has a usable name.
    pub async fn identify(&self) -> Result<Identity, ExitError> {
        let own = if self.instance.is_none() || self.project.is_none() {
            container_name().await
        } else {
            None
        };
        let (instance, project) =
            own.map_or((None, None), |own| (Some(own.instance), Some(own.project)));
        let instance = self.instance.clone().or(instance).or_else(host_name);
        Ok(Identity {
            host: self.host_key_in(project)?,
            instance: instance
                .ok_or_else(|| ExitError::config("INSTANCE is not set and the host has no name"))?,
            boot: boot_id(),
        })
    }

    /// Identity of this process in a project that the caller found out.
    ///
    /// # Errors
    /// As [`identify`](Self::identify).
    pub async fn identify_in(&self, project: SubjectToken) -> Result<Identity, ExitError> {
        let settings = Self {
            project: Some(project),
            ..self.clone()
        };
        settings.identify().await
    }

    /// Project and host of this process.
    ///
    /// # Errors
    /// None in practice: the default project is a valid name.
    pub async fn host_key(&self) -> Result<HostKey, ExitError> {
        let own = if self.project.is_none() {
            container_name().await
        } else {
            None
        };
        self.host_key_in(own.map(|own| own.project))
    }

    fn host_key_in(&self, found: Option<SubjectToken>) -> Result<HostKey, ExitError> {
        let project = match self.project.clone().or(found) {
            Some(project) => project,
            None => DEFAULT_PROJECT
                .parse()
                .map_err(|_| ExitError::internal("bug: the default project is no name"))?,
        };
        Ok(HostKey {
            project,
            host: self.host.clone(),
        })
    }

    /// Time between two heartbeats of the process.
    pub const fn heartbeat_interval(&self) -> Duration {
        Duration::from_secs(self.heartbeat_secs)
    }
}

/// One boot of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Project and host of the process.
    pub host: HostKey,
    /// Name that survives restarts, e.g. `trader-paper-2`.
    pub instance: SubjectToken,
    /// Random id of this boot.
    pub boot: SubjectToken,
}

impl Identity {
    /// Name of this process's log file, without extension: `trader-trader-paper-1` is `<service>-<instance>`; an
    /// instance that is named after its service is not named twice.
    pub fn log_name(&self, service: Service) -> String {
        let instance = self.instance.as_str();
        if instance.starts_with(service.as_str()) {
            instance.to_owned()
        } else {
            format!("{service}-{instance}")
        }
    }

    /// Key of this process in subjects.
    pub fn process(&self, role: ProcessRole) -> ProcessKey {
        self.host.process(role, self.instance.clone())
    }
}

/// Project and instance that Docker's DNS has for this container.
#[derive(Debug, PartialEq, Eq)]
struct ContainerName {
    project: SubjectToken,
    instance: SubjectToken,
}

/// Queries the name of this container; `None` outside a container of Compose, or without an answer in time.
async fn container_name() -> Option<ContainerName> {
    let lookup = tokio::task::spawn_blocking(look_up_own_address);
    let found = tokio::time::timeout(LOOKUP_DEADLINE, lookup).await;
    found.ok()?.ok()?
}

/// Random id that no other boot of any process has.
pub fn boot_id() -> SubjectToken {
    let id = uuid::Uuid::new_v4().simple().to_string();
    // 32 hex digits are always a valid token.
    id.parse()
        .unwrap_or_else(|_| unreachable!("hex is a token"))
}

/// Docker's DNS answers the reverse lookup of a container's address with `<container>.<network>`.
fn look_up_own_address() -> Option<ContainerName> {
    let name = dns_lookup::lookup_addr(&own_address()?).ok()?;
    let (container, network) = name.split_once('.')?;
    parse_container_name(container, network)
}

/// `bearish-alpha-trader-paper-2` in network `bearish-alpha_default` is `trader-paper-2` of `bearish-alpha`.
fn parse_container_name(container: &str, network: &str) -> Option<ContainerName> {
    let (project, _) = network.rsplit_once('_')?;
    let instance = container.strip_prefix(project)?.strip_prefix('-')?;
    Some(ContainerName {
        project: project.parse().ok()?,
        instance: instance.parse().ok()?,
    })
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

    fn settings(variables: &[(&str, &str)]) -> InstanceSettings {
        #[derive(clap::Parser)]
        struct Sample {
            #[command(flatten)]
            own: InstanceSettings,
        }
        let arguments = variables
            .iter()
            .flat_map(|(name, value)| [format!("--{name}"), (*value).to_owned()]);
        let arguments = std::iter::once("settings".to_owned()).chain(arguments);
        <Sample as clap::Parser>::try_parse_from(arguments)
            .unwrap_or_else(|error| panic!("{error}"))
            .own
    }

    #[test]
    fn instance_name_is_service_and_number_in_any_project() {
        let parse = |container, network| {
            let name = parse_container_name(container, network)?;
            Some((String::from(name.project), String::from(name.instance)))
        };
        for (container, network, project, instance) in [
            (
                "bearish-alpha-trader-paper-2",
                "bearish-alpha_default",
                "bearish-alpha",
                "trader-paper-2",
            ),
            (
                "my_proj-trader-live-1",
                "my_proj_bus",
                "my_proj",
                "trader-live-1",
            ),
        ] {
            let expected = Some((project.to_owned(), instance.to_owned()));
            assert_eq!(parse(container, network), expected);
        }
        assert_eq!(parse("db", "bridge"), None);
    }

    #[tokio::test]
    async fn identity_keeps_the_given_names_and_gets_a_new_boot() {
        let settings = settings(&[("instance", "t1"), ("project", "p1"), ("host", "h1")]);
        let first = settings.identify().await.unwrap();
        let second = settings.identify().await.unwrap();
        assert_eq!(
            first.process(ProcessRole::Notifier).to_string(),
            "notifier.p1.h1.t1"
        );
        assert_eq!(second.host, settings.host_key().await.unwrap());
        assert_ne!(first.boot, second.boot);
    }

    #[tokio::test]
    async fn host_is_local_unless_named() {
        let key = settings(&[("project", "p1")]).host_key().await.unwrap();
        assert_eq!(key.to_string(), "p1.local");
    }
}
