//! The words that this project does not use: each has one meaning elsewhere or none at all, and the glossary
//! (docs/glossary.md) has the term to use instead. Identifiers count as words too: `send_report` is "send report".

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Words and phrases in all their forms (separated by `|`), and what to write instead.
const FORBIDDEN: &[(&str, &str)] = &[
    ("whoever|whatever it|whomever", "name the actor"),
    ("anew", "again; start, restart, recreate"),
    ("mend|mends|mended|mending", "fix, correct"),
    ("goes on|go on|going on|went on|gone on", "continue"),
    ("of it", "name the noun"),
    ("comes to nothing|come to nothing|came to nothing", "fail"),
    (
        "is away|was away|be away|been away|are away|were away",
        "is unavailable, is unreachable",
    ),
    (
        "hear|hears|heard|unheard|hearing",
        "receive, subscribe; a heartbeat arrives",
    ),
    (
        "tell|tells|told|telling|untold",
        "publish, send, notify, report, distinguish",
    ),
    ("owner|owners", "operator; writer; holder"),
    ("brain|brains", "core"),
    ("keeper|keepers", "account leader; supervisor"),
    (
        "engine|engines",
        "Docker, the Docker daemon; the trader core",
    ),
    ("person|persons", "operator, user"),
    ("stranger|strangers", "unknown sender, other program"),
    (
        "stands still|stand still|stood still|standing still",
        "is paused, does not change",
    ),
    ("in good order", "gracefully"),
    ("by hand", "manually"),
    ("word|words", "command, text, message, term"),
    ("looks|looked", "checks, queries, inspects"),
    (
        "housemate|housemates|lookout|vigil|courier|climate|kennel",
        "the glossary's term",
    ),
    (
        "the seed s|design page|the seed asks|as the seed",
        "explain, or name a file of this repository",
    ),
    ("not here", "drop the sentence"),
    ("nobody|somebody|anybody", "name the actor"),
    ("he|she|him|his|hers|himself|herself", "they, the operator"),
    ("in vain|forgiven|mighty", "plain words"),
];

/// Where a word is somebody else's, or is the word itself: path prefix, form, reason.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("tests/tests/language.rs", "", "the list itself"),
    (
        "docs/pictures/telegram.svg",
        "",
        "drawn from messages that are checked in their sources; holds a picture as base64",
    ),
    ("scripts/bearish", "words", "a variable of bash"),
    ("_typos.toml", "words", "a key of typos"),
    ("tests/tests/host_command.rs", "words", "a variable of bash"),
    (
        "services/exchange-sim/src/market/synthetic/regime.rs",
        "climate",
        "label of a random stream: another label gives other candles",
    ),
];

/// Kinds of files that hold text of ours.
fn is_text(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap();
    if name == "Cargo.lock" || name.starts_with("LICENSE") {
        return false;
    }
    let kinds = [
        ".rs", ".md", ".toml", ".yaml", ".yml", ".sh", ".conf", ".json", ".txt", ".env",
        ".example", ".py", ".js", ".bash", ".svg", ".html",
    ];
    !name.contains('.') || kinds.iter().any(|kind| name.ends_with(kind))
}

/// A word of a file in lower case and its line; `None` stands for punctuation, which ends a phrase.
type Token = Option<(String, usize)>;

/// Splits text into words. An identifier is split at `_` and before capitals; comment signs and line ends do not
/// end a phrase.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut word = String::new();
        let mut previous = ' ';
        for letter in line.chars().chain([' ']) {
            let ends =
                !letter.is_alphanumeric() || (letter.is_uppercase() && previous.is_lowercase());
            if ends && !word.is_empty() {
                tokens.push(Some((std::mem::take(&mut word), number + 1)));
            }
            if letter.is_alphanumeric() {
                word.extend(letter.to_lowercase());
            } else if !matches!(
                letter,
                ' ' | '\t' | '_' | '/' | '#' | '*' | '!' | '-' | '`' | '\\'
            ) {
                tokens.push(None);
            }
            previous = letter;
        }
    }
    tokens
}

/// The lines at which this phrase begins.
fn occurrences<'a>(tokens: &'a [Token], phrase: &'a str) -> impl Iterator<Item = usize> + 'a {
    let words: Vec<&str> = phrase.split(' ').collect();
    tokens.windows(words.len()).filter_map(move |window| {
        let matches = window.iter().zip(&words);
        let all = matches.clone().count() == words.len()
            && window
                .iter()
                .zip(&words)
                .all(|(token, word)| token.as_ref().is_some_and(|(text, _)| text == word));
        all.then(|| window[0].as_ref().unwrap().1)
    })
}

fn is_allowed(path: &str, form: &str) -> bool {
    ALLOWED.iter().any(|(prefix, allowed, _)| {
        path.starts_with(prefix) && (allowed.is_empty() || *allowed == form)
    })
}

/// The part of the project that a file belongs to, such as `services/trader/core`.
fn area(path: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    let depth = match parts.as_slice() {
        ["services", _, "core", ..] => 3,
        ["services", ..] => 2,
        _ => 1,
    };
    parts.truncate(depth);
    if parts.is_empty() {
        path.to_owned()
    } else {
        parts.join("/")
    }
}

fn tracked_files(root: &Path) -> Vec<String> {
    let listed = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(listed.status.success(), "git ls-files failed");
    let listed = String::from_utf8(listed.stdout).unwrap();
    let names = listed.split('\0').filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

#[test]
fn no_text_uses_a_forbidden_word() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = String::new();
    let mut per_area: BTreeMap<String, usize> = BTreeMap::new();
    let mut files = 0;
    for path in tracked_files(&root).iter().filter(|path| is_text(path)) {
        // A file may be deleted and not yet committed.
        let Ok(text) = fs::read_to_string(root.join(path)) else {
            continue;
        };
        files += 1;
        let tokens = tokens(&text);
        for (forms, instead) in FORBIDDEN {
            for form in forms.split('|').filter(|form| !is_allowed(path, form)) {
                for line in occurrences(&tokens, form) {
                    writeln!(found, "{path}:{line}: {form:?} -> {instead}").unwrap();
                    *per_area.entry(area(path)).or_default() += 1;
                }
            }
        }
    }
    assert!(files > 100, "only {files} files were read");
    let total: usize = per_area.values().sum();
    assert!(total == 0, "{found}{total} forbidden words: {per_area:#?}");
}

#[test]
fn every_exception_is_needed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let files = tracked_files(&root);
    for (prefix, form, reason) in ALLOWED.iter().filter(|(_, form, _)| !form.is_empty()) {
        let needed = files
            .iter()
            .filter(|path| path.starts_with(prefix))
            .any(|path| {
                let text = fs::read_to_string(root.join(path)).unwrap_or_default();
                occurrences(&tokens(&text), form).next().is_some()
            });
        assert!(
            needed,
            "{prefix}: {form:?} ({reason}) is not needed any more"
        );
    }
}

#[test]
fn words_are_found_in_identifiers_and_across_comment_lines() {
    let text = "/// The trader goes\n    /// on. Of course.\nfn send_to_owner(TellAll: u8) {}\n";
    let tokens = tokens(text);
    let lines = |form: &str| occurrences(&tokens, form).collect::<Vec<_>>();
    assert_eq!(lines("goes on"), [1]);
    assert_eq!(lines("owner"), [3]);
    assert_eq!(lines("tell"), [3]);
    assert_eq!(lines("on of"), [0; 0]);
}
