//! The real trader as a process: its settings ([`TraderSetup`]) and a running trader ([`Trader`]).

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::process::Command;

use crate::exchange::Exchange;
use crate::nats::{NatsServer, Role};
use crate::process::{PROJECT, Process, binary, binary_with_failpoints};

/// Flags of the default system.
pub const FLAGS: [&str; 3] = ["--paper", "--infinite", "--auto-restart"];

/// Environment and flags of a trader; can start several processes.
#[derive(Clone)]
pub struct TraderSetup {
    env: BTreeMap<String, String>,
    flags: Vec<String>,
}

impl TraderSetup {
    /// A paper trader on this bus and exchange. The port makes its instance name unique on this host.
    pub fn new(name: &str, nats: &NatsServer, exchange: &Exchange) -> Self {
        let address = exchange.address();
        let setup = Self {
            env: BTreeMap::new(),
            flags: FLAGS.map(str::to_owned).to_vec(),
        };
        let setup = setup
            .env("INSTANCE", &format!("{name}-{}", address.port()))
            .env("BEARISH_PROJECT", PROJECT)
            .env("HEARTBEAT_SECS", "1")
            .env("BINANCE_REST_URL", &format!("http://{address}"))
            .env("BINANCE_WS_URL", &format!("ws://{address}"));
        setup.with_bus(nats, Role::TraderPaper)
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Connects to this bus as `role`.
    #[must_use]
    pub fn with_bus(self, nats: &NatsServer, role: Role) -> Self {
        let bus = nats.env(role);
        bus.iter()
            .fold(self, |setup, (name, value)| setup.env(name, value))
    }

    /// Removes an environment variable.
    #[must_use]
    pub fn without_env(mut self, name: &str) -> Self {
        self.env.remove(name);
        self
    }

    /// Replaces the flags by these.
    #[must_use]
    pub fn flags(mut self, flags: &str) -> Self {
        self.flags = flags.split_whitespace().map(str::to_owned).collect();
        self
    }

    /// Instance name, unique on this host.
    pub fn instance(&self) -> &str {
        &self.env["INSTANCE"]
    }

    /// Shell command that starts this trader.
    pub fn shell_command(&self) -> String {
        let env = self
            .env
            .iter()
            .map(|(name, value)| format!("{name}='{value}'"));
        let parts: Vec<String> = ["exec env -i".to_owned()]
            .into_iter()
            .chain(env)
            .chain([binary("trader").display().to_string()])
            .chain(self.flags.iter().cloned())
            .collect();
        parts.join(" ")
    }

    /// Starts a trader with these settings.
    pub fn start(&self) -> Trader {
        self.start_from(binary("trader"))
    }

    /// Starts a trader whose binary has failpoints.
    pub fn start_with_failpoints(&self) -> Trader {
        self.start_from(binary_with_failpoints("trader"))
    }

    fn start_from(&self, program: PathBuf) -> Trader {
        let mut command = Command::new(program);
        command.env_clear().envs(&self.env).args(&self.flags);
        Trader {
            process: Process::start(self.instance(), command),
            instance: self.instance().to_owned(),
        }
    }
}

/// A running trader process; derefs to [`Process`].
pub struct Trader {
    process: Process,
    instance: String,
}

impl Trader {
    /// Instance name, unique on this host.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Returns the process without the instance name.
    pub fn into_process(self) -> Process {
        self.process
    }

    /// Waits until the trader logs that it is running.
    pub async fn wait_until_running(&self) {
        self.wait_for_log("running books=").await;
    }
}

impl Deref for Trader {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Trader {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}
