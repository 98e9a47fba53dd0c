//! A Docker engine of the test's own (containerd and dockerd with their own files), so that it may be stopped, killed
//! and cut off while the machine's engine goes on for everybody else. Containers are only reached over the host's
//! network here. What to expect of it is said in the tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::docker::{run_cleanup, run_command};
use crate::wait::{DEFAULT_TIMEOUT, eventually};

/// What it needs beside root.
const REQUIRED_PROGRAMS: [&str; 4] = ["dockerd", "containerd", "ip", "umount"];
/// Where shims put their sockets, whatever containerd's own files are.
const SHIM_SOCKETS: &str = "unix:///run/containerd/s/";
const CGROUPS: &str = "/sys/fs/cgroup";

/// An engine; gone with everything on it when this is dropped.
pub struct DockerDaemon {
    dockerd: Child,
    containerd: Child,
    /// A bridge of our own: an engine without one takes away the machine's.
    bridge: String,
    cgroup: String,
    dir: TempDir,
}

/// Why there can be none here.
pub fn unavailable_reason() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let is_root = status.lines().any(|line| line.starts_with("Uid:\t0\t"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .collect();
    let missing = |name: &&&str| !dirs.iter().any(|dir| dir.join(name).is_file());
    match (is_root, REQUIRED_PROGRAMS.iter().find(missing)) {
        (false, _) => Some("an engine of one's own needs root".to_owned()),
        (true, Some(name)) => Some(format!("there is no {name} on this machine")),
        (true, None) => None,
    }
}

impl DockerDaemon {
    /// One without containers, that answers.
    pub async fn start() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // A link's name has 15 letters at most.
        let bridge = format!("ba{}-{number}", std::process::id());
        let subnet = format!("10.231.{}.1/24", (std::process::id() + number) % 256);
        run_command(Command::new("ip").args(["link", "add", &bridge, "type", "bridge"]));
        run_command(Command::new("ip").args(["addr", "add", &subnet, "dev", &bridge]));
        run_command(Command::new("ip").args(["link", "set", &bridge, "up"]));
        let dir = tempfile::tempdir().unwrap();
        // Without it the machine's own would be read.
        fs::write(dir.path().join("config.json"), "{}").unwrap();
        fs::create_dir(dir.path().join("run")).unwrap();
        let cgroup = format!("/bearish-{bridge}");
        let containerd = spawn_containerd(dir.path());
        eventually("containerd listens", DEFAULT_TIMEOUT, async || {
            dir.path().join("containerd.sock").exists().then_some(())
        })
        .await;
        let dockerd = spawn_dockerd(dir.path(), &bridge, &cgroup);
        let engine = Self {
            dockerd,
            containerd,
            bridge,
            cgroup,
            dir,
        };
        engine.wait_until_ready().await;
        engine
    }

    /// What `DOCKER_HOST` says.
    pub fn address(&self) -> String {
        format!("unix://{}/docker.sock", self.run_dir().display())
    }

    /// Where its socket is; it goes when the engine goes, and is made anew.
    pub fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    /// In good order, as `systemctl stop docker`: every container is stopped first.
    pub async fn stop(&mut self) {
        send_signal("TERM", self.dockerd.id());
        let dockerd = &mut self.dockerd;
        eventually("dockerd ends", DEFAULT_TIMEOUT, async || {
            dockerd.try_wait().unwrap()
        })
        .await;
    }

    /// SIGKILL for dockerd alone: containers run on.
    pub fn kill(&mut self) {
        self.dockerd.kill().unwrap();
        self.dockerd.wait().unwrap();
    }

    /// Everything ends in the same instant, as when the host loses its power; what a reboot empties is empty.
    pub fn power_off(&mut self) {
        let dir = self.dir.path();
        // Who could still write down an end goes first.
        self.dockerd.kill().unwrap();
        self.containerd.kill().unwrap();
        self.dockerd.wait().unwrap();
        self.containerd.wait().unwrap();
        let sockets = shim_sockets(dir);
        let (shims, mains) = (shim_pids(dir), container_pids(dir));
        for pid in shims.into_iter().chain(mains) {
            send_signal("KILL", pid);
        }
        for socket in sockets {
            let _ = fs::remove_file(socket);
        }
        unmount(dir);
        for volatile in ["containerd-state", "exec"] {
            // Gone with the rest at the latest.
            let _ = fs::remove_dir_all(dir.join(volatile));
        }
        let _ = fs::remove_file(dir.join("docker.pid"));
        let _ = fs::remove_file(dir.join("containerd.sock"));
    }

    /// Starts what does not run, and waits until it answers.
    pub async fn restart(&mut self) {
        let dir = self.dir.path();
        if self.containerd.try_wait().unwrap().is_some() {
            self.containerd = spawn_containerd(dir);
            eventually("containerd listens", DEFAULT_TIMEOUT, async || {
                dir.join("containerd.sock").exists().then_some(())
            })
            .await;
        }
        self.dockerd = spawn_dockerd(dir, &self.bridge, &self.cgroup);
        self.wait_until_ready().await;
    }

    async fn wait_until_ready(&self) {
        let address = self.address();
        eventually("the engine answers", DEFAULT_TIMEOUT, async || {
            let asked = Command::new("docker")
                .args(["-H", &address, "version"])
                .output();
            asked.unwrap().status.success().then_some(())
        })
        .await;
    }
}

