//! Inspected containers, reduced to what the core needs.

use std::collections::HashMap;

use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum as DockerStatus,
    HealthStatusEnum, RestartPolicyNameEnum,
};
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use watchdog_core::container::{Container, Exit, Run, Status};
use watchdog_core::restart_policy::RestartPolicy;
use watchdog_core::service_healing::{ContainerHealth, ObservedService};

/// Label of supervised containers.
pub const SUPERVISE_LABEL: &str = "bearish-alpha.supervise";
/// Label of services that are restarted when they hang.
pub const HEAL_LABEL: &str = "bearish-alpha.heal";
/// Label with the Compose project of a container.
pub const PROJECT_LABEL: &str = "com.docker.compose.project";
const SERVICE_LABEL: &str = "com.docker.compose.service";
const NUMBER_LABEL: &str = "com.docker.compose.container-number";
/// Label of `docker compose run` containers, which an operator watches.
const ONE_OFF_LABEL: &str = "com.docker.compose.oneoff";
/// Docker's default time between SIGTERM and SIGKILL, in seconds.
const DEFAULT_GRACE_SECS: i64 = 10;

/// Why a container is not supervised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SkipReason {
    /// The container has no label for it.
    Foreign,
    /// The container has the label but cannot be supervised, with the reason for the log.
    NotSupervisable(String),
}

/// The unit and the container of an inspection.
///
/// # Errors
/// [`SkipReason`].
pub fn parse_unit(
    found: ContainerInspectResponse,
) -> Result<(SubjectToken, Container), SkipReason> {
    let config = found.config.unwrap_or_default();
    let labels = config.labels.unwrap_or_default();
    let unit = unit_name(&labels)?;
    let policy = found.host_config.and_then(|host| host.restart_policy);
    match policy.and_then(|policy| policy.name) {
        None | Some(RestartPolicyNameEnum::EMPTY | RestartPolicyNameEnum::NO) => {}
        Some(other) => {
            return Err(SkipReason::NotSupervisable(format!(
                "{unit}: Docker's restart policy is {other}; expected no"
            )));
        }
    }
    let state = found.state.unwrap_or_default();
    let started_at = state.started_at.clone().unwrap_or_default();
    let container = Container {
        run: Run {
            container: found.id.unwrap_or_default(),
            started_at: started_at.clone(),
        },
        start_time: parse_time(&started_at),
        status: status(&state),
        policy: RestartPolicy::from_args(&found.args.unwrap_or_default()),
        grace_ms: grace_ms(config.stop_timeout),
    };
    Ok((unit, container))
}

/// The service of an inspection. `None` if it is a unit or has no heal label.
pub fn parse_service(found: ContainerInspectResponse) -> Option<ObservedService> {
    let config = found.config.unwrap_or_default();
    let labels = config.labels.unwrap_or_default();
    if !has_label(&labels, HEAL_LABEL) || has_label(&labels, SUPERVISE_LABEL) {
        return None;
    }
    let name = compose_name(&labels)?;
    let state = found.state.unwrap_or_default();
    let started_at = state.started_at.clone().unwrap_or_default();
    Some(ObservedService {
        name: name.parse().ok()?,
        start_time: parse_time(&started_at),
        restarts: found
            .restart_count
            .map_or(0, |count| count.max(0).unsigned_abs()),
        run: Run {
            container: found.id.unwrap_or_default(),
            started_at,
        },
        grace_ms: grace_ms(config.stop_timeout),
        health: container_health(&state),
    })
}

fn container_health(state: &ContainerState) -> ContainerHealth {
    if status(state) != Status::Running {
        return ContainerHealth::Unknown;
    }
    let health = state.health.as_ref();
    match health.and_then(|health| health.status) {
        Some(HealthStatusEnum::HEALTHY) => ContainerHealth::Healthy,
        Some(HealthStatusEnum::UNHEALTHY) => {
            let log = health.and_then(|health| health.log.as_ref());
            let checks = log
                .into_iter()
                .flatten()
                .filter_map(|check| check.exit_code);
            // Docker keeps five checks. Checks before the last success do not count.
            let mut checks: Vec<i64> = checks.collect();
            let well = checks.iter().rposition(|code| *code == 0);
            checks.drain(..well.map_or(0, |last| last + 1));
            ContainerHealth::Unhealthy(checks)
        }
        _ => ContainerHealth::Unknown,
    }
}

