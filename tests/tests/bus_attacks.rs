//! An attacker with the credential of one role: nothing outside the table of rights succeeds. Each kind of attack
//! succeeds on the bus with one account for all roles, whose configuration is kept here.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

#[path = "bus_attacks/attacker.rs"]
mod attacker;
#[path = "bus_attacks/world.rs"]
mod world;

use bearish_tests::nats::Role;

use attacker::{Attacker, Vector, targets};
use world::World;

const ROLES: [Role; 5] = [
    Role::TraderPaper,
    Role::TraderLive,
    Role::Watchdog,
    Role::Notifier,
    Role::Operator,
];

async fn assert_harmless(role: Role) {
    let mut world = World::with_accounts().await;
    let damage = world.damage_of_all(role).await;
    assert!(
        damage.is_empty(),
        "{} got through: {damage:#?}",
        role.user()
    );
}

#[tokio::test]
async fn paper_trader_reaches_nothing_outside_its_rights() {
    assert_harmless(Role::TraderPaper).await;
}

#[tokio::test]
async fn live_trader_reaches_nothing_outside_its_rights() {
    assert_harmless(Role::TraderLive).await;
}

#[tokio::test]
async fn watchdog_reaches_nothing_outside_its_rights() {
    assert_harmless(Role::Watchdog).await;
}

#[tokio::test]
async fn notifier_reaches_nothing_outside_its_rights() {
    assert_harmless(Role::Notifier).await;
}

#[tokio::test]
async fn operator_reaches_nothing_outside_its_rights() {
    assert_harmless(Role::Operator).await;
}

/// The attacks are real: without accounts each way to reach a subject succeeds, also for the role that only reads.
#[tokio::test]
async fn attacks_succeed_on_a_bus_with_one_account() {
    for (role, vector, target) in [
        (
            Role::TraderPaper,
            Vector::DirectGet,
            "journal.v1.account_command.live.venue.account",
        ),
        (
            Role::TraderPaper,
            Vector::DirectGet,
            "command.v1.watchdog.bearish-alpha.local.stop",
        ),
        (
            Role::TraderPaper,
            Vector::DirectGet,
            "$JS.API.CONSUMER.CREATE.JOURNAL.loot.journal.v1.book.live.>",
        ),
        (
            Role::TraderPaper,
            Vector::MissingMessage,
            "$JS.API.STREAM.DELETE.EVENTS",
        ),
        (
            Role::TraderPaper,
            Vector::StreamInfo,
            "journal.v1.book.live.venue.account.S",
        ),
        (
            Role::TraderPaper,
            Vector::StoreAck,
            "journal.v1.watchdog.bearish-alpha.local",
        ),
        (
            Role::TraderPaper,
            Vector::ConsumerAnswer,
            "journal.v1.notifier.operator",
        ),
        (
            Role::TraderPaper,
            Vector::PullRequest,
            "command.v1.watchdog.bearish-alpha.local.stop",
        ),
        (
            Role::TraderPaper,
            Vector::DeliverSubject,
            "$JS.API.CONSUMER.MSG.NEXT.EVENTS.notifier",
        ),
        (
            Role::TraderPaper,
            Vector::Publish,
            "heartbeat.v1.trader.live.bearish-alpha.local.trader-live-1",
        ),
        (
            Role::Operator,
            Vector::MissingMessage,
            "$JS.API.STREAM.DELETE.TRADES",
        ),
        (
            Role::Operator,
            Vector::AccountInfo,
            "lease.v1.book.live.venue.account.S",
        ),
        (
            Role::Watchdog,
            Vector::DirectGet,
            "journal.v1.account_command.live.venue.account",
        ),
        (
            Role::Notifier,
            Vector::DirectGet,
            "journal.v1.watchdog.bearish-alpha.local",
        ),
    ] {
        let mut world = World::with_one_account().await;
        let bodies = targets(role.user());
        let (_, body) = bodies.iter().find(|(known, _)| *known == target).unwrap();
        let messages = Attacker::new(role).aim(vector, target, body);
        let damage = world.damage_of(role, vec![messages]).await;
        assert!(!damage.is_empty(), "{} {vector:?} {target}", role.user());
    }
}
