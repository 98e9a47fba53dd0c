//! exchange-sim and clients that others wrote, from `PyPI`: Binance's own Python connector, python-binance and ccxt.
//! Each trades on a real exchange and judges every answer by its own reading of Binance's protocol, which is not
//! ours. Says that it is skipped where there is no python3, or no `PyPI`.

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
/// Minutes of market before its present, and after it.
const PAST_MINUTES: i64 = 1_600;
const PLAYED_MINUTES: i64 = 60;
/// A client is done within that.
const CLIENT_TIMEOUT: Duration = Duration::from_mins(2);

/// A Python that has the clients, installed if they are not; none without python3 or `PyPI`.
fn prepare_python() -> Result<PathBuf, String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tools = here.join("../target/tools");
    let (venv, wanted) = (
        tools.join("clients"),
        here.join("tests/python_clients/requirements.txt"),
    );
    std::fs::create_dir_all(&tools).unwrap();
    // Tests run side by side, and one of them installs.
    let lock = File::create(tools.join("clients.lock")).unwrap();
    lock.lock().unwrap();
    let (python, stamp) = (venv.join("bin/python"), venv.join("installed"));
    let listed = std::fs::read_to_string(&wanted).unwrap();
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == listed) {
        return Ok(python);
    }
    let ran = |what: &str, status: std::io::Result<ExitStatus>| match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{what}: {status}")),
        Err(error) => Err(format!("{what}: {error}")),
    };
    let mut make = Command::new("python3");
    ran(
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
    ran("pip install", install.arg(&wanted).status())?;
    std::fs::write(stamp, listed).unwrap();
    Ok(python)
}

/// A market of now: who signs by the host's clock is understood, as the exchange's is up to a minute ahead of it.
async fn start_exchange() -> (Exchange, tempfile::TempDir) {
    let into_the_minute = runtime::clock::now().0.rem_euclid(MINUTE_MS);
    // Late in it the exchange would be open before its time has come.
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
    ])
    .await;
    (exchange, folder)
}

/// Lets a client trade, and shows what it has said if it is not content.
async fn run_client(script: &str) {
    let python = match prepare_python() {
        Ok(python) => python,
        Err(why) => {
            eprintln!("SKIPPED: {script}: the clients cannot be installed on this machine: {why}");
            return;
        }
    };
    let (exchange, _market) = start_exchange().await;
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python_clients");
    let mut command = Command::new(python);
    command.arg("-u").arg(scripts.join(script));
    command.args([&exchange.address().to_string(), KEY, SECRET]);
    let mut client = Process::start(script, command);
    let code = client.exit_within(CLIENT_TIMEOUT).await;
    let said = [client.out(), client.err()].concat().join("\n");
    assert!(code == 0 && said.contains("all done"), "{script}: {said}");
}

#[tokio::test]
#[ignore = "needs python3 and PyPI: `scripts/test --all`"]
async fn binance_python_connector_accepts_every_response() {
    run_client("official.py").await;
}

#[tokio::test]
#[ignore = "needs python3 and PyPI: `scripts/test --all`"]
async fn python_binance_trades_and_is_rejected_as_on_binance() {
    run_client("python_binance.py").await;
}

#[tokio::test]
#[ignore = "needs python3 and PyPI: `scripts/test --all`"]
async fn ccxt_parses_every_response() {
    run_client("ccxt_usdm.py").await;
}
