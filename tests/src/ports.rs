//! Ports that a server can be killed on and started on again.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below Linux's range for outgoing connections: nobody takes such a port while its owner is down.
const FIRST_PORT: u32 = 10_000;
const BLOCKS: u32 = 2_000;
const PORTS_PER_PROCESS: u32 = 10;

/// A port that no other test uses: each test process has a block of its own.
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
