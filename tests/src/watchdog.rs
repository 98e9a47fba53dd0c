//! The real watchdog with fake units on a real Docker daemon: small containers that send heartbeats, hang and exit
//! on a test's command. Entry point: [`WatchdogRig`].

mod container_events;
mod frozen;
mod image;

pub use container_events::ContainerEvents;
pub use frozen::FrozenContainer;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use protocol::event::EventBody;
use protocol::ids::HostKey;
use protocol::subject::Subject;
use runtime::bus::Bus;
use runtime::journal::Journal;
use serde_json::Value;
use watchdog_core::phase::UnitPhase;
use watchdog_core::record::{SupervisionRecord, UnitRecord};
use watchdog_core::state::SupervisionState;

use crate::bus_reader;
use crate::docker::{LABEL, docker_command, run_command, run_name};
use crate::docker_daemon::DockerDaemon;
use crate::nats::{NatsServer, Role};
use crate::process::{Process, binary, binary_with_failpoints};
use crate::socket_guard::SocketGuard;
use crate::wait::{DEFAULT_TIMEOUT, eventually};

/// A bus, a Compose project and its watchdog.
pub struct WatchdogRig {
    /// Process of the current watchdog.
    pub watchdog: Process,
    /// nats-server with its streams.
    pub nats: NatsServer,
    /// The operator's connection to the bus.
    pub operator: Bus,
    /// Name of the Compose project.
    pub project: String,
    guard: Option<SocketGuard>,
    daemon: Option<DockerDaemon>,
}

impl WatchdogRig {
    /// Starts a watchdog that supervises an empty project.
    pub async fn start() -> Self {
        Self::start_with(new_project(), None, None).await
    }

    /// Starts a watchdog that reaches Docker through a socket-guard only, as in compose.yaml.
    pub async fn start_behind_guard() -> Self {
        let project = new_project();
        let guard = SocketGuard::start(&project).await;
        Self::start_with(project, Some(guard), None).await
    }

    /// Starts a watchdog that reaches `daemon` through a socket-guard.
    pub async fn start_on_daemon(daemon: DockerDaemon) -> Self {
        image::ensure_images(Some(&daemon.address()));
        let project = new_project();
        let guard = SocketGuard::start_with_docker(&project, Some(daemon.address())).await;
        Self::start_with(project, Some(guard), Some(daemon)).await
    }

    async fn start_with(
        project: String,
        guard: Option<SocketGuard>,
        daemon: Option<DockerDaemon>,
    ) -> Self {
        let nats = NatsServer::with_streams().await;
        let operator = nats.bus(Role::Operator).await;
        let host = docker_host(guard.as_ref(), daemon.as_ref());
        let watchdog = start_watchdog(&nats, &project, "watchdog-1", host);
        watchdog.wait_for_log("supervising").await;
        Self {
            watchdog,
            nats,
            operator,
            project,
            guard,
            daemon,
        }
    }

    /// The socket-guard between watchdog and Docker. Panics if there is none.
    pub fn guard(&mut self) -> &mut SocketGuard {
        self.guard.as_mut().expect("started behind a socket-guard")
    }

    /// The separate Docker daemon. Panics if there is none.
    pub fn daemon(&mut self) -> &mut DockerDaemon {
        self.daemon
            .as_mut()
            .expect("started on a separate Docker daemon")
    }

    fn docker_host(&self) -> Option<String> {
        docker_host(self.guard.as_ref(), self.daemon.as_ref())
    }

    /// Starts another watchdog of the same project.
    pub fn start_another(&self, instance: &str) -> Process {
        start_watchdog(&self.nats, &self.project, instance, self.docker_host())
    }

    /// Kills the watchdog and starts a new one with this setting.
    pub fn replace_watchdog_with_env(&mut self, setting: (&str, &str)) {
        self.watchdog.kill();
        let host = self.docker_host();
        let mut command = watchdog_command(&self.nats, &self.project, "watchdog-1", host);
        command.env(setting.0, setting.1);
        self.watchdog = Process::start("watchdog", command);
    }

