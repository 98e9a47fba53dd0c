//! Tests of the core through its public interface: the life of a unit in a simulated Docker, hours in milliseconds.

#[cfg(test)]
mod attention;
#[cfg(test)]
mod blindness;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod critical;
#[cfg(test)]
mod docker_cli_interference;
#[cfg(test)]
mod docker_outage;
mod feed_connectivity;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod hangs;
#[cfg(test)]
mod heartbeat_source;
#[cfg(test)]
mod latches;
#[cfg(test)]
mod many_units;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod recovery;
#[cfg(test)]
mod restarts;
#[cfg(test)]
mod service_healing;
#[cfg(test)]
mod support;
