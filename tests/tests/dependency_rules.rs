//! Rules that the compiler does not check: cores are pure, crates depend on each other in one direction, and so do
//! the modules of each crate.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

#[path = "dependency_rules/module_cycles.rs"]
mod module_cycles;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Packages that would give a core a clock, a socket, randomness or a thread pool.
const IMPURE_PACKAGES: [&str; 11] = [
    "async-nats",
    "axum",
    "bollard",
    "chrono",
    "getrandom",
    "hyper",
    "mio",
    "rand",
    "reqwest",
    "tokio",
    "uuid",
];

const CORES: [&str; 3] = [
    "bearish-trader-core",
    "bearish-watchdog-core",
    "bearish-notifier-core",
];

/// All packages that this one needs at run time, direct and transitive, itself included. Only its own features
/// count, not those that other members of the workspace enable.
fn dependencies(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--package", package])
        .args(["--edges", "normal,no-proc-macro", "--prefix", "none"])
        .args(["--offline", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "cargo tree for {package}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let names = String::from_utf8(output.stdout).unwrap();
    names
        .lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

/// The dependencies that are members of this workspace.
fn workspace_dependencies(package: &str) -> Vec<String> {
    let others = dependencies(package)
        .into_iter()
        .filter(|name| name != package);
    others.filter(|name| name.starts_with("bearish-")).collect()
}

#[test]
fn impure_dependency_is_found_where_there_is_one() {
    let behind = dependencies("bearish-runtime");
    assert!(behind.contains("tokio") && behind.contains("uuid"));
}

#[test]
fn cores_and_protocol_have_no_clock_socket_or_randomness() {
    for package in CORES.into_iter().chain(["bearish-protocol"]) {
        let behind = dependencies(package);
        for impure in IMPURE_PACKAGES {
            assert!(!behind.contains(impure), "{package} needs {impure}");
        }
    }
}

#[test]
fn cores_and_runtime_depend_on_the_protocol_only() {
    for package in CORES.into_iter().chain(["bearish-runtime"]) {
        assert_eq!(
            workspace_dependencies(package),
            ["bearish-protocol"],
            "behind {package}"
        );
    }
}

#[test]
fn socket_guard_is_independent_of_the_other_services() {
    let behind = workspace_dependencies("bearish-socket-guard");
    assert_eq!(behind, ["bearish-protocol", "bearish-runtime"]);
    for service in ["bearish-watchdog", "bearish-trader", "bearish-notifier"] {
        let behind = workspace_dependencies(service);
        assert!(
            !behind.contains(&"bearish-socket-guard".to_owned()),
            "{service}"
        );
    }
}

#[test]
fn exchange_simulator_shares_candle_files_but_no_code_of_a_trader() {
    assert_eq!(workspace_dependencies("bearish-candle-file"), [""; 0]);
    assert_eq!(
        workspace_dependencies("bearish-exchange-sim"),
        ["bearish-candle-file", "bearish-protocol", "bearish-runtime"]
    );
}

/// The packages that may know Binance: its adapter, and the trader that assembles it.
const KNOW_BINANCE: [&str; 2] = ["bearish-binance", "bearish-trader"];

#[test]
fn seam_and_adapter_know_neither_each_other_nor_the_trader() {
    assert_eq!(
        workspace_dependencies("bearish-exchange"),
        ["bearish-protocol", "bearish-runtime", "bearish-trader-core"]
    );
    assert_eq!(
        workspace_dependencies("bearish-binance"),
        [
            "bearish-exchange",
            "bearish-protocol",
            "bearish-runtime",
            "bearish-trader-core"
        ]
    );
}

#[test]
fn no_service_but_the_trader_depends_on_the_adapter() {
    assert!(workspace_dependencies("bearish-trader").contains(&"bearish-binance".to_owned()));
    for service in [
        "bearish-exchange-sim",
        "bearish-notifier",
        "bearish-socket-guard",
        "bearish-watchdog",
    ] {
        let behind = workspace_dependencies(service);
        for package in KNOW_BINANCE.into_iter().chain(["bearish-exchange"]) {
            assert!(
                !behind.contains(&package.to_owned()),
                "{service} needs {package}"
            );
        }
    }
}

/// All Rust sources below a folder of the repository.
fn sources(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(folder);
    let (mut folders, mut files) = (vec![root], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 3, "only {files:?} were found");
    files
}

#[test]
fn in_the_trader_only_app_names_the_adapter() {
    let named: Vec<PathBuf> = sources("services/trader/src")
        .into_iter()
        .filter(|file| {
            let code = fs::read_to_string(file).unwrap();
            let names = module_cycles::lex(&code);
            names.iter().any(|name| name == "binance")
        })
        .collect();
    assert!(!named.is_empty(), "the names are not found any more");
    for file in named {
        let folder = file.parent().unwrap();
        assert!(
            folder.ends_with("trader/src/app"),
            "{} names the adapter",
            file.display()
        );
    }
}

#[test]
fn seam_names_no_exchange() {
    for file in sources("services/trader/exchange/src") {
        let text = fs::read_to_string(&file).unwrap().to_ascii_lowercase();
        for name in ["binance", "fapi", "kline"] {
            assert!(!text.contains(name), "{}: {name}", file.display());
        }
    }
}

/// The library roots of all crates of the workspace.
fn library_roots() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let members = manifest.split_once("members = [").unwrap().1;
    let members = members.split_once(']').unwrap().0.split('"');
    let libraries = members.map(|member| root.join(member).join("src/lib.rs"));
    libraries.filter(|library| library.is_file()).collect()
}

#[test]
fn no_crate_has_an_import_cycle_between_its_modules() {
    let libraries = library_roots();
    assert!(libraries.len() > 10, "only {libraries:?} were found");
    let mut found = Vec::new();
    for library in &libraries {
        assert!(module_cycles::module_count(library) > 1, "{library:?}");
        for cycle in module_cycles::import_cycles(library) {
            found.push(format!("{}: {cycle}", library.display()));
        }
    }
    assert!(found.is_empty(), "import cycles: {found:#?}");
}

/// A crate of these files in a directory of its own.
fn crate_of(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = dir.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let library = dir.path().join("lib.rs");
    (dir, library)
}

#[test]
fn import_cycle_is_found_with_the_names_that_close_it() {
    let (_dir, library) = crate_of(&[
        ("lib.rs", "mod a; mod b; pub use b::deep::Deep;"),
        ("a.rs", "use crate::{b::{self, B}, c::C};"),
        ("b.rs", "mod deep; pub struct B; fn f() { deep::g(); }"),
        (
            "b/deep.rs",
            "pub struct Deep; pub fn g() { super::super::a::h() }",
        ),
    ]);
    let cycles = module_cycles::import_cycles(&library);
    assert_eq!(
        cycles,
        ["3 modules: a, b, b::deep\n    a -> b: B, b\n    b -> b::deep: g\n    b::deep -> a: h"]
    );
}

#[test]
fn tests_comments_and_re_exports_close_no_cycle() {
    let (_dir, library) = crate_of(&[
        ("lib.rs", "mod a; mod b; pub use b::B;"),
        (
            "a.rs",
            "use crate::B;\n#[cfg(test)]\nmod tests { use super::*; use crate::b; }",
        ),
        (
            "b.rs",
            "// crate::a::A\npub struct B;\nconst C: &str = \"crate::a\";\n\
             #[cfg(test)]\nmod tests { use crate::a; }",
        ),
    ]);
    assert_eq!(module_cycles::import_cycles(&library), [""; 0]);
    assert_eq!(module_cycles::module_count(&library), 3);
}
