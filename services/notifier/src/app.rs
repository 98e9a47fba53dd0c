//! One run of the notifier: start every part, stand by until it is our turn, tell, say goodbye.

use std::sync::Arc;
use std::time::Duration;

use protocol::exit::ExitCode;
use protocol::heartbeat::{PartState, Phase};
use protocol::ids::Service;
use protocol::subject::Subject;
use runtime::bus::Bus;
use runtime::events::{self, EventSender};
use runtime::guard::{Guard, TurnEnd};
use runtime::health::{self, Ailment, Answer, HealthServer};
use runtime::heartbeat::Heart;
use runtime::metrics::{Facts, Metrics};
use runtime::process::Stop;
use runtime::progress::Progress;
use runtime::shutdown::Shutdown;
use runtime::{streams, telemetry};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::channel::Channel;
use crate::courier::{Courier, Desk, Heard, PART, Seen};
use crate::lifeline::Watch;
use crate::settings::Settings;
use crate::{deadman, inbox, resend, updates};

/// The streams a notifier reads or writes.
const STREAMS: [&str; 5] = [
    streams::JOURNAL,
    streams::EVENTS,
    streams::REPORTS,
    streams::HEARTBEATS,
    streams::LEASES,
];
/// Time for the last heartbeat.
const GOODBYE: Duration = Duration::from_secs(2);
/// A loop that has not turned for this long is stuck.
const STUCK: Duration = Duration::from_secs(20);

/// Tells until something ends it.
///
/// # Errors
/// The reason with its exit code.
pub async fn run() -> Result<ExitCode, Stop> {
    let settings = Settings::from_env()?;
    let channel = Channel::new(&settings)?;
    let fallback = settings.fallback()?;
    let switch = settings.switch()?;
    telemetry::init(&settings.telemetry, &[])?;
    let shutdown = Shutdown::listen().map_err(|error| Stop::internal(error.to_string()))?;
    let asked = shutdown.token().clone();
    let identity = settings.own.identify().await?;
    tracing::info!(instance = %identity.instance, boot = %identity.boot,
        to = channel.as_str(), version = env!("CARGO_PKG_VERSION"), "starting");
    if let Some(checked) = asked.run_until_cancelled(channel.check()).await {
        refused_at_the_start(checked, fallback.is_some())?;
    }
    let mut watch = Watch::new(channel.clone(), fallback.clone());
    let ready = tokio::select! {
        biased;
        ready = Bus::ready(&settings.bus, &STREAMS, &asked) => ready,
        () = watch.run(|| false, || None) => Err(Stop::internal("bug: a watch ended")),
    };
    let bus = match ready {
        Ok(bus) => bus,
        Err(stop) if stop.code == ExitCode::Done => return Ok(ExitCode::Done),
        Err(stop) => return Err(stop),
    };
    let instance = identity.instance.clone();
    let (events, sender) = events::channel(bus.clone(), Service::Notifier, instance);
    say_whose_orders(&channel);
    let desk = Arc::new(Desk {
        bus,
        events,
        channel,
        fallback,
        switch,
        absence: watch.absence(),
        watch: Mutex::new(watch),
        seen: watch::Sender::new(Seen::default()),
        identity,
        progress: Arc::new(Progress::default()),
        heartbeat_ms: settings.owner_heartbeat_secs * 1_000,
    });
    tell(&desk, &settings, sender, &asked).await
}

fn say_whose_orders(channel: &Channel) {
    if let Some((_, allowed)) = channel.hears() {
        tracing::info!(users = ?allowed, "takes orders by Telegram");
    } else {
        tracing::info!("takes no orders: TELEGRAM_ALLOWED_USERS names nobody");
    }
}

