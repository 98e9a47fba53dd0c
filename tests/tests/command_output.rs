//! Output of every command of every program: as text, as JSON, and into a pipe that its reader has closed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::process::{Command, Output, Stdio};

use bearish_tests::candle_file::csv;
use bearish_tests::nats::Role;
use bearish_tests::process::binary;
use bearish_tests::system::System;
use clap::CommandFactory;
use serde_json::Value;

/// Commands that need no bus.
const LOCAL: [(&str, &str); 12] = [
    ("trader", "--help"),
    ("trader", "--version"),
    ("trader", "backtest --help"),
    ("trader", "backtest --symbol BTCUSDT --candles {candles}"),
    ("trader", "health"),
    ("watchdog", "--help"),
    ("watchdog", "health"),
    ("notifier", "--help"),
    ("notifier", "preview"),
    ("notifier", "health"),
    ("exchange-sim", "--listen {exchange} health"),
    ("socket-guard", "health"),
];

/// Commands on the bus, each with the role that may give it.
const ON_BUS: [(&str, &str, Role); 12] = [
    ("bus-init", "health {nats}", Role::BusInit),
    ("trader", "status", Role::Operator),
    ("trader", "trades", Role::Operator),
    ("trader", "--paper --dry-run", Role::TraderPaper),
    ("trader", "pause --reason test", Role::TraderPaper),
    ("trader", "resume --reason test", Role::TraderPaper),
    (
        "trader",
        "flatten --confirm --reason test",
        Role::TraderPaper,
    ),
    (
        "trader",
        "unlatch --latch none --reason test",
        Role::TraderPaper,
    ),
    (
        "trader",
        "unhalt --symbol BTCUSDT --reason test",
        Role::TraderPaper,
    ),
    ("watchdog", "status", Role::Watchdog),
    ("watchdog", "explain trader-paper-1", Role::Watchdog),
    ("notifier", "status", Role::Notifier),
];

/// Where the commands find what they need.
struct Environment {
    system: System,
    dir: tempfile::TempDir,
}

impl Environment {
    async fn start() -> Self {
        let system = System::start(&[]).await;
        let dir = tempfile::tempdir().unwrap();
        let flat = (0..600).map(|_| [400_000, 400_010, 399_990, 400_000]);
        std::fs::write(dir.path().join("candles.csv"), csv(flat)).unwrap();
        Self { system, dir }
    }

    fn command(&self, program: &str, arguments: &str, role: Option<Role>) -> Command {
        let candles = self.dir.path().join("candles.csv");
        let exchange = self.system.exchange.address().to_string();
        let nats = self.system.nats.url();
        let nats = nats.trim_start_matches("nats://");
        let arguments = arguments
            .replace("{candles}", candles.to_str().unwrap())
            .replace("{exchange}", &exchange)
            .replace("{nats}", nats);
        let mut command = Command::new(binary(program));
        command
            .env_clear()
            .env("INSTANCE", "command-output")
            .env("BEARISH_PROJECT", "command-output")
            .env("BINANCE_REST_URL", format!("http://{exchange}"))
            .env("BINANCE_WS_URL", format!("ws://{exchange}"))
            .args(arguments.split(' '))
            .stdin(Stdio::null());
        if let Some(role) = role {
            command.envs(self.system.nats.env(role));
        }
        command
    }

    /// Every command, with its name for messages.
    fn commands(&self, more: &str) -> Vec<(String, Command)> {
        let local = LOCAL.map(|(program, arguments)| (program, arguments, None));
        let on_bus = ON_BUS.map(|(program, arguments, role)| (program, arguments, Some(role)));
        let all = local.into_iter().chain(on_bus);
        all.map(|(program, arguments, role)| {
            let arguments = format!("{arguments}{more}");
            let command = self.command(program, &arguments, role);
            (format!("{program} {arguments}"), command)
        })
        .collect()
    }
}

fn assert_no_panic(name: &str, output: &Output) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("panicked"), "{name}: {stderr}");
    assert!(
        output.status.code().is_some(),
        "{name}: {:?}",
        output.status
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_output_changes_no_exit_code_and_causes_no_panic() {
    let environment = Environment::start().await;
    let mut printing = 0;
    // A command that changes something is rejected the second time: the first run is not compared.
    let thrice = environment
        .commands("")
        .into_iter()
        .zip(environment.commands(""))
        .zip(environment.commands(""));
    for (((name, mut first), (_, mut open)), (_, mut closed)) in thrice {
        let first = first.output().unwrap();
        assert_no_panic(&name, &first);
        printing += usize::from(!first.stdout.is_empty());
        let open = open.output().unwrap();
        assert_no_panic(&name, &open);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let closed = closed.stdout(writer).output().unwrap();
        assert_no_panic(&name, &closed);
        assert_eq!(closed.status, open.status, "{name}: {closed:?}");
    }
    assert!(printing >= 20, "only {printing} commands printed");
}

#[tokio::test(flavor = "multi_thread")]
async fn output_as_json_is_one_object_on_one_line() {
    let environment = Environment::start().await;
    let mut printing = 0;
    for (name, mut command) in environment.commands(" --json") {
        if name.contains("--help") || name.contains("--version") {
            continue;
        }
        let output = command.output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        // A rejected command has its error on standard error.
        if stdout.is_empty() {
            assert!(!output.status.success(), "{name}: nothing printed");
            continue;
        }
        printing += 1;
        assert_eq!(stdout.lines().count(), 1, "{name}: {stdout}");
        let json: Value = serde_json::from_str(&stdout)
            .unwrap_or_else(|error| panic!("{name}: {error}: {stdout}"));
        assert!(json.is_object(), "{name}: {stdout}");
    }
    assert!(printing >= 15, "only {printing} commands printed");
}

#[test]
fn every_command_takes_json() {
    let mut count = 0;
    for program in [
        bearish_trader::cli::Cli::command(),
        bearish_watchdog::cli::Cli::command(),
        bearish_notifier::cli::Cli::command(),
        bearish_socket_guard::cli::Cli::command(),
        exchange_sim::settings::Cli::command(),
    ] {
        for command in program.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            let takes_json = command
                .get_arguments()
                .any(|argument| argument.get_long() == Some("json"));
            let name = (program.get_name(), command.get_name());
            assert!(takes_json, "{name:?} does not take --json");
            count += 1;
        }
    }
    assert!(count > 20, "{count} commands");
}
