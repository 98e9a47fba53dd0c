//! A real nats-server with the project's own configuration, users and permissions; it can be killed,
//! frozen, and started again on the same files and port.

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

/// A user of the bus, with its own permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Creates the streams.
    BusInit,
    /// Trades on paper.
    TraderPaper,
    /// Trades real money.
    TraderLive,
    /// Starts traders again.
    Watchdog,
    /// Tells the owner.
    Notifier,
    /// Looks at everything, changes nothing.
    Operator,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::BusInit,
        Self::TraderPaper,
        Self::TraderLive,
        Self::Watchdog,
        Self::Notifier,
        Self::Operator,
    ];

    /// The user's name.
    pub const fn user(self) -> &'static str {
        match self {
            Self::BusInit => "bus-init",
            Self::TraderPaper => "trader-paper",
            Self::TraderLive => "trader-live",
            Self::Watchdog => "watchdog",
            Self::Notifier => "notifier",
            Self::Operator => "operator",
        }
    }

    /// The user's password in tests: a word that nothing else would print.
    pub fn password(self) -> String {
        format!("xyzzy-{}-1234", self.user())
    }

    fn password_variable(self) -> String {
        let name = self.user().to_uppercase().replace('-', "_");
        format!("NATS_{name}_PASSWORD")
    }
}

/// A connection without the project's own code around it.
pub struct RawClient {
    /// The connection.
    pub client: Client,
    permission_errors: Arc<Mutex<Vec<String>>>,
}

impl RawClient {
    /// Publishes, and says whether the server refused it for want of permission.
    pub async fn may_publish(&self, subject: &str, payload: &str) -> bool {
        let payload = payload.to_owned().into();
        self.client
            .publish(subject.to_owned(), payload)
            .await
            .unwrap();
        self.is_allowed("publish", subject).await
    }

    /// Subscribes, and says whether the server refused it for want of permission.
    pub async fn may_subscribe(&self, subject: &str) -> bool {
        let subscription = self.client.subscribe(subject.to_owned()).await.unwrap();
        let allowed = self.is_allowed("subscription", subject).await;
        drop(subscription);
        allowed
    }

    /// The server answers in order: after a round trip its refusal is here.
    async fn is_allowed(&self, what: &str, subject: &str) -> bool {
        self.client.flush().await.unwrap();
        let mark = format!("_inbox_refused.{what}.{subject}").to_lowercase();
        // Nobody may publish this: its refusal comes behind that of the subject, if there is one.
        self.client.publish(mark.clone(), "".into()).await.unwrap();
        self.client.flush().await.unwrap();
        let refused = |text: &str| {
            let refusals = self
                .permission_errors
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            refusals.iter().any(|refusal| refusal.contains(text))
        };
        eventually("the server's answers", DEFAULT_TIMEOUT, async || {
            refused(&format!("\"{mark}\"")).then_some(())
        })
        .await;
        refused(&format!("{what} to \"{}\"", subject.to_lowercase()))
            .then_some(())
            .is_none()
    }
}

/// A server and its files.
pub struct NatsServer {
    process: Process,
    store: TempDir,
    port: u16,
}

impl NatsServer {
    /// A server without streams.
    pub async fn start() -> Self {
        let (store, port) = (tempfile::tempdir().unwrap(), ports::reserve());
        let process = start_process(store.path(), port);
        let server = Self {
            process,
            store,
            port,
        };
        server.wait_until_ready().await;
        server
    }

    /// A server on which `bus-init` has run.
    pub async fn with_streams() -> Self {
        let server = Self::start().await;
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

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// What a program of this role finds in its environment.
    pub fn env(&self, role: Role) -> [(&'static str, String); 3] {
        [
            ("NATS_URL", self.url()),
            ("NATS_USER", role.user().to_owned()),
            ("NATS_PASSWORD", role.password()),
        ]
    }

    /// A connection as this role.
    pub async fn bus(&self, role: Role) -> Bus {
        let settings = self.settings(role);
        eventually("a connection to the bus", DEFAULT_TIMEOUT, async || {
            Bus::try_connect(&settings).await.ok()
        })
        .await
    }

    /// A bare connection as this role, which keeps what the server refuses.
    pub async fn raw_client(&self, role: Role) -> RawClient {
        let refusals = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&refusals);
        let client = ConnectOptions::new()
            .user_and_password(role.user().to_owned(), role.password())
            .custom_inbox_prefix(format!("_INBOX_{}", role.user()))
            .event_callback(move |event| {
                let kept = Arc::clone(&kept);
                async move {
                    if let Event::ServerError(error) = event {
                        let text = error.to_string().to_lowercase();
                        kept.lock()
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
            permission_errors: refusals,
        }
    }

    /// What a program of this role connects with.
    pub fn settings(&self, role: Role) -> BusSettings {
        BusSettings {
            nats_url: self.url(),
            nats_user: Some(role.user().parse().unwrap()),
            nats_password: Some(role.password().into()),
            nats_password_file: None,
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again after [`Self::kill`], with the same files, on the same port.
    pub async fn restart(&mut self) {
        self.process = start_process(self.store.path(), self.port);
        self.wait_until_ready().await;
    }

    /// SIGSTOP: connections stay open, nothing answers.
    pub fn freeze(&self) {
        self.process.signal("STOP");
    }

    /// SIGCONT.
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

fn start_process(store: &Path, port: u16) -> Process {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docker/nats.conf");
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
    let given = std::env::var_os("BEARISH_NATS_SERVER").map(PathBuf::from);
    let places = std::env::split_paths(&path).map(|dir| dir.join("nats-server"));
    let found = given.or_else(|| {
        std::iter::once(tools.join("nats-server"))
            .chain(places)
            .find(|p| p.is_file())
    });
    found.unwrap_or_else(|| {
        panic!("nats-server is missing: run `.ci/prepare test`, or name one in BEARISH_NATS_SERVER")
    })
}
