//! Says how well the process is: one line in its log every five minutes, and every change of its grade
//! at once and once, to the log and to whoever asked to hear of it. How the grade follows is in
//! `condition`; who answers Docker's health check is `health`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::heartbeat::Health;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::condition::Condition;
use crate::progress::Progress;

/// Between two lines in the log.
pub const EVERY: Duration = Duration::from_mins(5);
/// How soon a change is noticed.
const LOOK: Duration = Duration::from_secs(1);

/// The grade has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What it was.
    pub from: Health,
    /// How long it was that.
    pub after: Duration,
    /// What it is now, and why.
    pub to: Condition,
}

/// Called with every change. It must not wait: it sends an event to a queue.
pub type OnChange = Box<dyn FnMut(&Change) + Send>;

/// Reports on one process.
pub struct HealthReport {
    progress: Arc<Progress>,
    on_change: OnChange,
    told: Health,
    since: Instant,
    due: Instant,
}

impl HealthReport {
    /// Counts as healthy, and its first line is due in five minutes.
    pub fn new(progress: Arc<Progress>, on_change: impl FnMut(&Change) + Send + 'static) -> Self {
        Self::starting_at(Instant::now(), progress, Box::new(on_change))
    }

    fn starting_at(now: Instant, progress: Arc<Progress>, on_change: OnChange) -> Self {
        Self {
            progress,
            on_change,
            told: Health::Healthy,
            since: now,
            due: now + EVERY,
        }
    }

    /// Reports until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.look(Instant::now());
        }
    }

    /// One look: tells a change; says the line when it is due. Whether it was.
    fn look(&mut self, now: Instant) -> bool {
        let condition = self.progress.condition_at(now);
        if condition.health != self.told {
            let change = Change {
                from: std::mem::replace(&mut self.told, condition.health),
                after: now.saturating_duration_since(self.since),
                to: condition.clone(),
            };
            self.since = now;
            tell(&change);
            (self.on_change)(&change);
        }
        let due = now >= self.due;
        if due {
            self.due = now + EVERY;
            self.say(&condition);
        }
        due
    }

    fn say(&self, condition: &Condition) {
        let turns = |part: &protocol::heartbeat::Part| part.turns;
        let loops: u64 = self.progress.parts().values().map(turns).sum();
        let last = self.progress.last_error();
        let last = last.map(|error| format!("{} {}: {}", error.at, error.part, error.text));
        tracing::info!(
            status = condition.health.as_str(),
            why = condition.why,
            uptime = ?Duration::from_secs(self.progress.uptime().as_secs()),
            loops,
            errors = self.progress.errors(),
            errors_last_hour = condition.errors_last_hour,
            last_error = last,
            "health"
        );
    }
}

fn tell(change: &Change) {
    let (from, to) = (change.from.as_str(), change.to.health.as_str());
    let why = change.to.why.as_deref();
    if change.to.health > change.from {
        tracing::warn!(from, to, why, "health is worse");
    } else {
        tracing::info!(from, to, why, after = ?change.after, "health is better");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    const SECOND: Duration = Duration::from_secs(1);

    type Heard = Arc<Mutex<Vec<Change>>>;

    fn report() -> (Instant, HealthReport, Arc<Progress>, Heard) {
        let progress = Arc::new(Progress::default());
        let begin = Instant::now();
        let heard = Heard::default();
        let ear = Arc::clone(&heard);
        let on_change = Box::new(move |change: &Change| ear.lock().unwrap().push(change.clone()));
        let report = HealthReport::starting_at(begin, Arc::clone(&progress), on_change);
        (begin, report, progress, heard)
    }

    #[test]
    fn a_line_is_due_every_five_minutes_and_a_pause_is_not_made_up_for() {
        let (begin, mut report, _progress, heard) = report();
        let mut lines = Vec::new();
        for second in (0..=900).chain([9_000, 9_001, 9_299, 9_300]) {
            if report.look(begin + second * SECOND) {
                lines.push(second);
            }
        }
        assert_eq!(lines, [300, 600, 900, 9_000, 9_300]);
        assert_eq!(*heard.lock().unwrap(), []);
    }

    #[test]
    fn every_change_is_told_at_once_and_once() {
        let (begin, mut report, progress, heard) = report();
        for minute in 0..120 {
            if minute == 10 {
                (0..11).for_each(|_| progress.error("feed", "stream ended"));
            }
            if minute == 20 {
                (0..40).for_each(|_| progress.error("feed", "stream ended"));
            }
            for second in [0, 20, 40] {
                report.look(begin + Duration::from_secs(minute * 60 + second));
            }
        }
        let found: Vec<_> = heard
            .lock()
            .unwrap()
            .iter()
            .map(|change| (change.from, change.to.health, change.after.as_secs() / 60))
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
    async fn it_ends_when_it_is_told_to() {
        let (_, report, progress, heard) = report();
        progress.critical_when(|| Some("stale".to_owned()));
        let stop = CancellationToken::new();
        let told = async {
            while heard.lock().unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
            stop.cancel();
        };
        tokio::time::timeout(5 * SECOND, async {
            tokio::join!(report.run(stop.clone()), told)
        })
        .await
        .unwrap();
        assert_eq!(heard.lock().unwrap()[0].to.why.as_deref(), Some("stale"));
    }
}
