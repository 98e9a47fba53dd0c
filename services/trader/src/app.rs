//! One run of the trader: start every part, wait for the first reason to end, drain, say goodbye.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::event::{Event, EventBody};
use protocol::exit::ExitCode;
use protocol::heartbeat::Phase;
use protocol::ids::{AccountKey, Service, Token};
use protocol::trader_args::TraderArgs;
use runtime::bus::Bus;
use runtime::events::Events;
use runtime::health::{self, HealthServer};
use runtime::health_report::{Change, HealthReport};
use runtime::heartbeat::Heart;
use runtime::identity::Identity;
use runtime::metrics::{Facts, Metrics};
use runtime::process::Stop;
use runtime::shutdown::Shutdown;
use runtime::{clock, events, telemetry};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::account;
use crate::calls::Calls;
use crate::context::Context;
use crate::fleet::Fleet;
use crate::lookout::Lookout;
use crate::market::{Feed, FeedSettings, LOG_FILTER};
use crate::numbers;
use crate::parts::Keeper;
use crate::report;
use crate::settings::Settings;
use crate::start;
use crate::venue::UserStream;
use crate::vitals::Vitals;

/// Failures in a row after which a trader without `--infinite` gives its feed up.
const PATIENCE_OF_THE_FINITE: u32 = 10;
/// Time for the last events and the last heartbeat, after the books have drained.
const GOODBYE: Duration = Duration::from_secs(2);

