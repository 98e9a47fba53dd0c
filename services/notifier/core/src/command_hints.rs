//! Commands that a notification names, as the operator types them.

use std::fmt::Display;

use protocol::host_command;
use protocol::ids::{AccountKey, SubjectToken};
use protocol::unit_remedy::UnitRemedy;

/// Which commands a notification may name. Host commands always work; Telegram commands only if the bot accepts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandHints {
    /// Whether the bot accepts commands from at least one user.
    pub telegram: bool,
}

impl CommandHints {
    /// A check, as a noun phrase.
    fn check(self, telegram: &str, host: &str) -> String {
        if self.telegram {
            format!("{telegram} or: scripts/bearish {host}")
        } else {
            format!("scripts/bearish {host}")
        }
    }

    /// A command that changes something, as a verb phrase.
    fn act(self, telegram: &str, host: &str) -> String {
        if self.telegram {
            format!("send {telegram} or run: {host}")
        } else {
            format!("run: {host}")
        }
    }

    /// A command about a unit, as a verb phrase.
    fn act_on_unit(self, verb: &str, unit: &str) -> String {
        self.act(
            &format!("/{verb} {unit}"),
            &format!("scripts/bearish {verb} {unit}"),
        )
    }

    pub(crate) fn status(self) -> String {
        self.check("/status", "status")
    }

    pub(crate) fn positions(self) -> String {
        self.check("/positions", "status")
    }

    pub(crate) fn explain(self, unit: &SubjectToken) -> String {
        self.check(&format!("/explain {unit}"), &format!("explain {unit}"))
    }

    pub(crate) fn start(self, unit: &str) -> String {
        self.act_on_unit("start", unit)
    }

    pub(crate) fn release(self, unit: impl Display) -> String {
        self.act_on_unit("release", &unit.to_string())
    }

    /// Brings a unit back, as a verb phrase.
    pub(crate) fn remedy(self, unit: &SubjectToken, remedy: &UnitRemedy) -> String {
        match remedy {
            UnitRemedy::Start => self.start(unit.as_str()),
            UnitRemedy::Restart => self.act_on_unit("restart", unit.as_str()),
            UnitRemedy::Release {
                reset_restarts: false,
            } => self.release(unit),
            UnitRemedy::Release {
                reset_restarts: true,
            } => self.act(
                &format!("/release {unit} reset-restarts"),
                &format!("scripts/bearish release {unit} --reset-restarts"),
            ),
            UnitRemedy::Unlatch { account, latch } => {
                format!(
                    "{}; the watchdog then starts the trader",
                    self.unlatch(account, latch)
                )
            }
            UnitRemedy::FindLatch => format!(
                "end the latch of its account; {} names it; the watchdog then starts the trader",
                self.status()
            ),
            UnitRemedy::Reconfigure => {
                "correct the setting that the reason names in .env, then run: scripts/up".to_owned()
            }
        }
    }

    pub(crate) fn unlatch(self, account: &AccountKey, latch: &str) -> String {
        self.act(
            &format!("/unlatch {latch}"),
            &host_command::unlatch(account.mode, latch),
        )
    }

    pub(crate) fn resume(self, account: &AccountKey, symbol: Option<&SubjectToken>) -> String {
        let symbol = symbol.map(SubjectToken::as_str);
        let telegram = match symbol {
            Some(symbol) => format!("/resume {symbol} {account}"),
            None => format!("/resume {account}"),
        };
        self.act(&telegram, &host_command::resume(account.mode, symbol))
    }
}
