//! Tests of the journal on a real nats-server that is killed, frozen and unreachable: acknowledged batches are
//! stored once and in order, and a second writer is fenced.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::time::{Duration, Instant};

use async_nats::jetstream::message::PublishMessage;
use bearish_tests::nats::{NatsServer, Role};
use protocol::ids::SubjectToken;
use protocol::subject::Subject;
use runtime::bus::{Bus, DEADLINE};
use runtime::journal::{AppendError, Journal, ReplayError};
use tokio::time::{sleep, timeout};

const APPEND_TIMEOUT: Duration = Duration::from_secs(30);

fn subject() -> Subject {
    Subject::BookJournal("paper.venue.account.BTCUSDT".parse().unwrap())
}

fn token(text: &str) -> SubjectToken {
    text.parse().unwrap()
}

async fn replay(bus: &Bus, writer: &str) -> (Journal, Vec<u64>) {
    let replayed = Journal::replay::<u64>(bus, &subject(), token(writer)).await;
    let (journal, entries) = replayed.unwrap();
    (
        journal,
        entries.into_iter().flat_map(|s| s.batch.records).collect(),
    )
}

/// Reads all records of the journal as the operator.
async fn read_all(nats: &NatsServer) -> Vec<u64> {
    replay(&nats.bus(Role::Operator).await, "reader").await.1
}

async fn append(journal: &mut Journal, records: &[u64]) -> Result<u64, AppendError> {
    let appended = timeout(APPEND_TIMEOUT, journal.append(records, 0, |_| {})).await;
    let appended = appended.unwrap_or_else(|_| panic!("no append within {APPEND_TIMEOUT:?}"));
    appended.map(|place| place.seq)
}

#[tokio::test]
async fn appended_records_are_replayed_in_order_with_their_envelope() {
    let nats = NatsServer::with_streams().await;
    let bus = nats.bus(Role::TraderPaper).await;
    let (mut journal, nothing) = replay(&bus, "first").await;
    assert_eq!(nothing, [0_u64; 0]);
    let mut sequences = Vec::new();
    for records in [&[1, 2, 3][..], &[4], &[5, 6]] {
        sequences.push(append(&mut journal, records).await.unwrap());
    }
    let replayed = Journal::replay::<u64>(&bus, &subject(), token("second")).await;
    let (successor, entries) = replayed.unwrap();
    let stored: Vec<_> = entries
        .iter()
        .map(|s| {
            (
                s.seq,
                s.batch.writer.as_str(),
                s.batch.batch_id,
                s.batch.records.clone(),
            )
        })
        .collect();
    let expected = [
        (sequences[0], "first", 1, vec![1, 2, 3]),
        (sequences[1], "first", 2, vec![4]),
        (sequences[2], "first", 3, vec![5, 6]),
    ];
    assert_eq!(stored, expected);
    assert_eq!(successor.last_seq(), sequences[2]);
}

#[tokio::test]
async fn stale_writer_is_fenced_and_the_current_writer_continues() {
    let nats = NatsServer::with_streams().await;
    let bus = nats.bus(Role::TraderPaper).await;
    let (mut first, _) = replay(&bus, "first").await;
    append(&mut first, &[1]).await.unwrap();
    let (mut second, _) = replay(&bus, "second").await;
    append(&mut first, &[2]).await.unwrap();
    let lost = append(&mut second, &[3]).await;
    assert!(matches!(lost, Err(AppendError::Fenced { .. })), "{lost:?}");
    append(&mut first, &[4]).await.unwrap();
    assert_eq!(read_all(&nats).await, [1, 2, 4]);
}

/// As the core hang detector halts a book: its append is rejected if the writer has appended meanwhile.
#[tokio::test]
async fn second_handle_of_a_writer_is_fenced_after_the_writers_next_append() {
    let nats = NatsServer::with_streams().await;
    let bus = nats.bus(Role::TraderPaper).await;
    let (mut writer, _) = replay(&bus, "writer").await;
    append(&mut writer, &[1]).await.unwrap();
    let mut late = Journal::from_last_seq(&bus, &subject(), token("writer"), writer.last_seq());
    append(&mut writer, &[2]).await.unwrap();
    let lost = append(&mut late, &[3]).await;
    assert!(matches!(lost, Err(AppendError::Fenced { .. })), "{lost:?}");
    let mut other = Journal::from_last_seq(&bus, &subject(), token("writer"), writer.last_seq());
    append(&mut other, &[4]).await.unwrap();
    let lost = append(&mut writer, &[5]).await;
    assert!(matches!(lost, Err(AppendError::Fenced { .. })), "{lost:?}");
    assert_eq!(read_all(&nats).await, [1, 2, 4]);
}

#[tokio::test]
async fn successor_fences_the_former_writer() {
    let nats = NatsServer::with_streams().await;
    let bus = nats.bus(Role::TraderPaper).await;
    let (mut former, _) = replay(&bus, "former").await;
    append(&mut former, &[1]).await.unwrap();
    let (mut successor, _) = replay(&bus, "successor").await;
    append(&mut successor, &[2]).await.unwrap();
    for _ in 0..2 {
        let lost = append(&mut former, &[3]).await;
        assert!(matches!(lost, Err(AppendError::Fenced { .. })), "{lost:?}");
    }
    assert_eq!(read_all(&nats).await, [1, 2]);
}

