//! Docker calls of a stop, counted by a fake daemon on a Unix socket.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};
use std::thread;

use bearish_watchdog::action_executor::{ActionExecutor, ActionResult, ContainerAfter};
use bearish_watchdog::docker::{self, DockerClient};
use watchdog_core::container::Run;
use watchdog_core::model::Action;

const RUN: &str = "2026-11-24T03:00:00Z";
const NEXT_RUN: &str = "2026-11-24T03:00:09Z";

/// A daemon with one container, whose current run began at `started_at`. A stop is answered with `stop_status`.
fn start_daemon(started_at: &'static str, stop_status: &'static str) -> FakeDaemon {
    let name = format!("{started_at}-{stop_status}").replace([':', ' '], "-");
    let path = std::env::temp_dir().join(format!("bearish-stop-{}-{name}", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let calls = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&calls);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            answer(client, started_at, stop_status, &log);
        }
    });
    FakeDaemon { path, calls }
}

struct FakeDaemon {
    path: std::path::PathBuf,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Drop for FakeDaemon {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn answer(client: UnixStream, started_at: &str, stop_status: &str, calls: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(client);
    let mut request = String::new();
    reader.read_line(&mut request).unwrap();
    let mut header = String::from("-");
    while !header.trim().is_empty() {
        header.clear();
        reader.read_line(&mut header).unwrap();
    }
    let target = request.split(' ').nth(1).unwrap();
    let path = target.split('?').next().unwrap();
    let call = path.rsplit('/').next().unwrap().to_owned();
    let (status, body) = match call.as_str() {
        "json" => ("200 OK", inspection(started_at)),
        "stop" => (stop_status, String::new()),
        _ => ("204 No Content", String::new()),
    };
    calls.lock().unwrap().push(call);
    let length = body.len();
    let mut client = reader.into_inner();
    write!(
        client,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
    .unwrap();
}

fn inspection(started_at: &str) -> String {
    format!(
        r#"{{"Id":"4f1c","Args":["--paper","--auto-restart"],
            "State":{{"Status":"running","Running":true,"StartedAt":"{started_at}"}},
            "Config":{{"Labels":{{"bearish-alpha.supervise":"true","com.docker.compose.service":"trader-paper",
            "com.docker.compose.container-number":"1"}}}}}}"#
    )
}

async fn stop(daemon: &FakeDaemon) -> (ActionResult, Vec<String>) {
    let client = docker::new_client(&daemon.path).unwrap();
    let docker = DockerClient::new(client, "bearish-alpha".parse().unwrap());
    let mut executor = ActionExecutor::new(docker);
    let run = Run {
        container: "4f1c".to_owned(),
        started_at: RUN.to_owned(),
    };
    let grace_ms = 10_000;
    executor.spawn(
        "trader-paper-1".parse().unwrap(),
        Action::Stop { run, grace_ms },
    );
    let result = executor.next_result().await;
    let calls = daemon.calls.lock().unwrap().clone();
    (result, calls)
}

#[tokio::test]
async fn stop_inspects_the_container_once() {
    let daemon = start_daemon(RUN, "204 No Content");
    let (result, calls) = stop(&daemon).await;
    assert_eq!(calls, ["json", "stop"]);
    assert!(
        matches!(result.after, ContainerAfter::Watched),
        "{result:?}"
    );
    assert_eq!(result.error, None);
}

#[tokio::test]
async fn stop_leaves_another_run_alone() {
    let daemon = start_daemon(NEXT_RUN, "204 No Content");
    let (result, calls) = stop(&daemon).await;
    assert_eq!(calls, ["json"]);
    let ContainerAfter::Present(container) = result.after else {
        panic!("{result:?}");
    };
    assert_eq!(container.run.started_at, NEXT_RUN);
}

#[tokio::test]
async fn failed_stop_is_followed_by_sigkill() {
    let daemon = start_daemon(RUN, "500 Internal Server Error");
    let (result, calls) = stop(&daemon).await;
    assert_eq!(calls, ["json", "stop", "kill"]);
    assert_eq!(result.error, None);
}
