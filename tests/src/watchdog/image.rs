//! The images of the fake-unit: compiled and imported once for all tests of a run, which are processes of their own, and
//! found again by what they were made of.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use super::docker_command;
use crate::docker::{LABEL, given_run_name, run_command, run_name};

/// The program in the units' containers.
const FAKE_UNIT_SOURCE: &str = include_str!("fake_unit.rs");
const HEALTH_CHECK: &str =
    r#"HEALTHCHECK --interval=500ms --timeout=1s --retries=3 CMD ["/fake-unit", "--check-health"]"#;
/// Key of the label that tells what an image was made of.
const IMAGE_HASH_LABEL: &str = "bearish-alpha.test.image-hash";

/// One that stands in for a trader.
pub(super) static UNIT: LazyLock<String> = LazyLock::new(|| image_tag("fake-unit"));
/// The same with a health check, which asks its process.
pub(super) static SERVICE: LazyLock<String> = LazyLock::new(|| image_tag("fake-unit-service"));

/// Each run has its own: another one that ends removes what is its own.
fn image_tag(name: &str) -> String {
    let tag = given_run_name().unwrap_or_else(|| "latest".to_owned());
    format!("bearish-alpha-test/{name}:{tag}")
}

/// Makes both images unless they are there.
pub(super) fn ensure_images(host: Option<&str>) {
    let made_of = source_hash();
    // It is made behind the other one.
    if image_hash(host, &SERVICE).as_ref() == Some(&made_of) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    compile(dir.path());
    let labels = [(LABEL, run_name()), (IMAGE_HASH_LABEL, made_of)];
    let labels = labels.map(|(key, value)| format!("LABEL {key}={value}"));
    for (image, check) in [(&UNIT, None), (&SERVICE, Some(HEALTH_CHECK))] {
        let changes = labels.iter().map(String::as_str).chain(check);
        import(host, dir.path(), image, changes);
    }
}

fn source_hash() -> String {
    let mut hasher = DefaultHasher::new();
    (FAKE_UNIT_SOURCE, HEALTH_CHECK).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// What an image says that it was made of; none if there is none.
fn image_hash(host: Option<&str>, image: &str) -> Option<String> {
    let format = format!("{{{{index .Config.Labels \"{IMAGE_HASH_LABEL}\"}}}}");
    let asked = docker_command(host)
        .args(["image", "inspect", "--format", &format, image])
        .output()
        .unwrap();
    let said = String::from_utf8(asked.stdout).unwrap();
    asked.status.success().then(|| said.trim().to_owned())
}

fn compile(dir: &Path) {
    let source = dir.join("fake_unit.rs");
    std::fs::write(&source, FAKE_UNIT_SOURCE).unwrap();
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    run_command(
        Command::new(compiler)
            .args([
                "--edition",
                "2021",
                "-O",
                "-C",
                "target-feature=+crt-static",
            ])
            .arg("-o")
            .args([&dir.join("fake-unit"), &source]),
    );
}

/// An image of one file.
fn import<'a>(host: Option<&str>, dir: &Path, image: &str, changes: impl Iterator<Item = &'a str>) {
    let mut tar = Command::new("tar")
        .arg("-cC")
        .arg(dir)
        .arg("fake-unit")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let changes = [r#"ENTRYPOINT ["/fake-unit"]"#].into_iter().chain(changes);
    let imported = docker_command(host)
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
