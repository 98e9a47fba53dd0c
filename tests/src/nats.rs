//! A real nats-server with the project's configuration, users and permissions. It can be killed, frozen and
//! restarted with the same files and port. Entry point: [`NatsServer`].

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::{Client, ConnectOptions, Event};
use protocol::exit_code::ExitCode;
use runtime::bus::{Bus, BusSettings};
use tempfile::TempDir;

use crate::ports;
use crate::process::{Process, binary};
use crate::wait::{DEFAULT_TIMEOUT, eventually};

/// A user of the bus and its permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `bus-init`, which creates the streams, in the account of all streams but that of events.
    BusInit,
    /// `bus-init` in the account of the stream of events.
    BusInitEvents,
    /// A trader in paper mode.
    TraderPaper,
    /// A trader in live mode.
    TraderLive,
    /// The watchdog of a host.
    Watchdog,
    /// The notifier, which also receives Telegram commands.
    Notifier,
    /// The operator: reads everything and publishes commands.
    Operator,
}

impl Role {
    /// All roles, in no particular order.
    pub const ALL: [Self; 7] = [
        Self::BusInit,
        Self::BusInitEvents,
        Self::TraderPaper,
        Self::TraderLive,
        Self::Watchdog,
        Self::Notifier,
        Self::Operator,
    ];

    /// User name of this role on the bus.
    pub const fn user(self) -> &'static str {
        match self {
            Self::BusInit => "bus-init",
            Self::BusInitEvents => "bus-init-events",
            Self::TraderPaper => "trader-paper",
            Self::TraderLive => "trader-live",
            Self::Watchdog => "watchdog",
            Self::Notifier => "notifier",
            Self::Operator => "operator",
        }
    }

    /// Both users of `bus-init` have one password.
    const fn password_role(self) -> &'static str {
        match self {
            Self::BusInitEvents => Self::BusInit.user(),
            _ => self.user(),
        }
    }

    /// Password in tests: a text that no other output contains.
    pub fn password(self) -> String {
        format!("xyzzy-{}-1234", self.password_role())
    }

    /// Name of the variable with the password, in `.env`.
    pub fn password_variable(self) -> String {
        let name = self.password_role().to_uppercase().replace('-', "_");
        format!("NATS_{name}_PASSWORD")
    }
}

/// A NATS connection without the project's own code.
pub struct RawClient {
    /// Client of async-nats, connected as the role.
    pub client: Client,
    permission_errors: Arc<Mutex<Vec<String>>>,
}

impl RawClient {
    /// Publishes a message. False if the server rejected it because of missing permissions.
    pub async fn may_publish(&self, subject: &str, payload: &str) -> bool {
        let payload = payload.to_owned().into();
        self.client
            .publish(subject.to_owned(), payload)
            .await
            .unwrap();
        self.is_allowed("publish", subject).await
    }

    /// Subscribes to a subject. False if the server rejected it because of missing permissions.
    pub async fn may_subscribe(&self, subject: &str) -> bool {
        let subscription = self.client.subscribe(subject.to_owned()).await.unwrap();
        let allowed = self.is_allowed("subscription", subject).await;
        drop(subscription);
        allowed
    }

    /// Whether the server reported no permission error for this operation. The server responds in order.
    async fn is_allowed(&self, what: &str, subject: &str) -> bool {
        self.client.flush().await.unwrap();
        let marker = format!("_inbox_marker.{what}.{subject}").to_lowercase();
        // No role may publish on this subject. Its permission error follows that of `subject`, if there is one.
        self.client
            .publish(marker.clone(), "".into())
            .await
            .unwrap();
        self.client.flush().await.unwrap();
        let is_rejected = |text: &str| {
            let errors = self
                .permission_errors
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            errors.iter().any(|error| error.contains(text))
        };
        eventually(
            "the server's permission error",
            DEFAULT_TIMEOUT,
            async || is_rejected(&format!("\"{marker}\"")).then_some(()),
        )
        .await;
        !is_rejected(&format!("{what} to \"{}\"", subject.to_lowercase()))
    }
}

/// A running nats-server and its store directory.
pub struct NatsServer {
    process: Process,
    config: PathBuf,
    store: TempDir,
    port: u16,
}

impl NatsServer {
    /// Starts a server without streams.
    pub async fn start() -> Self {
        Self::start_with_config(&project_config()).await
    }

    async fn start_with_config(config: &Path) -> Self {
        let (store, port) = (tempfile::tempdir().unwrap(), ports::reserve());
        let process = start_process(config, store.path(), port);
        let server = Self {
            process,
            config: config.to_owned(),
            store,
            port,
        };
        server.wait_until_ready().await;
        server
    }

