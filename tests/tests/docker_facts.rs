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

use bearish_tests::docker::{LABEL, clear_away, docker, run_name};
use bearish_tests::patience::{SOON, eventually};
use bearish_tests::watchdog;
use serde_json::Value;

const SOCKET: &str = "/var/run/docker.sock";
/// What the engine keeps of its past.
const KEPT: usize = 256;
/// An event is on its way for no longer.
const SETTLED: Duration = Duration::from_millis(500);

/// A container of the stand-in; removed when this is dropped.
struct Subject {
    name: String,
    since: String,
}

impl Subject {
    /// With these options of `docker run`.
    fn run(options: &str) -> Self {
        Self::run_image(watchdog::image(), options)
    }

    fn run_image(image: &str, options: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let subject = Self {
            name: format!("{}-fact-{}-{number}", run_name(), std::process::id()),
            since: engine_time(),
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

    fn can(&self, verb: &str) {
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

    async fn is(&self, status: &str) {
        let what = format!("{} is {status}", self.name);
        eventually(&what, SOON, async || {
            (self.status() == status).then_some(())
        })
        .await;
    }

    /// Its events since its creation and this time, oldest first.
    async fn events_since(&self, since: &str) -> Vec<String> {
        tokio::time::sleep(SETTLED).await;
        let name = format!("container={}", self.name);
        let until = engine_time();
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
        engine.set_read_timeout(Some(SOON)).unwrap();
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

impl Drop for Subject {
    fn drop(&mut self) {
        clear_away(Command::new("docker").args(["rm", "-fv", &self.name]));
    }
}

/// Now, by the clock that stamps events: it is this machine's.
fn engine_time() -> String {
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{}.{:09}", now.as_secs(), now.subsec_nanos())
}

#[tokio::test]
async fn a_hangup_counts_as_a_persons_stop() {
    let told = Subject::run("--restart always");
    let crashed = Subject::run("--restart always");
    told.can("kill -s HUP");
    told.is("exited").await;
    let pid = crashed.inspect()["State"]["Pid"].to_string();
    bearish_tests::docker::run(Command::new("kill").args(["-HUP", &pid]));
    eventually("the crashed one runs again", SOON, async || {
        (crashed.inspect()["RestartCount"] == 1).then_some(())
    })
    .await;
    assert_eq!(told.status(), "exited", "the engine starts it no more");
    assert_eq!(told.inspect()["RestartCount"], 0);
}

#[tokio::test]
async fn a_crash_a_stop_and_a_restart_differ_in_their_events() {
    let crashed = Subject::run("--env EXIT=70");
    crashed.is("exited").await;
    assert_eq!(crashed.events().await, ["create", "start", "die"]);

    let stopped = Subject::run("");
    stopped.can("stop");
    let stop = ["kill", "die", "stop"];
    assert_eq!(stopped.events().await[2..], stop);

    let restarted = Subject::run("");
    restarted.can("restart");
    let restart = ["kill", "die", "stop", "start", "restart"];
    assert_eq!(restarted.events().await[2..], restart);
}

#[tokio::test]
async fn a_stop_in_the_engines_own_backoff_is_only_a_stop() {
    let subject = in_backoff().await;
    let before = engine_time();
    subject.can("stop");
    assert_eq!(subject.events_since(&before).await, ["stop"]);
}

/// One that waits for the engine to start it again, long enough to do something meanwhile.
async fn in_backoff() -> Subject {
    let subject = Subject::run("--restart always --env EXIT=70");
    let mut before = 0;
    eventually("a long wait of the engine's", SOON, async || {
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
async fn a_childs_end_for_memory_is_no_end_and_stays_written_down() {
    let subject = Subject::run("--memory 24m --env HUNGRY_CHILD=1");
    eventually("out of memory", SOON, async || {
        let told = subject.events().await;
        told.contains(&"oom".to_owned()).then_some(())
    })
    .await;
    assert!(!subject.events().await.contains(&"die".to_owned()));
    assert_eq!(subject.status(), "running");
    // It dies much later, of something else.
    subject.can("kill -s KILL");
    subject.is("exited").await;
    let state = &subject.inspect()["State"];
    assert_eq!(state["ExitCode"], 137, "that of any SIGKILL");
    assert_eq!(
        state["OOMKilled"], true,
        "although that was not what ended it"
    );
}

#[tokio::test]
async fn a_restart_by_call_forgets_how_often_the_engine_restarted() {
    let subject = in_backoff().await;
    assert!(subject.inspect()["RestartCount"].as_u64().unwrap() >= 4);
    subject.can("restart");
    assert!(subject.inspect()["RestartCount"].as_u64().unwrap() < 2);
}

#[tokio::test]
async fn with_a_policy_the_engine_takes_a_start_for_done_and_a_restart_goes_first() {
    let subject = in_backoff().await;
    let began = subject.inspect()["State"]["StartedAt"].clone();
    assert_eq!(subject.post("start"), 304, "it will start it, some time");
    assert_eq!(subject.inspect()["State"]["StartedAt"], began, "not now");
    assert_eq!(subject.post("restart"), 204);
    assert_ne!(subject.inspect()["State"]["StartedAt"], began);
}

/// The stand-in's image with a health check that asks its process nothing. `docker run` can only set one
/// that needs a shell.
struct Checked(String);

impl Checked {
    fn image() -> Self {
        let plain = Subject::run("");
        let image = format!("{}-checked", plain.name);
        let check = r#"HEALTHCHECK CMD ["/stand-in", "--ok"]"#;
        docker(&["commit", "--change", check, &plain.name, &image]);
        Self(image)
    }
}

impl Drop for Checked {
    fn drop(&mut self) {
        clear_away(Command::new("docker").args(["rmi", &self.0]));
    }
}

#[tokio::test]
async fn a_frozen_process_is_healthy_for_a_check_that_does_not_touch_it() {
    let check = "--health-interval 500ms --health-timeout 5s --health-retries 1";
    let checked = Checked::image();
    let subject = Subject::run_image(&checked.0, check);
    let health = || subject.inspect()["State"]["Health"].clone();
    let healthy = |health: Value| (health["Status"] == "healthy").then_some(health);
    eventually("healthy", SOON, async || healthy(health())).await;
    subject.can("kill -s STOP");
    // The engine keeps the last five checks: all of these began after it froze.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(health()["Status"], "healthy");
    assert_eq!(health()["FailingStreak"], 0);
    let pid = subject.inspect()["State"]["Pid"].to_string();
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    assert!(status.contains(") T "), "{status}");
}

#[tokio::test]
async fn a_restart_ends_a_pause_and_waits_for_who_ignores_it() {
    let subject = Subject::run("--env DEAF=1");
    subject.can("pause");
    assert_eq!(subject.status(), "paused");
    let began = Instant::now();
    subject.can("restart -t 2");
    assert!(began.elapsed() >= Duration::from_secs(2), "all of its time");
    assert_eq!(subject.status(), "running");
    assert_eq!(subject.events().await.last().unwrap(), "restart");
}

/// Two watchdogs that cannot agree because the bus is away may both ask for it.
#[tokio::test]
async fn restarts_that_are_asked_for_before_the_first_one_is_done_are_one() {
    let subject = Subject::run("--env DEAF=1");
    let before = engine_time();
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
async fn the_engine_tells_its_last_events_again_and_no_more() {
    let subject = Subject::run("");
    // Many signals at a time: the engine's events of everybody else are in its memory too.
    for _ in 0..KEPT + 50 {
        assert_eq!(subject.post("kill?signal=CONT"), 204);
    }
    let told = subject.events().await;
    assert!(told.len() <= KEPT, "{}", told.len());
    assert!(
        !told.contains(&"start".to_owned()),
        "what was first is gone"
    );
}
