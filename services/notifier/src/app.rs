//! One run of the notifier: start every part, stand by until it is our turn, tell, say goodbye.

use std::sync::Arc;
use std::time::Duration;

use protocol::exit_code::ExitCode;
use protocol::heartbeat::{ComponentState, ProcessPhase};
use protocol::ids::Service;
use protocol::subject::Subject;
use runtime::bus::Bus;
use runtime::components::ProcessStatus;
use runtime::health::{self, HealthFailure, HealthResult, HealthServer};
use runtime::heartbeat::HeartbeatPublisher;
use runtime::leader_election::{LeaderElection, TermEnd};
use runtime::metrics::{Metrics, ProcessInfo};
use runtime::outbox::{self, OutboxPublisher};
use runtime::process::ExitError;
use runtime::shutdown::Shutdown;
use runtime::{logging, streams};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::bus_outage_task::BusOutageMonitor;
use crate::channel::Channel;
use crate::dispatcher::{COMPONENT, DeliveryStatus, Dispatcher, DispatcherDeps, DispatcherInputs};
use crate::settings::Settings;
use crate::{dead_man_ping, event_consumer, resend, update_poller};

/// The streams a notifier reads or writes.
const STREAMS: [&str; 5] = [
    streams::JOURNAL,
    streams::EVENTS,
    streams::REPORTS,
    streams::HEARTBEATS,
    streams::LEASES,
];
/// Time for the last heartbeat.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
/// A loop that has not turned for this long is stuck.
const HUNG_AFTER: Duration = Duration::from_secs(20);

/// Tells until something ends it.
///
/// # Errors
/// The reason with its exit code.
pub async fn run() -> Result<ExitCode, ExitError> {
    let settings = Settings::from_env()?;
    let channel = Channel::new(&settings)?;
    let fallback = settings.fallback()?;
    let switch = settings.dead_man_switch()?;
    logging::init(&settings.telemetry, &[])?;
    let shutdown = Shutdown::listen().map_err(|error| ExitError::internal(error.to_string()))?;
    let shutdown_token = shutdown.token().clone();
    let identity = settings.own.identify().await?;
    tracing::info!(instance = %identity.instance, boot = %identity.boot,
        to = channel.describe(), version = env!("CARGO_PKG_VERSION"), "starting");
    if let Some(checked) = shutdown_token.run_until_cancelled(channel.check()).await {
        accept_channel_check(checked, fallback.is_some())?;
    }
    let mut watch = BusOutageMonitor::new(channel.clone(), fallback.clone());
    let ready = tokio::select! {
        biased;
        ready = Bus::connect_with_streams(&settings.bus, &STREAMS, &shutdown_token) => ready,
        () = watch.run(|| false, || None) => Err(ExitError::internal("bug: a watch ended")),
    };
    let bus = match ready {
        Ok(bus) => bus,
        Err(stop) if stop.code == ExitCode::Success => return Ok(ExitCode::Success),
        Err(stop) => return Err(stop),
    };
    let process = identity.process(Service::Notifier);
    let (events, sender) = outbox::channel(bus.clone(), process);
    log_allowed_users(&channel);
    let deps = Arc::new(DispatcherDeps {
        bus,
        outbox: events,
        channel,
        fallback,
        dead_man_switch: switch,
        bus_outage: watch.subscribe(),
        bus_outage_monitor: Mutex::new(watch),
        status: watch::Sender::new(DeliveryStatus::default()),
        identity,
        process_status: Arc::new(ProcessStatus::default()),
        summary_interval_ms: settings.summary_secs * 1_000,
    });
    run_process(&deps, &settings, sender, &shutdown_token).await
}

fn log_allowed_users(channel: &Channel) {
    if let Some((_, allowed)) = channel.command_source() {
        tracing::info!(users = ?allowed, "takes orders by Telegram");
    } else {
        tracing::info!("takes no orders: TELEGRAM_ALLOWED_USERS names nobody");
    }
}

/// A token or chat that Telegram refuses is a reason to end only where nobody else could be told.
fn accept_channel_check(
    checked: Result<(), ExitError>,
    has_fallback: bool,
) -> Result<(), ExitError> {
    match checked {
        Err(stop) if has_fallback => {
            tracing::error!(
                why = stop.message,
                "Telegram refuses; criticals go over the fallback until a person mends this"
            );
            Ok(())
        }
        checked => checked,
    }
}

/// `notifier health`.
///
/// # Errors
/// Exit 78 if this instance has no name.
pub async fn health() -> Result<ExitCode, ExitError> {
    let settings = Settings::from_env()?;
    let identity = settings.own.identify().await?;
    Ok(health::query(Service::Notifier, identity.instance.as_str()).await)
}

