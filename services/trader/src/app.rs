//! One run of the trader: start every part, wait for the first reason to end, drain, say goodbye.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::event::{Event, EventBody};
use protocol::exit_code::ExitCode;
use protocol::heartbeat::ProcessPhase;
use protocol::ids::{AccountKey, Service, SubjectToken};
use protocol::trader_args::TraderArgs;
use runtime::bus::Bus;
use runtime::health::{self, HealthServer};
use runtime::health_report::{GradeChange, HealthLogger};
use runtime::heartbeat::HeartbeatPublisher;
use runtime::identity::Identity;
use runtime::metrics::{Metrics, ProcessInfo};
use runtime::outbox::Outbox;
use runtime::process::ExitError;
use runtime::shutdown::Shutdown;
use runtime::{clock, logging, outbox};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::account;
use crate::book_manager::BookManager;
use crate::book_metrics;
use crate::book_reports;
use crate::context::Context;
use crate::core_calls::InFlightCalls;
use crate::core_hang_detector::CoreHangDetector;
use crate::health_inputs::HealthInputs;
use crate::market::{Feed, FeedSettings, LOG_FILTER};
use crate::settings::Settings;
use crate::startup;
use crate::task_supervisor::TaskSupervisor;
use crate::venue::UserStream;

/// Failures in a row after which a trader without `--infinite` gives its feed up.
const FINITE_RUN_MAX_FAILURES: u32 = 10;
/// Time for the last events and the last heartbeat, after the books have drained.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// Trades until something ends it.
///
/// # Errors
/// The reason with its exit code.
pub async fn run(args: TraderArgs) -> Result<ExitCode, ExitError> {
    startup::check_mode(&args)?;
    let settings = Settings::from_env()?;
    logging::init(&settings.telemetry, &[LOG_FILTER])?;
    let shutdown = Shutdown::listen().map_err(|error| ExitError::internal(error.to_string()))?;
    let shutdown_token = shutdown.token().clone();
    match RunningTrader::start(args, &settings, &shutdown_token).await {
        Ok(running) => running.run_until_end(&shutdown_token).await,
        Err(stop) if stop.code == ExitCode::Success => {
            tracing::info!(reason = stop.message, "ended");
            Ok(ExitCode::Success)
        }
        Err(stop) => Err(stop),
    }
}

/// `trader check-flags`: what the flags mean, for scripts.
#[allow(
    clippy::print_stdout,
    reason = "the answer of a command belongs on standard output"
)]
pub fn check_flags(args: &TraderArgs) -> ExitCode {
    match startup::check_mode(args) {
        Err(stop) if stop.code == ExitCode::Usage => {
            runtime::process::print_error(&stop.message);
            ExitCode::Usage
        }
        _ => {
            println!("{}", args.mode());
            ExitCode::Success
        }
    }
}

/// `trader health`.
///
/// # Errors
/// Exit 78 if this instance has no name.
pub async fn health() -> Result<ExitCode, ExitError> {
    let settings = Settings::from_env()?;
    let identity = settings.instance.identify().await?;
    Ok(health::query(Service::Trader, identity.instance.as_str()).await)
}

/// A trader whose parts have been started.
struct RunningTrader {
    ctx: Arc<Context>,
    started_at: Instant,
    /// Ends the parts that trade.
    workers_shutdown: CancellationToken,
    /// Ends the parts that tell, later.
    publishers_shutdown: CancellationToken,
    workers: JoinSet<Result<(), ExitError>>,
    publishers: JoinSet<()>,
}