    /// Kills the watchdog and starts one that hangs in its next decision about this unit.
    pub fn replace_watchdog_with_hung(&mut self, unit: &Unit) {
        self.watchdog.kill();
        let program = binary_with_failpoints("watchdog");
        let host = self.docker_host();
        let mut command =
            watchdog_command_from(program, &self.nats, &self.project, "watchdog-1", host);
        command.env("FAILPOINT_SPIN", &unit.name);
        self.watchdog = Process::start("watchdog", command);
    }

    /// Kills the watchdog and starts one in a container of the separate Docker daemon, as in compose.yaml: Docker
    /// restarts it whenever it exits.
    pub async fn move_watchdog_into_container(&mut self) {
        self.watchdog.kill();
        let daemon = self
            .daemon
            .as_ref()
            .expect("started on a separate Docker daemon");
        let name = format!("{}-watchdog-1", self.project);
        let command = watchdog_command(
            &self.nats,
            &self.project,
            "watchdog-1",
            Some(daemon.address()),
        );
        let env = command
            .get_envs()
            .filter_map(|(name, value)| Some(format!("{}={}", name.to_str()?, value?.to_str()?)));
        let env = env.chain([format!("HOSTNAME={name}")]);
        let run_dir = daemon.run_dir().display().to_string();
        let program = binary("watchdog");
        let dir = program.parent().unwrap().display();
        let mut create = docker_command(Some(&daemon.address()));
        create
            .args([
                "run",
                "--detach",
                "--restart",
                "always",
                "--network",
                "host",
            ])
            .args(["--name", &name, "--entrypoint", "/bin/watchdog"])
            .args([
                "--label",
                &format!("com.docker.compose.project={}", self.project),
            ])
            .args(["--volume", &format!("{run_dir}:{run_dir}")])
            .args(["--volume", &format!("{dir}:/bin:ro")])
            // A debug build is linked dynamically against the machine's libraries.
            .args([
                "--volume",
                "/usr/lib:/lib:ro",
                "--volume",
                "/usr/lib64:/lib64:ro",
            ])
            .args(env.flat_map(|pair| ["--env".to_owned(), pair]))
            .arg(&*image::UNIT);
        run_command(&mut create);
        let supervises = async || {
            let mut logs = docker_command(Some(&daemon.address()));
            let output = logs.args(["logs", &name]).output().unwrap();
            String::from_utf8_lossy(&output.stdout)
                .contains("supervising")
                .then_some(())
        };
        // The new watchdog waits until the lease of the killed one expires.
        eventually(
            "the watchdog in its container is supervising",
            DEFAULT_TIMEOUT,
            supervises,
        )
        .await;
    }

    /// Kills the watchdog and starts a new one at once.
    pub fn replace_watchdog(&mut self) {
        self.watchdog.kill();
        self.watchdog = self.start_another("watchdog-1");
    }

    /// Kills the watchdog and starts one whose wall clock is moved by the milliseconds in this file.
    pub fn replace_watchdog_with_clock(&mut self, offset: &Path) {
        self.watchdog.kill();
        let program = binary_with_failpoints("watchdog");
        let host = self.docker_host();
        let mut command =
            watchdog_command_from(program, &self.nats, &self.project, "watchdog-1", host);
        command.env("FAILPOINT_CLOCK_OFFSET_FILE", offset);
        self.watchdog = Process::start("watchdog", command);
    }

    /// Runs the health check of the current watchdog; returns its output and exit code.
    pub async fn health(&self) -> (String, i32) {
        let mut command =
            watchdog_command(&self.nats, &self.project, "watchdog-1", self.docker_host());
        command.arg("health");
        let mut process = Process::start("watchdog health", command);
        let code = process.exit_within(DEFAULT_TIMEOUT).await;
        let text = [process.out(), process.err()].concat().join("\n");
        (text, code)
    }

    /// Stops containers at once, as `docker compose stop` does: these units and the watchdog's container.
    pub fn stop_together_with_watchdog(&self, units: &[&Unit]) {
        let watchdog = format!("{}-watchdog-1", self.project);
        let units = units.iter().map(|unit| unit.container_name());
        let address = self.daemon.as_ref().map(DockerDaemon::address);
        let mut stop = docker_command(address.as_deref());
        run_command(stop.args(["stop", &watchdog]).args(units));
    }

    /// Starts the watchdog's container, which was stopped.
    pub fn start_watchdog_container(&self) {
        let address = self.daemon.as_ref().map(DockerDaemon::address);
        let watchdog = format!("{}-watchdog-1", self.project);
        run_command(docker_command(address.as_deref()).args(["start", &watchdog]));
    }

