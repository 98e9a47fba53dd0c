//! The operator's commands on the host, `scripts/bearish`, and `scripts/up` with the settings that it keeps.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::fs;
use std::io::{BufRead as _, Read as _, Write as _};
use std::iter;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use bearish_tests::docker::{
    bridge_gateway, docker, inspect, require_all_images, run_cleanup, run_command, run_name,
};
use bearish_tests::telegram::Telegram;
use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use tempfile::TempDir;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A script with a project and a settings file of its own.
fn script(name: &str, project: &str, env_file: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(repository().join("scripts").join(name));
    command
        .args(arguments)
        .env("COMPOSE_PROJECT_NAME", project)
        .env("BEARISH_ENV_FILE", env_file)
        // The images exist: nothing is compiled.
        .env("BEARISH_PROFILE", "existing");
    command
}

fn output_text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[track_caller]
fn assert_exit(output: &Output, code: i32, expected: &[&str]) -> String {
    let text = output_text(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for part in expected {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    text
}

/// An empty settings file in a directory that is removed at the end.
fn settings() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(".env");
    fs::write(&file, "").unwrap();
    (dir, file)
}

#[test]
fn help_describes_every_command_of_the_completion() {
    let (_dir, env_file) = settings();
    let run = |arguments: &[&str]| {
        let mut command = script("bearish", "unused", &env_file, arguments);
        command.output().unwrap()
    };
    let help = assert_exit(&run(&["--help"]), 0, &["Without the system"]);
    let completion = assert_exit(&run(&["completion", "bash"]), 0, &["complete -o default"]);
    let commands = completion.split_once("compgen -W '").unwrap().1;
    let commands = commands.split_once(" --help'").unwrap().0.split(' ');
    let mut count = 0;
    for command in commands {
        let line = format!("\n  {command} ");
        assert!(help.contains(&line), "{command} is not in {help}");
        count += 1;
    }
    assert!(count > 20, "{completion}");
    assert_exit(&run(&[]), 64, &["scripts/bearish COMMAND"]);
    assert_exit(&run(&["unlach"]), 64, &["'unlach' is unknown", "unlatch"]);
    let both = ["pause", "--paper", "--live", "--reason", "x"];
    assert_exit(&run(&both), 64, &["exclude each other"]);
}

#[test]
fn bash_completes_commands_and_options() {
    let (_dir, env_file) = settings();
    let program = script("bearish", "unused", &env_file, &[]);
    let complete = |typed: &str| {
        let text = format!(
            "source <('{}' completion bash); COMP_WORDS=(bearish {typed}); \
             COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _bearish; echo \"${{COMPREPLY[@]}}\"",
            program.get_program().to_str().unwrap()
        );
        let output = Command::new("bash").args(["-c", &text]).output().unwrap();
        assert!(output.status.success(), "{}", output_text(&output));
        output_text(&output).trim().to_owned()
    };
    assert_eq!(complete("st"), "status stop start");
    assert_eq!(complete("unlatch --la"), "--latch");
    assert_eq!(complete("completion x"), "bash");
}

/// Rejected before anything starts, with the setting as it was given and the fix.
#[test]
fn setting_that_names_a_wrong_file_is_rejected_with_its_name_and_the_fix() {
    let (dir, env_file) = settings();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("unreadable"), "x").unwrap();
    fs::set_permissions(path("unreadable"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::create_dir(path("logs")).unwrap();
    fs::set_permissions(path("logs"), fs::Permissions::from_mode(0o755)).unwrap();
    let rows = [
        ("SIM_CANDLES_FILE", path("none"), "there is none"),
        ("TELEGRAM_BOT_TOKEN_FILE", path("logs"), "not a directory"),
        ("FALLBACK_URL_FILE", path("unreadable"), "sudo chown 10001"),
        (
            "DEADMAN_URL_FILE",
            "target/none".to_owned(),
            "there is none",
        ),
        ("LOG_DIR", path("none"), "sudo install -d -o 10001"),
        ("LOG_DIR", path("logs"), "sudo chown 10001"),
        ("DOCKER_SOCKET", path("logs"), "Docker's socket"),
        ("PAPER_MARKET", "kraken".to_owned(), "binance simulator"),
        ("COMPOSE_PROJECT_NAME", "Capital".to_owned(), "Capital"),
    ];
    for (name, value, expected) in rows {
        // As Compose accepts it.
        fs::write(&env_file, format!("{name}=\"{value}\" # a comment\n")).unwrap();
        let mut command = script("up", "unused", &env_file, &[]);
        if name == "COMPOSE_PROJECT_NAME" {
            command.env(name, &value);
        }
        let text = assert_exit(&command.output().unwrap(), 78, &["up: ", expected]);
        assert!(!text.contains("starting"), "{text}");
        if name != "COMPOSE_PROJECT_NAME" {
            assert!(text.contains(&format!("{name}=\"")), "{text}");
        }
    }
}

#[test]
fn script_works_through_a_symbolic_link_from_any_directory() {
    let (dir, env_file) = settings();
    let link = dir.path().join("bearish");
    symlink(
        repository().join("scripts/bearish").canonicalize().unwrap(),
        &link,
    )
    .unwrap();
    let mut command = Command::new(link);
    command
        .arg("--help")
        .current_dir("/")
        .env("BEARISH_ENV_FILE", env_file);
    assert_exit(&command.output().unwrap(), 0, &["scripts/bearish COMMAND"]);
}

/// Neither does a command wait for ever, nor is a second Docker daemon started.
#[test]
fn docker_that_does_not_answer_is_reported_with_its_address() {
    let (dir, env_file) = settings();
    let silent = dir.path().join("docker.sock");
    let _listener = UnixListener::bind(&silent).unwrap();
    let closed = "tcp://127.0.0.1:1".to_owned();
    for host in [closed, format!("unix://{}", silent.display())] {
        for command_line in [
            "up",
            "down",
            "bearish status",
            "bearish logs",
            "backup x.tar",
        ] {
            let parts: Vec<&str> = command_line.split(' ').collect();
            let name = parts[0];
            let mut command = script(name, "unused", &env_file, &parts[1..]);
            command
                .env("DOCKER_HOST", &host)
                .env("BEARISH_DOCKER_TIMEOUT", "2");
            let expected = [&format!("DOCKER_HOST=\"{host}\"")[..], name];
            assert_exit(&command.output().unwrap(), 69, &expected);
        }
    }
}

/// A copy of the scripts that every user may read, in a directory whose name has a space.
fn copied_checkout() -> TempDir {
    let dir = tempfile::Builder::new()
        .prefix("a checkout ")
        .tempdir()
        .unwrap();
    let mut copy = Command::new("cp");
    copy.arg("-r")
        .args(["scripts", "compose.yaml", "docker", ".ci"]);
    run_command(copy.arg(dir.path()).current_dir(repository()));
    run_command(Command::new("chmod").args(["-R", "a+rX"]).arg(dir.path()));
    dir
}

#[test]
fn user_without_rights_on_docker_gets_the_command_that_grants_them() {
    const UNPRIVILEGED: u32 = 65_534;
    let checkout = copied_checkout();
    for (name, argument) in [("up", "--paper"), ("bearish", "status")] {
        let mut command = Command::new(checkout.path().join("scripts").join(name));
        command
            .arg(argument)
            .uid(UNPRIVILEGED)
            .gid(UNPRIVILEGED)
            .env("HOME", "/nonexistent");
        command
            .env_remove("DOCKER_HOST")
            .env_remove("BEARISH_ENV_FILE");
        assert_exit(
            &command.output().unwrap(),
            69,
            &["may not use Docker", "sudo adduser"],
        );
    }
}

/// Executables that stand in for the compiler: nothing is compiled in a test of what the script says before.
fn failing_compiler() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let cargo = dir.path().join("cargo");
    let text = "#!/bin/sh\n[ \"$1\" = --version ] && echo 'cargo 1.95.0' && exit\necho 'error: no compiler' >&2\nexit 101\n";
    fs::write(&cargo, text).unwrap();
    run_command(Command::new("chmod").arg("755").arg(cargo));
    dir
}

#[test]
fn first_start_says_how_long_compiling_takes_and_how_much_disk_it_needs() {
    let (checkout, compiler) = (copied_checkout(), failing_compiler());
    let path = std::env::var("PATH").unwrap();
    let mut first = Command::new(checkout.path().join("scripts/up"));
    first
        .arg("--paper")
        .env("COMPOSE_PROJECT_NAME", "unused")
        .env("PATH", format!("{}:{path}", compiler.path().display()))
        .env_remove("BEARISH_PROFILE")
        .env_remove("BINARIES");
    let expected = [
        "compiling with cargo 1.95.0",
        "the first time takes about 10 minutes on two cores, and 3 GB of disk",
        "error: no compiler",
        "compiling failed: cargo's error is above",
    ];
    assert_exit(&first.output().unwrap(), 69, &expected);
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let readme = readme.split_whitespace().collect::<Vec<_>>().join(" ");
    for announced in ["takes about ten minutes on two cores", "free disk"] {
        assert!(
            readme.contains(announced),
            "{announced:?} is not in README.md"
        );
    }
}

#[test]
fn second_start_at_the_same_time_is_rejected() {
    let (_dir, env_file) = settings();
    let lock = fs::File::open(&env_file).unwrap();
    lock.lock().unwrap();
    let second = script("up", "unused", &env_file, &[]).output().unwrap();
    assert_exit(&second, 69, &["another scripts/up runs"]);
}

/// Time within which a blindness of the watchdog is reported.
const BLINDNESS_DEADLINE: std::time::Duration = std::time::Duration::from_mins(1);

/// A system that `scripts/up` starts; removed when this is dropped.
struct HostSystem {
    project: String,
    env_file: PathBuf,
    dir: TempDir,
}

impl HostSystem {
    fn new(test: &str) -> Self {
        require_all_images();
        let (dir, env_file) = settings();
        Self {
            project: format!("{}-{test}", run_name()),
            env_file,
            dir,
        }
    }

    fn script(&self, name: &str, arguments: &[&str]) -> Output {
        let mut command = script(name, &self.project, &self.env_file, arguments);
        command.output().unwrap()
    }

    fn bearish(&self, command_line: &str) -> Output {
        let arguments: Vec<&str> = command_line.split(' ').collect();
        self.script("bearish", &arguments)
    }

    /// Plain Compose, as an operator types it beside `.env`.
    fn compose(&self, arguments: &[&str]) {
        let mut command = Command::new("docker");
        command.arg("compose").arg("--env-file").arg(&self.env_file);
        command.arg("--project-directory");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
        command.env("COMPOSE_PROJECT_NAME", &self.project);
        run_command(command.args(arguments));
    }

    fn add_setting(&self, line: &str) {
        let text = fs::read_to_string(&self.env_file).unwrap();
        fs::write(&self.env_file, format!("{text}{line}\n")).unwrap();
    }

    fn container(&self, service: &str, number: u32) -> String {
        format!("{}-{service}-{number}", self.project)
    }

    /// The command line of each trader container, sorted by name.
    fn trader_command_lines(&self) -> Vec<String> {
        let label = format!("label=com.docker.compose.project={}", self.project);
        let names = docker(&["ps", "--filter", &label, "--format", "{{.Names}}"]);
        let mut traders: Vec<&str> = names
            .lines()
            .filter(|name| name.contains("-trader-"))
            .collect();
        traders.sort_unstable();
        let command = |name: &&str| inspect(name, "{{join .Config.Cmd \" \"}}");
        traders.iter().map(command).collect()
    }
}

impl Drop for HostSystem {
    fn drop(&mut self) {
        let down = ["--volumes"];
        run_cleanup(&mut script("down", &self.project, &self.env_file, &down));
    }
}

/// Ctrl-C: what was started stays, and the message says what follows.
fn assert_interrupted_start_says_what_follows(system: &HostSystem) {
    let mut command = script("up", &system.project, &system.env_file, &["--paper"]);
    let mut up = command
        .process_group(0)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = std::io::BufReader::new(up.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("starting") {
        line.clear();
        assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "no start");
    }
    let group = format!("-{}", up.id());
    // A shell's builtin: a minimal machine has no kill program.
    run_command(Command::new("sh").args(["-c", &format!("kill -INT {group}")]));
    let mut text = String::new();
    stderr.read_to_string(&mut text).unwrap();
    assert_eq!(up.wait().unwrap().code(), Some(130), "{text}");
    assert!(
        text.contains("scripts/up continues, scripts/down stops"),
        "{text}"
    );
}

fn write_readable(file: &Path, text: &str) {
    fs::write(file, text).unwrap();
    run_command(Command::new("chmod").arg("644").arg(file));
}

#[test]
fn live_trading_without_its_set_up_is_rejected_before_anything_starts() {
    let system = HostSystem::new("host-live");
    let second = system.script("up", &["--scale", "trader-live=2"]);
    assert_exit(
        &second,
        64,
        &["live trading is not set up", "--confirm-live"],
    );
    let unconfirmed = system.script("up", &["--live"]);
    assert_exit(&unconfirmed, 64, &["real money", "--confirm-live"]);
    let expected = [
        "BINANCE_API_KEY_FILE names no file",
        "secrets/binance-api-key",
    ];
    let keyless = system.script("up", &["--infinite", "--confirm-live"]);
    assert_exit(&keyless, 78, &expected);
    assert_exit(&system.bearish("dry-run --live"), 78, &expected);
    let down = "pause --reason test";
    assert_exit(
        &system.bearish(down),
        69,
        &["the bus is not running", "scripts/up"],
    );
    assert!(system.trader_command_lines().is_empty());
}

/// A wrong token is corrected in its file, which no container sees as a change of its settings.
async fn assert_corrected_token_works_at_once(system: &HostSystem) -> Telegram {
    let telegram = Telegram::start_on(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))).await;
    // Found without being named in `.env`.
    fs::create_dir(system.dir.path().join("secrets")).unwrap();
    let token = system.dir.path().join("secrets/telegram-bot-token");
    write_readable(&token, "123456789:AAF-not-the-right-token-of-this-bot-00");
    system.add_setting(&format!("TELEGRAM_CHAT_ID={}", telegram.private_chat()));
    let url = format!("http://{}:{}", bridge_gateway(), telegram.port());
    system.add_setting(&format!("TELEGRAM_API_URL={url}"));
    let up = [
        "--paper",
        "--infinite",
        "--auto-restart",
        "--scale",
        "trader-paper=2",
    ];
    let failed = system.script("up", &up);
    let text = assert_exit(&failed, 78, &["notifier-1 is", "Unauthorized"]);
    // What is still starting is not the cause.
    for other in ["nats-1 is", "watchdog-1 is", "trader-paper-1 is"] {
        assert!(!text.contains(other), "{text}");
    }
    // Long enough for Docker to wait between two restarts.
    tokio::time::sleep(std::time::Duration::from_secs(8)).await;
    write_readable(&token, telegram.token());
    // Without arguments: the flags were kept.
    let corrected = system.script("up", &[]);
    assert_exit(&corrected, 0, &["trader-paper is running"]);
    telegram
}

