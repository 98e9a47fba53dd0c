//! Commands that messages name: every form has a test that runs it, and the commands about units are run as the message
//! has them, in the state in which it is sent.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use bearish_tests::watchdog::{Unit, WatchdogRig};
use notifier_core::preview;
use protocol::event::{Event, EventBody};
use protocol::time::UtcMs;
use protocol::unit_remedy::UnitRemedy;

/// Commands of other programs, whose effect is not this project's.
const OUTSIDE: &str = "";
/// Forms of commands in messages and in the runbook, with the test that runs the form. A form is the command without the
/// values of its options.
const FORMS: [(&str, &str); 40] = [
    ("docker compose logs", OUTSIDE),
    ("docker compose logs --tail", OUTSIDE),
    ("docker compose ps", OUTSIDE),
    ("docker compose restart", HOST),
    ("docker compose up", OUTSIDE),
    // The verb that was given for a service which is no unit.
    ("docker compose {}", OUTSIDE),
    ("docker inspect", OUTSIDE),
    ("docker ps", OUTSIDE),
    (
        "scripts/bearish accept --MODE --difference --reason",
        "unexplained_change_stops_entries_over_restarts_until_the_named_command_accepts_it",
    ),
    ("scripts/bearish dry-run --MODE", HOST),
    ("scripts/bearish explain", HOST),
    (
        "scripts/bearish flatten --MODE --confirm --direct --reason",
        "direct_flatten_without_the_bus_is_adopted_by_the_book",
    ),
    (
        "scripts/bearish flatten --confirm --direct --reason",
        "direct_flatten_without_the_bus_is_adopted_by_the_book",
    ),
    (
        "scripts/bearish forget",
        "removed_unit_is_reported_once_and_can_be_forgotten",
    ),
    ("scripts/bearish history", HOST),
    ("scripts/bearish hold --reason", UNITS),
    (
        "scripts/bearish init --account",
        "account_is_initialized_once_and_by_the_operator",
    ),
    ("scripts/bearish logs", HOST),
    ("scripts/bearish release", UNITS),
    ("scripts/bearish release --reset-restarts", UNITS),
    (
        "scripts/bearish resend --all",
        "dead_letters_are_resent_once_on_request_also_after_a_kill",
    ),
    ("scripts/bearish restart", UNITS),
    ("scripts/bearish resume --MODE", HOST),
    (
        "scripts/bearish resume --MODE --reason --symbol",
        "operator_pauses_and_resumes_entries_and_flattens_the_account",
    ),
    ("scripts/bearish resume --reason", HOST),
    (
        "scripts/bearish send-test",
        "send_test_delivers_and_prints_the_message_id",
    ),
    ("scripts/bearish start", UNITS),
    ("scripts/bearish status", HOST),
    ("scripts/bearish stop", HOST),
    ("scripts/bearish trades", HOST),
    (
        "scripts/bearish unhalt --MODE --reason --symbol",
        "halted_book_of_a_latched_paper_account_is_reported_until_it_is_unhalted_and_closed",
    ),
    (
        "scripts/bearish unhalt --reason --symbol",
        "unexplained_position_halts_the_book_until_the_operator_unhalts_it",
    ),
    ("scripts/bearish unlatch --MODE --latch --reason", HOST),
    (
        "scripts/bearish unlatch --latch --reason",
        "account_breaker_latches_until_an_operator_unlatches",
    ),
    ("scripts/down --volumes", HOST),
    ("scripts/up", HOST),
    (
        "scripts/up --confirm-live",
        "killed_live_instance_loses_its_books_to_the_other",
    ),
    ("scripts/up --help", HOST),
    ("systemctl restart", OUTSIDE),
    ("systemctl status", OUTSIDE),
];

const HOST: &str = "operator_commands_work_from_the_first_start_on";
const UNITS: &str = "command_that_a_message_names_brings_the_unit_back";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn tracked(patterns: &[&str]) -> Vec<String> {
    let listed = Command::new("git")
        .arg("ls-files")
        .args(patterns)
        .current_dir(root())
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    listed.lines().map(str::to_owned).collect()
}

/// The file without comments, tests and breaks inside of texts.
fn message_source(file: &str) -> String {
    let text = fs::read_to_string(root().join(file)).unwrap_or_default();
    if Path::new(file).extension().is_none_or(|end| end != "rs") {
        return text;
    }
    let code = text.split("\n#[cfg(test)]").next().unwrap();
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let joined: Vec<&str> = lines.collect();
    let mut parts = joined.join("\n");
    while let Some(at) = parts.find("\\\n") {
        let rest = parts[at + 2..].trim_start().to_owned();
        parts = parts[..at].to_owned() + &rest;
    }
    parts
}

/// Every form that a text names.
fn forms(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for beginning in [
        "scripts/bearish ",
        "scripts/up",
        "scripts/down",
        "docker compose ",
        "docker unpause",
        "docker inspect",
        "docker ps",
        "systemctl ",
    ] {
        for (at, _) in text.match_indices(beginning) {
            let rest = &text[at..];
            let end = rest
                .find(|c: char| "`\"'\n;,()#:|".contains(c))
                .unwrap_or(rest.len());
            found.extend(form(&rest[..end]));
        }
    }
    found
}

