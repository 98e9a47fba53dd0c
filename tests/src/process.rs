//! A child process: its output line by line, signals, its exit code. Dies with the test.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::patience::{SOON, eventually};

/// A program of this project: from `BEARISH_BIN_DIR`, else from where cargo put it.
pub fn binary(name: &str) -> PathBuf {
    let path = match std::env::var_os("BEARISH_BIN_DIR") {
        Some(dir) => PathBuf::from(dir).join(name),
        // target/debug/deps/this-test
        None => std::env::current_exe()
            .unwrap()
            .ancestors()
            .nth(2)
            .unwrap()
            .join(name),
    };
    assert!(
        path.is_file(),
        "{} is missing: run `cargo build --workspace --bins` first",
        path.display()
    );
    path
}

type Lines = Arc<Mutex<Vec<String>>>;

/// A running or ended child.
pub struct Process {
    name: String,
    child: Child,
    out: Lines,
    err: Lines,
    readers: Vec<thread::JoinHandle<()>>,
}

impl Process {
    /// Starts `command`, which is called `name` in messages.
    pub fn start(name: &str, mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let (out, err) = (Lines::default(), Lines::default());
        let readers = vec![
            keep(child.stdout.take().unwrap(), Arc::clone(&out)),
            keep(child.stderr.take().unwrap(), Arc::clone(&err)),
        ];
        Self {
            name: name.to_owned(),
            child,
            out,
            err,
            readers,
        }
    }

    /// Sends a signal by its name: `TERM`, `STOP`, ….
    pub fn signal(&self, signal: &str) {
        // A shell's builtin: a minimal machine has no kill program.
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -s {signal} {}", self.child.id())])
            .status()
            .unwrap();
        assert!(sent.success(), "{}: no SIG{signal} sent", self.name);
    }

    /// SIGKILL; returns when the process is gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Whether it has not ended.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Its exit code, which must come within this time; its output is complete then.
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

    /// The first log line with this text, for which it is waited.
    pub async fn says(&self, text: &str) -> String {
        self.says_within(text, SOON).await
    }

    /// The first log line with this text, which must come within this time.
    pub async fn says_within(&self, text: &str, within: Duration) -> String {
        let what = format!("{} logs {text:?}", self.name);
        eventually(&what, within, async || {
            self.out().into_iter().find(|line| line.contains(text))
        })
        .await
    }

    /// How many log lines so far have this text.
    pub fn said(&self, text: &str) -> usize {
        self.out().iter().filter(|l| l.contains(text)).count()
    }

    /// Standard output so far.
    pub fn out(&self) -> Vec<String> {
        lines(&self.out)
    }

    /// Standard error so far.
    pub fn err(&self) -> Vec<String> {
        lines(&self.err)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already ended is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let (out, err) = (self.out(), self.err());
            let from = out.len().saturating_sub(60);
            eprintln!("--- last words of {}", self.name);
            for line in out[from..].iter().chain(&err) {
                eprintln!("{line}");
            }
        }
    }
}

fn keep(from: impl Read + Send + 'static, to: Lines) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            to.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    })
}

fn lines(of: &Lines) -> Vec<String> {
    of.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
