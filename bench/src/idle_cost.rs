//! Measures memory and processor time of the services beside idle traders: of the main process of each service.
//! Health checks are separate processes and not included.

use std::time::Duration;

use bearish_tests::docker::{Project, compose, find_image, run_command, run_name};
use clap::Args;
use tokio::time::{Instant, sleep};

use crate::machine::{self, IdleTime};
use crate::proc::{Memory, ProcessStats};
use crate::supervision_cost;

/// Measured services of compose.yaml; each image has the same name.
const SERVICES: [&str; 2] = ["watchdog", "notifier"];
/// Target of the resident memory of each service.
const TARGET_RSS_KB: u64 = 10_000;
const TARGET_CPU_PERCENT: f64 = 0.1;
/// All symbols of the simulated exchange.
const SYMBOLS: &str = "BTCUSDT,ETHUSDT,SOLUSDT,BNBUSDT,XRPUSDT";
const HEARTBEAT_SECS: &str = "5";
/// Time after which the books are assigned and the start is complete.
const SETTLE_TIME: Duration = Duration::from_mins(1);
const POLL_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Minutes to measure
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,
    /// Number of paper traders
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=99))]
    traders: u32,
    /// Measure only the watchdog instead, once for each number of containers (no images needed)
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=500))]
    supervised: Vec<u32>,
}

/// Measurement of sample service.
struct ServiceSample {
    service: &'static str,
    container: String,
    proc: ProcessStats,
    cpu_at_start: Duration,
    last: Memory,
    /// Maximum of the resident memory in kB.
    max_resident: u64,
}

pub(crate) async fn measure(options: &Options) {
    let span = Duration::from_secs(options.minutes * 60);
    if !options.supervised.is_empty() {
        supervision_cost::measure(&options.supervised, span).await;
        return;
    }
    let services = available_services();
    machine::print(&services);
    println!(
        "measured: main processes for {span:?}, starting {SETTLE_TIME:?} after {} paper traders were healthy;\n\
         a heartbeat every {HEARTBEAT_SECS} s; the traders share {SYMBOLS} (further traders have no book)\n",
        options.traders
    );
    let project = start_project(options.traders, &services);
    sleep(SETTLE_TIME).await;
    let mut samples: Vec<ServiceSample> = services
        .into_iter()
        .map(|service| ServiceSample::new(&project, service))
        .collect();
    let (start, idle) = (Instant::now(), IdleTime::begin());
    while start.elapsed() < span {
        sleep(POLL_INTERVAL).await;
        samples.iter_mut().for_each(ServiceSample::sample);
    }
    print(&samples, start.elapsed());
    idle.print();
}

/// Services that compose.yaml has and whose images exist; prints which ones are skipped.
fn available_services() -> Vec<&'static str> {
    let known = run_command(compose("present").args(["config", "--services"]));
    let known: Vec<&str> = known.lines().collect();
    let mut services = SERVICES.to_vec();
    services.retain(|service| {
        let reason = if !known.contains(service) {
            "compose.yaml has no such service"
        } else if find_image(service).1.is_none() {
            "its image is not built"
        } else {
            return true;
        };
        println!("skipped: {service}: {reason}");
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

    /// Percent of a core since the start of the measurement.
    fn cpu_percent(&self, span: Duration) -> f64 {
        let used = self.proc.cpu_time().saturating_sub(self.cpu_at_start);
        used.as_secs_f64() / span.as_secs_f64() * 100.0
    }
}

fn print(samples: &[ServiceSample], span: Duration) {
    println!(
        "{:<10}{:>12}{:>12}{:>14}{:>10}",
        "service", "RSS kB", "RSS max kB", "anonymous kB", "CPU %"
    );
    for sample in samples {
        sample.proc.assert_is_main_process_of(&sample.container);
        let load = sample.cpu_percent(span);
        println!(
            "{:<10}{:>12}{:>12}{:>14}{load:>10.3}{}",
            sample.service,
            sample.last.resident,
            sample.max_resident,
            sample.last.anonymous,
            missed_targets(sample.max_resident, load)
        );
    }
    println!("target: RSS under {TARGET_RSS_KB} kB, CPU under {TARGET_CPU_PERCENT} % of a core");
}

fn missed_targets(max_resident: u64, load: f64) -> &'static str {
    match (max_resident < TARGET_RSS_KB, load < TARGET_CPU_PERCENT) {
        (true, true) => "",
        (false, true) => "  missed: RSS",
        (true, false) => "  missed: CPU",
        (false, false) => "  missed: RSS and CPU",
    }
}
