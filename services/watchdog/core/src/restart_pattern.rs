//! Patterns of many restarts: a regular interval, a fixed minute of the hour, or each after a deployment. They name what
//! single failures do not show, and decide nothing.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Duration;

use protocol::duration::format_duration;
use protocol::time::UtcMs;

const MINUTE_MS: i64 = 60_000;
const MINUTES_PER_HOUR: i64 = 60;
/// Distance from a minute of the hour at which a restart still belongs to it, in minutes.
const NEAR_MINUTES: i64 = 2;

/// A restart after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecentRestart {
    /// Time of the decision, by the wall clock of the watchdog.
    pub at: UtcMs,
    /// The run that failed was the first one of its container.
    pub is_after_deployment: bool,
}

/// The patterns of these restarts with their ages, oldest first, each as `, ` and a clause. Empty without a pattern.
pub fn describe(restarts: &[(Duration, RecentRestart)]) -> String {
    let interval = regular_interval(restarts);
    let patterns = [
        interval.map(|interval| format!("about every {}", format_duration(interval))),
        minute_of_hour(restarts).map(|minute| match minute {
            0 => "at the full hour".to_owned(),
            minute => format!("at minute {minute} of the hour"),
        }),
        is_after_deployments(restarts).then(|| "each after a deployment".to_owned()),
    ];
    let clauses = patterns.into_iter().flatten();
    clauses
        .flat_map(|clause| [", ".to_owned(), clause])
        .collect()
}

/// The interval between the restarts, rounded to a minute. `None` if the intervals differ.
fn regular_interval(restarts: &[(Duration, RecentRestart)]) -> Option<Duration> {
    let mut gaps: Vec<Duration> = restarts
        .windows(2)
        .map(|pair| pair[0].0.saturating_sub(pair[1].0))
        .collect();
    gaps.sort();
    let median = *gaps.get(gaps.len() / 2)?;
    let near = gaps.iter().filter(|gap| gap.abs_diff(median) <= median / 5);
    let minutes = (median.as_secs() + 30) / 60;
    (are_most(near.count(), gaps.len()) && minutes > 0).then(|| Duration::from_secs(minutes * 60))
}

/// The minute of the hour near which the restarts are, in different hours. `None` if there is none.
fn minute_of_hour(restarts: &[(Duration, RecentRestart)]) -> Option<i64> {
    let minutes = restarts
        .iter()
        .map(|(_, restart)| restart.at.0.div_euclid(MINUTE_MS));
    let minutes: Vec<i64> = minutes.collect();
    let distance = |minute: i64, center: i64| {
        let distance = (minute - center).rem_euclid(MINUTES_PER_HOUR);
        distance.min(MINUTES_PER_HOUR - distance)
    };
    let near = |center: i64| {
        let is_near = move |minute: &&i64| distance(**minute, center) <= NEAR_MINUTES;
        minutes.iter().filter(is_near)
    };
    let best = || {
        (0..MINUTES_PER_HOUR).max_by_key(|center| {
            let total: i64 = near(*center).map(|minute| distance(*minute, *center)).sum();
            (near(*center).count(), Reverse(total))
        })
    };
    let is_full_hour = are_most(near(0).count(), minutes.len());
    let center = if is_full_hour { 0 } else { best()? };
    let hours: BTreeSet<i64> = near(center)
        .map(|minute| (minute + MINUTES_PER_HOUR / 2).div_euclid(MINUTES_PER_HOUR))
        .collect();
    let is_fixed = are_most(near(center).count(), minutes.len());
    (is_fixed && hours.len() * 2 >= minutes.len()).then_some(center)
}

fn is_after_deployments(restarts: &[(Duration, RecentRestart)]) -> bool {
    let deployed = restarts
        .iter()
        .filter(|(_, restart)| restart.is_after_deployment);
    are_most(deployed.count(), restarts.len())
}

/// At least four of five.
const fn are_most(part: usize, whole: usize) -> bool {
    whole > 0 && part * 5 >= whole * 4
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Restarts at these minutes of a day.
    fn restarts(minutes: &[i64], is_after_deployment: bool) -> Vec<(Duration, RecentRestart)> {
        let last = *minutes.last().unwrap();
        let restart = |&minute: &i64| {
            let age = u64::try_from(last - minute).unwrap();
            let at = UtcMs((1_700_006_400_000 / 3_600_000 * 60 + minute) * MINUTE_MS);
            let restart = RecentRestart {
                at,
                is_after_deployment,
            };
            (Duration::from_mins(age), restart)
        };
        minutes.iter().map(restart).collect()
    }

    #[test]
    fn patterns_of_many_restarts_are_named() {
        let hourly: Vec<i64> = (1..=11).map(|hour| hour * 60 + hour % 2).collect();
        let some_hours: Vec<i64> = [0, 1, 2, 5, 6, 9, 10, 11, 15, 17, 22]
            .map(|hour| hour * 60 - 1)
            .to_vec();
        let half_past: Vec<i64> = [0, 1, 2, 5, 6, 9, 10, 11, 15, 17, 22]
            .map(|hour| hour * 60 + 30)
            .to_vec();
        let eleven: Vec<i64> = (0..11).map(|n| n * 11).collect();
        let burst: Vec<i64> = vec![5; 11];
        let irregular = vec![0, 3, 50, 55, 130, 200, 222, 300, 333, 390, 700];
        for (minutes, deployed, expected) in [
            (&hourly, false, ", about every 1h, at the full hour"),
            (&some_hours, false, ", at the full hour"),
            (&half_past, false, ", at minute 30 of the hour"),
            (&eleven, false, ", about every 11m"),
            (&burst, false, ""),
            (&irregular, false, ""),
            (&irregular, true, ", each after a deployment"),
        ] {
            let found = describe(&restarts(minutes, deployed));
            assert_eq!(found, expected, "{minutes:?}");
        }
    }
}
