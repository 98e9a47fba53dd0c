//! Leases: which process works on a key. They keep order; the journal's fence keeps two processes from acting at once.
//!
//! A lease is the last message of its subject. Its holder renews it; an observer takes it for expired when it has seen the
//! same message for [`TTL`] by its own monotonic clock. Clocks of two machines are never compared. A restarted instance may
//! acquire its own leases at once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_nats::jetstream::message::PublishMessage;
use protocol::VERSION;
use protocol::lease::{Holder, LeaseRecord};

use crate::bus::{Bus, StoreError};
use crate::streams;

/// Time after the last renewal at which a lease expires.
pub const TTL: Duration = Duration::from_secs(15);
/// Interval of renewals and of observations.
pub const POLL: Duration = Duration::from_secs(3);

/// Newest message of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLease {
    /// Sequence, which changes with every renewal.
    pub seq: u64,
    /// Value of the lease.
    pub record: LeaseRecord,
}

/// What one observer has seen of a group of leases, and since when.
#[derive(Debug, Default)]
pub struct LeaseTracker {
    leases: BTreeMap<String, (StoredLease, Instant)>,
}

/// Status of a lease for one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseStatus {
    /// The lease has no holder, or its holder has not renewed it for [`TTL`].
    Free,
    /// An earlier boot of this instance holds it.
    HeldByPreviousBoot,
    /// This process holds it.
    HeldByThisBoot,
    /// Another instance holds it.
    HeldByOther(Holder),
}

impl LeaseTracker {
    /// Records the newest message of one subject; `None` if nothing is stored there.
    pub fn observe(&mut self, subject: &str, newest: Option<StoredLease>, now: Instant) {
        match newest {
            None => {
                self.leases.remove(subject);
            }
            Some(newest) => {
                let known = self.leases.get(subject);
                if known.is_none_or(|(seen, _)| seen.seq != newest.seq) {
                    self.leases.insert(subject.to_owned(), (newest, now));
                }
            }
        }
    }

    /// Status of the lease for `me`.
    pub fn status(&self, subject: &str, me: &Holder, now: Instant) -> LeaseStatus {
        let Some((seen, since)) = self.leases.get(subject) else {
            return LeaseStatus::Free;
        };
        match &seen.record.holder {
            None => LeaseStatus::Free,
            Some(holder) if holder == me => LeaseStatus::HeldByThisBoot,
            Some(holder) if holder.instance == me.instance => LeaseStatus::HeldByPreviousBoot,
            Some(_) if now.duration_since(*since) >= TTL => LeaseStatus::Free,
            Some(holder) => LeaseStatus::HeldByOther(holder.clone()),
        }
    }

    /// Sequence with which an acquisition is fenced; zero where nothing is stored.
    pub fn seq(&self, subject: &str) -> u64 {
        self.leases.get(subject).map_or(0, |(seen, _)| seen.seq)
    }
}

/// Error of reading or writing a lease.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Another process has written the lease first.
    #[error("lease {0}: another process wrote first")]
    Conflict(String),
    /// The bus does not answer.
    #[error("lease {0}: {1}")]
    Unavailable(String, String),
}

/// Writes the lease if its subject is still at sequence `expected`; returns the newest message.
///
/// # Errors
/// [`LeaseError`]. After `Unavailable` the outcome is unknown: read the lease again.
pub async fn write(
    bus: &Bus,
    subject: &str,
    holder: Option<&Holder>,
    expected: u64,
) -> Result<StoredLease, LeaseError> {
    let unavailable = |why: String| LeaseError::Unavailable(subject.to_owned(), why);
    let record = LeaseRecord {
        v: VERSION,
        holder: holder.cloned(),
    };
    let payload = serde_json::to_vec(&record).map_err(|error| unavailable(error.to_string()))?;
    let message = PublishMessage::build()
        .payload(payload.into())
        .expected_stream(streams::LEASES)
        .expected_last_subject_sequence(expected);
    match bus.store(subject, message).await {
        Ok(seq) => Ok(StoredLease { seq, record }),
        Err(StoreError::Fenced) => Err(LeaseError::Conflict(subject.to_owned())),
        Err(other) => Err(unavailable(other.to_string())),
    }
}

