//! What a start would meet on the bus: the server, its streams, the account, and who else is there.

use std::time::{Duration, Instant};

use protocol::heartbeat::Heartbeat;
use protocol::ids::{AccountKey, Token};
use protocol::subject::{Subject, filter};
use runtime::bus::{Bus, Refusal};
use runtime::lease;
use runtime::{clock, streams};
use tokio::time::timeout;

use super::{Check, Grade, check, pass, warn};
use crate::account;
use crate::settings::Settings;
use crate::start;

/// Any one check.
const DEADLINE: Duration = Duration::from_secs(10);
/// A notifier not heard for so long will tell nobody.
const SILENT: Duration = Duration::from_mins(1);

pub(super) async fn checks(settings: &Settings, account: &AccountKey) -> Vec<Check> {
    let url = &settings.bus.nats_url;
    let bus = match timeout(DEADLINE, Bus::try_connect(&settings.bus)).await {
        Ok(Ok(bus)) => bus,
        Ok(Err(refusal)) => return vec![refused("bus", &refusal)],
        Err(_) => {
            let finding = format!("{url}: no answer within {DEADLINE:?}");
            return vec![check(Grade::Missing, "bus", finding, "start it")];
        }
    };
    let mut checks = vec![pass("bus", format!("{url} answers"))];
    match bus.verify_streams(&start::STREAMS).await {
        Ok(()) => checks.push(pass("streams", "all there, as they must be")),
        Err(refusal) => {
            checks.push(refused("streams", &refusal));
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
    let Ok(instance) = "dry-run".parse::<Token>() else {
        return check(Grade::Fail, "journal", "bug: dry-run is no name", "");
    };
    let account = account.clone();
    let subject = Subject::InstanceLease { account, instance }.to_string();
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
            Grade::Missing,
            "journal",
            error.to_string(),
            "is the server's disk full, or another dry run at work?",
        ),
        Err(_) => check(
            Grade::Missing,
            "journal",
            "no answer",
            "is the server's disk stuck?",
        ),
    }
}

async fn latch(bus: &Bus, account: &AccountKey) -> Check {
    match account::latch(bus, account).await {
        Ok(None) => pass("account", format!("{account} is not latched")),
        Ok(Some(latch)) => check(
            Grade::Fail,
            "account",
            format!("{account} is latched by {latch}: a start would end with 21"),
            format!("when it is understood: trader unlatch --latch {latch} --why REASON"),
        ),
        Err(why) => check(Grade::Missing, "account", why, "try again"),
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
            Err(error) => return check(Grade::Missing, "leases", error.to_string(), "try again"),
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
        let newest = bus.newest(streams::HEARTBEATS, &subject).await;
        let heartbeat = newest.ok().flatten();
        let heartbeat =
            heartbeat.and_then(|n| serde_json::from_slice::<Heartbeat>(&n.payload).ok());
        if let Some(heartbeat) = heartbeat {
            let age = clock::now().since(heartbeat.at);
            youngest = Some(youngest.map_or(age, |known| known.min(age)));
        }
    }
    match youngest {
        Some(age) if age <= SILENT => pass(name, format!("heard {} s ago", age.as_secs())),
        Some(age) => warn(name, format!("last heard {} s ago", age.as_secs()), todo),
        None => warn(name, "never heard on this bus", todo),
    }
}

fn refused(name: &'static str, refusal: &Refusal) -> Check {
    let (grade, todo) = match refusal {
        Refusal::Wait(_) => (Grade::Missing, "start it, and bus-init after it"),
        Refusal::Final(_) => (Grade::Fail, "mend what it names"),
    };
    check(grade, name, refusal.to_string(), todo)
}
