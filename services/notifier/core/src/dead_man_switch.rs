//! When the dead man's switch is held: only while the owner would hear of trouble. Whoever waits at the
//! other end for its next sign raises the alarm when none comes.

use crate::fallback::FALLBACK_DELAY_MS;

/// A loop that has not turned for this long is stuck, in milliseconds.
const HUNG_AFTER_MS: u64 = 20_000;

/// What can be seen of the way from an event to the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LivenessSignals {
    /// The connection to the bus stands.
    pub is_bus_connected: bool,
    /// The watchdog is heard within its time.
    pub is_watchdog_alive: bool,
    /// How long the oldest critical waits that Telegram has not taken.
    pub oldest_critical_ms: Option<u64>,
    /// The last delivery did what it should.
    pub last_delivery_succeeded: bool,
    /// How long ago the loop that delivers last turned.
    pub dispatcher_idle_ms: Option<u64>,
}

/// Why the switch is let go; none while all is well.
pub const fn reason_to_withhold_ping(signs: &LivenessSignals) -> Option<&'static str> {
    if !signs.is_bus_connected {
        return Some("the bus is away");
    }
    if !signs.is_watchdog_alive {
        return Some("the watchdog is not heard");
    }
    if !signs.last_delivery_succeeded {
        return Some("the last delivery failed");
    }
    if matches!(signs.oldest_critical_ms, Some(waits) if waits >= FALLBACK_DELAY_MS) {
        return Some("a critical waits for too long");
    }
    match signs.dispatcher_idle_ms {
        Some(turned) if turned < HUNG_AFTER_MS => None,
        _ => Some("the loop that delivers stands still"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL_WELL: LivenessSignals = LivenessSignals {
        is_bus_connected: true,
        is_watchdog_alive: true,
        oldest_critical_ms: None,
        last_delivery_succeeded: true,
        dispatcher_idle_ms: Some(1_000),
    };

    #[test]
    fn dead_man_switch_pings_only_while_every_signal_is_good() {
        let young = Some(FALLBACK_DELAY_MS - 1);
        let old = Some(FALLBACK_DELAY_MS);
        let table = [
            (ALL_WELL, None),
            (
                LivenessSignals {
                    oldest_critical_ms: young,
                    ..ALL_WELL
                },
                None,
            ),
            (
                LivenessSignals {
                    is_bus_connected: false,
                    ..ALL_WELL
                },
                Some("bus"),
            ),
            (
                LivenessSignals {
                    is_watchdog_alive: false,
                    ..ALL_WELL
                },
                Some("watchdog"),
            ),
            (
                LivenessSignals {
                    oldest_critical_ms: old,
                    ..ALL_WELL
                },
                Some("waits for too long"),
            ),
            (
                LivenessSignals {
                    last_delivery_succeeded: false,
                    ..ALL_WELL
                },
                Some("delivery failed"),
            ),
            (
                LivenessSignals {
                    dispatcher_idle_ms: Some(HUNG_AFTER_MS),
                    ..ALL_WELL
                },
                Some("stands still"),
            ),
            (
                LivenessSignals {
                    dispatcher_idle_ms: None,
                    ..ALL_WELL
                },
                Some("stands still"),
            ),
        ];
        for (signs, expected) in table {
            let found = reason_to_withhold_ping(&signs);
            match expected {
                None => assert_eq!(found, None, "{signs:?}"),
                Some(words) => assert!(found.unwrap().contains(words), "{signs:?}: {found:?}"),
            }
        }
    }
}
