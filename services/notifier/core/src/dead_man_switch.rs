//! Decides whether the dead man's switch is pinged: only while a notification would reach the operator. A missing ping
//! raises an alarm outside.

use crate::fallback::FALLBACK_DELAY_MS;

/// A dispatcher without an iteration for this long hangs, in milliseconds.
const HUNG_AFTER_MS: u64 = 20_000;

/// Signals about each step between an event and the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LivenessSignals {
    /// Whether the bus is connected.
    pub is_bus_connected: bool,
    /// Whether a watchdog heartbeat arrived within its timeout.
    pub is_watchdog_alive: bool,
    /// Age of the oldest critical notification that Telegram has not accepted; `None` without one.
    pub oldest_critical_ms: Option<u64>,
    /// Whether the last call to Telegram delivered.
    pub last_delivery_succeeded: bool,
    /// Time since the dispatcher's last iteration; `None` before its first.
    pub dispatcher_idle_ms: Option<u64>,
}

/// Reason to send no ping; `None` if the ping is sent.
pub const fn reason_to_withhold_ping(signals: &LivenessSignals) -> Option<&'static str> {
    if !signals.is_bus_connected {
        return Some("bus unreachable");
    }
    if !signals.is_watchdog_alive {
        return Some("no watchdog heartbeat");
    }
    if !signals.last_delivery_succeeded {
        return Some("last delivery failed");
    }
    if matches!(signals.oldest_critical_ms, Some(age) if age >= FALLBACK_DELAY_MS) {
        return Some("a critical notification is overdue");
    }
    match signals.dispatcher_idle_ms {
        Some(idle) if idle < HUNG_AFTER_MS => None,
        _ => Some("dispatcher hangs"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL_GOOD: LivenessSignals = LivenessSignals {
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
            (ALL_GOOD, None),
            (
                LivenessSignals {
                    oldest_critical_ms: young,
                    ..ALL_GOOD
                },
                None,
            ),
            (
                LivenessSignals {
                    is_bus_connected: false,
                    ..ALL_GOOD
                },
                Some("bus"),
            ),
            (
                LivenessSignals {
                    is_watchdog_alive: false,
                    ..ALL_GOOD
                },
                Some("watchdog"),
            ),
            (
                LivenessSignals {
                    oldest_critical_ms: old,
                    ..ALL_GOOD
                },
                Some("overdue"),
            ),
            (
                LivenessSignals {
                    last_delivery_succeeded: false,
                    ..ALL_GOOD
                },
                Some("last delivery failed"),
            ),
            (
                LivenessSignals {
                    dispatcher_idle_ms: Some(HUNG_AFTER_MS),
                    ..ALL_GOOD
                },
                Some("hangs"),
            ),
            (
                LivenessSignals {
                    dispatcher_idle_ms: None,
                    ..ALL_GOOD
                },
                Some("hangs"),
            ),
        ];
        for (signals, expected) in table {
            let found = reason_to_withhold_ping(&signals);
            match expected {
                None => assert_eq!(found, None, "{signals:?}"),
                Some(text) => assert!(found.unwrap().contains(text), "{signals:?}: {found:?}"),
            }
        }
    }
}
