//! Tests of the socket-guard in front of a real Docker daemon: which requests of the `docker` command, of raw
//! connections and of the watchdog are allowed, and which are denied.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::print_stderr, reason = "prints how long a replacement takes")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use bearish_tests::docker::{LABEL, docker, run_cleanup, run_name};
use bearish_tests::process::{Process, binary, binary_with_failpoints};
use bearish_tests::socket_guard::SocketGuard;
use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use bearish_tests::watchdog::{self, Unit, WatchdogRig};
use tempfile::TempDir;
use watchdog_core::phase::UnitPhase;

const RESTART_AT_ONCE_FLAGS: &str = "--paper --infinite --auto-restart --restart-delay 0";
/// Flags of a unit that is not restarted.
const NO_RESTART_FLAGS: &str = "--paper --infinite";
/// Time within which a guard that is stuck is replaced.
const REPORT_DEADLINE: Duration = Duration::from_mins(1);
const PASSWORD: &str = "swordfish-of-the-test";

/// A labelled and an unlabelled unit of the project, and a unit of another project.
struct GuardedUnits {
    labelled: Unit,
    unlabelled: Unit,
    foreign: Unit,
}

impl GuardedUnits {
    fn start(rig: &WatchdogRig) -> Self {
        let unit = |number| {
            let unit = rig.unit_setup(number, NO_RESTART_FLAGS);
            unit.env(&format!("SOME_PASSWORD={PASSWORD}"))
        };
        let other = format!("com.docker.compose.project={}-other", rig.project);
        Self {
            labelled: unit(1).start(),
            unlabelled: unit(2)
                .with_option("--label", "bearish-alpha.supervise=false")
                .start(),
            foreign: unit(3).with_option("--label", &other).start(),
        }
    }
}

fn assert_denied(guard: &SocketGuard, arguments: &[&str]) {
    let (output, success) = guard.run_docker(arguments);
    assert!(!success, "docker {arguments:?} succeeded: {output}");
    // For `attach`, the command prints a message of its own.
    let is_denied = output.contains("socket-guard: ") || output.contains("received 403");
    assert!(is_denied, "{arguments:?}: {output}");
}

/// Commands that must be denied, also for a labelled container.
const DENIED_COMMANDS: [&str; 25] = [
    "create IMAGE",
    "run --rm IMAGE",
    "pull IMAGE",
    "exec LABELLED /fake-unit",
    "attach LABELLED",
    "rm -f LABELLED",
    "rename LABELLED other",
    "update --memory 1g LABELLED",
    "pause LABELLED",
    "cp LABELLED:/fake-unit -",
    "export LABELLED",
    "commit LABELLED",
    "top LABELLED",
    "diff LABELLED",
    "stats --no-stream LABELLED",
    "images",
    "rmi IMAGE",
    "volume ls",
    "volume create x",
    "network ls",
    "network create x",
    "system df",
    "container prune -f",
    "swarm init",
    "plugin ls",
];

