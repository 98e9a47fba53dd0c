//! Reads the end of a container's log: before the end of its run is decided on or, where a restart follows at once,
//! after it. An error is recorded in place of the log.

use std::time::Duration;

use protocol::time::UtcMs;
use watchdog_core::container::Container;
use watchdog_core::evidence::{LogTail, MAX_LOG_LINES};

use crate::docker::DockerClient;

/// Bytes read of one log, because lines may have any length.
const MAX_READ_BYTES: usize = 65_536;
/// Lines requested; some may belong to the next run.
const REQUESTED_LINES: usize = 3 * MAX_LOG_LINES;
/// Docker may write a run's last line this long after its end. The next run takes longer to write its first one.
const LATE_LINE_MARGIN: Duration = Duration::from_millis(50);

/// The end of the log of an ended container. `None` if the container has not ended.
pub async fn read(docker: &DockerClient, container: &Container) -> Option<LogTail> {
    let exit = container.exit()?;
    let run = container.run.clone();
    let since = i32::try_from(container.start_time.0.div_euclid(1_000)).unwrap_or_default();
    let ended_at = container
        .start_time
        .plus(Duration::from_millis(exit.uptime_ms));
    let text = docker
        .logs(&run.container, since, REQUESTED_LINES, MAX_READ_BYTES)
        .await;
    Some(match text {
        Ok(text) => LogTail::new(
            run,
            Ok(&lines_of_run(&text, ended_at.plus(LATE_LINE_MARGIN))),
        ),
        Err(error) => LogTail::new(run, Err(error.to_string())),
    })
}

/// The lines up to a time, without their timestamps.
fn lines_of_run(text: &str, last: UtcMs) -> String {
    let mut lines = String::with_capacity(text.len());
    for line in text.lines() {
        let (at, message) = line.split_once(' ').unwrap_or((line, ""));
        match at.parse::<jiff::Timestamp>() {
            Ok(at) if at.as_millisecond() > last.0 => continue,
            Ok(_) => lines.push_str(message),
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
                    2026-11-24T03:00:00.2Z two parts\n\
                    no instant\n\
                    2026-11-24T03:00:00.251Z the next run\n";
        let last = "2026-11-24T03:00:00.25Z"
            .parse::<jiff::Timestamp>()
            .unwrap();
        let last = UtcMs(last.as_millisecond());
        assert_eq!(lines_of_run(text, last), "one\ntwo parts\nno instant\n");
    }
}
