//! The real socket-guard before the real engine: what Docker's own command, raw bytes and the watchdog
//! get through it, and what they do not.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{Read, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use bearish_tests::guard::Guard;
use bearish_tests::patience::{SOON, eventually};
use bearish_tests::process::{Process, binary};
use bearish_tests::watchdog::{self, Kennel, Unit};
use supervision::phase::Phase;

const AT_ONCE: &str = "--paper --infinite --auto-restart --restart-delay 0";
/// Nobody starts it again.
const LEFT_ALONE: &str = "--paper --infinite";
const PASSWORD: &str = "swordfish-of-the-test";

/// A unit of ours, one of ours that nobody may touch, and one of somebody else's project.
struct Neighbours {
    ours: Unit,
    unmarked: Unit,
    stranger: Unit,
}

impl Neighbours {
    fn start(kennel: &Kennel) -> Self {
        let unit = |number| {
            let unit = kennel.unit(number, LEFT_ALONE);
            unit.env(&format!("SOME_PASSWORD={PASSWORD}"))
        };
        let other = format!("com.docker.compose.project={}-other", kennel.project);
        Self {
            ours: unit(1).start(),
            unmarked: unit(2)
                .with("--label", "bearish-alpha.supervise=false")
                .start(),
            stranger: unit(3).with("--label", &other).start(),
        }
    }
}

fn refused(guard: &Guard, arguments: &[&str]) {
    let (said, done) = guard.docker(arguments);
    assert!(!done, "docker {arguments:?} was done: {said}");
    // For `attach` the command has words of its own.
    let told = said.contains("socket-guard: ") || said.contains("received 403");
    assert!(told, "{arguments:?}: {said}");
}

