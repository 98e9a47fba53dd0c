//! Invalid input: the process ends with the right exit code and one line that names the wrong value and the expected
//! one, without a stack trace and without a secret.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::fmt::Write as _;
use std::process::Command;

use bearish_tests::candle_file::csv;
use bearish_tests::nats::{NatsServer, Role};
use bearish_tests::ports;
use bearish_tests::process::{Process, binary};
use bearish_tests::system::System;
use bearish_tests::trader::TraderSetup;
use bearish_tests::wait::DEFAULT_TIMEOUT;

/// Asserts that the process ends with this code after one line on standard error that contains all these texts.
async fn assert_rejected(what: &str, mut process: Process, code: i32, expected: &[&str]) {
    let ended = process.exit_within(DEFAULT_TIMEOUT).await;
    let said = process.err();
    assert_eq!(ended, code, "{what}: {said:?} {:?}", process.out());
    assert_eq!(said.len(), 1, "{what}: {said:#?}");
    for part in expected {
        assert!(
            said[0].contains(part),
            "{what}: {part:?} is not in {said:?}"
        );
    }
    assert_no_leak(what, &process);
}

fn assert_no_leak(what: &str, process: &Process) {
    let text = [process.out(), process.err()].concat().join("\n");
    for forbidden in [
        "panicked",
        "stack backtrace",
        "RUST_BACKTRACE",
        SECRET,
        "xyzzy",
    ] {
        assert!(!text.contains(forbidden), "{what}: {forbidden:?} in {text}");
    }
}

const SECRET: &str = "plugh-5678";

fn run_program(program: &str, env: &[(&str, &str)], arguments: &[&str]) -> Process {
    let mut command = Command::new(binary(program));
    command
        .env_clear()
        .envs(env.iter().copied())
        .args(arguments);
    Process::start(program, command)
}

#[tokio::test]
async fn invalid_command_line_exits_64() {
    let table: [(&str, &[&str]); 12] = [
        ("--paper --forever", &["--forever"]),
        (
            "--paper --restart-delay -1",
            &["--restart-delay", "'-1'", "0 to 3600"],
        ),
        (
            "--paper --max-restarts 0",
            &["--max-restarts", "'0'", "1 to 1000000"],
        ),
        (
            "--paper --max-restarts -3",
            &["--max-restarts", "'-3'", "1 to 1000000"],
        ),
        (
            "--paper --duration NaN",
            &["--duration", "'NaN'", "expected seconds above 0"],
        ),
        (
            "--paper --duration 0",
            &["--duration", "'0'", "expected seconds above 0"],
        ),
        (
            "--paper --duration -2.5",
            &["--duration", "'-2.5'", "expected seconds above 0"],
        ),
        (
            "--paper --duration soon",
            &["--duration", "'soon'", "expected seconds above 0"],
        ),
        ("--infinite", &["--paper", "--confirm-live"]),
        ("--paper please", &["please"]),
        (
            "backtest --symbol BTCUSDT --candles x.csv --fee-rate 1",
            &["--fee-rate", "'1'", "0 to 0.01"],
        ),
        (
            "backtest --symbol MOONUSDT --candles x.csv",
            &["MOONUSDT", "--tick-size, --lot-size, --min-notional needed"],
        ),
    ];
    for (flags, expected) in table {
        let arguments: Vec<&str> = flags.split(' ').collect();
        assert_rejected(flags, run_program("trader", &[], &arguments), 64, expected).await;
    }
    assert_rejected(
        "bus-init",
        run_program("bus-init", &[], &["--now"]),
        64,
        &["--now"],
    )
    .await;
    let speed = run_program("exchange-sim", &[], &["--speed", "0"]);
    assert_rejected(
        "exchange-sim",
        speed,
        64,
        &["--speed", "'0'", "0.1 to 100000"],
    )
    .await;
}

#[tokio::test]
async fn backtest_with_an_unusable_candle_file_exits_78() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("candles.csv");
    let text = "open_time,open,high,low,close\n0,1,1,1,1\n60000,1,1,1,1\n60000,1,2,1,1\n";
    std::fs::write(&file, text).unwrap();
    let nowhere = "/nowhere/candles.csv";
    let table: [(&str, &[&str]); 2] = [
        (nowhere, &[nowhere, "No such file", "CSV or JSON"]),
        (
            file.to_str().unwrap(),
            &["line 4", "open_time", "60000", "later than"],
        ),
    ];
    for (path, expected) in table {
        let arguments = ["backtest", "--symbol", "BTCUSDT", "--candles", path];
        assert_rejected(path, run_program("trader", &[], &arguments), 78, expected).await;
    }
}

