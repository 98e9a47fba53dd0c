//! Reads the newest heartbeats from the bus: of traders for the summary, of watchdogs to detect their outage.

use std::collections::BTreeSet;

use notifier_core::watchdog_outage::WatchdogHeartbeat;
use protocol::heartbeat::Heartbeat;
use protocol::ids::{HostKey, ProcessKey, SubjectToken};
use protocol::subject::{Subject, filter};
use runtime::bus::Bus;
use runtime::streams;

/// Newest heartbeat of every trader, sorted by name.
///
/// # Errors
/// One line if the bus does not answer.
pub async fn trader_heartbeats(bus: &Bus) -> Result<Vec<(SubjectToken, Heartbeat)>, String> {
    read_heartbeats(bus, filter::TRADER_HEARTBEATS).await
}

/// Newest heartbeat of every watchdog, sorted by name.
///
/// # Errors
/// One line if the bus does not answer.
pub async fn watchdog_heartbeats(bus: &Bus) -> Result<Vec<(SubjectToken, Heartbeat)>, String> {
    read_heartbeats(bus, filter::WATCHDOG_HEARTBEATS).await
}

/// Newest heartbeat of each watchdog, in the order in which the bus stored them. Empty without one within a day.
///
/// # Errors
/// One line if the bus does not answer.
pub async fn ordered_watchdog_heartbeats(bus: &Bus) -> Result<Vec<WatchdogHeartbeat>, String> {
    let subjects = bus
        .subjects(streams::HEARTBEATS, filter::WATCHDOG_HEARTBEATS)
        .await?;
    let mut found: Vec<(u64, Heartbeat)> = Vec::new();
    for subject in subjects {
        let message = bus.latest_message(streams::HEARTBEATS, &subject).await?;
        found.extend(message.and_then(|message| Some((message.seq, message.json()?))));
    }
    found.sort_by_key(|(seq, _)| *seq);
    let heartbeats = found.into_iter().map(|(_, beat)| WatchdogHeartbeat {
        boot: beat.boot,
        seq: beat.seq,
        phase: beat.phase,
        at: beat.at,
        blindness: beat.blindness,
    });
    Ok(heartbeats.collect())
}

/// Projects and hosts whose watchdog has published a heartbeat within a day.
///
/// # Errors
/// One line, if the bus does not answer.
pub async fn watchdog_hosts(bus: &Bus) -> Result<Vec<HostKey>, String> {
    let processes = read_processes(bus, filter::WATCHDOG_HEARTBEATS).await?;
    let hosts: BTreeSet<HostKey> = processes.into_iter().map(|process| process.host).collect();
    Ok(hosts.into_iter().collect())
}

/// Projects and hosts on which a trader of this name has published a heartbeat within a day.
///
/// # Errors
/// One line, if the bus does not answer.
pub async fn hosts_of_trader(bus: &Bus, instance: &SubjectToken) -> Result<Vec<HostKey>, String> {
    let processes = read_processes(bus, filter::TRADER_HEARTBEATS).await?;
    let named = processes.into_iter();
    let named = named.filter(|process| process.instance == *instance);
    Ok(named.map(|process| process.host).collect())
}

async fn read_processes(bus: &Bus, filter: &str) -> Result<Vec<ProcessKey>, String> {
    let subjects = bus.subjects(streams::HEARTBEATS, filter).await?;
    let process = |subject: &String| match Subject::parse(subject)? {
        Subject::Heartbeat(process) => Some(process),
        _ => None,
    };
    Ok(subjects.iter().filter_map(process).collect())
}

async fn read_heartbeats(
    bus: &Bus,
    filter: &str,
) -> Result<Vec<(SubjectToken, Heartbeat)>, String> {
    let newest = bus.newest_json_of_each(streams::HEARTBEATS, filter).await?;
    let named = |(subject, beat): (String, Heartbeat)| match Subject::parse(&subject)? {
        Subject::Heartbeat(process) => Some((process.instance, beat)),
        _ => None,
    };
    Ok(newest.into_iter().filter_map(named).collect())
}
