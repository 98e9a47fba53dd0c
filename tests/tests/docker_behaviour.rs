//! Checks what the watchdog assumes about Docker against the real daemon, without a watchdog. A failure on a newer
//! version of Docker shows which assumption needs review.

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
/// Number of past events that Docker keeps.
const EVENT_BUFFER_SIZE: usize = 256;
/// Time after which an event is delivered.
const EVENT_DELAY: Duration = Duration::from_millis(500);

/// A container of the fake unit. Removed on drop.
struct TestContainer {
    name: String,
    since: String,
}

impl TestContainer {
    /// Starts a container with these options of `docker run`.
    fn run(options: &str) -> Self {
        Self::run_image(watchdog::fake_unit_image(), options)
    }

    fn run_image(image: &str, options: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let subject = Self {
            name: format!("{}-behaviour-{}-{number}", run_name(), std::process::id()),
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
        let mut arguments: Vec<&str> = verb.split_whitespace().collect();
        arguments.push(&self.name);
        docker(&arguments);
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

    /// Actions of the container's events since this time, oldest first.
    async fn events_since(&self, since: &str) -> Vec<String> {
        tokio::time::sleep(EVENT_DELAY).await;
        let name = format!("container={}", self.name);
        let until = docker_time();
        let actions = docker(&[
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
        actions.lines().map(str::to_owned).collect()
    }

    async fn events(&self) -> Vec<String> {
        self.events_since(&self.since).await
    }

    /// Sends a POST request for the container to Docker; returns the status code.
    fn post(&self, verb: &str) -> u16 {
        let mut stream = UnixStream::connect(SOCKET).unwrap();
        stream.set_read_timeout(Some(DEFAULT_TIMEOUT)).unwrap();
        let request = format!(
            "POST /containers/{}/{verb} HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\nConnection: \
             close\r\n\r\n",
            self.name
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for TestContainer {
    fn drop(&mut self) {
        run_cleanup(Command::new("docker").args(["rm", "-fv", &self.name]));
    }
}

/// Current time in the format of `docker events`, which uses this machine's clock.
#[expect(
    clippy::disallowed_methods,
    reason = "Docker's own clock, to the nanosecond"
)]
fn docker_time() -> String {
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{}.{:09}", now.as_secs(), now.subsec_nanos())
}

#[tokio::test]
async fn docker_kill_hup_counts_as_an_operators_stop() {
    let killed = TestContainer::run("--restart always");
    let crashed = TestContainer::run("--restart always");
    killed.run_docker_verb("kill -s HUP");
    killed.wait_for_status("exited").await;
    let pid = crashed.inspect()["State"]["Pid"].to_string();
    bearish_tests::docker::run_command(Command::new("kill").args(["-HUP", &pid]));
    eventually(
        "the crashed container is restarted",
        DEFAULT_TIMEOUT,
        async || (crashed.inspect()["RestartCount"] == 1).then_some(()),
    )
    .await;
    assert_eq!(killed.status(), "exited", "Docker restarted it");
    assert_eq!(killed.inspect()["RestartCount"], 0);
}

#[tokio::test]
async fn docker_events_differ_for_crash_stop_and_restart() {
    let crashed = TestContainer::run("--env EXIT=70");
    crashed.wait_for_status("exited").await;
    assert_eq!(crashed.events().await, ["create", "start", "die"]);

    let stopped = TestContainer::run("");
    stopped.run_docker_verb("stop");
    let stop = ["kill", "die", "stop"];
    assert_eq!(in_order_of_20_10(stopped.events().await)[2..], stop);

    let restarted = TestContainer::run("");
    restarted.run_docker_verb("restart");
    let restart = ["kill", "die", "stop", "start", "restart"];
    assert_eq!(in_order_of_20_10(restarted.events().await)[2..], restart);
}

/// Docker 28 may report the `stop` before the `die` that it waited for.
fn in_order_of_20_10(mut events: Vec<String>) -> Vec<String> {
    let stop = events.iter().position(|event| event == "stop").unwrap();
    if events.get(stop + 1).is_some_and(|next| next == "die") {
        events.swap(stop, stop + 1);
    }
    events
}

#[tokio::test]
async fn docker_stop_during_restart_backoff_emits_only_stop() {
    let subject = container_in_backoff().await;
    let before = docker_time();
    subject.run_docker_verb("stop");
    assert_eq!(subject.events_since(&before).await, ["stop"]);
}

/// A container at the beginning of a restart backoff that is long enough for a test.
async fn container_in_backoff() -> TestContainer {
    let subject = TestContainer::run("--restart always --env EXIT=70");
    let mut before = 0;
    eventually("a long restart backoff", DEFAULT_TIMEOUT, async || {
        let state = subject.inspect();
        let count = state["RestartCount"].as_u64().unwrap();
        // A changed count means that the backoff has just begun.
        let has_begun = count > std::mem::replace(&mut before, count);
        let waits = state["State"]["Status"] == "restarting";
        (count >= 4 && has_begun && waits).then_some(())
    })
    .await;
    subject
}

#[tokio::test]
async fn docker_oom_flag_of_a_child_stays_set_and_ends_nothing() {
    let subject = TestContainer::run("--memory 24m --env EAT_MEMORY_CHILD=1");
    eventually("out of memory", DEFAULT_TIMEOUT, async || {
        let events = subject.events().await;
        events.contains(&"oom".to_owned()).then_some(())
    })
    .await;
    assert!(!subject.events().await.contains(&"die".to_owned()));
    assert_eq!(subject.status(), "running");
    // The container ends later for another reason.
    subject.run_docker_verb("kill -s KILL");
    subject.wait_for_status("exited").await;
    let state = &subject.inspect()["State"];
    assert_eq!(state["ExitCode"], 137, "the exit code of SIGKILL");
    assert_eq!(
        state["OOMKilled"], true,
        "the flag of the child is still set"
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
    let started_at = subject.inspect()["State"]["StartedAt"].clone();
    assert_eq!(subject.post("start"), 304, "Docker takes it for started");
    assert_eq!(subject.inspect()["State"]["StartedAt"], started_at);
    assert_eq!(subject.post("restart"), 204);
    assert_ne!(subject.inspect()["State"]["StartedAt"], started_at);
}

/// Image of the fake unit with a health check that does not contact the process. `docker run` can only set a
/// check that needs a shell.
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
    // Docker keeps the last five checks. After this time all of them began after the freeze.
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
    let start = Instant::now();
    subject.run_docker_verb("restart -t 2");
    assert!(
        start.elapsed() >= Duration::from_secs(2),
        "the stop timeout was not used"
    );
    assert_eq!(subject.status(), "running");
    assert_eq!(subject.events().await.last().unwrap(), "restart");
}

/// Two watchdogs may both request a restart while the bus is unreachable.
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
    let count = |action| events.iter().filter(|event| *event == action).count();
    assert_eq!((count("die"), count("start")), (1, 1), "{events:?}");
    assert_eq!(subject.status(), "running");
    // A call that finds the process ended before its signal fails with 500; another call restarts the container.
    assert!(answers.contains(&204), "{answers:?}");
    assert!(
        answers.iter().all(|answer| [204, 500].contains(answer)),
        "{answers:?}"
    );
}

#[tokio::test]
async fn docker_replays_only_its_latest_events() {
    let subject = TestContainer::run("");
    // More signals than the buffer holds; it also holds the events of other containers.
    for _ in 0..EVENT_BUFFER_SIZE + 50 {
        assert_eq!(subject.post("kill?signal=CONT"), 204);
    }
    let events = subject.events().await;
    assert!(events.len() <= EVENT_BUFFER_SIZE, "{}", events.len());
    assert!(
        !events.contains(&"start".to_owned()),
        "the oldest event is still kept"
    );
}
