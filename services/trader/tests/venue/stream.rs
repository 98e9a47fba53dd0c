//! The user stream: that it wakes who waits, whatever becomes of its connection.

use std::sync::Arc;
use std::time::Duration;

use bearish_trader::venue::{StreamTiming, UserStream};
use protocol::heartbeat::PartState;
use runtime::progress::Progress;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::rig::{Rig, SOON, bitcoin};

struct Listening {
    progress: Arc<Progress>,
    hints: watch::Receiver<u64>,
    stop: CancellationToken,
    task: JoinSet<()>,
}

impl Listening {
    /// A stream that is subscribed.
    async fn on(rig: &Rig, timing: StreamTiming) -> Self {
        let hints = rig.venue.hints(&bitcoin());
        let (progress, stop) = (Arc::<Progress>::default(), CancellationToken::new());
        let stream = UserStream::with_timing(rig.venue.clone(), timing);
        let mut task = JoinSet::new();
        task.spawn(stream.run(Arc::clone(&progress), stop.clone()));
        let mut listening = Self {
            progress,
            hints,
            stop,
            task,
        };
        listening.hint().await;
        listening
    }

    async fn hint(&mut self) {
        let changed = timeout(SOON, self.hints.changed()).await;
        changed.expect("a hint comes soon").unwrap();
    }

    fn state(&self) -> PartState {
        self.progress.parts()["user-stream"].state
    }

    async fn end(mut self) {
        self.stop.cancel();
        timeout(SOON, self.task.join_next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(self.state(), PartState::Stopped);
    }
}

fn quick() -> StreamTiming {
    StreamTiming {
        retry_first: Duration::from_millis(20),
        retry_cap: Duration::from_millis(100),
        ..StreamTiming::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fill_wakes_who_waits_for_its_symbol_and_nobody_else() {
    let mut rig = Rig::quiet().await;
    let other = "ETHUSDT".parse().unwrap();
    let mut others = rig.venue.hints(&other);
    let mut listening = Listening::on(&rig, quick()).await;
    assert_eq!(listening.state(), PartState::Ok);
    // At its begin it wakes everybody, one after the other.
    timeout(SOON, others.changed()).await.unwrap().unwrap();
    rig.bought().await;
    listening.hint().await;
    assert!(!others.has_changed().unwrap());
    listening.end().await;
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_ended_is_opened_again_and_says_to_look() {
    let mut rig = Rig::quiet().await;
    let mut listening = Listening::on(&rig, quick()).await;
    for fault in [
        json!({"do": "close", "code": 1000, "to": "user"}),
        json!({"do": "close", "code": 1001, "to": "user"}),
        json!({"do": "close", "to": "user"}),
    ] {
        rig.fault(fault.clone()).await;
        listening.hint().await;
        rig.bought().await;
        listening.hint().await;
    }
    assert!(listening.progress.errors() >= 3);
    listening.end().await;
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_fell_silent_is_replaced_by_its_age() {
    let rig = Rig::quiet().await;
    let timing = StreamTiming {
        rebuild_after: Duration::from_millis(300),
        ..quick()
    };
    let mut listening = Listening::on(&rig, timing).await;
    rig.fault(json!({"do": "silent", "on": true, "to": "user"}))
        .await;
    for _ in 0..2 {
        listening.hint().await;
    }
    assert_eq!(listening.progress.errors(), 0, "age is no fault");
    listening.end().await;
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_ended_is_replaced_by_a_new_one() {
    let mut rig = Rig::start(&[[40_000; 4]; 2], 100).await;
    let mut listening = Listening::on(&rig, quick()).await;
    rig.pass(65).await;
    while !listening
        .progress
        .last_error()
        .is_some_and(|e| e.text.contains("listen key has ended"))
    {
        listening.hint().await;
    }
    listening.hints.mark_unchanged();
    rig.bought().await;
    listening.hint().await;
    listening.end().await;
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_refused_is_tried_again_and_told() {
    let rig = Rig::quiet().await;
    let (progress, stop) = (Arc::<Progress>::default(), CancellationToken::new());
    let stranger = rig.with_key("stranger", "secret");
    let stream = UserStream::with_timing(stranger, quick());
    let mut task = JoinSet::new();
    task.spawn(stream.run(Arc::clone(&progress), stop.clone()));
    // Each attempt begins with a turn, for which it is well: what is told between two is waited for.
    let retrying = || progress.parts()["user-stream"].state == PartState::Retrying;
    let told = async {
        while progress.errors() < 3 || !retrying() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, told)
        .await
        .expect("three errors, and retrying");
    stop.cancel();
    timeout(SOON, task.join_next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    rig.end().await;
}
