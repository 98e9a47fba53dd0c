//! Logs the health of the process: one line every five minutes, and each change of its grade at once. [`HealthLogger`]
//! also calls back at each change.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::duration::format_duration;
use protocol::heartbeat::Health;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::components::ProcessStatus;
use crate::health::grade::HealthGrade;

/// Time between two health lines.
pub const LOG_INTERVAL: Duration = Duration::from_mins(5);
/// Time between two checks for a change.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Change of the health grade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GradeChange {
    /// Grade that the process had before the change.
    pub from: Health,
    /// How long the process had that grade.
    pub lasted: Duration,
    /// Grade now, with its reason.
    pub to: HealthGrade,
}

/// Callback for each change. It must not wait.
pub type OnGradeChange = Box<dyn FnMut(&GradeChange) + Send>;

/// Logger of the health of one process.
pub struct HealthLogger {
    status: Arc<ProcessStatus>,
    on_change: OnGradeChange,
    last_health: Health,
    since: Instant,
    next_line: Instant,
}

impl HealthLogger {
    /// Logger of a process that counts as healthy; the first line is due in five minutes.
    pub fn new(
        status: Arc<ProcessStatus>,
        on_change: impl FnMut(&GradeChange) + Send + 'static,
    ) -> Self {
        Self::starting_at(Instant::now(), status, Box::new(on_change))
    }

    fn starting_at(now: Instant, status: Arc<ProcessStatus>, on_change: OnGradeChange) -> Self {
        Self {
            status,
            on_change,
            last_health: Health::Healthy,
            since: now,
            next_line: now + LOG_INTERVAL,
        }
    }

    /// Logs the health every five minutes and each change at once, until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut ticks = interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            self.poll(Instant::now());
        }
    }

    /// Checks once: logs a change, and the health line if it is due. Returns whether the line was due.
    fn poll(&mut self, now: Instant) -> bool {
        let condition = self.status.health_grade_at(now);
        if condition.health != self.last_health {
            let change = GradeChange {
                from: std::mem::replace(&mut self.last_health, condition.health),
                lasted: now.saturating_duration_since(self.since),
                to: condition.clone(),
            };
            self.since = now;
            log_change(&change);
            (self.on_change)(&change);
        }
        let due = now >= self.next_line;
        if due {
            self.next_line = now + LOG_INTERVAL;
            self.log_line(&condition);
        }
        due
    }

    fn log_line(&self, condition: &HealthGrade) {
        let turns = |part: &protocol::heartbeat::ComponentStatus| part.iterations;
        let loops: u64 = self.status.components().values().map(turns).sum();
        let last = self.status.last_error();
        let last = last.map(|error| format!("{} {}: {}", error.at, error.component, error.text));
        tracing::info!(
            status = condition.health.as_str(),
            reason = condition.reason,
            uptime = %format_duration(self.status.uptime()),
            loops,
            errors = self.status.errors(),
            errors_last_hour = condition.errors_last_hour,
            last_error = last,
            "health"
        );
    }
}

fn log_change(change: &GradeChange) {
    let (from, to) = (change.from.as_str(), change.to.health.as_str());
    let reason = change.to.reason.as_deref();
    if change.to.health > change.from {
        tracing::warn!(from, to, reason, "health worse");
    } else {
        tracing::info!(from, to, reason, after = %format_duration(change.lasted), "health better");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    const SECOND: Duration = Duration::from_secs(1);

    type ReceivedChanges = Arc<Mutex<Vec<GradeChange>>>;

    fn logger() -> (Instant, HealthLogger, Arc<ProcessStatus>, ReceivedChanges) {
        let progress = Arc::new(ProcessStatus::default());
        let begin = Instant::now();
        let received = ReceivedChanges::default();
        let recorder = Arc::clone(&received);
        let on_change =
            Box::new(move |change: &GradeChange| recorder.lock().unwrap().push(change.clone()));
        let report = HealthLogger::starting_at(begin, Arc::clone(&progress), on_change);
        (begin, report, progress, received)
    }

    #[test]
    fn health_line_is_logged_every_five_minutes_also_after_a_pause() {
        let (begin, mut report, _progress, received) = logger();
        let mut lines = Vec::new();
        for second in (0..=900).chain([9_000, 9_001, 9_299, 9_300]) {
            if report.poll(begin + second * SECOND) {
                lines.push(second);
            }
        }
        assert_eq!(lines, [300, 600, 900, 9_000, 9_300]);
        assert_eq!(*received.lock().unwrap(), []);
    }

    #[test]
    fn grade_change_is_reported_at_once_and_once() {
        let (begin, mut report, progress, received) = logger();
        for minute in 0..120 {
            if minute == 10 {
                (0..11).for_each(|_| progress.record_error("feed", "stream ended"));
            }
            if minute == 20 {
                (0..40).for_each(|_| progress.record_error("feed", "stream ended"));
            }
            for second in [0, 20, 40] {
                report.poll(begin + Duration::from_secs(minute * 60 + second));
            }
        }
        let found: Vec<_> = received
            .lock()
            .unwrap()
            .iter()
            .map(|change| (change.from, change.to.health, change.lasted.as_secs() / 60))
            .collect();
        let expected = [
            (Health::Healthy, Health::Degraded, 10),
            (Health::Degraded, Health::Critical, 10),
            (Health::Critical, Health::Degraded, 50),
            (Health::Degraded, Health::Healthy, 10),
        ];
        assert_eq!(found, expected);
    }

    #[tokio::test]
    async fn health_logger_ends_on_shutdown() {
        let (_, report, progress, received) = logger();
        progress.set_critical_check(|| Some("stale".to_owned()));
        let stop = CancellationToken::new();
        let stop_after_change = async {
            while received.lock().unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
            stop.cancel();
        };
        tokio::time::timeout(5 * SECOND, async {
            tokio::join!(report.run(stop.clone()), stop_after_change)
        })
        .await
        .unwrap();
        assert_eq!(
            received.lock().unwrap()[0].to.reason.as_deref(),
            Some("stale")
        );
    }
}
