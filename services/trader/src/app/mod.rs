//! One run of the trader: starts every task, waits for the first reason to end, drains, and publishes the end.

pub mod book_metrics;
pub mod checks;
pub mod context;
pub mod exchange_clients;
pub mod health_inputs;
pub mod managed_symbols;
pub mod patience;
pub mod presence_check;
pub mod start_calls;
pub mod startup;
pub mod task_supervisor;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use exchange::{DataClient, SymbolListing};
use protocol::duration::format_duration;
use protocol::event::{Event, EventBody};
use protocol::exit_code::ExitCode;
use protocol::heartbeat::ProcessPhase;
use protocol::ids::{AccountKey, ProcessRole, Service, SubjectToken};
use protocol::trader_args::TraderArgs;
use runtime::bus::Bus;
use runtime::exit_error::ExitError;
use runtime::health::check::HealthServer;
use runtime::health::logger::{GradeChange, HealthLogger};
use runtime::heartbeat::HeartbeatPublisher;
use runtime::identity::Identity;
use runtime::logging::{self, Logging};
use runtime::metrics::{Metrics, ProcessInfo};
use runtime::outbox::Outbox;
use runtime::shutdown::Shutdown;
use runtime::{clock, outbox};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use trader_core::book::LiveConfig;

use self::context::Context;
use self::exchange_clients::ExchangeClients;
use self::health_inputs::HealthInputs;
use self::managed_symbols::ManagedSymbols;
use self::start_calls::StartCalls;
use self::task_supervisor::TaskSupervisor;
use crate::account::{latch_check, leader, monitor_task, protection_check};
use crate::books::book_manager::BookManager;
use crate::books::book_reports;
use crate::books::core_calls::InFlightCalls;
use crate::books::core_hang_detector::CoreHangDetector;
use crate::books::rules_reader;
use crate::books::symbol_rules::SymbolRules;
use crate::settings::Settings;

/// Failures in a row after which a trader without `--infinite` stops retrying its feed.
const FINITE_RUN_MAX_FAILURES: u32 = 10;
/// Time for the last events and the last heartbeat, after the books have drained.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// Trades until a shutdown is requested or something ends the run.
///
/// # Errors
/// The reason, with its exit code.
pub async fn run(args: TraderArgs) -> Result<ExitCode, ExitError> {
    startup::check_mode(&args)?;
    let settings = Settings::from_env()?;
    let logging = logging::init(&settings.telemetry, &[])?;
    let shutdown = Shutdown::listen().map_err(|error| ExitError::internal(error.to_string()))?;
    let shutdown_token = shutdown.token().clone();
    match RunningTrader::start(args, &settings, &logging, &shutdown_token).await {
        Ok(running) => running.run_until_end(&shutdown_token).await,
        Err(end) if end.code == ExitCode::Success => {
            tracing::info!(reason = end.message, "trader ended");
            Ok(ExitCode::Success)
        }
        Err(end) => Err(end),
    }
}

/// The tasks that publish the state of this process: health server, heartbeats, metrics, outbox. They start
/// first, so that waiting for a dependency is visible, and end last.
struct Publishers {
    bus: Bus,
    outbox: Outbox,
    /// Publishes an event of this boot that no journal holds.
    publish_event: Arc<dyn Fn(EventBody) + Send + Sync>,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
}

impl Publishers {
    /// Starts the tasks; waits for the bus.
    async fn start(
        settings: &Settings,
        identity: &Identity,
        role: ProcessRole,
        health_inputs: &Arc<HealthInputs>,
        until: &CancellationToken,
    ) -> Result<Self, ExitError> {
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(bind_health_server(identity, health_inputs, &shutdown)?);
        let bus = Bus::connect_with_streams(&settings.bus, &startup::STREAMS, until).await?;
        let bus = health_inputs.bus.get_or_init(|| bus).clone();
        health_inputs.read_earlier_boots(&bus, identity, role).await;
        let heartbeats = heartbeat_publisher(&bus, settings, identity, role, health_inputs);
        let heartbeats = heartbeats.run(shutdown.clone());
        tasks.spawn(heartbeats);
        if let Some(metrics) = bind_metrics(settings, identity, health_inputs).await? {
            tasks.spawn(metrics.run(shutdown.clone()));
        }
        let (outbox, sender) = outbox::channel(bus.clone(), identity.process(role));
        tasks.spawn(sender.run(shutdown.clone(), SHUTDOWN_GRACE));
        let publish_event = event_publisher(&outbox, identity);
        let health = HealthLogger::new(
            Arc::clone(&health_inputs.process_status),
            health_change_publisher(&publish_event),
        );
        tasks.spawn(health.run(shutdown.clone()));
        Ok(Self {
            bus,
            outbox,
            publish_event,
            shutdown,
            tasks,
        })
    }

