//! One term as the leading notifier: replays the journal, becomes its writer, then waits for an input, lets the core
//! decide, appends the records and acts, until it is stopped or fenced by another notifier.

mod command_events;
mod commands;
mod periodic;
mod update_queue;

use std::sync::Arc;
use std::time::{Duration, Instant};

use notifier_core::command_intake::CommandResult;
use notifier_core::decide;
use notifier_core::fallback;
use notifier_core::model::{OutageSpan, Outcome};
use notifier_core::record::DeliveryRecord;
use notifier_core::send_limiter::SendLimiter;
use notifier_core::state::DeliveryState;
use notifier_core::summary;
use notifier_core::watchdog_outage::WatchdogOutage;
use protocol::heartbeat::ComponentState;
use protocol::subject::Subject;
use protocol::time::ClockReading;
use runtime::bus::Bus;
use runtime::clock::{self, Clock};
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
use crate::delivery_status::{COMPONENT, DeliveryStatus};
use crate::event_consumer::FetchedEvents;
use crate::fallback_sender::FallbackSender;
use crate::resend::PendingResend;
use crate::{report_reader, update_poller};

use self::update_queue::UpdateQueue;

/// Longest time between two iterations.
const TICK: Duration = Duration::from_secs(1);
/// Time at shutdown for inputs and messages that are still due.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Time without inputs after which a shutdown is complete.
const QUIET_PERIOD: Duration = Duration::from_millis(1_500);
/// Dependencies of the dispatcher.
pub struct DispatcherDeps {
    /// Connection to the bus.
    pub bus: Bus,
    /// Channel to the operator.
    pub channel: Channel,
    /// Fallback for critical notifications; `None` without one.
    pub fallback: Option<FallbackSender>,
    /// Dead man's switch; `None` without one.
    pub dead_man_switch: Option<DeadManSwitch>,
    /// Monitor of the bus; used by one term at a time.
    pub bus_outage_monitor: Mutex<BusOutageMonitor>,
    /// The current or last outage of the bus.
    pub bus_outage: watch::Receiver<Option<OutageSpan>>,
    /// State of delivery, for other tasks.
    pub status: watch::Sender<DeliveryStatus>,
    /// Identity of this process.
    pub identity: Identity,
    /// Events about commands, to be published.
    pub outbox: Outbox,
    /// Component state, for heartbeats.
    pub process_status: Arc<ProcessStatus>,
    /// Time between two summaries, in milliseconds.
    pub summary_interval_ms: u64,
}

/// Inputs of the dispatcher.
pub struct DispatcherInputs {
    /// Events from the bus.
    pub events: mpsc::Receiver<FetchedEvents>,
    /// Commands and button presses from Telegram.
    pub updates: mpsc::Receiver<update_poller::FetchedUpdates>,
    /// Requests to send dead letters again.
    pub resend_requests: mpsc::Receiver<PendingResend>,
}

/// State and journal of the leading notifier, with its calls in flight.
pub struct Dispatcher {
    deps: Arc<DispatcherDeps>,
    component: Arc<ComponentHandle>,
    journal: Journal,
    state: DeliveryState,
    channel_limiter: SendLimiter,
    channel_calls: JoinSet<Outcome>,
    /// Rate of the fallback.
    fallback_limiter: SendLimiter,
    fallback_calls: JoinSet<Outcome>,
    update_queue: UpdateQueue,
    /// Replies to pressed buttons; their outcome is ignored.
    callback_replies: JoinSet<()>,
    /// The running command; one at a time.
    running_commands: JoinSet<CommandResult>,
    outbox_cursor: Arc<OutboxCursor>,
    clock: Clock,
    last_input_at: Instant,
    watchdog_outage: WatchdogOutage,
    next_watchdog_check_ms: u64,
    /// Newest period that needs no summary.
    summary_period: u64,
    /// Whether the last call to Telegram failed.
    last_delivery_failed: bool,
}