/// After a timeout, a writer recognizes its own message by the batch id, so an id must name one batch only.
#[tokio::test]
async fn returning_writer_never_reuses_a_batch_id() {
    let nats = NatsServer::with_streams().await;
    let bus = nats.bus(Role::TraderPaper).await;
    for (writer, record) in [("first", 1), ("second", 2), ("first", 3)] {
        let (mut journal, _) = replay(&bus, writer).await;
        append(&mut journal, &[record]).await.unwrap();
    }
    let replayed = Journal::replay::<u64>(&bus, &subject(), token("reader")).await;
    let entries = replayed.unwrap().1;
    let ids: Vec<_> = entries
        .iter()
        .map(|s| (s.batch.writer.as_str(), s.batch.batch_id))
        .collect();
    // Batch ids are counted for the whole process, and each test has its own.
    assert_eq!(ids, [("first", 1), ("second", 2), ("first", 3)]);
}

#[tokio::test]
async fn journal_opened_at_its_end_appends_without_a_replay_and_is_fenced() {
    let nats = NatsServer::with_streams().await;
    let bus = nats.bus(Role::TraderPaper).await;
    let open = async |writer| {
        let opened = Journal::open_at_end(&bus, &subject(), token(writer)).await;
        opened.unwrap()
    };
    let mut first = open("first").await;
    append(&mut first, &[1]).await.unwrap();
    let mut second = open("second").await;
    assert_eq!(second.last_seq(), first.last_seq());
    append(&mut second, &[2]).await.unwrap();
    let late = append(&mut first, &[3]).await;
    assert!(matches!(late, Err(AppendError::Fenced { .. })), "{late:?}");
    assert_eq!(read_all(&nats).await, [1, 2]);
    let unreadable = PublishMessage::build().payload("{\"v\":99}".into());
    bus.store(&subject().to_string(), unreadable).await.unwrap();
    let opened = Journal::open_at_end(&bus, &subject(), token("old")).await;
    let error = opened.err().unwrap();
    assert!(error.to_string().contains("version 99 is newer"), "{error}");
}

