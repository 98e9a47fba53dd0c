//! The user stream: it wakes waiting tasks through every loss of its connection.

use std::sync::Arc;
use std::time::Duration;

use bearish_binance::{BinanceExecutionClient, UserStreamTiming};
use exchange::ExecutionClient;
use protocol::heartbeat::ComponentState;
use runtime::components::ProcessStatus;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::test_exchange::{SOON, TestExchange, bitcoin};

struct RunningStream {
    process_status: Arc<ProcessStatus>,
    hints: watch::Receiver<u64>,
    shutdown: CancellationToken,
    task: JoinSet<()>,
}

impl RunningStream {
    /// A stream that is subscribed.
    async fn start(client: BinanceExecutionClient) -> Self {
        let mut listening = Self {
            process_status: Arc::default(),
            hints: client.hints(&bitcoin()),
            shutdown: CancellationToken::new(),
            task: JoinSet::new(),
        };
        let status = Arc::clone(&listening.process_status);
        let shutdown = listening.shutdown.clone();
        listening
            .task
            .spawn(async move { client.run_user_stream(status, shutdown).await });
        listening.wait_for_hint().await;
        listening
    }

    async fn wait_for_hint(&mut self) {
        let changed = timeout(SOON, self.hints.changed()).await;
        changed.expect("a hint arrives soon").unwrap();
    }

    fn state(&self) -> ComponentState {
        self.process_status.components()["user-stream"].state
    }

    async fn shut_down(mut self) {
        self.shutdown.cancel();
        timeout(SOON, self.task.join_next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(self.state(), ComponentState::Stopped);
    }
}

fn quick() -> UserStreamTiming {
    UserStreamTiming {
        retry_first: Duration::from_millis(20),
        retry_cap: Duration::from_millis(100),
        ..UserStreamTiming::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fill_wakes_only_the_waiters_of_its_symbol() {
    let mut rig = TestExchange::at_constant_price().await;
    let other = "ETHUSDT".parse().unwrap();
    let client = rig.with_stream("trader", quick());
    let mut others = client.hints(&other);
    let mut listening = RunningStream::start(client).await;
    assert_eq!(listening.state(), ComponentState::Ok);
    // A new stream wakes all receivers, one after the other.
    timeout(SOON, others.changed()).await.unwrap().unwrap();
    rig.buy().await;
    listening.wait_for_hint().await;
    assert!(!others.has_changed().unwrap());
    listening.shut_down().await;
    rig.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ended_stream_is_reopened_and_sends_a_hint() {
    let mut rig = TestExchange::at_constant_price().await;
    let mut listening = RunningStream::start(rig.with_stream("trader", quick())).await;
    for fault in [
        json!({"fault": "close", "code": 1000, "to": "user"}),
        json!({"fault": "close", "code": 1001, "to": "user"}),
        json!({"fault": "close", "to": "user"}),
    ] {
        rig.arm_fault(fault.clone()).await;
        listening.wait_for_hint().await;
        rig.buy().await;
        listening.wait_for_hint().await;
    }
    assert!(listening.process_status.errors() >= 3);
    listening.shut_down().await;
    rig.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_without_data_is_replaced_by_its_age() {
    let rig = TestExchange::at_constant_price().await;
    let timing = UserStreamTiming {
        rebuild_after: Duration::from_millis(300),
        ..quick()
    };
    let mut listening = RunningStream::start(rig.with_stream("trader", timing)).await;
    rig.arm_fault(json!({"fault": "mute", "on": true, "to": "user"}))
        .await;
    for _ in 0..2 {
        listening.wait_for_hint().await;
    }
    assert_eq!(listening.process_status.errors(), 0, "age is no fault");
    listening.shut_down().await;
    rig.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_ended_is_replaced_by_a_new_one() {
    let mut rig = TestExchange::start(&[[40_000; 4]; 2], 100).await;
    let mut listening = RunningStream::start(rig.with_stream("trader", quick())).await;
    rig.advance_to_minute(65).await;
    while !listening
        .process_status
        .last_error()
        .is_some_and(|e| e.text.contains("listen key has expired"))
    {
        listening.wait_for_hint().await;
    }
    listening.hints.mark_unchanged();
    rig.buy().await;
    listening.wait_for_hint().await;
    listening.shut_down().await;
    rig.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejected_key_is_retried_and_reported() {
    let rig = TestExchange::at_constant_price().await;
    let (progress, stop) = (Arc::<ProcessStatus>::default(), CancellationToken::new());
    let unknown = rig.with_stream("unknown", quick());
    let mut task = JoinSet::new();
    let (status, shutdown) = (Arc::clone(&progress), stop.clone());
    task.spawn(async move { unknown.run_user_stream(status, shutdown).await });
    // Each attempt begins with an iteration in a good state: the test waits for the state between two attempts.
    let retrying = || progress.components()["user-stream"].state == ComponentState::Retrying;
    let reported = async {
        while progress.errors() < 3 || !retrying() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, reported)
        .await
        .expect("three errors, and retrying");
    stop.cancel();
    timeout(SOON, task.join_next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    rig.shut_down().await;
}
