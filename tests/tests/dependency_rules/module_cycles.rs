//! Import cycles between the modules of one crate, found in its source text: `use` declarations and paths outside of
//! tests. A re-export leads to the module that defines the item.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// A module's path below the crate root, such as `book::live`; the root is empty.
type ModulePath = String;

#[derive(Default)]
struct Module {
    children: BTreeSet<String>,
    /// Name in this module -> the path that it was imported from, and whether others see it.
    imports: BTreeMap<String, (Vec<String>, bool)>,
    /// Paths that its code names, resolved up to `crate`, `self` and `super`.
    paths: Vec<Vec<String>>,
    /// Every identifier in its code outside of `use` declarations.
    identifiers: BTreeSet<String>,
}

/// The import cycles of the crate whose root file is `lib`: each a text with its modules and, for every import
/// within it, the names imported.
pub(crate) fn import_cycles(lib: &Path) -> Vec<String> {
    let mut modules = BTreeMap::new();
    read_module(lib, &lib.with_file_name(""), "", &mut modules);
    let edges = modules
        .keys()
        .map(|path| (path.clone(), uses(path, &modules)))
        .collect();
    let cycles = strongly_connected(&edges);
    cycles.iter().map(|cycle| describe(cycle, &edges)).collect()
}

/// How many modules a crate has; a crate that cannot be read would have no cycles either.
pub(crate) fn module_count(lib: &Path) -> usize {
    let mut modules = BTreeMap::new();
    read_module(lib, &lib.with_file_name(""), "", &mut modules);
    modules.len()
}

fn read_module(
    file: &Path,
    children_dir: &Path,
    path: &str,
    modules: &mut BTreeMap<ModulePath, Module>,
) {
    let text =
        fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let tokens = without_tests(&lex(&text));
    let module = parse(&tokens, path);
    let children = module.children.clone();
    modules.insert(path.to_owned(), module);
    for child in children {
        let plain = children_dir.join(format!("{child}.rs"));
        let nested = children_dir.join(&child).join("mod.rs");
        let file = if plain.is_file() { plain } else { nested };
        read_module(
            &file,
            &children_dir.join(&child),
            &join(path, &child),
            modules,
        );
    }
}

fn join(path: &str, name: &str) -> ModulePath {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}::{name}")
    }
}

/// Identifiers, `::` and single signs; comments, texts, characters and lifetimes are left out.
pub(crate) fn lex(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < letters.len() {
        let next = letters.get(at + 1).copied().unwrap_or(' ');
        match letters[at] {
            '/' if next == '/' => at = skip_until(&letters, at, "\n"),
            '/' if next == '*' => at = skip_until(&letters, at, "*/"),
            'r' if next == '"' => at = skip_until(&letters, at + 2, "\""),
            'r' if next == '#' && letters.get(at + 2) == Some(&'"') => {
                at = skip_until(&letters, at + 3, "\"#");
            }
            '"' => at = skip_text(&letters, at + 1),
            '\'' if next == '\\' => at = skip_until(&letters, at + 3, "'"),
            '\'' if letters.get(at + 2) == Some(&'\'') => at += 3,
            ':' if next == ':' => {
                tokens.push("::".to_owned());
                at += 2;
            }
            letter if letter.is_alphanumeric() || letter == '_' => {
                let length = letters[at..]
                    .iter()
                    .take_while(|letter| letter.is_alphanumeric() || **letter == '_')
                    .count();
                tokens.push(letters[at..at + length].iter().collect());
                at += length;
            }
            letter => {
                if !letter.is_whitespace() {
                    tokens.push(letter.to_string());
                }
                at += 1;
            }
        }
    }
    tokens
}

fn skip_until(letters: &[char], from: usize, end: &str) -> usize {
    let end: Vec<char> = end.chars().collect();
    let found = letters[from..]
        .windows(end.len())
        .position(|part| part == end);
    found.map_or(letters.len(), |position| from + position + end.len())
}