    /// Runs `watchdog` with these arguments; returns its output and exit code.
    pub async fn run_command(&self, arguments: &[&str]) -> (String, i32) {
        let mut command = watchdog_command(&self.nats, &self.project, "cli", self.docker_host());
        command.args(arguments);
        let mut process = Process::start("watchdog", command);
        let code = process.exit_within(DEFAULT_TIMEOUT).await;
        let text = [process.out(), process.err()].concat().join("\n");
        (text, code)
    }

    /// Setup of the unit `trader-paper-<number>` of this project with these flags.
    pub fn unit_setup(&self, number: u32, flags: &str) -> UnitSetup {
        let name = format!("trader-paper-{number}");
        let [(_, url), (_, user), (_, password)] = self.nats.env(Role::TraderPaper);
        let env = [
            format!("NATS={}", url.trim_start_matches("nats://")),
            format!("USER={user}"),
            format!("PASSWORD={password}"),
            format!("PROJECT={}", self.project),
            "HOST=local".to_owned(),
            format!("UNIT={name}"),
            "HEARTBEAT_MS=1000".to_owned(),
        ];
        let env = env.into_iter().flat_map(|pair| ["--env".to_owned(), pair]);
        let options = self.label_options("supervise", "trader-paper", number);
        UnitSetup {
            docker_host: self.daemon.as_ref().map(DockerDaemon::address),
            image: &image::UNIT,
            name,
            container: format!("{}-trader-paper-{number}", self.project),
            options: options.chain(env).collect(),
            flags: flags.split_whitespace().map(str::to_owned).collect(),
            network: "host".to_owned(),
        }
    }

    /// Setup of the service `<service>-1` of this project on the machine's Docker daemon, with a health check and the
    /// label that lets the watchdog restart it when it hangs.
    pub fn service_setup(&self, service: &str) -> UnitSetup {
        let container = format!("{}-{service}-1", self.project);
        UnitSetup {
            docker_host: None,
            image: &image::SERVICE,
            name: format!("{service}-1"),
            options: self.label_options("heal", service, 1).collect(),
            flags: Vec::new(),
            network: "host".to_owned(),
            container: container.clone(),
        }
        .env(&format!("SERVICE={container}"))
    }

    fn label_options(
        &self,
        label: &str,
        service: &str,
        number: u32,
    ) -> impl Iterator<Item = String> + use<> {
        let labels = [
            format!("{LABEL}={}", run_name()),
            format!("bearish-alpha.{label}=true"),
            format!("com.docker.compose.project={}", self.project),
            format!("com.docker.compose.service={service}"),
            format!("com.docker.compose.container-number={number}"),
        ];
        labels
            .into_iter()
            .flat_map(|label| ["--label".to_owned(), label])
    }

    /// Project and host of this watchdog.
    pub fn host(&self) -> HostKey {
        format!("{}.local", self.project).parse().unwrap()
    }

    /// Reads every record of the watchdog's journal.
    pub async fn records(&self) -> Vec<SupervisionRecord> {
        let subject = Subject::WatchdogJournal(self.host());
        let reader = "audit".parse().unwrap();
        let (_, entries) = Journal::replay::<SupervisionRecord>(&self.operator, &subject, reader)
            .await
            .unwrap();
        entries.into_iter().flat_map(|s| s.batch.records).collect()
    }

    /// Folds the watchdog's journal into its state.
    pub async fn state(&self) -> SupervisionState {
        let mut state = SupervisionState::default();
        for record in self.records().await {
            state.apply(&record);
        }
        state
    }

    /// Reads every record about a unit.
    pub async fn unit_records(&self, unit: &Unit) -> Vec<UnitRecord> {
        let unit_record = |record| match record {
            SupervisionRecord::Unit {
                unit: name, record, ..
            } if name.as_str() == unit.name => Some(record),
            _ => None,
        };
        self.records()
            .await
            .into_iter()
            .filter_map(unit_record)
            .collect()
    }

