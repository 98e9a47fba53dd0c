//! `watchdog status`: every unit as the journal knows it. Works with the watchdog dead, and without the
//! engine.

use std::process::ExitCode as Status;

use protocol::exit::ExitCode;
use protocol::ids::Token;
use protocol::subject::{Subject, filter};
use protocol::time::UtcMs;
use runtime::bus::{Bus, Refusal};
use runtime::journal::Journal;
use runtime::process::{self, Stop};
use runtime::{clock, streams};
use supervision::record::{Reason, Record};
use supervision::state::{Phase, State, Unit};

use crate::settings::Settings;

const COLUMNS: &str = "UNIT                 STATE        SINCE (UTC)          RESTARTS  IN A ROW  \
                       NEXT START  LAST REASON";
/// What the shell sees while a unit waits for a person.
const QUARANTINED: u8 = 1;

/// Prints the table; the process's exit code is 1 while a unit waits for a person.
pub fn main() -> Status {
    let mut waits = false;
    match process::run(show(&mut waits)) {
        ExitCode::Done if waits => Status::from(QUARANTINED),
        code => code.into(),
    }
}

async fn show(waits: &mut bool) -> Result<ExitCode, Stop> {
    let settings = Settings::from_env()?;
    let bus = Bus::try_connect(&settings.bus)
        .await
        .map_err(Refusal::into_stop)?;
    let mut lines = vec![COLUMNS.to_owned()];
    for project in projects(&bus, settings.project).await? {
        let state = fold(&bus, &project).await?;
        *waits |= state.any_quarantined();
        let now = clock::now();
        lines.extend(state.units.iter().map(|(name, unit)| line(name, unit, now)));
    }
    if lines.len() == 1 {
        lines.push("no unit has been seen yet".to_owned());
    }
    print(&lines);
    Ok(ExitCode::Done)
}

/// The one that is set, else all that have a journal.
async fn projects(bus: &Bus, set: Option<Token>) -> Result<Vec<Token>, Stop> {
    if let Some(project) = set {
        return Ok(vec![project]);
    }
    let subjects = bus
        .subjects(streams::JOURNAL, filter::WATCHDOG_JOURNALS)
        .await
        .map_err(unavailable)?;
    let project = |subject: &String| subject.rsplit('.').next()?.parse().ok();
    let mut projects: Vec<Token> = subjects.iter().filter_map(project).collect();
    projects.sort();
    Ok(projects)
}

/// Reads only: the writing end is dropped before anything is appended.
async fn fold(bus: &Bus, project: &Token) -> Result<State, Stop> {
    let subject = Subject::WatchdogJournal(project.clone());
    let reader: Token = "status"
        .parse()
        .map_err(|_| Stop::internal("bug: no name"))?;
    let (_, entries) = Journal::replay::<Record>(bus, &subject, reader)
        .await
        .map_err(|error| unavailable(error.to_string()))?;
    let mut state = State::default();
    for stored in &entries {
        state
            .fold(&stored.entry)
            .map_err(|newer| Stop::config(newer.to_string()))?;
    }
    Ok(state)
}

fn unavailable(why: String) -> Stop {
    Stop::new(ExitCode::Unavailable, why)
}

fn line(name: &Token, unit: &Unit, now: UtcMs) -> String {
    let since: String = unit.since.to_string().chars().take(19).collect();
    let max = unit.policy.as_ref().map_or(0, |p| p.max_restarts);
    let reason = unit.last_reason.as_ref().map(Reason::to_string);
    let line = format!(
        "{:<20} {:<12} {since} {:>9} {:>9}  {:<10}  {}",
        name.as_str(),
        unit.phase.as_str(),
        format!("{}/{max}", unit.restarts),
        unit.consecutive,
        next_start(unit, now),
        reason.as_deref().unwrap_or("-"),
    );
    line.trim_end().to_owned()
}

fn next_start(unit: &Unit, now: UtcMs) -> String {
    match unit.phase {
        Phase::Waiting { delay_ms, .. } => {
            let passed = u64::try_from(now.since(unit.since).as_millis()).unwrap_or(u64::MAX);
            format!("in {} s", delay_ms.saturating_sub(passed).div_ceil(1000))
        }
        Phase::Starting { .. } => "now".to_owned(),
        Phase::Quarantined { .. } => "by hand".to_owned(),
        _ => "-".to_owned(),
    }
}

#[allow(clippy::print_stdout, reason = "the table is this command's answer")]
fn print(lines: &[String]) {
    for line in lines {
        println!("{line}");
    }
}
