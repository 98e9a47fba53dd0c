//! When the dead man's switch is held: only while the owner would hear of trouble. Whoever waits at the
//! other end for its next sign raises the alarm when none comes.

use crate::fallback::PATIENCE_MS;

/// A loop that has not turned for this long is stuck, in milliseconds.
const STUCK_MS: u64 = 20_000;

/// What can be seen of the way from an event to the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signs {
    /// The connection to the bus stands.
    pub bus: bool,
    /// The watchdog is heard within its time.
    pub watchdog: bool,
    /// How long the oldest critical waits that Telegram has not taken.
    pub oldest_critical_ms: Option<u64>,
    /// The last delivery did what it should.
    pub delivers: bool,
    /// How long ago the loop that delivers last turned.
    pub turned_ms: Option<u64>,
}

/// Why the switch is let go; none while all is well.
pub const fn illness(signs: &Signs) -> Option<&'static str> {
    if !signs.bus {
        return Some("the bus is away");
    }
    if !signs.watchdog {
        return Some("the watchdog is not heard");
    }
    if !signs.delivers {
        return Some("the last delivery failed");
    }
    if matches!(signs.oldest_critical_ms, Some(waits) if waits >= PATIENCE_MS) {
        return Some("a critical waits for too long");
    }
    match signs.turned_ms {
        Some(turned) if turned < STUCK_MS => None,
        _ => Some("the loop that delivers stands still"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: Signs = Signs {
        bus: true,
        watchdog: true,
        oldest_critical_ms: None,
        delivers: true,
        turned_ms: Some(1_000),
    };

    #[test]
    fn all_must_be_well() {
        let young = Some(PATIENCE_MS - 1);
        let old = Some(PATIENCE_MS);
        let table = [
            (WELL, None),
            (
                Signs {
                    oldest_critical_ms: young,
                    ..WELL
                },
                None,
            ),
            (Signs { bus: false, ..WELL }, Some("bus")),
            (
                Signs {
                    watchdog: false,
                    ..WELL
                },
                Some("watchdog"),
            ),
            (
                Signs {
                    oldest_critical_ms: old,
                    ..WELL
                },
                Some("waits for too long"),
            ),
            (
                Signs {
                    delivers: false,
                    ..WELL
                },
                Some("delivery failed"),
            ),
            (
                Signs {
                    turned_ms: Some(STUCK_MS),
                    ..WELL
                },
                Some("stands still"),
            ),
            (
                Signs {
                    turned_ms: None,
                    ..WELL
                },
                Some("stands still"),
            ),
        ];
        for (signs, expected) in table {
            let found = illness(&signs);
            match expected {
                None => assert_eq!(found, None, "{signs:?}"),
                Some(words) => assert!(found.unwrap().contains(words), "{signs:?}: {found:?}"),
            }
        }
    }
}