/// A token or chat that Telegram refuses is a reason to end only where nobody else could be told.
fn refused_at_the_start(checked: Result<(), Stop>, has_fallback: bool) -> Result<(), Stop> {
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
pub async fn health() -> Result<ExitCode, Stop> {
    let settings = Settings::from_env()?;
    let identity = settings.own.identify().await?;
    Ok(health::ask(Service::Notifier, identity.instance.as_str()).await)
}

async fn tell(
    desk: &Arc<Desk>,
    settings: &Settings,
    sender: EventSender,
    asked: &CancellationToken,
) -> Result<ExitCode, Stop> {
    let until = CancellationToken::new();
    let mut tellers = JoinSet::new();
    tellers.spawn(answer_health(desk, &until)?);
    let heart = Heart::new(
        desk.bus.clone(),
        Service::Notifier,
        desk.identity.clone(),
        Arc::clone(&desk.progress),
        settings.own.heartbeat(),
        Arc::new(|_| {}),
    );
    tellers.spawn(heart.run(until.clone()));
    tellers.spawn(sender.run(until.clone(), GOODBYE / 2));
    if let Some(metrics) = Metrics::bind(&settings.metrics, facts(desk), || {}).await? {
        tellers.spawn(metrics.run(until.clone()));
    }
    let guard = Guard::new(desk.bus.clone(), &Subject::NotifierLease, &desk.identity);
    let part = desk.progress.part(PART);
    let standing_by = || desk.progress.enter(Phase::Starting);
    let turns = guard.take_turns(&part, standing_by, asked, || turn(desk, asked));
    let ended = tokio::select! {
        biased;
        ended = turns => ended,
        Some(ended) = tellers.join_next() => Err(match ended {
            Ok(()) => Stop::internal("bug: a part ended without a reason"),
            Err(error) => Stop::internal(format!("bug: {error}")),
        }),
    };
    desk.progress.enter(Phase::Draining);
    until.cancel();
    let told = async { while tellers.join_next().await.is_some() {} };
    if timeout(GOODBYE, told).await.is_err() {
        tracing::debug!("left without a last heartbeat");
    }
    ended.map(|()| ExitCode::Done)
}

fn facts(desk: &Desk) -> Facts {
    let bus = desk.bus.clone();
    Facts {
        service: Service::Notifier,
        identity: desk.identity.clone(),
        version: env!("CARGO_PKG_VERSION"),
        progress: Arc::clone(&desk.progress),
        connected: Box::new(move || bus.is_connected()),
    }
}

fn answer_health(
    desk: &Arc<Desk>,
    until: &CancellationToken,
) -> Result<impl Future<Output = ()> + use<>, Stop> {
    let name = desk.identity.instance.as_str();
    let server = HealthServer::bind(Service::Notifier, name).map_err(|error| {
        let line =
            format!("INSTANCE={name}: another notifier of this name runs on this host ({error})");
        Stop::new(ExitCode::DuplicateInstance, line)
    })?;
    let shown = Arc::clone(desk);
    Ok(server.run(move || examine(&shown), until.clone()))
}

fn examine(desk: &Desk) -> Answer {
    if !desk.bus.is_connected() {
        return Err(Ailment::waits(
            "the bus is away: nothing is heard until it is back",
        ));
    }
    let part = desk.progress.part(PART);
    let trouble = desk.progress.parts().get(PART).map(|part| part.state);
    match (part.idle(), desk.progress.phase()) {
        (Some(idle), _) if idle > STUCK => {
            Err(Ailment::hangs(format!("its loop last turned {idle:?} ago")))
        }
        (_, Phase::Starting) => Ok("standing by".to_owned()),
        // Not ill: a restart would not help, and a person sees it here.
        _ if trouble == Some(PartState::Retrying) => {
            let why = desk.progress.last_error().map(|error| error.text);
            Ok(format!("not delivering: {}", why.unwrap_or_default()))
        }
        _ => Ok(format!("telling through {}", desk.channel.as_str())),
    }
}

/// One turn as the one that tells: all its parts begin and end together.
async fn turn(desk: &Arc<Desk>, asked: &CancellationToken) -> TurnEnd {
    let stop = CancellationToken::new();
    let _ends_the_parts = stop.clone().drop_guard();
    let mut parts = JoinSet::new();
    parts.spawn(tell_of_the_bus(Arc::clone(desk), stop.clone()));
    let taken = asked.run_until_cancelled(Courier::take_over(Arc::clone(desk)));
    let courier = match taken.await {
        None => return TurnEnd::Stopped,
        Some(Err(end)) => return end,
        Some(Ok(courier)) => courier,
    };
    desk.progress.enter(Phase::Running);
    let (batches, events) = mpsc::channel(inbox::QUEUE);
    if let Some(switch) = desk.switch.clone() {
        parts.spawn(deadman::hold(Arc::clone(desk), switch, stop.clone()));
    }
    parts.spawn(inbox::read(desk.bus.clone(), batches, stop.clone()));
    let (wanted, wishes) = mpsc::channel(resend::QUEUE);
    parts.spawn(resend::hear(desk.bus.clone(), wanted, stop.clone()));
    let (talk, said) = mpsc::channel(updates::QUEUE);
    match desk.channel.hears() {
        Some((telegram, _)) => {
            let from = courier.last_update().map(|last| last + 1);
            parts.spawn(updates::poll(telegram.clone(), from, talk, stop.clone()));
        }
        // Nobody says anything, ever.
        None => drop(talk),
    }
    let heard = Heard {
        events,
        said,
        wishes,
    };
    tokio::select! {
        biased;
        end = courier.deliver(heard, asked.clone()) => end,
        Some(ended) = parts.join_next() => TurnEnd::Failed(match ended {
            Ok(()) => Stop::internal("bug: a part ended without a reason"),
            Err(error) => Stop::internal(format!("bug: {error}")),
        }),
    }
}

/// Only whoever's turn it is tells it: those that stand by would all tell the same.
async fn tell_of_the_bus(desk: Arc<Desk>, stop: CancellationToken) {
    let mut watch = desk.watch.lock().await;
    let telling = watch.run(|| desk.bus.is_connected(), || desk.seen.borrow().chat);
    stop.run_until_cancelled(telling).await;
}
