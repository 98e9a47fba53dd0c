//! Leases: who works on a key. They make for order, not for safety: that is the journal's fence.
//!
//! A lease is the last message of its subject. Its holder renews it; an observer takes it for
//! expired when it has watched one and the same message for [`TTL`] by its own monotonic clock. No
//! two clocks are ever compared. A restarted instance may take its own leases back at once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_nats::jetstream::message::PublishMessage;
use protocol::VERSION;
use protocol::lease::{Holder, LeaseRecord};

use crate::bus::{Bus, StoreError};
use crate::streams;

/// How long a lease lasts after its last renewal.
pub const TTL: Duration = Duration::from_secs(15);
/// How often a holder renews and an observer looks.
pub const POLL: Duration = Duration::from_secs(3);

/// The newest message of a lease's subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its sequence: a renewal moves it.
    pub seq: u64,
    /// What it says.
    pub record: LeaseRecord,
}

/// What one observer has seen of a group of leases, and since when.
#[derive(Debug, Default)]
pub struct Observer {
    seen: BTreeMap<String, (Seen, Instant)>,
}

/// How a lease looks to one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// Nobody holds it, or its holder was silent for [`TTL`].
    Free,
    /// An earlier run of this instance holds it.
    OwnEarlierBoot,
    /// This very process holds it.
    Mine,
    /// Another instance holds it.
    Other(Holder),
}

impl Observer {
    /// Takes in the newest state of one subject; `None`: nothing is stored there.
    pub fn observe(&mut self, subject: &str, newest: Option<Seen>, now: Instant) {
        match newest {
            None => {
                self.seen.remove(subject);
            }
            Some(newest) => {
                let known = self.seen.get(subject);
                if known.is_none_or(|(seen, _)| seen.seq != newest.seq) {
                    self.seen.insert(subject.to_owned(), (newest, now));
                }
            }
        }
    }

    /// How the lease looks to `me`.
    pub fn view(&self, subject: &str, me: &Holder, now: Instant) -> View {
        let Some((seen, since)) = self.seen.get(subject) else {
            return View::Free;
        };
        match &seen.record.holder {
            None => View::Free,
            Some(holder) if holder == me => View::Mine,
            Some(holder) if holder.instance == me.instance => View::OwnEarlierBoot,
            Some(_) if now.duration_since(*since) >= TTL => View::Free,
            Some(holder) => View::Other(holder.clone()),
        }
    }

    /// Sequence to fence a claim with; zero where nothing is stored.
    pub fn seq(&self, subject: &str) -> u64 {
        self.seen.get(subject).map_or(0, |(seen, _)| seen.seq)
    }
}

/// Why a lease could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Somebody else wrote first.
    #[error("lease {0}: another came first")]
    Taken(String),
    /// The bus does not answer.
    #[error("lease {0}: {1}")]
    Unavailable(String, String),
}

/// Writes the lease if its subject still stands at `expected`; returns what is there now.
///
/// # Errors
/// [`LeaseError`]. After `Unavailable` it may or may not be written: look again.
pub async fn write(
    bus: &Bus,
    subject: &str,
    holder: Option<&Holder>,
    expected: u64,
) -> Result<Seen, LeaseError> {
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
        Ok(seq) => Ok(Seen { seq, record }),
        Err(StoreError::Fenced) => Err(LeaseError::Taken(subject.to_owned())),
        Err(other) => Err(unavailable(other.to_string())),
    }
}

/// The newest message of one lease.
///
/// # Errors
/// [`LeaseError::Unavailable`].
pub async fn read(bus: &Bus, subject: &str) -> Result<Option<Seen>, LeaseError> {
    let unavailable = |why: String| LeaseError::Unavailable(subject.to_owned(), why);
    let newest = bus.newest(streams::LEASES, subject).await;
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
    Ok(Some(Seen {
        seq: newest.seq,
        record,
    }))
}

/// All leases under a filter that were ever written and not forgotten since.
///
/// # Errors
/// [`LeaseError::Unavailable`].
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

    fn held(seq: u64, by: &Holder) -> Seen {
        let record = LeaseRecord {
            v: VERSION,
            holder: Some(by.clone()),
        };
        Seen { seq, record }
    }

    #[test]
    fn a_lease_expires_only_after_a_whole_ttl_of_watching_it_stand_still() {
        let (me, other) = (holder("a", "1"), holder("b", "1"));
        let begin = Instant::now();
        let mut observer = Observer::default();
        observer.observe(KEY, Some(held(1, &other)), begin);
        let just_before = begin + TTL.saturating_sub(Duration::from_millis(1));
        assert_eq!(
            observer.view(KEY, &me, just_before),
            View::Other(other.clone())
        );
        observer.observe(KEY, Some(held(2, &other)), just_before);
        assert_eq!(
            observer.view(KEY, &me, begin + TTL),
            View::Other(other.clone())
        );
        observer.observe(KEY, Some(held(2, &other)), just_before + TTL);
        assert_eq!(observer.view(KEY, &me, just_before + TTL), View::Free);
    }

    #[test]
    fn a_restarted_instance_sees_its_own_earlier_boot() {
        let (before, now) = (holder("a", "1"), holder("a", "2"));
        let mut observer = Observer::default();
        observer.observe(KEY, Some(held(1, &before)), Instant::now());
        assert_eq!(
            observer.view(KEY, &now, Instant::now()),
            View::OwnEarlierBoot
        );
        assert_eq!(observer.view(KEY, &before, Instant::now()), View::Mine);
    }

    #[test]
    fn what_was_given_back_or_never_taken_is_free() {
        let me = holder("a", "1");
        let mut observer = Observer::default();
        assert_eq!(observer.view(KEY, &me, Instant::now()), View::Free);
        let record = LeaseRecord {
            v: VERSION,
            holder: None,
        };
        observer.observe(KEY, Some(Seen { seq: 9, record }), Instant::now());
        assert_eq!(observer.view(KEY, &me, Instant::now()), View::Free);
        assert_eq!(observer.seq(KEY), 9);
    }
}
