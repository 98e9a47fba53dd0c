//! One turn as the notifier that tells the owner: replay, take over, then wait, decide, append, act,
//! until told to stop or until another notifier writes. What to decide is the brain's business.

mod commands;
mod periodic;

use std::sync::Arc;
use std::time::{Duration, Instant};

use notifier_core::bus_outage::OutageSpan;
use notifier_core::clock_reading::ClockReading;
use notifier_core::command_intake::CommandResult;
use notifier_core::decide::{self, Outcome};
use notifier_core::fallback;
use notifier_core::record::DeliveryRecord;
use notifier_core::send_limiter::SendLimiter;
use notifier_core::state::DeliveryState;
use notifier_core::summary;
use notifier_core::watchdog_outage::WatchdogOutage;
use protocol::heartbeat::ComponentState;
use protocol::subject::Subject;
use protocol::time::UtcMs;
use runtime::bus::Bus;
use runtime::clock;
use runtime::components::{ComponentHandle, ProcessStatus};
use runtime::identity::Identity;
use runtime::journal::Journal;
use runtime::leader_election::TermEnd;
use runtime::outbox::{Outbox, OutboxCursor};
use runtime::process::ExitError;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::bus_outage_task::BusOutageMonitor;
use crate::channel::Channel;
use crate::dead_man_ping::DeadManSwitch;
use crate::event_consumer::FetchedEvents;
use crate::fallback_sender::FallbackSender;
use crate::resend::PendingResend;
use crate::{report_reader, update_poller};

/// The loop turns at least this often.
const TICK: Duration = Duration::from_secs(1);
/// When told to stop: time for what is still coming in and going out.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Nothing came in for this long: nobody else is saying goodbye.
const QUIET_PERIOD: Duration = Duration::from_millis(1_500);
/// The name of this part in heartbeats.
pub const COMPONENT: &str = "dispatcher";

/// What telling needs, made once.
pub struct DispatcherDeps {
    /// The bus.
    pub bus: Bus,
    /// The way to the owner.
    pub channel: Channel,
    /// The second one, for criticals.
    pub fallback: Option<FallbackSender>,
    /// The dead man's switch.
    pub dead_man_switch: Option<DeadManSwitch>,
    /// What tells that the bus is away; used by one turn at a time.
    pub bus_outage_monitor: Mutex<BusOutageMonitor>,
    /// When it was away last.
    pub bus_outage: watch::Receiver<Option<OutageSpan>>,
    /// What the courier last saw.
    pub status: watch::Sender<DeliveryStatus>,
    /// Who we are.
    pub identity: Identity,
    /// What everybody may know of the owner's orders.
    pub outbox: Outbox,
    /// For heartbeats.
    pub process_status: Arc<ProcessStatus>,
    /// Time between two heartbeat messages, in milliseconds.
    pub summary_interval_ms: u64,
}

/// What a courier lets others see of its turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeliveryStatus {
    /// The watchdog is heard within its time.
    pub is_watchdog_alive: bool,
    /// Since when the oldest critical waits that Telegram has not taken.
    pub oldest_critical_at: Option<UtcMs>,
    /// The last delivery did what it should.
    pub last_delivery_succeeded: bool,
    /// The chat to write to.
    pub chat: Option<i64>,
}

/// What comes in from outside.
pub struct DispatcherInputs {
    /// Events from the bus.
    pub events: mpsc::Receiver<FetchedEvents>,
    /// What people say to the bot.
    pub updates: mpsc::Receiver<update_poller::FetchedUpdates>,
    /// What is to be sent again.
    pub resend_requests: mpsc::Receiver<PendingResend>,
}

/// The fold of the journal, its writing end, and the call under way.
pub struct Dispatcher {
    deps: Arc<DispatcherDeps>,
    component: Arc<ComponentHandle>,
    journal: Journal,
    state: DeliveryState,
    channel_limiter: SendLimiter,
    channel_calls: JoinSet<Outcome>,
    /// The same for the fallback.
    fallback_limiter: SendLimiter,
    fallback_calls: JoinSet<Outcome>,
    update_queue: commands::UpdateQueue,
    /// Answers to pressed buttons: nothing depends on them.
    callback_replies: JoinSet<()>,
    /// The order that is being carried out; one at a time.
    running_commands: JoinSet<CommandResult>,
    outbox_cursor: Arc<OutboxCursor>,
    started_at: Instant,
    last_input_at: Instant,
    watchdog_outage: WatchdogOutage,
    next_watchdog_check_ms: u64,
    /// The newest period that needs no heartbeat any more.
    summary_period: u64,
    /// The last call did not do what it should.
    last_delivery_failed: bool,
}

