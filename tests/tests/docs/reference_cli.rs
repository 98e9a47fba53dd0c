//! The page about command lines, made from clap's definitions.

use std::fmt::Write;

use clap::{Arg, Command, CommandFactory};

use crate::reference::{cell, heading, wrap};

/// Page of command lines.
pub(crate) fn page() -> String {
    let mut page = heading(
        "Command lines",
        "Programs in the containers. On the host, `scripts/bearish` calls them in the right container:\n\
         [commands](../operations/commands.md). Settings come from the environment: [settings](settings.md).",
    );
    for command in [
        bearish_trader::cli::Cli::command(),
        bearish_watchdog::cli::Cli::command(),
        bearish_notifier::cli::Cli::command(),
        bearish_socket_guard::cli::Cli::command(),
        exchange_sim::settings::Cli::command(),
    ] {
        let name = command.get_name().to_owned();
        describe(&mut page, &command, &name, "##");
    }
    page
}

fn describe(page: &mut String, command: &Command, path: &str, level: &str) {
    write!(page, "\n{level} {path}\n").unwrap();
    let about = command.get_long_about().or_else(|| command.get_about());
    if let Some(about) = about {
        write!(page, "\n{}\n", wrap(&about.to_string())).unwrap();
    }
    let arguments: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version"))
        // What has a variable is a setting.
        .filter(|arg| arg.get_env().is_none())
        .collect();
    if !arguments.is_empty() {
        page.push_str("\n| argument | default | meaning |\n| --- | --- | --- |\n");
        for argument in arguments {
            writeln!(
                page,
                "| `{}` | {} | {} |",
                spelling(argument),
                default(argument),
                help(argument)
            )
            .unwrap();
        }
    }
    let subcommands = command.get_subcommands();
    for subcommand in subcommands.filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        let path = format!("{path} {}", subcommand.get_name());
        describe(page, subcommand, &path, "###");
    }
}

fn spelling(argument: &Arg) -> String {
    let takes_value = argument.get_action().takes_values();
    let value = argument
        .get_value_names()
        .and_then(|names| names.first())
        .map_or_else(
            || argument.get_id().as_str().to_uppercase(),
            ToString::to_string,
        );
    match (argument.get_long(), takes_value) {
        (Some(long), true) => format!("--{long} {value}"),
        (Some(long), false) => format!("--{long}"),
        (None, _) => value,
    }
}

/// The default values of an argument, as code.
pub(crate) fn default(argument: &Arg) -> String {
    let values: Vec<String> = argument
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy().into_owned())
        .collect();
    let text = values.join(",");
    if text.is_empty() || !argument.get_action().takes_values() {
        "-".to_owned()
    } else {
        format!("`{text}`")
    }
}

/// The help of an argument with its possible values.
pub(crate) fn help(argument: &Arg) -> String {
    let help = argument.get_long_help().or_else(|| argument.get_help());
    let mut text = help.map(|help| cell(&help.to_string())).unwrap_or_default();
    let values = argument.get_possible_values();
    if argument.get_action().takes_values() && !values.is_empty() {
        let names: Vec<String> = values
            .iter()
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        write!(text, " ({})", names.join(", ")).unwrap();
    }
    text
}
