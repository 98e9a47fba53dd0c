//! Faults that a test arms from outside. Only a build with debug assertions has them: no image.

use protocol::ids::Token;

/// `FAILPOINT_SPIN=ETHUSDT`: that book's next decision about a candle does not return.
pub(crate) fn spin(symbol: &Token) {
    if cfg!(debug_assertions) && armed("FAILPOINT_SPIN", symbol) {
        loop {
            std::hint::spin_loop();
        }
    }
}

fn armed(name: &str, symbol: &Token) -> bool {
    std::env::var(name).is_ok_and(|value| value == symbol.as_str())
}
