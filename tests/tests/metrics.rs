//! Tests of `/metrics` with a plain TCP client and with `promtool check metrics`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bearish_tests::metrics_client::{HttpResponse, scrape, send_request};
use bearish_tests::nats::NatsServer;
use bearish_tests::notifier::NotifierSetup;
use bearish_tests::ports;
use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use bearish_tests::watchdog::WatchdogRig;
use protocol::heartbeat::ProcessPhase;
use protocol::ids::Service;
use runtime::components::ProcessStatus;
use runtime::identity::Identity;
use runtime::metrics::{Metrics, MetricsSettings, ProcessInfo};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Value of the only line that begins with `series`.
fn series_value(text: &str, series: &str) -> f64 {
    let mut values = text.lines().filter_map(|line| line.strip_prefix(series));
    let found = values.next().unwrap_or_else(|| panic!("{series}: {text}"));
    assert_eq!(values.next(), None, "{series} appears twice: {text}");
    found.trim().parse().unwrap()
}

#[track_caller]
fn assert_series(text: &str, expected: &[(&str, f64)]) {
    for (series, number) in expected {
        let found = series_value(text, series);
        assert!((found - number).abs() < 1e-9, "{series} is {found}");
    }
}

fn promtool() -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let configured = std::env::var_os("BEARISH_PROMTOOL").map(PathBuf::from);
    let candidates = std::env::split_paths(&path).map(|dir| dir.join("promtool"));
    let found = configured.or_else(|| {
        std::iter::once(tools.join("promtool"))
            .chain(candidates)
            .find(|p| p.is_file())
    });
    found.unwrap_or_else(|| {
        panic!("promtool is missing: run `.ci/prepare test`, or set BEARISH_PROMTOOL to its path")
    })
}

/// Checks that `promtool check metrics` parses the text and reports nothing.
#[track_caller]
fn assert_prometheus_accepts(text: &str) {
    let mut child = Command::new(promtool())
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    assert!(
        output.status.success() && printed.is_empty(),
        "{printed}\n{text}"
    );
}

fn process_info(progress: &Arc<ProcessStatus>) -> ProcessInfo {
    ProcessInfo {
        service: Service::Trader,
        identity: Identity {
            host: "bearish-alpha.local".parse().unwrap(),
            instance: "trader-paper-1".parse().unwrap(),
            boot: "b1".parse().unwrap(),
        },
        version: "0.1.0",
        status: Arc::clone(progress),
        is_connected: Box::new(|| true),
    }
}

fn metrics_settings(address: SocketAddr) -> MetricsSettings {
    MetricsSettings {
        metrics_addr: Some(address),
    }
}

