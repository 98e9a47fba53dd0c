//! What the watchdog believes of Docker, asked of the real engine: ten facts that it is built on.
//! No watchdog here. One that fails on a newer engine says which belief is to be looked at.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bearish_tests::docker::{LABEL, docker, run_cleanup, run_name};
use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use bearish_tests::watchdog;
use serde_json::Value;

const SOCKET: &str = "/var/run/docker.sock";
/// What the engine keeps of its past.
const EVENT_BUFFER_SIZE: usize = 256;
/// An event is on its way for no longer.
const EVENT_DELAY: Duration = Duration::from_millis(500);

/// A container of the fake-unit; removed when this is dropped.
struct TestContainer {
    name: String,
    since: String,
}

impl TestContainer {
    /// With these options of `docker run`.
    fn run(options: &str) -> Self {
        Self::run_image(watchdog::fake_unit_image(), options)
    }

    fn run_image(image: &str, options: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let subject = Self {
            name: format!("{}-fact-{}-{number}", run_name(), std::process::id()),
            since: docker_time(),
        };
        let label = format!("{LABEL}={}", run_name());
        let mut arguments = vec![
            "run",
            "--detach",
            "--name",
            &subject.name,
            "--label",
            &label,
        ];
        arguments.extend(["--network", "none", "--env", "NATS=127.0.0.1:1"]);
        arguments.extend(options.split_whitespace());
        arguments.push(image);
        docker(&arguments);
        subject
    }

    fn run_docker_verb(&self, verb: &str) {
        let mut words: Vec<&str> = verb.split_whitespace().collect();
        words.push(&self.name);
        docker(&words);
    }

    fn inspect(&self) -> Value {
        let text = docker(&["inspect", "--format", "{{json .}}", &self.name]);
        serde_json::from_str(&text).unwrap()
    }