fn grace_ms(secs: Option<i64>) -> u64 {
    let secs = secs.unwrap_or(DEFAULT_GRACE_SECS).max(0);
    secs.unsigned_abs().saturating_mul(1000)
}

/// End of the run before the current one. `None` if there was none.
pub fn last_end_time(found: ContainerInspectResponse) -> Option<UtcMs> {
    let ended = parse_time(&found.state?.finished_at?);
    // Docker writes the year 1 for a missing time.
    (ended > UtcMs::default()).then_some(ended)
}

/// The unit that these labels name.
///
/// # Errors
/// [`SkipReason`].
fn unit_name(labels: &HashMap<String, String>) -> Result<SubjectToken, SkipReason> {
    if !has_label(labels, SUPERVISE_LABEL) {
        return Err(SkipReason::Foreign);
    }
    let name = compose_name(labels).ok_or_else(|| {
        SkipReason::NotSupervisable(format!(
            "a container with {SUPERVISE_LABEL}=true was not created by Compose: {SERVICE_LABEL} or {NUMBER_LABEL} is missing"
        ))
    })?;
    name.parse()
        .map_err(|error| SkipReason::NotSupervisable(format!("{error}")))
}

/// Whether a label is set to true on a container that is no `docker compose run`.
fn has_label(labels: &HashMap<String, String>, what: &str) -> bool {
    let one_off = labels.get(ONE_OFF_LABEL);
    labels.get(what).is_some_and(|value| value == "true")
        && !one_off.is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// Service and number by the Compose labels.
fn compose_name(labels: &HashMap<String, String>) -> Option<String> {
    Some(format!(
        "{}-{}",
        labels.get(SERVICE_LABEL)?,
        labels.get(NUMBER_LABEL)?
    ))
}

fn status(state: &ContainerState) -> Status {
    let on = |flag: Option<bool>| flag == Some(true);
    match state.status {
        Some(DockerStatus::REMOVING | DockerStatus::DEAD) => Status::InTransition,
        Some(DockerStatus::CREATED) => Status::Created,
        _ if on(state.restarting) => Status::InTransition,
        _ if on(state.paused) => Status::Paused,
        _ if on(state.running) => Status::Running,
        _ => Status::Exited(exit(state)),
    }
}

fn exit(state: &ContainerState) -> Exit {
    let time = |text: &Option<String>| parse_time(text.as_deref().unwrap_or_default());
    let uptime = time(&state.finished_at).since(time(&state.started_at));
    Exit {
        code: state.exit_code.unwrap_or_default(),
        oom_killed: state.oom_killed == Some(true),
        uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
    }
}

/// Parses RFC 3339. An invalid time is the start of the Unix epoch.
fn parse_time(text: &str) -> UtcMs {
    let parsed: Result<jiff::Timestamp, _> = text.parse();
    UtcMs(parsed.map_or(0, jiff::Timestamp::as_millisecond))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(more: &[(&str, &str)]) -> HashMap<String, String> {
        let usual = [
            (SUPERVISE_LABEL, "true"),
            (SERVICE_LABEL, "trader-paper"),
            (NUMBER_LABEL, "2"),
        ];
        let both = usual.iter().chain(more);
        both.map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    fn inspected(state: &str, restart: &str) -> ContainerInspectResponse {
        let labels = serde_json::to_string(&labels(&[])).unwrap();
        let json = format!(
            r#"{{"Id":"4f1c","Path":"/usr/local/bin/trader","Args":["--paper","--auto-restart"],
                "State":{state},"HostConfig":{{"RestartPolicy":{{"Name":"{restart}"}}}},
                "Config":{{"Labels":{labels},"StopTimeout":8}}}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    const EXITED: &str = r#"{"Status":"exited","Running":false,"Paused":false,"Restarting":false,
        "OOMKilled":false,"Dead":false,"Pid":0,"ExitCode":137,"Error":"",
        "StartedAt":"2026-11-24T03:00:00.1234567Z","FinishedAt":"2026-11-24T03:00:02.6234567Z"}"#;

    #[test]
    fn inspect_reads_an_exited_container() {
        let (unit, container) = parse_unit(inspected(EXITED, "no")).unwrap();
        assert_eq!(unit.as_str(), "trader-paper-2");
        assert_eq!(container.run.started_at, "2026-11-24T03:00:00.1234567Z");
        let exit = Exit {
            code: 137,
            oom_killed: false,
            uptime_ms: 2500,
        };
        assert_eq!(container.exit(), Some(exit));
        assert_eq!(container.grace_ms, 8000);
        assert!(container.policy.unwrap().auto_restart);
    }

    #[test]
    fn inspect_distinguishes_container_states() {
        let rows = [
            (r#"{"Status":"running","Running":true}"#, Status::Running),
            (
                r#"{"Status":"paused","Running":true,"Paused":true}"#,
                Status::Paused,
            ),
            (r#"{"Status":"created","Running":false}"#, Status::Created),
            (r#"{"Status":"removing"}"#, Status::InTransition),
            (r#"{"Status":"dead","Dead":true}"#, Status::InTransition),
        ];
        for (state, expected) in rows {
            let (_, container) = parse_unit(inspected(state, "no")).unwrap();
            assert_eq!(container.status, expected, "{state}");
        }
    }

    #[test]
    fn container_with_docker_restart_policy_is_not_supervised() {
        for policy in ["always", "unless-stopped", "on-failure"] {
            let Err(SkipReason::NotSupervisable(reason)) = parse_unit(inspected(EXITED, policy))
            else {
                panic!("{policy} is supervised");
            };
            assert!(reason.contains(policy), "{reason}");
        }
    }

    #[test]
    fn service_health_follows_the_last_failing_checks() {
        let asks = labels(&[
            (SUPERVISE_LABEL, "false"),
            (HEAL_LABEL, "true"),
            (ONE_OFF_LABEL, "False"),
        ]);
        let service = |state: &str| {
            let labels = serde_json::to_string(&asks).unwrap();
            let json = format!(
                r#"{{"Id":"4f1c","State":{state},"Config":{{"Labels":{labels},"StopTimeout":3}}}}"#
            );
            parse_service(serde_json::from_str(&json).unwrap())
        };
        let running = |health: &str| {
            let state = r#""Status":"running","Running":true,"StartedAt":"1970-01-01T00:00:01Z""#;
            service(&format!("{{{state},\"Health\":{health}}}")).unwrap()
        };
        let checks = r#"[{"ExitCode":69},{"ExitCode":0},{"ExitCode":70},{"ExitCode":-1}]"#;
        let unwell = running(&format!(r#"{{"Status":"unhealthy","Log":{checks}}}"#));
        assert_eq!(unwell.health, ContainerHealth::Unhealthy(vec![70, -1]));
        assert_eq!((unwell.start_time, unwell.grace_ms), (UtcMs(1_000), 3_000));
        assert_eq!(unwell.name.as_str(), "trader-paper-2");
        let well = running(&format!(r#"{{"Status":"healthy","Log":{checks}}}"#));
        assert_eq!(well.health, ContainerHealth::Healthy);
        let starting = running(r#"{"Status":"starting"}"#);
        assert_eq!(starting.health, ContainerHealth::Unknown);
        let paused =
            r#"{"Status":"paused","Running":true,"Paused":true,"Health":{"Status":"unhealthy"}}"#;
        assert_eq!(service(paused).unwrap().health, ContainerHealth::Unknown);
        // Units have their own rules.
        assert_eq!(
            parse_service(inspected(r#"{"Status":"running"}"#, "no")),
            None
        );
    }

    #[test]
    fn one_off_and_unlabelled_containers_are_not_supervised() {
        assert_eq!(
            unit_name(&labels(&[(ONE_OFF_LABEL, "True")])),
            Err(SkipReason::Foreign)
        );
        assert_eq!(
            unit_name(&labels(&[(SUPERVISE_LABEL, "false")])),
            Err(SkipReason::Foreign)
        );
        assert_eq!(unit_name(&HashMap::new()), Err(SkipReason::Foreign));
    }
}