    /// Waits until `matches` accepts a unit's phase.
    pub async fn wait_for_phase(
        &self,
        unit: &Unit,
        what: &str,
        matches: impl Fn(&UnitPhase) -> bool,
    ) {
        let name = unit.name.parse().unwrap();
        eventually(
            &format!("{} is {what}", unit.name),
            DEFAULT_TIMEOUT,
            async || {
                let state = self.state().await;
                state
                    .units
                    .get(&name)
                    .filter(|unit| matches(&unit.phase))
                    .map(|_| ())
            },
        )
        .await;
    }

    /// Waits until the watchdog has recorded the unit as healthy.
    pub async fn wait_until_healthy(&self, unit: &Unit) {
        let name = unit.name.parse().unwrap();
        eventually(
            &format!("{} is healthy", unit.name),
            DEFAULT_TIMEOUT,
            async || {
                let state = self.state().await;
                state.units.get(&name)?.healthy_since.clone()
            },
        )
        .await;
    }

    /// Reads all stored events, without those of a watchdog's start.
    pub async fn stored_events(&self) -> Vec<EventBody> {
        let stored = bus_reader::stored_events(&self.operator).await;
        let bodies = stored.into_iter().map(|stored| stored.event.body);
        bodies
            .filter(|body| !matches!(body, EventBody::WatchdogStarted { .. }))
            .collect()
    }

    /// Waits for an event of this kind and returns its body.
    pub async fn wait_for_event(&self, kind: &str) -> EventBody {
        eventually(&format!("event {kind}"), DEFAULT_TIMEOUT, async || {
            self.stored_events()
                .await
                .into_iter()
                .find(|body| body.kind() == kind)
        })
        .await
    }
}

/// Settings of a unit or service whose container is not created yet.
pub struct UnitSetup {
    docker_host: Option<String>,
    image: &'static str,
    name: String,
    container: String,
    options: Vec<String>,
    flags: Vec<String>,
    network: String,
}

impl UnitSetup {
    /// Attaches the container to this network, in which it does not reach the bus.
    #[must_use]
    pub fn in_network(mut self, network: &str) -> Self {
        network.clone_into(&mut self.network);
        self
    }

    /// Adds an option of `docker create`.
    #[must_use]
    pub fn with_option(mut self, option: &str, value: &str) -> Self {
        self.options.extend([option.to_owned(), value.to_owned()]);
        self
    }

    /// Sets a variable of the fake unit, as `NAME=value`.
    #[must_use]
    pub fn env(self, pair: &str) -> Self {
        self.with_option("--env", pair)
    }

    /// Creates and starts the container.
    pub fn start(self) -> Unit {
        if self.docker_host.is_none() {
            fake_unit_image();
        }
        let mut create = docker_command(self.docker_host.as_deref());
        create.args([
            "create",
            "--network",
            &self.network,
            "--name",
            &self.container,
        ]);
        create.args(&self.options).arg(self.image).args(&self.flags);
        run_command(&mut create);
        run_command(docker_command(self.docker_host.as_deref()).args(["start", &self.container]));
        Unit {
            docker_host: self.docker_host,
            name: self.name,
            container: self.container,
        }
    }
}

/// A container of a unit or service. Removed on drop.
pub struct Unit {
    docker_host: Option<String>,
    /// Name of the unit or service, such as `trader-paper-1`.
    pub name: String,
    container: String,
}

impl Unit {
    /// Runs the `docker` command with these arguments; returns its standard output.
    pub fn run_docker(&self, arguments: &[&str]) -> String {
        run_command(docker_command(self.docker_host.as_deref()).args(arguments))
    }

    /// Sends a signal through `docker kill -s`.
    pub fn signal(&self, signal: &str) {
        self.run_docker(&["kill", "-s", signal, &self.container]);
    }

    /// Kills the process without Docker: after its own `docker kill`, Docker does not restart a container.
    pub fn kill_process(&self) {
        let pid = self.docker_state()["Pid"].to_string();
        run_command(Command::new("sh").args(["-c", &format!("kill -s KILL {pid}")]));
    }

    /// Renames the container, or names it back.
    pub fn rename(&self, from: &str, to: &str) {
        self.run_docker(&["rename", from, to]);
    }

    /// Removes the container, as `docker compose up --force-recreate` does, and starts this one in its place.
    pub fn replace_by(&self, setup: UnitSetup) {
        self.run_docker(&["rm", "-f", &self.container]);
        // It has the same name: `self` removes it.
        std::mem::forget(setup.start());
    }

