//! The dry run's checks of the bus: server, streams, account, leases, notifier.

use std::time::{Duration, Instant};

use exchange::DataClient;
use protocol::duration::format_duration;
use protocol::heartbeat::Heartbeat;
use protocol::host_command;
use protocol::ids::{AccountKey, Mode, SubjectToken};
use protocol::subject::{Subject, filter};
use runtime::bus::{Bus, BusError};
use runtime::lease;
use runtime::{clock, streams};
use tokio::time::timeout;
use trader_core::orders::InstallationId;

use crate::account::command_journal::{active_latch, read_account_state};
use crate::app::checks::{
    Check, CheckResult, DEADLINE, check, failed_check, pass, warn, with_deadline,
};
use crate::app::startup;
use crate::books::book_task::recovery::{check_same_market, newest_exchange_time};
use crate::settings::Settings;

/// A notifier without a heartbeat for this long counts as down.
const MAX_HEARTBEAT_AGE: Duration = Duration::from_mins(1);

/// The checks of the bus, and what they found out for other checks.
#[derive(Default)]
pub(super) struct BusChecks {
    pub(super) checks: Vec<Check>,
    /// The id in this installation's orders; `None` for a paper account, or one that was never opened.
    pub(super) installation_id: Option<InstallationId>,
    /// The bus; `None` if it did not answer.
    pub(super) bus: Option<Bus>,
}

pub(super) async fn checks(
    settings: &Settings,
    account: &AccountKey,
    client: &dyn DataClient,
) -> BusChecks {
    let mut found = BusChecks::default();
    let bus = match connect(settings).await {
        Ok(bus) => bus,
        Err(failed) => {
            found.checks.push(failed);
            return found;
        }
    };
    let url = &settings.bus.nats_url;
    found.bus = Some(bus.clone());
    found.checks.push(pass("bus", format!("{url} answers")));
    match bus.verify_streams(&startup::STREAMS).await {
        Ok(()) => found
            .checks
            .push(pass("streams", "complete and as expected")),
        Err(error) => {
            found.checks.push(rejected_check("streams", &error));
            return found;
        }
    }
    found.checks.push(writable(&bus, settings, account).await);
    if account.mode == Mode::Live {
        match installation(&bus, account).await {
            Ok(installation_id) => found.installation_id = Some(installation_id),
            Err(failed) => found.checks.push(failed),
        }
    }
    found.checks.push(latch(&bus, account).await);
    found
        .checks
        .push(journal_market(&bus, settings, account, client).await);
    found.checks.push(leases(&bus, settings, account).await);
    found.checks.push(notifier(&bus).await);
    found
}

async fn connect(settings: &Settings) -> Result<Bus, Check> {
    match timeout(DEADLINE, Bus::try_connect(&settings.bus)).await {
        Ok(Ok(bus)) => Ok(bus),
        Ok(Err(error)) => Err(rejected_check("bus", &error)),
        Err(_) => {
            let finding = format!("{}: no answer within {DEADLINE:?}", settings.bus.nats_url);
            Err(check(CheckResult::Missing, "bus", finding, "start the bus"))
        }
    }
}

/// A live account must have been opened with `trader init`.
async fn installation(bus: &Bus, account: &AccountKey) -> Result<InstallationId, Check> {
    match read_account_state(bus, account).await {
        Ok(state) => state.installation_id.ok_or_else(|| {
            check(
                CheckResult::Fail,
                "account",
                format!("{account} was never opened on this bus"),
                "restore the backup if it has traded before, or open it: scripts/bearish init --account",
            )
        }),
        Err(error) => Err(check(CheckResult::Missing, "account", error, "try again")),
    }
}

