//! Documentation: reference pages follow the code, links lead somewhere, every alert has a section in the runbook.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests: a panic is how a test fails"
)]

#[path = "docs/doc_comments.rs"]
mod doc_comments;
#[path = "docs/markdown.rs"]
mod markdown;
#[path = "docs/reference.rs"]
mod reference;
#[path = "docs/reference_bus.rs"]
mod reference_bus;
#[path = "docs/reference_cli.rs"]
mod reference_cli;
#[path = "docs/reference_faults.rs"]
mod reference_faults;
#[path = "docs/reference_metrics.rs"]
mod reference_metrics;
#[path = "docs/reference_settings.rs"]
mod reference_settings;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use protocol::event::Severity;
use protocol::event_samples;
use protocol::exit_code::ExitCode;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .unwrap()
}

/// Set by `scripts/reference`: write the pages instead of comparing them.
const WRITE: &str = "BEARISH_WRITE_REFERENCE";

#[test]
fn reference_pages_follow_the_code() {
    let folder = root().join("docs/reference");
    let mut stale = Vec::new();
    for (name, text) in reference::pages(&root()) {
        let file = folder.join(name);
        if fs::read_to_string(&file).is_ok_and(|found| found == text) {
            continue;
        }
        if std::env::var_os(WRITE).is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&file, text).unwrap();
        } else {
            stale.push(name);
        }
    }
    assert!(
        stale.is_empty(),
        "stale: {stale:?} in docs/reference; run scripts/reference"
    );
}

#[test]
fn configuration_of_the_bus_follows_the_table_of_rights() {
    let file = root().join("docker/nats.conf");
    let text = bearish_tests::bus_config::render();
    if std::env::var_os(WRITE).is_some() {
        fs::write(&file, &text).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap();
    assert!(
        found == text,
        "docker/nats.conf is stale; run scripts/reference"
    );
}

#[test]
fn links_lead_to_files_and_anchors_that_exist() {
    let broken = markdown::broken_links(&root());
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
}

#[test]
fn broken_link_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let page = "# A page\n\n[a](b.md) [b](#a-page) [c](#gone) [d](https://example.com)\n\n`[e](f.md)`\n\n```\n[g](h.md)\n```\n";
    fs::write(folder.path().join("page.md"), page).unwrap();
    let broken = markdown::broken_links(folder.path());
    assert_eq!(
        broken,
        [
            "page.md: b.md: no such file",
            "page.md: #gone: no such anchor"
        ]
    );
}

#[test]
fn runbook_has_a_section_for_each_alert_and_exit_code() {
    let runbook = fs::read_to_string(root().join("docs/operations/runbook.md")).unwrap();
    let anchors = markdown::anchors(&runbook);
    let alerts = event_samples::events()
        .unwrap()
        .into_iter()
        .filter(|event| event.severity >= Severity::Warning)
        .map(|event| event.body.kind().to_owned());
    let codes = ExitCode::ALL
        .into_iter()
        .map(|code| format!("exit-{}", code.number()));
    // Notifications of the notifier itself, which are no events.
    let outages = ["watchdog-lost", "bus-outage"].map(str::to_owned);
    let missing: Vec<String> = alerts
        .chain(codes)
        .chain(outages)
        .filter(|anchor| !anchors.contains(anchor))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/operations/runbook.md lacks {missing:?}"
    );
}

#[test]
fn alert_rules_link_sections_of_the_runbook() {
    let root = root();
    let rules = fs::read_to_string(root.join("examples/alerts.yml")).unwrap();
    let links: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("runbook: "))
        .collect();
    assert!(links.len() > 5, "{links:?}");
    for link in links {
        let (file, anchor) = link.split_once('#').unwrap();
        let text = fs::read_to_string(root.join(file)).unwrap();
        assert!(markdown::anchors(&text).contains(anchor), "{link}");
    }
}