impl Dispatcher {
    /// Replays the journal and becomes its writer.
    ///
    /// # Errors
    /// [`TermEnd`] if the journal is fenced or cannot be read.
    pub async fn recover(deps: Arc<DispatcherDeps>) -> Result<Self, TermEnd> {
        let writer = deps.identity.boot.clone();
        let on_error = |error: &str| deps.process_status.record_error(COMPONENT, error);
        let replayed =
            Journal::replay_with_retry(&deps.bus, &Subject::NotifierJournal, writer, 0, on_error)
                .await;
        let (journal, entries) = replayed?;
        let mut state = DeliveryState::default();
        for stored in &entries {
            state.fold(&stored.batch).map_err(|newer| {
                TermEnd::Failed(ExitError::config(format!(
                    "journal sequence {}: version {} is newer than this program; update the notifier",
                    stored.seq, newer.0
                )))
            })?;
        }
        let outbox_cursor = command_events::republish_events(&deps.outbox, &entries);
        let now = clock::now();
        let mut dispatcher = Self {
            component: deps.process_status.component(COMPONENT),
            channel_limiter: SendLimiter::new(deps.channel.limits()),
            channel_calls: JoinSet::new(),
            fallback_limiter: SendLimiter::new(fallback::LIMITS),
            fallback_calls: JoinSet::new(),
            update_queue: UpdateQueue::default(),
            callback_replies: JoinSet::new(),
            running_commands: JoinSet::new(),
            outbox_cursor,
            clock: Clock::start(),
            last_input_at: Instant::now(),
            watchdog_outage: WatchdogOutage::new(0),
            next_watchdog_check_ms: 0,
            summary_period: summary::last_settled_period(
                state.summary_period,
                now,
                deps.summary_interval_ms,
            ),
            last_delivery_failed: false,
            journal,
            state,
            deps,
        };
        let identity = &dispatcher.deps.identity;
        let (boot, instance) = (identity.boot.clone(), identity.instance.clone());
        let version = env!("CARGO_PKG_VERSION");
        let records = decide::writer_changed(&dispatcher.state, boot, instance, version, now);
        dispatcher.commit(records).await?;
        tracing::info!(
            channel = dispatcher.deps.channel.describe(),
            queued = dispatcher.state.queued.len(),
            sent = dispatcher.state.message_counts.sent,
            "became leader; sending notifications"
        );
        Ok(dispatcher)
    }

    /// Runs until `shutdown`, then drains inputs and messages for a few seconds.
    pub async fn run(
        mut self,
        mut inputs: DispatcherInputs,
        shutdown: CancellationToken,
    ) -> TermEnd {
        let iterations = async {
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
        let drain_expired = async {
            shutdown.cancelled().await;
            tokio::time::sleep(DRAIN_TIMEOUT).await;
        };
        // An iteration is only interrupted when the drain has expired.
        tokio::select! {
            biased;
            ended = iterations => ended.err().unwrap_or(TermEnd::Stopped),
            () = drain_expired => {
                tracing::warn!("shutdown grace period expired; queued notifications are sent after the next start");
                TermEnd::Stopped
            }
        }
    }

    fn is_drained(&self) -> bool {
        let is_quiet =
            self.running_commands.is_empty() && self.last_input_at.elapsed() > QUIET_PERIOD;
        self.state.queued.is_empty() && self.state.in_flight.is_none() && is_quiet
    }

    /// Starts what is due, waits for the next input, and records it.
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
            Some(request) = inputs.resend_requests.recv() => self.resend_dead_letters(request).await?,
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
        self.deps.status.send_replace(DeliveryStatus {
            is_watchdog_alive: self.watchdog_outage.is_watchdog_alive(self.now().mono),
            oldest_critical_at: fallback::oldest_critical(&self.state),
            last_delivery_succeeded: !self.last_delivery_failed,
            chat: self.chat(),
        });
    }

    /// Id of the chat after a migration; `None` without Telegram.
    fn chat(&self) -> Option<i64> {
        let configured = self.deps.channel.chat()?;
        Some(self.state.current_chat(configured))
    }

    fn now(&self) -> ClockReading {
        self.clock.read()
    }

    /// Time until the next decision without an input.
    fn time_until_wake(&self) -> Duration {
        let wake = decide::wake_at(&self.state, &self.channel_limiter);
        let wait = wake.map(|wake| Duration::from_millis(wake.saturating_sub(self.now().mono)));
        wait.map_or(TICK, |wait| wait.min(TICK))
    }