    /// Ids of the unit's process and of the shim that Docker asks about it.
    pub fn pids(&self) -> [String; 2] {
        let pid = self.docker_state()["Pid"].to_string();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let parent = status
            .lines()
            .find_map(|line| line.strip_prefix("PPid:"))
            .unwrap();
        [pid, parent.trim().to_owned()]
    }

    /// Docker's name of the container.
    pub fn container_name(&self) -> &str {
        &self.container
    }

    /// Docker's id of the container.
    pub fn container_id(&self) -> String {
        let id = self.run_docker(&["inspect", "--format", "{{.Id}}", &self.container]);
        id.trim().to_owned()
    }

    /// Runs a `docker` command on the container, such as `stop`.
    pub fn run_docker_verb(&self, verb: &str) {
        self.run_docker(&[verb, &self.container]);
    }

    /// `State` of `docker inspect`.
    pub fn docker_state(&self) -> Value {
        let text = self.run_docker(&["inspect", "--format", "{{json .State}}", &self.container]);
        serde_json::from_str(&text).unwrap()
    }

    /// Actions of all Docker events of the container so far.
    pub fn docker_events(&self) -> Vec<String> {
        let filter = format!("container={}", self.container);
        let all = ["events", "--since", "0", "--until", "0s"];
        let only = ["--format", "{{.Action}}", "--filter", &filter];
        let actions = self.run_docker(&[&all[..], &only].concat());
        actions.lines().map(str::to_owned).collect()
    }

    /// Time of the last start, in Docker's format.
    pub fn started_at(&self) -> String {
        self.docker_state()["StartedAt"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Whether the container is running.
    pub fn is_running(&self) -> bool {
        self.docker_state()["Running"] == true
    }

    /// Waits until the container runs with another start time than `before`.
    pub async fn wait_until_started_after(&self, before: &str) {
        eventually(
            &format!("{} is running again", self.name),
            DEFAULT_TIMEOUT,
            async || (self.is_running() && self.started_at() != before).then_some(()),
        )
        .await;
    }

    /// Waits for `span` and checks that the container was not started or stopped meanwhile.
    pub async fn assert_stays(&self, running: bool, span: Duration) {
        let before = self.started_at();
        tokio::time::sleep(span).await;
        assert_eq!(
            (self.is_running(), self.started_at()),
            (running, before),
            "{} was started or stopped",
            self.name
        );
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        if self.docker_host.is_some() {
            // The separate Docker daemon removes its containers.
            return;
        }
        let removed = docker_command(None)
            .args(["rm", "-fv", &self.container])
            .output();
        if let Err(error) = removed {
            eprintln!("{}: {error}", self.container);
        }
    }
}

fn new_project() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{}-{number}", run_name(), std::process::id())
}

/// Value for the watchdog's `DOCKER_HOST`. `None` for Docker's default socket.
fn docker_host(guard: Option<&SocketGuard>, daemon: Option<&DockerDaemon>) -> Option<String> {
    let guard = guard.map(SocketGuard::address);
    guard.or_else(|| daemon.map(DockerDaemon::address))
}

fn watchdog_command(
    nats: &NatsServer,
    project: &str,
    instance: &str,
    host: Option<String>,
) -> Command {
    watchdog_command_from(binary("watchdog"), nats, project, instance, host)
}

fn watchdog_command_from(
    program: PathBuf,
    nats: &NatsServer,
    project: &str,
    instance: &str,
    host: Option<String>,
) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs(nats.env(Role::Watchdog))
        .env("BEARISH_PROJECT", project)
        .env("INSTANCE", format!("{project}-{instance}"))
        .env("HEARTBEAT_SECS", "1");
    command.envs(host.map(|host| ("DOCKER_HOST", host)));
    command
}

fn start_watchdog(
    nats: &NatsServer,
    project: &str,
    instance: &str,
    host: Option<String>,
) -> Process {
    Process::start("watchdog", watchdog_command(nats, project, instance, host))
}

/// Builds the fake unit's image on the machine's Docker daemon unless it exists; returns its name.
pub fn fake_unit_image() -> &'static str {
    static MADE: OnceLock<()> = OnceLock::new();
    MADE.get_or_init(|| image::ensure_images(None));
    &image::UNIT
}
