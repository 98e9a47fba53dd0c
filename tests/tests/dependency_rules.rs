//! The house rules that the compiler does not know, read from the dependency tree: brains are pure,
//! and arrows run one way.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::process::Command;

/// What would give a brain a clock, a socket, chance or a thread pool.
const IMPURE_PACKAGES: [&str; 12] = [
    "async-nats",
    "axum",
    "binance-sdk",
    "bollard",
    "chrono",
    "getrandom",
    "hyper",
    "mio",
    "rand",
    "reqwest",
    "tokio",
    "uuid",
];

const CORES: [&str; 3] = [
    "bearish-trader-core",
    "bearish-watchdog-core",
    "bearish-notifier-core",
];

/// Every package that this one needs at run time, however far away, itself included. Its own features
/// only: what other members of the workspace switch on is not its doing.
fn dependencies(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--package", package])
        .args(["--edges", "normal,no-proc-macro", "--prefix", "none"])
        .args(["--offline", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "cargo tree for {package}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let names = String::from_utf8(output.stdout).unwrap();
    names
        .lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

/// Those of them that live in this house.
fn workspace_dependencies(package: &str) -> Vec<String> {
    let others = dependencies(package)
        .into_iter()
        .filter(|name| name != package);
    others.filter(|name| name.starts_with("bearish-")).collect()
}

#[test]
fn impure_dependency_is_found_where_there_is_one() {
    let behind = dependencies("bearish-runtime");
    assert!(behind.contains("tokio") && behind.contains("uuid"));
}

#[test]
fn cores_and_protocol_have_no_clock_socket_or_randomness() {
    for package in CORES.into_iter().chain(["bearish-protocol"]) {
        let behind = dependencies(package);
        for impure in IMPURE_PACKAGES {
            assert!(!behind.contains(impure), "{package} needs {impure}");
        }
    }
}

#[test]
fn cores_and_runtime_depend_on_the_protocol_only() {
    for package in CORES.into_iter().chain(["bearish-runtime"]) {
        assert_eq!(
            workspace_dependencies(package),
            ["bearish-protocol"],
            "behind {package}"
        );
    }
}

#[test]
fn socket_guard_is_independent_of_the_other_services() {
    let behind = workspace_dependencies("bearish-socket-guard");
    assert_eq!(behind, ["bearish-protocol", "bearish-runtime"]);
    for body in ["bearish-watchdog", "bearish-trader", "bearish-notifier"] {
        let behind = workspace_dependencies(body);
        assert!(
            !behind.contains(&"bearish-socket-guard".to_owned()),
            "{body}"
        );
    }
}
