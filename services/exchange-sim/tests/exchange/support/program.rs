//! exchange-sim as a process.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

pub(crate) fn program(arguments: &[impl AsRef<OsStr>]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_exchange-sim"));
    command.env_clear().args(arguments);
    command
}

/// A serving process with its address.
pub(crate) fn serve(arguments: &[impl AsRef<OsStr>]) -> (Child, SocketAddr) {
    let mut child = program(arguments)
        .args(["--listen", "127.0.0.1:0", "--log-format", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = log.find_map(|line| {
        let entry: Value = serde_json::from_str(&line.unwrap()).unwrap();
        entry["address"].as_str().map(|a| a.parse().unwrap())
    });
    (child, address.unwrap())
}
