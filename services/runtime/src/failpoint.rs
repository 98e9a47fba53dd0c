//! Faults that a test arms from outside. Only builds with debug assertions have them; images do not.

use std::path::PathBuf;
use std::sync::OnceLock;

/// Never returns if `FAILPOINT_SPIN` has this name.
pub fn spin(name: &str) {
    if cfg!(debug_assertions) && std::env::var("FAILPOINT_SPIN").is_ok_and(|armed| armed == name) {
        loop {
            std::hint::spin_loop();
        }
    }
}

/// Panics if `FAILPOINT_PANIC` has this name.
pub fn panic(name: &str) {
    let is_armed =
        cfg!(debug_assertions) && std::env::var("FAILPOINT_PANIC").is_ok_and(|armed| armed == name);
    assert!(!is_armed, "failpoint of {name}");
}

/// Offset of the wall clock in milliseconds: the content of the file that `FAILPOINT_CLOCK_OFFSET_FILE` names, read at
/// each call, so that a test steps the clock of a running process. 0 without one.
pub fn clock_offset_ms() -> i64 {
    static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
    if !cfg!(debug_assertions) {
        return 0;
    }
    let file =
        FILE.get_or_init(|| std::env::var_os("FAILPOINT_CLOCK_OFFSET_FILE").map(PathBuf::from));
    let text = file
        .as_ref()
        .and_then(|file| std::fs::read_to_string(file).ok());
    text.and_then(|text| text.trim().parse().ok())
        .unwrap_or_default()
}
