//! Tests of exchange-sim with third-party clients from `PyPI`: Binance's own Python connector, python-binance and
//! ccxt. Each client trades and checks every response by its own implementation of Binance's protocol. A test prints
//! that it is skipped if python3 or `PyPI` is missing.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests: a panic is how a test fails, and a skipped test says so"
)]

use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use bearish_tests::exchange::{Exchange, MINUTE_MS};
use bearish_tests::process::Process;

const KEY: &str = "otherskey";
const SECRET: &str = "otherssecret";
/// Minutes of market before the start of the exchange.
const PAST_MINUTES: i64 = 1_600;
const PLAYED_MINUTES: i64 = 60;
/// Time within which a client finishes.
const CLIENT_TIMEOUT: Duration = Duration::from_mins(2);

/// Installs the clients unless they are installed; returns the path of Python. Fails without python3 or `PyPI`.
fn prepare_python() -> Result<PathBuf, String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tools = here.join("../target/tools");
    let (venv, requirements) = (
        tools.join("clients"),
        here.join("tests/python_clients/requirements.txt"),
    );
    std::fs::create_dir_all(&tools).unwrap();
    // Tests run in parallel, and one of them installs.
    let lock = File::create(tools.join("clients.lock")).unwrap();
    lock.lock().unwrap();
    let (python, stamp) = (venv.join("bin/python"), venv.join("installed"));
    let listed = std::fs::read_to_string(&requirements).unwrap();
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == listed) {
        return Ok(python);
    }
    let check = |what: &str, status: std::io::Result<ExitStatus>| match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{what}: {status}")),
        Err(error) => Err(format!("{what}: {error}")),
    };
    let mut make = Command::new("python3");
    check(
        "python3 -m venv",
        make.args(["-m", "venv"]).arg(&venv).status(),
    )?;
    let mut install = Command::new(venv.join("bin/pip"));
    install.args([
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--requirement",
    ]);
    check("pip install", install.arg(&requirements).status())?;
    std::fs::write(stamp, listed).unwrap();
    Ok(python)
}

/// Starts an exchange at the present time, at most a minute ahead of the host's clock, by which clients sign.
async fn start_exchange() -> (Exchange, tempfile::TempDir) {
    let into_the_minute = runtime::clock::now().0.rem_euclid(MINUTE_MS);
    // Late in a minute, the exchange would be ready after the start of its first candle.
    if into_the_minute > 50_000 {
        let left = u64::try_from(MINUTE_MS - into_the_minute).unwrap();
        tokio::time::sleep(Duration::from_millis(left)).await;
    }
    let opens = (runtime::clock::now().0 / MINUTE_MS + 1) * MINUTE_MS;
    let mut text = String::from("open_time,open,high,low,close,volume,quote_volume\n");
    for minute in -PAST_MINUTES..PLAYED_MINUTES {
        let (at, up) = (opens + minute * MINUTE_MS, minute.rem_euclid(7) * 10);
        let (open, close) = (40_000 + up, 40_010 + up);
        let (high, low) = (close + 5, open - 5);
        writeln!(text, "{at},{open},{high},{low},{close},1.5,60000").unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("candles.csv");
    std::fs::write(&file, text).unwrap();
    let exchange = Exchange::start(&[
        ("SIM_MARKET", "replay"),
        ("SIM_CANDLES_FILE", file.to_str().unwrap()),
        ("SIM_WARMUP_CANDLES", &PAST_MINUTES.to_string()),
        ("SIM_SPEED", "1"),
        ("SIM_CLOCK_PAUSE", "never"),
        ("SIM_API_KEYS", &format!("{KEY}:{SECRET}:trade")),
        ("SIM_FAULT_API", "1"),
    ])
    .await;
    (exchange, folder)
}

/// Runs a client script on the replayed market of one contract.
async fn run_client(script: &str) {
    if let Some(python) = python_or_skip(script) {
        let (exchange, _market) = start_exchange().await;
        run_script(&python, script, &exchange).await;
    }
}

/// Path of Python with the clients. `None`, which is printed, if they cannot be installed.
fn python_or_skip(script: &str) -> Option<PathBuf> {
    prepare_python()
        .inspect_err(|reason| {
            eprintln!(
                "SKIPPED: {script}: the clients cannot be installed on this machine: {reason}"
            );
        })
        .ok()
}

/// Runs a client script, which must succeed; shows its output if it fails.
async fn run_script(python: &Path, script: &str, exchange: &Exchange) {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python_clients");
    let mut command = Command::new(python);
    command.arg("-u").arg(scripts.join(script));
    command.args([&exchange.address().to_string(), KEY, SECRET]);
    let mut client = Process::start(script, command);
    let code = client.exit_within(CLIENT_TIMEOUT).await;
    let output = [client.out(), client.err()].concat().join("\n");
    assert!(
        code == 0 && output.contains("all done"),
        "{script}: {output}"
    );
}

#[tokio::test]
async fn binance_python_connector_accepts_every_response() {
    run_client("official.py").await;
}

#[tokio::test]
async fn python_binance_trades_and_is_rejected_as_on_binance() {
    run_client("python_binance.py").await;
}

#[tokio::test]
async fn ccxt_parses_every_response() {
    run_client("ccxt_usdm.py").await;
}

#[tokio::test]
#[ignore = "needs python3 and PyPI: `scripts/test --all`"]
async fn ccxt_finds_steps_limits_and_status_of_hundreds_of_contracts() {
    if let Some(python) = python_or_skip("ccxt_contracts.py") {
        let exchange = Exchange::start(&[("SIM_CONTRACTS", "500"), ("SIM_SPEED", "1")]).await;
        run_script(&python, "ccxt_contracts.py", &exchange).await;
    }
}
