//! The real socket-guard before the real engine, and Docker's own command pointed at it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{Process, binary};

/// A guard of one compose project.
pub struct SocketGuard {
    /// The guard.
    pub process: Process,
    project: String,
    /// The engine behind it, if it is not the machine's.
    docker_host: Option<String>,
    dir: TempDir,
}

impl SocketGuard {
    /// One that answers.
    pub async fn start(project: &str) -> Self {
        Self::start_with_docker(project, None).await
    }

    /// One before this engine.
    pub async fn start_with_docker(project: &str, engine: Option<String>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let process = start_process(project, engine.as_deref(), &dir);
        process.wait_for_log("guarding").await;
        Self {
            process,
            project: project.to_owned(),
            docker_host: engine,
            dir,
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// A new one at the same place.
    pub async fn restart(&mut self) {
        self.process = start_process(&self.project, self.docker_host.as_deref(), &self.dir);
        self.process.wait_for_log("guarding").await;
    }

    /// What `DOCKER_HOST` says.
    pub fn address(&self) -> String {
        format!("unix://{}", socket_path(&self.dir).display())
    }

    /// Docker's own command through this guard.
    pub fn docker_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(["-H", &self.address()]).args(arguments);
        command
    }

    /// What it printed, both streams, and whether it succeeded.
    pub fn run_docker(&self, arguments: &[&str]) -> (String, bool) {
        let output = self.docker_command(arguments).stdin(Stdio::null()).output();
        let output = output.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (
            String::from_utf8(text).unwrap().trim().to_owned(),
            output.status.success(),
        )
    }

    /// Like [`Self::docker`], which must succeed.
    pub fn run_docker_ok(&self, arguments: &[&str]) -> String {
        let (said, done) = self.run_docker(arguments);
        assert!(done, "docker {arguments:?}: {said}");
        said
    }

    /// A connection of one's own.
    pub fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(socket_path(&self.dir)).unwrap();
        let patience = Some(Duration::from_secs(20));
        stream.set_read_timeout(patience).unwrap();
        stream
    }

    /// Everything that comes back for these bytes until the guard hangs up.
    pub fn send_raw(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// `socket-guard health`: what it says, and its exit code.
    pub async fn health(&self) -> (String, i32) {
        let mut command = guard_command(&self.project, self.docker_host.as_deref(), &self.dir);
        command.arg("health");
        let mut asked = Process::start("socket-guard health", command);
        let code = asked.exit_within(crate::wait::DEFAULT_TIMEOUT).await;
        (asked.out().join("\n"), code)
    }
}

fn socket_path(dir: &TempDir) -> PathBuf {
    dir.path().join("docker.sock")
}

fn guard_command(project: &str, engine: Option<&str>, dir: &TempDir) -> Command {
    let mut command = Command::new(binary("socket-guard"));
    command
        .env_clear()
        .env("BEARISH_PROJECT", project)
        .env(
            "SOCKET_GUARD_LISTEN",
            format!("unix://{}", socket_path(dir).display()),
        )
        .envs(engine.map(|engine| ("DOCKER_HOST", engine)));
    command
}

fn start_process(project: &str, engine: Option<&str>, dir: &TempDir) -> Process {
    Process::start("socket-guard", guard_command(project, engine, dir))
}
