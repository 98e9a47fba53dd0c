//! Two supervisors of plain processes: supervisord (from `PyPI`) and monit (Debian). Each supervises the same trader
//! with the same flags; its bus and exchange are plain processes too.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bearish_tests::bus_reader;
use bearish_tests::docker::run_command;
use bearish_tests::process::Process;
use bearish_tests::system::System;
use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use protocol::heartbeat::{Heartbeat, ProcessPhase};
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use runtime::clock;
use tokio::time::{Instant, sleep_until};

use crate::compose_setup::{FLAGS, Recovery};

/// A supervisor and the path of its program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProcessSupervisor {
    /// The program supervisord, at this path.
    Supervisord(PathBuf),
    /// monit, with its smallest poll interval of one second.
    Monit(PathBuf),
}

impl ProcessSupervisor {
    /// Name in printed tables.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Supervisord(_) => "supervisord, plain process",
            Self::Monit(_) => "monit every 1 s, plain process",
        }
    }

    fn command(&self, files: &ConfigFiles) -> Command {
        match self {
            Self::Supervisord(program) => {
                let config = files.write("supervisord.conf", &files.supervisord());
                let mut command = Command::new(program);
                command.arg("--nodaemon").arg("--configuration").arg(config);
                command
            }
            Self::Monit(program) => {
                let config = files.write("monitrc", &files.monit());
                let mut command = Command::new(program);
                command.arg("-I").arg("-c").arg(config);
                command
            }
        }
    }
}

/// Directory of the supervisor's configuration and the scripts that it starts.
struct ConfigFiles(tempfile::TempDir);

impl ConfigFiles {
    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// Writes an executable file that only the user can access, as monit requires.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        path
    }

    fn supervisord(&self) -> String {
        format!(
            "[supervisord]\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile={}\n\
             [program:trader]\ncommand={}\nautorestart=true\nstdout_logfile=/dev/null\nstderr_logfile=/dev/null\n",
            self.path("supervisord.pid"),
            self.path("trader")
        )
    }

    fn monit(&self) -> String {
        format!(
            "set daemon 1\nset log {}\nset pidfile {}\nset idfile {}\nset statefile {}\n\
             check process trader with pidfile {}\n  start program = \"{}\"\n",
            self.path("monit.log"),
            self.path("monit.pid"),
            self.path("monit.id"),
            self.path("monit.state"),
            self.path("trader.pid"),
            self.path("background")
        )
    }
}

/// A trader as a plain process, and its supervisor.
pub(crate) struct SupervisedProcess {
    pub(crate) kind: ProcessSupervisor,
    supervisor: Process,
    system: System,
    instance: String,
    boot: SubjectToken,
    healthy_since: Instant,
    files: ConfigFiles,
}

impl SupervisedProcess {
    /// Starts bus, exchange and supervisor, and waits until the trader is running.
    pub(crate) async fn start(kind: ProcessSupervisor) -> Self {
        let system = System::start(&[]).await;
        let files = ConfigFiles(tempfile::tempdir().unwrap());
        let setup = system.trader_setup("plain").flags(FLAGS);
        let pid_file = files.path("trader.pid");
        let script = format!(
            "#!/bin/sh\necho $$ >{pid_file}\n{}\n",
            setup.shell_command()
        );
        let script = files.write("trader", &script);
        // monit waits until the start program exits.
        let background = format!(
            "#!/bin/sh\n{} >/dev/null 2>&1 </dev/null &\n",
            script.display()
        );
        files.write("background", &background);
        let supervisor = Process::start(kind.name(), kind.command(&files));
        let instance = setup.instance().to_owned();
        let bus = system.operator_bus();
        let is_running = |h: &Heartbeat| h.phase == ProcessPhase::Running;
        let first =
            bus_reader::wait_for_heartbeat(bus, &instance, "running", DEFAULT_TIMEOUT, is_running)
                .await;
        Self {
            kind,
            supervisor,
            instance,
            boot: first.boot,
            healthy_since: Instant::now(),
            system,
            files,
        }
    }

    /// Waits until the trader has been running for `healthy`.
    pub(crate) async fn settle(&self, healthy: Duration) {
        sleep_until(self.healthy_since + healthy).await;
    }

    /// Kills the trader and waits until the next one is running.
    pub(crate) async fn measure_recovery(&mut self) -> Recovery {
        let killed = clock::now();
        let pid = self.pid().await;
        run_command(Command::new("sh").args(["-c", &format!("kill -KILL {pid}")]));
        let has_restarted = |h: &Heartbeat| h.phase == ProcessPhase::Running && h.boot != self.boot;
        let bus = self.system.operator_bus();
        let first = bus_reader::wait_for_heartbeat(
            bus,
            &self.instance,
            "running after a restart",
            DEFAULT_TIMEOUT,
            has_restarted,
        )
        .await;
        let start = first.at.0 - i64::try_from(first.uptime_ms).unwrap();
        self.boot = first.boot;
        self.healthy_since = Instant::now();
        Recovery {
            process_started: UtcMs(start).since(killed),
            running: first.at.since(killed),
            stages: None,
        }
    }

    async fn pid(&self) -> u32 {
        let file = self.files.path("trader.pid");
        eventually("the trader's process id", DEFAULT_TIMEOUT, async || {
            fs::read_to_string(&file).ok()?.trim().parse().ok()
        })
        .await
    }
}

impl Drop for SupervisedProcess {
    fn drop(&mut self) {
        // The supervisor first: it would restart the trader.
        self.supervisor.kill();
        let pid = fs::read_to_string(self.files.path("trader.pid")).unwrap_or_default();
        if Path::new("/proc").join(pid.trim()).exists() && !pid.trim().is_empty() {
            let kill = format!("kill -KILL {}", pid.trim());
            let _ = Command::new("sh").args(["-c", &kill]).status();
        }
    }
}