/// The command with its verb and its options. `None` for the name of a script alone in another text.
fn form(command: &str) -> Option<String> {
    let mut parts = command.split_whitespace();
    let program = parts.next()?.trim_end_matches('.').to_owned();
    let is_verb = |part: &&str| part.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    let mut form = vec![program.clone()];
    match program.as_str() {
        "scripts/bearish" => form.push(parts.next().filter(is_verb)?.to_owned()),
        "docker" | "systemctl" => {
            let fixed = if program == "docker" && command.starts_with("docker compose") {
                2
            } else {
                1
            };
            form.extend(
                parts
                    .by_ref()
                    .take(fixed)
                    .map(|part| part.trim_end_matches('.').to_owned()),
            );
        }
        _ => {}
    }
    let options: BTreeSet<&str> = parts
        .filter(|part| part.starts_with("--") && part.len() > 2)
        .map(|part| part.split('=').next().unwrap().trim_end_matches('.'))
        .collect();
    // A mode in a format string.
    let options = options.into_iter().map(|option| match option {
        "--paper" | "--live" | "--{mode}" | "--MODE" => "--MODE".to_owned(),
        other => other.to_owned(),
    });
    form.extend(options.collect::<BTreeSet<_>>());
    Some(form.join(" "))
}

#[test]
fn every_command_in_a_message_has_a_test_that_runs_it() {
    let mut named: BTreeMap<String, String> = BTreeMap::new();
    let files = tracked(&[
        "services/*/src/*.rs",
        "services/*/core/src/*.rs",
        "services/notifier/core/tests/core/golden/catalogue.txt",
        "docs/operations/runbook.md",
    ]);
    assert!(files.len() > 100, "{}", files.len());
    for file in files {
        for form in forms(&message_source(&file)) {
            named.entry(form).or_insert_with(|| file.clone());
        }
    }
    let known: BTreeMap<&str, &str> = FORMS.into_iter().collect();
    let new: Vec<_> = named
        .iter()
        .filter(|(form, _)| !known.contains_key(form.as_str()))
        .collect();
    assert!(new.is_empty(), "commands without a test: {new:#?}");
    let gone: Vec<_> = known
        .keys()
        .filter(|form| !named.contains_key(**form))
        .collect();
    assert!(gone.is_empty(), "no message names: {gone:#?}");
    let tests: String = tracked(&[
        "tests/tests/*.rs",
        "services/*/tests/*.rs",
        "services/*/core/tests/*.rs",
    ])
    .iter()
    .map(|file| fs::read_to_string(root().join(file)).unwrap_or_default())
    .collect();
    let missing: Vec<_> = known
        .iter()
        .filter(|(_, test)| **test != OUTSIDE && !tests.contains(&format!("{test}(")))
        .collect();
    assert!(missing.is_empty(), "no such test: {missing:#?}");
}

/// A unit that stays down or hangs, and how the message about it begins.
struct Case {
    what: &'static str,
    unit: Unit,
    remedy: UnitRemedy,
}

/// The event about a unit that names its remedy.
async fn remedy_event(rig: &WatchdogRig, unit: &Unit) -> EventBody {
    eventually(
        &format!("a remedy of {}", unit.name),
        DEFAULT_TIMEOUT,
        async || {
            let events = rig.stored_events().await;
            events.into_iter().rfind(|body| match body {
                EventBody::UnitQuarantined { unit: name, .. }
                | EventBody::UnitRestartSkipped { unit: name, .. } => name.as_str() == unit.name,
                _ => false,
            })
        },
    )
    .await
}

/// Arguments of the last host command in the message of an event.
fn command_in_message(body: EventBody) -> (String, Vec<String>) {
    let text = preview::render_event(Event::new("x", UtcMs(0), body)).unwrap();
    let (_, command) = text.rsplit_once("scripts/bearish ").unwrap();
    let command = command.split([';', '\n']).next().unwrap().to_owned();
    let arguments = command.split(' ').map(str::to_owned).collect();
    (text, arguments)
}

async fn cases(rig: &WatchdogRig) -> Vec<Case> {
    let start = async |number, flags: &str| {
        let unit = rig.unit_setup(number, flags);
        let unit = unit.with_option("--stop-timeout", "1").start();
        rig.wait_until_healthy(&unit).await;
        unit
    };
    let release = |reset_restarts| UnitRemedy::Release { reset_restarts };
    let auto = "--paper --infinite --auto-restart --restart-delay 0";

    let used_up = start(1, &format!("{auto} --max-restarts 1")).await;
    let before = used_up.started_at();
    used_up.signal("USR1");
    used_up.wait_until_started_after(&before).await;
    rig.wait_until_healthy(&used_up).await;
    used_up.signal("USR1");

    let failing = rig.unit_setup(2, auto).env("EXIT=70").start();

    let once = start(3, "--paper --infinite").await;
    once.signal("USR1");

    let held = start(4, auto).await;
    let command = ["hold", &held.name, "--reason", "maintenance"];
    let (output, code) = rig.run_command(&command).await;
    assert_eq!(code, 0, "{output}");
    held.signal("USR1");

    let hung = start(5, "--paper --infinite").await;
    hung.signal("STOP");

    let case = |what, unit, remedy| Case { what, unit, remedy };
    vec![
        case("all restarts are used", used_up, release(true)),
        case("too many failures in a row", failing, release(false)),
        case("no --auto-restart", once, UnitRemedy::Start),
        case("on hold", held, release(false)),
        case("hangs, observed only", hung, UnitRemedy::Restart),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn command_that_a_message_names_brings_the_unit_back() {
    let rig = WatchdogRig::start().await;
    for Case { what, unit, remedy } in cases(&rig).await {
        let body = remedy_event(&rig, &unit).await;
        match &body {
            EventBody::UnitQuarantined { remedy: found, .. }
            | EventBody::UnitRestartSkipped { remedy: found, .. } => {
                assert_eq!(*found, remedy, "{what}");
            }
            other => panic!("{what}: {other:?}"),
        }
        let (text, arguments) = command_in_message(body);
        let before = unit.started_at();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (output, code) = rig.run_command(&arguments).await;
        assert_eq!(code, 0, "{what}: {arguments:?}: {output}\n{text}");
        unit.wait_until_started_after(&before).await;
    }
}
