//! The `docker` command, and the name of the test run that everything is labelled with.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

/// Key of the label whose value is the run's name.
pub const LABEL: &str = "bearish-alpha.test";

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

/// Returns the address of this machine on Docker's default bridge, at which containers reach it.
///
/// A daemon that does not state the gateway uses the first address of the subnet.
///
/// # Panics
/// If Docker has no default bridge.
pub fn bridge_gateway() -> String {
    let format = "{{with index .IPAM.Config 0}}{{.Gateway}} {{.Subnet}}{{end}}";
    let output = docker(&["network", "inspect", "--format", format, "bridge"]);
    let (gateway, subnet) = output.trim_end().split_once(' ').unwrap();
    if !gateway.is_empty() {
        return gateway.to_owned();
    }
    let network: Ipv4Addr = subnet.split_once('/').unwrap().0.parse().unwrap();
    Ipv4Addr::from(u32::from(network) + 1).to_string()
}

/// Command line `docker` for the daemon at `host`, or for the machine's daemon.
pub(crate) fn docker_command(host: Option<&str>) -> Command {
    let mut command = Command::new("docker");
    command.args(host.iter().flat_map(|host| ["-H", host]));
    command
}
