//! The end of a log: read before the end of its run is judged, or, where a restart follows at once, behind that.
//! Never in the way: what cannot be read within its deadline is noted as such.

use std::time::Duration;

use protocol::time::UtcMs;
use watchdog_core::container::Container;
use watchdog_core::evidence::{LogTail, MAX_LOG_LINES};

use crate::docker::DockerClient;

/// Read of one log at most: lines of any length may come.
const MAX_READ_BYTES: usize = 65_536;
/// Lines asked for: some may be of the next run.
const REQUESTED_LINES: usize = 3 * MAX_LOG_LINES;
/// The engine may note a run's last line this long after its end. The next run takes longer to say anything.
const LATE_LINE_MARGIN: Duration = Duration::from_millis(50);

/// What a container that has ended said last; none for one that has not.
pub async fn read(engine: &DockerClient, container: &Container) -> Option<LogTail> {
    let exit = container.exit()?;
    let run = container.run.clone();
    let since = i32::try_from(container.start_time.0.div_euclid(1_000)).unwrap_or_default();
    let ended = container
        .start_time
        .plus(Duration::from_millis(exit.uptime_ms));
    let text = engine
        .logs(&run.container, since, REQUESTED_LINES, MAX_READ_BYTES)
        .await;
    Some(match text {
        Ok(text) => LogTail::new(run, Ok(&lines_of_run(&text, ended.plus(LATE_LINE_MARGIN)))),
        Err(error) => LogTail::new(run, Err(error.to_string())),
    })
}

/// The lines up to an instant, without the instant before each.
fn lines_of_run(text: &str, last: UtcMs) -> String {
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
    fn log_tail_excludes_lines_of_the_next_run() {
        let text = "2026-11-24T03:00:00.100000001Z one\n\
                    2026-11-24T03:00:00.2Z two words\n\
                    no instant\n\
                    2026-11-24T03:00:00.251Z the next run\n";
        let last = "2026-11-24T03:00:00.25Z"
            .parse::<jiff::Timestamp>()
            .unwrap();
        let last = UtcMs(last.as_millisecond());
        assert_eq!(lines_of_run(text, last), "one\ntwo words\nno instant\n");
    }
}
