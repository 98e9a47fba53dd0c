//! Inspected containers, reduced to what the core needs.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum as DockerStatus,
    ContainerSummary, HealthStatusEnum, HealthcheckResult, RestartPolicyNameEnum,
};
use protocol::ids::SubjectToken;
use protocol::redact::redact;
use protocol::time::UtcMs;
use watchdog_core::container::{
    Container, ContainerHealth, Exit, FailedCheck, Run, Status, normalize_signal,
};
use watchdog_core::restart_policy::{RestartPolicy, mode_of_args};
use watchdog_core::service_healing::ObservedService;

/// Label of supervised containers.
pub const SUPERVISE_LABEL: &str = "bearish-alpha.supervise";
/// Label of services that are restarted when they hang.
pub const HEAL_LABEL: &str = "bearish-alpha.heal";
/// Label with the Compose project of a container.
pub const PROJECT_LABEL: &str = "com.docker.compose.project";
const SERVICE_LABEL: &str = "com.docker.compose.service";
const NUMBER_LABEL: &str = "com.docker.compose.container-number";
/// Label with Compose's hash of the settings of a service.
const CONFIG_HASH_LABEL: &str = "com.docker.compose.config-hash";
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
    let arguments = found.args.unwrap_or_default();
    let configuration = configuration(found.image.as_deref(), &labels, &arguments);
    let container = Container {
        run: Run {
            container: found.id.unwrap_or_default(),
            started_at: started_at.clone(),
        },
        start_time: parse_time(&started_at),
        status: status(&state),
        policy: RestartPolicy::from_args(&arguments),
        mode: mode_of_args(&arguments),
        grace_ms: grace_ms(config.stop_timeout),
        stop_signal: normalize_signal(config.stop_signal.as_deref().unwrap_or("TERM")),
        config: configuration,
        error: docker_error(state.error.as_deref()),
        health: container_health(&state),
    };
    Ok((unit, container))
}

/// Name of the unit of a listed container: service and number, with `_` for what a name may not contain; without these
/// labels the name of the container. `None` for a container of `docker compose run`.
pub fn listed_name(summary: &ContainerSummary) -> Option<SubjectToken> {
    let empty = HashMap::new();
    let labels = summary.labels.as_ref().unwrap_or(&empty);
    if !has_label(labels, SUPERVISE_LABEL) {
        return None;
    }
    let name = compose_name(labels).or_else(|| {
        let first = summary.names.as_ref()?.first()?;
        Some(first.trim_start_matches('/').to_owned())
    })?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let name: String = name
        .chars()
        .map(|c| if allowed(c) { c } else { '_' })
        .collect();
    name.parse().ok()
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
        checked_age: checked_age(&state, parse_time(&started_at)),
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
            let checks = log.into_iter().flatten().filter_map(failed_check);
            // Docker keeps five checks. Checks before the last success do not count.
            let mut checks: Vec<FailedCheck> = checks.collect();
            let well = checks.iter().rposition(|check| check.exit_code == 0);
            checks.drain(..well.map_or(0, |last| last + 1));
            ContainerHealth::Unhealthy(checks)
        }
        _ => ContainerHealth::Unknown,
    }
}

/// Age of the run at its last health check, by Docker's clock. Zero without a check, or if the clock was set back since.
fn checked_age(state: &ContainerState, started_at: UtcMs) -> Duration {
    let health = state.health.as_ref();
    let checks = health.and_then(|health| health.log.as_ref());
    let last = checks.and_then(|checks| check_end(checks.last()?));
    last.map_or(Duration::ZERO, |end| end.since(started_at))
}

/// End of a health check. Read from the JSON: its type in the client depends on features that other crates enable.
fn check_end(check: &HealthcheckResult) -> Option<UtcMs> {
    let check = serde_json::to_value(check).ok()?;
    check["End"].as_str().map(parse_time)
}

/// Docker's own text belongs to exit code -1 only; of another check it is what the check printed.
fn failed_check(check: &HealthcheckResult) -> Option<FailedCheck> {
    let exit_code = check.exit_code?;
    let output = check.output.as_deref().filter(|_| exit_code == -1);
    Some(FailedCheck {
        exit_code,
        docker_error: docker_error(output),
    })
}

/// Docker's error in one line, without secrets. `None` if there is none.
fn docker_error(text: Option<&str>) -> Option<String> {
    let line = redact(text?.trim()).replace('\n', " ");
    (!line.is_empty()).then_some(line)
}

/// Identifies a configuration by the image, Compose's hash of the settings, and the arguments.
fn configuration(
    image: Option<&str>,
    labels: &HashMap<String, String>,
    arguments: &[String],
) -> String {
    let image = image.unwrap_or_default();
    let image = image.strip_prefix("sha256:").unwrap_or(image);
    let image: String = image.chars().take(12).collect();
    let settings = labels.get(CONFIG_HASH_LABEL).map_or("", String::as_str);
    let hash = fnv1a(
        arguments
            .iter()
            .map(String::as_str)
            .chain([settings])
            .flat_map(|part| part.bytes().chain([0])),
    );
    format!("image {image}, settings {hash:016x}")
}

/// The 64-bit hash FNV-1a: stable between versions of the program, unlike that of the standard library.
fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
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

    fn checks_of(exit_codes: &[i64]) -> Vec<FailedCheck> {
        let check = |&exit_code: &i64| FailedCheck {
            exit_code,
            docker_error: None,
        };
        exit_codes.iter().map(check).collect()
    }

    #[test]
    fn configuration_follows_image_settings_and_arguments() {
        let of = |image: &str, hash: &str, argument: &str| {
            let labels = HashMap::from([(CONFIG_HASH_LABEL.to_owned(), hash.to_owned())]);
            configuration(Some(image), &labels, &[argument.to_owned()])
        };
        let one = of("sha256:4f1c", "77aa", "--paper");
        assert_eq!(one, of("sha256:4f1c", "77aa", "--paper"));
        for other in [
            of("sha256:4f1d", "77aa", "--paper"),
            of("sha256:4f1c", "77ab", "--paper"),
            of("sha256:4f1c", "77aa", "--live"),
        ] {
            assert_ne!(one, other);
        }
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
        let checks = r#"[{"ExitCode":69},{"ExitCode":0},{"ExitCode":70},
            {"ExitCode":-1,"End":"1970-01-01T00:00:10Z"}]"#;
        let unwell = running(&format!(r#"{{"Status":"unhealthy","Log":{checks}}}"#));
        assert_eq!(
            unwell.health,
            ContainerHealth::Unhealthy(checks_of(&[70, -1]))
        );
        assert_eq!(
            (unwell.checked_age, unwell.grace_ms),
            (Duration::from_secs(9), 3_000)
        );
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