#[test]
fn alert_rules_use_metrics_that_exist() {
    let rules = fs::read_to_string(root().join("examples/alerts.yml")).unwrap();
    let known: BTreeSet<String> = reference_metrics::names();
    let separator = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let used = rules
        .split(separator)
        .filter(|name| name.starts_with("bearish_"));
    let unknown: Vec<&str> = used.filter(|name| !known.contains(*name)).collect();
    assert!(unknown.is_empty(), "no such metric: {unknown:?}");
}

#[test]
fn alert_rules_pass_promtool() {
    let Some(promtool) = std::env::var_os("BEARISH_PROMTOOL") else {
        println!("skipped: BEARISH_PROMTOOL is not set");
        return;
    };
    let root = root();
    for (kind, file) in [("rules", "alerts.yml"), ("config", "prometheus.yml")] {
        let checked = Command::new(&promtool)
            .args(["check", kind])
            .arg(root.join("examples").join(file))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(checked.status.success(), "{file}: {text}");
    }
}

#[test]
fn env_example_names_settings_that_exist() {
    let root = root();
    let known = reference_settings::known_variables(&root);
    let example = fs::read_to_string(root.join(".env.example")).unwrap();
    let unknown: Vec<String> = reference_settings::example_variables(&example)
        .into_keys()
        .filter(|name| !known.contains(name))
        .collect();
    assert!(
        unknown.is_empty(),
        ".env.example: nothing reads {unknown:?}"
    );
}

#[test]
fn scripts_in_the_documentation_exist() {
    let root = root();
    let mut missing = BTreeSet::new();
    for page in markdown::pages(&root) {
        let text = fs::read_to_string(&page).unwrap();
        let parts = text.split(|c: char| !(c.is_ascii_alphanumeric() || "/._-".contains(c)));
        let scripts = parts.filter(|part| part.starts_with("scripts/") && part.len() > 8);
        for script in scripts.map(|part| part.trim_end_matches('.')) {
            if !root.join(script).is_file() {
                missing.insert(format!("{}: {script}", page.display()));
            }
        }
    }
    assert!(missing.is_empty(), "no such script: {missing:#?}");
}

#[test]
fn host_commands_in_texts_exist() {
    let root = root();
    let script = fs::read_to_string(root.join("scripts/bearish")).unwrap();
    let (_, list) = script.split_once("\ncommands=(").unwrap();
    let known: BTreeSet<&str> = list.split(')').next().unwrap().split_whitespace().collect();
    let listed = Command::new("git")
        .args(["ls-files", "*.md", "*.txt", "services/*.rs"])
        .current_dir(&root)
        .output()
        .unwrap();
    let mut named = 0;
    let mut unknown = Vec::new();
    for file in String::from_utf8(listed.stdout).unwrap().lines() {
        // A file may be deleted and not yet committed.
        let text = fs::read_to_string(root.join(file)).unwrap_or_default();
        for rest in text.split("scripts/bearish ").skip(1) {
            let is_name = |c: char| c.is_ascii_lowercase() || c == '-';
            let name = rest.split(|c| !is_name(c)).next().unwrap();
            if name.is_empty() || name.starts_with('-') {
                continue;
            }
            named += 1;
            if !known.contains(name) {
                unknown.push(format!("{file}: scripts/bearish {name}"));
            }
        }
    }
    assert!(named > 50, "only {named} commands were found");
    assert!(unknown.is_empty(), "no such command: {unknown:#?}");
}

#[test]
fn hops_of_the_trips_exist_in_the_code() {
    let page = root().join("docs/architecture/trips.md");
    let text = fs::read_to_string(&page).unwrap();
    let mut hops = 0;
    for line in text.lines().filter(|line| line.contains("](../../")) {
        let cells: Vec<&str> = line.split(" | ").collect();
        let link = cells[1].split(['(', ')']).nth(1).unwrap();
        let source = fs::read_to_string(page.parent().unwrap().join(link)).unwrap();
        let known: BTreeSet<&str> = source.split(|c: char| !is_identifier(c)).collect();
        let names = cells[2].split('`').skip(1).step_by(2);
        for name in names {
            assert!(known.contains(name), "{link}: {name}");
        }
        hops += 1;
    }
    assert!(hops > 40, "{hops}");
}

fn is_identifier(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
