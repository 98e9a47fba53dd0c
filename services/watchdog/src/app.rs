//! The life of a watchdog process: start the tasks, stand by, supervise as the leader, shut down.

use std::sync::Arc;
use std::time::Duration;

use protocol::duration::format_duration;
use protocol::exit_code::ExitCode;
use protocol::heartbeat::ProcessPhase;
use protocol::ids::{ProcessRole, Service, SubjectToken};
use protocol::subject::Subject;
use protocol::time::UtcMs;
use runtime::bus::Bus;
use runtime::components::ProcessStatus;
use runtime::health::check::{self, HealthFailure, HealthResult, HealthServer};
use runtime::heartbeat::HeartbeatPublisher;
use runtime::leader_election::{LeaderElection, LeaderSightings, TermEnd};
use runtime::logging::{self, Logging};
use runtime::metrics::{Metrics, ProcessInfo};
use runtime::process::ExitError;
use runtime::shutdown::Shutdown;
use runtime::stdout::OutputArgs;
use runtime::{clock, hang_detector, outbox, streams};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::container_watcher::{ContainerWatcher, DockerScope};
use crate::docker::{self, ConnectError, DockerClient, DockerError};
use crate::service_healer::ServiceHealer;
use crate::settings::Settings;
use crate::supervisor::{COMPONENT, Supervisor, SupervisorDeps};
use crate::{blindness, command_server, heartbeat_listener, latch_watcher, supervision_metrics};

/// Streams that a watchdog reads or writes.
const STREAMS: [&str; 5] = [
    streams::JOURNAL,
    streams::EVENTS,
    streams::HEARTBEATS,
    streams::LEASES,
    streams::REPORTS,
];
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// Time for the last events, the lease and the last heartbeat at shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
/// Events that may wait while the journal is unavailable. Beyond that, their senders wait.
const EVENT_QUEUE: usize = 256;
/// A supervisor loop without progress for this long is hung.
const HUNG_AFTER: Duration = Duration::from_secs(20);

/// Runs the watchdog.
///
/// # Errors
/// The error with its exit code.
pub async fn run() -> Result<ExitCode, ExitError> {
    let settings = Settings::from_env()?;
    let logging = logging::init(&settings.telemetry, &[])?;
    let shutdown = Shutdown::listen().map_err(|error| ExitError::internal(error.to_string()))?;
    let shutdown_token = shutdown.token().clone();
    let mut background = BackgroundTasks::default();
    let starting = start(&settings, &logging, &shutdown_token, &mut background);
    let Some(started) = shutdown_token.run_until_cancelled(Box::pin(starting)).await else {
        return Ok(ExitCode::Success);
    };
    match started {
        Ok(deps) => {
            let supervising = supervise(Arc::new(deps), background, &settings, &shutdown_token);
            Box::pin(supervising).await
        }
        Err(error) if error.code == ExitCode::Success => Ok(ExitCode::Success),
        Err(error) => Err(error),
    }
}

/// Runs `watchdog health`.
///
/// # Errors
/// Exit 78 if this instance has no name.
pub async fn health(output: OutputArgs) -> Result<ExitCode, ExitError> {
    let settings = Settings::from_env()?;
    let identity = settings.own.identify().await?;
    Ok(check::query(Service::Watchdog, identity.instance.as_str(), output).await)
}

/// Tasks that run on the leader and on standby.
#[derive(Default)]
struct BackgroundTasks {
    tasks: JoinSet<()>,
    shutdown: CancellationToken,
}

/// Connects to Docker, then starts the service healer, then connects to the bus: the bus may be what hangs.
async fn start(
    settings: &Settings,
    logging: &Logging,
    shutdown: &CancellationToken,
    background: &mut BackgroundTasks,
) -> Result<SupervisorDeps, ExitError> {
    let connection = connect_docker(settings).await?;
    let project = connection.project;
    let identity = settings.own.identify_in(project.clone()).await?;
    logging.open_file(&identity.log_name(Service::Watchdog))?;
    tracing::info!(instance = %identity.instance, boot = %identity.boot, %project,
        version = env!("CARGO_PKG_VERSION"), "starting");
    let docker = DockerClient::new(connection.docker, project.clone());
    let healing = watch::Sender::default();
    let leader_sightings = LeaderSightings::default();
    let (healer, healer_handle) = ServiceHealer::new(
        docker.clone(),
        settings.heal_min_interval(),
        healing.subscribe(),
        leader_sightings.clone(),
    );
    background
        .tasks
        .spawn(healer.run(background.shutdown.clone()));
    let bus = Bus::connect_with_streams(&settings.bus, &STREAMS, shutdown).await?;
    let (events, sender) = outbox::channel(bus.clone(), identity.process(ProcessRole::Watchdog));
    background
        .tasks
        .spawn(sender.run(background.shutdown.clone(), SHUTDOWN_GRACE));
    Ok(SupervisorDeps {
        bus,
        docker: DockerScope {
            docker,
            is_guarded: connection.is_guarded,
            own_container: settings.hostname.clone(),
            answers_since: connection.since,
        },
        config: settings.supervision_config(),
        identity,
        outbox: events,
        progress: Arc::new(ProcessStatus::default()),
        blindness: Arc::default(),
        healer: Arc::new(Mutex::new(healer_handle)),
        healing,
        leader_sightings,
    })
}

