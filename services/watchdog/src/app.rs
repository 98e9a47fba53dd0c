//! One run of the watchdog: start every part, stand by until it is our turn, supervise, say goodbye.

use std::sync::Arc;
use std::time::Duration;

use protocol::exit::ExitCode;
use protocol::heartbeat::Phase;
use protocol::ids::{Service, Token};
use protocol::subject::Subject;
use protocol::time::UtcMs;
use runtime::bus::Bus;
use runtime::guard::{Guard, TurnEnd};
use runtime::health::{self, Ailment, Answer, HealthServer};
use runtime::heartbeat::Heart;
use runtime::metrics::{Facts, Metrics};
use runtime::process::Stop;
use runtime::progress::Progress;
use runtime::shutdown::Shutdown;
use runtime::{clock, events, streams, stuck, telemetry};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::engine::{self, Engine};
use crate::eye::{Eye, Sight};
use crate::healer::Healer;
use crate::settings::Settings;
use crate::supervisor::{PART, Realm, Supervisor};
use crate::{ear, leave, numbers, orders};

/// The streams a watchdog reads or writes.
const STREAMS: [&str; 5] = [
    streams::JOURNAL,
    streams::EVENTS,
    streams::HEARTBEATS,
    streams::LEASES,
    streams::REPORTS,
];
const RETRY: Duration = Duration::from_secs(1);
/// Time for the last events, the lease and the last heartbeat.
const GOODBYE: Duration = Duration::from_secs(2);
/// Reports that may wait while the journal is away; then the reporters wait, too.
const REPORTS: usize = 256;
/// A loop that has not turned for this long is stuck.
const STUCK: Duration = Duration::from_secs(20);

/// Supervises until something ends it.
///
/// # Errors
/// The reason with its exit code.
pub async fn run() -> Result<ExitCode, Stop> {
    let settings = Settings::from_env()?;
    telemetry::init(&settings.telemetry, &[])?;
    let shutdown = Shutdown::listen().map_err(|error| Stop::internal(error.to_string()))?;
    let asked = shutdown.token().clone();
    let mut beside = Beside::default();
    let starting = start(&settings, &asked, &mut beside);
    let Some(started) = asked.run_until_cancelled(Box::pin(starting)).await else {
        return Ok(ExitCode::Done);
    };
    match started {
        Ok(realm) => watch(Arc::new(realm), beside, &settings, &asked).await,
        Err(stop) if stop.code == ExitCode::Done => Ok(ExitCode::Done),
        Err(stop) => Err(stop),
    }
}

/// `watchdog health`.
///
/// # Errors
/// Exit 78 if this instance has no name.
pub async fn health() -> Result<ExitCode, Stop> {
    let settings = Settings::from_env()?;
    let identity = settings.own.identify().await?;
    Ok(health::ask(Service::Watchdog, identity.instance.as_str()).await)
}

