//! Commands that a notification names, as the operator types them.

use protocol::ids::SubjectToken;

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
            format!("send {telegram} or run: scripts/bearish {host}")
        } else {
            format!("run: scripts/bearish {host}")
        }
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
        self.act(&format!("/start {unit}"), &format!("start {unit}"))
    }

    pub(crate) fn release(self, unit: &SubjectToken) -> String {
        self.act(&format!("/release {unit}"), &format!("release {unit}"))
    }

    pub(crate) fn unlatch(self, latch_id: &str) -> String {
        self.act(
            &format!("/unlatch {latch_id}"),
            &format!("unlatch --latch {latch_id} --reason TEXT"),
        )
    }

    /// The bot does not accept differences.
    pub(crate) fn accept(self, difference_id: &str) -> String {
        format!("run: scripts/bearish accept --difference {difference_id} --reason TEXT")
    }

    pub(crate) fn resume(self, symbol: Option<&SubjectToken>) -> String {
        match symbol {
            Some(symbol) => self.act(
                &format!("/resume {symbol}"),
                &format!("resume --symbol {symbol} --reason TEXT"),
            ),
            None => self.act("/resume", "resume --reason TEXT"),
        }
    }
}