impl Dispatcher {
    /// Replays the journal and takes it over.
    ///
    /// # Errors
    /// [`TermEnd`].
    pub async fn recover(desk: Arc<DispatcherDeps>) -> Result<Self, TermEnd> {
        let writer = desk.identity.boot.clone();
        let wait = |why: &str| desk.process_status.record_error(COMPONENT, why);
        let replayed =
            Journal::replay_with_retry(&desk.bus, &Subject::NotifierJournal, writer, 0, wait).await;
        let (journal, entries) = replayed?;
        let mut state = DeliveryState::default();
        for stored in &entries {
            state.fold(&stored.batch).map_err(|newer| {
                let line = format!("journal sequence {}: version {}", stored.seq, newer.0);
                TermEnd::Failed(ExitError::config(format!(
                    "{line} is newer than this program's"
                )))
            })?;
        }
        let confirmed = commands::republish_events(&desk.outbox, &entries);
        let now = clock::now();
        let mut dispatcher = Self {
            component: desk.process_status.component(COMPONENT),
            channel_limiter: SendLimiter::new(desk.channel.limits()),
            channel_calls: JoinSet::new(),
            fallback_limiter: SendLimiter::new(fallback::LIMITS),
            fallback_calls: JoinSet::new(),
            update_queue: commands::UpdateQueue::default(),
            callback_replies: JoinSet::new(),
            running_commands: JoinSet::new(),
            outbox_cursor: confirmed,
            started_at: Instant::now(),
            last_input_at: Instant::now(),
            watchdog_outage: WatchdogOutage::new(0),
            next_watchdog_check_ms: 0,
            summary_period: summary::last_settled_period(
                state.summary_period,
                now,
                desk.summary_interval_ms,
            ),
            last_delivery_failed: false,
            journal,
            state,
            deps: desk,
        };
        let identity = &dispatcher.deps.identity;
        let (boot, instance) = (identity.boot.clone(), identity.instance.clone());
        let version = env!("CARGO_PKG_VERSION");
        let records = decide::writer_changed(&dispatcher.state, boot, instance, version, now);
        dispatcher.commit(records).await?;
        tracing::info!(
            to = dispatcher.deps.channel.describe(),
            waiting = dispatcher.state.queued.len(),
            sent = dispatcher.state.message_counts.sent,
            "telling the owner"
        );
        Ok(dispatcher)
    }

    /// Tells until `stop`, then what is left and still comes in, for a few seconds.
    pub async fn run(
        mut self,
        mut inputs: DispatcherInputs,
        shutdown: CancellationToken,
    ) -> TermEnd {
        let telling = async {
            while !shutdown.is_cancelled() {
                self.run_iteration(&mut inputs, &shutdown).await?;
            }
            self.channel_limiter.skip_group_wait();
            self.last_input_at = Instant::now();
            let never = CancellationToken::new();
            while !self.is_drained() {
                self.run_iteration(&mut inputs, &never).await?;
            }
            Ok(())
        };
        let patience_is_over = async {
            shutdown.cancelled().await;
            tokio::time::sleep(DRAIN_TIMEOUT).await;
        };
        // Between two turns nothing is under way; a turn is cut off only when patience is over.
        tokio::select! {
            biased;
            told = telling => told.err().unwrap_or(TermEnd::Stopped),
            () = patience_is_over => {
                tracing::warn!("left with something untold; it is told after the next start");
                TermEnd::Stopped
            }
        }
    }

    fn is_drained(&self) -> bool {
        let DeliveryState {
            queued: waiting,
            in_flight: sending,
            ..
        } = &self.state;
        let quiet = self.running_commands.is_empty() && self.last_input_at.elapsed() > QUIET_PERIOD;
        waiting.is_empty() && sending.is_none() && quiet
    }