/// The exchange's time must not be before the journals of the books.
async fn journal_market(
    bus: &Bus,
    settings: &Settings,
    account: &AccountKey,
    client: &dyn DataClient,
) -> Check {
    let name = "market";
    let now = match with_deadline(client.server_time()).await {
        Ok(now) => now,
        Err(error) => return failed_check(name, "time of the exchange", &error),
    };
    for symbol in &settings.symbols {
        let newest = match newest_exchange_time(bus, &account.book(symbol.clone())).await {
            Ok(newest) => newest,
            Err(error) => return check(CheckResult::Missing, name, error, "try again"),
        };
        if let Err(other_market) = check_same_market(symbol, newest, now) {
            return check(CheckResult::Fail, name, other_market, "");
        }
    }
    pass(name, "the journals belong to this market")
}

/// Stores a lease without a holder, under a name that no process has.
async fn writable(bus: &Bus, settings: &Settings, account: &AccountKey) -> Check {
    let Ok(instance) = "dry-run".parse::<SubjectToken>() else {
        return check(
            CheckResult::Fail,
            "journal",
            "bug: dry-run is not a valid name",
            "",
        );
    };
    let host = match settings.instance.host_key().await {
        Ok(host) => host,
        Err(error) => return check(CheckResult::Fail, "journal", error.to_string(), ""),
    };
    let subject = Subject::MemberLease {
        account: account.clone(),
        host,
        instance,
    };
    let subject = subject.to_string();
    let began = Instant::now();
    let stored = async {
        let newest = lease::read(bus, &subject).await?;
        lease::write(bus, &subject, None, newest.map_or(0, |lease| lease.seq)).await
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
            "check whether the disk of the bus is full, or another dry run is active",
        ),
        Err(_) => check(
            CheckResult::Missing,
            "journal",
            "no answer",
            "check the disk of the bus",
        ),
    }
}

async fn latch(bus: &Bus, account: &AccountKey) -> Check {
    match active_latch(bus, account).await {
        Ok(None) => pass("account", format!("{account} is not latched")),
        Ok(Some(latch)) => check(
            CheckResult::Fail,
            "account",
            format!("{account} is latched by {latch}: a start would end with 21"),
            format!(
                "after finding the cause: {}",
                host_command::unlatch(account.mode, &latch)
            ),
        ),
        Err(error) => check(CheckResult::Missing, "account", error, "try again"),
    }
}

async fn leases(bus: &Bus, settings: &Settings, account: &AccountKey) -> Check {
    let mut held = Vec::new();
    for symbol in &settings.symbols {
        let subject = Subject::BookLease(account.book(symbol.clone())).to_string();
        match lease::read(bus, &subject).await {
            Ok(lease) => held.extend(
                lease
                    .and_then(|lease| lease.record.holder)
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
    let advice = "nothing to do: traders share the books, and the lease of a dead trader expires within 15 s";
    warn("leases", format!("held: {}", held.join(", ")), advice)
}

async fn notifier(bus: &Bus) -> Check {
    let name = "notifier";
    let advice = "start the notifier; without it no messages are sent";
    let heartbeats: Result<Vec<(String, Heartbeat)>, String> = bus
        .newest_json_of_each(streams::HEARTBEATS, filter::NOTIFIER_HEARTBEATS)
        .await;
    let heartbeats = heartbeats.unwrap_or_default().into_iter();
    let ages = heartbeats.map(|(_, heartbeat)| clock::now().since(heartbeat.at));
    let youngest = ages.min();
    match youngest {
        Some(age) if age <= MAX_HEARTBEAT_AGE => {
            pass(name, format!("heartbeat {} ago", format_duration(age)))
        }
        Some(age) => warn(
            name,
            format!("last heartbeat {} ago", format_duration(age)),
            advice,
        ),
        None => warn(name, "no heartbeat on this bus", advice),
    }
}

fn rejected_check(name: &'static str, error: &BusError) -> Check {
    let (result, advice) = match error {
        BusError::Retryable(_) => (CheckResult::Missing, "start the bus, then bus-init"),
        BusError::Fatal(_) => (CheckResult::Fail, "correct what it names"),
    };
    check(result, name, error.to_string(), advice)
}
