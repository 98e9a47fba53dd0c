//! The end of a log: read before the end of its run is judged, or, where a restart follows at once, behind that.
//! Never in the way: what cannot be read within its deadline is noted as such.

use std::time::Duration;

use protocol::time::UtcMs;
use supervision::container::Container;
use supervision::evidence::{LINES, LastWords};

use crate::engine::Engine;

/// Read of one log at most: lines of any length may come.
const BYTES: usize = 65_536;
/// Lines asked for: some may be of the next run.
const ASKED: usize = 3 * LINES;
/// The engine may note a run's last line this long after its end. The next run takes longer to say anything.
const AFTER: Duration = Duration::from_millis(50);

/// What a container that has ended said last; none for one that has not.
pub async fn read(engine: &Engine, container: &Container) -> Option<LastWords> {
    let exit = container.exit()?;
    let run = container.run.clone();
    let since = i32::try_from(container.began.0.div_euclid(1_000)).unwrap_or_default();
    let ended = container.began.plus(Duration::from_millis(exit.uptime_ms));
    let text = engine.logs(&run.container, since, ASKED, BYTES).await;
    Some(match text {
        Ok(text) => LastWords::new(run, Ok(&of_the_run(&text, ended.plus(AFTER)))),
        Err(error) => LastWords::new(run, Err(error.to_string())),
    })
}

/// The lines up to an instant, without the instant before each.
fn of_the_run(text: &str, last: UtcMs) -> String {
    let mut lines = String::with_capacity(text.len());
    for line in text.lines() {
        let (at, said) = line.split_once(' ').unwrap_or((line, ""));
        match at.parse::<jiff::Timestamp>() {
            Ok(at) if at.as_millisecond() > last.0 => continue,
            Ok(_) => lines.push_str(said),
            Err(_) => lines.push_str(line),
        }
        lines.push('\n');
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_next_run_said_is_left_out() {
        let text = "2026-11-24T03:00:00.100000001Z one\n\
                    2026-11-24T03:00:00.2Z two words\n\
                    no instant\n\
                    2026-11-24T03:00:00.251Z the next run\n";
        let last = "2026-11-24T03:00:00.25Z"
            .parse::<jiff::Timestamp>()
            .unwrap();
        let last = UtcMs(last.as_millisecond());
        assert_eq!(of_the_run(text, last), "one\ntwo words\nno instant\n");
    }
}