/// Trades until something ends it.
///
/// # Errors
/// The reason with its exit code.
pub async fn run(args: TraderArgs) -> Result<ExitCode, Stop> {
    start::check_mode(&args)?;
    let settings = Settings::from_env()?;
    telemetry::init(&settings.telemetry, &[LOG_FILTER])?;
    let shutdown = Shutdown::listen().map_err(|error| Stop::internal(error.to_string()))?;
    let asked = shutdown.token().clone();
    match Running::start(args, &settings, &asked).await {
        Ok(running) => running.until_the_end(&asked).await,
        Err(stop) if stop.code == ExitCode::Done => {
            tracing::info!(reason = stop.message, "ended");
            Ok(ExitCode::Done)
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
    match start::check_mode(args) {
        Err(stop) if stop.code == ExitCode::Usage => {
            runtime::process::complain(&stop.message);
            ExitCode::Usage
        }
        _ => {
            println!("{}", args.mode());
            ExitCode::Done
        }
    }
}

/// `trader health`.
///
/// # Errors
/// Exit 78 if this instance has no name.
pub async fn health() -> Result<ExitCode, Stop> {
    let settings = Settings::from_env()?;
    let identity = settings.own.identify().await?;
    Ok(health::ask(Service::Trader, identity.instance.as_str()).await)
}

/// A trader whose parts have been started.
struct Running {
    ctx: Arc<Context>,
    began: Instant,
    /// Ends the parts that trade.
    work: CancellationToken,
    /// Ends the parts that tell, later.
    tell: CancellationToken,
    workers: JoinSet<Result<(), Stop>>,
    tellers: JoinSet<()>,
}

impl Running {
    /// First the parts that tell how it is, so that waiting for the rest can be seen.
    async fn start(
        args: TraderArgs,
        settings: &Settings,
        asked: &CancellationToken,
    ) -> Result<Self, Stop> {
        let began = Instant::now();
        let mut config = start::book_config(settings)?;
        let market = start::market(settings)?;
        let venue = start::venue(settings, &market, args.mode())?;
        let feed = Feed::new(market.clone(), feed_settings(&args, config.base));
        let identity = settings.own.identify().await?;
        tracing::info!(instance = %identity.instance, boot = %identity.boot, mode = %args.mode(),
            version = env!("CARGO_PKG_VERSION"), "starting");

        let vitals = Vitals::of(&feed);
        let tell = CancellationToken::new();
        let mut tellers = JoinSet::new();
        tellers.spawn(answer_health(&identity, &vitals, &tell)?);
        let bus = Bus::ready(&settings.bus, &start::STREAMS, asked).await?;
        let bus = vitals.bus.get_or_init(|| bus).clone();
        tellers.spawn(beat(&bus, settings, &identity, &vitals, &tell));
        if let Some(metrics) = bind_metrics(settings, &identity, &vitals).await? {
            tellers.spawn(metrics.run(tell.clone()));
        }
        let instance = identity.instance.clone();
        let (events, sender) = events::channel(bus.clone(), Service::Trader, instance);
        tellers.spawn(sender.run(tell.clone(), GOODBYE));
        let teller = tell_events(&events, &identity);
        let health = HealthReport::new(Arc::clone(&vitals.progress), tell_health(&teller));
        tellers.spawn(health.run(tell.clone()));

        let account = start::account(venue.as_ref(), settings, asked).await?;
        let account = vitals.account.get_or_init(|| account).clone();
        if let Err(stop) = check_latch_until(&bus, &account, &vitals, asked).await {
            // The last heartbeat names the latch: whoever may start us again needs to know.
            say_goodbye(&tell, &mut tellers).await;
            return Err(stop);
        }
        config.live = start::terms(venue.as_ref(), &bus, &account, settings, asked).await?;
        tracing::info!(%account, "trades this account");
        let rules = start::rules(&market, settings, asked).await?;
        let calls = look_out(settings, &identity.boot)?;
        let ctx = Arc::new(Context {
            bus,
            identity,
            account,
            rules,
            slice: settings.slice(),
            config,
            market,
            feed,
            venue,
            events,
            progress: Arc::clone(&vitals.progress),
            standing: Arc::clone(&vitals.standing),
            board: Arc::clone(&vitals.board),
            calls,
            args,
        });
        let work = CancellationToken::new();
        let keeper = Keeper {
            progress: Arc::clone(&vitals.progress),
            tell: teller,
            enduring: ctx.args.infinite,
        };
        let workers = start_working(&ctx, &keeper, &work);
        Ok(Self {
            ctx,
            began,
            work,
            tell,
            workers,
            tellers,
        })
    }

    /// Waits for the first reason to end, then ends in order: trade, tell, leave.
    async fn until_the_end(mut self, asked: &CancellationToken) -> Result<ExitCode, Stop> {
        let end = self.first_reason(asked).await;
        tracing::info!(reason = end.message, exit = %end.code, "ending");
        self.ctx.progress.enter(Phase::Draining);
        self.work.cancel();
        while let Some(ended) = self.workers.join_next().await {
            if let Err(stop) = worker_end(ended) {
                tracing::debug!(reason = stop.message, "ended with an error while draining");
            }
        }
        let uptime_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let goodbye = EventBody::TraderStopped {
            reason: end.message.clone(),
            exit: end.code.number(),
            uptime_ms,
        };
        let id = format!("{}:stopped", self.ctx.identity.boot);
        self.ctx.events.tell(Event::new(id, clock::now(), goodbye));
        say_goodbye(&self.tell, &mut self.tellers).await;
        match end.code {
            ExitCode::Done | ExitCode::CycleFinished => Ok(end.code),
            _ => Err(end),
        }
    }

    async fn first_reason(&mut self, asked: &CancellationToken) -> Stop {
        let cycle = self.ctx.args.ends_after();
        let cycle_over = async {
            match cycle {
                Some((length, code)) => {
                    tokio::time::sleep(length).await;
                    Stop::new(code, format!("--duration of {length:?} is over"))
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = asked.cancelled() => Stop::new(ExitCode::Done, "stop requested"),
            Some(ended) = self.workers.join_next() => match worker_end(ended) {
                Ok(()) => Stop::internal("bug: a part ended without a reason"),
                Err(stop) => stop,
            },
            Some(ended) = self.tellers.join_next() => match ended {
                Ok(()) => Stop::internal("bug: a part ended without a reason"),
                Err(error) => Stop::internal(format!("bug: {error}")),
            },
            stop = cycle_over => stop,
        }
    }
}

/// The last events and the last heartbeat.
async fn say_goodbye(tell: &CancellationToken, tellers: &mut JoinSet<()>) {
    tell.cancel();
    let told = async { while tellers.join_next().await.is_some() {} };
    if timeout(GOODBYE, told).await.is_err() {
        tracing::warn!("left without saying everything");
    }
}

fn worker_end(ended: Result<Result<(), Stop>, JoinError>) -> Result<(), Stop> {
    ended.unwrap_or_else(|error| Err(Stop::internal(format!("bug: {error}"))))
}

/// An account that is latched ends the start with 21, unless something of it is still to be closed.
async fn check_latch_until(
    bus: &Bus,
    account: &AccountKey,
    vitals: &Vitals,
    asked: &CancellationToken,
) -> Result<(), Stop> {
    let closed_by = |latch: &str| {
        let _ = vitals.refused_by.set(latch.to_owned());
    };
    let checked = asked.run_until_cancelled(account::check_latch(bus, account, closed_by));
    let stopped = || Err(Stop::new(ExitCode::Done, "stopped before it began"));
    if checked.await.unwrap_or_else(stopped)?
        && let Some(latch) = vitals.refused_by.get()
    {
        vitals.standing.begin_with(latch);
    }
    Ok(())
}

fn feed_settings(args: &TraderArgs, base: engine::candle::Interval) -> FeedSettings {
    FeedSettings {
        give_up_after: (!args.infinite).then_some(PATIENCE_OF_THE_FINITE),
        ..FeedSettings::new(base)
    }
}

/// Binds at once, so that a duplicate on this host is refused before anything starts.
fn answer_health(
    identity: &Identity,
    vitals: &Arc<Vitals>,
    until: &CancellationToken,
) -> Result<impl Future<Output = ()> + use<>, Stop> {
    let name = &identity.instance;
    let server = HealthServer::bind(Service::Trader, name.as_str()).map_err(|error| {
        let line =
            format!("INSTANCE={name}: another trader of this name runs on this host ({error})");
        Stop::new(ExitCode::DuplicateInstance, line)
    })?;
    let vitals = Arc::clone(vitals);
    Ok(server.run(move || vitals.examine(), until.clone()))
}

fn beat(
    bus: &Bus,
    settings: &Settings,
    identity: &Identity,
    vitals: &Arc<Vitals>,
    until: &CancellationToken,
) -> impl Future<Output = ()> + use<> {
    let progress = Arc::clone(&vitals.progress);
    let vitals = Arc::clone(vitals);
    let heart = Heart::new(
        bus.clone(),
        Service::Trader,
        identity.clone(),
        progress,
        settings.own.heartbeat(),
        Arc::new(move |heartbeat| vitals.add_to(heartbeat)),
    );
    heart.run(until.clone())
}

fn start_working(
    ctx: &Arc<Context>,
    keeper: &Keeper,
    until: &CancellationToken,
) -> JoinSet<Result<(), Stop>> {
    let mut workers = JoinSet::new();
    let candles = ctx.feed.clone();
    let stop = until.clone();
    let feed = move || {
        let task = candles.task().run(stop.clone());
        async {
            task.await
                .map_err(|error| Stop::internal(error.to_string()))
        }
    };
    workers.spawn(keeper.clone().keep("feed task", until.clone(), feed));
    let mut start = |name, part: fn(Arc<Context>, CancellationToken) -> Worker| {
        let (ctx, stop) = (Arc::clone(ctx), until.clone());
        let part = move || part(Arc::clone(&ctx), stop.clone());
        workers.spawn(keeper.clone().keep(name, until.clone(), part));
    };
    if ctx.venue.is_some() {
        start("user stream", |ctx, stop| Box::pin(listen(ctx, stop)));
    }
    start("fleet", |ctx, stop| Box::pin(Fleet::new(ctx).run(stop)));
    start("account", |ctx, stop| Box::pin(account::watch(ctx, stop)));
    start("keeper", |ctx, stop| Box::pin(account::keep(ctx, stop)));
    start("reports", |ctx, stop| Box::pin(report::run(ctx, stop)));
    workers
}

/// Hears what happens to the account's orders; on paper there is nothing to hear.
async fn listen(ctx: Arc<Context>, stop: CancellationToken) -> Result<(), Stop> {
    match &ctx.venue {
        Some(venue) => {
            let progress = Arc::clone(&ctx.progress);
            UserStream::new(venue.clone()).run(progress, stop).await;
        }
        None => stop.cancelled().await,
    }
    Ok(())
}

type Worker = Pin<Box<dyn Future<Output = Result<(), Stop>> + Send>>;

/// The calls to the books' brains, watched.
fn look_out(settings: &Settings, boot: &Token) -> Result<Arc<Calls>, Stop> {
    let calls = Arc::<Calls>::default();
    let lookout = Lookout {
        calls: Arc::downgrade(&calls),
        bus: settings.bus.clone(),
        boot: boot.clone(),
    };
    lookout.begin()?;
    Ok(calls)
}

/// Tells the owner what no journal holds: of this boot, at this moment.
fn tell_events(events: &Events, identity: &Identity) -> Arc<dyn Fn(EventBody) + Send + Sync> {
    let (events, boot) = (events.clone(), identity.boot.clone());
    Arc::new(move |body| {
        let at = clock::now();
        let id = format!("{boot}:{}:{}", body.kind(), at.0);
        events.tell(Event::new(id, at, body));
    })
}

fn tell_health(tell: &Arc<dyn Fn(EventBody) + Send + Sync>) -> impl FnMut(&Change) + Send + use<> {
    let tell = Arc::clone(tell);
    move |change| {
        tell(EventBody::HealthChanged {
            from: change.from.as_str().to_owned(),
            to: change.to.health.as_str().to_owned(),
            reason: change
                .to
                .why
                .clone()
                .unwrap_or_else(|| "no errors any more".to_owned()),
        });
    }
}

async fn bind_metrics(
    settings: &Settings,
    identity: &Identity,
    vitals: &Arc<Vitals>,
) -> Result<Option<Metrics>, Stop> {
    let connected = Arc::clone(vitals);
    let facts = Facts {
        service: Service::Trader,
        identity: identity.clone(),
        version: env!("CARGO_PKG_VERSION"),
        progress: Arc::clone(&vitals.progress),
        connected: Box::new(move || connected.bus.get().is_some_and(Bus::is_connected)),
    };
    let shown = Arc::clone(vitals);
    let bound = Metrics::bind(&settings.metrics, facts, move || numbers::set(&shown)).await?;
    if bound.is_some() {
        numbers::describe();
    }
    Ok(bound)
}
