//! Markdown pages of the repository: their links and anchors.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// All pages under a folder, without build output and hidden folders.
pub(crate) fn pages(root: &Path) -> Vec<PathBuf> {
    let mut pages = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages
}

/// Links of all pages that lead nowhere, one line each. Links to other hosts are not followed.
pub(crate) fn broken_links(root: &Path) -> Vec<String> {
    let mut broken = Vec::new();
    for page in pages(root) {
        let text = fs::read_to_string(&page).unwrap();
        let name = page.strip_prefix(root).unwrap().display().to_string();
        for link in links(&text) {
            if let Some(problem) = problem(&page, &text, &link) {
                broken.push(format!("{name}: {link}: {problem}"));
            }
        }
    }
    broken
}

fn problem(page: &Path, text: &str, link: &str) -> Option<&'static str> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = page.parent().unwrap().join(path);
    if !path.is_empty() && !target.exists() {
        return Some("no such file");
    }
    if anchor.is_empty() {
        return None;
    }
    let found = if path.is_empty() {
        anchors(text).contains(anchor)
    } else {
        fs::read_to_string(target).is_ok_and(|text| anchors(&text).contains(anchor))
    };
    (!found).then_some("no such anchor")
}

/// The targets of `[text](target)` outside of code.
fn links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    for line in prose(text) {
        let line = without_code(line);
        for (start, _) in line.match_indices("](") {
            let rest = &line[start + 2..];
            if let Some(end) = rest.find(')') {
                links.push(rest[..end].to_owned());
            }
        }
    }
    links
}

/// The anchors of a page: one of each heading as GitHub makes them, and those that it sets itself.
pub(crate) fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for line in prose(text) {
        for (start, _) in line.match_indices("<a id=\"") {
            let rest = &line[start + 7..];
            anchors.insert(rest.split('"').next().unwrap().to_owned());
        }
        if let Some(heading) = line.strip_prefix('#') {
            let heading = heading.trim_start_matches('#').trim();
            let slug = slug(heading);
            let mut anchor = slug.clone();
            for number in 1.. {
                if anchors.insert(anchor) {
                    break;
                }
                anchor = format!("{slug}-{number}");
            }
        }
    }
    anchors
}

fn slug(heading: &str) -> String {
    let heading = heading.to_lowercase();
    heading
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// The lines that are in no code block.
fn prose(text: &str) -> Vec<&str> {
    let mut in_code = false;
    text.lines()
        .filter(|line| {
            let fence = line.trim_start().starts_with("```");
            in_code ^= fence;
            !in_code && !fence
        })
        .collect()
}

/// The line without what stands between backticks.
fn without_code(line: &str) -> String {
    let parts = line.split('`').enumerate();
    parts
        .filter_map(|(index, part)| (index % 2 == 0).then_some(part))
        .collect()
}
