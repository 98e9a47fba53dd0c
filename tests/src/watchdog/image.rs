//! The images of the stand-in: compiled and imported once for all tests of a run, which are processes of their own, and
//! found again by what they were made of.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use super::docker;
use crate::docker::{LABEL, given_run_name, run, run_name};

/// The program in the units' containers.
const STAND_IN: &str = include_str!("stand_in.rs");
const CHECK: &str =
    r#"HEALTHCHECK --interval=500ms --timeout=1s --retries=3 CMD ["/stand-in", "--asks"]"#;
/// Key of the label that tells what an image was made of.
const MADE_OF: &str = "bearish-alpha.test.made-of";

/// One that stands in for a trader.
pub(super) static UNIT: LazyLock<String> = LazyLock::new(|| tagged("stand-in"));
/// The same with a health check, which asks its process.
pub(super) static SERVICE: LazyLock<String> = LazyLock::new(|| tagged("stand-in-service"));

/// Each run has its own: another one that ends removes what is its own.
fn tagged(name: &str) -> String {
    let tag = given_run_name().unwrap_or_else(|| "latest".to_owned());
    format!("bearish-alpha-test/{name}:{tag}")
}

/// Makes both images unless they are there.
pub(super) fn make(host: Option<&str>) {
    let made_of = made_of();
    // It is made behind the other one.
    if label(host, &SERVICE).as_ref() == Some(&made_of) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    compile(dir.path());
    let labels = [(LABEL, run_name()), (MADE_OF, made_of)];
    let labels = labels.map(|(key, value)| format!("LABEL {key}={value}"));
    for (image, check) in [(&UNIT, None), (&SERVICE, Some(CHECK))] {
        let changes = labels.iter().map(String::as_str).chain(check);
        import(host, dir.path(), image, changes);
    }
}

fn made_of() -> String {
    let mut hasher = DefaultHasher::new();
    (STAND_IN, CHECK).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// What an image says that it was made of; none if there is none.
fn label(host: Option<&str>, image: &str) -> Option<String> {
    let format = format!("{{{{index .Config.Labels \"{MADE_OF}\"}}}}");
    let asked = docker(host)
        .args(["image", "inspect", "--format", &format, image])
        .output()
        .unwrap();
    let said = String::from_utf8(asked.stdout).unwrap();
    asked.status.success().then(|| said.trim().to_owned())
}

fn compile(dir: &Path) {
    let source = dir.join("stand_in.rs");
    std::fs::write(&source, STAND_IN).unwrap();
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    run(Command::new(compiler)
        .args([
            "--edition",
            "2021",
            "-O",
            "-C",
            "target-feature=+crt-static",
        ])
        .arg("-o")
        .args([&dir.join("stand-in"), &source]));
}

/// An image of one file.
fn import<'a>(host: Option<&str>, dir: &Path, image: &str, changes: impl Iterator<Item = &'a str>) {
    let mut tar = Command::new("tar")
        .arg("-cC")
        .arg(dir)
        .arg("stand-in")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let changes = [r#"ENTRYPOINT ["/stand-in"]"#].into_iter().chain(changes);
    let imported = docker(host)
        .arg("import")
        .args(changes.flat_map(|change| ["--change", change]))
        .args(["-", image])
        .stdin(tar.stdout.take().unwrap())
        .output()
        .unwrap();
    assert!(
        tar.wait().unwrap().success() && imported.status.success(),
        "{imported:?}"
    );
}