#[tokio::test]
async fn invalid_trader_setting_exits_78() {
    let table: [(&str, &str, &[&str]); 26] = [
        ("SYMBOLS", "BTC.USDT", &["BTC.USDT", "BTCUSDT,ETHUSDT"]),
        ("SYMBOLS", "BTCUSDT,BTCUSDT", &["BTCUSDT", "once"]),
        ("CAPITAL_USDT", "-5", &["-5", "above 0"]),
        ("CAPITAL_USDT", "NaN", &["NaN", "above 0"]),
        ("CAPITAL_USDT", "much", &["much", "above 0"]),
        ("FEE_RATE", "0.5", &["0.5", "0 to 0.1"]),
        ("SLIPPAGE_RATE", "-0.1", &["-0.1", "0 to 0.1"]),
        ("LEVERAGE", "6", &["6", "from 1 to 5"]),
        ("FUNDING_RATE", "0.02", &["0.02", "-0.01 to 0.01"]),
        (
            "PROTECTIONS",
            "StoplossGuard:0/24h/4h",
            &["StoplossGuard:0/24h/4h", "expected none"],
        ),
        ("PROTECTIONS", "hope", &["hope", "CooldownPeriod:STOP"]),
        ("METRICS_ADDR", "9464", &["9464", "0.0.0.0:9464"]),
        ("LEVERAGE", "much", &["much", "from 1 to 5"]),
        ("HEARTBEAT_SECS", "0", &["0", "from 1 to 60"]),
        (
            "STRATEGIES",
            "hope",
            &["hope", "oversold-bounce, short-the-rip"],
        ),
        ("LOG_FORMAT", "xml", &["xml", "human, json"]),
        (
            "LOG_LEVEL",
            "a=b=c",
            &["a=b=c", "expected error, warn, info, debug, trace"],
        ),
        (
            "LOG_LEVEL",
            "warning",
            &["LOG_LEVEL=\"warning\": expected error, warn, info, debug, trace"],
        ),
        (
            "BINANCE_REST_URL",
            "ftp://host",
            &["ftp://host", "https://"],
        ),
        ("BINANCE_REST_URL", "localhost", &["localhost", "https://"]),
        ("BINANCE_WS_URL", "http://host", &["http://host", "wss://"]),
        (
            "NATS_URL",
            "http://host:4222",
            &["http://host:4222", "nats://host:port"],
        ),
        (
            "NATS_URL",
            "nats://u:plugh-5678@host",
            &["NATS_USER", "NATS_PASSWORD"],
        ),
        ("NATS_USER", "no body", &["no body", "expected "]),
        ("INSTANCE", "a.b", &["a.b", "expected "]),
        (
            "NATS_PASSWORD_FILE",
            "/nowhere/password",
            &["/nowhere/password", "No such file"],
        ),
    ];
    for (name, value, expected) in table {
        let what = format!("{name}={value}");
        let process = run_program(
            "trader",
            &[("INSTANCE", "bad"), (name, value)],
            &["--paper"],
        );
        assert_rejected(&what, process, 78, &[&[name], expected].concat()).await;
    }
    for flags in ["--confirm-live", "--dry-run"] {
        let live = run_program("trader", &[], &[flags]);
        let expected = ["BINANCE_API_KEY", "live trading requires", "--paper"];
        assert_rejected(flags, live, 78, &expected).await;
    }
}

/// Variables, and parts of the error that they cause.
type EnvCase<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