/// What runs beside whoever acts, from the first moment at which it can.
#[derive(Default)]
struct Beside {
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

/// The engine first: without its socket nothing else matters. Then who heals: the bus may be what hangs.
async fn start(
    settings: &Settings,
    asked: &CancellationToken,
    beside: &mut Beside,
) -> Result<Realm, Stop> {
    let found = reach_engine(settings).await?;
    let project = found.project;
    let identity = settings.own.identify().await?;
    tracing::info!(instance = %identity.instance, boot = %identity.boot, %project,
        version = env!("CARGO_PKG_VERSION"), "starting");
    let engine = Engine::new(found.docker, project.clone());
    let (healer, handover) = Healer::new(engine.clone(), settings.heal_at_most_every());
    beside.tasks.spawn(healer.run(beside.stop.clone()));
    let bus = Bus::ready(&settings.bus, &STREAMS, asked).await?;
    let (events, sender) =
        events::channel(bus.clone(), Service::Watchdog, identity.instance.clone());
    beside.tasks.spawn(sender.run(beside.stop.clone(), GOODBYE));
    Ok(Realm {
        bus,
        sight: Sight {
            engine,
            guarded: found.guarded,
            own: settings.hostname.clone(),
            answers_since: found.since,
        },
        project,
        rules: settings.rules(),
        identity,
        events,
        progress: Arc::new(Progress::default()),
        beside: Arc::new(Mutex::new(handover)),
    })
}

/// The engine, and what it says of us.
struct Reached {
    docker: bollard::Docker,
    guarded: bool,
    project: Token,
    /// Since when it answers, if it had to be waited for.
    since: UtcMs,
}

async fn reach_engine(settings: &Settings) -> Result<Reached, Stop> {
    let client = engine::client(&settings.socket)?;
    let mut since = UtcMs::default();
    loop {
        let why = match engine::negotiate(&client, &settings.socket).await? {
            Err(why) => why,
            Ok(docker) => match ask_about_us(&docker, settings).await? {
                Ok((guarded, project)) => {
                    return Ok(Reached {
                        docker,
                        guarded,
                        project,
                        since,
                    });
                }
                Err(why) => why,
            },
        };
        tracing::warn!(why, "waiting for the engine");
        tokio::time::sleep(RETRY).await;
        since = clock::now();
    }
}

async fn ask_about_us(
    docker: &bollard::Docker,
    settings: &Settings,
) -> Result<Result<(bool, Token), String>, Stop> {
    let guarded = match engine::is_guarded(docker).await {
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
) -> Result<Result<Token, String>, Stop> {
    if let Some(project) = &settings.project {
        return Ok(Ok(project.clone()));
    }
    let unknown = || {
        Stop::config("COMPOSE_PROJECT is not set, and this process is in no container of a project")
    };
    let hostname = settings.hostname.as_deref().ok_or_else(unknown)?;
    match engine::project_of(docker, hostname).await {
        Ok(Some(project)) => Ok(Ok(project)),
        Ok(None) | Err(engine::EngineError::NoSuchContainer) => Err(unknown()),
        Err(error) => Ok(Err(error.to_string())),
    }
}

async fn watch(
    realm: Arc<Realm>,
    mut beside: Beside,
    settings: &Settings,
    asked: &CancellationToken,
) -> Result<ExitCode, Stop> {
    start_telling(&realm, settings, &mut beside).await?;
    let lease = Subject::WatchdogLease(realm.project.clone());
    let guard = Guard::new(realm.bus.clone(), &lease, &realm.identity);
    let part = realm.progress.part(PART);
    stuck::end_when_stuck(&part)?;
    let standing_by = || {
        numbers::stands_by();
        realm.progress.enter(Phase::Starting);
    };
    let turns = guard.take_turns(&part, standing_by, asked, || reign(&realm, asked));
    let ended = tokio::select! {
        biased;
        ended = turns => ended,
        Some(ended) = beside.tasks.join_next() => Err(match ended {
            Ok(()) => Stop::internal("bug: a part ended without a reason"),
            Err(error) => Stop::internal(format!("bug: {error}")),
        }),
    };
    realm.progress.enter(Phase::Draining);
    beside.stop.cancel();
    let told = async { while beside.tasks.join_next().await.is_some() {} };
    if timeout(GOODBYE, told).await.is_err() {
        tracing::warn!("left without saying everything");
    }
    ended.map(|()| ExitCode::Done)
}

async fn start_telling(
    realm: &Arc<Realm>,
    settings: &Settings,
    beside: &mut Beside,
) -> Result<(), Stop> {
    let name = realm.identity.instance.as_str();
    let server = HealthServer::bind(Service::Watchdog, name).map_err(|error| {
        Stop::new(
            ExitCode::DuplicateInstance,
            format!(
                "INSTANCE={name}: another watchdog runs on this host under this name ({error})"
            ),
        )
    })?;
    let shown = Arc::clone(realm);
    beside
        .tasks
        .spawn(server.run(move || examine(&shown), beside.stop.clone()));
    let heart = Heart::new(
        realm.bus.clone(),
        Service::Watchdog,
        realm.identity.clone(),
        Arc::clone(&realm.progress),
        settings.own.heartbeat(),
        Arc::new(|_| {}),
    );
    beside.tasks.spawn(heart.run(beside.stop.clone()));
    let bus = realm.bus.clone();
    let facts = Facts {
        service: Service::Watchdog,
        identity: realm.identity.clone(),
        version: env!("CARGO_PKG_VERSION"),
        progress: Arc::clone(&realm.progress),
        connected: Box::new(move || bus.is_connected()),
    };
    if let Some(metrics) = Metrics::bind(&settings.metrics, facts, || {}).await? {
        numbers::describe();
        numbers::stands_by();
        beside.tasks.spawn(metrics.run(beside.stop.clone()));
    }
    Ok(())
}

fn examine(realm: &Realm) -> Answer {
    if !realm.bus.is_connected() {
        return Err(Ailment::waits(
            "the bus is away: no trader is restarted until it is back",
        ));
    }
    let idle = realm.progress.part(PART).idle();
    match (idle, realm.progress.phase()) {
        (Some(idle), _) if idle > STUCK => {
            Err(Ailment::hangs(format!("its loop last turned {idle:?} ago")))
        }
        (_, Phase::Starting) => Ok("standing by".to_owned()),
        _ => Ok(format!("supervising {}", realm.project)),
    }
}

/// One turn as the acting watchdog: all its parts begin and end together.
async fn reign(realm: &Arc<Realm>, asked: &CancellationToken) -> TurnEnd {
    let taken = asked.run_until_cancelled(Supervisor::take_over(Arc::clone(realm)));
    let supervisor = match taken.await {
        None => return TurnEnd::Stopped,
        Some(Err(end)) => return end,
        Some(Ok(supervisor)) => supervisor,
    };
    realm.progress.enter(Phase::Running);
    let stop = CancellationToken::new();
    let _ends_the_parts = stop.clone().drop_guard();
    let (reports, seen) = mpsc::channel(REPORTS);
    let (sender, ordered) = mpsc::channel(orders::QUEUE);
    let (again, known) = (supervisor.look_again(), supervisor.known());
    let eye = Eye::new(&realm.sight, reports.clone(), again, known);
    let mut parts = JoinSet::new();
    parts.spawn(eye.run(stop.clone()));
    let wanted = supervisor.wanted();
    let leave = leave::listen(realm.bus.clone(), wanted, reports.clone(), stop.clone());
    parts.spawn(leave);
    parts.spawn(ear::listen(realm.bus.clone(), reports, stop.clone()));
    let project = realm.project.clone();
    parts.spawn(orders::serve(
        realm.bus.clone(),
        project,
        sender,
        stop.clone(),
    ));
    let reign = supervisor.reign(seen, ordered, asked.clone());
    tokio::select! {
        biased;
        end = reign => end,
        Some(ended) = parts.join_next() => TurnEnd::Failed(match ended {
            Ok(()) => Stop::internal("bug: a part ended without a reason"),
            Err(error) => Stop::internal(format!("bug: {error}")),
        }),
    }
}
