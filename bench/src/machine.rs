//! What the figures were measured on: the machine, its engine, the images.

use std::fs;
use std::thread::available_parallelism;

use bearish_tests::docker::{docker, require_image};

/// Prints the machine, and the images of these names.
pub(crate) fn print(images: &[&str]) {
    let cores = available_parallelism().unwrap();
    let engine = docker(&["version", "--format", "{{.Server.Version}}"]);
    println!(
        "machine: {cores} cores of {}, {} kB memory, Linux {}, Docker Engine {}, load {}",
        field("/proc/cpuinfo", "model name"),
        field("/proc/meminfo", "MemTotal").trim_end_matches(" kB"),
        read("/proc/sys/kernel/osrelease"),
        engine.trim(),
        read("/proc/loadavg"),
    );
    for name in images {
        let (full, known) = require_image(name);
        let (id, created) = (&known["Id"], &known["Created"]);
        println!("image: {full} {id} of {created}");
    }
}

/// The share of the machine's processor time that nobody used, from a moment on.
pub(crate) struct IdleTime(CpuTimes);

/// Since the machine's start, all cores.
struct CpuTimes {
    idle: u64,
    all: u64,
}

impl IdleTime {
    /// From now on.
    pub(crate) fn begin() -> Self {
        Self(parse_times(&read("/proc/stat")))
    }

    /// Prints it: figures of a busy machine are worth less.
    pub(crate) fn print(&self) {
        let now = parse_times(&read("/proc/stat"));
        let (idle, all) = (now.idle - self.0.idle, now.all - self.0.all);
        println!(
            "\nmeanwhile {} % of the processors stood idle",
            idle * 100 / all.max(1)
        );
    }
}

/// User, nice, system, idle, waiting, and what interrupts and other guests took.
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

/// The first value of this name in a file of `name: value` lines.
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