#[tokio::test]
async fn replay_from_a_sequence_reads_on_from_it_and_can_append() {
    let nats = NatsServer::with_streams().await;
    let bus = nats.bus(Role::TraderPaper).await;
    let (mut journal, _) = replay(&bus, "first").await;
    for record in 1..=4 {
        append(&mut journal, &[record]).await.unwrap();
    }
    let last = journal.last_seq();
    for (from, records) in [(0, 4), (last - 1, 2), (last, 1), (last + 1, 0)] {
        let replayed = Journal::replay_from::<u64>(&bus, &subject(), token("next"), from).await;
        let (next, entries) = replayed.unwrap();
        assert_eq!(
            (entries.len(), next.last_seq()),
            (records, last),
            "from {from}"
        );
    }
    // The fence is the end of the journal, however few batches were read.
    let replayed = Journal::replay_from::<u64>(&bus, &subject(), token("next"), last + 1).await;
    append(&mut replayed.unwrap().0, &[5]).await.unwrap();
    assert_eq!(read_all(&nats).await, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn append_with_unknown_outcome_is_stored_once_and_finds_its_sequence() {
    let nats = NatsServer::with_streams().await;
    let bus = nats.bus(Role::TraderPaper).await;
    let (mut journal, _) = replay(&bus, "writer").await;
    let before = append(&mut journal, &[1]).await.unwrap();
    nats.freeze();
    let start = Instant::now();
    let thaw = async {
        // By then the attempt has timed out, but its message waits in the server's socket.
        sleep(DEADLINE + Duration::from_secs(1)).await;
        nats.thaw();
    };
    let (seq, ()) = tokio::join!(append(&mut journal, &[2]), thaw);
    assert_eq!(seq.unwrap(), before + 1);
    assert!(start.elapsed() > DEADLINE, "the outcome was known in time");
    append(&mut journal, &[3]).await.unwrap();
    assert_eq!(read_all(&nats).await, [1, 2, 3]);
}

#[tokio::test]
async fn acknowledged_batches_survive_kill_9_of_the_server() {
    let mut nats = NatsServer::with_streams().await;
    let mut expected = Vec::new();
    for round in 0..5 {
        let bus = nats.bus(Role::TraderPaper).await;
        let (mut journal, found) = replay(&bus, &format!("writer-{round}")).await;
        assert_eq!(found, expected, "round {round}");
        for record in 0..20 {
            let record = round * 100 + record;
            append(&mut journal, &[record]).await.unwrap();
            expected.push(record);
        }
        nats.kill();
        nats.restart().await;
    }
    assert_eq!(read_all(&nats).await, expected);
}

#[tokio::test]
async fn append_waits_for_a_server_that_is_down_and_is_stored_once() {
    let mut nats = NatsServer::with_streams().await;
    let bus = nats.bus(Role::TraderPaper).await;
    let (mut journal, _) = replay(&bus, "writer").await;
    append(&mut journal, &[1]).await.unwrap();
    nats.kill();
    let mut waited = Vec::new();
    let appended = async {
        let record = |reason: &str| waited.push(reason.to_owned());
        timeout(APPEND_TIMEOUT, journal.append(&[2_u64], 0, record)).await
    };
    let back = async {
        sleep(Duration::from_secs(7)).await;
        nats.restart().await;
    };
    let (appended, ()) = tokio::join!(appended, back);
    appended.unwrap().unwrap();
    assert!(!waited.is_empty(), "the delay was not reported");
    append(&mut journal, &[3]).await.unwrap();
    assert_eq!(read_all(&nats).await, [1, 2, 3]);
}

#[tokio::test]
async fn unreadable_message_is_named_by_its_sequence() {
    for (bad, text) in [
        ("{\"v\":1,\"writer\":", "EOF"),
        ("no json", "expected"),
        (
            r#"{"v":1,"writer":"w","batch_id":2,"at":0,"events_published_seq":0,"records":["text"]}"#,
            "invalid type",
        ),
        (
            r#"{"v":999,"writer":"w","batch_id":2,"at":0,"events_published_seq":0,"records":[7]}"#,
            "version 999 is newer",
        ),
    ] {
        let nats = NatsServer::with_streams().await;
        let bus = nats.bus(Role::TraderPaper).await;
        let (mut journal, _) = replay(&bus, "writer").await;
        append(&mut journal, &[1]).await.unwrap();
        let bad_seq = store_raw(&bus, bad).await;
        let error = Journal::replay::<u64>(&bus, &subject(), token("reader"))
            .await
            .err()
            .unwrap();
        match error {
            ReplayError::Unreadable {
                seq, ref reason, ..
            } => {
                assert_eq!(seq, bad_seq, "{bad}");
                assert!(reason.contains(text), "{bad}: {reason}");
            }
            ReplayError::Unavailable { .. } => panic!("{bad}: {error}"),
        }
    }
}

/// A newer build has become the writer: the old one must stop instead of retrying for ever.
#[tokio::test]
async fn writer_is_fenced_by_a_batch_it_cannot_read() {
    let nats = NatsServer::with_streams().await;
    let bus = nats.bus(Role::TraderPaper).await;
    let (mut journal, _) = replay(&bus, "writer").await;
    append(&mut journal, &[1]).await.unwrap();
    let newer =
        r#"{"v":999,"writer":"newer","batch_id":1,"at":0,"events_published_seq":0,"records":[7]}"#;
    store_raw(&bus, newer).await;
    let lost = append(&mut journal, &[2]).await;
    assert!(matches!(lost, Err(AppendError::Fenced { .. })), "{lost:?}");
}

async fn store_raw(bus: &Bus, payload: &str) -> u64 {
    let message = PublishMessage::build().payload(payload.to_owned().into());
    bus.store(&subject().to_string(), message).await.unwrap()
}

#[tokio::test]
async fn batch_too_large_for_the_bus_is_rejected_not_retried() {
    let nats = NatsServer::with_streams().await;
    let bus = nats.bus(Role::TraderPaper).await;
    let (mut journal, _) = replay(&bus, "writer").await;
    // The server accepts at most 1 MB.
    let rejected = append(&mut journal, &vec![u64::MAX; 100_000]).await;
    assert!(
        matches!(rejected, Err(AppendError::Rejected { .. })),
        "{rejected:?}"
    );
    assert_eq!(read_all(&nats).await, [0_u64; 0]);
}

#[tokio::test]
async fn ten_thousand_batches_are_replayed() {
    const COUNT: u64 = 10_000;
    let nats = NatsServer::with_streams().await;
    let bus = nats.bus(Role::TraderPaper).await;
    store_many(&bus, COUNT).await;
    let start = Instant::now();
    let (_, records) = replay(&bus, "reader").await;
    let rate = f64::from(u32::try_from(COUNT).unwrap()) / start.elapsed().as_secs_f64();
    eprintln!("replayed {COUNT} batches, {rate:.0} per second");
    assert_eq!(records, (0..COUNT).collect::<Vec<u64>>());
}

/// Stores `count` batches, many at a time.
async fn store_many(bus: &Bus, count: u64) {
    let subject = subject().to_string();
    let mut pending = Vec::new();
    for record in 0..count {
        let entry = format!(
            r#"{{"v":1,"writer":"filler","batch_id":{record},"at":0,"events_published_seq":0,"records":[{record}]}}"#
        );
        let message = PublishMessage::build().payload(entry.into());
        pending.push(
            bus.jetstream()
                .send_publish(subject.clone(), message)
                .await
                .unwrap(),
        );
        if pending.len() == 500 {
            for ack in pending.drain(..) {
                ack.await.unwrap();
            }
        }
    }
    for ack in pending {
        ack.await.unwrap();
    }
}