    /// Publishes the last events and the last heartbeat, then ends the tasks.
    async fn drain(&mut self) {
        self.shutdown.cancel();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(SHUTDOWN_GRACE, all).await.is_err() {
            tracing::warn!(
                "shutdown grace period expired; unsent events are republished after the restart"
            );
        }
    }
}

/// A trader whose tasks have been started.
struct RunningTrader {
    ctx: Arc<Context>,
    started_at: Instant,
    workers_shutdown: CancellationToken,
    workers: JoinSet<Result<(), ExitError>>,
    publishers: Publishers,
}

impl RunningTrader {
    async fn start(
        args: TraderArgs,
        settings: &Settings,
        logging: &Logging,
        shutdown: &CancellationToken,
    ) -> Result<Self, ExitError> {
        let started_at = Instant::now();
        let mut config = startup::book_config(settings)?;
        let feed_failures = (!args.infinite).then_some(FINITE_RUN_MAX_FAILURES);
        let clients = ExchangeClients::new(settings, args.mode(), feed_failures)?;
        let identity = settings.instance.identify().await?;
        logging.open_file(&identity.log_name(Service::Trader))?;
        tracing::info!(instance = %identity.instance, boot = %identity.boot, mode = %args.mode(),
            version = env!("CARGO_PKG_VERSION"), "trader starting");
        let health_inputs = HealthInputs::for_client(&clients.data);
        let role = ProcessRole::Trader(args.mode());
        let mut publishers =
            Publishers::start(settings, &identity, role, &health_inputs, shutdown).await?;
        let presence =
            presence_check::check(&publishers.bus, &identity, args.mode(), started_at).await;
        let presence = match presence {
            Ok(presence) => presence,
            Err(duplicate) => {
                publishers.drain().await;
                return Err(duplicate);
            }
        };

        let calls = StartCalls {
            shutdown,
            waiting: &health_inputs.waiting,
            account: clients.execution.as_deref(),
        };
        let account = startup::resolve_account(calls, settings).await?;
        let account = health_inputs.account.get_or_init(|| account).clone();
        let latch = check_latch(&publishers, &account, &health_inputs, shutdown).await;
        if let Err(latched) = latch {
            // The last heartbeat carries the latch's id, which the watchdog needs.
            publishers.drain().await;
            return Err(latched);
        }
        let bus = &publishers.bus;
        let symbols = managed_symbols::find(calls, bus, &account, settings).await?;
        let (live, listings) =
            check_exchange(calls, bus, &account, settings, &*clients.data, &symbols).await?;
        config.live = live;
        let ctx = Context {
            symbol_rules: SymbolRules::new(listings),
            symbols,
            slice: settings.slice(),
            balance_grace: settings.balance_grace(),
            config,
            data_client: clients.data,
            execution_client: clients.execution,
            outbox: publishers.outbox.clone(),
            bus: publishers.bus.clone(),
            process_status: Arc::clone(&health_inputs.process_status),
            account_monitor: Arc::clone(&health_inputs.account_monitor),
            protection_status: Arc::clone(&health_inputs.protection_status),
            book_registry: Arc::clone(&health_inputs.book_registry),
            warm_up_queue: Arc::default(),
            core_calls: start_hang_detector(settings, &identity.boot)?,
            identity,
            account,
            args,
        };
        let ctx = Arc::new(ctx);
        let supervisor = TaskSupervisor {
            process_status: Arc::clone(&ctx.process_status),
            publish_event: Arc::clone(&publishers.publish_event),
            restarts_failed_tasks: ctx.args.infinite,
        };
        let workers_shutdown = CancellationToken::new();
        let mut workers = start_workers(&ctx, &supervisor, &workers_shutdown);
        if let Some(presence) = presence {
            workers.spawn(presence.run(workers_shutdown.clone()));
        }
        Ok(Self {
            ctx,
            started_at,
            workers_shutdown,
            workers,
            publishers,
        })
    }

