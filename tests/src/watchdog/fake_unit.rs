//! A unit that does what a test needs: it publishes heartbeats like a trader, exits with the code that a signal
//! stands for, ignores SIGTERM, eats memory. It is the only process of its container. It has no dependency, so that
//! one call of rustc builds it.
//!
//! Exit codes: SIGTERM 0, SIGINT 0, SIGALRM 1, SIGUSR1 70, SIGUSR2 78, SIGHUP 20, SIGPROF 21.
//! Faults: SIGURG stalls its component while heartbeats continue; SIGVTALRM burns the processor and does nothing else;
//! SIGXCPU cuts it off the bus; SIGPWR cuts it off market data; SIGWINCH makes it allocate memory without end, SIGTTIN
//! a child process.
//! Environment: NATS (host:port), USER, PASSWORD, PROJECT, HOST, UNIT, HEARTBEAT_MS; LOG_LINE (printed first), EXIT
//! (exits at once with this code), IGNORE_SIGTERM, EAT_MEMORY, EAT_MEMORY_CHILD, LATCH (heartbeats name this latch of
//! the account paper.v.a; an empty value names the account only).
//! With the argument `--ok` it is a health check that always succeeds.
//!
//! With SERVICE it is a service that only answers health checks (argument `--check-health`): healthy, or after SIGURG
//! waiting for a dependency (69).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

extern "C" {
    fn signal(number: i32, handler: usize) -> usize;
    fn _exit(code: i32) -> !;
}

static STALLED: AtomicBool = AtomicBool::new(false);
static BUS_CUT: AtomicBool = AtomicBool::new(false);
static NO_MARKET_DATA: AtomicBool = AtomicBool::new(false);
static EAT_MEMORY: AtomicBool = AtomicBool::new(false);
static EAT_MEMORY_CHILD: AtomicBool = AtomicBool::new(false);

extern "C" fn set_flag(number: i32) {
    let flag = match number {
        21 => &EAT_MEMORY_CHILD,
        23 => &STALLED,
        24 => &BUS_CUT,
        30 => &NO_MARKET_DATA,
        _ => &EAT_MEMORY,
    };
    flag.store(true, Ordering::Relaxed);
}

extern "C" fn burn_cpu(_: i32) {
    loop {
        std::hint::spin_loop();
    }
}

extern "C" fn exit_by_signal(number: i32) {
    let code = match number {
        10 => 70,
        12 => 78,
        1 => 20,
        14 => 1,
        27 => 21,
        _ => 0,
    };
    unsafe { _exit(code) }
}

