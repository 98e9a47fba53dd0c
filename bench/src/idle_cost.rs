//! What the services around the traders cost while traders do nothing but trade: memory and processor
//! time of each one's main process. Health checks are processes of their own and not in it.

use std::time::Duration;

use bearish_tests::docker::{Project, compose, find_image, run_command, run_name};
use clap::Args;
use tokio::time::{Instant, sleep};

use crate::machine::{self, IdleTime};
use crate::proc::{Memory, ProcessStats};
use crate::supervision_cost;

/// What is measured: services of compose.yaml, each one's image by the same name.
const SERVICES: [&str; 2] = ["watchdog", "notifier"];
/// What each of them should stay under.
const TARGET_RSS_KB: u64 = 10_000;
const TARGET_CPU_PERCENT: f64 = 0.1;
/// Every symbol that the simulated exchange has.
const SYMBOLS: &str = "BTCUSDT,ETHUSDT,SOLUSDT,BNBUSDT,XRPUSDT";
const HEARTBEAT_SECS: &str = "5";
/// After this the books are shared out and start-up is over.
const SETTLE_TIME: Duration = Duration::from_mins(1);
const POLL_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How long to measure
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,
    /// Paper traders
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=99))]
    traders: u32,
    /// The watchdog alone instead, with so many containers each time (no images needed)
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=500))]
    supervised: Vec<u32>,
}

/// A service while it is watched.
struct ServiceSample {
    service: &'static str,
    container: String,
    proc: ProcessStats,
    cpu_at_start: Duration,
    last: Memory,
    /// The most of it that was resident.
    max_resident: u64,
}

/// Measures and prints.
pub(crate) async fn measure(options: &Options) {
    let span = Duration::from_secs(options.minutes * 60);
    if !options.supervised.is_empty() {
        supervision_cost::measure(&options.supervised, span).await;
        return;
    }
    let services = available_services();
    machine::print(&services);
    println!(
        "measured: main processes for {span:?}, beginning {SETTLE_TIME:?} after {} paper traders were healthy;\n\
         they beat every {HEARTBEAT_SECS} s and share the symbols {SYMBOLS} (the others wait)\n",
        options.traders
    );
    let project = start_project(options.traders, &services);
    sleep(SETTLE_TIME).await;
    let mut watched: Vec<ServiceSample> = services
        .into_iter()
        .map(|service| ServiceSample::new(&project, service))
        .collect();
    let (began, leisure) = (Instant::now(), IdleTime::begin());
    while began.elapsed() < span {
        sleep(POLL_INTERVAL).await;
        watched.iter_mut().for_each(ServiceSample::sample);
    }
    print(&watched, began.elapsed());
    leisure.print();
}

/// Those that compose.yaml has and that are built; says which are left out.
fn available_services() -> Vec<&'static str> {
    let known = run_command(compose("present").args(["config", "--services"]));
    let known: Vec<&str> = known.lines().collect();
    let mut services = SERVICES.to_vec();
    services.retain(|service| {
        let why_not = if !known.contains(service) {
            "compose.yaml has no such service"
        } else if find_image(service).1.is_none() {
            "its image is not built"
        } else {
            return true;
        };
        println!("left out: {service}: {why_not}");
        false
    });
    services
}

fn start_project(traders: u32, services: &[&str]) -> Project {
    let variables = [
        ("HEARTBEAT_SECS", HEARTBEAT_SECS),
        ("SYMBOLS", SYMBOLS),
        ("SIM_SYMBOLS", SYMBOLS),
    ];
    let scale = format!("trader-paper={traders}");
    let mut arguments = vec!["--scale", &scale, "trader-paper"];
    arguments.extend(services);
    Project::up(&format!("{}-idle", run_name()), &variables, &arguments)
}

impl ServiceSample {
    fn new(project: &Project, service: &'static str) -> Self {
        let container = project.container_name(service, 1);
        let proc = ProcessStats::of_container(&container);
        let memory = proc.memory();
        Self {
            service,
            container,
            cpu_at_start: proc.cpu_time(),
            last: memory,
            max_resident: memory.resident,
            proc,
        }
    }

    fn sample(&mut self) {
        self.last = self.proc.memory();
        self.max_resident = self.max_resident.max(self.last.resident);
    }

    /// Percent of one core since the beginning.
    fn cpu_percent(&self, span: Duration) -> f64 {
        let used = self.proc.cpu_time().saturating_sub(self.cpu_at_start);
        used.as_secs_f64() / span.as_secs_f64() * 100.0
    }
}

fn print(watched: &[ServiceSample], span: Duration) {
    println!(
        "{:<10}{:>12}{:>12}{:>14}{:>10}",
        "service", "RSS kB", "RSS max kB", "of it own kB", "CPU %"
    );
    for one in watched {
        one.proc.assert_is_main_process_of(&one.container);
        let load = one.cpu_percent(span);
        println!(
            "{:<10}{:>12}{:>12}{:>14}{load:>10.3}{}",
            one.service,
            one.last.resident,
            one.max_resident,
            one.last.anonymous,
            missed_targets(one.max_resident, load)
        );
    }
    println!("aim: RSS under {TARGET_RSS_KB} kB, CPU under {TARGET_CPU_PERCENT} % of a core");
}

fn missed_targets(most: u64, load: f64) -> &'static str {
    match (most < TARGET_RSS_KB, load < TARGET_CPU_PERCENT) {
        (true, true) => "",
        (false, true) => "  missed: RSS",
        (true, false) => "  missed: CPU",
        (false, false) => "  missed: RSS and CPU",
    }
}
