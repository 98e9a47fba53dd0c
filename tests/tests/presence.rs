//! Two processes under one instance name, as in two containers: the younger one ends with exit 71, the older one
//! continues. A process that has ended is no second process.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::{Duration, Instant};

use bearish_tests::nats::{NatsServer, Role};
use protocol::exit_code::ExitCode;
use protocol::ids::{HostKey, Mode, SubjectToken};
use protocol::subject::Subject;
use runtime::exit_error::ExitError;
use runtime::identity::Identity;
use runtime::presence::PresenceWatch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A process of the instance that is under test. It ends with its connection.
struct Instance {
    watch: PresenceWatch,
}

impl Instance {
    /// Starts as a process with this boot id that is `age` old.
    async fn start(nats: &NatsServer, boot: &str, age: Duration) -> Self {
        let bus = nats.bus(Role::TraderPaper).await;
        let host: HostKey = "bearish-alpha.local".parse().unwrap();
        let instance: SubjectToken = "trader-paper-1".parse().unwrap();
        let subject = Subject::TraderPresence {
            mode: Mode::Paper,
            host: host.clone(),
            instance: instance.clone(),
        };
        let identity = Identity {
            host,
            instance,
            boot: boot.parse().unwrap(),
        };
        let started_at = Instant::now().checked_sub(age).unwrap();
        let watch = PresenceWatch::start(&bus, subject.to_string(), &identity, started_at).await;
        Self {
            watch: watch.unwrap(),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "each test keeps the handle")]
    fn run(self) -> JoinHandle<Result<(), ExitError>> {
        tokio::spawn(self.watch.run(CancellationToken::new()))
    }
}

const AGE: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn second_process_under_a_name_ends_with_71_and_the_first_continues() {
    let nats = NatsServer::with_streams().await;
    let mut first = Instance::start(&nats, "b1", AGE).await;
    first.watch.ensure_only().await.unwrap();
    let first = first.run();
    // Again and again, as a supervisor restarts it.
    for boot in ["a2", "c3"] {
        let mut second = Instance::start(&nats, boot, Duration::ZERO).await;
        let end = second.watch.ensure_only().await.unwrap_err();
        assert_eq!(end.code, ExitCode::DuplicateInstance);
        assert!(end.message.contains("trader-paper-1"), "{}", end.message);
    }
    assert!(!first.is_finished());
}

#[tokio::test(flavor = "multi_thread")]
async fn process_that_follows_an_ended_one_starts() {
    let nats = NatsServer::with_streams().await;
    for boot in ["b1", "b2", "b3"] {
        let mut process = Instance::start(&nats, boot, Duration::ZERO).await;
        process.watch.ensure_only().await.unwrap();
        let running = process.run();
        tokio::time::sleep(Duration::from_millis(50)).await;
        running.abort();
        let _ = running.await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_processes_that_start_at_once_exactly_one_continues() {
    let nats = NatsServer::with_streams().await;
    for _ in 0..3 {
        let mut one = Instance::start(&nats, "b1", Duration::ZERO).await;
        let mut two = Instance::start(&nats, "b2", Duration::ZERO).await;
        let (first, second) = tokio::join!(one.watch.ensure_only(), two.watch.ensure_only());
        assert_eq!((first.is_ok(), second.is_ok()), (true, false));
    }
}

/// Two halves of a bus that was cut in two meet again.
#[tokio::test(flavor = "multi_thread")]
async fn second_process_is_found_when_the_bus_comes_back() {
    let mut nats = NatsServer::with_streams().await;
    let old = Instance::start(&nats, "b1", AGE).await.run();
    nats.kill();
    tokio::time::sleep(Duration::from_millis(200)).await;
    nats.restart().await;
    let young = Instance::start(&nats, "a2", Duration::ZERO).await.run();
    let ended = tokio::time::timeout(Duration::from_secs(20), young).await;
    let end = ended.unwrap().unwrap().unwrap_err();
    assert_eq!(end.code, ExitCode::DuplicateInstance);
    assert!(!old.is_finished());
}