    /// Starts a server and runs `bus-init` on it.
    pub async fn with_streams() -> Self {
        Self::with_streams_and_config(&project_config()).await
    }

    /// As [`Self::with_streams`], with another configuration than the project's.
    pub async fn with_streams_and_config(config: &Path) -> Self {
        let server = Self::start_with_config(config).await;
        let mut init = server.start_bus_init();
        let code = init.exit_within(DEFAULT_TIMEOUT).await;
        assert_eq!(
            code,
            i32::from(ExitCode::Success.number()),
            "{:?}",
            init.err()
        );
        server
    }

    /// Starts the real `bus-init`.
    pub fn start_bus_init(&self) -> Process {
        let mut command = Command::new(binary("bus-init"));
        command.env_clear().envs(self.env(Role::BusInit));
        Process::start("bus-init", command)
    }

    /// Address of the server.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Environment of a program that connects as `role`.
    pub fn env(&self, role: Role) -> [(&'static str, String); 3] {
        [
            ("NATS_URL", self.url()),
            ("NATS_USER", role.user().to_owned()),
            ("NATS_PASSWORD", role.password()),
        ]
    }

    /// Connects to this server as `role`.
    pub async fn bus(&self, role: Role) -> Bus {
        let settings = self.settings(role);
        eventually("a connection to the bus", DEFAULT_TIMEOUT, async || {
            Bus::try_connect(&settings).await.ok()
        })
        .await
    }

    /// Connects as `role` without the project's own code; records permission errors.
    pub async fn raw_client(&self, role: Role) -> RawClient {
        let errors = Arc::new(Mutex::new(Vec::new()));
        let recorded = Arc::clone(&errors);
        let client = ConnectOptions::new()
            .user_and_password(role.user().to_owned(), role.password())
            .custom_inbox_prefix(format!("_INBOX_{}", role.user()))
            .event_callback(move |event| {
                let recorded = Arc::clone(&recorded);
                async move {
                    if let Event::ServerError(error) = event {
                        let text = error.to_string().to_lowercase();
                        recorded
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(text);
                    }
                }
            })
            .connect(self.url())
            .await
            .unwrap();
        RawClient {
            client,
            permission_errors: errors,
        }
    }

    /// Bus settings of a program that connects as `role`.
    pub fn settings(&self, role: Role) -> BusSettings {
        BusSettings {
            nats_url: self.url(),
            nats_user: Some(role.user().parse().unwrap()),
            nats_password: Some(role.password().into()),
            nats_password_file: None,
        }
    }

    /// Sends SIGKILL and waits until the process has ended.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Restarts the server after [`Self::kill`] with the same files and port.
    pub async fn restart(&mut self) {
        self.process = start_process(&self.config, self.store.path(), self.port);
        self.wait_until_ready().await;
    }

    /// Sends SIGSTOP: connections stay open, but the server does not respond.
    pub fn freeze(&self) {
        self.process.signal("STOP");
    }

    /// Sends SIGCONT: ends [`Self::freeze`].
    pub fn thaw(&self) {
        self.process.signal("CONT");
    }

    async fn wait_until_ready(&self) {
        let address = ("127.0.0.1", self.port);
        eventually("nats-server listens", DEFAULT_TIMEOUT, async || {
            tokio::net::TcpStream::connect(address).await.ok()
        })
        .await;
    }
}

fn project_config() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docker/nats.conf")
}

fn start_process(config: &Path, store: &Path, port: u16) -> Process {
    let mut command = Command::new(find_program());
    command
        .env_clear()
        .envs(Role::ALL.map(|role| (role.password_variable(), format!("\"{}\"", role.password()))))
        .args(["--addr", "127.0.0.1", "--port", &port.to_string()])
        .arg("--config")
        .arg(config)
        .arg("-sd")
        .arg(store);
    Process::start("nats-server", command)
}

fn find_program() -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let configured = std::env::var_os("BEARISH_NATS_SERVER").map(PathBuf::from);
    let candidates = std::env::split_paths(&path).map(|dir| dir.join("nats-server"));
    let found = configured.or_else(|| {
        std::iter::once(tools.join("nats-server"))
            .chain(candidates)
            .find(|p| p.is_file())
    });
    found.unwrap_or_else(|| {
        panic!(
            "nats-server is missing: run `.ci/prepare test`, or set BEARISH_NATS_SERVER to its path"
        )
    })
}
