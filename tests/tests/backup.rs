//! `scripts/backup` and `scripts/restore` on the whole system with the settings of compose.yaml: saved data comes back,
//! and nothing is lost if a script fails half-way.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use bearish_tests::docker::{Project, docker, inspect, require_all_images, run_command, run_name};
use bearish_tests::journals::{self, Batches};
use bearish_tests::process::Process;
use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use protocol::ids::BookKey;
use runtime::bus::Bus;
use tempfile::TempDir;

/// Time in which the default market on the default clock leads to a decision.
const DECISION_TIMEOUT: Duration = Duration::from_mins(2);
const SERVICES: [&str; 5] = [
    "nats",
    "exchange-sim",
    "trader-paper",
    "watchdog",
    "notifier",
];

type Journals = BTreeMap<BookKey, Batches>;

/// A running system and a directory for its archives.
struct BackupRig {
    name: String,
    project: Project,
    dir: TempDir,
}

impl BackupRig {
    fn up(test: &str) -> Self {
        require_all_images();
        let name = format!("{}-{test}", run_name());
        Self {
            project: Project::up(&name, &[], &[]),
            dir: tempfile::tempdir().unwrap(),
            name,
        }
    }

    fn restart(&self) {
        let up = "up --no-build --detach --wait --wait-timeout 120";
        run_command(self.project.compose().args(up.split(' ')));
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a script on this project.
    fn script(&self, name: &str, arguments: &[&str]) -> Output {
        self.script_with(&std::env::var("PATH").unwrap(), name, arguments)
    }

    fn script_with(&self, path: &str, name: &str, arguments: &[&str]) -> Output {
        let mut command = self.command(name, arguments);
        command.env("PATH", path).output().unwrap()
    }

    fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = script(name, arguments);
        command.env("COMPOSE_PROJECT_NAME", &self.name);
        command
    }

    fn backup(&self, file: &Path) -> Output {
        self.script("backup", &[file.to_str().unwrap()])
    }

    fn restore(&self, file: &Path) -> Output {
        self.script("restore", &[file.to_str().unwrap()])
    }

    /// State and start time of each container; unchanged while no container is stopped.
    fn start_times(&self) -> Vec<String> {
        let began = |service: &&str| {
            let container = self.project.container_name(service, 1);
            inspect(&container, "{{.State.Running}} {{.State.StartedAt}}")
        };
        SERVICES.iter().map(began).collect()
    }

    fn assert_all_running(&self) {
        for service in SERVICES {
            let container = self.project.container_name(service, 1);
            let running = inspect(&container, "{{.State.Running}}");
            assert_eq!(running, "true", "{container}");
        }
    }

    /// A search path that begins with a `docker` whose `nth` `cp` fails.
    fn failing_docker_path(&self, nth: u32) -> String {
        let dir = self.file(&format!("fails-at-{nth}"));
        fs::create_dir(&dir).unwrap();
        let path = std::env::var("PATH").unwrap();
        let script = format!(
            "#!/bin/sh\n\
             if [ \"$1\" = cp ]; then\n\
             echo >>{dir}/calls\n\
             if [ $(wc -l <{dir}/calls) -eq {nth} ]; then echo 'no space left' >&2; exit 1; fi\n\
             fi\n\
             PATH={path} exec docker \"$@\"\n",
            dir = dir.display()
        );
        let docker = dir.join("docker");
        fs::write(&docker, script).unwrap();
        fs::set_permissions(&docker, fs::Permissions::from_mode(0o755)).unwrap();
        format!("{}:{path}", dir.display())
    }
}

fn script(name: &str, arguments: &[&str]) -> Command {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts");
    let mut command = Command::new(scripts.join(name));
    command.args(arguments);
    command
}

fn output_text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[track_caller]
fn assert_success(output: &Output) -> String {
    let said = output_text(output);
    assert!(output.status.success(), "{said}");
    said
}