#[tokio::test]
async fn invalid_telegram_setting_exits_78_without_showing_the_token() {
    const TOKEN: &str = "123456789:AAF-plugh-5678-plugh-5678-plugh-567";
    let table: [EnvCase<'_>; 9] = [
        (
            &[("TELEGRAM_BOT_TOKEN", TOKEN)],
            &["TELEGRAM_BOT_TOKEN", "requires TELEGRAM_CHAT_ID"],
        ),
        (
            &[("TELEGRAM_CHAT_ID", "5")],
            &["TELEGRAM_CHAT_ID=5", "TELEGRAM_BOT_TOKEN", "requires"],
        ),
        (
            &[("TELEGRAM_BOT_TOKEN", SECRET), ("TELEGRAM_CHAT_ID", "5")],
            &["TELEGRAM_BOT_TOKEN (not shown)", "@BotFather"],
        ),
        (
            &[
                ("TELEGRAM_BOT_TOKEN", TOKEN),
                ("TELEGRAM_BOT_TOKEN_FILE", "/f"),
                ("TELEGRAM_CHAT_ID", "5"),
            ],
            &["TELEGRAM_BOT_TOKEN_FILE", "expected one of them"],
        ),
        (
            &[
                ("TELEGRAM_BOT_TOKEN_FILE", "/nowhere/token"),
                ("TELEGRAM_CHAT_ID", "5"),
            ],
            &["/nowhere/token", "No such file"],
        ),
        (
            &[("TELEGRAM_CHAT_ID", "@me")],
            &["TELEGRAM_CHAT_ID", "@me", "-1001234567890"],
        ),
        (
            &[("TELEGRAM_API_URL", "api.telegram.org")],
            &["TELEGRAM_API_URL", "https://host"],
        ),
        (
            &[("NOTIFIER_SUMMARY_SECS", "1")],
            &["NOTIFIER_SUMMARY_SECS", "from 10 to 86400"],
        ),
        (
            &[("TELEGRAM_MIN_INTERVAL_MS", "-1")],
            &["TELEGRAM_MIN_INTERVAL_MS", "from 0 to 60000"],
        ),
    ];
    for (env, expected) in table {
        let process = run_program("notifier", env, &[]);
        assert_rejected(&format!("{expected:?}"), process, 78, expected).await;
    }
    let process = run_program("notifier", &[], &["--loud"]);
    assert_rejected("an unknown flag", process, 64, &["--loud"]).await;
}

#[tokio::test]
async fn invalid_fallback_or_dead_man_url_exits_78_without_showing_it() {
    let table: [EnvCase<'_>; 6] = [
        (
            &[("FALLBACK_URL", "ftp://host/plugh-5678")],
            &["FALLBACK_URL (not shown)", "https://host"],
        ),
        (
            &[("FALLBACK_URL", "https://host/plugh-5678")],
            &[
                "FALLBACK_URL requires",
                "TELEGRAM_CHAT_ID",
                "TELEGRAM_BOT_TOKEN",
            ],
        ),
        (
            &[("FALLBACK_URL_FILE", "/nowhere/fallback")],
            &["/nowhere/fallback", "No such file"],
        ),
        (
            &[("FALLBACK_FORMAT", "pigeon")],
            &["FALLBACK_FORMAT", "pigeon", "expected webhook or ntfy"],
        ),
        (
            &[("DEADMAN_URL", SECRET)],
            &["DEADMAN_URL (not shown)", "https://host"],
        ),
        (
            &[("DEADMAN_INTERVAL_SECS", "0")],
            &["DEADMAN_INTERVAL_SECS", "from 1 to 3600"],
        ),
    ];
    for (env, expected) in table {
        let process = run_program("notifier", env, &[]);
        assert_rejected(&format!("{expected:?}"), process, 78, expected).await;
    }
}

#[tokio::test]
async fn credentials_that_the_bus_rejects_exit_78() {
    let nats = NatsServer::with_streams().await;
    let url = nats.url();
    for program in ["trader", "bus-init"] {
        let arguments: &[&str] = if program == "trader" {
            &["--paper"]
        } else {
            &[]
        };
        let name = format!("credentials-{}", std::process::id());
        let base = [("NATS_URL", url.as_str()), ("INSTANCE", name.as_str())];
        let with =
            |more: &[(&str, &str)]| run_program(program, &[&base[..], more].concat(), arguments);
        let wrong = with(&[("NATS_USER", "trader-paper"), ("NATS_PASSWORD", SECRET)]);
        assert_rejected(program, wrong, 78, &["NATS_USER=trader-paper", "password"]).await;
        let unknown_user = with(&[("NATS_USER", "unknown"), ("NATS_PASSWORD", SECRET)]);
        assert_rejected(
            program,
            unknown_user,
            78,
            &["NATS_USER=unknown", "password"],
        )
        .await;
        let none = with(&[("NATS_USER", "trader-paper")]);
        assert_rejected(
            program,
            none,
            78,
            &["NATS_USER=trader-paper", "NATS_PASSWORD_FILE"],
        )
        .await;
        let nameless = with(&[("NATS_PASSWORD", SECRET)]);
        assert_rejected(program, nameless, 78, &["NATS_PASSWORD", "NATS_USER"]).await;
        assert_rejected(program, with(&[]), 78, &["NATS_USER=none"]).await;
    }
}

