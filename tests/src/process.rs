//! A child process: its output by line, signals and exit code. It is killed on drop. A test fails if the
//! process has printed a secret of its environment. Entry point: [`Process`].

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use protocol::ids::HostKey;

use crate::wait::{DEFAULT_TIMEOUT, eventually};

/// Path of a program of this project: in `BEARISH_BIN_DIR` if set, else in cargo's target directory.
pub fn binary(name: &str) -> PathBuf {
    match std::env::var_os("BEARISH_BIN_DIR") {
        Some(dir) => require_file(PathBuf::from(dir).join(name)),
        None => binary_with_failpoints(name),
    }
}

/// Path of a program in cargo's target directory: release builds in `BEARISH_BIN_DIR` have no failpoints.
pub fn binary_with_failpoints(name: &str) -> PathBuf {
    // target/debug/deps/this-test
    let test = std::env::current_exe().unwrap();
    require_file(test.ancestors().nth(2).unwrap().join(name))
}

fn require_file(path: PathBuf) -> PathBuf {
    assert!(
        path.is_file(),
        "{} is missing: run `cargo build --workspace --bins` first",
        path.display()
    );
    path
}

/// Project of every process whose test names no other.
pub const PROJECT: &str = "bearish-test";

/// Project and host of every process whose test names no other.
pub fn host() -> HostKey {
    format!("{PROJECT}.local").parse().unwrap()
}

type Lines = Arc<Mutex<Vec<String>>>;

/// A running or ended child process.
pub struct Process {
    name: String,
    child: Child,
    out: Lines,
    err: Lines,
    readers: Vec<thread::JoinHandle<()>>,
    secrets: Vec<String>,
}

impl Process {
    /// Starts `command`, in the project [`PROJECT`] unless it names another one; `name` appears in messages.
    pub fn start(name: &str, mut command: Command) -> Self {
        if !command
            .get_envs()
            .any(|(name, _)| name == "BEARISH_PROJECT")
        {
            command.env("BEARISH_PROJECT", PROJECT);
        }
        Self::start_without_project(name, command)
    }

    /// Starts `command` with its own environment only.
    pub fn start_without_project(name: &str, mut command: Command) -> Self {
        let secrets = secret_values(&command);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let (out, err) = (Lines::default(), Lines::default());
        let readers = vec![
            collect_lines(child.stdout.take().unwrap(), Arc::clone(&out)),
            collect_lines(child.stderr.take().unwrap(), Arc::clone(&err)),
        ];
        Self {
            name: name.to_owned(),
            child,
            out,
            err,
            readers,
            secrets,
        }
    }

    /// Process id of the child.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name, such as `TERM` or `STOP`.
    pub fn signal(&self, signal: &str) {
        // A shell's builtin: a minimal machine has no kill program.
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -s {signal} {}", self.child.id())])
            .status()
            .unwrap();
        assert!(sent.success(), "{}: SIG{signal} was not sent", self.name);
    }

    /// Sends SIGKILL and waits until the process has ended.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Whether the process has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits at most `within` for the exit and returns the exit code. The output is complete afterwards.
    pub async fn exit_within(&mut self, within: Duration) -> i32 {
        let what = format!("{} ends", self.name);
        let child = &mut self.child;
        let status = eventually(&what, within, async || child.try_wait().unwrap()).await;
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        status
            .code()
            .unwrap_or_else(|| panic!("{}: {status}", self.name))
    }

    /// Waits for a log line with this text and returns the first one.
    pub async fn wait_for_log(&self, text: &str) -> String {
        self.wait_for_log_within(text, DEFAULT_TIMEOUT).await
    }

    /// Waits at most `within` for a log line with this text and returns the first one.
    pub async fn wait_for_log_within(&self, text: &str, within: Duration) -> String {
        let what = format!("{} logs {text:?}", self.name);
        eventually(&what, within, async || {
            self.out().into_iter().find(|line| line.contains(text))
        })
        .await
    }

    /// Counts the log lines with this text so far.
    pub fn count_logs(&self, text: &str) -> usize {
        self.out().iter().filter(|l| l.contains(text)).count()
    }

    /// Checks that no printed line contains a secret.
    fn assert_no_secret_printed(&mut self) {
        for reader in self.readers.drain(..) {
            // A panic of a reader thread has failed the test already.
            let _ = reader.join();
        }
        for line in self.out().iter().chain(&self.err()) {
            let leaks = self.secrets.iter().any(|secret| line.contains(secret));
            assert!(!leaks, "{} shows a secret: {line:?}", self.name);
        }
    }

    /// Standard output so far.
    pub fn out(&self) -> Vec<String> {
        copy_lines(&self.out)
    }

    /// Standard error so far.
    pub fn err(&self) -> Vec<String> {
        copy_lines(&self.err)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let (out, err) = (self.out(), self.err());
            let from = out.len().saturating_sub(60);
            eprintln!("--- last log lines of {}", self.name);
            for line in out[from..].iter().chain(&err) {
                eprintln!("{line}");
            }
        } else {
            self.assert_no_secret_printed();
        }
    }
}

/// Secret values of the child's environment: whole values, the second part of a bot token, the last path segment
/// of a URL. Shorter values are no secrets, but invalid input of a test.
fn secret_values(command: &Command) -> Vec<String> {
    const SHORTEST: usize = 8;
    let is_secret = |name: &str| {
        let ends = [
            "_TOKEN",
            "_PASSWORD",
            "_SECRET",
            "_API_KEY",
            "FALLBACK_URL",
            "DEADMAN_URL",
        ];
        ends.iter().any(|end| name.ends_with(end))
    };
    let secrets = command.get_envs().filter_map(|(name, value)| {
        let (name, value) = (name.to_str()?, value?.to_str()?);
        let value = value.trim_matches('"');
        let secret = match name {
            "TELEGRAM_BOT_TOKEN" => value.rsplit(':').next()?,
            // The host may be logged.
            "FALLBACK_URL" | "DEADMAN_URL" => value.rsplit('/').next()?,
            _ => value,
        };
        (is_secret(name) && secret.len() >= SHORTEST).then(|| secret.to_owned())
    });
    secrets.collect()
}

fn collect_lines(from: impl Read + Send + 'static, to: Lines) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            to.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    })
}

fn copy_lines(lines: &Lines) -> Vec<String> {
    lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print_with_env(name: &str, value: &str, line: &str) {
        let mut command = Command::new("sh");
        command
            .env(name, value)
            .args(["-c", &format!("echo '{line}' >&2")]);
        let mut process = Process::start("printer", command);
        process.child.wait().unwrap();
    }

    #[test]
    #[should_panic(expected = "printer shows a secret")]
    fn process_that_prints_its_token_fails_the_test() {
        print_with_env(
            "TELEGRAM_BOT_TOKEN",
            "1:AAabcdefgh",
            "https://host/bot1:AAabcdefgh/getMe",
        );
    }

    #[test]
    #[should_panic(expected = "printer shows a secret")]
    fn process_that_prints_its_quoted_password_fails_the_test() {
        print_with_env(
            "NATS_NOTIFIER_PASSWORD",
            "\"xyzzy-1234\"",
            "password xyzzy-1234",
        );
    }

    #[test]
    fn process_may_print_what_is_no_secret() {
        print_with_env(
            "TELEGRAM_BOT_TOKEN_FILE",
            "/run/secrets/token",
            "reads /run/secrets/token",
        );
        print_with_env(
            "FALLBACK_URL",
            "http://host:1/s3cret-topic",
            "http://host:1/*** does not answer",
        );
    }
}
