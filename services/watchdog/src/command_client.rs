//! Commands for operators. Queries are answered from the journal, so they work while the watchdog or Docker is down.
//! Commands go to the leading watchdog.

use async_nats::Client;
use protocol::VERSION;
use protocol::command::{CommandReply, UnitCommand, UnitCommandRequest, UnitStatuses};
use protocol::exit_code::ExitCode;
use protocol::ids::{HostKey, SubjectToken};
use protocol::subject::{Subject, filter};
use runtime::bus::{Bus, BusError};
use runtime::identity::InstanceSettings;
use runtime::process::{self, ExitError};
use runtime::stdout::{OutputArgs, print_line};
use runtime::{clock, streams};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::cli::Command;
use crate::read_model::ReadModel;
use crate::settings::Settings;

/// Exit code of `status` while a unit is quarantined, or units are not supervised.
const OPERATOR_NEEDED: u8 = 1;

/// Runs a command. The exit code of `status` is 1 while a unit is quarantined, or units are not supervised.
pub fn main(command: Command) -> std::process::ExitCode {
    let mut is_operator_needed = false;
    match process::run(execute(command, &mut is_operator_needed)) {
        ExitCode::Success if is_operator_needed => std::process::ExitCode::from(OPERATOR_NEEDED),
        code => code.into(),
    }
}

async fn execute(command: Command, is_operator_needed: &mut bool) -> Result<ExitCode, ExitError> {
    let by = command.by();
    let (command, format) = command
        .unit_command()
        .ok_or_else(|| ExitError::internal("bug: not a unit command"))?;
    let settings = Settings::from_env()?;
    let bus = Bus::try_connect(&settings.bus)
        .await
        .map_err(BusError::into_exit_error)?;
    if command.is_read_only() {
        let models = read_models(&bus, &settings.own).await?;
        *is_operator_needed =
            command == UnitCommand::Status && models.iter().any(ReadModel::needs_operator);
        return print_replies(&models, &command, format);
    }
    let request = UnitCommandRequest {
        v: VERSION,
        by,
        command,
    };
    let reply = send_request(bus.client(), &settings.own.host_key().await?, &request).await?;
    print_reply(&request.command, &reply, format)
}

/// Read models of the project that is set, else of all projects and hosts that have a journal.
async fn read_models(bus: &Bus, own: &InstanceSettings) -> Result<Vec<ReadModel>, ExitError> {
    let mut models = Vec::new();
    for host in hosts(bus, own).await? {
        let model = ReadModel::read(bus, &host).await?;
        models.push(match find_watchdog(bus, &host).await {
            Ok(()) => model,
            Err(error) => model.without_watchdog(&error),
        });
    }
    Ok(models)
}

/// Whether a watchdog of this host answers. A dead one has no subscription, so the answer is quick.
async fn find_watchdog(bus: &Bus, host: &HostKey) -> Result<(), String> {
    let request = UnitCommandRequest {
        v: VERSION,
        by: String::new(),
        command: UnitCommand::Status,
    };
    send_request(bus.client(), host, &request)
        .await
        .map(drop)
        .map_err(|error| error.message)
}

async fn hosts(bus: &Bus, own: &InstanceSettings) -> Result<Vec<HostKey>, ExitError> {
    if own.project.is_some() {
        return Ok(vec![own.host_key().await?]);
    }
    let subjects = bus
        .subjects(streams::JOURNAL, filter::WATCHDOG_JOURNALS)
        .await
        .map_err(|error| ExitError::new(ExitCode::Unavailable, error))?;
    let host = |subject: &String| match Subject::parse(subject)? {
        Subject::WatchdogJournal(host) => Some(host),
        _ => None,
    };
    let mut hosts: Vec<HostKey> = subjects.iter().filter_map(host).collect();
    hosts.sort();
    Ok(hosts)
}

fn print_replies(
    models: &[ReadModel],
    command: &UnitCommand,
    format: OutputArgs,
) -> Result<ExitCode, ExitError> {
    let now = clock::now();
    let knows_unit =
        |model: &&ReadModel| command.unit().is_none_or(|unit| model.has_records_of(unit));
    let replies: Vec<CommandReply> = models
        .iter()
        .filter(knows_unit)
        .map(|model| model.answer(command, now))
        .collect();
    let (Some(first), is_several) = (replies.first(), replies.len() > 1) else {
        return print_no_unit(command, format);
    };
    if let Some(failed) = replies.iter().find(|reply| !reply.ok) {
        return Err(ExitError::new(ExitCode::Usage, failed.text.clone()));
    }
    if format.json {
        let all = replies.iter().map(|reply| reply.data.clone());
        print_line(&match (is_several, first.data.clone()) {
            (false, Some(data)) => data.to_string(),
            _ => all
                .collect::<Option<Value>>()
                .unwrap_or_default()
                .to_string(),
        })?;
    } else {
        for reply in &replies {
            print_line(&reply.text)?;
        }
    }
    Ok(ExitCode::Success)
}

/// The output of a query without an answer: no journal exists, or none knows the unit.
fn print_no_unit(command: &UnitCommand, format: OutputArgs) -> Result<ExitCode, ExitError> {
    if let Some(unit) = command.unit() {
        return Err(ExitError::new(
            ExitCode::Usage,
            format!(
                "{unit}: no unit of this name is known; `scripts/bearish status` lists the units"
            ),
        ));
    }
    let none = json!(UnitStatuses::default());
    print_line(&if format.json {
        none.to_string()
    } else {
        "no unit is known yet".to_owned()
    })?;
    Ok(ExitCode::Success)
}

fn print_reply(
    command: &UnitCommand,
    reply: &CommandReply,
    format: OutputArgs,
) -> Result<ExitCode, ExitError> {
    let unit = command.unit().map_or("", SubjectToken::as_str);
    let line = format!("{unit}: {}", reply.text);
    if format.json {
        print_line(&json!({ "unit": unit, "ok": reply.ok, "text": reply.text }).to_string())?;
    } else if reply.ok {
        print_line(&line)?;
    }
    if reply.ok {
        Ok(ExitCode::Success)
    } else {
        Err(ExitError::new(ExitCode::Usage, line))
    }
}

async fn send_request(
    client: &Client,
    host: &HostKey,
    request: &UnitCommandRequest,
) -> Result<CommandReply, ExitError> {
    let unavailable = |error: String| {
        ExitError::new(
            ExitCode::Unavailable,
            format!("no watchdog answers: {error}; check `scripts/bearish status`"),
        )
    };
    let payload = serde_json::to_vec(request).map_err(|error| unavailable(error.to_string()))?;
    let subject = Subject::WatchdogCommand {
        host: host.clone(),
        verb: request.command.verb().into(),
    };
    let subject = subject.to_string();
    let response = client.request(subject, payload.into());
    let message = timeout(2 * runtime::bus::DEADLINE, response)
        .await
        .map_err(|_| unavailable("no answer".to_owned()))?
        .map_err(|error| unavailable(error.to_string()))?;
    serde_json::from_slice(&message.payload).map_err(|error| unavailable(error.to_string()))
}