impl RunningTrader {
    /// First the parts that tell how it is, so that waiting for the rest can be seen.
    async fn start(
        args: TraderArgs,
        settings: &Settings,
        shutdown: &CancellationToken,
    ) -> Result<Self, ExitError> {
        let began = Instant::now();
        let mut config = startup::book_config(settings)?;
        let market = startup::data_client(settings)?;
        let venue = startup::execution_client(settings, &market, args.mode())?;
        let feed = Feed::new(market.clone(), feed_settings(&args, config.base));
        let identity = settings.instance.identify().await?;
        tracing::info!(instance = %identity.instance, boot = %identity.boot, mode = %args.mode(),
            version = env!("CARGO_PKG_VERSION"), "starting");

        let health_inputs = HealthInputs::for_feed(&feed);
        let tell = CancellationToken::new();
        let mut tellers = JoinSet::new();
        tellers.spawn(bind_health_server(&identity, &health_inputs, &tell)?);
        let bus = Bus::connect_with_streams(&settings.bus, &startup::STREAMS, shutdown).await?;
        let bus = health_inputs.bus.get_or_init(|| bus).clone();
        tellers.spawn(publish_heartbeats(
            &bus,
            settings,
            &identity,
            &health_inputs,
            &tell,
        ));
        if let Some(metrics) = bind_metrics(settings, &identity, &health_inputs).await? {
            tellers.spawn(metrics.run(tell.clone()));
        }
        let instance = identity.instance.clone();
        let (events, sender) = outbox::channel(bus.clone(), Service::Trader, instance);
        tellers.spawn(sender.run(tell.clone(), SHUTDOWN_GRACE));
        let teller = event_publisher(&events, &identity);
        let health = HealthLogger::new(
            Arc::clone(&health_inputs.process_status),
            health_change_publisher(&teller),
        );
        tellers.spawn(health.run(tell.clone()));

        let account = startup::resolve_account(venue.as_ref(), settings, shutdown).await?;
        let account = health_inputs.account.get_or_init(|| account).clone();
        if let Err(stop) = check_latch(&bus, &account, &health_inputs, shutdown).await {
            // The last heartbeat names the latch: whoever may start us again needs to know.
            drain_publishers(&tell, &mut tellers).await;
            return Err(stop);
        }
        config.live =
            startup::live_config(venue.as_ref(), &bus, &account, settings, shutdown).await?;
        tracing::info!(%account, "trades this account");
        let rules = startup::fetch_symbol_filters(&market, settings, shutdown).await?;
        let calls = start_hang_detector(settings, &identity.boot)?;
        let ctx = Arc::new(Context {
            bus,
            identity,
            account,
            symbol_filters: rules,
            slice: settings.slice(),
            config,
            data_client: market,
            feed,
            execution_client: venue,
            outbox: events,
            process_status: Arc::clone(&health_inputs.process_status),
            account_monitor: Arc::clone(&health_inputs.account_monitor),
            book_registry: Arc::clone(&health_inputs.book_registry),
            core_calls: calls,
            args,
        });
        let work = CancellationToken::new();
        let supervisor = TaskSupervisor {
            process_status: Arc::clone(&health_inputs.process_status),
            publish_event: teller,
            restarts_failed_tasks: ctx.args.infinite,
        };
        let workers = start_workers(&ctx, &supervisor, &work);
        Ok(Self {
            ctx,
            started_at: began,
            workers_shutdown: work,
            publishers_shutdown: tell,
            workers,
            publishers: tellers,
        })
    }

