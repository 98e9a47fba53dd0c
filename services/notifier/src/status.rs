//! `notifier status`: what the journal says was told, what waits, what Telegram refused. Works with the
//! notifier dead.

use delivery::record::Record;
use delivery::state::State;
use protocol::exit::ExitCode;
use protocol::ids::Token;
use protocol::subject::Subject;
use protocol::time::UtcMs;
use runtime::bus::{Bus, Refusal};
use runtime::clock;
use runtime::journal::Journal;
use runtime::process::Stop;

use crate::settings::Settings;

/// Prints it.
///
/// # Errors
/// Exit 78 for settings, 69 if the bus does not answer.
pub async fn run() -> Result<ExitCode, Stop> {
    let settings = Settings::from_env()?;
    let bus = Bus::try_connect(&settings.bus)
        .await
        .map_err(Refusal::into_stop)?;
    let state = fold(&bus).await?;
    print(&lines(&state, clock::now()));
    Ok(ExitCode::Done)
}

/// Reads only: the writing end is dropped before anything is appended.
async fn fold(bus: &Bus) -> Result<State, Stop> {
    let unavailable = |why: String| Stop::new(ExitCode::Unavailable, why);
    let reader: Token = "status"
        .parse()
        .map_err(|_| Stop::internal("bug: no name"))?;
    let (_, entries) = Journal::replay::<Record>(bus, &Subject::NotifierJournal, reader)
        .await
        .map_err(|error| unavailable(error.to_string()))?;
    let mut state = State::default();
    for stored in &entries {
        state
            .fold(&stored.entry)
            .map_err(|newer| Stop::config(format!("the journal's version {} is newer", newer.0)))?;
    }
    Ok(state)
}

fn lines(state: &State, now: UtcMs) -> Vec<String> {
    let totals = state.totals;
    let mut lines = vec![
        format!("messages sent     {}", totals.sent),
        format!("  last            {}", last_sent(state, now)),
        format!("outcome unknown   {} (repeated, marked)", totals.unknown),
        format!("tried again       {}", totals.returned),
        format!("letters waiting   {}", state.waiting.len()),
        format!(
            "under way         {}",
            state.sending.as_ref().map_or(0, |s| s.letters.len())
        ),
        format!("held back         {}", state.outages.held()),
        format!("over the fallback {}", totals.fallen),
        format!("messages refused  {}", totals.dead),
    ];
    lines.extend(state.dead.iter().map(|dead| {
        let letter = &dead.waiting.letter;
        let (number, why) = (dead.number, &dead.why);
        format!("  {number}: {} {}: {why}", letter.at, letter.head)
    }));
    lines
}

fn last_sent(state: &State, now: UtcMs) -> String {
    match state.last_sent {
        None => "never".to_owned(),
        Some(at) => format!("{at} ({} s ago)", now.since(at).as_secs()),
    }
}

#[allow(clippy::print_stdout, reason = "the answer of a command")]
fn print(lines: &[String]) {
    for line in lines {
        println!("{line}");
    }
}
