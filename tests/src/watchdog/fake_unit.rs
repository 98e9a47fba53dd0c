//! A unit that does what a test needs: beats over the bus like a trader, ends with the exit code that a
//! signal stands for, ignores SIGTERM, eats memory. The only process of its container. No dependency:
//! one call of rustc makes it.
//!
//! SIGTERM 0, SIGINT 0, SIGALRM 1, SIGUSR1 70, SIGUSR2 78, SIGHUP 20, SIGPROF 21. After SIGURG its heart beats on
//! but its work stands still; after SIGVTALRM it does nothing but burn the processor, after SIGXCPU it is cut off the
//! bus and otherwise well, after SIGPWR its market; after SIGWINCH it eats memory, after SIGTTIN a child of it does. Settings by environment: NATS
//! (host:port), USER, PASSWORD, UNIT, BEAT_MS; SAYS (to its log, first), EXIT (code, at once), DEAF (ignores SIGTERM), HUNGRY
//! (eats memory until it is killed), HUNGRY_CHILD (has a child that does), LATCH (its heartbeats say that the account
//! paper.v.a is closed by this latch; with an empty one only whose account it is). With any argument `--ok` it is
//! a health check that finds everything well.
//!
//! With SERVICE it is a service instead, that only answers health checks (argument `--asks`): that it is well; after
//! SIGURG that it waits for something else (69).

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

static STUCK: AtomicBool = AtomicBool::new(false);
static CUT_OFF: AtomicBool = AtomicBool::new(false);
static NO_MARKET: AtomicBool = AtomicBool::new(false);
static HUNGRY: AtomicBool = AtomicBool::new(false);
static HUNGRY_CHILD: AtomicBool = AtomicBool::new(false);

extern "C" fn note(number: i32) {
    let flag = match number {
        21 => &HUNGRY_CHILD,
        23 => &STUCK,
        24 => &CUT_OFF,
        30 => &NO_MARKET,
        _ => &HUNGRY,
    };
    flag.store(true, Ordering::Relaxed);
}

extern "C" fn spin(_: i32) {
    loop {
        std::hint::spin_loop();
    }
}

extern "C" fn end(number: i32) {
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
    if std::env::args().any(|argument| argument == "--asks") {
        let answer = ask().unwrap_or(1);
        std::process::exit(answer.into());
    }
    for number in [1, 2, 10, 12, 14, 15, 27] {
        let ignored = number == 15 && var("DEAF").is_some();
        if !ignored {
            unsafe { signal(number, end as extern "C" fn(i32) as usize) };
        }
    }
    for number in [21, 23, 24, 28, 30] {
        unsafe { signal(number, note as extern "C" fn(i32) as usize) };
    }
    unsafe { signal(26, spin as extern "C" fn(i32) as usize) };
    if var("SERVICE").is_some() {
        answer();
    }
    if let Some(said) = var("SAYS") {
        println!("{said}");
    }
    if let Some(code) = var("EXIT") {
        std::process::exit(code.parse().unwrap());
    }
    if var("HUNGRY").is_some() {
        eat();
    }
    if var("HUNGRY_CHILD").is_some() {
        feed_child();
    }
    let began = Instant::now();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap();
    let boot = boot.trim().replace('-', "");
    loop {
        if let Err(error) = beat(began, &boot) {
            println!("bus: {error}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn address() -> SocketAddr {
    SocketAddr::from_abstract_name(var("SERVICE").unwrap()).unwrap()
}

fn ask() -> std::io::Result<u8> {
    let mut asked = UnixStream::connect_addr(&address())?;
    asked.set_read_timeout(Some(Duration::from_millis(500)))?;
    let mut answer = [0];
    asked.read_exact(&mut answer)?;
    Ok(answer[0])
}

fn answer() -> ! {
    let listener = UnixListener::bind_addr(&address()).unwrap();
    for caller in listener.incoming() {
        let answer = if STUCK.load(Ordering::Relaxed) { 69 } else { 0 };
        let _ = caller.and_then(|mut caller| caller.write_all(&[answer]));
    }
    unreachable!()
}

fn feed_child() {
    let mut child = std::process::Command::new("/fake-unit");
    child.env("HUNGRY", "1").spawn().unwrap();
}

/// Until the kernel has had enough.
fn eat() {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    loop {
        eaten.push(vec![1; 1 << 20]);
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn beat(began: Instant, boot: &str) -> std::io::Result<()> {
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
    let connect = format!(
        "CONNECT {{\"verbose\":false,\"user\":\"{user}\",\"pass\":\"{password}\"}}\r\n"
    );
    bus.write_all(connect.as_bytes())?;
    let subject = format!("heartbeat.v1.trader.{}", var("UNIT").unwrap());
    let every: u64 = var("BEAT_MS").unwrap().parse().unwrap();
    let latch = var("LATCH").map_or_else(String::new, |latch| {
        let account = ",\"account\":{\"mode\":\"paper\",\"venue\":\"v\",\"account\":\"a\"}".to_owned();
        match latch.as_str() {
            "" => account,
            latch => format!("{account},\"latch\":\"{latch}\""),
        }
    });
    let (mut turns, mut errors) = (0, 0);
    for seq in 1.. {
        let no_market = NO_MARKET.load(Ordering::Relaxed);
        errors += u32::from(no_market);
        let feed = if no_market { "retrying" } else { "ok" };
        turns += u32::from(!STUCK.load(Ordering::Relaxed));
        if HUNGRY.load(Ordering::Relaxed) {
            eat();
        }
        if HUNGRY_CHILD.swap(false, Ordering::Relaxed) {
            feed_child();
        }
        if CUT_OFF.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(every));
            continue;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let body = format!(
            "{{\"v\":1,\"boot\":\"{boot}\",\"seq\":{seq},\"at\":{},\"uptime_ms\":{},\
             \"interval_ms\":{every},\"phase\":\"running\",\"parts\":{{\"work\":{{\"turns\":{turns},\
             \"errors\":0,\"state\":\"ok\",\"within_ms\":2000}},\"feed\":{{\"turns\":{seq},\"errors\":{errors},\
             \"state\":\"{feed}\"}}}},\"candle_age_ms\":900,\"signals\":0,\"errors\":{errors}{latch}}}",
            now.as_millis(),
            began.elapsed().as_millis()
        );
        write!(bus, "PUB {subject} {}\r\n{body}\r\n", body.len())?;
        std::thread::sleep(Duration::from_millis(every));
    }
    Ok(())
}
