//! `scripts/backup` and `scripts/restore` on the whole system as compose.yaml has it: what was saved
//! comes back, and nothing is lost when they fail half-way.

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

use bearish_tests::docker::{Project, docker, image, inspect, run, run_name};
use bearish_tests::journals::{self, Entries};
use bearish_tests::patience::{SOON, eventually};
use bearish_tests::process::Process;
use protocol::ids::BookKey;
use runtime::bus::Bus;
use tempfile::TempDir;

/// A decision of the default market on the default clock.
const DECISION_WITHIN: Duration = Duration::from_mins(2);
const SERVICES: [&str; 5] = [
    "nats",
    "exchange-sim",
    "trader-paper",
    "watchdog",
    "notifier",
];

type Journals = BTreeMap<BookKey, Entries>;

/// A system that runs, and a directory for its archives.
struct Scene {
    name: String,
    project: Project,
    dir: TempDir,
}

impl Scene {
    fn up(test: &str) -> Self {
        for name in [
            "nats",
            "bus-init",
            "exchange-sim",
            "trader",
            "socket-guard",
            "watchdog",
            "notifier",
        ] {
            image(name);
        }
        let name = format!("{}-{test}", run_name());
        Self {
            project: Project::up(&name, &[], &[]),
            dir: tempfile::tempdir().unwrap(),
            name,
        }
    }

    fn up_again(&self) {
        let up = "up --no-build --detach --wait --wait-timeout 120";
        run(self.project.compose().args(up.split(' ')));
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A script, on this project.
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

    /// When each container began: the same as long as nobody stopped it.
    fn began(&self) -> Vec<String> {
        let began = |service: &&str| {
            let container = self.project.container(service, 1);
            inspect(&container, "{{.State.Running}} {{.State.StartedAt}}")
        };
        SERVICES.iter().map(began).collect()
    }

    fn all_run(&self) {
        for service in SERVICES {
            let container = self.project.container(service, 1);
            let running = inspect(&container, "{{.State.Running}}");
            assert_eq!(running, "true", "{container}");
        }
    }

    /// A `docker` that fails at its `nth` `cp`; to be put first into the path.
    fn docker_that_fails_at(&self, nth: u32) -> String {
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

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    let said = said(output);
    assert!(output.status.success(), "{said}");
    said
}

#[track_caller]
fn refuses(output: &Output, code: i32, words: &[&str]) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in {said}");
    }
}

fn length(journals: &Journals) -> usize {
    journals.values().map(Vec::len).sum()
}

/// Waits until more has been decided than is in these journals.
async fn goes_on(bus: &Bus, before: &Journals) -> Journals {
    eventually("a decision", DECISION_WITHIN, async || {
        let now = journals::all(bus).await;
        (length(&now) > length(before)).then_some(now)
    })
    .await
}

/// Every message that was there is there, unchanged.
#[track_caller]
fn continues(before: &Journals, after: &Journals) {
    for (key, old) in before {
        let new = after.get(key).map_or(&[][..], Vec::as_slice);
        assert!(new.starts_with(old), "{key} does not continue");
    }
}