#[tokio::test]
async fn metrics_page_shows_every_metric_and_passes_promtool() {
    let progress = Arc::new(ProcessStatus::default());
    progress.enter_phase(ProcessPhase::Running);
    let has_book = Arc::new(AtomicBool::new(true));
    let holds_book = Arc::clone(&has_book);
    let own = move || {
        metrics::describe_gauge!("bearish_equity_usdt", "Equity of a book");
        metrics::gauge!("bearish_equity_usdt", "book" => "BTC\"USDT").set(3_308.62);
        if holds_book.load(Ordering::Relaxed) {
            metrics::gauge!("bearish_equity_usdt", "book" => "ETHUSDT").set(1);
        }
    };
    let address = SocketAddr::from(([127, 0, 0, 1], ports::reserve()));
    let bound = Metrics::bind(&metrics_settings(address), process_info(&progress), own).await;
    let bound = bound.unwrap().unwrap();
    let stop = CancellationToken::new();
    let served = bound.run(stop.clone());
    let checks = async {
        (0..3).for_each(|_| progress.component("feed").record_iteration());
        progress.component("book-manager").record_iteration();
        progress.record_error("book-manager", "lease not renewed");
        let text = scrape(address).await;
        assert_prometheus_accepts(&text);
        let info = r#"bearish_build_info{service="trader",instance="trader-paper-1",project="bearish-alpha",host="local",version="0.1.0"} "#;
        let expected = [
            (info, 1.0),
            ("bearish_bus_connected ", 1.0),
            ("bearish_health_grade ", 0.0),
            ("bearish_errors_total ", 1.0),
            ("bearish_errors_last_hour ", 1.0),
            ("bearish_entries_decided_total ", 0.0),
            (r#"bearish_component_up{component="feed"} "#, 1.0),
            (
                r#"bearish_component_iterations_total{component="feed"} "#,
                3.0,
            ),
            (
                r#"bearish_component_errors_total{component="book-manager"} "#,
                1.0,
            ),
            (r#"bearish_equity_usdt{book="BTC\"USDT"} "#, 3_308.62),
            (r#"bearish_equity_usdt{book="ETHUSDT"} "#, 1.0),
        ];
        assert_series(&text, &expected);
        assert!(series_value(&text, "bearish_uptime_seconds ") > 0.0);

        (0..50).for_each(|_| progress.record_error("book-manager", "lease not renewed"));
        progress.remove_component("book-manager");
        metrics::histogram!("bearish_append_seconds").record(0.004);
        metrics::describe_histogram!("bearish_append_seconds", "An append to the journal");
        has_book.store(false, Ordering::Relaxed);
        let silent = open_silent_connections(address).await;
        let text = scrape(address).await;
        assert_prometheus_accepts(&text);
        let expected = [
            ("bearish_health_grade ", 2.0),
            ("bearish_errors_total ", 51.0),
            ("bearish_errors_last_hour ", 51.0),
            (r#"bearish_component_up{component="book-manager"} "#, 0.0),
            ("bearish_append_seconds_count ", 1.0),
            (r#"bearish_equity_usdt{book="BTC\"USDT"} "#, 3_308.62),
        ];
        assert_series(&text, &expected);
        assert!(
            !text.contains("ETHUSDT"),
            "a book that left is still served:\n{text}"
        );
        drop(silent);

        let head = |answer: Option<HttpResponse>| answer.unwrap().head;
        let elsewhere = head(send_request(address, "GET /").await);
        assert!(elsewhere.starts_with("HTTP/1.1 404"), "{elsewhere}");
        let posted = head(send_request(address, "POST /metrics").await);
        assert!(posted.starts_with("HTTP/1.1 405"), "{posted}");
        stop.cancel();
    };
    tokio::join!(served, checks);
    assert!(
        TcpStream::connect(address).await.is_err(),
        "the server has ended, but its address is still in use"
    );
}

/// Opens more connections than the server handles at once and sends nothing.
async fn open_silent_connections(address: SocketAddr) -> Vec<TcpStream> {
    let mut connections = Vec::new();
    for _ in 0..10 {
        connections.push(TcpStream::connect(address).await.unwrap());
    }
    connections
}

#[tokio::test]
async fn metrics_bind_nothing_without_an_address_and_name_a_taken_one() {
    let progress = Arc::new(ProcessStatus::default());
    let none = MetricsSettings { metrics_addr: None };
    let bound = Metrics::bind(&none, process_info(&progress), || {}).await;
    assert!(bound.unwrap().is_none());

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let bound = Metrics::bind(&metrics_settings(address), process_info(&progress), || {}).await;
    let stop = bound.err().unwrap();
    assert_eq!(stop.code.number(), 78);
    let line = format!("METRICS_ADDR=\"{address}\": ");
    assert!(stop.message.starts_with(&line), "{}", stop.message);
    assert!(stop.message.contains("in use"), "{}", stop.message);
    assert!(stop.message.contains("expected"), "{}", stop.message);
}

#[tokio::test]
async fn notifier_serves_its_metrics_and_exits_78_on_an_unusable_address() {
    let nats = NatsServer::with_streams().await;
    let address = SocketAddr::from(([127, 0, 0, 1], ports::reserve()));
    let setup = NotifierSetup::new(&nats).env("METRICS_ADDR", &address.to_string());
    let mut notifier = setup.start();
    notifier.wait_for_log("sending notifications").await;
    let text = eventually(
        "a component of the dispatcher",
        DEFAULT_TIMEOUT,
        async || {
            let text = scrape(address).await;
            text.contains(r#"component="dispatcher""#).then_some(text)
        },
    )
    .await;
    assert_prometheus_accepts(&text);
    assert_series(&text, &[("bearish_bus_connected ", 1.0)]);
    assert!(text.contains(r#"bearish_build_info{service="notifier""#));

    let second = setup.clone().env("INSTANCE", "second");
    let mut second = second.start();
    assert_eq!(second.exit_within(DEFAULT_TIMEOUT).await, 78);
    let stderr = second.err();
    assert_eq!(stderr.len(), 1, "{stderr:?}");
    assert!(
        stderr[0].contains(&format!("METRICS_ADDR=\"{address}\"")),
        "{stderr:?}"
    );

    let wrong = setup.clone().env("METRICS_ADDR", "9464");
    let mut wrong = wrong.start();
    assert_eq!(wrong.exit_within(DEFAULT_TIMEOUT).await, 78);
    let stderr = wrong.err().concat();
    for text in ["METRICS_ADDR=\"9464\"", "ADDRESS:PORT"] {
        assert!(stderr.contains(text), "{stderr}");
    }
    notifier.signal("TERM");
    assert_eq!(notifier.exit_within(DEFAULT_TIMEOUT).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn watchdog_metrics_count_restarts_and_show_every_unit() {
    let mut rig = WatchdogRig::start().await;
    let address = SocketAddr::from(([127, 0, 0, 1], ports::reserve()));
    rig.replace_watchdog_with_env(("METRICS_ADDR", &address.to_string()));
    rig.watchdog.wait_for_log("supervising").await;
    let flags = "--paper --infinite --auto-restart --restart-delay 0 --max-restarts 7";
    let units = [1, 2].map(|number| rig.unit_setup(number, flags).start());
    for unit in &units {
        rig.wait_until_healthy(unit).await;
    }
    let before = units[0].started_at();
    units[0].signal("KILL");
    units[0].wait_until_started_after(&before).await;
    units[1].signal("STOP");
    let text = eventually("both are healthy again", DEFAULT_TIMEOUT, async || {
        let text = scrape(address).await;
        let both = text
            .matches("bearish_watchdog_unit_recovery_seconds_count")
            .count()
            == 2;
        both.then_some(text)
    })
    .await;
    assert_prometheus_accepts(&text);
    let series = |name: &str, more: &str| {
        format!(r#"bearish_watchdog_{name}{{unit="trader-paper-1"{more}}} "#)
    };
    for (name, more, expected) in [
        ("unit_restarts_total", r#",reason="crashed""#, 1.0),
        ("unit_phase", r#",phase="running""#, 1.0),
        ("unit_phase", r#",phase="quarantined""#, 0.0),
        ("unit_on_hold", "", 0.0),
        ("unit_consecutive_failures", "", 1.0),
        ("unit_restarts_remaining", "", 6.0),
    ] {
        assert_series(&text, &[(&series(name, more), expected)]);
    }
    assert_series(
        &text,
        &[
            ("bearish_watchdog_leader ", 1.0),
            (r#"bearish_watchdog_blind{source="bus"} "#, 0.0),
            (r#"bearish_watchdog_blind{source="docker"} "#, 0.0),
            (
                r#"bearish_watchdog_unit_restarts_total{unit="trader-paper-2",reason="heartbeat_lost"} "#,
                1.0,
            ),
            (
                r#"bearish_watchdog_hang_detection_seconds_count{unit="trader-paper-2"} "#,
                1.0,
            ),
        ],
    );
}