async fn run_process(
    deps: &Arc<DispatcherDeps>,
    settings: &Settings,
    sender: OutboxPublisher,
    shutdown: &CancellationToken,
) -> Result<ExitCode, ExitError> {
    let until = CancellationToken::new();
    let mut background_tasks = JoinSet::new();
    background_tasks.spawn(serve_health(deps, &until)?);
    let heart = HeartbeatPublisher::new(
        deps.bus.clone(),
        Service::Notifier,
        deps.identity.clone(),
        Arc::clone(&deps.process_status),
        settings.own.heartbeat_interval(),
        Arc::new(|_| {}),
    );
    background_tasks.spawn(heart.run(until.clone()));
    background_tasks.spawn(sender.run(until.clone(), SHUTDOWN_GRACE / 2));
    if let Some(metrics) = Metrics::bind(&settings.metrics, process_info(deps), || {}).await? {
        background_tasks.spawn(metrics.run(until.clone()));
    }
    let guard = LeaderElection::new(deps.bus.clone(), &Subject::NotifierLease, &deps.identity);
    let part = deps.process_status.component(COMPONENT);
    let standing_by = || deps.process_status.enter_phase(ProcessPhase::Starting);
    let turns = guard.run_as_leader(&part, standing_by, shutdown, || run_term(deps, shutdown));
    let ended = tokio::select! {
        biased;
        ended = turns => ended,
        Some(ended) = background_tasks.join_next() => Err(match ended {
            Ok(()) => ExitError::internal("bug: a part ended without a reason"),
            Err(error) => ExitError::internal(format!("bug: {error}")),
        }),
    };
    deps.process_status.enter_phase(ProcessPhase::Draining);
    until.cancel();
    let told = async { while background_tasks.join_next().await.is_some() {} };
    if timeout(SHUTDOWN_GRACE, told).await.is_err() {
        tracing::debug!("left without a last heartbeat");
    }
    ended.map(|()| ExitCode::Success)
}

fn process_info(deps: &DispatcherDeps) -> ProcessInfo {
    let bus = deps.bus.clone();
    ProcessInfo {
        service: Service::Notifier,
        identity: deps.identity.clone(),
        version: env!("CARGO_PKG_VERSION"),
        status: Arc::clone(&deps.process_status),
        is_connected: Box::new(move || bus.is_connected()),
    }
}

fn serve_health(
    deps: &Arc<DispatcherDeps>,
    until: &CancellationToken,
) -> Result<impl Future<Output = ()> + use<>, ExitError> {
    let name = deps.identity.instance.as_str();
    let server = HealthServer::bind(Service::Notifier, name).map_err(|error| {
        let line =
            format!("INSTANCE={name}: another notifier of this name runs on this host ({error})");
        ExitError::new(ExitCode::DuplicateInstance, line)
    })?;
    let shown = Arc::clone(deps);
    Ok(server.run(move || check_health(&shown), until.clone()))
}

fn check_health(deps: &DispatcherDeps) -> HealthResult {
    if !deps.bus.is_connected() {
        return Err(HealthFailure::waiting(
            "the bus is away: nothing is heard until it is back",
        ));
    }
    let part = deps.process_status.component(COMPONENT);
    let trouble = deps
        .process_status
        .components()
        .get(COMPONENT)
        .map(|part| part.state);
    match (part.since_last_iteration(), deps.process_status.phase()) {
        (Some(idle), _) if idle > HUNG_AFTER => Err(HealthFailure::hung(format!(
            "its loop last turned {idle:?} ago"
        ))),
        (_, ProcessPhase::Starting) => Ok("standing by".to_owned()),
        // Not ill: a restart would not help, and a person sees it here.
        _ if trouble == Some(ComponentState::Retrying) => {
            let why = deps.process_status.last_error().map(|error| error.text);
            Ok(format!("not delivering: {}", why.unwrap_or_default()))
        }
        _ => Ok(format!("telling through {}", deps.channel.describe())),
    }
}

/// One turn as the one that tells: all its parts begin and end together.
async fn run_term(deps: &Arc<DispatcherDeps>, shutdown: &CancellationToken) -> TermEnd {
    let stop = CancellationToken::new();
    let _ends_the_parts = stop.clone().drop_guard();
    let mut parts = JoinSet::new();
    parts.spawn(run_bus_outage_monitor(Arc::clone(deps), stop.clone()));
    let taken = shutdown.run_until_cancelled(Dispatcher::recover(Arc::clone(deps)));
    let dispatcher = match taken.await {
        None => return TermEnd::Stopped,
        Some(Err(end)) => return end,
        Some(Ok(courier)) => courier,
    };
    deps.process_status.enter_phase(ProcessPhase::Running);
    let (batches, events) = mpsc::channel(event_consumer::QUEUE_CAPACITY);
    if let Some(switch) = deps.dead_man_switch.clone() {
        parts.spawn(dead_man_ping::run_switch(
            Arc::clone(deps),
            switch,
            stop.clone(),
        ));
    }
    parts.spawn(event_consumer::consume_events(
        deps.bus.clone(),
        batches,
        stop.clone(),
    ));
    let (wanted, wishes) = mpsc::channel(resend::QUEUE_CAPACITY);
    parts.spawn(resend::receive_requests(
        deps.bus.clone(),
        wanted,
        stop.clone(),
    ));
    let (talk, said) = mpsc::channel(update_poller::QUEUE_CAPACITY);
    match deps.channel.command_source() {
        Some((telegram, _)) => {
            let from = dispatcher.last_update().map(|last| last + 1);
            parts.spawn(update_poller::poll_updates(
                telegram.clone(),
                from,
                talk,
                stop.clone(),
            ));
        }
        // Nobody says anything, ever.
        None => drop(talk),
    }
    let inputs = DispatcherInputs {
        events,
        updates: said,
        resend_requests: wishes,
    };
    tokio::select! {
        biased;
        end = dispatcher.run(inputs, shutdown.clone()) => end,
        Some(ended) = parts.join_next() => TermEnd::Failed(match ended {
            Ok(()) => ExitError::internal("bug: a part ended without a reason"),
            Err(error) => ExitError::internal(format!("bug: {error}")),
        }),
    }
}

/// Only whoever's turn it is tells it: those that stand by would all tell the same.
async fn run_bus_outage_monitor(deps: Arc<DispatcherDeps>, shutdown: CancellationToken) {
    let mut watch = deps.bus_outage_monitor.lock().await;
    let telling = watch.run(|| deps.bus.is_connected(), || deps.status.borrow().chat);
    shutdown.run_until_cancelled(telling).await;
}
