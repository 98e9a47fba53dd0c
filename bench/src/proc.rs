//! Reads memory and processor time of a process on this machine from `/proc`, also of one in a container.

use std::fs;
use std::process::Command;
use std::time::Duration;

use bearish_tests::docker::{inspect, run_command};

/// A running process, identified by its process id.
pub(crate) struct ProcessStats {
    pid: u32,
    ticks_per_second: u64,
}

/// Memory in use, in kB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Resident memory, including the program's pages.
    pub(crate) resident: u64,
    /// Anonymous memory: resident memory without files.
    pub(crate) anonymous: u64,
}

impl ProcessStats {
    /// The main process of a container.
    pub(crate) fn of_container(name: &str) -> Self {
        Self::of_process(container_pid(name))
    }

    /// The process with this process id.
    pub(crate) fn of_process(pid: u32) -> Self {
        let ticks = run_command(Command::new("getconf").arg("CLK_TCK"));
        Self {
            pid,
            ticks_per_second: ticks.trim().parse().unwrap(),
        }
    }

    /// Panics if the container has another main process now.
    pub(crate) fn assert_is_main_process_of(&self, name: &str) {
        assert_eq!(container_pid(name), self.pid, "{name} was restarted");
    }

    /// Current memory of the process.
    pub(crate) fn memory(&self) -> Memory {
        parse_memory(&self.read("status"))
    }

    /// Processor time used so far by all threads.
    pub(crate) fn cpu_time(&self) -> Duration {
        let ticks = parse_ticks(&self.read("stat"));
        Duration::from_millis(ticks * 1000 / self.ticks_per_second)
    }

    fn read(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.pid);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

/// Process id, on this machine, of a container's main process.
pub(crate) fn container_pid(container: &str) -> u32 {
    inspect(container, "{{.State.Pid}}").parse().unwrap()
}

fn parse_memory(status: &str) -> Memory {
    let value = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
        number.unwrap_or_else(|| panic!("no {name}")).parse()
    };
    Memory {
        resident: value("VmRSS:").unwrap(),
        anonymous: value("RssAnon:").unwrap(),
    }
}

/// Sum of fields 14 and 15, user and system mode. The process name before them may contain spaces.
fn parse_ticks(stat: &str) -> u64 {
    let (_, after_name) = stat.rsplit_once(')').unwrap();
    let modes = after_name.split_whitespace().skip(11).take(2);
    modes.map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_status_is_parsed() {
        let status =
            "Name:\twatchdog\nVmRSS:\t    6540 kB\nRssAnon:\t    2048 kB\nRssFile:\t 4492 kB\n";
        let expected = Memory {
            resident: 6540,
            anonymous: 2048,
        };
        assert_eq!(parse_memory(status), expected);
    }

    #[test]
    fn cpu_time_sums_both_modes_whatever_the_name() {
        let stat =
            "4711 (a b) c) S 1 4711 4711 0 -1 4194560 800 0 12 0 30 12 5 6 20 0 4 0 99 1 2 3";
        assert_eq!(parse_ticks(stat), 42);
    }
}