fn skip_text(letters: &[char], mut at: usize) -> usize {
    while at < letters.len() && letters[at] != '"' {
        at += if letters[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// Without the items behind `#[cfg(test)]`.
fn without_tests(tokens: &[String]) -> Vec<String> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at..].iter().take(MARK.len()).eq(MARK) {
            at = end_of_item(tokens, at + MARK.len());
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

fn end_of_item(tokens: &[String], mut at: usize) -> usize {
    let mut depth = 0;
    while at < tokens.len() {
        match tokens[at].as_str() {
            "{" | "(" | "[" => depth += 1,
            ")" | "]" => depth -= 1,
            "}" => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
        at += 1;
    }
    at
}

fn is_identifier(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

fn parse(tokens: &[String], path: &str) -> Module {
    let mut module = Module::default();
    for window in tokens.windows(3) {
        if window[0] == "mod" && window[2] == ";" {
            module.children.insert(window[1].clone());
        }
    }
    let mut at = 0;
    while at < tokens.len() {
        let is_path_start = at == 0 || (tokens[at - 1] != "::" && tokens[at - 1] != ".");
        if tokens[at] == "use" {
            let exported = at > 0 && (tokens[at - 1] == "pub" || tokens[at - 1] == ")");
            let end = at + tokens[at..].iter().position(|token| token == ";").unwrap();
            let mut leaves = Vec::new();
            use_tree(&tokens[at + 1..end], &mut 0, &[], &mut leaves);
            for (name, leaf) in leaves {
                let leaf = absolute(&leaf, path, &module.children);
                if !exported {
                    module.paths.extend(leaf.clone());
                }
                if let Some(leaf) = leaf {
                    module.imports.insert(name, (leaf, exported));
                }
            }
            at = end;
        } else if is_identifier(&tokens[at]) && is_path_start {
            let mut segments = vec![tokens[at].clone()];
            while tokens.get(at + 1).is_some_and(|token| token == "::")
                && tokens.get(at + 2).is_some_and(|token| is_identifier(token))
            {
                segments.push(tokens[at + 2].clone());
                at += 2;
            }
            module.identifiers.insert(segments[0].clone());
            if segments.len() > 1 {
                module
                    .paths
                    .extend(absolute(&segments, path, &module.children));
            }
            at += 1;
        } else {
            at += 1;
        }
    }
    module
}

/// The leaves of a use tree, with the names that they get.
fn use_tree(
    tokens: &[String],
    at: &mut usize,
    prefix: &[String],
    leaves: &mut Vec<(String, Vec<String>)>,
) {
    let mut path = prefix.to_vec();
    while let Some(token) = tokens.get(*at) {
        match token.as_str() {
            "{" => {
                *at += 1;
                while tokens.get(*at).is_some_and(|token| token != "}") {
                    use_tree(tokens, at, &path, leaves);
                    if tokens.get(*at).is_some_and(|token| token == ",") {
                        *at += 1;
                    }
                }
                *at += 1;
                return;
            }
            "," | "}" => break,
            "as" => {
                leaves.push((tokens[*at + 1].clone(), path));
                *at += 2;
                return;
            }
            "::" => {}
            // `self` within braces is what stands before them.
            "self" if !path.is_empty() => {}
            name => path.push(name.to_owned()),
        }
        *at += 1;
    }
    if let Some(name) = path.last().cloned() {
        leaves.push((name, path));
    }
}

/// The path below the crate root; `None` for another crate's.
fn absolute(path: &[String], module: &str, children: &BTreeSet<String>) -> Option<Vec<String>> {
    let mut base: Vec<String> = module
        .split("::")
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect();
    let mut rest = path;
    match path[0].as_str() {
        "crate" => {
            base.clear();
            rest = &path[1..];
        }
        "self" => rest = &path[1..],
        "super" => {
            while rest.first().is_some_and(|part| part == "super") {
                base.pop();
                rest = &rest[1..];
            }
        }
        name if children.contains(name) => {}
        _ => return None,
    }
    Some([base.as_slice(), rest].concat())
}

/// Modules that a module's code needs, itself left out, with the names that it imports from them.
type Uses = BTreeMap<ModulePath, BTreeSet<String>>;

fn uses(path: &str, modules: &BTreeMap<ModulePath, Module>) -> Uses {
    let module = &modules[path];
    // What is re-exported counts if the module's own code names it too.
    let re_exports = module
        .imports
        .iter()
        .filter(|(name, (_, exported))| *exported && module.identifiers.contains(*name));
    let re_exports = re_exports.map(|(_, (import, _))| import);
    let mut found = Uses::new();
    for import in module.paths.iter().chain(re_exports) {
        if let Some(target) = resolve(import, modules, 0).filter(|target| target != path) {
            let name = import.last().cloned().unwrap_or_default();
            found.entry(target).or_default().insert(name);
        }
    }
    found
}

fn describe(cycle: &[ModulePath], edges: &BTreeMap<ModulePath, Uses>) -> String {
    let mut text = format!("{} modules: {}", cycle.len(), cycle.join(", "));
    for from in cycle {
        for (to, names) in edges[from].iter().filter(|(to, _)| cycle.contains(to)) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            write!(text, "\n    {from} -> {to}: {}", names.join(", ")).unwrap();
        }
    }
    text
}

/// The module that defines what is at this path. `None` if that is another crate's, or a module itself that is only
/// named on the way to an item.
fn resolve(
    path: &[String],
    modules: &BTreeMap<ModulePath, Module>,
    depth: usize,
) -> Option<ModulePath> {
    let mut at = String::new();
    for (index, segment) in path.iter().enumerate() {
        let next = join(&at, segment);
        if modules.contains_key(&next) {
            at = next;
        } else if let Some((import, _)) = modules[&at].imports.get(segment).filter(|_| depth < 8) {
            let target = [import.as_slice(), &path[index + 1..]].concat();
            return resolve(&target, modules, depth + 1);
        } else {
            return Some(at);
        }
    }
    Some(at)
}

/// Groups of modules that reach each other, each in order.
fn strongly_connected(edges: &BTreeMap<ModulePath, Uses>) -> Vec<Vec<ModulePath>> {
    let reachable: BTreeMap<&str, BTreeSet<&str>> = edges
        .keys()
        .map(|from| {
            let mut seen = BTreeSet::new();
            let mut open = vec![from.as_str()];
            while let Some(at) = open.pop() {
                let next = edges.get(at).into_iter().flat_map(BTreeMap::keys);
                open.extend(next.map(String::as_str).filter(|next| seen.insert(*next)));
            }
            (from.as_str(), seen)
        })
        .collect();
    let mut cycles: Vec<Vec<ModulePath>> = Vec::new();
    for (from, targets) in &reachable {
        let cycle: Vec<ModulePath> = targets
            .iter()
            .filter(|to| reachable[**to].contains(from))
            .map(|to| (*to).to_owned())
            .collect();
        if !cycle.is_empty() && cycle[0] == **from {
            cycles.push(cycle);
        }
    }
    cycles
}
