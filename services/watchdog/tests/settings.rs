//! Rejected settings: exit 78 and one line that names the variable, the value and what is expected.
//!
//! This package needs such a test so that its program is built beside the system tests, with failpoints.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::process::Command;

/// Exit code and standard error.
fn rejected(name: &str, value: &str) -> (Option<i32>, String) {
    let ended = Command::new(env!("CARGO_BIN_EXE_watchdog"))
        .env_clear()
        .env("NATS_URL", "nats://127.0.0.1:9")
        .env(name, value)
        .output()
        .unwrap();
    (
        ended.status.code(),
        String::from_utf8(ended.stderr).unwrap(),
    )
}

#[test]
fn settings_error_names_variable_value_and_allowed_range() {
    for (name, value, allowed) in [
        ("WATCHDOG_HEAL_MIN_INTERVAL_SECS", "9", "10..=86400"),
        ("WATCHDOG_HEAL_MIN_INTERVAL_SECS", "soon", "invalid digit"),
        ("WATCHDOG_MAX_STARTING", "0", "1..=1000"),
        ("WATCHDOG_RESTART_BUDGET", "20", "RESTARTS/HOURS"),
        ("DOCKER_HOST", "tcp://host:2375", "unix://"),
        (
            "DOCKER_HOST",
            "unix:///nowhere/docker.sock",
            "mount the Docker socket",
        ),
    ] {
        let (code, stderr) = rejected(name, value);
        assert_eq!(code, Some(78), "{stderr}");
        assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");
        for text in [name, value, allowed] {
            assert!(stderr.contains(text), "{text}: {stderr}");
        }
    }
}
