//! The operator's commands on the host, `scripts/bearish`, and `scripts/up` with the settings that it keeps.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A script with a project and a settings file of its own.
fn script(name: &str, project: &str, env_file: &Path, arguments: &[&str]) -> Command {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts");
    let mut command = Command::new(scripts.join(name));
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
fn settings() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(".env");
    std::fs::write(&file, "").unwrap();
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
