//! The house rules that the compiler does not know, read from the dependency tree: brains are pure,
//! and arrows run one way.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::process::Command;

/// What would give a brain a clock, a socket, chance or a thread pool.
const IMPURE: [&str; 12] = [
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

const BRAINS: [&str; 3] = ["bearish-engine", "bearish-supervision", "bearish-delivery"];

/// Every package that this one needs at run time, however far away, itself included. Its own features
/// only: what other members of the workspace switch on is not its doing.
fn behind(package: &str) -> BTreeSet<String> {
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
fn housemates(package: &str) -> Vec<String> {
    let others = behind(package).into_iter().filter(|name| name != package);
    others.filter(|name| name.starts_with("bearish-")).collect()
}

#[test]
fn an_impure_package_is_known_when_it_is_there() {
    let behind = behind("bearish-runtime");
    assert!(behind.contains("tokio") && behind.contains("uuid"));
}

#[test]
fn brains_and_the_protocol_have_no_clock_no_socket_and_no_chance() {
    for package in BRAINS.into_iter().chain(["bearish-protocol"]) {
        let behind = behind(package);
        for impure in IMPURE {
            assert!(!behind.contains(impure), "{package} needs {impure}");
        }
    }
}

#[test]
fn brains_know_neither_each_other_nor_the_runtime_nor_a_body() {
    for package in BRAINS.into_iter().chain(["bearish-runtime"]) {
        assert_eq!(
            housemates(package),
            ["bearish-protocol"],
            "behind {package}"
        );
    }
}

#[test]
fn the_guard_before_the_docker_socket_has_no_dealings_with_anybody() {
    let behind = housemates("bearish-socket-guard");
    assert_eq!(behind, ["bearish-protocol", "bearish-runtime"]);
    for body in ["bearish-watchdog", "bearish-trader", "bearish-notifier"] {
        let behind = housemates(body);
        assert!(
            !behind.contains(&"bearish-socket-guard".to_owned()),
            "{body}"
        );
    }
}