/// Flags and scale come back after everything was stopped, by plain Compose too.
fn assert_flags_are_kept(system: &HostSystem) {
    let flags = ["--paper --infinite --auto-restart"; 2];
    assert_eq!(system.trader_command_lines(), flags);
    assert_exit(&system.script("down", &[]), 0, &[]);
    assert!(system.trader_command_lines().is_empty());
    system.compose(&["up", "--no-build", "--detach", "--wait"]);
    assert_eq!(system.trader_command_lines(), flags);
    let none = system.script("up", &["--scale", "trader-paper=0"]);
    assert_exit(
        &none,
        0,
        &[
            "No trader-paper is running",
            "scripts/up --scale trader-paper=1",
        ],
    );
    let rescaled = system.script("up", &["--scale", "trader-paper=1"]);
    assert_exit(&rescaled, 0, &["trader-paper is running"]);
    assert_eq!(system.trader_command_lines(), &flags[..1]);
    let dry_run = system.script("up", &["--paper", "--dry-run"]);
    assert_exit(&dry_run, 0, &["ready to start"]);
    let kept = fs::read_to_string(&system.env_file).unwrap();
    assert!(
        kept.contains("\nTRADER_FLAGS=--paper --infinite --auto-restart\n"),
        "{kept}"
    );
}

