//! Streams of the bus: one table that `bus-init` creates and every service compares.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};

/// Records of all journals, kept for ever.
pub const JOURNAL: &str = "JOURNAL";
/// Folded state, which shortens recovery.
pub const SNAPSHOTS: &str = "SNAPSHOTS";
/// Events for the operator and other services.
pub const EVENTS: &str = "EVENTS";
/// Closed trades, kept for ever.
pub const TRADES: &str = "TRADES";
/// Newest report of each book and account.
pub const REPORTS: &str = "REPORTS";
/// Equity points of each book.
pub const EQUITY: &str = "EQUITY";
/// Newest heartbeat of each process.
pub const HEARTBEATS: &str = "HEARTBEATS";
/// Newest value of each lease.
pub const LEASES: &str = "LEASES";

/// Suffix of the user of `bus-init` in the account of [`EVENTS`]. All other streams are in the account of the user
/// without it.
pub const EVENTS_USER_SUFFIX: &str = "-events";

const DAY: Duration = Duration::from_hours(24);

/// Configuration of every stream. Sizes are left to the limits of the server.
pub fn stream_configs() -> Vec<Config> {
    vec![
        Config {
            // A journal is refused rather than forgotten: never aged, never purged, new ones fail
            // when the disk is full.
            deny_delete: true,
            deny_purge: true,
            discard: DiscardPolicy::New,
            ..stream(JOURNAL, "journal.v1.>")
        },
        Config {
            max_messages_per_subject: 2,
            ..stream(SNAPSHOTS, "snapshot.v1.>")
        },
        Config {
            max_age: 7 * DAY,
            duplicate_window: Duration::from_hours(1),
            discard: DiscardPolicy::New,
            ..stream(EVENTS, "event.v1.>")
        },
        Config {
            deny_delete: true,
            deny_purge: true,
            discard: DiscardPolicy::New,
            ..stream(TRADES, "trade.v1.>")
        },
        Config {
            max_age: 90 * DAY,
            // A report replaces the one before it. Not by a rollup, a header by which a trader of one mode could remove
            // the reports of the other one.
            max_messages_per_subject: 1,
            subjects: ["report.v1.book.>", "report.v1.account.>"]
                .map(str::to_owned)
                .to_vec(),
            ..stream(REPORTS, "")
        },
        // After REPORTS, which had its subject.
        Config {
            max_age: 90 * DAY,
            ..stream(EQUITY, "report.v1.equity.>")
        },
        Config {
            // On disk although it is worth nothing tomorrow: a memory stream is gone, with its
            // definition, when the server restarts, and bus-init runs only once.
            max_messages_per_subject: 1,
            max_age: DAY,
            ..stream(HEARTBEATS, "heartbeat.v1.>")
        },
        Config {
            // A holder renews its lease every few seconds; an hour without renewal means that the holder is gone.
            max_messages_per_subject: 1,
            max_age: Duration::from_hours(1),
            ..stream(LEASES, "lease.v1.>")
        },
    ]
}

fn stream(name: &str, subjects: &str) -> Config {
    Config {
        name: name.to_owned(),
        subjects: vec![subjects.to_owned()],
        storage: StorageType::File,
        allow_direct: true,
        num_replicas: 1,
        ..Config::default()
    }
}

/// Differences of a stream that break a guarantee; empty if there are none. Replicas, limits and placement are the
/// operator's choice.
pub fn differences(wanted: &Config, found: &Config) -> Vec<String> {
    let mut list = Vec::new();
    let mut check = |what: &str, wanted: String, found: String| {
        if wanted != found {
            list.push(format!("{what} is {found}, expected {wanted}"));
        }
    };
    check(
        "subjects",
        wanted.subjects.join(","),
        found.subjects.join(","),
    );
    check(
        "discard",
        format!("{:?}", wanted.discard),
        format!("{:?}", found.discard),
    );
    check(
        "max_age",
        format!("{:?}", wanted.max_age),
        format!("{:?}", found.max_age),
    );
    check(
        "deny_delete",
        wanted.deny_delete.to_string(),
        found.deny_delete.to_string(),
    );
    check(
        "deny_purge",
        wanted.deny_purge.to_string(),
        found.deny_purge.to_string(),
    );
    check(
        "allow_rollup",
        wanted.allow_rollup.to_string(),
        found.allow_rollup.to_string(),
    );
    check(
        "allow_direct",
        wanted.allow_direct.to_string(),
        found.allow_direct.to_string(),
    );
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal() -> Config {
        stream_configs()
            .into_iter()
            .find(|c| c.name == JOURNAL)
            .unwrap()
    }

    #[test]
    fn journal_stream_that_could_lose_messages_is_detected() {
        let wanted = journal();
        assert!(differences(&wanted, &wanted).is_empty());
        let found = Config {
            max_age: DAY,
            deny_purge: false,
            ..journal()
        };
        let list = differences(&wanted, &found);
        assert_eq!(list.len(), 2, "{list:?}");
    }
}
