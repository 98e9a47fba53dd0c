//! The blindness of the watchdog as its heartbeats, its health check and its metrics report it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::duration::format_ms;
use protocol::heartbeat::BlindnessReport;
use protocol::ids::SubjectToken;
use watchdog_core::observed_state::Blindness;

/// Time for which the journal must be unavailable until nothing is decided for too long.
const JOURNAL_DEADLINE: Duration = Duration::from_secs(15);

/// The blindness in progress, shared by the supervisor and the tasks that report it.
#[derive(Debug, Default)]
pub struct SharedBlindness(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Number of the last blindness.
    number: u64,
    current: Option<BlindnessReport>,
}

impl SharedBlindness {
    /// The blindness in progress. `None` if every unit can be judged.
    pub fn current(&self) -> Option<BlindnessReport> {
        self.locked().current.clone()
    }

    /// Sets what the supervisor knows.
    pub fn set(&self, blindness: Option<Blindness>, is_guarded: bool) {
        match blindness {
            None => self.clear(),
            Some(blindness) => {
                let remedy = remedy(&blindness, is_guarded);
                self.update(|number| BlindnessReport {
                    number,
                    for_ms: blindness.for_ms,
                    reason: blindness.reason,
                    units: blindness.units,
                    remedy: Some(remedy),
                });
            }
        }
    }

    /// Notes that the journal has been unavailable for this time: nothing can be decided.
    pub fn note_journal_failure(&self, error: &str, waited: Duration) {
        if waited >= JOURNAL_DEADLINE {
            self.update(|number| BlindnessReport {
                number,
                for_ms: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
                reason: format!("the journal cannot be written: {error}"),
                units: Vec::new(),
                remedy: Some(
                    "check the bus and its disk: docker compose logs --tail 50 nats".to_owned(),
                ),
            });
        }
    }

    /// Every unit can be judged, or another process judges them.
    pub fn clear(&self) {
        self.locked().current = None;
    }

    fn update(&self, report: impl FnOnce(u64) -> BlindnessReport) {
        let mut state = self.locked();
        if state.current.is_none() {
            state.number = state.number.saturating_add(1);
        }
        state.current = Some(report(state.number));
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The blindness in one line.
pub fn describe(report: &BlindnessReport) -> String {
    let units: Vec<&str> = report.units.iter().map(SubjectToken::as_str).collect();
    let units = if units.is_empty() {
        "no unit can be judged".to_owned()
    } else {
        format!("cannot judge {}", units.join(", "))
    };
    let (reason, for_ms) = (&report.reason, format_ms(report.for_ms));
    format!("blind for {for_ms}: {units}; {reason}")
}

/// The command that helps most often. Nothing but an operator may restart the socket guard: it holds Docker's socket.
fn remedy(blindness: &Blindness, is_guarded: bool) -> String {
    match (blindness.units.as_slice(), is_guarded) {
        ([], true) => {
            "docker compose restart -t 1 socket-guard; if that does not help: systemctl status docker"
                .to_owned()
        }
        ([], false) => "check Docker with: systemctl status docker".to_owned(),
        ([unit, ..], _) => format!(
            "check with: scripts/bearish explain {unit}; if Docker does not answer for its container, restart Docker: \
             systemctl restart docker"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blindness(units: &[&str]) -> Blindness {
        Blindness {
            for_ms: 20_000,
            reason: "Docker cannot be reached: no answer within 3s".to_owned(),
            units: units.iter().map(|unit| unit.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn each_blindness_has_a_number_and_names_the_command_that_helps() {
        let shared = SharedBlindness::default();
        assert_eq!(shared.current(), None);
        for number in [1, 2] {
            shared.set(Some(blindness(&[])), true);
            shared.set(Some(blindness(&[])), true);
            let report = shared.current().unwrap();
            assert_eq!(report.number, number);
            assert!(report.remedy.unwrap().contains("socket-guard"));
            shared.set(None, true);
        }
    }

    #[test]
    fn blindness_of_a_unit_names_the_unit() {
        let shared = SharedBlindness::default();
        shared.set(Some(blindness(&["trader-paper-1"])), true);
        let text = describe(&shared.current().unwrap());
        assert!(
            text.starts_with("blind for 20s: cannot judge trader-paper-1"),
            "{text}"
        );
    }

    #[test]
    fn journal_that_is_unavailable_for_long_is_a_blindness() {
        let shared = SharedBlindness::default();
        shared.note_journal_failure("no space", Duration::from_secs(14));
        assert_eq!(shared.current(), None);
        shared.note_journal_failure("no space", Duration::from_secs(15));
        assert!(shared.current().unwrap().reason.contains("no space"));
    }
}
