//! A separate Docker daemon (containerd and dockerd with their own files) that a test can stop, kill and power off
//! without affecting the machine's daemon. Its containers must use the host's network. It needs root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::docker::{run_cleanup, run_command};
use crate::wait::{DEFAULT_TIMEOUT, eventually};

/// Programs that must be installed.
const REQUIRED_PROGRAMS: [&str; 4] = ["dockerd", "containerd", "ip", "umount"];
/// Directory of the shims' sockets; it does not depend on containerd's own directories.
const SHIM_SOCKETS: &str = "unix:///run/containerd/s/";
const CGROUPS: &str = "/sys/fs/cgroup";

/// A running Docker daemon. Removed with all its containers on drop.
pub struct DockerDaemon {
    dockerd: Child,
    containerd: Child,
    /// Name of this daemon's bridge. Without one, the daemon would remove the bridge of the machine's daemon.
    bridge: String,
    cgroup: String,
    dir: TempDir,
}

/// Why this machine cannot run a separate daemon. `None` if it can.
pub fn unavailable_reason() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let is_root = status.lines().any(|line| line.starts_with("Uid:\t0\t"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .collect();
    let missing = |name: &&&str| !dirs.iter().any(|dir| dir.join(name).is_file());
    match (is_root, REQUIRED_PROGRAMS.iter().find(missing)) {
        (false, _) => Some("a separate Docker daemon needs root".to_owned()),
        (true, Some(name)) => Some(format!("{name} is not installed")),
        (true, None) => None,
    }
}

impl DockerDaemon {
    /// Starts a daemon without containers and waits until it responds.
    pub async fn start() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // The name of a network interface has 15 characters at most.
        let bridge = format!("ba{}-{number}", std::process::id());
        let subnet = format!("10.231.{}.1/24", (std::process::id() + number) % 256);
        run_command(Command::new("ip").args(["link", "add", &bridge, "type", "bridge"]));
        run_command(Command::new("ip").args(["addr", "add", &subnet, "dev", &bridge]));
        run_command(Command::new("ip").args(["link", "set", &bridge, "up"]));
        let dir = tempfile::tempdir().unwrap();
        // Without this file dockerd would read the machine's configuration.
        fs::write(dir.path().join("config.json"), "{}").unwrap();
        fs::create_dir(dir.path().join("run")).unwrap();
        let cgroup = format!("/bearish-{bridge}");
        let containerd = spawn_containerd(dir.path());
        eventually("containerd listens", DEFAULT_TIMEOUT, async || {
            dir.path().join("containerd.sock").exists().then_some(())
        })
        .await;
        let dockerd = spawn_dockerd(dir.path(), &bridge, &cgroup);
        let daemon = Self {
            dockerd,
            containerd,
            bridge,
            cgroup,
            dir,
        };
        daemon.wait_until_ready().await;
        daemon
    }

    /// Address of the socket, as a value for `DOCKER_HOST`.
    pub fn address(&self) -> String {
        format!("unix://{}/docker.sock", self.run_dir().display())
    }

    /// Directory of its socket. The socket disappears with the daemon and is created again on restart.
    pub fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    /// Stops dockerd gracefully, as `systemctl stop docker` does: every container is stopped first.
    pub async fn stop(&mut self) {
        send_signal("TERM", self.dockerd.id());
        let dockerd = &mut self.dockerd;
        eventually("dockerd ends", DEFAULT_TIMEOUT, async || {
            dockerd.try_wait().unwrap()
        })
        .await;
    }

    /// Sends SIGKILL to dockerd alone: containers keep running.
    pub fn kill(&mut self) {
        self.dockerd.kill().unwrap();
        self.dockerd.wait().unwrap();
    }

    /// Kills all processes at once, as when the host loses power, and removes the files that a reboot would clear.
    pub fn power_off(&mut self) {
        let dir = self.dir.path();
        // dockerd and containerd first: they could still record the end of a container.
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
            // Removed with the temporary directory at the latest.
            let _ = fs::remove_dir_all(dir.join(volatile));
        }
        let _ = fs::remove_file(dir.join("docker.pid"));
        let _ = fs::remove_file(dir.join("containerd.sock"));
    }

    /// Starts containerd and dockerd if they do not run, and waits until dockerd responds.
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
        eventually("dockerd responds", DEFAULT_TIMEOUT, async || {
            let version = Command::new("docker")
                .args(["-H", &address, "version"])
                .output();
            version.unwrap().status.success().then_some(())
        })
        .await;
    }
}

impl Drop for DockerDaemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.dir.path().join("dockerd.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- last log lines of dockerd");
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

/// Spawns a process that writes its output to a file: a pipe would have to be read.
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

/// Sends a signal; a process that has ended already is ignored.
fn send_signal(signal: &str, pid: u32) {
    let kill = format!("kill -s {signal} {pid}");
    let _ = Command::new("sh").args(["-c", &kill]).output();
}

/// Process ids of the containers' shims: each has the socket of its containerd in its command line.
fn shim_pids(dir: &Path) -> Vec<u32> {
    let socket = dir.join("containerd.sock").display().to_string();
    let numbers = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        let mut arguments = line.split('\0');
        let is_shim = arguments.next()?.contains("containerd-shim");
        (is_shim && arguments.any(|argument| argument == socket)).then_some(pid)
    });
    numbers.collect()
}

/// Contents of `file` of each container.
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
    let shims = addresses
        .iter()
        .filter(|address| address.starts_with(SHIM_SOCKETS));
    shims
        .filter_map(|address| address.trim().strip_prefix("unix://").map(PathBuf::from))
        .collect()
}

/// Unmounts everything below `dir`, the newest mount first.
fn unmount(dir: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let below: Vec<&str> = points
        .filter(|point| Path::new(point).starts_with(dir))
        .collect();
    for point in below.into_iter().rev() {
        run_cleanup(Command::new("umount").args(["--lazy", point]));
    }
}

/// Directories of this control group in each hierarchy, for cgroup version 1 and 2.
fn cgroup_paths(name: &str) -> Vec<PathBuf> {
    let name = name.trim_start_matches('/');
    let hierarchies = fs::read_dir(CGROUPS).into_iter().flatten().flatten();
    let below = hierarchies.map(|entry| entry.path().join(name));
    let all = below.chain([Path::new(CGROUPS).join(name)]);
    all.filter(|path| path.is_dir()).collect()
}
