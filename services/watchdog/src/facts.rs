//! An engine's answer about a container, reduced to what the brain judges. No call is made here.

use std::collections::HashMap;

use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum as EngineStatus,
    HealthStatusEnum, RestartPolicyNameEnum,
};
use protocol::ids::Token;
use protocol::time::UtcMs;
use supervision::container::{Container, Exit, Run, Status};
use supervision::healing::{Condition, Patient};
use supervision::policy::Policy;

/// Asks for supervision.
pub const SUPERVISE: &str = "bearish-alpha.supervise";
/// Asks to be started anew when it hangs.
pub const HEAL: &str = "bearish-alpha.heal";
/// Compose's project of a container.
pub const PROJECT: &str = "com.docker.compose.project";
const SERVICE: &str = "com.docker.compose.service";
const NUMBER: &str = "com.docker.compose.container-number";
/// `docker compose run`: a person watches it.
const ONE_OFF: &str = "com.docker.compose.oneoff";
/// The engine's own, where the container names none, in seconds.
const USUAL_GRACE: i64 = 10;

/// Why a container is none of our business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Skip {
    /// Nobody expects it to be supervised.
    Foreign,
    /// It carries the label, but cannot be supervised: somebody should know.
    Unfit(String),
}

/// A container with its unit.
///
/// # Errors
/// [`Skip`].
pub fn read(found: ContainerInspectResponse) -> Result<(Token, Container), Skip> {
    let config = found.config.unwrap_or_default();
    let labels = config.labels.unwrap_or_default();
    let unit = unit(&labels)?;
    let policy = found.host_config.and_then(|host| host.restart_policy);
    match policy.and_then(|policy| policy.name) {
        None | Some(RestartPolicyNameEnum::EMPTY | RestartPolicyNameEnum::NO) => {}
        Some(other) => {
            return Err(Skip::Unfit(format!(
                "{unit}: left to Docker, because its restart policy is {other} and not no"
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
        began: instant(&started_at),
        status: status(&state),
        policy: Policy::read(&found.args.unwrap_or_default()),
        grace_ms: grace_ms(config.stop_timeout),
    };
    Ok((unit, container))
}

/// A service beside the units; none if it does not ask to be healed, or is a unit.
pub fn patient(found: ContainerInspectResponse) -> Option<Patient> {
    let config = found.config.unwrap_or_default();
    let labels = config.labels.unwrap_or_default();
    if !asks(&labels, HEAL) || asks(&labels, SUPERVISE) {
        return None;
    }
    let name = name(&labels)?;
    let state = found.state.unwrap_or_default();
    let started_at = state.started_at.clone().unwrap_or_default();
    Some(Patient {
        name: name.parse().ok()?,
        began: instant(&started_at),
        restarts: found
            .restart_count
            .map_or(0, |count| count.max(0).unsigned_abs()),
        run: Run {
            container: found.id.unwrap_or_default(),
            started_at,
        },
        grace_ms: grace_ms(config.stop_timeout),
        condition: condition(&state),
    })
}

fn condition(state: &ContainerState) -> Condition {
    if status(state) != Status::Running {
        return Condition::Unknown;
    }
    let health = state.health.as_ref();
    match health.and_then(|health| health.status) {
        Some(HealthStatusEnum::HEALTHY) => Condition::Well,
        Some(HealthStatusEnum::UNHEALTHY) => {
            let log = health.and_then(|health| health.log.as_ref());
            let checks = log
                .into_iter()
                .flatten()
                .filter_map(|check| check.exit_code);
            // The engine keeps five, and some of them may be from before its trouble.
            let mut checks: Vec<i64> = checks.collect();
            let well = checks.iter().rposition(|code| *code == 0);
            checks.drain(..well.map_or(0, |last| last + 1));
            Condition::Unwell(checks)
        }
        _ => Condition::Unknown,
    }
}

fn grace_ms(secs: Option<i64>) -> u64 {
    let secs = secs.unwrap_or(USUAL_GRACE).max(0);
    secs.unsigned_abs().saturating_mul(1000)
}

/// When the run before the present one ended; none if there was none.
pub fn last_end(found: ContainerInspectResponse) -> Option<UtcMs> {
    let ended = instant(&found.state?.finished_at?);
    // The engine writes the year 1 for never.
    (ended > UtcMs::default()).then_some(ended)
}

/// The unit that these labels name.
///
/// # Errors
/// [`Skip`].
fn unit(labels: &HashMap<String, String>) -> Result<Token, Skip> {
    if !asks(labels, SUPERVISE) {
        return Err(Skip::Foreign);
    }
    let name = name(labels).ok_or_else(|| {
        Skip::Unfit(format!(
            "a container with {SUPERVISE}=true was not made by Compose: {SERVICE} or {NUMBER} is missing"
        ))
    })?;
    name.parse()
        .map_err(|error| Skip::Unfit(format!("{error}")))
}

/// Whether a container's label says so, and no person watches it.
fn asks(labels: &HashMap<String, String>, what: &str) -> bool {
    let one_off = labels.get(ONE_OFF);
    labels.get(what).is_some_and(|word| word == "true")
        && !one_off.is_some_and(|word| word.eq_ignore_ascii_case("true"))
}

/// Service and number, as Compose labels them.
fn name(labels: &HashMap<String, String>) -> Option<String> {
    Some(format!("{}-{}", labels.get(SERVICE)?, labels.get(NUMBER)?))
}

fn status(state: &ContainerState) -> Status {
    let on = |flag: Option<bool>| flag == Some(true);
    match state.status {
        Some(EngineStatus::REMOVING | EngineStatus::DEAD) => Status::Leaving,
        Some(EngineStatus::CREATED) => Status::Created,
        _ if on(state.restarting) => Status::Leaving,
        _ if on(state.paused) => Status::Paused,
        _ if on(state.running) => Status::Running,
        _ => Status::Exited(exit(state)),
    }
}

fn exit(state: &ContainerState) -> Exit {
    let time = |text: &Option<String>| instant(text.as_deref().unwrap_or_default());
    let uptime = time(&state.finished_at).since(time(&state.started_at));
    Exit {
        code: state.exit_code.unwrap_or_default(),
        oom: state.oom_killed == Some(true),
        uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
    }
}

/// RFC 3339; what is none counts as long ago.
fn instant(text: &str) -> UtcMs {
    let parsed: Result<jiff::Timestamp, _> = text.parse();
    UtcMs(parsed.map_or(0, jiff::Timestamp::as_millisecond))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(more: &[(&str, &str)]) -> HashMap<String, String> {
        let usual = [
            (SUPERVISE, "true"),
            (SERVICE, "trader-paper"),
            (NUMBER, "2"),
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
    fn an_exited_container_is_read_whole() {
        let (unit, container) = read(inspected(EXITED, "no")).unwrap();
        assert_eq!(unit.as_str(), "trader-paper-2");
        assert_eq!(container.run.started_at, "2026-11-24T03:00:00.1234567Z");
        let exit = Exit {
            code: 137,
            oom: false,
            uptime_ms: 2500,
        };
        assert_eq!(container.exit(), Some(exit));
        assert_eq!(container.grace_ms, 8000);
        assert!(container.policy.unwrap().auto_restart);
    }

    #[test]
    fn states_are_told_apart() {
        let rows = [
            (r#"{"Status":"running","Running":true}"#, Status::Running),
            (
                r#"{"Status":"paused","Running":true,"Paused":true}"#,
                Status::Paused,
            ),
            (r#"{"Status":"created","Running":false}"#, Status::Created),
            (r#"{"Status":"removing"}"#, Status::Leaving),
            (r#"{"Status":"dead","Dead":true}"#, Status::Leaving),
        ];
        for (state, expected) in rows {
            let (_, container) = read(inspected(state, "no")).unwrap();
            assert_eq!(container.status, expected, "{state}");
        }
    }

    #[test]
    fn containers_that_docker_restarts_itself_are_left_alone() {
        for policy in ["always", "unless-stopped", "on-failure"] {
            let Err(Skip::Unfit(why)) = read(inspected(EXITED, policy)) else {
                panic!("{policy} is supervised");
            };
            assert!(why.contains(policy), "{why}");
        }
    }

    #[test]
    fn a_service_is_as_its_last_failing_checks_say() {
        let asks = labels(&[(SUPERVISE, "false"), (HEAL, "true"), (ONE_OFF, "False")]);
        let service = |state: &str| {
            let labels = serde_json::to_string(&asks).unwrap();
            let json = format!(
                r#"{{"Id":"4f1c","State":{state},"Config":{{"Labels":{labels},"StopTimeout":3}}}}"#
            );
            patient(serde_json::from_str(&json).unwrap())
        };
        let running = |health: &str| {
            let state = r#""Status":"running","Running":true,"StartedAt":"1970-01-01T00:00:01Z""#;
            service(&format!("{{{state},\"Health\":{health}}}")).unwrap()
        };
        let checks = r#"[{"ExitCode":69},{"ExitCode":0},{"ExitCode":70},{"ExitCode":-1}]"#;
        let unwell = running(&format!(r#"{{"Status":"unhealthy","Log":{checks}}}"#));
        assert_eq!(unwell.condition, Condition::Unwell(vec![70, -1]));
        assert_eq!((unwell.began, unwell.grace_ms), (UtcMs(1_000), 3_000));
        assert_eq!(unwell.name.as_str(), "trader-paper-2");
        let well = running(&format!(r#"{{"Status":"healthy","Log":{checks}}}"#));
        assert_eq!(well.condition, Condition::Well);
        let starting = running(r#"{"Status":"starting"}"#);
        assert_eq!(starting.condition, Condition::Unknown);
        let paused =
            r#"{"Status":"paused","Running":true,"Paused":true,"Health":{"Status":"unhealthy"}}"#;
        assert_eq!(service(paused).unwrap().condition, Condition::Unknown);
        // A unit has its own rules.
        assert_eq!(patient(inspected(r#"{"Status":"running"}"#, "no")), None);
    }

    #[test]
    fn one_off_and_unlabelled_containers_are_none_of_our_business() {
        assert_eq!(unit(&labels(&[(ONE_OFF, "True")])), Err(Skip::Foreign));
        assert_eq!(unit(&labels(&[(SUPERVISE, "false")])), Err(Skip::Foreign));
        assert_eq!(unit(&HashMap::new()), Err(Skip::Foreign));
    }
}