/// All three books have been taken over, and something has been decided.
async fn has_decided(bus: &Bus) -> Journals {
    eventually("the first decisions", DECISION_WITHIN, async || {
        let now = journals::all(bus).await;
        (now.len() == 3 && length(&now) > 4).then_some(now)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_saved_comes_back_and_the_journal_goes_on() {
    let scene = Scene::up("saved");
    let before = has_decided(&scene.project.operator().await).await;
    let file = scene.file("system.tar");
    let told = succeeds(&scene.backup(&file));
    assert!(told.contains("saved: "), "{told}");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    scene.all_run();
    let bus = scene.project.operator().await;
    let after = goes_on(&bus, &before).await;
    continues(&before, &after);

    let began = scene.began();
    refuses(&scene.backup(&file), 64, &["exists"]);
    refuses(&scene.restore(&file), 69, &["the system runs", "--stop"]);
    assert_eq!(scene.began(), began, "a refusal stopped something");

    succeeds(&scene.script("down", &["--volumes"]));
    let told = succeeds(&scene.restore(&file));
    assert!(told.contains("there was nothing before"), "{told}");
    scene.up_again();
    let bus = scene.project.operator().await;
    let restored = journals::all(&bus).await;
    continues(&before, &restored);
    let now = goes_on(&bus, &restored).await;
    continues(&restored, &now);

    // Once more over what is there, which is kept and can be restored in turn.
    let told = succeeds(&scene.script("restore", &["--stop", file.to_str().unwrap()]));
    assert!(told.contains("what was there before is in "), "{told}");
    let kept = kept_beside(&scene);
    let mode = fs::metadata(&kept).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    succeeds(&scene.restore(&kept));
    scene.up_again();
    continues(&now, &journals::all(&scene.project.operator().await).await);
}

fn kept_beside(scene: &Scene) -> PathBuf {
    let files = fs::read_dir(scene.dir.path()).unwrap();
    let mut paths = files.map(|file| file.unwrap().path());
    let is_kept = |path: &PathBuf| path.to_string_lossy().contains(".replaced-");
    paths.find(is_kept).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_half_way_leaves_everything_as_it_was() {
    let scene = Scene::up("broken");
    let before = has_decided(&scene.project.operator().await).await;

    let began = scene.began();
    let nowhere = scene.file("no-such-directory/system.tar");
    refuses(&scene.backup(&nowhere), 64, &["cannot be written"]);
    refuses(&scene.script("backup", &[]), 64, &["scripts/backup FILE"]);
    assert_eq!(scene.began(), began, "a refusal stopped something");

    let broken = scene.file("broken.tar");
    let path = scene.docker_that_fails_at(2);
    let failed = scene.script_with(&path, "backup", &[broken.to_str().unwrap()]);
    refuses(&failed, 1, &["no space left", "starting again what ran"]);
    assert_ne!(scene.began(), began);
    scene.all_run();
    assert!(nothing_is_left(&scene), "a part of a backup was left");

    let mut told_to_end = Process::start(
        "backup",
        scene.command("backup", &[broken.to_str().unwrap()]),
    );
    eventually("the watchdog's turn", SOON, async || {
        let said = told_to_end.err();
        said.iter()
            .any(|line| line == "stopping watchdog")
            .then_some(())
    })
    .await;
    told_to_end.signal("TERM");
    assert_eq!(told_to_end.exit_within(SOON).await, 143);
    scene.all_run();
    assert!(nothing_is_left(&scene), "a part of a backup was left");
    let bus = scene.project.operator().await;
    continues(&before, &goes_on(&bus, &before).await);

    let file = scene.file("system.tar");
    succeeds(&scene.backup(&file));
    succeeds(&scene.script("down", &[]));
    bad_archives_are_refused(&scene, &file);

    // Reads: two volumes. Then comes the writing.
    let path = scene.docker_that_fails_at(3);
    let failed = scene.script_with(&path, "restore", &[file.to_str().unwrap()]);
    refuses(&failed, 1, &["no space left", "putting back"]);
    scene.up_again();
    let bus = scene.project.operator().await;
    continues(&before, &journals::all(&bus).await);
    let archives = docker(&[
        "ps",
        "-aq",
        "--filter",
        &format!("name={}-archive", scene.name),
    ]);
    assert_eq!(archives.trim(), "", "a container was left");
}

fn nothing_is_left(scene: &Scene) -> bool {
    let mut left = fs::read_dir(scene.dir.path()).unwrap();
    left.all(|file| file.unwrap().path().is_dir())
}

/// Before anything is touched.
fn bad_archives_are_refused(scene: &Scene, good: &Path) {
    let whole = fs::read(good).unwrap();
    let bad = scene.file("bad.tar");
    for (content, words) in [
        (&whole[..whole.len() / 2], "not a tar, or cut off"),
        (b"no tar at all, but long enough to be one", "not a tar"),
        (&[0; 10_240], "no journal"),
    ] {
        fs::write(&bad, content).unwrap();
        refuses(&scene.restore(&bad), 64, &[words]);
    }
    fs::write(scene.file("etc"), "x").unwrap();
    fs::copy(good, &bad).unwrap();
    let add = ["--append", "-f", bad.to_str().unwrap(), "-C"];
    run(Command::new("tar")
        .args(add)
        .arg(scene.dir.path())
        .arg("etc"));
    refuses(&scene.restore(&bad), 64, &["holds 'etc'"]);
    let missing = scene.file("missing.tar");
    refuses(&scene.restore(&missing), 64, &["cannot be read"]);
    let volumes = docker(&["volume", "ls", "-q"]);
    assert!(volumes.contains(&format!("{}_nats", scene.name)));
}

/// Scripts say what they want in one line, also without a system.
#[test]
fn a_wrong_command_line_is_64() {
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
        refuses(&output, 64, &[name]);
        assert_eq!(said(&output).lines().count(), 1, "{name} {arguments:?}");
    }
}