    /// Waits for the first reason to end, then ends in order: trade, tell, leave.
    async fn run_until_end(mut self, shutdown: &CancellationToken) -> Result<ExitCode, ExitError> {
        let end = self.wait_for_end(shutdown).await;
        tracing::info!(reason = end.message, exit = %end.code, "ending");
        self.ctx.process_status.enter_phase(ProcessPhase::Draining);
        self.workers_shutdown.cancel();
        while let Some(ended) = self.workers.join_next().await {
            if let Err(stop) = worker_result(ended) {
                tracing::debug!(reason = stop.message, "ended with an error while draining");
            }
        }
        let uptime_ms = u64::try_from(self.started_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        let goodbye = EventBody::TraderStopped {
            reason: end.message.clone(),
            exit_code: end.code.number(),
            uptime_ms,
        };
        let id = format!("{}:stopped", self.ctx.identity.boot);
        self.ctx
            .outbox
            .enqueue(Event::new(id, clock::now(), goodbye));
        drain_publishers(&self.publishers_shutdown, &mut self.publishers).await;
        match end.code {
            ExitCode::Success | ExitCode::CycleFinished => Ok(end.code),
            _ => Err(end),
        }
    }

    async fn wait_for_end(&mut self, shutdown: &CancellationToken) -> ExitError {
        let cycle = self.ctx.args.ends_after();
        let cycle_over = async {
            match cycle {
                Some((length, code)) => {
                    tokio::time::sleep(length).await;
                    ExitError::new(code, format!("--duration of {length:?} is over"))
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => ExitError::new(ExitCode::Success, "stop requested"),
            Some(ended) = self.workers.join_next() => match worker_result(ended) {
                Ok(()) => ExitError::internal("bug: a part ended without a reason"),
                Err(stop) => stop,
            },
            Some(ended) = self.publishers.join_next() => match ended {
                Ok(()) => ExitError::internal("bug: a part ended without a reason"),
                Err(error) => ExitError::internal(format!("bug: {error}")),
            },
            stop = cycle_over => stop,
        }
    }
}

/// The last events and the last heartbeat.
async fn drain_publishers(tell: &CancellationToken, tellers: &mut JoinSet<()>) {
    tell.cancel();
    let told = async { while tellers.join_next().await.is_some() {} };
    if timeout(SHUTDOWN_GRACE, told).await.is_err() {
        tracing::warn!("left without saying everything");
    }
}

fn worker_result(ended: Result<Result<(), ExitError>, JoinError>) -> Result<(), ExitError> {
    ended.unwrap_or_else(|error| Err(ExitError::internal(format!("bug: {error}"))))
}

/// An account that is latched ends the start with 21, unless something of it is still to be closed.
async fn check_latch(
    bus: &Bus,
    account: &AccountKey,
    vitals: &HealthInputs,
    shutdown: &CancellationToken,
) -> Result<(), ExitError> {
    let closed_by = |latch: &str| {
        let _ = vitals.blocking_latch.set(latch.to_owned());
    };
    let checked = shutdown.run_until_cancelled(account::check_latch(bus, account, closed_by));
    let stopped = || Err(ExitError::new(ExitCode::Success, "stopped before it began"));
    if checked.await.unwrap_or_else(stopped)?
        && let Some(latch) = vitals.blocking_latch.get()
    {
        vitals.account_monitor.start_with_latch(latch);
    }
    Ok(())
}

fn feed_settings(args: &TraderArgs, base: trader_core::candle::Interval) -> FeedSettings {
    FeedSettings {
        give_up_after: (!args.infinite).then_some(FINITE_RUN_MAX_FAILURES),
        ..FeedSettings::new(base)
    }
}

/// Binds at once, so that a duplicate on this host is refused before anything starts.
fn bind_health_server(
    identity: &Identity,
    vitals: &Arc<HealthInputs>,
    shutdown: &CancellationToken,
) -> Result<impl Future<Output = ()> + use<>, ExitError> {
    let name = &identity.instance;
    let server = HealthServer::bind(Service::Trader, name.as_str()).map_err(|error| {
        let line =
            format!("INSTANCE={name}: another trader of this name runs on this host ({error})");
        ExitError::new(ExitCode::DuplicateInstance, line)
    })?;
    let vitals = Arc::clone(vitals);
    Ok(server.run(move || vitals.check_health(), shutdown.clone()))
}

fn publish_heartbeats(
    bus: &Bus,
    settings: &Settings,
    identity: &Identity,
    vitals: &Arc<HealthInputs>,
    shutdown: &CancellationToken,
) -> impl Future<Output = ()> + use<> {
    let progress = Arc::clone(&vitals.process_status);
    let vitals = Arc::clone(vitals);
    let heart = HeartbeatPublisher::new(
        bus.clone(),
        Service::Trader,
        identity.clone(),
        progress,
        settings.instance.heartbeat_interval(),
        Arc::new(move |heartbeat| vitals.extend_heartbeat(heartbeat)),
    );
    heart.run(shutdown.clone())
}

fn start_workers(
    ctx: &Arc<Context>,
    supervisor: &TaskSupervisor,
    shutdown: &CancellationToken,
) -> JoinSet<Result<(), ExitError>> {
    let mut workers = JoinSet::new();
    let candles = ctx.feed.clone();
    let stop = shutdown.clone();
    let feed = move || {
        let task = candles.task().run(stop.clone());
        async {
            task.await
                .map_err(|error| ExitError::internal(error.to_string()))
        }
    };
    workers.spawn(
        supervisor
            .clone()
            .supervise("feed-task", shutdown.clone(), feed),
    );
    let mut start = |name, part: fn(Arc<Context>, CancellationToken) -> WorkerTask| {
        let (ctx, stop) = (Arc::clone(ctx), shutdown.clone());
        let part = move || part(Arc::clone(&ctx), stop.clone());
        workers.spawn(supervisor.clone().supervise(name, shutdown.clone(), part));
    };
    if ctx.execution_client.is_some() {
        start("user-stream", |ctx, stop| {
            Box::pin(run_user_stream(ctx, stop))
        });
    }
    start("book-manager", |ctx, stop| {
        Box::pin(BookManager::new(ctx).run(stop))
    });
    start("account-monitor", |ctx, stop| {
        Box::pin(account::watch(ctx, stop))
    });
    start("account-leader", |ctx, stop| {
        Box::pin(account::keep(ctx, stop))
    });
    start("report-publisher", |ctx, stop| {
        Box::pin(book_reports::run(ctx, stop))
    });
    workers
}

/// Hears what happens to the account's orders; on paper there is nothing to hear.
async fn run_user_stream(ctx: Arc<Context>, shutdown: CancellationToken) -> Result<(), ExitError> {
    match &ctx.execution_client {
        Some(venue) => {
            let progress = Arc::clone(&ctx.process_status);
            UserStream::new(venue.clone()).run(progress, shutdown).await;
        }
        None => shutdown.cancelled().await,
    }
    Ok(())
}

type WorkerTask = Pin<Box<dyn Future<Output = Result<(), ExitError>> + Send>>;

/// The calls to the books' brains, watched.
fn start_hang_detector(
    settings: &Settings,
    boot: &SubjectToken,
) -> Result<Arc<InFlightCalls>, ExitError> {
    let calls = Arc::<InFlightCalls>::default();
    let lookout = CoreHangDetector {
        calls: Arc::downgrade(&calls),
        bus: settings.bus.clone(),
        boot: boot.clone(),
    };
    lookout.start()?;
    Ok(calls)
}

/// Tells the owner what no journal holds: of this boot, at this moment.
fn event_publisher(events: &Outbox, identity: &Identity) -> Arc<dyn Fn(EventBody) + Send + Sync> {
    let (events, boot) = (events.clone(), identity.boot.clone());
    Arc::new(move |body| {
        let at = clock::now();
        let id = format!("{boot}:{}:{}", body.kind(), at.0);
        events.enqueue(Event::new(id, at, body));
    })
}

fn health_change_publisher(
    tell: &Arc<dyn Fn(EventBody) + Send + Sync>,
) -> impl FnMut(&GradeChange) + Send + use<> {
    let tell = Arc::clone(tell);
    move |change| {
        tell(EventBody::HealthChanged {
            from: change.from.as_str().to_owned(),
            to: change.to.health.as_str().to_owned(),
            reason: change
                .to
                .reason
                .clone()
                .unwrap_or_else(|| "no errors any more".to_owned()),
        });
    }
}

async fn bind_metrics(
    settings: &Settings,
    identity: &Identity,
    vitals: &Arc<HealthInputs>,
) -> Result<Option<Metrics>, ExitError> {
    let connected = Arc::clone(vitals);
    let facts = ProcessInfo {
        service: Service::Trader,
        identity: identity.clone(),
        version: env!("CARGO_PKG_VERSION"),
        status: Arc::clone(&vitals.process_status),
        is_connected: Box::new(move || connected.bus.get().is_some_and(Bus::is_connected)),
    };
    let shown = Arc::clone(vitals);
    let bound = Metrics::bind(&settings.metrics, facts, move || {
        book_metrics::update(&shown);
    })
    .await?;
    if bound.is_some() {
        book_metrics::describe();
    }
    Ok(bound)
}