    fn status(&self) -> String {
        self.inspect()["State"]["Status"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    async fn wait_for_status(&self, status: &str) {
        let what = format!("{} is {status}", self.name);
        eventually(&what, DEFAULT_TIMEOUT, async || {
            (self.status() == status).then_some(())
        })
        .await;
    }

    /// Its events since its creation and this time, oldest first.
    async fn events_since(&self, since: &str) -> Vec<String> {
        tokio::time::sleep(EVENT_DELAY).await;
        let name = format!("container={}", self.name);
        let until = docker_time();
        let said = docker(&[
            "events",
            "--filter",
            &name,
            "--since",
            since,
            "--until",
            &until,
            "--format",
            "{{.Action}}",
        ]);
        said.lines().map(str::to_owned).collect()
    }

    async fn events(&self) -> Vec<String> {
        self.events_since(&self.since).await
    }

    /// POST to the engine; the status it answers with.
    fn post(&self, verb: &str) -> u16 {
        let mut engine = UnixStream::connect(SOCKET).unwrap();
        engine.set_read_timeout(Some(DEFAULT_TIMEOUT)).unwrap();
        let request = format!(
            "POST /containers/{}/{verb} HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\nConnection: \
             close\r\n\r\n",
            self.name
        );
        engine.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        engine.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for TestContainer {
    fn drop(&mut self) {
        run_cleanup(Command::new("docker").args(["rm", "-fv", &self.name]));
    }
}

/// Now, by the clock that stamps events: it is this machine's.
fn docker_time() -> String {
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{}.{:09}", now.as_secs(), now.subsec_nanos())
}

#[tokio::test]
async fn docker_kill_hup_counts_as_an_operators_stop() {
    let told = TestContainer::run("--restart always");
    let crashed = TestContainer::run("--restart always");
    told.run_docker_verb("kill -s HUP");
    told.wait_for_status("exited").await;
    let pid = crashed.inspect()["State"]["Pid"].to_string();
    bearish_tests::docker::run_command(Command::new("kill").args(["-HUP", &pid]));
    eventually("the crashed one runs again", DEFAULT_TIMEOUT, async || {
        (crashed.inspect()["RestartCount"] == 1).then_some(())
    })
    .await;
    assert_eq!(told.status(), "exited", "the engine starts it no more");
    assert_eq!(told.inspect()["RestartCount"], 0);
}

#[tokio::test]
async fn docker_events_differ_for_crash_stop_and_restart() {
    let crashed = TestContainer::run("--env EXIT=70");
    crashed.wait_for_status("exited").await;
    assert_eq!(crashed.events().await, ["create", "start", "die"]);

    let stopped = TestContainer::run("");
    stopped.run_docker_verb("stop");
    let stop = ["kill", "die", "stop"];
    assert_eq!(stopped.events().await[2..], stop);

    let restarted = TestContainer::run("");
    restarted.run_docker_verb("restart");
    let restart = ["kill", "die", "stop", "start", "restart"];
    assert_eq!(restarted.events().await[2..], restart);
}

#[tokio::test]
async fn docker_stop_during_restart_backoff_emits_only_stop() {
    let subject = container_in_backoff().await;
    let before = docker_time();
    subject.run_docker_verb("stop");
    assert_eq!(subject.events_since(&before).await, ["stop"]);
}

/// One that waits for the engine to start it again, long enough to do something meanwhile.
async fn container_in_backoff() -> TestContainer {
    let subject = TestContainer::run("--restart always --env EXIT=70");
    let mut before = 0;
    eventually("a long wait of the engine's", DEFAULT_TIMEOUT, async || {
        let state = subject.inspect();
        let count = state["RestartCount"].as_u64().unwrap();
        // Seen as soon as it begins: most of it is left.
        let begins = count > std::mem::replace(&mut before, count);
        let waits = state["State"]["Status"] == "restarting";
        (count >= 4 && begins && waits).then_some(())
    })
    .await;
    subject
}

#[tokio::test]
async fn docker_oom_flag_of_a_child_stays_set_and_ends_nothing() {
    let subject = TestContainer::run("--memory 24m --env HUNGRY_CHILD=1");
    eventually("out of memory", DEFAULT_TIMEOUT, async || {
        let told = subject.events().await;
        told.contains(&"oom".to_owned()).then_some(())
    })
    .await;
    assert!(!subject.events().await.contains(&"die".to_owned()));
    assert_eq!(subject.status(), "running");
    // It dies much later, of something else.
    subject.run_docker_verb("kill -s KILL");
    subject.wait_for_status("exited").await;
    let state = &subject.inspect()["State"];
    assert_eq!(state["ExitCode"], 137, "that of any SIGKILL");
    assert_eq!(
        state["OOMKilled"], true,
        "although that was not what ended it"
    );
}

#[tokio::test]
async fn docker_restart_call_resets_the_restart_count() {
    let subject = container_in_backoff().await;
    assert!(subject.inspect()["RestartCount"].as_u64().unwrap() >= 4);
    subject.run_docker_verb("restart");
    assert!(subject.inspect()["RestartCount"].as_u64().unwrap() < 2);
}

#[tokio::test]
async fn docker_start_in_backoff_does_nothing_and_restart_acts_at_once() {
    let subject = container_in_backoff().await;
    let began = subject.inspect()["State"]["StartedAt"].clone();
    assert_eq!(subject.post("start"), 304, "it will start it, some time");
    assert_eq!(subject.inspect()["State"]["StartedAt"], began, "not now");
    assert_eq!(subject.post("restart"), 204);
    assert_ne!(subject.inspect()["State"]["StartedAt"], began);
}

/// The fake-unit's image with a health check that asks its process nothing. `docker run` can only set one
/// that needs a shell.
struct CheckedImage(String);

impl CheckedImage {
    fn build() -> Self {
        let plain = TestContainer::run("");
        let image = format!("{}-checked", plain.name);
        let check = r#"HEALTHCHECK CMD ["/fake-unit", "--ok"]"#;
        docker(&["commit", "--change", check, &plain.name, &image]);
        Self(image)
    }
}

impl Drop for CheckedImage {
    fn drop(&mut self) {
        run_cleanup(Command::new("docker").args(["rmi", &self.0]));
    }
}

#[tokio::test]
async fn docker_calls_a_frozen_process_healthy_if_its_check_does_not_touch_it() {
    let check = "--health-interval 500ms --health-timeout 5s --health-retries 1";
    let checked = CheckedImage::build();
    let subject = TestContainer::run_image(&checked.0, check);
    let health = || subject.inspect()["State"]["Health"].clone();
    let healthy = |health: Value| (health["Status"] == "healthy").then_some(health);
    eventually("healthy", DEFAULT_TIMEOUT, async || healthy(health())).await;
    subject.run_docker_verb("kill -s STOP");
    // The engine keeps the last five checks: all of these began after it froze.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(health()["Status"], "healthy");
    assert_eq!(health()["FailingStreak"], 0);
    let pid = subject.inspect()["State"]["Pid"].to_string();
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    assert!(status.contains(") T "), "{status}");
}

#[tokio::test]
async fn docker_restart_ends_a_pause_and_waits_the_whole_stop_timeout() {
    let subject = TestContainer::run("--env IGNORE_SIGTERM=1");
    subject.run_docker_verb("pause");
    assert_eq!(subject.status(), "paused");
    let began = Instant::now();
    subject.run_docker_verb("restart -t 2");
    assert!(began.elapsed() >= Duration::from_secs(2), "all of its time");
    assert_eq!(subject.status(), "running");
    assert_eq!(subject.events().await.last().unwrap(), "restart");
}

/// Two watchdogs that cannot agree because the bus is away may both ask for it.
#[tokio::test]
async fn docker_merges_restart_calls_made_before_the_first_one_is_done() {
    let subject = TestContainer::run("--env IGNORE_SIGTERM=1");
    let before = docker_time();
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let [first, second] = [(); 2].map(|()| scope.spawn(|| subject.post("restart?t=2")));
        std::thread::sleep(Duration::from_secs(1));
        let third = subject.post("restart?t=2");
        vec![first.join().unwrap(), second.join().unwrap(), third]
    });
    let events = subject.events_since(&before).await;
    let of = |action| events.iter().filter(|event| *event == action).count();
    assert_eq!((of("die"), of("start")), (1, 1), "{events:?}");
    assert_eq!(subject.status(), "running");
    // One that finds the process ended between its look and its signal is refused, and nothing is lost by that.
    assert!(answers.contains(&204), "{answers:?}");
    assert!(
        answers.iter().all(|answer| [204, 500].contains(answer)),
        "{answers:?}"
    );
}

#[tokio::test]
async fn docker_replays_only_its_latest_events() {
    let subject = TestContainer::run("");
    // Many signals at a time: the engine's events of everybody else are in its memory too.
    for _ in 0..EVENT_BUFFER_SIZE + 50 {
        assert_eq!(subject.post("kill?signal=CONT"), 204);
    }
    let told = subject.events().await;
    assert!(told.len() <= EVENT_BUFFER_SIZE, "{}", told.len());
    assert!(
        !told.contains(&"start".to_owned()),
        "what was first is gone"
    );
}