    async fn enqueue_events(&mut self, batch: FetchedEvents) -> Result<(), TermEnd> {
        self.last_input_at = Instant::now();
        // An event proves that the bus works again, before the monitor has noticed.
        self.record_outage(Some(clock::now())).await?;
        let audience = self.deps.channel.audience(self.chat());
        for records in decide::enqueue_events(&self.state, &batch.events, audience, clock::now()) {
            self.commit(records).await?;
        }
        // All of them are journaled or known.
        batch.acknowledge().await;
        Ok(())
    }

    /// Sends the next message, in this order: decide, append, fold, act.
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
        let chat = self.chat();
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

    /// Sends the next critical notification by the fallback, in the same order.
    async fn send_fallback(&mut self) -> Result<(), TermEnd> {
        let Some(fallback_sender) = self.deps.fallback.clone() else {
            return Ok(());
        };
        let (is_rejected, now) = (self.channel_limiter.is_channel_rejected(), self.now());
        let limiter = &self.fallback_limiter;
        let Some(record) = fallback::next_critical(&self.state, is_rejected, limiter, now) else {
            return Ok(());
        };
        self.commit(vec![record]).await?;
        let Some(message) = fallback::message_in_flight(&self.state, clock::now()) else {
            return Ok(());
        };
        self.fallback_limiter.note_sent(self.now().mono);
        self.fallback_calls
            .spawn(async move { fallback_sender.send(&message).await });
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
            None => tracing::warn!(
                "critical notification sent by the fallback; Telegram does not accept it"
            ),
            Some(error) => {
                tracing::error!(error, "fallback failed for a critical notification");
                self.deps
                    .process_status
                    .record_error(COMPONENT, format!("fallback: {error}"));
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
            Outcome::Delivered { message_id } => tracing::debug!(message_id, "message sent"),
            Outcome::Unknown { error } => {
                tracing::warn!(
                    error,
                    "delivery outcome unknown; resending, flagged as possible repeat"
                );
            }
            Outcome::Retryable { error, wait_ms } => {
                tracing::warn!(error, wait_ms, "delivery failed; retrying");
            }
            Outcome::ChannelRejected { error } => {
                tracing::error!(
                    error,
                    "Telegram rejected token or chat; notifications are queued until the configuration is fixed"
                );
            }
            Outcome::MessageRejected { error } => {
                let in_flight = self.state.in_flight.iter();
                let titles: Vec<&str> = in_flight
                    .flat_map(|message| message.notifications.values())
                    .map(|queued| queued.notification.title.as_str())
                    .collect();
                tracing::error!(
                    error,
                    ?titles,
                    "Telegram rejected the message; moved to dead letters"
                );
            }
            Outcome::ChatMigrated { from, to } => {
                tracing::warn!(from, to, "chat has a new id; set TELEGRAM_CHAT_ID to it");
            }
        }
        let error = outcome.error();
        self.last_delivery_failed = error.is_some();
        if let Some(error) = error {
            self.deps.process_status.record_error(COMPONENT, error);
        }
    }

    async fn commit(&mut self, records: Vec<DeliveryRecord>) -> Result<(), TermEnd> {
        let (process_status, component) = (&self.deps.process_status, &self.component);
        let published_seq = self.outbox_cursor.seq();
        let append = self.journal.append(&records, published_seq, |error| {
            component.set_state(ComponentState::Retrying);
            process_status.record_error(COMPONENT, format!("journal: {error}"));
            tracing::warn!(
                error,
                "journal unavailable; nothing is sent until it is available"
            );
        });
        let position = append.await?;
        for record in &records {
            self.state.apply(position.at, record);
        }
        let (outbox, cursor) = (&self.deps.outbox, &self.outbox_cursor);
        command_events::publish_events(outbox, &position, &records, cursor);
        Ok(())
    }
}

fn outcome_of_call(ended: Result<Outcome, JoinError>) -> Outcome {
    ended.unwrap_or_else(|error| Outcome::Unknown {
        error: format!("internal error: {error}"),
    })
}

async fn next_finished<T: 'static>(calls: &mut JoinSet<T>) -> Result<T, JoinError> {
    match calls.join_next().await {
        Some(ended) => ended,
        None => std::future::pending().await,
    }
}