/// A connection to Docker, and what Docker says about this process.
struct DockerConnection {
    docker: bollard::Docker,
    is_guarded: bool,
    project: SubjectToken,
    /// First answer, if Docker had to be waited for, else the start of the Unix epoch.
    since: UtcMs,
}

/// Connects to Docker, waiting until it answers.
async fn connect_docker(settings: &Settings) -> Result<DockerConnection, ExitError> {
    let client = docker::new_client(&settings.docker_socket)?;
    let mut since = UtcMs::default();
    loop {
        match try_connect(&client, settings, since).await {
            Ok(connection) => return Ok(connection),
            Err(ConnectError::Exit(error)) => return Err(error),
            Err(ConnectError::Retry(error)) => tracing::warn!(error, "waiting for Docker"),
        }
        tokio::time::sleep(RETRY_DELAY).await;
        since = clock::now();
    }
}

async fn try_connect(
    client: &bollard::Docker,
    settings: &Settings,
    since: UtcMs,
) -> Result<DockerConnection, ConnectError> {
    let docker = docker::negotiate(client, &settings.docker_socket).await?;
    let is_guarded = docker::is_guarded(&docker).await?;
    let project = find_project(&docker, settings).await?;
    Ok(DockerConnection {
        docker,
        is_guarded,
        project,
        since,
    })
}

/// The configured project, else the project of this process's container.
async fn find_project(
    docker: &bollard::Docker,
    settings: &Settings,
) -> Result<SubjectToken, ConnectError> {
    if let Some(project) = &settings.own.project {
        return Ok(project.clone());
    }
    let unknown = || {
        ConnectError::Exit(ExitError::config(
            "BEARISH_PROJECT is not set and this process runs in no container of a Compose project; \
             set BEARISH_PROJECT",
        ))
    };
    let hostname = settings.hostname.as_deref().ok_or_else(unknown)?;
    match docker::container_project(docker, hostname).await {
        Ok(Some(project)) => Ok(project),
        Ok(None) | Err(DockerError::NoSuchContainer) => Err(unknown()),
        Err(error) => Err(error.into()),
    }
}

async fn supervise(
    deps: Arc<SupervisorDeps>,
    mut background: BackgroundTasks,
    settings: &Settings,
    shutdown: &CancellationToken,
) -> Result<ExitCode, ExitError> {
    start_status_tasks(&deps, settings, &mut background).await?;
    let lease = Subject::WatchdogLease(deps.identity.host.clone());
    let election = LeaderElection::new(deps.bus.clone(), &lease, &deps.identity)
        .with_sightings(deps.leader_sightings.clone());
    let component = deps.progress.component(COMPONENT);
    hang_detector::exit_when_hung(&component)?;
    let standing_by = || {
        supervision_metrics::set_standby();
        deps.blindness.clear();
        deps.progress.enter_phase(ProcessPhase::Starting);
    };
    let terms = election.run_as_leader(&component, standing_by, shutdown, || {
        run_term(&deps, shutdown)
    });
    let ended = tokio::select! {
        biased;
        ended = terms => ended,
        Some(ended) = background.tasks.join_next() => Err(match ended {
            Ok(()) => ExitError::internal("a background task exited unexpectedly"),
            Err(error) => ExitError::internal(format!("a background task failed: {error}")),
        }),
    };
    deps.progress.enter_phase(ProcessPhase::Draining);
    background.shutdown.cancel();
    let drained = async { while background.tasks.join_next().await.is_some() {} };
    if timeout(SHUTDOWN_GRACE, drained).await.is_err() {
        tracing::warn!(
            "shutdown grace period expired; unsent events are republished after the next start"
        );
    }
    ended.map(|()| ExitCode::Success)
}

