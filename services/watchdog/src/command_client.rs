//! The commands beside watching. What only asks is read from the journal here, so that it works with the
//! watchdog dead and without the engine; orders go to the watchdog that holds the lease.

use std::process::ExitCode as Status;

use async_nats::Client;
use protocol::VERSION;
use protocol::command::{CommandReply, UnitCommand, UnitCommandRequest};
use protocol::exit_code::ExitCode;
use protocol::ids::{HostKey, SubjectToken};
use protocol::subject::{Subject, filter};
use runtime::bus::{Bus, BusError};
use runtime::identity::InstanceSettings;
use runtime::process::{self, ExitError};
use runtime::{clock, streams};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::cli::{Command, OutputFormat};
use crate::read_model::ReadModel;
use crate::settings::Settings;

/// What the shell sees of `status` while a unit waits for a person.
const QUARANTINED: u8 = 1;

/// Does it; the process's exit code of `status` is 1 while a unit waits for a person.
pub fn main(command: Command) -> Status {
    let mut is_any_quarantined = false;
    match process::run(execute(command, &mut is_any_quarantined)) {
        ExitCode::Success if is_any_quarantined => Status::from(QUARANTINED),
        code => code.into(),
    }
}

async fn execute(command: Command, is_any_quarantined: &mut bool) -> Result<ExitCode, ExitError> {
    let (order, form) = command
        .unit_command()
        .ok_or_else(|| ExitError::internal("bug: not an order"))?;
    let settings = Settings::from_env()?;
    let bus = Bus::try_connect(&settings.bus)
        .await
        .map_err(BusError::into_exit_error)?;
    if order.is_read_only() {
        let views = read_models(&bus, &settings.own).await?;
        *is_any_quarantined =
            order == UnitCommand::Status && views.iter().any(ReadModel::any_quarantined);
        return print_replies(&views, &order, form);
    }
    let user = settings.bus.nats_user.as_ref();
    let request = UnitCommandRequest {
        v: VERSION,
        by: user.map_or("operator", SubjectToken::as_str).to_owned(),
        command: order,
    };
    let answer = send_request(bus.client(), &settings.own.host_key().await?, &request).await?;
    print_reply(&request.command, &answer, form)
}

/// Read models of the project that is set, else of all projects and hosts that have a journal.
async fn read_models(bus: &Bus, own: &InstanceSettings) -> Result<Vec<ReadModel>, ExitError> {
    let mut views = Vec::new();
    for host in hosts(bus, own).await? {
        views.push(ReadModel::read(bus, &host).await?);
    }
    Ok(views)
}

async fn hosts(bus: &Bus, own: &InstanceSettings) -> Result<Vec<HostKey>, ExitError> {
    if own.project.is_some() {
        return Ok(vec![own.host_key().await?]);
    }
    let subjects = bus
        .subjects(streams::JOURNAL, filter::WATCHDOG_JOURNALS)
        .await
        .map_err(|why| ExitError::new(ExitCode::Unavailable, why))?;
    let host = |subject: &String| match Subject::parse(subject)? {
        Subject::WatchdogJournal(host) => Some(host),
        _ => None,
    };
    let mut hosts: Vec<HostKey> = subjects.iter().filter_map(host).collect();
    hosts.sort();
    Ok(hosts)
}

fn print_replies(
    views: &[ReadModel],
    order: &UnitCommand,
    form: OutputFormat,
) -> Result<ExitCode, ExitError> {
    let now = clock::now();
    let wanted = |view: &&ReadModel| order.unit().is_none_or(|unit| view.has_records_of(unit));
    let answers: Vec<CommandReply> = views
        .iter()
        .filter(wanted)
        .map(|view| view.answer(order, now))
        .collect();
    let (Some(first), several) = (answers.first(), answers.len() > 1) else {
        return print_no_unit(order, form);
    };
    if form.json {
        let all = answers.iter().map(|answer| answer.data.clone());
        print_line(&match (several, first.data.clone()) {
            (false, Some(data)) => data.to_string(),
            _ => all
                .collect::<Option<Value>>()
                .unwrap_or_default()
                .to_string(),
        });
    } else {
        for answer in &answers {
            print_line(&answer.text);
        }
    }
    Ok(ExitCode::Success)
}

/// There is no journal yet, or none that knows the unit.
fn print_no_unit(order: &UnitCommand, form: OutputFormat) -> Result<ExitCode, ExitError> {
    if let Some(unit) = order.unit() {
        return Err(ExitError::new(
            ExitCode::Usage,
            format!("{unit}: no unit of this name was ever seen"),
        ));
    }
    let none = json!({ "units": [] });
    print_line(&if form.json {
        none.to_string()
    } else {
        "no unit has been seen yet".to_owned()
    });
    Ok(ExitCode::Success)
}

fn print_reply(
    order: &UnitCommand,
    answer: &CommandReply,
    form: OutputFormat,
) -> Result<ExitCode, ExitError> {
    let unit = order.unit().map_or("", SubjectToken::as_str);
    let line = format!("{unit}: {}", answer.text);
    if form.json {
        print_line(&json!({ "unit": unit, "ok": answer.ok, "text": answer.text }).to_string());
    } else if answer.ok {
        print_line(&line);
    }
    if answer.ok {
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
    let unavailable =
        |why: String| ExitError::new(ExitCode::Unavailable, format!("no watchdog answers: {why}"));
    let payload = serde_json::to_vec(request).map_err(|error| unavailable(error.to_string()))?;
    let subject = Subject::WatchdogCommand {
        host: host.clone(),
        verb: request.command.verb().into(),
    };
    let subject = subject.to_string();
    let asked = client.request(subject, payload.into());
    let message = timeout(2 * runtime::bus::DEADLINE, asked)
        .await
        .map_err(|_| unavailable("no answer".to_owned()))?
        .map_err(|error| unavailable(error.to_string()))?;
    serde_json::from_slice(&message.payload).map_err(|error| unavailable(error.to_string()))
}

#[allow(clippy::print_stdout, reason = "the answer of a command")]
fn print_line(line: &str) {
    println!("{line}");
}
