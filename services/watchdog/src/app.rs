//! One run of the watchdog: start every part, stand by until it is our turn, supervise, say goodbye.

use std::sync::Arc;
use std::time::Duration;

use protocol::exit_code::ExitCode;
use protocol::heartbeat::ProcessPhase;
use protocol::ids::{Service, SubjectToken};
use protocol::subject::Subject;
use protocol::time::UtcMs;
use runtime::bus::Bus;
use runtime::components::ProcessStatus;
use runtime::health::{self, HealthFailure, HealthResult, HealthServer};
use runtime::heartbeat::HeartbeatPublisher;
use runtime::leader_election::{LeaderElection, TermEnd};
use runtime::metrics::{Metrics, ProcessInfo};
use runtime::process::ExitError;
use runtime::shutdown::Shutdown;
use runtime::{clock, hang_detector, logging, outbox, streams};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::container_watcher::{ContainerWatcher, DockerScope};
use crate::docker::{self, DockerClient};
use crate::service_healer::ServiceHealer;
use crate::settings::Settings;
use crate::supervisor::{COMPONENT, Supervisor, SupervisorDeps};
use crate::{command_server, heartbeat_listener, latch_watcher, supervision_metrics};

/// The streams a watchdog reads or writes.
const STREAMS: [&str; 5] = [
    streams::JOURNAL,
    streams::EVENTS,
    streams::HEARTBEATS,
    streams::LEASES,
    streams::REPORTS,
];
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// Time for the last events, the lease and the last heartbeat.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
/// Reports that may wait while the journal is away; then the reporters wait, too.
const EVENT_QUEUE: usize = 256;
/// A loop that has not turned for this long is stuck.
const HUNG_AFTER: Duration = Duration::from_secs(20);

/// Supervises until something ends it.
///
/// # Errors
/// The reason with its exit code.
pub async fn run() -> Result<ExitCode, ExitError> {
    let settings = Settings::from_env()?;
    logging::init(&settings.telemetry, &[])?;
    let shutdown = Shutdown::listen().map_err(|error| ExitError::internal(error.to_string()))?;
    let asked = shutdown.token().clone();
    let mut background = BackgroundTasks::default();
    let starting = start(&settings, &asked, &mut background);
    let Some(started) = asked.run_until_cancelled(Box::pin(starting)).await else {
        return Ok(ExitCode::Success);
    };
    match started {
        Ok(realm) => supervise(Arc::new(realm), background, &settings, &asked).await,
        Err(stop) if stop.code == ExitCode::Success => Ok(ExitCode::Success),
        Err(stop) => Err(stop),
    }
}

/// `watchdog health`.
///
/// # Errors
/// Exit 78 if this instance has no name.
pub async fn health() -> Result<ExitCode, ExitError> {
    let settings = Settings::from_env()?;
    let identity = settings.own.identify().await?;
    Ok(health::query(Service::Watchdog, identity.instance.as_str()).await)
}

/// What runs beside whoever acts, from the first moment at which it can.
#[derive(Default)]
struct BackgroundTasks {
    tasks: JoinSet<()>,
    shutdown: CancellationToken,
}

/// The engine first: without its socket nothing else matters. Then who heals: the bus may be what hangs.
async fn start(
    settings: &Settings,
    shutdown: &CancellationToken,
    background: &mut BackgroundTasks,
) -> Result<SupervisorDeps, ExitError> {
    let found = connect_docker(settings).await?;
    let project = found.project;
    let identity = settings.own.identify_in(project.clone()).await?;
    tracing::info!(instance = %identity.instance, boot = %identity.boot, %project,
        version = env!("CARGO_PKG_VERSION"), "starting");
    let engine = DockerClient::new(found.docker, project.clone());
    let (healer, handover) = ServiceHealer::new(engine.clone(), settings.heal_min_interval());
    background
        .tasks
        .spawn(healer.run(background.shutdown.clone()));
    let bus = Bus::connect_with_streams(&settings.bus, &STREAMS, shutdown).await?;
    let (events, sender) =
        outbox::channel(bus.clone(), identity.process(Service::Watchdog));
    background
        .tasks
        .spawn(sender.run(background.shutdown.clone(), SHUTDOWN_GRACE));
    Ok(SupervisorDeps {
        bus,
        docker: DockerScope {
            docker: engine,
            is_guarded: found.is_guarded,
            own_container: settings.hostname.clone(),
            answers_since: found.since,
        },
        config: settings.supervision_config(),
        identity,
        outbox: events,
        progress: Arc::new(ProcessStatus::default()),
        healer: Arc::new(Mutex::new(handover)),
    })
}

/// The engine, and what it says of us.
struct DockerConnection {
    docker: bollard::Docker,
    is_guarded: bool,
    project: SubjectToken,
    /// Since when it answers, if it had to be waited for.
    since: UtcMs,
}

async fn connect_docker(settings: &Settings) -> Result<DockerConnection, ExitError> {
    let client = docker::new_client(&settings.docker_socket)?;
    let mut since = UtcMs::default();
    loop {
        let why = match docker::negotiate(&client, &settings.docker_socket).await? {
            Err(why) => why,
            Ok(docker) => match inspect_self(&docker, settings).await? {
                Ok((guarded, project)) => {
                    return Ok(DockerConnection {
                        docker,
                        is_guarded: guarded,
                        project,
                        since,
                    });
                }
                Err(why) => why,
            },
        };
        tracing::warn!(why, "waiting for the engine");
        tokio::time::sleep(RETRY_DELAY).await;
        since = clock::now();
    }
}

