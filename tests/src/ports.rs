//! Reserves ports on which a server can be killed and restarted.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below Linux's range for outgoing connections: no connection takes such a port while its server is down.
const FIRST_PORT: u32 = 10_000;
const BLOCKS: u32 = 2_000;
const PORTS_PER_PROCESS: u32 = 10;

/// Returns a port that no other test uses: each test process has its own block.
pub fn reserve() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let block = FIRST_PORT + std::process::id() % BLOCKS * PORTS_PER_PROCESS;
    for _ in 0..BLOCKS {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(
            FIRST_PORT + (block - FIRST_PORT + offset) % (BLOCKS * PORTS_PER_PROCESS),
        )
        .unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port from {FIRST_PORT} on");
}
