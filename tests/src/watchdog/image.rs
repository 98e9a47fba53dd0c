//! The images of the fake unit. They are built once for all test processes of a run and found again by a hash of
//! their source, which is a label of the image.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use crate::docker::{LABEL, docker_command, given_run_name, run_command, run_name};

/// Source of the program in the units' containers.
const FAKE_UNIT_SOURCE: &str = include_str!("fake_unit.rs");
const HEALTH_CHECK: &str =
    r#"HEALTHCHECK --interval=500ms --timeout=1s --retries=3 CMD ["/fake-unit", "--check-health"]"#;
/// Key of the label with the hash of an image's source.
const IMAGE_HASH_LABEL: &str = "bearish-alpha.test.image-hash";

/// Image of a unit that stands for a trader.
pub(super) static UNIT: LazyLock<String> = LazyLock::new(|| image_tag("fake-unit"));
/// Image of a service: the same program with a health check.
pub(super) static SERVICE: LazyLock<String> = LazyLock::new(|| image_tag("fake-unit-service"));

/// Tag of this run: every run removes its own images when it ends.
fn image_tag(name: &str) -> String {
    let tag = given_run_name().unwrap_or_else(|| "latest".to_owned());
    format!("bearish-alpha-test/{name}:{tag}")
}

/// Builds both images unless they exist with the same source.
pub(super) fn ensure_images(host: Option<&str>) {
    let hash = source_hash();
    // The service's image is built last.
    if image_hash(host, &SERVICE).as_ref() == Some(&hash) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    compile(dir.path());
    let labels = [(LABEL, run_name()), (IMAGE_HASH_LABEL, hash)];
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

/// Source hash in the label of an image. `None` if the image is missing.
fn image_hash(host: Option<&str>, image: &str) -> Option<String> {
    let format = format!("{{{{index .Config.Labels \"{IMAGE_HASH_LABEL}\"}}}}");
    let output = docker_command(host)
        .args(["image", "inspect", "--format", &format, image])
        .output()
        .unwrap();
    let hash = String::from_utf8(output.stdout).unwrap();
    output.status.success().then(|| hash.trim().to_owned())
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

/// Imports an image that contains the program only.
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
