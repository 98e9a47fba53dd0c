//! Faults that a test arms from outside. Only a build with debug assertions has them: no image.

/// `FAILPOINT_SPIN=ETHUSDT`: whoever passes here with this name does not return.
pub fn spin(name: &str) {
    if cfg!(debug_assertions) && std::env::var("FAILPOINT_SPIN").is_ok_and(|armed| armed == name) {
        loop {
            std::hint::spin_loop();
        }
    }
}