/// A setting of the notifier leaves the trader, and its positions, alone.
fn assert_notifier_setting_restarts_no_trader(system: &HostSystem) {
    let ids = || {
        ["trader-paper", "notifier"]
            .map(|service| inspect(&system.container(service, 1), "{{.Id}}"))
    };
    let [trader, notifier] = ids();
    system.add_setting("NOTIFIER_SUMMARY_SECS=600");
    assert_exit(&system.script("up", &[]), 0, &[]);
    let [trader_after, notifier_after] = ids();
    assert_eq!(trader, trader_after);
    assert_ne!(notifier, notifier_after);
}

/// Docker's pause is invisible to the process and its watchdog: the host command says it, and how it ends.
fn assert_paused_container_is_reported(system: &HostSystem) {
    let trader = system.container("trader-paper", 1);
    docker(&["pause", &trader]);
    let unpause = format!("docker unpause {trader}");
    assert_exit(&system.bearish("health"), 69, &[&unpause, "watchdog-1"]);
    assert_exit(&system.bearish("health watchdog-1"), 0, &["watchdog-1"]);
    assert_exit(&system.bearish("explain trader-paper-1"), 0, &[&unpause]);
    docker(&["unpause", &trader]);
}

/// A frozen socket-guard: the message within a minute names a command, and the command ends the blindness.
async fn assert_frozen_guard_is_replaced_by_the_command_of_its_message(
    system: &HostSystem,
    telegram: &Telegram,
) {
    let message = async |heading: &str| {
        eventually(heading, BLINDNESS_DEADLINE, async || {
            let mut shown = telegram.shown().into_iter().map(|message| message.text);
            shown.find(|text| text.contains(heading))
        })
        .await
    };
    let pid = inspect(&system.container("socket-guard", 1), "{{.State.Pid}}");
    run_command(Command::new("sh").args(["-c", &format!("kill -STOP {pid}")]));
    let blind = message("WATCHDOG BLIND").await;
    assert!(
        blind.contains("Action: docker compose restart -t 1 socket-guard;"),
        "{blind}"
    );
    system.compose(&["restart", "-t", "1", "socket-guard"]);
    message("WATCHDOG SEES AGAIN").await;
    assert_exit(&system.bearish("status"), 0, &["trader-paper-1"]);
}

