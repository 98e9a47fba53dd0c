//! What a start would meet on the bus: the server, its streams, the account, and who else is there.

use std::time::{Duration, Instant};

use protocol::heartbeat::Heartbeat;
use protocol::ids::{AccountKey, SubjectToken};
use protocol::subject::{Subject, filter};
use runtime::bus::{Bus, BusError};
use runtime::lease;
use runtime::{clock, streams};
use tokio::time::timeout;

use super::{Check, CheckResult, check, pass, warn};
use crate::account;
use crate::settings::Settings;
use crate::startup;

/// Any one check.
const DEADLINE: Duration = Duration::from_secs(10);
/// A notifier not heard for so long will tell nobody.
const MAX_HEARTBEAT_AGE: Duration = Duration::from_mins(1);

pub(super) async fn checks(settings: &Settings, account: &AccountKey) -> Vec<Check> {
    let url = &settings.bus.nats_url;
    let bus = match timeout(DEADLINE, Bus::try_connect(&settings.bus)).await {
        Ok(Ok(bus)) => bus,
        Ok(Err(refusal)) => return vec![rejected_check("bus", &refusal)],
        Err(_) => {
            let finding = format!("{url}: no answer within {DEADLINE:?}");
            return vec![check(CheckResult::Missing, "bus", finding, "start it")];
        }
    };
    let mut checks = vec![pass("bus", format!("{url} answers"))];
    match bus.verify_streams(&startup::STREAMS).await {
        Ok(()) => checks.push(pass("streams", "all there, as they must be")),
        Err(refusal) => {
            checks.push(rejected_check("streams", &refusal));
            return checks;
        }
    }
    checks.push(writable(&bus, account).await);
    checks.push(latch(&bus, account).await);
    checks.push(leases(&bus, settings, account).await);
    checks.push(notifier(&bus).await);
    checks
}

/// Stores what changes nothing: a lease that nobody holds, under a name that nobody has.
async fn writable(bus: &Bus, account: &AccountKey) -> Check {
    let Ok(instance) = "dry-run".parse::<SubjectToken>() else {
        return check(CheckResult::Fail, "journal", "bug: dry-run is no name", "");
    };
    let account = account.clone();
    let subject = Subject::MemberLease { account, instance }.to_string();
    let began = Instant::now();
    let stored = async {
        let newest = lease::read(bus, &subject).await?;
        lease::write(bus, &subject, None, newest.map_or(0, |seen| seen.seq)).await
    };
    match timeout(DEADLINE, stored).await {
        Ok(Ok(_)) => pass(
            "journal",
            format!("stored and synced to disk in {:.1?}", began.elapsed()),
        ),
        Ok(Err(error)) => check(
            CheckResult::Missing,
            "journal",
            error.to_string(),
            "is the server's disk full, or another dry run at work?",
        ),
        Err(_) => check(
            CheckResult::Missing,
            "journal",
            "no answer",
            "is the server's disk stuck?",
        ),
    }
}

async fn latch(bus: &Bus, account: &AccountKey) -> Check {
    match account::active_latch(bus, account).await {
        Ok(None) => pass("account", format!("{account} is not latched")),
        Ok(Some(latch)) => check(
            CheckResult::Fail,
            "account",
            format!("{account} is latched by {latch}: a start would end with 21"),
            format!("when it is understood: trader unlatch --latch {latch} --reason TEXT"),
        ),
        Err(why) => check(CheckResult::Missing, "account", why, "try again"),
    }
}

async fn leases(bus: &Bus, settings: &Settings, account: &AccountKey) -> Check {
    let mut held = Vec::new();
    for symbol in &settings.symbols {
        let subject = Subject::BookLease(account.book(symbol.clone())).to_string();
        match lease::read(bus, &subject).await {
            Ok(seen) => held.extend(
                seen.and_then(|seen| seen.record.holder)
                    .map(|holder| format!("{symbol} by {}", holder.instance)),
            ),
            Err(error) => {
                return check(
                    CheckResult::Missing,
                    "leases",
                    error.to_string(),
                    "try again",
                );
            }
        }
    }
    if held.is_empty() {
        return pass("leases", "every book is free");
    }
    let todo = "nothing: books are shared out, and a dead holder's lease expires within 15 s";
    warn("leases", format!("held: {}", held.join(", ")), todo)
}

async fn notifier(bus: &Bus) -> Check {
    let name = "notifier";
    let todo = "start it, or nobody will be told";
    let subjects = bus
        .subjects(streams::HEARTBEATS, filter::NOTIFIER_HEARTBEATS)
        .await;
    let mut youngest: Option<Duration> = None;
    for subject in subjects.unwrap_or_default() {
        let newest = bus.latest_message(streams::HEARTBEATS, &subject).await;
        let heartbeat = newest.ok().flatten();
        let heartbeat =
            heartbeat.and_then(|n| serde_json::from_slice::<Heartbeat>(&n.payload).ok());
        if let Some(heartbeat) = heartbeat {
            let age = clock::now().since(heartbeat.at);
            youngest = Some(youngest.map_or(age, |known| known.min(age)));
        }
    }
    match youngest {
        Some(age) if age <= MAX_HEARTBEAT_AGE => {
            pass(name, format!("heard {} s ago", age.as_secs()))
        }
        Some(age) => warn(name, format!("last heard {} s ago", age.as_secs()), todo),
        None => warn(name, "never heard on this bus", todo),
    }
}

fn rejected_check(name: &'static str, refusal: &BusError) -> Check {
    let (grade, todo) = match refusal {
        BusError::Retryable(_) => (CheckResult::Missing, "start it, and bus-init after it"),
        BusError::Fatal(_) => (CheckResult::Fail, "mend what it names"),
    };
    check(grade, name, refusal.to_string(), todo)
}