    /// Waits for the first reason to end, then drains the workers, then the publishers.
    async fn run_until_end(mut self, shutdown: &CancellationToken) -> Result<ExitCode, ExitError> {
        let end = self.wait_for_end(shutdown).await;
        tracing::info!(reason = end.message, exit = %end.code, "trader ending");
        self.ctx.process_status.enter_phase(ProcessPhase::Draining);
        self.workers_shutdown.cancel();
        while let Some(ended) = self.workers.join_next().await {
            if let Err(error) = task_result(ended) {
                tracing::debug!(error = error.message, "task failed while draining");
            }
        }
        let uptime_ms = u64::try_from(self.started_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        let stopped = EventBody::TraderStopped {
            reason: end.message.clone(),
            exit_code: end.code.number(),
            uptime_ms,
        };
        let id = format!("{}:stopped", self.ctx.identity.boot);
        let event = Event::new(id, clock::now(), stopped);
        self.ctx.outbox.enqueue(event);
        self.publishers.drain().await;
        match end.code {
            ExitCode::Success | ExitCode::CycleFinished => Ok(end.code),
            _ => Err(end),
        }
    }

    async fn wait_for_end(&mut self, shutdown: &CancellationToken) -> ExitError {
        let cycle = self.ctx.args.ends_after();
        let cycle_end = async {
            match cycle {
                Some((length, code)) => {
                    tokio::time::sleep(length).await;
                    ExitError::new(
                        code,
                        format!("--duration of {} is over", format_duration(length)),
                    )
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => ExitError::new(ExitCode::Success, "stop requested"),
            Some(ended) = self.workers.join_next() => match task_result(ended) {
                Ok(()) => ExitError::internal("bug: a worker task ended without a reason"),
                Err(error) => error,
            },
            Some(ended) = self.publishers.tasks.join_next() => match ended {
                Ok(()) => ExitError::internal("bug: a publisher task ended without a reason"),
                Err(error) => ExitError::internal(format!("bug: {error}")),
            },
            end = cycle_end => end,
        }
    }
}

fn task_result(ended: Result<Result<(), ExitError>, JoinError>) -> Result<(), ExitError> {
    ended.unwrap_or_else(|error| Err(ExitError::internal(format!("bug: {error}"))))
}

/// Ends the start with exit 21 if the account is latched and nothing is open.
async fn check_latch(
    publishers: &Publishers,
    account: &AccountKey,
    health_inputs: &HealthInputs,
    shutdown: &CancellationToken,
) -> Result<(), ExitError> {
    let on_latch = |latch: &str| {
        let _ = health_inputs.blocking_latch.set(latch.to_owned());
    };
    let Publishers { bus, outbox, .. } = publishers;
    let checked = latch_check::check(bus, account, outbox, on_latch);
    let checked = shutdown.run_until_cancelled(checked);
    let only_closes = checked
        .await
        .unwrap_or_else(|| Err(start_calls::stopped_before_start()))?;
    if only_closes && let Some(latch) = health_inputs.blocking_latch.get() {
        health_inputs.account_monitor.start_with_latch(latch);
    }
    Ok(())
}

/// Checks the account on the exchange, and reads what the exchange lists about the symbols; waits for the exchange.
async fn check_exchange(
    calls: StartCalls<'_>,
    bus: &Bus,
    account: &AccountKey,
    settings: &Settings,
    data_client: &dyn DataClient,
    symbols: &ManagedSymbols,
) -> Result<(Option<LiveConfig>, BTreeMap<SubjectToken, SymbolListing>), ExitError> {
    let live = startup::live_config(calls, bus, account, settings).await?;
    tracing::info!(%account, "account ready");
    let listings = startup::fetch_listings(calls, data_client, settings, symbols).await?;
    Ok((live, listings))
}

/// Binds the health endpoint at once, so that a second process of this name on this host ends immediately.
fn bind_health_server(
    identity: &Identity,
    health_inputs: &Arc<HealthInputs>,
    shutdown: &CancellationToken,
) -> Result<impl Future<Output = ()> + use<>, ExitError> {
    let name = &identity.instance;
    let server = HealthServer::bind(Service::Trader, name.as_str()).map_err(|error| {
        let line = format!(
            "INSTANCE=\"{name}\": expected a name that no other trader on this host has ({error})"
        );
        ExitError::new(ExitCode::DuplicateInstance, line)
    })?;
    let health_inputs = Arc::clone(health_inputs);
    Ok(server.run(move || health_inputs.check_health(), shutdown.clone()))
}

fn heartbeat_publisher(
    bus: &Bus,
    settings: &Settings,
    identity: &Identity,
    role: ProcessRole,
    health_inputs: &Arc<HealthInputs>,
) -> HeartbeatPublisher {
    let process_status = Arc::clone(&health_inputs.process_status);
    let health_inputs = Arc::clone(health_inputs);
    HeartbeatPublisher::new(
        bus.clone(),
        role,
        identity.clone(),
        process_status,
        settings.instance.heartbeat_interval(),
        Arc::new(move |heartbeat| health_inputs.extend_heartbeat(heartbeat)),
    )
}

fn start_workers(
    ctx: &Arc<Context>,
    supervisor: &TaskSupervisor,
    shutdown: &CancellationToken,
) -> JoinSet<Result<(), ExitError>> {
    let mut workers = JoinSet::new();
    let mut start = |name, task: fn(Arc<Context>, CancellationToken) -> WorkerTask| {
        let (ctx, stop) = (Arc::clone(ctx), shutdown.clone());
        let task = move || task(Arc::clone(&ctx), stop.clone());
        workers.spawn(supervisor.clone().supervise(name, shutdown.clone(), task));
    };
    start("feed-task", |ctx, stop| Box::pin(run_feed(ctx, stop)));
    if ctx.execution_client.is_some() {
        start("user-stream", |ctx, stop| {
            Box::pin(run_user_stream(ctx, stop))
        });
    }
    start("rules-reader", |ctx, stop| {
        Box::pin(rules_reader::run(ctx, stop))
    });
    start("book-manager", |ctx, stop| {
        Box::pin(BookManager::new(ctx).run(stop))
    });
    start("account-monitor", |ctx, stop| {
        Box::pin(monitor_task::run(ctx, stop))
    });
    start("account-leader", |ctx, stop| {
        Box::pin(leader::run(ctx, stop))
    });
    if ctx.execution_client.is_some() {
        start("protection-check", |ctx, stop| {
            Box::pin(protection_check::run(ctx, stop))
        });
    }
    start("report-publisher", |ctx, stop| {
        Box::pin(book_reports::run(ctx, stop))
    });
    workers
}

type WorkerTask = Pin<Box<dyn Future<Output = Result<(), ExitError>> + Send>>;

async fn run_feed(ctx: Arc<Context>, shutdown: CancellationToken) -> Result<(), ExitError> {
    let feed = ctx.data_client.run_feed(shutdown);
    feed.await
        .map_err(|error| ExitError::internal(error.to_string()))
}

/// Receives the events of the account's orders. A paper account has none.
async fn run_user_stream(ctx: Arc<Context>, shutdown: CancellationToken) -> Result<(), ExitError> {
    match &ctx.execution_client {
        Some(client) => {
            let process_status = Arc::clone(&ctx.process_status);
            client.run_user_stream(process_status, shutdown).await;
        }
        None => shutdown.cancelled().await,
    }
    Ok(())
}

fn start_hang_detector(
    settings: &Settings,
    boot: &SubjectToken,
) -> Result<Arc<InFlightCalls>, ExitError> {
    let calls = Arc::<InFlightCalls>::default();
    let detector = CoreHangDetector {
        calls: Arc::downgrade(&calls),
        bus: settings.bus.clone(),
        boot: boot.clone(),
    };
    detector.start()?;
    Ok(calls)
}

/// Publishes events that no journal holds; their ids contain the boot and the time.
fn event_publisher(outbox: &Outbox, identity: &Identity) -> Arc<dyn Fn(EventBody) + Send + Sync> {
    let (outbox, boot) = (outbox.clone(), identity.boot.clone());
    Arc::new(move |body| {
        let at = clock::now();
        let id = format!("{boot}:{}:{}", body.kind(), at.0);
        outbox.enqueue(Event::new(id, at, body));
    })
}

fn health_change_publisher(
    publish_event: &Arc<dyn Fn(EventBody) + Send + Sync>,
) -> impl FnMut(&GradeChange) + Send + use<> {
    let publish_event = Arc::clone(publish_event);
    move |change| {
        publish_event(EventBody::HealthChanged {
            from: change.from.as_str().to_owned(),
            to: change.to.health.as_str().to_owned(),
            reason: change
                .to
                .reason
                .clone()
                .unwrap_or_else(|| "no more errors".to_owned()),
        });
    }
}

async fn bind_metrics(
    settings: &Settings,
    identity: &Identity,
    health_inputs: &Arc<HealthInputs>,
) -> Result<Option<Metrics>, ExitError> {
    let connected = Arc::clone(health_inputs);
    let info = ProcessInfo {
        service: Service::Trader,
        identity: identity.clone(),
        version: env!("CARGO_PKG_VERSION"),
        status: Arc::clone(&health_inputs.process_status),
        is_connected: Box::new(move || connected.bus.get().is_some_and(Bus::is_connected)),
    };
    let inputs = Arc::clone(health_inputs);
    Metrics::bind(&settings.metrics, info, move || {
        book_metrics::describe();
        book_metrics::update(&inputs);
    })
    .await
}
