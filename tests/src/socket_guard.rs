//! The real socket-guard in front of a real Docker daemon, and the `docker` command through it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{Process, binary, binary_with_failpoints};

/// A running socket-guard for one Compose project.
pub struct SocketGuard {
    /// Process of the socket-guard, for its log.
    pub process: Process,
    project: String,
    /// Address of the Docker daemon behind it. `None` for the machine's daemon.
    docker_host: Option<String>,
    dir: TempDir,
}

impl SocketGuard {
    /// Starts a socket-guard for the machine's Docker daemon.
    pub async fn start(project: &str) -> Self {
        Self::start_with_docker(project, None).await
    }

    /// Starts a socket-guard for the daemon at `docker_host`, or for the machine's daemon.
    pub async fn start_with_docker(project: &str, docker_host: Option<String>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let process = start_process(project, docker_host.as_deref(), &dir);
        process.wait_for_log("socket-guard started").await;
        Self {
            process,
            project: project.to_owned(),
            docker_host,
            dir,
        }
    }

    /// Starts a socket-guard whose loop is stuck at the first request for this path.
    pub async fn start_stuck_at(project: &str, path: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let program = binary_with_failpoints("socket-guard");
        let mut command = guard_command_from(program, project, None, &dir);
        command.env("FAILPOINT_SPIN", path);
        let process = Process::start("socket-guard", command);
        process.wait_for_log("socket-guard started").await;
        Self {
            process,
            project: project.to_owned(),
            docker_host: None,
            dir,
        }
    }

    /// Sends SIGKILL and waits until the process has ended.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts a new process at the same address.
    pub async fn restart(&mut self) {
        self.process = start_process(&self.project, self.docker_host.as_deref(), &self.dir);
        self.process.wait_for_log("socket-guard started").await;
    }

    /// Address of the socket, as a value for `DOCKER_HOST`.
    pub fn address(&self) -> String {
        format!("unix://{}", socket_path(&self.dir).display())
    }

    /// Command line `docker` with these arguments, through this socket-guard.
    pub fn docker_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(["-H", &self.address()]).args(arguments);
        command
    }

    /// Runs `docker`; returns the output of both streams, and whether it succeeded.
    pub fn run_docker(&self, arguments: &[&str]) -> (String, bool) {
        let output = self.docker_command(arguments).stdin(Stdio::null()).output();
        let output = output.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (
            String::from_utf8(text).unwrap().trim().to_owned(),
            output.status.success(),
        )
    }

    /// Runs `docker`, which must succeed; returns the output of both streams.
    pub fn run_docker_ok(&self, arguments: &[&str]) -> String {
        let (output, success) = self.run_docker(arguments);
        assert!(success, "docker {arguments:?}: {output}");
        output
    }

    /// Opens a connection to the socket.
    pub fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(socket_path(&self.dir)).unwrap();
        let timeout = Some(Duration::from_secs(20));
        stream.set_read_timeout(timeout).unwrap();
        stream
    }

    /// Sends `request` and returns everything received until socket-guard closes the connection.
    pub fn send_raw(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// Runs `socket-guard health`; returns its output and exit code.
    pub async fn health(&self) -> (String, i32) {
        let mut command = guard_command(&self.project, self.docker_host.as_deref(), &self.dir);
        command.arg("health");
        let mut check = Process::start("socket-guard health", command);
        let code = check.exit_within(crate::wait::DEFAULT_TIMEOUT).await;
        (check.out().join("\n"), code)
    }
}

fn socket_path(dir: &TempDir) -> PathBuf {
    dir.path().join("docker.sock")
}

fn guard_command(project: &str, docker_host: Option<&str>, dir: &TempDir) -> Command {
    guard_command_from(binary("socket-guard"), project, docker_host, dir)
}

fn guard_command_from(
    program: PathBuf,
    project: &str,
    docker_host: Option<&str>,
    dir: &TempDir,
) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("BEARISH_PROJECT", project)
        .env(
            "SOCKET_GUARD_LISTEN",
            format!("unix://{}", socket_path(dir).display()),
        )
        .envs(docker_host.map(|host| ("DOCKER_HOST", host)));
    command
}

fn start_process(project: &str, docker_host: Option<&str>, dir: &TempDir) -> Process {
    Process::start("socket-guard", guard_command(project, docker_host, dir))
}