    /// Begins what is due, waits for the next thing to happen, and records it.
    async fn run_iteration(
        &mut self,
        inputs: &mut DispatcherInputs,
        shutdown: &CancellationToken,
    ) -> Result<(), TermEnd> {
        self.record_outage(None).await?;
        self.flush_inhibited().await?;
        self.end_expired_silences().await?;
        self.queue_summary().await?;
        self.check_watchdog().await?;
        self.process_next_update().await?;
        self.send_next().await?;
        self.send_fallback().await?;
        let wait = self.time_until_wake();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            ended = next_finished(&mut self.channel_calls) => self.on_channel_outcome(ended).await?,
            ended = next_finished(&mut self.fallback_calls) => self.on_fallback_outcome(ended).await?,
            ended = next_finished(&mut self.running_commands) => self.on_command_result(ended).await?,
            Some(batch) = inputs.updates.recv(), if self.update_queue.is_idle() && !shutdown.is_cancelled() => {
                self.update_queue.accept(batch);
            }
            Some(wish) = inputs.resend_requests.recv() => self.resend_dead_letters(wish).await?,
            Some(batch) = inputs.events.recv() => self.enqueue_events(batch).await?,
            () = tokio::time::sleep(wait) => {}
        }
        self.component.record_iteration();
        self.publish_status();
        if self.last_delivery_failed {
            self.component.set_state(ComponentState::Retrying);
        }
        Ok(())
    }

    fn publish_status(&self) {
        let chat = self.deps.channel.chat();
        self.deps.status.send_replace(DeliveryStatus {
            is_watchdog_alive: self.watchdog_outage.is_watchdog_alive(self.now().mono),
            oldest_critical_at: fallback::oldest_critical(&self.state),
            last_delivery_succeeded: !self.last_delivery_failed,
            chat: chat.map(|set| self.state.current_chat(set)),
        });
    }

    fn now(&self) -> ClockReading {
        ClockReading {
            utc: clock::now(),
            mono: u64::try_from(self.started_at.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// How long nothing has to be decided.
    fn time_until_wake(&self) -> Duration {
        let wake = decide::wake_at(&self.state, &self.channel_limiter);
        let wait = wake.map(|wake| Duration::from_millis(wake.saturating_sub(self.now().mono)));
        wait.map_or(TICK, |wait| wait.min(TICK))
    }

    async fn enqueue_events(&mut self, batch: FetchedEvents) -> Result<(), TermEnd> {
        self.last_input_at = Instant::now();
        // The bus brings something: it is back, whoever looks at it may not have noticed yet.
        self.record_outage(Some(clock::now())).await?;
        let chat = self
            .deps
            .channel
            .chat()
            .map(|set| self.state.current_chat(set));
        for records in decide::enqueue_events(&self.state, &batch.events, chat, clock::now()) {
            self.commit(records).await?;
        }
        // Journaled, or known from before.
        batch.acknowledge().await;
        Ok(())
    }

    /// Decide, append, apply, act: in this order, always.
    async fn send_next(&mut self) -> Result<(), TermEnd> {
        let now = self.now();
        self.channel_limiter
            .note_waiting(decide::has_groupable(&self.state), now.mono);
        let Some(record) = decide::next_message(&self.state, &self.channel_limiter, now) else {
            return Ok(());
        };
        self.commit(vec![record]).await?;
        let Some(mut message) = decide::message_in_flight(&self.state, clock::now()) else {
            return Ok(());
        };
        self.channel_limiter.note_sent(self.now().mono);
        let channel = self.deps.channel.clone();
        let chat = channel.chat().map(|set| self.state.current_chat(set));
        message.chat = message.chat.map(|chat| self.state.current_chat(chat));
        let bus = self.deps.bus.clone();
        self.channel_calls.spawn(async move {
            let png = if message.has_picture {
                report_reader::equity_chart(&bus).await
            } else {
                None
            };
            channel.send(chat, &message, png.as_deref()).await
        });
        Ok(())
    }

    /// The same order over the fallback, if there is one.
    async fn send_fallback(&mut self) -> Result<(), TermEnd> {
        let Some(way) = self.deps.fallback.clone() else {
            return Ok(());
        };
        let (shut, now) = (self.channel_limiter.is_channel_rejected(), self.now());
        let Some(record) = fallback::next_critical(&self.state, shut, &self.fallback_limiter, now)
        else {
            return Ok(());
        };
        self.commit(vec![record]).await?;
        let Some(parcel) = fallback::message_in_flight(&self.state, clock::now()) else {
            return Ok(());
        };
        self.fallback_limiter.note_sent(self.now().mono);
        self.fallback_calls
            .spawn(async move { way.send(&parcel).await });
        Ok(())
    }

    async fn on_fallback_outcome(
        &mut self,
        ended: Result<Outcome, JoinError>,
    ) -> Result<(), TermEnd> {
        let outcome = outcome_of_call(ended);
        self.fallback_limiter
            .note_outcome(&outcome, self.now().mono);
        match outcome.error() {
            None => tracing::warn!("a critical went over the fallback: Telegram does not take it"),
            Some(why) => {
                tracing::error!(why, "a critical did not go over the fallback");
                self.deps
                    .process_status
                    .record_error(COMPONENT, format!("fallback: {why}"));
            }
        }
        self.commit(vec![fallback::outcome_record(&outcome)]).await
    }

    async fn on_channel_outcome(
        &mut self,
        ended: Result<Outcome, JoinError>,
    ) -> Result<(), TermEnd> {
        let outcome = outcome_of_call(ended);
        self.channel_limiter.note_outcome(&outcome, self.now().mono);
        self.log_outcome(&outcome);
        self.commit(vec![decide::outcome_record(&outcome)]).await
    }

    fn log_outcome(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Delivered {
                message_id: message,
            } => tracing::debug!(message, "told"),
            Outcome::Unknown { error: why } => {
                tracing::warn!(
                    why,
                    "a message may have arrived or not; it is repeated, marked"
                );
            }
            Outcome::Retryable {
                error: why,
                wait_ms,
            } => {
                tracing::warn!(why, wait_ms, "a message did not arrive; it waits");
            }
            Outcome::ChannelRejected { error: why } => {
                tracing::error!(
                    why,
                    "nothing can be told until a person mends this; it waits"
                );
            }
            Outcome::MessageRejected { error: why } => {
                let heads = self
                    .state
                    .in_flight
                    .iter()
                    .flat_map(|s| s.notifications.values());
                let heads: Vec<&str> = heads.map(|w| w.notification.title.as_str()).collect();
                tracing::error!(
                    why,
                    ?heads,
                    "refused for what it says; it is not sent again"
                );
            }
            Outcome::ChatMigrated { from, to } => {
                tracing::warn!(
                    from,
                    to,
                    "the chat has moved; set TELEGRAM_CHAT_ID to the new one"
                );
            }
        }
        let trouble = outcome.error();
        self.last_delivery_failed = trouble.is_some();
        if let Some(why) = trouble {
            self.deps.process_status.record_error(COMPONENT, why);
        }
    }

    async fn commit(&mut self, records: Vec<DeliveryRecord>) -> Result<(), TermEnd> {
        let (progress, part) = (&self.deps.process_status, &self.component);
        let confirmed = self.outbox_cursor.seq();
        let appended = self.journal.append(&records, confirmed, |why| {
            part.set_state(ComponentState::Retrying);
            progress.record_error(COMPONENT, format!("journal: {why}"));
            tracing::warn!(why, "journal not reached; nothing is told until it is");
        });
        let place = appended.await?;
        for record in &records {
            self.state.apply(place.at, record);
        }
        commands::publish_events(&self.deps.outbox, &place, &records, &self.outbox_cursor);
        Ok(())
    }
}

fn outcome_of_call(ended: Result<Outcome, JoinError>) -> Outcome {
    ended.unwrap_or_else(|error| Outcome::Unknown {
        error: format!("bug: {error}"),
    })
}

async fn next_finished<T: 'static>(calls: &mut JoinSet<T>) -> Result<T, JoinError> {
    match calls.join_next().await {
        Some(ended) => ended,
        None => std::future::pending().await,
    }
}