#[track_caller]
fn assert_rejected(output: &Output, code: i32, expected: &[&str]) {
    let said = output_text(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for text in expected {
        assert!(said.contains(text), "{text:?} is not in {said}");
    }
}

fn batch_count(journals: &Journals) -> usize {
    journals.values().map(Vec::len).sum()
}

/// Waits until the journals hold more batches than these.
async fn wait_for_new_batches(bus: &Bus, before: &Journals) -> Journals {
    eventually("a decision is stored", DECISION_TIMEOUT, async || {
        let now = journals::read_paper(bus).await;
        (batch_count(&now) > batch_count(before)).then_some(now)
    })
    .await
}

/// Asserts that every earlier batch is still there, unchanged.
#[track_caller]
fn assert_continues(before: &Journals, after: &Journals) {
    for (key, old) in before {
        let new = after.get(key).map_or(&[][..], Vec::as_slice);
        assert!(new.starts_with(old), "{key} does not continue");
    }
}

/// Waits until all three books have a writer and a decision is stored.
async fn wait_for_first_decisions(bus: &Bus) -> Journals {
    eventually("the first decisions", DECISION_TIMEOUT, async || {
        let now = journals::read_paper(bus).await;
        (now.len() == 3 && batch_count(&now) > 4).then_some(now)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn restore_brings_back_the_backup_and_the_journal_continues() {
    let scene = BackupRig::up("saved");
    let before = wait_for_first_decisions(&scene.project.operator_bus().await).await;
    let file = scene.file("system.tar");
    let output = assert_success(&scene.backup(&file));
    assert!(output.contains("saved: "), "{output}");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    scene.assert_all_running();
    let bus = scene.project.operator_bus().await;
    let after = wait_for_new_batches(&bus, &before).await;
    assert_continues(&before, &after);

    let began = scene.start_times();
    assert_rejected(&scene.backup(&file), 64, &["exists"]);
    assert_rejected(&scene.restore(&file), 69, &["the system runs", "--stop"]);
    assert_eq!(scene.start_times(), began, "a refusal stopped something");

    assert_success(&scene.script("down", &["--volumes"]));
    let output = assert_success(&scene.restore(&file));
    assert!(output.contains("there was no previous data"), "{output}");
    scene.restart();
    let bus = scene.project.operator_bus().await;
    let restored = journals::read_paper(&bus).await;
    assert_continues(&before, &restored);
    let now = wait_for_new_batches(&bus, &restored).await;
    assert_continues(&restored, &now);

    // Again over the present data, which is saved and can be restored in turn.
    let output = assert_success(&scene.script("restore", &["--stop", file.to_str().unwrap()]));
    assert!(output.contains("the previous data is in "), "{output}");
    let kept = find_replaced_archive(&scene);
    let mode = fs::metadata(&kept).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_success(&scene.restore(&kept));
    scene.restart();
    assert_continues(
        &now,
        &journals::read_paper(&scene.project.operator_bus().await).await,
    );
}

fn find_replaced_archive(scene: &BackupRig) -> PathBuf {
    let files = fs::read_dir(scene.dir.path()).unwrap();
    let mut paths = files.map(|file| file.unwrap().path());
    let is_kept = |path: &PathBuf| path.to_string_lossy().contains(".replaced-");
    paths.find(is_kept).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_backup_or_restore_leaves_everything_as_it_was() {
    let scene = BackupRig::up("broken");
    let before = wait_for_first_decisions(&scene.project.operator_bus().await).await;

    let began = scene.start_times();
    fs::write(scene.file("file"), "").unwrap();
    let below_a_file = scene.file("file/system.tar");
    let expected = ["cannot be written", "nothing was saved"];
    assert_rejected(&scene.backup(&below_a_file), 64, &expected);
    fs::remove_file(scene.file("file")).unwrap();
    assert_rejected(&scene.script("backup", &[]), 64, &["scripts/backup FILE"]);
    assert_eq!(scene.start_times(), began, "a refusal stopped something");

    let broken = scene.file("broken.tar");
    let path = scene.failing_docker_path(2);
    let failed = scene.script_with(&path, "backup", &[broken.to_str().unwrap()]);
    let expected = [
        "no space left",
        "starting the containers again",
        "nothing was saved",
    ];
    assert_rejected(&failed, 1, &expected);
    assert_ne!(scene.start_times(), began);
    scene.assert_all_running();
    assert!(is_nothing_left(&scene), "a part of a backup was left");

    let mut terminated = Process::start(
        "backup",
        scene.command("backup", &[broken.to_str().unwrap()]),
    );
    eventually(
        "the backup stops the watchdog",
        DEFAULT_TIMEOUT,
        async || {
            let said = terminated.err();
            said.iter()
                .any(|line| line == "stopping watchdog")
                .then_some(())
        },
    )
    .await;
    terminated.signal("TERM");
    assert_eq!(terminated.exit_within(DEFAULT_TIMEOUT).await, 143);
    scene.assert_all_running();
    assert!(is_nothing_left(&scene), "a part of a backup was left");
    let bus = scene.project.operator_bus().await;
    assert_continues(&before, &wait_for_new_batches(&bus, &before).await);

    // Its directory is created.
    let file = scene.file("backups/system.tar");
    assert_success(&scene.backup(&file));
    assert_success(&scene.script("down", &[]));
    assert_invalid_archives_rejected(&scene, &file);

    // The first two copies read the volumes, the third one writes.
    let path = scene.failing_docker_path(3);
    let failed = scene.script_with(&path, "restore", &[file.to_str().unwrap()]);
    assert_rejected(
        &failed,
        1,
        &["no space left", "putting back the previous data"],
    );
    scene.restart();
    let bus = scene.project.operator_bus().await;
    assert_continues(&before, &journals::read_paper(&bus).await);
    let archives = docker(&[
        "ps",
        "-aq",
        "--filter",
        &format!("name={}-archive", scene.name),
    ]);
    assert_eq!(archives.trim(), "", "a container was left");
}

fn is_nothing_left(scene: &BackupRig) -> bool {
    let mut left = fs::read_dir(scene.dir.path()).unwrap();
    left.all(|file| file.unwrap().path().is_dir())
}

/// Asserts that each of these archives is rejected before anything is changed.
fn assert_invalid_archives_rejected(scene: &BackupRig, good: &Path) {
    let whole = fs::read(good).unwrap();
    let bad = scene.file("bad.tar");
    for (content, error) in [
        (&whole[..whole.len() / 2], "not a tar, or cut off"),
        (b"no tar at all, but long enough to be one", "not a tar"),
        (&[0; 10_240], "no journal"),
    ] {
        fs::write(&bad, content).unwrap();
        assert_rejected(&scene.restore(&bad), 64, &[error]);
    }
    fs::write(scene.file("etc"), "x").unwrap();
    fs::copy(good, &bad).unwrap();
    let add = ["--append", "-f", bad.to_str().unwrap(), "-C"];
    run_command(
        Command::new("tar")
            .args(add)
            .arg(scene.dir.path())
            .arg("etc"),
    );
    assert_rejected(&scene.restore(&bad), 64, &["holds 'etc'"]);
    let missing = scene.file("missing.tar");
    assert_rejected(&scene.restore(&missing), 64, &["cannot be read"]);
    let volumes = docker(&["volume", "ls", "-q"]);
    assert!(volumes.contains(&format!("{}_nats", scene.name)));
}

/// A wrong command line is answered in one line, also without a running system.
#[test]
fn invalid_command_line_exits_64() {
    let table: [(&str, &[&str]); 6] = [
        ("backup", &[]),
        ("backup", &["--all"]),
        ("backup", &["a", "b"]),
        ("restore", &[]),
        ("restore", &["--force", "a"]),
        ("restore", &["a", "b"]),
    ];
    for (name, arguments) in table {
        let output = script(name, arguments).output().unwrap();
        assert_rejected(&output, 64, &[name]);
        assert_eq!(
            output_text(&output).lines().count(),
            1,
            "{name} {arguments:?}"
        );
    }
}
