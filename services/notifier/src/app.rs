//! One run of the notifier: starts its tasks, stands by until it is the leader, sends notifications, shuts down.

use std::sync::Arc;
use std::time::Duration;

use protocol::exit_code::ExitCode;
use protocol::heartbeat::{ComponentState, ProcessPhase};
use protocol::ids::{ProcessRole, Service};
use protocol::subject::Subject;
use runtime::bus::Bus;
use runtime::components::ProcessStatus;
use runtime::health::check::{self, HealthFailure, HealthResult, HealthServer};
use runtime::heartbeat::HeartbeatPublisher;
use runtime::leader_election::{LeaderElection, TermEnd};
use runtime::metrics::{Metrics, ProcessInfo};
use runtime::outbox::{self, OutboxPublisher};
use runtime::process::ExitError;
use runtime::shutdown::Shutdown;
use runtime::stdout::OutputArgs;
use runtime::{logging, streams};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::bus_outage_task::BusOutageMonitor;
use crate::channel::{Channel, LOG_DIRECTIVE};
use crate::dead_man_ping::{DeadManSwitch, SignalSources};
use crate::delivery_status::{COMPONENT, DeliveryStatus};
use crate::dispatcher::{Dispatcher, DispatcherDeps, DispatcherInputs};
use crate::fallback_sender::FallbackSender;
use crate::settings::Settings;
use crate::{dead_man_ping, event_consumer, resend, update_poller};

/// The streams a notifier reads or writes.
const STREAMS: [&str; 6] = [
    streams::JOURNAL,
    streams::EQUITY,
    streams::EVENTS,
    streams::REPORTS,
    streams::HEARTBEATS,
    streams::LEASES,
];
/// Time for the last heartbeat at shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
/// A dispatcher without an iteration for this long hangs.
const HUNG_AFTER: Duration = Duration::from_secs(20);

/// Runs the notifier until it is stopped.
///
/// # Errors
/// Exit code and reason of any other end.
pub async fn run() -> Result<ExitCode, ExitError> {
    let settings = Settings::from_env()?;
    let channel = Channel::new(settings.bot()?)?;
    let fallback = settings.fallback()?.map(FallbackSender::new).transpose()?;
    let switch = settings.dead_man_switch()?.map(DeadManSwitch::new);
    let switch = switch.transpose()?;
    let logging = logging::init(&settings.telemetry, &[LOG_DIRECTIVE])?;
    let shutdown = Shutdown::listen().map_err(|error| ExitError::internal(error.to_string()))?;
    let shutdown_token = shutdown.token().clone();
    let identity = settings.own.identify().await?;
    logging.open_file(&identity.log_name(Service::Notifier))?;
    tracing::info!(instance = %identity.instance, boot = %identity.boot,
        channel = channel.describe(), version = env!("CARGO_PKG_VERSION"), "starting");
    if let Some(checked) = shutdown_token.run_until_cancelled(channel.check()).await {
        accept_channel_check(checked, fallback.is_some())?;
    }
    let mut monitor = BusOutageMonitor::new(channel.clone(), fallback.clone());
    let ready = tokio::select! {
        biased;
        ready = Bus::connect_with_streams(&settings.bus, &STREAMS, &shutdown_token) => ready,
        () = monitor.run(|| false, || None) => Err(ExitError::internal("internal error: bus outage monitor exited")),
    };
    let bus = match ready {
        Ok(bus) => bus,
        Err(exit) if exit.code == ExitCode::Success => return Ok(ExitCode::Success),
        Err(exit) => return Err(exit),
    };
    let process = identity.process(ProcessRole::Notifier);
    let (outbox, publisher) = outbox::channel(bus.clone(), process);
    log_allowed_users(&channel);
    let deps = Arc::new(DispatcherDeps {
        bus,
        outbox,
        channel,
        fallback,
        dead_man_switch: switch,
        bus_outage: monitor.subscribe(),
        bus_outage_monitor: Mutex::new(monitor),
        status: watch::Sender::new(DeliveryStatus::default()),
        identity,
        process_status: Arc::new(ProcessStatus::default()),
        summary_interval_ms: settings.summary_secs * 1_000,
    });
    run_process(&deps, &settings, publisher, &shutdown_token).await
}

