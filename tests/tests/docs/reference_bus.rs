//! The page about subjects, streams and permissions, made from the protocol, the catalogue of streams and the server's
//! configuration.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use bearish_tests::bus_config;
use runtime::streams::stream_configs;

use crate::doc_comments::{constant, variants};
use crate::reference::{cell, heading};

/// Page of subjects and streams.
pub(crate) fn page(root: &Path) -> String {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let mut page = heading(
        "Subjects and streams",
        "```text\n\
         process  = <service>.<project>.<host>.<instance>   watchdog.bearish-alpha.local.watchdog-1; of a trader:\n\
         \x20          trader.<mode>.<project>.<host>.<instance>   trader.paper.bearish-alpha.local.trader-paper-1\n\
         account  = <mode>.<venue>.<account>                paper.binance-usdm.bearish-alpha-local-simulator\n\
         book     = <account>.<symbol>\n\
         ```\n\n\
         `bus-init` creates the streams; services compare them with the catalogue when they start.",
    );
    page += "\n## Subjects\n\n| subject | content |\n| --- | --- |\n";
    for item in variants(&read("services/protocol/src/subject.rs"), "Subject") {
        let docs = item.docs;
        let (subject, text) = docs.split_once("`: ").unwrap_or((&docs, ""));
        let subject = subject.trim_matches('`');
        let text = text.trim_end_matches('.');
        writeln!(page, "| `{subject}` | {} |", cell(text)).unwrap();
    }
    page += "\n## Streams\n\n| stream | subjects | content | age limit | per subject | when full | deletable |\n";
    page += "| --- | --- | --- | --- | --- | --- | --- |\n";
    let source = read("services/runtime/src/streams.rs");
    for config in stream_configs() {
        let per_subject = match config.max_messages_per_subject {
            0 | -1 => "all".to_owned(),
            count => count.to_string(),
        };
        writeln!(
            page,
            "| `{}` | `{}` | {} | {} | {per_subject} | {} | {} |",
            config.name,
            config.subjects.join("`, `"),
            cell(constant(&source, &config.name).trim_end_matches('.')),
            age(config.max_age),
            match config.discard {
                async_nats::jetstream::stream::DiscardPolicy::New => "rejects new messages",
                async_nats::jetstream::stream::DiscardPolicy::Old => "drops the oldest",
            },
            if config.deny_purge { "no" } else { "yes" },
        )
        .unwrap();
    }
    page += &rights();
    page
}

/// Who may do what: the table from which `docker/nats.conf` follows.
fn rights() -> String {
    let mut page = "\n## Rights\n\nEach role has a user and an account of its own. It may do nothing else with another role or a \
                    stream. `tests/tests/bus_attacks.rs`\ntries the rest with each role's password. All roles may also query the \
                    state of a stream: its number\nof messages and the names of its subjects.\n\n\
                    | user | stores | reads the newest of | replays | also |\n| --- | --- | --- | --- | --- |\n"
        .to_owned();
    let quoted = |subjects: Vec<&str>| {
        let texts: Vec<String> = subjects.iter().map(|s| format!("`{s}`")).collect();
        if texts.is_empty() {
            "-".to_owned()
        } else {
            texts.join(", ")
        }
    };
    let filters = |list: &[(&'static str, String)]| {
        let name = |(stream, filter): &(&'static str, String)| {
            if filter == ">" {
                format!("all of `{stream}`")
            } else {
                format!("`{filter}`")
            }
        };
        let texts: Vec<String> = list.iter().map(name).collect();
        if texts.is_empty() {
            "-".to_owned()
        } else {
            texts.join(", ")
        }
    };
    for role in bus_config::roles() {
        let mut also = Vec::new();
        also.extend(
            role.durable.map(|(stream, name, _)| {
                format!("acknowledges the consumer `{name}` of `{stream}`")
            }),
        );
        also.extend(
            role.requests
                .iter()
                .map(|(_, subject)| format!("requests `{subject}`")),
        );
        also.extend(
            role.answers
                .iter()
                .map(|subject| format!("answers `{subject}`")),
        );
        also.extend(
            role.receives
                .iter()
                .map(|(_, subject)| format!("receives `{subject}`")),
        );
        if role.inspects_streams {
            also.push("lists the streams".to_owned());
        }
        let stores = quoted(role.stores.iter().map(String::as_str).collect());
        let also = if also.is_empty() {
            "-".to_owned()
        } else {
            also.join(", ")
        };
        writeln!(
            page,
            "| `{}` | {stores} | {} | {} | {also} |",
            role.user,
            filters(&role.reads),
            filters(&role.replays)
        )
        .unwrap();
    }
    page += "| `bus-init` | - | - | - | creates and updates the streams |\n";
    page += "| `bus-init-events` | - | - | - | creates and updates `EVENTS`; the password of `bus-init` |\n";
    page
}

fn age(age: Duration) -> String {
    match age.as_secs() / 3600 {
        0 => "-".to_owned(),
        hours if hours % 24 == 0 => format!("{} d", hours / 24),
        hours => format!("{hours} h"),
    }
}