/// What Docker's command must not do through the guard, not even to a marked container.
const NEVER: [&str; 25] = [
    "create IMAGE",
    "run --rm IMAGE",
    "pull IMAGE",
    "exec OURS /stand-in",
    "attach OURS",
    "rm -f OURS",
    "rename OURS other",
    "update --memory 1g OURS",
    "pause OURS",
    "cp OURS:/stand-in -",
    "export OURS",
    "commit OURS",
    "top OURS",
    "diff OURS",
    "stats --no-stream OURS",
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
async fn dockers_own_command_reaches_marked_containers_of_the_project_and_nothing_else() {
    let mut kennel = Kennel::behind_a_guard().await;
    let all = Neighbours::start(&kennel);
    let [ours, unmarked, stranger] =
        [&all.ours, &all.unmarked, &all.stranger].map(|unit| unit.container().to_owned());
    let ids = [&all.ours, &all.stranger].map(Unit::id);
    let project = kennel.project.clone();
    let guard = kennel.guard();

    let names = ["ps", "-a", "--format", "{{.Names}}"];
    let listed = guard.can(&names);
    let mut listed: Vec<&str> = listed.lines().collect();
    listed.sort_unstable();
    assert_eq!(listed, [&ours, &unmarked]);
    let theirs = format!("label=com.docker.compose.project={project}-other");
    let asked_for = guard.can(&[&names[..], &["--filter", &theirs]].concat());
    assert_eq!(asked_for, "");

    let before = all.ours.started_at();
    guard.can(&["restart", "-t", "1", &ours[..]]);
    assert_ne!(all.ours.started_at(), before);
    for (verb, runs) in [("stop", false), ("start", true), ("kill", false)] {
        guard.can(&[verb, &ids[0][..20]]);
        eventually(verb, SOON, async || (all.ours.runs() == runs).then_some(())).await;
    }
    guard.can(&["start", &ids[0]]);
    guard.can(&["version"]);
    guard.can(&["info"]);
    guard.can(&["logs", &ours]);

    for verb in ["start", "stop", "kill", "restart"] {
        refused(guard, &[verb, &unmarked]);
        refused(guard, &[verb, &stranger]);
        refused(guard, &[verb, &ids[1]]);
        refused(guard, &[verb, &ids[1][..12]]);
    }
    for verb in ["inspect", "logs"] {
        refused(guard, &[verb, "--", &stranger]);
    }
    for call in NEVER {
        let words = call.split(' ').map(|word| match word {
            "OURS" => ours.as_str(),
            "IMAGE" => watchdog::image(),
            word => word,
        });
        refused(guard, &words.collect::<Vec<_>>());
    }
    assert!(all.ours.runs() && all.unmarked.runs() && all.stranger.runs());

    let said = |what: &str| guard.process.said(what);
    assert!(said("verdict=\"refused\" status=403") > 20);
    assert_eq!(said("verdict=\"allowed\" status=204"), 5, "what was done");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_value_of_an_environment_gets_out() {
    let mut kennel = Kennel::behind_a_guard().await;
    let all = Neighbours::start(&kennel);
    for unit in [&all.ours, &all.unmarked] {
        let shown = kennel.guard().can(&["inspect", unit.container()]);
        assert!(shown.contains("\"SOME_PASSWORD=***\""), "{shown}");
        assert!(shown.contains("\"bearish-alpha.supervise\""), "{shown}");
        assert!(!shown.contains(PASSWORD), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_and_logs_stream_and_are_of_the_project_alone() {
    let mut kennel = Kennel::behind_a_guard().await;
    let all = Neighbours::start(&kennel);
    let guard = kennel.guard();
    let mut events = Process::start("docker events", guard.command(&["events"]));
    let logs = ["logs", "--follow", all.ours.container()];
    let mut logs = Process::start("docker logs", guard.command(&logs));
    // Something to be told of, until somebody listens.
    eventually("an event", SOON, async || {
        all.stranger.docker("restart");
        all.ours.docker("restart");
        (events.said("container restart") > 0).then_some(())
    })
    .await;
    assert!(events.runs(), "it streams on");
    assert_eq!(events.said(all.stranger.container()), 0);
    logs.kill();
    let signalled = Instant::now();
    guard.process.signal("TERM");
    assert_eq!(guard.process.exit_within(Duration::from_secs(8)).await, 0);
    assert!(signalled.elapsed() < Duration::from_secs(8));
    events.exit_within(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_hang_up_leave_their_places_to_others() {
    let mut kennel = Kennel::behind_a_guard().await;
    let guard = kennel.guard();
    let stream = |guard: &Guard| {
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
        // The watchdog has one of the sixteen.
        assert_eq!((open, busy), (15, 25), "round {round}");
        assert_eq!(guard.health().await, ("the engine answers".to_owned(), 0));
        drop(all);
        eventually("a place is free", SOON, async || {
            stream(guard).1.ends_with("200").then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_mean_two_things_mean_nothing() {
    let mut kennel = Kennel::behind_a_guard().await;
    let unit = kennel.unit(1, LEFT_ALONE).start();
    let before = unit.started_at();
    let guard = kennel.guard();
    let name = unit.container();
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
        let answer = guard.raw(&request);
        let expected = format!("HTTP/1.1 {status}");
        assert!(answer.starts_with(&expected), "{request}\n---\n{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
        if status == "403" {
            assert!(answer.contains("{\"message\":\"socket-guard: "), "{answer}");
        }
    }
    assert!(unit.runs() && unit.started_at() == before);
    assert_eq!(guard.process.said("/kill"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watchdog_does_its_work_through_the_guard_and_outlives_it() {
    let mut kennel = Kennel::behind_a_guard().await;
    let unit = kennel.unit(1, AT_ONCE).start();
    let frozen = kennel.unit(2, AT_ONCE).with("--stop-timeout", "1").start();
    kennel.healthy(&unit).await;
    kennel.healthy(&frozen).await;
    let before = [&unit, &frozen].map(Unit::started_at);
    unit.signal("KILL");
    frozen.signal("STOP");
    unit.started_after(&before[0]).await;
    frozen.started_after(&before[1]).await;
    for verb in ["start", "stop"] {
        let line = format!("/{verb}\"");
        assert!(kennel.guard().process.said(&line) > 0, "{verb}");
    }

    kennel.guard().kill();
    kennel.watchdog.says("the engine does not answer").await;
    let before = unit.started_at();
    unit.signal("KILL");
    frozen.docker("stop");
    unit.stays(false, Duration::from_secs(2)).await;
    kennel.guard().start_again().await;
    unit.started_after(&before).await;
    let stopped = |phase: &Phase| matches!(phase, Phase::Stopped { .. });
    kennel.phase(&frozen, "stopped", stopped).await;
    frozen.stays(false, Duration::from_secs(2)).await;
    assert!(kennel.watchdog.runs());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_that_cannot_guard_says_so_in_one_line_and_waits_for_an_engine() {
    let rows = [
        (vec![("COMPOSE_PROJECT", "a b")], 78, "COMPOSE_PROJECT"),
        (
            vec![("DOCKER_HOST", "tcp://127.0.0.1:2375")],
            78,
            "unix:///path",
        ),
        (
            vec![("HOSTNAME", "no-container-of-ours")],
            78,
            "COMPOSE_PROJECT",
        ),
        (vec![], 78, "COMPOSE_PROJECT"),
        (
            vec![
                ("COMPOSE_PROJECT", "p"),
                ("GUARD_SOCKET", "unix:///nowhere/x"),
            ],
            78,
            "GUARD_SOCKET",
        ),
    ];
    for (env, expected, words) in rows {
        let mut process = started(&env);
        let code = process.exit_within(SOON).await;
        let err = process.err();
        assert_eq!((code, err.len()), (expected, 1), "{env:?}: {err:?}");
        assert!(err[0].contains(words), "{env:?}: {err:?}");
    }
    let first = Guard::start("p").await;
    let address = first.address();
    let mut second = started(&[("COMPOSE_PROJECT", "p"), ("GUARD_SOCKET", &address)]);
    assert_eq!(second.exit_within(SOON).await, 71);

    let mut waits = started(&[
        ("COMPOSE_PROJECT", "p"),
        ("DOCKER_HOST", "unix:///nowhere.sock"),
    ]);
    waits.says("waiting for the engine").await;
    waits.signal("TERM");
    assert_eq!(waits.exit_within(SOON).await, 0);
}

fn started(env: &[(&str, &str)]) -> Process {
    let mut command = Command::new(binary("socket-guard"));
    command.env_clear().envs(env.iter().copied());
    Process::start("socket-guard", command)
}
