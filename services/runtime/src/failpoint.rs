//! Faults that a test arms from outside. Only builds with debug assertions have them; images do not.

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