impl Drop for DockerDaemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.dir.path().join("dockerd.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- last words of dockerd");
            for line in &lines[lines.len().saturating_sub(20)..] {
                eprintln!("{line}");
            }
        }
        self.power_off();
        run_cleanup(Command::new("ip").args(["link", "del", &self.bridge]));
        std::thread::sleep(Duration::from_millis(200));
        for group in cgroup_paths(&self.cgroup) {
            run_cleanup(
                Command::new("find")
                    .arg(group)
                    .args(["-depth", "-type", "d", "-delete"]),
            );
        }
    }
}

fn spawn_containerd(dir: &Path) -> Child {
    let mut command = Command::new("containerd");
    command
        .arg("--address")
        .arg(dir.join("containerd.sock"))
        .arg("--root")
        .arg(dir.join("containerd"))
        .arg("--state")
        .arg(dir.join("containerd-state"));
    spawn_logged(command, &dir.join("containerd.log"))
}

fn spawn_dockerd(dir: &Path, bridge: &str, cgroup: &str) -> Child {
    let path = |name: &str| dir.join(name).display().to_string();
    let mut command = Command::new("dockerd");
    command
        .args(["--data-root", &path("data"), "--exec-root", &path("exec")])
        .args(["--pidfile", &path("docker.pid")])
        .args(["--host", &format!("unix://{}", path("run/docker.sock"))])
        .args(["--containerd", &path("containerd.sock")])
        .args(["--config-file", &path("config.json")])
        .args(["--bridge", bridge, "--cgroup-parent", cgroup])
        .args(["--exec-opt", "native.cgroupdriver=cgroupfs"])
        .args([
            "--iptables=false",
            "--ip6tables=false",
            "--ip-forward=false",
            "--ip-masq=false",
        ]);
    spawn_logged(command, &dir.join("dockerd.log"))
}

/// With what it says in a file: a pipe would have to be read.
fn spawn_logged(mut command: Command, log: &Path) -> Child {
    let path = std::env::var("PATH").unwrap_or_default();
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .unwrap();
    let started = command
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .env_remove("DOCKER_HOST")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn();
    started.unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// A process that is gone already is as good.
fn send_signal(signal: &str, pid: u32) {
    let kill = format!("kill -s {signal} {pid}");
    let _ = Command::new("sh").args(["-c", &kill]).output();
}

/// The shims of its containers: each names its containerd's socket in its command line.
fn shim_pids(dir: &Path) -> Vec<u32> {
    let ours = dir.join("containerd.sock").display().to_string();
    let numbers = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        let mut words = line.split('\0');
        let is_shim = words.next()?.contains("containerd-shim");
        (is_shim && words.any(|word| word == ours)).then_some(pid)
    });
    numbers.collect()
}

/// A file of each of its containers.
fn read_of_each_container(dir: &Path, file: &str) -> Vec<String> {
    let tasks = dir.join("containerd-state/io.containerd.runtime.v2.task/moby");
    let bundles = fs::read_dir(tasks).into_iter().flatten().flatten();
    let read = |bundle: fs::DirEntry| fs::read_to_string(bundle.path().join(file)).ok();
    bundles.filter_map(read).collect()
}

fn container_pids(dir: &Path) -> Vec<u32> {
    let pids = read_of_each_container(dir, "init.pid");
    pids.iter()
        .filter_map(|pid| pid.trim().parse().ok())
        .collect()
}

fn shim_sockets(dir: &Path) -> Vec<PathBuf> {
    let addresses = read_of_each_container(dir, "address");
    let ours = addresses
        .iter()
        .filter(|address| address.starts_with(SHIM_SOCKETS));
    ours.filter_map(|address| address.trim().strip_prefix("unix://").map(PathBuf::from))
        .collect()
}

/// Whatever is mounted below, the last first.
fn unmount(dir: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let ours: Vec<&str> = points
        .filter(|point| Path::new(point).starts_with(dir))
        .collect();
    for point in ours.into_iter().rev() {
        run_cleanup(Command::new("umount").args(["--lazy", point]));
    }
}

/// Its own group in each hierarchy, of either version.
fn cgroup_paths(name: &str) -> Vec<PathBuf> {
    let name = name.trim_start_matches('/');
    let hierarchies = fs::read_dir(CGROUPS).into_iter().flatten().flatten();
    let below = hierarchies.map(|entry| entry.path().join(name));
    let all = below.chain([Path::new(CGROUPS).join(name)]);
    all.filter(|path| path.is_dir()).collect()
}