#[tokio::test(flavor = "multi_thread")]
async fn docker_cli_reaches_labelled_containers_of_the_project_only() {
    let mut rig = WatchdogRig::start_behind_guard().await;
    let all = GuardedUnits::start(&rig);
    let [labelled, unlabelled, foreign] =
        [&all.labelled, &all.unlabelled, &all.foreign].map(|unit| unit.container_name().to_owned());
    let ids = [&all.labelled, &all.foreign].map(Unit::container_id);
    let project = rig.project.clone();
    let guard = rig.guard();

    let names = ["ps", "-a", "--format", "{{.Names}}"];
    let listed = guard.run_docker_ok(&names);
    let mut listed: Vec<&str> = listed.lines().collect();
    listed.sort_unstable();
    assert_eq!(listed, [&labelled, &unlabelled]);
    let filter = format!("label=com.docker.compose.project={project}-other");
    let of_other_project = guard.run_docker_ok(&[&names[..], &["--filter", &filter]].concat());
    assert_eq!(of_other_project, "");

    let before = all.labelled.started_at();
    guard.run_docker_ok(&["restart", "-t", "1", &labelled[..]]);
    assert_ne!(all.labelled.started_at(), before);
    for (verb, runs) in [("stop", false), ("start", true), ("kill", false)] {
        guard.run_docker_ok(&[verb, &ids[0][..20]]);
        eventually(verb, DEFAULT_TIMEOUT, async || {
            (all.labelled.is_running() == runs).then_some(())
        })
        .await;
    }
    guard.run_docker_ok(&["start", &ids[0]]);
    guard.run_docker_ok(&["version"]);
    guard.run_docker_ok(&["info"]);
    guard.run_docker_ok(&["logs", &labelled]);

    for verb in ["start", "stop", "kill", "restart"] {
        assert_denied(guard, &[verb, &unlabelled]);
        assert_denied(guard, &[verb, &foreign]);
        assert_denied(guard, &[verb, &ids[1]]);
        assert_denied(guard, &[verb, &ids[1][..12]]);
    }
    for verb in ["inspect", "logs"] {
        assert_denied(guard, &[verb, "--", &foreign]);
    }
    // What an unmarked container wrote, such as a database of the operator, is not shown.
    assert_denied(guard, &["logs", &unlabelled]);
    for call in DENIED_COMMANDS {
        let arguments = call.split(' ').map(|argument| match argument {
            "LABELLED" => labelled.as_str(),
            "IMAGE" => watchdog::fake_unit_image(),
            argument => argument,
        });
        assert_denied(guard, &arguments.collect::<Vec<_>>());
    }
    assert!(all.labelled.is_running() && all.unlabelled.is_running() && all.foreign.is_running());

    let count = |what: &str| guard.process.count_logs(what);
    assert!(count("verdict=\"denied\" status=403") > 20);
    assert_eq!(count("verdict=\"allowed\" status=204"), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn inspect_shows_no_environment_values() {
    let mut rig = WatchdogRig::start_behind_guard().await;
    let all = GuardedUnits::start(&rig);
    for unit in [&all.labelled, &all.unlabelled] {
        let shown = rig
            .guard()
            .run_docker_ok(&["inspect", unit.container_name()]);
        assert!(shown.contains("\"SOME_PASSWORD=***\""), "{shown}");
        assert!(shown.contains("\"bearish-alpha.supervise\""), "{shown}");
        assert!(!shown.contains(PASSWORD), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_and_logs_stream_and_are_of_the_project_only() {
    let mut rig = WatchdogRig::start_behind_guard().await;
    let all = GuardedUnits::start(&rig);
    let guard = rig.guard();
    let mut events = Process::start("docker events", guard.docker_command(&["events"]));
    let logs = ["logs", "--follow", all.labelled.container_name()];
    let mut logs = Process::start("docker logs", guard.docker_command(&logs));
    // Causes events until both streams are connected.
    eventually("an event", DEFAULT_TIMEOUT, async || {
        all.foreign.run_docker_verb("restart");
        all.labelled.run_docker_verb("restart");
        (events.count_logs("container restart") > 0).then_some(())
    })
    .await;
    assert!(events.is_running(), "the event stream ended");
    assert_eq!(events.count_logs(all.foreign.container_name()), 0);
    logs.kill();
    let signalled = Instant::now();
    guard.process.signal("TERM");
    assert_eq!(guard.process.exit_within(Duration::from_secs(8)).await, 0);
    assert!(signalled.elapsed() < Duration::from_secs(8));
    events.exit_within(DEFAULT_TIMEOUT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_connections_free_their_slots() {
    let mut rig = WatchdogRig::start_behind_guard().await;
    let guard = rig.guard();
    let stream = |guard: &SocketGuard| {
        let mut stream = guard.connect();
        stream
            .write_all(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        (stream, String::from_utf8(status.to_vec()).unwrap())
    };
    for round in 0..3 {
        let all: Vec<_> = (0..40).map(|_| stream(guard)).collect();
        let open = all.iter().filter(|(_, s)| s.ends_with("200")).count();
        let busy = all.iter().filter(|(_, s)| s.ends_with("503")).count();
        // The watchdog uses one of the sixteen slots.
        assert_eq!((open, busy), (15, 25), "round {round}");
        assert_eq!(guard.health().await, ("Docker responds".to_owned(), 0));
        drop(all);
        eventually("a slot is free", DEFAULT_TIMEOUT, async || {
            stream(guard).1.ends_with("200").then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ambiguous_requests_are_denied() {
    let mut rig = WatchdogRig::start_behind_guard().await;
    let unit = rig.unit_setup(1, NO_RESTART_FLAGS).start();
    let before = unit.started_at();
    let guard = rig.guard();
    let name = unit.container_name();
    let hidden = format!("POST /containers/{name}/kill HTTP/1.1\r\nHost: x\r\n\r\n");
    let length = hidden.len();
    let rows = [
        (
            format!(
                "POST /containers/{name}/start HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{hidden}"
            ),
            "403",
        ),
        (
            format!(
                "GET /info HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
            ),
            "403",
        ),
        (
            format!("GET /info HTTP/1.1\r\nHost: x\r\n\r\n{hidden}"),
            "200",
        ),
        (
            format!(
                "GET /containers/{name}/logs?stdout=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
            ),
            "403",
        ),
        (
            format!("POST /containers/{name}/attach?stream=1 HTTP/1.1\r\nHost: x\r\n\r\n"),
            "403",
        ),
        (
            "GET http://docker/info HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            "403",
        ),
        (
            "CONNECT docker:80 HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            "403",
        ),
        (
            "GET /v1.41/../info HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            "403",
        ),
        (
            "GET /containers/%2e%2e/images/json HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            "403",
        ),
    ];
    for (request, status) in rows {
        let answer = guard.send_raw(&request);
        let expected = format!("HTTP/1.1 {status}");
        assert!(answer.starts_with(&expected), "{request}\n---\n{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
        if status == "403" {
            assert!(answer.contains("{\"message\":\"socket-guard: "), "{answer}");
        }
    }
    assert!(unit.is_running() && unit.started_at() == before);
    assert_eq!(guard.process.count_logs("/kill"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn watchdog_works_through_the_guard_and_survives_its_outage() {
    let mut rig = WatchdogRig::start_behind_guard().await;
    let unit = rig.unit_setup(1, RESTART_AT_ONCE_FLAGS).start();
    let frozen = rig
        .unit_setup(2, RESTART_AT_ONCE_FLAGS)
        .with_option("--stop-timeout", "1")
        .start();
    rig.wait_until_healthy(&unit).await;
    rig.wait_until_healthy(&frozen).await;
    let before = [&unit, &frozen].map(Unit::started_at);
    unit.signal("KILL");
    frozen.signal("STOP");
    unit.wait_until_started_after(&before[0]).await;
    frozen.wait_until_started_after(&before[1]).await;
    for verb in ["start", "stop"] {
        let line = format!("/{verb}\"");
        assert!(rig.guard().process.count_logs(&line) > 0, "{verb}");
    }

    rig.guard().kill();
    rig.watchdog.wait_for_log("docker unavailable").await;
    let before = unit.started_at();
    unit.signal("KILL");
    frozen.run_docker_verb("stop");
    unit.assert_stays(false, Duration::from_secs(2)).await;
    rig.guard().restart().await;
    unit.wait_until_started_after(&before).await;
    let stopped = |phase: &UnitPhase| matches!(phase, UnitPhase::Stopped { .. });
    rig.wait_for_phase(&frozen, "stopped", stopped).await;
    frozen.assert_stays(false, Duration::from_secs(2)).await;
    assert!(rig.watchdog.is_running());
}

/// A socket-guard in a container that Docker restarts, as in compose.yaml. Removed on drop.
struct GuardContainer {
    name: String,
    dir: TempDir,
}

impl GuardContainer {
    /// Starts a guard whose loop is stuck at the first request for this path.
    fn start_stuck_at(path: &str) -> Self {
        let container = Self {
            name: format!("{}-stuck-guard-{}", run_name(), std::process::id()),
            dir: tempfile::tempdir().unwrap(),
        };
        let program = binary_with_failpoints("socket-guard");
        let label = format!("{LABEL}={}", run_name());
        let failpoint = format!("FAILPOINT_SPIN={path}");
        let mounts = [
            format!("{}:/socket-guard:ro", program.display()),
            format!("{}:/run/socket-guard", container.dir.path().display()),
            "/var/run/docker.sock:/var/run/docker.sock".to_owned(),
        ];
        let mounts = mounts.iter().flat_map(|mount| ["--volume", mount]);
        let mut arguments = vec![
            "run",
            "--detach",
            "--restart",
            "always",
            "--network",
            "none",
        ];
        arguments.extend(["--name", &container.name, "--label", &label]);
        arguments.extend(["--env", "BEARISH_PROJECT=p", "--env", &failpoint]);
        arguments.extend(mounts);
        arguments.extend(["--entrypoint", "/socket-guard", watchdog::fake_unit_image()]);
        docker(&arguments);
        container
    }

    /// Sends a request; the answer, or `None` if there is none within a second.
    fn answer(&self, path: &str) -> Option<String> {
        let mut stream = UnixStream::connect(self.dir.path().join("docker.sock")).ok()?;
        let timeout = Some(Duration::from_secs(1));
        stream.set_read_timeout(timeout).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: docker\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    fn restart_count(&self) -> String {
        let format = "{{.RestartCount}}";
        let count = docker(&["inspect", "--format", format, &self.name]);
        count.trim().to_owned()
    }
}

impl Drop for GuardContainer {
    fn drop(&mut self) {
        run_cleanup(Command::new("docker").args(["rm", "-fv", &self.name]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_restarts_a_guard_whose_loop_is_stuck() {
    let guard = GuardContainer::start_stuck_at("/_ping");
    let answers = async || {
        guard
            .answer("/version")
            .filter(|text| text.contains("200 OK"))
    };
    eventually("the guard answers", DEFAULT_TIMEOUT, answers).await;
    assert_eq!(guard.restart_count(), "0");
    let stuck = Instant::now();
    assert_eq!(guard.answer("/_ping"), None);
    eventually("Docker restarts the guard", REPORT_DEADLINE, async || {
        (guard.restart_count() == "1").then_some(())
    })
    .await;
    eventually("the guard answers again", DEFAULT_TIMEOUT, answers).await;
    eprintln!("stuck to restarted: {:?}", stuck.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn guard_names_a_bad_setting_in_one_line_and_waits_for_docker() {
    let rows = [
        (vec![("BEARISH_PROJECT", "a b")], 78, "BEARISH_PROJECT"),
        (
            vec![("DOCKER_HOST", "tcp://127.0.0.1:2375")],
            78,
            "unix:///path",
        ),
        (
            vec![("HOSTNAME", "no-container-of-labelled")],
            78,
            "BEARISH_PROJECT",
        ),
        (vec![], 78, "BEARISH_PROJECT"),
        (
            vec![
                ("BEARISH_PROJECT", "p"),
                ("SOCKET_GUARD_LISTEN", "unix:///nowhere/x"),
            ],
            78,
            "SOCKET_GUARD_LISTEN",
        ),
    ];
    for (env, expected, text) in rows {
        let mut process = start_process(&env);
        let code = process.exit_within(DEFAULT_TIMEOUT).await;
        let err = process.err();
        assert_eq!((code, err.len()), (expected, 1), "{env:?}: {err:?}");
        assert!(err[0].contains(text), "{env:?}: {err:?}");
    }
    let first = SocketGuard::start("p").await;
    let address = first.address();
    let mut second = start_process(&[("BEARISH_PROJECT", "p"), ("SOCKET_GUARD_LISTEN", &address)]);
    assert_eq!(second.exit_within(DEFAULT_TIMEOUT).await, 71);

    let mut waits = start_process(&[
        ("BEARISH_PROJECT", "p"),
        ("DOCKER_HOST", "unix:///nowhere.sock"),
    ]);
    waits.wait_for_log("docker unavailable").await;
    waits.signal("TERM");
    assert_eq!(waits.exit_within(DEFAULT_TIMEOUT).await, 0);
}

fn start_process(env: &[(&str, &str)]) -> Process {
    let mut command = Command::new(binary("socket-guard"));
    command.env_clear().envs(env.iter().copied());
    Process::start_without_project("socket-guard", command)
}
