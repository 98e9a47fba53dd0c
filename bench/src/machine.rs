//! Prints what the figures were measured on: machine, Docker version, images, and idle share of the processors.

use std::fs;
use std::thread::available_parallelism;

use bearish_tests::docker::{docker, require_image};

/// Prints machine, Docker version and these images.
pub(crate) fn print(images: &[&str]) {
    let cores = available_parallelism().unwrap();
    let version = docker(&["version", "--format", "{{.Server.Version}}"]);
    println!(
        "machine: {cores} cores of {}, {} kB memory, Linux {}, Docker {}, load {}",
        field("/proc/cpuinfo", "model name"),
        field("/proc/meminfo", "MemTotal").trim_end_matches(" kB"),
        read("/proc/sys/kernel/osrelease"),
        version.trim(),
        read("/proc/loadavg"),
    );
    for name in images {
        let (full, details) = require_image(name);
        let (id, created) = (&details["Id"], &details["Created"]);
        println!("image: {full} {id} of {created}");
    }
}

/// Measures the idle share of the machine's processors from a start on.
pub(crate) struct IdleTime(CpuTimes);

/// Processor ticks of all cores since the machine's start.
struct CpuTimes {
    idle: u64,
    all: u64,
}

impl IdleTime {
    pub(crate) fn begin() -> Self {
        Self(parse_times(&read("/proc/stat")))
    }

    /// Prints the idle share. Figures of a busy machine are less reliable.
    pub(crate) fn print(&self) {
        let now = parse_times(&read("/proc/stat"));
        let (idle, all) = (now.idle - self.0.idle, now.all - self.0.all);
        println!(
            "\nprocessors idle during the measurement: {} %",
            idle * 100 / all.max(1)
        );
    }
}

/// Parses the first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq and steal.
fn parse_times(stat: &str) -> CpuTimes {
    let all = stat.lines().next().unwrap().split_whitespace().skip(1);
    let all: Vec<u64> = all.take(8).map(|ticks| ticks.parse().unwrap()).collect();
    CpuTimes {
        idle: all[3] + all[4],
        all: all.iter().sum(),
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap().trim().to_owned()
}

/// First value with this name in a file of `name: value` lines; `?` if there is none.
fn field(path: &str, name: &str) -> String {
    let text = read(path);
    let named = |line: &&str| line.split(':').next().map(str::trim) == Some(name);
    let value = text
        .lines()
        .find(named)
        .and_then(|line| line.split_once(':'));
    value.map_or("?", |(_, value)| value).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_times_count_disk_waits_as_idle_and_guests_once() {
        let times = parse_times("cpu  10 1 5 100 20 2 3 4 9 9\ncpu0 1 1 1 1 1 1 1 1 1 1\n");
        assert_eq!((times.idle, times.all), (120, 145));
    }
}
