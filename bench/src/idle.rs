//! What the services around the traders cost while traders do nothing but trade: memory and processor
//! time of each one's main process. Health checks are processes of their own and not in it.

use std::time::Duration;

use bearish_tests::docker::{Project, compose, find_image, run, run_name};
use clap::Args;
use tokio::time::{Instant, sleep};

use crate::machine::{self, Leisure};
use crate::proc::{Memory, Proc};
use crate::supervised;

/// What is measured: services of compose.yaml, each one's image by the same name.
const SERVICES: [&str; 2] = ["watchdog", "notifier"];
/// What each of them should stay under.
const MOST_KB: u64 = 10_000;
const MOST_PERCENT: f64 = 0.1;
/// Every symbol that the simulated exchange has.
const SYMBOLS: &str = "BTCUSDT,ETHUSDT,SOLUSDT,BNBUSDT,XRPUSDT";
const HEARTBEAT_SECS: &str = "5";
/// After this the books are shared out and start-up is over.
const CALM: Duration = Duration::from_mins(1);
const LOOK_EVERY: Duration = Duration::from_secs(1);

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
struct Watched {
    service: &'static str,
    container: String,
    proc: Proc,
    used: Duration,
    last: Memory,
    /// The most of it that was resident.
    most: u64,
}

/// Measures and prints.
pub(crate) async fn measure(options: &Options) {
    let span = Duration::from_secs(options.minutes * 60);
    if !options.supervised.is_empty() {
        supervised::measure(&options.supervised, span).await;
        return;
    }
    let services = present();
    machine::print(&services);
    println!(
        "measured: main processes for {span:?}, beginning {CALM:?} after {} paper traders were healthy;\n\
         they beat every {HEARTBEAT_SECS} s and share the symbols {SYMBOLS} (the others wait)\n",
        options.traders
    );
    let project = up(options.traders, &services);
    sleep(CALM).await;
    let mut watched: Vec<Watched> = services
        .into_iter()
        .map(|service| Watched::new(&project, service))
        .collect();
    let (began, leisure) = (Instant::now(), Leisure::begin());
    while began.elapsed() < span {
        sleep(LOOK_EVERY).await;
        watched.iter_mut().for_each(Watched::look);
    }
    print(&watched, began.elapsed());
    leisure.print();
}

/// Those that compose.yaml has and that are built; says which are left out.
fn present() -> Vec<&'static str> {
    let known = run(compose("present").args(["config", "--services"]));
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

fn up(traders: u32, services: &[&str]) -> Project {
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

impl Watched {
    fn new(project: &Project, service: &'static str) -> Self {
        let container = project.container(service, 1);
        let proc = Proc::of_container(&container);
        let memory = proc.memory();
        Self {
            service,
            container,
            used: proc.used(),
            last: memory,
            most: memory.resident,
            proc,
        }
    }

    fn look(&mut self) {
        self.last = self.proc.memory();
        self.most = self.most.max(self.last.resident);
    }

    /// Percent of one core since the beginning.
    fn load(&self, span: Duration) -> f64 {
        let used = self.proc.used().saturating_sub(self.used);
        used.as_secs_f64() / span.as_secs_f64() * 100.0
    }
}

fn print(watched: &[Watched], span: Duration) {
    println!(
        "{:<10}{:>12}{:>12}{:>14}{:>10}",
        "service", "RSS kB", "RSS max kB", "of it own kB", "CPU %"
    );
    for one in watched {
        one.proc.is_still_that_of(&one.container);
        let load = one.load(span);
        println!(
            "{:<10}{:>12}{:>12}{:>14}{load:>10.3}{}",
            one.service,
            one.last.resident,
            one.most,
            one.last.anonymous,
            missed(one.most, load)
        );
    }
    println!("aim: RSS under {MOST_KB} kB, CPU under {MOST_PERCENT} % of a core");
}

fn missed(most: u64, load: f64) -> &'static str {
    match (most < MOST_KB, load < MOST_PERCENT) {
        (true, true) => "",
        (false, true) => "  missed: RSS",
        (true, false) => "  missed: CPU",
        (false, false) => "  missed: RSS and CPU",
    }
}