#[tokio::test]
async fn setting_that_bus_or_exchange_rejects_exits_78() {
    let system = System::start(&[]).await;
    let setup = system.trader_setup("asks");
    let refused = async |what: &str, setup: TraderSetup, expected: &[&str]| {
        assert_rejected(what, into_process(&setup), 78, expected).await;
    };
    // The exchange's answers must say so for a while: one odd answer is no verdict.
    let unknown = setup.clone().env("SYMBOLS", "DOGEUSDT");
    refused(
        "unknown symbol",
        unknown,
        &["SYMBOLS", "DOGEUSDT", "BTCUSDT"],
    )
    .await;
    let poor = setup.clone().env("CAPITAL_USDT", "20");
    refused(
        "too little capital",
        poor,
        &["CAPITAL_USDT=\"20\"", "smallest order", "expected"],
    )
    .await;
    let bare = NatsServer::start().await;
    let no_streams = setup.env("NATS_URL", &bare.url());
    refused("no streams", no_streams, &["is missing", "run bus-init"]).await;
}

fn into_process(setup: &TraderSetup) -> Process {
    setup.start().into_process()
}

#[tokio::test]
async fn dry_run_reports_what_a_start_would_meet() {
    let mut system = System::start(&[]).await;
    let setup = system.trader_setup("dry").flags("--paper --dry-run");
    let verdict = async |what: &str, setup: &TraderSetup, code: i32, expected: &[&str]| {
        let mut process = into_process(setup);
        assert_eq!(process.exit_within(DEFAULT_TIMEOUT).await, code, "{what}");
        let table = process.out().join("\n");
        for part in expected {
            assert!(table.contains(part), "{what}: {part:?} is not in\n{table}");
        }
        assert!(process.err().is_empty(), "{what}: {:?}", process.err());
        assert_no_leak(what, &process);
    };
    let good = [
        "ready to start",
        "pass  breakers     active: daily_loss, drawdown, position_loss",
        "pass  journal      stored and synced",
        "pass  account",
        "pass  leases       every book is free",
        "warn  notifier     no heartbeat on this bus",
        "-> start the notifier; without it no messages are sent",
    ];
    verdict("all good", &setup, 0, &good).await;
    let journals = system.journals().await;
    assert!(journals.is_empty(), "a dry run wrote a journal");
    let wrong = setup.clone().env("NATS_PASSWORD", SECRET);
    verdict(
        "wrong password",
        &wrong,
        78,
        &["FAIL  bus", "NATS_USER=trader-paper"],
    )
    .await;
    let unknown = setup.clone().env("SYMBOLS", "DOGEUSDT");
    verdict(
        "unknown symbol",
        &unknown,
        78,
        &["FAIL  symbols", "DOGEUSDT"],
    )
    .await;
    let bare = NatsServer::start().await;
    let no_streams = setup.clone().env("NATS_URL", &bare.url());
    verdict(
        "no streams",
        &no_streams,
        78,
        &["FAIL  streams", "run bus-init"],
    )
    .await;
    let unused_url = format!("http://127.0.0.1:{}", ports::reserve());
    let no_exchange = setup.clone().env("BINANCE_REST_URL", &unused_url);
    verdict(
        "no exchange",
        &no_exchange,
        69,
        &["FAIL  exchange", &unused_url],
    )
    .await;
    system.nats.kill();
    verdict(
        "no bus",
        &setup,
        69,
        &["FAIL  bus", "start what is unavailable"],
    )
    .await;
}

