//! The page about settings, made from clap's definitions, compose.yaml and .env.example.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use clap::{Arg, Command, CommandFactory};

use crate::reference::{cell, heading};
use crate::reference_cli::{default, help};

/// Every program with settings.
fn programs() -> [(&'static str, Command); 5] {
    [
        ("trader", bearish_trader::settings::Settings::command()),
        ("watchdog", bearish_watchdog::settings::Settings::command()),
        ("notifier", bearish_notifier::settings::Settings::command()),
        (
            "socket-guard",
            bearish_socket_guard::settings::Settings::command(),
        ),
        ("exchange-sim", exchange_sim::settings::Cli::command()),
    ]
}

/// The arguments of a command that come from the environment.
fn settings(command: &Command) -> Vec<(String, &Arg)> {
    command
        .get_arguments()
        .filter_map(|arg| Some((arg.get_env()?.to_str()?.to_owned(), arg)))
        .collect()
}

/// Page of settings.
pub(crate) fn page(root: &Path) -> String {
    let mut page = heading(
        "Settings",
        "Settings are environment variables. Set them in `.env` and apply them with `scripts/up`. A value that is not allowed is\n\
         rejected before anything starts, with one line that names the variable, the value and what is expected (exit 78). An\n\
         empty value counts as not set. `.env.example` lists all settings with their defaults.",
    );
    let programs = programs();
    let common = common_settings(&programs);
    page += "\n## Common\n\nRead by several programs.\n";
    table(&mut page, |name| common.contains(name), &programs[0].1);
    for (name, command) in &programs {
        write!(page, "\n## {name}\n").unwrap();
        table(&mut page, |variable| !common.contains(variable), command);
    }
    page +=
        "\n## Compose and scripts\n\nRead by `compose.yaml` and the scripts, not by a program.\n";
    page += "\n| variable | default | meaning |\n| --- | --- | --- |\n";
    let example = fs::read_to_string(root.join(".env.example")).unwrap();
    let described = example_variables(&example);
    let known = program_variables();
    for (variable, default) in compose_variables(root) {
        if known.contains(&variable) && default.is_empty() {
            continue;
        }
        let text = described.get(&variable).map_or("", String::as_str);
        let default = match default.as_str() {
            "" => "-".to_owned(),
            default => format!("`{default}`"),
        };
        writeln!(page, "| `{variable}` | {default} | {} |", cell(text)).unwrap();
    }
    page
}

fn table(page: &mut String, is_wanted: impl Fn(&str) -> bool, command: &Command) {
    page.push_str("\n| variable | default | meaning |\n| --- | --- | --- |\n");
    for (variable, argument) in settings(command) {
        if is_wanted(&variable) {
            writeln!(
                page,
                "| `{variable}` | {} | {} |",
                default(argument),
                help(argument)
            )
            .unwrap();
        }
    }
}

/// Settings that trader, watchdog and notifier share.
fn common_settings(programs: &[(&'static str, Command)]) -> BTreeSet<String> {
    let mut names = programs[..3].iter().map(|(_, command)| {
        let settings = settings(command).into_iter();
        settings.map(|(name, _)| name).collect::<BTreeSet<_>>()
    });
    let first = names.next().unwrap();
    names.fold(first, |common, names| &common & &names)
}

fn program_variables() -> BTreeSet<String> {
    let programs = programs();
    let names = programs
        .iter()
        .flat_map(|(_, command)| settings(command).into_iter().map(|(name, _)| name));
    names.collect()
}

/// Every variable that a program, compose.yaml or a script reads.
pub(crate) fn known_variables(root: &Path) -> BTreeSet<String> {
    let mut known = program_variables();
    known.extend(compose_variables(root).into_keys());
    for entry in fs::read_dir(root.join("scripts")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let names =
            text.split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
        known.extend(names.filter(|name| name.len() > 3).map(str::to_owned));
    }
    known
}

/// The variables that compose.yaml substitutes, with their defaults.
fn compose_variables(root: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(root.join("compose.yaml")).unwrap();
    let mut variables = BTreeMap::new();
    for (start, _) in text.match_indices("${") {
        let rest = &text[start + 2..];
        let inside = &rest[..rest.find('}').unwrap()];
        let end = inside.find(':').unwrap_or(inside.len());
        let default = inside[end..].strip_prefix(":-").unwrap_or_default();
        let entry = variables.entry(inside[..end].to_owned());
        let known: &mut String = entry.or_default();
        if known.is_empty() && default != "/dev/null" {
            default.clone_into(known);
        }
    }
    variables
}

/// The variables of .env.example, each with the comment above it.
pub(crate) fn example_variables(example: &str) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    let mut comment = String::new();
    let mut after_variable = false;
    for line in example.lines() {
        let name = line.strip_prefix('#').unwrap_or(line);
        let name = name.split_once('=').map(|(name, _)| name);
        let is_name = |name: &&str| {
            !name.is_empty()
                && name
                    .chars()
                    .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        };
        if let Some(name) = name.filter(is_name) {
            variables.insert(name.to_owned(), comment.clone());
            after_variable = true;
        } else if let Some(text) = line.strip_prefix("# ") {
            if after_variable || text.starts_with("---") {
                comment.clear();
            }
            after_variable = false;
            if !text.starts_with("---") {
                if !comment.is_empty() {
                    comment.push(' ');
                }
                comment.push_str(text.trim());
            }
        }
    }
    variables
}