/// In a pipe the log has no terminal codes, and names are those of messages.
fn assert_logs_are_plain_text(system: &HostSystem) {
    let logs = assert_exit(
        &system.bearish("logs watchdog-1"),
        0,
        &["watchdog-1", "supervising"],
    );
    assert!(!logs.contains('\u{1b}'), "{logs}");
}

/// The command with this verb as a text names it.
fn command_in<'a>(text: &'a str, verb: &str) -> &'a str {
    let (_, rest) = text
        .split_once(&format!("scripts/bearish {verb} "))
        .unwrap_or_else(|| panic!("no {verb} in {text}"));
    let end = rest.find(['\n', ';']).unwrap_or(rest.len());
    let begin = text.len() - rest.len() - verb.len() - 1;
    text[begin..text.len() - rest.len() + end].trim_end()
}

/// Every command answers while its container is stopped, and its exit code is passed on.
async fn assert_commands_work_while_traders_are_down(system: &HostSystem) {
    let units = ["trader-paper-1", "ACCOUNT", "messages"];
    assert_exit(&system.bearish("status"), 0, &units[..1]);
    assert_exit(
        &system.bearish("health"),
        0,
        &["trader-paper-1", "watchdog-1", "healthy"],
    );
    assert_exit(&system.bearish("pause --reason test"), 0, &[]);
    assert_exit(&system.bearish("pause --reason again"), 78, &[]);
    assert_exit(
        &system.bearish("explain trader-paper-1"),
        0,
        &["trader-paper-1"],
    );
    assert_exit(&system.bearish("explain trader-paper-9"), 64, &[]);
    assert_exit(&system.bearish("resend 17"), 64, &[]);
    assert_exit(&system.bearish("trades --csv"), 0, &["entry_price"]);
    assert_exit(&system.bearish("stop trader-paper-1"), 0, &[]);
    let trader = system.container("trader-paper", 1);
    eventually("the trader is stopped", DEFAULT_TIMEOUT, async || {
        (inspect(&trader, "{{.State.Running}}") == "false").then_some(())
    })
    .await;
    docker(&["stop", &system.container("watchdog", 1)]);
    assert_exit(&system.bearish("resume --reason test --paper"), 0, &[]);
    assert_exit(
        &system.bearish("health"),
        69,
        &["trader-paper-1", "exited (exit code 0)"],
    );
    // The user of the host, who gave the command.
    let user = output_text(&Command::new("id").arg("-un").output().unwrap());
    let stopped = format!("command stop by {}", user.trim());
    assert_exit(&system.bearish("history trader-paper-1"), 0, &[&stopped]);
    assert_exit(&system.bearish("dry-run --paper"), 0, &["ready to start"]);
    docker(&["start", &system.container("watchdog", 1)]);
    assert_exit(&system.script("up", &[]), 0, &[]);
    assert_exit(&system.bearish("flatten --confirm --reason test"), 0, &[]);
    eventually("the trader ends with 21", DEFAULT_TIMEOUT, async || {
        (inspect(&trader, "{{.State.Status}} {{.State.ExitCode}}") == "exited 21").then_some(())
    })
    .await;
    let status = output_text(&system.bearish("status"));
    let unlatch = command_in(&status, "unlatch");
    assert_exit(&system.bearish(unlatch), 0, &[]);
    eventually(
        "the watchdog starts the trader",
        DEFAULT_TIMEOUT,
        async || (inspect(&trader, "{{.State.Running}}") == "true").then_some(()),
    )
    .await;
}

