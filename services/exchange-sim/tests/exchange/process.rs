//! The process: exit codes, one line for each error, health check, shutdown.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::support::CandleFile;
use crate::support::program::{program, serve};

fn rejection(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = program(arguments).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn invalid_command_line_ends_with_64_and_one_line() {
    for arguments in [
        ["--fly", "yes"],
        ["--speed", "0"],
        ["--market", "forex"],
        ["--symbols", "BTCUSD"],
    ] {
        let (code, said) = rejection(&arguments);
        assert_eq!(code, Some(64), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(arguments[0]), "{said}");
    }
}

#[test]
fn invalid_file_or_setting_ends_with_78_and_one_line() {
    let file =
        CandleFile::from_text("open_time,open,high,low,close\n60000,1,1,1,1\n120000,1,1,1,NaN\n");
    let path = file.path();
    let path = path.to_str().unwrap();
    for (arguments, text) in [
        (vec!["--market", "replay"], "SIM_CANDLES_FILE is not set"),
        (
            vec!["--market", "replay", "--candles-file", path],
            "line 3, column close: \"NaN\"",
        ),
        (
            vec!["--market", "replay", "--candles-file", "/nowhere"],
            "No such file",
        ),
        (
            vec!["--state-dir", "/nowhere", "--symbols", "XRPUSDT"],
            "SIM_STATE_DIR=\"/nowhere\": ",
        ),
    ] {
        let (code, said) = rejection(&arguments);
        assert_eq!(code, Some(78), "{said}");
        let errors: Vec<&str> = said.lines().collect();
        assert_eq!(errors.len(), 1, "{said}");
        assert!(errors[0].contains(text), "{said}");
    }
}

/// In a container, settings are variables.
#[test]
fn invalid_variable_ends_with_78_and_one_line_that_names_it() {
    for (name, value, expected) in [
        ("SIM_SPEED", "0", "expected a number from 0.1 to 100000"),
        ("SIM_MARKET", "forex", "expected synthetic, replay"),
        ("SIM_SYMBOLS", "BTCUSD", "expected "),
        ("SIM_SEED", "-1", "expected a whole number"),
        ("LOG_FORMAT", "xml", "expected human, json"),
        (
            "LOG_LEVEL",
            "warning",
            "expected error, warn, info, debug, trace",
        ),
    ] {
        let output = program(&[] as &[&str]).env(name, value).output().unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
        let setting = format!("exchange-sim: {name}={value:?}: {expected}");
        assert!(line.starts_with(&setting), "{line}");
    }
}

#[test]
fn process_is_healthy_while_serving_and_ends_within_1s_of_sigterm() {
    let file = CandleFile::minutes(100);
    let path = file.path();
    let replay = [
        "--market",
        "replay",
        "--candles-file",
        path.to_str().unwrap(),
    ];
    let (mut child, address) = serve(&replay);
    let address = address.to_string();
    let health = || program(&["--listen", &address, "health"]).output().unwrap();
    let healthy = health();
    assert_eq!(healthy.status.code(), Some(0));
    assert_eq!(
        String::from_utf8(healthy.stdout).unwrap().lines().count(),
        1
    );

    let asked = Instant::now();
    let sent = Command::new("kill")
        .arg(child.id().to_string())
        .status()
        .unwrap();
    assert!(sent.success());
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(
        asked.elapsed() < Duration::from_secs(1),
        "{:?}",
        asked.elapsed()
    );
    let unhealthy = health();
    assert_eq!(unhealthy.status.code(), Some(1));
    let said = String::from_utf8(unhealthy.stdout).unwrap();
    assert!(said.starts_with("unhealthy: "), "{said}");
}