async fn inspect_self(
    docker: &bollard::Docker,
    settings: &Settings,
) -> Result<Result<(bool, SubjectToken), String>, ExitError> {
    let guarded = match docker::is_guarded(docker).await {
        Ok(guarded) => guarded,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let project = find_project(docker, settings).await?;
    Ok(project.map(|project| (guarded, project)))
}

/// The one that is set, else that of our own container.
async fn find_project(
    docker: &bollard::Docker,
    settings: &Settings,
) -> Result<Result<SubjectToken, String>, ExitError> {
    if let Some(project) = &settings.own.project {
        return Ok(Ok(project.clone()));
    }
    let unknown = || {
        ExitError::config(
            "BEARISH_PROJECT is not set, and this process is in no container of a project",
        )
    };
    let hostname = settings.hostname.as_deref().ok_or_else(unknown)?;
    match docker::container_project(docker, hostname).await {
        Ok(Some(project)) => Ok(Ok(project)),
        Ok(None) | Err(docker::DockerError::NoSuchContainer) => Err(unknown()),
        Err(error) => Ok(Err(error.to_string())),
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
    let guard = LeaderElection::new(deps.bus.clone(), &lease, &deps.identity);
    let part = deps.progress.component(COMPONENT);
    hang_detector::exit_when_hung(&part)?;
    let standing_by = || {
        supervision_metrics::set_standby();
        deps.progress.enter_phase(ProcessPhase::Starting);
    };
    let turns = guard.run_as_leader(&part, standing_by, shutdown, || run_term(&deps, shutdown));
    let ended = tokio::select! {
        biased;
        ended = turns => ended,
        Some(ended) = background.tasks.join_next() => Err(match ended {
            Ok(()) => ExitError::internal("bug: a part ended without a reason"),
            Err(error) => ExitError::internal(format!("bug: {error}")),
        }),
    };
    deps.progress.enter_phase(ProcessPhase::Draining);
    background.shutdown.cancel();
    let told = async { while background.tasks.join_next().await.is_some() {} };
    if timeout(SHUTDOWN_GRACE, told).await.is_err() {
        tracing::warn!("left without saying everything");
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
    let shown = Arc::clone(deps);
    background
        .tasks
        .spawn(server.run(move || check_health(&shown), background.shutdown.clone()));
    let heart = HeartbeatPublisher::new(
        deps.bus.clone(),
        Service::Watchdog,
        deps.identity.clone(),
        Arc::clone(&deps.progress),
        settings.own.heartbeat_interval(),
        Arc::new(|_| {}),
    );
    background
        .tasks
        .spawn(heart.run(background.shutdown.clone()));
    let bus = deps.bus.clone();
    let facts = ProcessInfo {
        service: Service::Watchdog,
        identity: deps.identity.clone(),
        version: env!("CARGO_PKG_VERSION"),
        status: Arc::clone(&deps.progress),
        is_connected: Box::new(move || bus.is_connected()),
    };
    if let Some(metrics) = Metrics::bind(&settings.metrics, facts, || {}).await? {
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
            "the bus is away: no trader is restarted until it is back",
        ));
    }
    let idle = deps.progress.component(COMPONENT).since_last_iteration();
    match (idle, deps.progress.phase()) {
        (Some(idle), _) if idle > HUNG_AFTER => Err(HealthFailure::hung(format!(
            "its loop last turned {idle:?} ago"
        ))),
        (_, ProcessPhase::Starting) => Ok("standing by".to_owned()),
        _ => Ok(format!("supervising {}", deps.identity.host.project)),
    }
}

/// One turn as the acting watchdog: all its parts begin and end together.
async fn run_term(deps: &Arc<SupervisorDeps>, shutdown: &CancellationToken) -> TermEnd {
    let taken = shutdown.run_until_cancelled(Supervisor::take_over(Arc::clone(deps)));
    let supervisor = match taken.await {
        None => return TermEnd::Stopped,
        Some(Err(end)) => return end,
        Some(Ok(supervisor)) => supervisor,
    };
    deps.progress.enter_phase(ProcessPhase::Running);
    let stop = CancellationToken::new();
    let _ends_the_parts = stop.clone().drop_guard();
    let (reports, seen) = mpsc::channel(EVENT_QUEUE);
    let (sender, ordered) = mpsc::channel(command_server::QUEUE);
    let (again, known) = (supervisor.resync(), supervisor.known_until());
    let eye = ContainerWatcher::new(&deps.docker, reports.clone(), again, known);
    let mut parts = JoinSet::new();
    parts.spawn(eye.run(stop.clone()));
    let wanted = supervisor.watched_latches();
    let leave =
        latch_watcher::watch_latches(&deps, wanted, reports.clone(), stop.clone());
    parts.spawn(leave);
    parts.spawn(heartbeat_listener::listen(
        deps.bus.clone(),
        deps.identity.host.clone(),
        reports,
        stop.clone(),
    ));
    let host = deps.identity.host.clone();
    parts.spawn(command_server::serve(
        deps.bus.clone(),
        host,
        sender,
        stop.clone(),
    ));
    let reign = supervisor.run(seen, ordered, shutdown.clone());
    tokio::select! {
        biased;
        end = reign => end,
        Some(ended) = parts.join_next() => TermEnd::Failed(match ended {
            Ok(()) => ExitError::internal("bug: a part ended without a reason"),
            Err(error) => ExitError::internal(format!("bug: {error}")),
        }),
    }
}