/// Reads the newest message of one lease; `None` if there is none.
///
/// # Errors
/// [`LeaseError::Unavailable`], if the bus does not answer or the lease is of a newer version.
pub async fn read(bus: &Bus, subject: &str) -> Result<Option<StoredLease>, LeaseError> {
    let unavailable = |why: String| LeaseError::Unavailable(subject.to_owned(), why);
    let newest = bus.latest_message(streams::LEASES, subject).await;
    let Some(newest) = newest.map_err(unavailable)? else {
        return Ok(None);
    };
    let record: LeaseRecord =
        serde_json::from_slice(&newest.payload).map_err(|error| unavailable(error.to_string()))?;
    if record.v > VERSION {
        let v = record.v;
        return Err(unavailable(format!(
            "version {v} is newer than this program's {VERSION}"
        )));
    }
    Ok(Some(StoredLease {
        seq: newest.seq,
        record,
    }))
}

/// Reads all leases that match a filter.
///
/// # Errors
/// [`LeaseError::Unavailable`], if the bus does not answer or a lease is of a newer version.
pub async fn subjects(bus: &Bus, filter: &str) -> Result<Vec<String>, LeaseError> {
    bus.subjects(streams::LEASES, filter)
        .await
        .map_err(|why| LeaseError::Unavailable(filter.to_owned(), why))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "lease.v1.book.paper.v.a.S";

    fn holder(instance: &str, boot: &str) -> Holder {
        Holder {
            instance: instance.parse().unwrap(),
            boot: boot.parse().unwrap(),
        }
    }

    fn held(seq: u64, by: &Holder) -> StoredLease {
        let record = LeaseRecord {
            v: VERSION,
            holder: Some(by.clone()),
        };
        StoredLease { seq, record }
    }

    #[test]
    fn lease_expires_only_after_a_whole_ttl_without_renewal() {
        let (me, other) = (holder("a", "1"), holder("b", "1"));
        let begin = Instant::now();
        let mut observer = LeaseTracker::default();
        observer.observe(KEY, Some(held(1, &other)), begin);
        let just_before = begin + TTL.saturating_sub(Duration::from_millis(1));
        assert_eq!(
            observer.status(KEY, &me, just_before),
            LeaseStatus::HeldByOther(other.clone())
        );
        observer.observe(KEY, Some(held(2, &other)), just_before);
        assert_eq!(
            observer.status(KEY, &me, begin + TTL),
            LeaseStatus::HeldByOther(other.clone())
        );
        observer.observe(KEY, Some(held(2, &other)), just_before + TTL);
        assert_eq!(
            observer.status(KEY, &me, just_before + TTL),
            LeaseStatus::Free
        );
    }

    #[test]
    fn lease_of_a_previous_boot_is_recognized() {
        let (before, now) = (holder("a", "1"), holder("a", "2"));
        let mut observer = LeaseTracker::default();
        observer.observe(KEY, Some(held(1, &before)), Instant::now());
        assert_eq!(
            observer.status(KEY, &now, Instant::now()),
            LeaseStatus::HeldByPreviousBoot
        );
        assert_eq!(
            observer.status(KEY, &before, Instant::now()),
            LeaseStatus::HeldByThisBoot
        );
    }

    #[test]
    fn lease_is_free_when_relinquished_or_never_acquired() {
        let me = holder("a", "1");
        let mut observer = LeaseTracker::default();
        assert_eq!(observer.status(KEY, &me, Instant::now()), LeaseStatus::Free);
        let record = LeaseRecord {
            v: VERSION,
            holder: None,
        };
        observer.observe(KEY, Some(StoredLease { seq: 9, record }), Instant::now());
        assert_eq!(observer.status(KEY, &me, Instant::now()), LeaseStatus::Free);
        assert_eq!(observer.seq(KEY), 9);
    }
}