async fn start_status_tasks(
    deps: &Arc<SupervisorDeps>,
    settings: &Settings,
    background: &mut BackgroundTasks,
) -> Result<(), ExitError> {
    let name = deps.identity.instance.as_str();
    let server = HealthServer::bind(Service::Watchdog, name).map_err(|error| {
        ExitError::new(
            ExitCode::DuplicateInstance,
            format!(
                "INSTANCE={name}: another watchdog runs on this host under this name ({error})"
            ),
        )
    })?;
    let health_deps = Arc::clone(deps);
    background.tasks.spawn(server.run(
        move || check_health(&health_deps),
        background.shutdown.clone(),
    ));
    let reported = Arc::clone(&deps.blindness);
    let heartbeats = HeartbeatPublisher::new(
        deps.bus.clone(),
        ProcessRole::Watchdog,
        deps.identity.clone(),
        Arc::clone(&deps.progress),
        settings.own.heartbeat_interval(),
        Arc::new(move |heartbeat| heartbeat.blindness = reported.current()),
    );
    background
        .tasks
        .spawn(heartbeats.run(background.shutdown.clone()));
    let bus = deps.bus.clone();
    let process_info = ProcessInfo {
        service: Service::Watchdog,
        identity: deps.identity.clone(),
        version: env!("CARGO_PKG_VERSION"),
        status: Arc::clone(&deps.progress),
        is_connected: Box::new(move || bus.is_connected()),
    };
    if let Some(metrics) = Metrics::bind(&settings.metrics, process_info, || {}).await? {
        supervision_metrics::describe();
        supervision_metrics::set_standby();
        background
            .tasks
            .spawn(metrics.run(background.shutdown.clone()));
    }
    Ok(())
}

fn check_health(deps: &SupervisorDeps) -> HealthResult {
    if !deps.bus.is_connected() {
        return Err(HealthFailure::waiting(
            "bus unreachable; no unit is restarted until it is back",
        ));
    }
    let idle = deps.progress.component(COMPONENT).since_last_iteration();
    match (idle, deps.progress.phase()) {
        (Some(idle), _) if idle > HUNG_AFTER => Err(HealthFailure::hung(format!(
            "supervisor loop made no progress for {}",
            format_duration(idle)
        ))),
        (_, ProcessPhase::Starting) => Ok("standing by".to_owned()),
        _ if let Some(report) = deps.blindness.current() => {
            Err(HealthFailure::waiting(blindness::describe(&report)))
        }
        _ => Ok(format!("supervising {}", deps.identity.host.project)),
    }
}

/// One term as the leader. All its tasks start and end together.
async fn run_term(deps: &Arc<SupervisorDeps>, shutdown: &CancellationToken) -> TermEnd {
    let taken_over = shutdown.run_until_cancelled(Supervisor::take_over(Arc::clone(deps)));
    let supervisor = match taken_over.await {
        None => return TermEnd::Stopped,
        Some(Err(end)) => return end,
        Some(Ok(supervisor)) => supervisor,
    };
    deps.progress.enter_phase(ProcessPhase::Running);
    let term_shutdown = CancellationToken::new();
    let _cancels_the_tasks = term_shutdown.clone().drop_guard();
    let (event_sender, events) = mpsc::channel(EVENT_QUEUE);
    let (command_sender, commands) = mpsc::channel(command_server::QUEUE);
    let (bus, host) = (&deps.bus, &deps.identity.host);
    let watcher = ContainerWatcher::new(
        &deps.docker,
        event_sender.clone(),
        supervisor.resync(),
        supervisor.known_until(),
    );
    let mut tasks = JoinSet::new();
    tasks.spawn(watcher.run(term_shutdown.clone()));
    tasks.spawn(latch_watcher::watch_latches(
        bus.clone(),
        host.clone(),
        supervisor.watched_latches(),
        event_sender.clone(),
        term_shutdown.clone(),
    ));
    tasks.spawn(heartbeat_listener::listen(
        bus.clone(),
        host.clone(),
        event_sender,
        term_shutdown.clone(),
    ));
    tasks.spawn(command_server::serve(
        bus.clone(),
        host.clone(),
        command_sender,
        term_shutdown.clone(),
    ));
    let term = supervisor.run(events, commands, shutdown.clone());
    tokio::select! {
        biased;
        end = term => end,
        Some(ended) = tasks.join_next() => TermEnd::Failed(match ended {
            Ok(()) => ExitError::internal("a task of the supervisor exited unexpectedly"),
            Err(error) => ExitError::internal(format!("a task of the supervisor failed: {error}")),
        }),
    }
}