/// A port of the watchdog can be published, and leads to its metrics.
async fn assert_watchdog_metrics_can_be_published(system: &HostSystem) {
    let more = system.dir.path().join("ports.yaml");
    fs::write(
        &more,
        "services: {watchdog: {ports: [\"127.0.0.1::9464\"]}}\n",
    )
    .unwrap();
    system.add_setting("METRICS_ADDR=0.0.0.0:9464");
    let compose = Path::new(env!("CARGO_MANIFEST_DIR")).join("../compose.yaml");
    let files = [&compose, &more].map(|file| file.to_str().unwrap());
    let up = ["up", "--no-build", "--detach", "--no-deps", "watchdog"];
    system.compose(&[&["-f", files[0], "-f", files[1]], &up[..]].concat());
    let published = docker(&["port", &system.container("watchdog", 1), "9464/tcp"]);
    let address = published.trim().to_owned();
    eventually("the watchdog's metrics", DEFAULT_TIMEOUT, async || {
        let mut connection = TcpStream::connect(&address).ok()?;
        let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        connection.write_all(request.as_bytes()).ok()?;
        let mut text = String::new();
        connection.read_to_string(&mut text).ok()?;
        text.contains("bearish_").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_commands_work_from_the_first_start_on() {
    let system = HostSystem::new("host");
    assert_interrupted_start_says_what_follows(&system);
    let telegram = assert_corrected_token_works_at_once(&system).await;
    assert_flags_are_kept(&system);
    assert_notifier_setting_restarts_no_trader(&system);
    assert_paused_container_is_reported(&system);
    assert_logs_are_plain_text(&system);
    assert_frozen_guard_is_replaced_by_the_command_of_its_message(&system, &telegram).await;
    assert_commands_work_while_traders_are_down(&system).await;
    assert_watchdog_metrics_can_be_published(&system).await;
}

#[test]
fn backtest_reads_and_writes_files_by_the_paths_that_were_typed() {
    let system = HostSystem::new("host-backtest");
    let [input, output] = ["in", "out"].map(|name| system.dir.path().join(name));
    fs::create_dir(&input).unwrap();
    fs::create_dir(&output).unwrap();
    let header = "open_time,open,high,low,close".to_owned();
    let rows = (0..3000).map(|minute| format!("{},100,101,99,100", minute * 60_000));
    let candles: Vec<String> = iter::once(header).chain(rows).collect();
    fs::write(input.join("candles.csv"), candles.join("\n") + "\n").unwrap();
    let trades = output.join("trades.jsonl");
    let arguments = [
        "backtest",
        "../in/candles.csv",
        "--symbol",
        "BTCUSDT",
        "--trades",
    ];
    let mut command = script("bearish", &system.project, &system.env_file, &arguments);
    command.arg(&trades).current_dir(&output);
    assert_exit(&command.output().unwrap(), 0, &["BTCUSDT"]);
    assert!(trades.is_file());
    let missing = system.bearish("backtest /nowhere/candles.csv --symbol BTCUSDT");
    assert_exit(&missing, 78, &["/nowhere/candles.csv: no such candle file"]);
}
