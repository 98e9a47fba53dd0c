//! The page about subjects, streams and permissions, made from the protocol, the catalogue of streams and the server's
//! configuration.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use runtime::streams::stream_configs;

use crate::doc_comments::{constant, variants};
use crate::reference::{cell, heading};

/// Page of subjects and streams.
pub(crate) fn page(root: &Path) -> String {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let mut page = heading(
        "Subjects and streams",
        "```text\n\
         process  = <service>.<project>.<host>.<instance>   trader.bearish-alpha.local.trader-paper-1\n\
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
    page += "\n## Permissions\n\nWhat each bus user may publish and subscribe, without the JetStream API. The whole list, with streams and\n\
             consumers: `docker/nats.conf`.\n\n| user | may publish | may subscribe |\n| --- | --- | --- |\n";
    for (user, (publish, subscribe)) in permissions(&read("docker/nats.conf")) {
        let list = |subjects: Vec<String>| {
            let texts: Vec<String> = subjects.iter().map(|s| format!("`{s}`")).collect();
            if texts.is_empty() {
                "-".to_owned()
            } else {
                texts.join(", ")
            }
        };
        writeln!(
            page,
            "| `{user}` | {} | {} |",
            list(publish),
            list(subscribe)
        )
        .unwrap();
    }
    page
}

fn age(age: Duration) -> String {
    match age.as_secs() / 3600 {
        0 => "-".to_owned(),
        hours if hours % 24 == 0 => format!("{} d", hours / 24),
        hours => format!("{hours} h"),
    }
}

type Permissions = (Vec<String>, Vec<String>);

/// The subjects in the blocks `NAME { publish: [...] subscribe: [...] }` that the users refer to.
fn permissions(config: &str) -> BTreeMap<String, Permissions> {
    let users = config.lines().filter_map(|line| {
        let user = line.trim().strip_prefix("{ user: ")?.split(',').next()?;
        let block = line.split_once("permissions: $")?.1;
        let block = block.split(' ').next()?;
        Some((user.to_owned(), block_of(config, block)))
    });
    let users: BTreeMap<_, _> = users.collect();
    assert!(!users.is_empty(), "docker/nats.conf: no users found");
    users
}

fn block_of(config: &str, name: &str) -> Permissions {
    let start = config.find(&format!("\n{name} {{")).unwrap();
    let block = &config[start..];
    let block = &block[..block.find("\n}").unwrap()];
    let (publish, subscribe) = block.split_once("subscribe:").unwrap();
    let subjects = |text: &str| {
        let quoted = text.split('"').skip(1).step_by(2);
        let own = quoted.filter(|s| s.contains('.') && !s.starts_with(['$', '_']));
        own.map(str::to_owned).collect()
    };
    (subjects(publish), subjects(subscribe))
}
