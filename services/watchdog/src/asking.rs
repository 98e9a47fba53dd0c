//! The commands beside watching. What only asks is read from the journal here, so that it works with the
//! watchdog dead and without the engine; orders go to the watchdog that holds the lease.

use std::process::ExitCode as Status;

use async_nats::Client;
use protocol::VERSION;
use protocol::command::{Answer, Request, UnitOrder};
use protocol::exit::ExitCode;
use protocol::ids::Token;
use protocol::subject::{Subject, filter};
use runtime::bus::{Bus, Refusal};
use runtime::process::{self, Stop};
use runtime::{clock, streams};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::cli::{Command, Form};
use crate::settings::Settings;
use crate::view::View;

/// What the shell sees of `status` while a unit waits for a person.
const QUARANTINED: u8 = 1;

/// Does it; the process's exit code of `status` is 1 while a unit waits for a person.
pub fn main(command: Command) -> Status {
    let mut waits = false;
    match process::run(carry_out(command, &mut waits)) {
        ExitCode::Done if waits => Status::from(QUARANTINED),
        code => code.into(),
    }
}

async fn carry_out(command: Command, waits: &mut bool) -> Result<ExitCode, Stop> {
    let (order, form) = command
        .order()
        .ok_or_else(|| Stop::internal("bug: not an order"))?;
    let settings = Settings::from_env()?;
    let bus = Bus::try_connect(&settings.bus)
        .await
        .map_err(Refusal::into_stop)?;
    if order.only_asks() {
        let views = views(&bus, settings.project).await?;
        *waits = order == UnitOrder::Status && views.iter().any(View::any_quarantined);
        return show(&views, &order, form);
    }
    let user = settings.bus.nats_user.as_ref();
    let request = Request {
        v: VERSION,
        by: user.map_or("operator", Token::as_str).to_owned(),
        order,
    };
    let answer = ask(bus.client(), &request).await?;
    told(&request.order, &answer, form)
}

/// Of the project that is set, else of all that have a journal.
async fn views(bus: &Bus, set: Option<Token>) -> Result<Vec<View>, Stop> {
    let mut views = Vec::new();
    for project in projects(bus, set).await? {
        views.push(View::read(bus, &project).await?);
    }
    Ok(views)
}

async fn projects(bus: &Bus, set: Option<Token>) -> Result<Vec<Token>, Stop> {
    if let Some(project) = set {
        return Ok(vec![project]);
    }
    let subjects = bus
        .subjects(streams::JOURNAL, filter::WATCHDOG_JOURNALS)
        .await
        .map_err(|why| Stop::new(ExitCode::Unavailable, why))?;
    let project = |subject: &String| subject.rsplit('.').next()?.parse().ok();
    let mut projects: Vec<Token> = subjects.iter().filter_map(project).collect();
    projects.sort();
    Ok(projects)
}

fn show(views: &[View], order: &UnitOrder, form: Form) -> Result<ExitCode, Stop> {
    let now = clock::now();
    let wanted = |view: &&View| order.unit().is_none_or(|unit| view.knows(unit));
    let answers: Vec<Answer> = views
        .iter()
        .filter(wanted)
        .map(|view| view.answer(order, now))
        .collect();
    let (Some(first), several) = (answers.first(), answers.len() > 1) else {
        return nobody(order, form);
    };
    if form.json {
        let all = answers.iter().map(|answer| answer.data.clone());
        say(&match (several, first.data.clone()) {
            (false, Some(data)) => data.to_string(),
            _ => all
                .collect::<Option<Value>>()
                .unwrap_or_default()
                .to_string(),
        });
    } else {
        for answer in &answers {
            say(&answer.text);
        }
    }
    Ok(ExitCode::Done)
}

/// There is no journal yet, or none that knows the unit.
fn nobody(order: &UnitOrder, form: Form) -> Result<ExitCode, Stop> {
    if let Some(unit) = order.unit() {
        return Err(Stop::new(
            ExitCode::Usage,
            format!("{unit}: no unit of this name was ever seen"),
        ));
    }
    let none = json!({ "units": [] });
    say(&if form.json {
        none.to_string()
    } else {
        "no unit has been seen yet".to_owned()
    });
    Ok(ExitCode::Done)
}

fn told(order: &UnitOrder, answer: &Answer, form: Form) -> Result<ExitCode, Stop> {
    let unit = order.unit().map_or("", Token::as_str);
    let line = format!("{unit}: {}", answer.text);
    if form.json {
        say(&json!({ "unit": unit, "done": answer.done, "text": answer.text }).to_string());
    } else if answer.done {
        say(&line);
    }
    if answer.done {
        Ok(ExitCode::Done)
    } else {
        Err(Stop::new(ExitCode::Usage, line))
    }
}

async fn ask(client: &Client, request: &Request) -> Result<Answer, Stop> {
    let unavailable =
        |why: String| Stop::new(ExitCode::Unavailable, format!("no watchdog answers: {why}"));
    let payload = serde_json::to_vec(request).map_err(|error| unavailable(error.to_string()))?;
    let subject = Subject::WatchdogCommand(request.order.verb()).to_string();
    let asked = client.request(subject, payload.into());
    let message = timeout(2 * runtime::bus::DEADLINE, asked)
        .await
        .map_err(|_| unavailable("no answer".to_owned()))?
        .map_err(|error| unavailable(error.to_string()))?;
    serde_json::from_slice(&message.payload).map_err(|error| unavailable(error.to_string()))
}

#[allow(clippy::print_stdout, reason = "the answer of a command")]
fn say(line: &str) {
    println!("{line}");
}
