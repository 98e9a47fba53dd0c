//! Texts of events about Compose services and about the watchdog itself.

use protocol::duration::format_ms;
use protocol::event::EventBody;

use super::hints::service_consequence;
use super::layout::{Text, row};
use crate::command_hints::CommandHints;
use crate::formatting::{field, format_after};

/// `None` for an event about something else.
pub(super) fn service_text(body: &EventBody, hints: CommandHints) -> Option<Text> {
    let text = match body {
        EventBody::ServiceRestartScheduled { service, error } => row(
            format!("⚠️ SERVICE FAILED: {service}"),
            std::iter::once(field("Reason", error))
                .chain(service_consequence(service))
                .chain([format!(
                    "Action: none; if no SERVICE RECOVERED message follows, run: scripts/bearish logs {service}"
                )]),
        ),
        EventBody::ServiceRecovered { service, after_ms } => row(
            format!("✅ SERVICE RECOVERED: {service}"),
            [field("After", format_after(*after_ms))],
        ),
        EventBody::ServiceStarted {
            service,
            started_by,
        } => row(
            format!("🔄 SERVICE RESTARTED: {service}"),
            [field("Cause", started_by)],
        ),
        EventBody::ServiceQuarantined {
            service,
            reason,
            restarts,
        } => row(
            format!("🚨 MANUAL INTERVENTION REQUIRED: {service}"),
            [
                field("Reason", reason),
                field("Restarts in a row", restarts),
            ]
            .into_iter()
            .chain(service_consequence(service))
            .chain([
                "Next: the watchdog does not restart the service".to_owned(),
                format!("Action: fix the cause, then {}", hints.release(service)),
            ]),
        ),
        EventBody::WatchdogClockStepped { host, by_ms } => row(
            "⚠️ CLOCK STEPPED",
            [
                field("Host", host),
                field("By", format_step(*by_ms)),
                "Next: the watchdog's decisions do not depend on the clock; times in logs and messages do".to_owned(),
                "Action: none if you set the clock or suspended the host; else check NTP with: timedatectl"
                    .to_owned(),
            ],
        ),
        EventBody::WatchdogStarted {
            project,
            host,
            version,
        } => row(
            "🚀 WATCHDOG STARTED",
            [
                field("Project", project),
                field("Host", host),
                field("Version", version),
            ],
        ),
        EventBody::WatchdogBlindnessEnded { for_ms, missed } => row(
            "✅ WATCHDOG SEES AGAIN",
            [
                field("After", format_after(*for_ms)),
                field(
                    "Missed",
                    if missed.is_empty() {
                        "nothing".to_owned()
                    } else {
                        missed.join("; ")
                    },
                ),
                "Next: what was missed is handled now".to_owned(),
            ],
        ),
        _ => return None,
    };
    Some(text)
}

/// A signed duration: `+2.5h`, `-3s`.
fn format_step(by_ms: i64) -> String {
    let sign = if by_ms < 0 { '-' } else { '+' };
    format!("{sign}{}", format_ms(by_ms.unsigned_abs()))
}
