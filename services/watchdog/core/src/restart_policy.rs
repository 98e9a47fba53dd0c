//! The restart policy: what the command line of a unit says about its restarts.

use std::time::Duration;

use protocol::ids::Mode;
use protocol::trader_args::TraderArgs;
use serde::{Deserialize, Serialize};

/// The flags of a trader that concern restarts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "flags of a command line, each on or off"
)]
pub struct RestartPolicy {
    /// `--auto-restart`: the unit is restarted at all.
    pub auto_restart: bool,
    /// `--max-restarts`: restarts before the unit is quarantined.
    pub max_restarts: u32,
    /// `--restart-delay`: base delay, in seconds.
    pub restart_delay_s: u64,
    /// `--dry-run`: the unit only runs its checks, so exit 0 is a success.
    pub dry_run: bool,
    /// `--fast-first`: the first failure after a long healthy run is answered without a delay.
    pub fast_first: bool,
    /// `--jitter`: delays are extended randomly.
    pub jitter: bool,
}

impl RestartPolicy {
    /// Parses the arguments of a container.
    ///
    /// # Errors
    /// The parse error in one line.
    pub fn from_args(args: &[String]) -> Result<Self, String> {
        match TraderArgs::from_arguments(args.iter().cloned()) {
            Ok(args) => Ok(Self::from(&args)),
            Err(error) => {
                let text = error.to_string();
                let line = text.lines().next().unwrap_or_default();
                Err(line.trim_start_matches("error: ").to_owned())
            }
        }
    }

    /// Delay before the first restart (`--restart-delay`); each consecutive failure doubles it.
    pub const fn base_delay(&self) -> Duration {
        Duration::from_secs(self.restart_delay_s)
    }
}

impl From<&TraderArgs> for RestartPolicy {
    fn from(args: &TraderArgs) -> Self {
        Self {
            auto_restart: args.auto_restart,
            max_restarts: args.max_restarts,
            restart_delay_s: args.restart_delay,
            dry_run: args.dry_run,
            fast_first: args.fast_first,
            jitter: args.jitter,
        }
    }
}

/// Mode by the arguments of a container. `None` if they are not those of a trader.
pub fn mode_of_args(args: &[String]) -> Option<Mode> {
    let args = TraderArgs::from_arguments(args.iter().cloned());
    args.ok().map(|args| args.mode())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn restart_policy_is_read_from_the_containers_arguments() {
        let line = "--paper --infinite --auto-restart --max-restarts 24 --restart-delay 5";
        let policy = RestartPolicy::from_args(&args(line)).unwrap();
        assert!(policy.auto_restart && !policy.dry_run);
        assert_eq!((policy.max_restarts, policy.restart_delay_s), (24, 5));
    }

    #[test]
    fn restart_policy_rejects_foreign_arguments_in_one_line() {
        let error = RestartPolicy::from_args(&args("--paper --forever")).unwrap_err();
        assert!(error.contains("--forever"), "{error}");
        assert!(!error.contains('\n'), "{error}");
        assert!(RestartPolicy::from_args(&args("status")).is_err());
    }
}