fn var(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn main() {
    if std::env::args().any(|argument| argument == "--ok") {
        return;
    }
    if std::env::args().any(|argument| argument == "--check-health") {
        let answer = check_health().unwrap_or(1);
        std::process::exit(answer.into());
    }
    for number in [1, 2, 10, 12, 14, 15, 27] {
        let ignored = number == 15 && var("IGNORE_SIGTERM").is_some();
        if !ignored {
            unsafe { signal(number, exit_by_signal as extern "C" fn(i32) as usize) };
        }
    }
    for number in [21, 23, 24, 28, 30] {
        unsafe { signal(number, set_flag as extern "C" fn(i32) as usize) };
    }
    unsafe { signal(26, burn_cpu as extern "C" fn(i32) as usize) };
    if var("SERVICE").is_some() {
        serve_health();
    }
    if let Some(line) = var("LOG_LINE") {
        println!("{line}");
    }
    if let Some(code) = var("EXIT") {
        std::process::exit(code.parse().unwrap());
    }
    if var("EAT_MEMORY").is_some() {
        eat_memory();
    }
    if var("EAT_MEMORY_CHILD").is_some() {
        start_eating_child();
    }
    let start = Instant::now();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap();
    let boot = boot.trim().replace('-', "");
    loop {
        if let Err(error) = publish_heartbeats(start, &boot) {
            println!("bus: {error}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn address() -> SocketAddr {
    SocketAddr::from_abstract_name(var("SERVICE").unwrap()).unwrap()
}

fn check_health() -> std::io::Result<u8> {
    let mut stream = UnixStream::connect_addr(&address())?;
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    let mut answer = [0];
    stream.read_exact(&mut answer)?;
    Ok(answer[0])
}

fn serve_health() -> ! {
    let listener = UnixListener::bind_addr(&address()).unwrap();
    for caller in listener.incoming() {
        let answer = if STALLED.load(Ordering::Relaxed) {
            69
        } else {
            0
        };
        let _ = caller.and_then(|mut caller| caller.write_all(&[answer]));
    }
    unreachable!()
}

fn start_eating_child() {
    let mut child = std::process::Command::new("/fake-unit");
    child.env("EAT_MEMORY", "1").spawn().unwrap();
}

/// Allocates memory until the kernel kills the process.
fn eat_memory() {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    loop {
        eaten.push(vec![1; 1 << 20]);
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn publish_heartbeats(start: Instant, boot: &str) -> std::io::Result<()> {
    let mut bus = TcpStream::connect(var("NATS").unwrap())?;
    let mut answers = BufReader::new(bus.try_clone()?);
    let mut pong = bus.try_clone()?;
    std::thread::spawn(move || {
        let mut line = String::new();
        while matches!(answers.read_line(&mut line), Ok(1..)) {
            if line.starts_with("PING") && pong.write_all(b"PONG\r\n").is_err() {
                return;
            }
            line.clear();
        }
    });
    let (user, password) = (var("USER").unwrap(), var("PASSWORD").unwrap());
    let connect =
        format!("CONNECT {{\"verbose\":false,\"user\":\"{user}\",\"pass\":\"{password}\"}}\r\n");
    bus.write_all(connect.as_bytes())?;
    let key = ["PROJECT", "HOST", "UNIT"]
        .map(|name| var(name).unwrap())
        .join(".");
    let subject = format!("heartbeat.v1.trader.paper.{key}");
    let interval_ms: u64 = var("HEARTBEAT_MS").unwrap().parse().unwrap();
    let latch = var("LATCH").map_or_else(String::new, |latch| {
        let account =
            ",\"account\":{\"mode\":\"paper\",\"venue\":\"v\",\"account\":\"a\"}".to_owned();
        match latch.as_str() {
            "" => account,
            latch => format!("{account},\"latch_id\":\"{latch}\""),
        }
    });
    let (mut iterations, mut errors) = (0, 0);
    for seq in 1.. {
        let no_market = NO_MARKET_DATA.load(Ordering::Relaxed);
        errors += u32::from(no_market);
        let feed = if no_market { "retrying" } else { "ok" };
        iterations += u32::from(!STALLED.load(Ordering::Relaxed));
        if EAT_MEMORY.load(Ordering::Relaxed) {
            eat_memory();
        }
        if EAT_MEMORY_CHILD.swap(false, Ordering::Relaxed) {
            start_eating_child();
        }
        if BUS_CUT.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(interval_ms));
            continue;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let body = format!(
            "{{\"v\":1,\"boot\":\"{boot}\",\"seq\":{seq},\"at\":{},\"uptime_ms\":{},\
             \"interval_ms\":{interval_ms},\"phase\":\"running\",\"components\":{{\"work\":{{\"iterations\":{iterations},\
             \"errors\":0,\"state\":\"ok\",\"deadline_ms\":2000}},\"feed\":{{\"iterations\":{seq},\"errors\":{errors},\
             \"state\":\"{feed}\"}}}},\"candle_age_ms\":900,\"entries_decided\":0,\"errors\":{errors}{latch}}}",
            now.as_millis(),
            start.elapsed().as_millis()
        );
        write!(bus, "PUB {subject} {}\r\n{body}\r\n", body.len())?;
        std::thread::sleep(Duration::from_millis(interval_ms));
    }
    Ok(())
}