fn log_allowed_users(channel: &Channel) {
    if let Some((_, allowed)) = channel.command_source() {
        tracing::info!(users = ?allowed, "Telegram commands enabled");
    } else {
        tracing::info!("Telegram commands disabled: TELEGRAM_ALLOWED_USERS is empty");
    }
}

/// A token or chat that Telegram rejects ends the notifier, unless there is a fallback.
fn accept_channel_check(
    checked: Result<(), ExitError>,
    has_fallback: bool,
) -> Result<(), ExitError> {
    match checked {
        Err(exit) if has_fallback => {
            tracing::error!(
                error = exit.message,
                "Telegram rejects token or chat; critical notifications use the fallback until this is corrected"
            );
            Ok(())
        }
        checked => checked,
    }
}

/// `notifier health`: checks the health of the notifier on this host.
///
/// # Errors
/// Exit 78 if the instance has no name.
pub async fn health(output: OutputArgs) -> Result<ExitCode, ExitError> {
    let settings = Settings::from_env()?;
    let identity = settings.own.identify().await?;
    Ok(check::query(Service::Notifier, identity.instance.as_str(), output).await)
}

async fn run_process(
    deps: &Arc<DispatcherDeps>,
    settings: &Settings,
    publisher: OutboxPublisher,
    shutdown: &CancellationToken,
) -> Result<ExitCode, ExitError> {
    let stop_background = CancellationToken::new();
    let mut background_tasks = JoinSet::new();
    background_tasks.spawn(serve_health(deps, &stop_background)?);
    let heartbeats = HeartbeatPublisher::new(
        deps.bus.clone(),
        ProcessRole::Notifier,
        deps.identity.clone(),
        Arc::clone(&deps.process_status),
        settings.own.heartbeat_interval(),
        Arc::new(|_| {}),
    );
    background_tasks.spawn(heartbeats.run(stop_background.clone()));
    background_tasks.spawn(publisher.run(stop_background.clone(), SHUTDOWN_GRACE / 2));
    if let Some(metrics) = Metrics::bind(&settings.metrics, process_info(deps), || {}).await? {
        background_tasks.spawn(metrics.run(stop_background.clone()));
    }
    let election = LeaderElection::new(deps.bus.clone(), &Subject::NotifierLease, &deps.identity);
    let component = deps.process_status.component(COMPONENT);
    let standing_by = || deps.process_status.enter_phase(ProcessPhase::Starting);
    let terms = election.run_as_leader(&component, standing_by, shutdown, || {
        run_term(deps, shutdown)
    });
    let ended = tokio::select! {
        biased;
        ended = terms => ended,
        Some(ended) = background_tasks.join_next() => Err(match ended {
            Ok(()) => ExitError::internal("internal error: a background task exited"),
            Err(error) => ExitError::internal(format!("internal error: {error}")),
        }),
    };
    deps.process_status.enter_phase(ProcessPhase::Draining);
    stop_background.cancel();
    let drained = async { while background_tasks.join_next().await.is_some() {} };
    if timeout(SHUTDOWN_GRACE, drained).await.is_err() {
        tracing::debug!("shutdown grace period expired; last heartbeat not sent");
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
    stop: &CancellationToken,
) -> Result<impl Future<Output = ()> + use<>, ExitError> {
    let name = deps.identity.instance.as_str();
    let server = HealthServer::bind(Service::Notifier, name).map_err(|error| {
        let line =
            format!("INSTANCE={name}: another notifier with this name runs on this host ({error})");
        ExitError::new(ExitCode::DuplicateInstance, line)
    })?;
    let deps = Arc::clone(deps);
    Ok(server.run(move || check_health(&deps), stop.clone()))
}

fn check_health(deps: &DispatcherDeps) -> HealthResult {
    if !deps.bus.is_connected() {
        return Err(HealthFailure::waiting("bus unreachable"));
    }
    let component = deps.process_status.component(COMPONENT);
    let state = deps
        .process_status
        .components()
        .get(COMPONENT)
        .map(|component| component.state);
    match (
        component.since_last_iteration(),
        deps.process_status.phase(),
    ) {
        (Some(idle), _) if idle > HUNG_AFTER => Err(HealthFailure::hung(format!(
            "dispatcher made no progress for {idle:?}"
        ))),
        (_, ProcessPhase::Starting) => Ok("standing by".to_owned()),
        // Healthy: a restart would not help, and the operator sees the error here.
        _ if state == Some(ComponentState::Retrying) => {
            let error = deps.process_status.last_error().map(|error| error.text);
            Ok(format!("not delivering: {}", error.unwrap_or_default()))
        }
        _ => Ok(format!("sending to {}", deps.channel.describe())),
    }
}

/// One term as the leader. All its tasks start and end together.
async fn run_term(deps: &Arc<DispatcherDeps>, shutdown: &CancellationToken) -> TermEnd {
    let stop = CancellationToken::new();
    let _stops_the_tasks = stop.clone().drop_guard();
    let mut tasks = JoinSet::new();
    tasks.spawn(run_bus_outage_monitor(Arc::clone(deps), stop.clone()));
    let recovered = shutdown.run_until_cancelled(Dispatcher::recover(Arc::clone(deps)));
    let dispatcher = match recovered.await {
        None => return TermEnd::Stopped,
        Some(Err(end)) => return end,
        Some(Ok(dispatcher)) => dispatcher,
    };
    deps.process_status.enter_phase(ProcessPhase::Running);
    let (batches, events) = mpsc::channel(event_consumer::QUEUE_CAPACITY);
    if let Some(switch) = deps.dead_man_switch.clone() {
        tasks.spawn(dead_man_ping::run_switch(
            signal_sources(deps),
            switch,
            stop.clone(),
        ));
    }
    tasks.spawn(event_consumer::consume_events(
        deps.bus.clone(),
        batches,
        stop.clone(),
    ));
    let (resends, resend_requests) = mpsc::channel(resend::QUEUE_CAPACITY);
    tasks.spawn(resend::receive_requests(
        deps.bus.clone(),
        resends,
        stop.clone(),
    ));
    let (polled, updates) = mpsc::channel(update_poller::QUEUE_CAPACITY);
    match deps.channel.command_source() {
        Some((telegram, _)) => {
            let from = dispatcher.last_update().map(|last| last + 1);
            tasks.spawn(update_poller::poll_updates(
                telegram.clone(),
                from,
                polled,
                stop.clone(),
            ));
        }
        // No updates ever arrive.
        None => drop(polled),
    }
    let inputs = DispatcherInputs {
        events,
        updates,
        resend_requests,
    };
    tokio::select! {
        biased;
        end = dispatcher.run(inputs, shutdown.clone()) => end,
        Some(ended) = tasks.join_next() => TermEnd::Failed(match ended {
            Ok(()) => ExitError::internal("internal error: a background task exited"),
            Err(error) => ExitError::internal(format!("internal error: {error}")),
        }),
    }
}

fn signal_sources(deps: &DispatcherDeps) -> SignalSources {
    SignalSources {
        bus: deps.bus.clone(),
        process_status: Arc::clone(&deps.process_status),
        delivery: deps.status.subscribe(),
    }
}

/// Reports bus outages. Only the leader does: otherwise every standby would send the same report.
async fn run_bus_outage_monitor(deps: Arc<DispatcherDeps>, shutdown: CancellationToken) {
    let mut monitor = deps.bus_outage_monitor.lock().await;
    let monitoring = monitor.run(|| deps.bus.is_connected(), || deps.status.borrow().chat);
    shutdown.run_until_cancelled(monitoring).await;
}