#[tokio::test]
async fn dry_run_names_what_cannot_be_evaluated_instead_of_listing_the_settings() {
    // 66 bars of 30 minutes: too few for a strategy and for the volatility breaker.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("candles.csv");
    std::fs::write(&file, csv((0..2_100).map(|_| [1_200_000; 4]))).unwrap();
    let system = System::start(&[
        ("SIM_MARKET", "replay"),
        ("SIM_CANDLES_FILE", file.to_str().unwrap()),
        ("SIM_WARMUP_CANDLES", "2000"),
    ])
    .await;
    let setup = system.trader_setup("dry").env("SYMBOLS", "BTCUSDT");
    let setup = setup.env("CAPITAL_USDT", "110");
    let setup = setup.flags("--paper --dry-run");
    let mut process = into_process(&setup);
    process.exit_within(DEFAULT_TIMEOUT).await;
    let table = process.out().join("\n");
    for part in [
        "warn  settings",
        "BTCUSDT: 110.00 USDT buy 0 at 120000, the smallest order is 0.001",
        "warn  strategies",
        "BTCUSDT: no strategy can signal: fewer than 301 bars of 30 minutes",
        "warn  breakers",
        "BTCUSDT: volatility is tripped or has too few bars: sizes are halved",
    ] {
        assert!(table.contains(part), "{part:?} is not in\n{table}");
    }
}

#[tokio::test]
async fn exchange_sim_names_the_line_of_an_unreadable_candle_file() {
    const HEAD: &str = "open_time,open,high,low,close\n";
    let row = |time: i64, open: &str| format!("{time},{open},12,9,11\n");
    let two = row(60_000, "10") + &row(120_000, "10");
    let table: [(&str, String, &[&str]); 6] = [
        (
            "missing column",
            "open_time,open,high,low\n60000,1,1,1\n".to_owned(),
            &["line 1", "column close: missing"],
        ),
        (
            "NaN",
            format!("{HEAD}{two}{}", row(180_000, "NaN")),
            &["line 4", "column open", "NaN", "expected"],
        ),
        (
            "time going backwards",
            format!("{HEAD}{two}{}", row(60_000, "10")),
            &["line 4", "column open_time", "60000", "expected"],
        ),
        (
            "a gap",
            format!("{HEAD}{two}{}", row(300_000, "10")),
            &["line 4", "column open_time", "300000", "expected"],
        ),
        (
            "high below low",
            format!("{HEAD}{two}180000,10,8,9,9\n"),
            &["line 4", "expected"],
        ),
        ("an empty file", String::new(), &["column", "missing"]),
    ];
    let dir = tempfile::tempdir().unwrap();
    for (index, (what, text, expected)) in table.iter().enumerate() {
        let mut name = String::new();
        write!(name, "candles-{index}.csv").unwrap();
        let path = dir.path().join(&name);
        std::fs::write(&path, text).unwrap();
        let listen = format!("127.0.0.1:{}", ports::reserve());
        let env = [
            ("SIM_MARKET", "replay"),
            ("SIM_LISTEN", &listen),
            ("SIM_CANDLES_FILE", path.to_str().unwrap()),
        ];
        let expected = [&[name.as_str()], *expected].concat();
        assert_rejected(what, run_program("exchange-sim", &env, &[]), 78, &expected).await;
    }
    let nowhere = [
        ("SIM_MARKET", "replay"),
        ("SIM_CANDLES_FILE", "/nowhere/c.csv"),
    ];
    let expected = ["/nowhere/c.csv", "No such file"];
    assert_rejected(
        "no file",
        run_program("exchange-sim", &nowhere, &[]),
        78,
        &expected,
    )
    .await;
}

#[tokio::test]
async fn status_without_a_bus_says_what_it_waits_for_and_exits_69() {
    let mut nats = NatsServer::with_streams().await;
    let env = nats.env(Role::Operator);
    let env: Vec<(&str, &str)> = env.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let mut status = run_program("trader", &env, &["status"]);
    assert_eq!(
        status.exit_within(DEFAULT_TIMEOUT).await,
        0,
        "{:?}",
        status.err()
    );
    nats.kill();
    let url = nats.url();
    let mut status = run_program("trader", &env, &["status"]);
    let code = status.exit_within(DEFAULT_TIMEOUT).await;
    let said = status.err();
    assert_eq!((code, said.len()), (69, 2), "{said:#?}");
    assert!(said[0].starts_with("waiting for the bus: "), "{said:#?}");
    assert!(
        said[1].contains("NATS_URL") && said[1].contains(&url),
        "{said:#?}"
    );
}
