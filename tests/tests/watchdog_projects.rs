//! Two Compose projects on one bus: commands and heartbeats of one do not reach the other.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::Duration;

use bearish_tests::watchdog::WatchdogRig;
use watchdog_core::phase::UnitPhase;
use watchdog_core::record::UnitRecord;

const RESTART_AT_ONCE_FLAGS: &str = "--paper --infinite --auto-restart --restart-delay 0";
const SETTLE_TIME: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn commands_and_heartbeats_stay_in_their_project() {
    let mut rig = WatchdogRig::start().await;
    let first = rig.project.clone();
    let unit = rig.unit_setup(1, RESTART_AT_ONCE_FLAGS).start();
    rig.wait_until_healthy(&unit).await;

    // The same unit name in a second project.
    rig.project = format!("{first}-second");
    let watchdog = rig.start_another("watchdog-1");
    watchdog.wait_for_log("supervising").await;
    let namesake = rig.unit_setup(1, RESTART_AT_ONCE_FLAGS).start();
    rig.wait_until_healthy(&namesake).await;
    let (output, code) = rig.run_command(&["stop", &namesake.name]).await;
    assert_eq!(code, 0, "{output}");
    let stopped = |phase: &UnitPhase| matches!(phase, UnitPhase::Stopped { .. });
    rig.wait_for_phase(&namesake, "stopped", stopped).await;
    unit.assert_stays(true, SETTLE_TIME).await;

    // A frozen unit is a hang, although its namesake's heartbeats arrive.
    let (output, code) = rig.run_command(&["start", &namesake.name]).await;
    assert_eq!(code, 0, "{output}");
    rig.wait_until_healthy(&namesake).await;
    rig.project = first;
    let before = unit.started_at();
    unit.signal("STOP");
    unit.wait_until_started_after(&before).await;
    let records = rig.unit_records(&unit).await;
    let is_command = |record: &UnitRecord| matches!(record, UnitRecord::Commanded { .. });
    assert!(!records.iter().any(is_command), "{records:#?}");
    let is_duplicate =
        |record: &UnitRecord| matches!(record, UnitRecord::DuplicateHeartbeats { .. });
    assert!(!records.iter().any(is_duplicate), "{records:#?}");
}
