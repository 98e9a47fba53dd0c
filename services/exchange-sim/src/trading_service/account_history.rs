//! Earlier states of all accounts, for queries that a fault makes late.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::trading::account::Account;

type Accounts = BTreeMap<String, Account>;

/// Number of states kept. Above it the oldest one is dropped, and the lag is shorter than armed.
const MAX_STATES: usize = 1_000;
/// Time for which states are kept after the last fault has ended: a call may have taken it and not be executed yet.
const KEPT_AFTER_END: Duration = Duration::from_secs(10);

/// States of the accounts, each with the time from which it was the current one.
#[derive(Debug, Default)]
pub(super) struct AccountHistory {
    states: VecDeque<(Instant, Accounts)>,
    /// Longest lag, and the last time at which it was armed; `None` if no lag has been armed.
    last_lag: Option<(Duration, Instant)>,
}

impl AccountHistory {
    /// Keeps the current state if it is new, and drops states that no query needs. `lag` is the
    /// longest armed one.
    pub(super) fn remember(&mut self, accounts: &Accounts, changed: bool, lag: Option<Duration>) {
        self.remember_at(Instant::now(), accounts, changed, lag);
    }

    fn remember_at(
        &mut self,
        now: Instant,
        accounts: &Accounts,
        changed: bool,
        lag: Option<Duration>,
    ) {
        if let Some(lag) = lag {
            self.last_lag = Some((lag, now));
        }
        let Some((lag, armed_at)) = self.last_lag else {
            return;
        };
        if now.duration_since(armed_at) > KEPT_AFTER_END {
            *self = Self::default();
            return;
        }
        if changed || self.states.is_empty() {
            self.states.push_back((now, accounts.clone()));
        }
        // The newest state before the oldest time that a query can ask for is still needed.
        let is_unneeded = |next: &(Instant, Accounts)| now.duration_since(next.0) > lag;
        while self.states.get(1).is_some_and(is_unneeded) || self.states.len() > MAX_STATES {
            self.states.pop_front();
        }
    }

    /// The accounts at a time, or the oldest kept ones. `None` if nothing is kept.
    pub(super) fn accounts_at(&self, time: Option<Instant>) -> Option<Accounts> {
        let was_current = |state: &&(Instant, Accounts)| time.is_some_and(|time| state.0 <= time);
        let found = self.states.iter().rev().find(was_current);
        found
            .or_else(|| self.states.front())
            .map(|(_, accounts)| accounts.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(name: &str) -> Accounts {
        BTreeMap::from([(name.to_owned(), Account::default())])
    }

    #[test]
    fn query_sees_the_state_of_its_time_and_old_states_are_dropped() {
        let mut history = AccountHistory::default();
        let begin = Instant::now();
        let at = |s| begin + Duration::from_secs(s);
        let lag = Some(Duration::from_secs(5));
        for (seconds, name, changed) in [
            (0, "a", false),
            (2, "b", true),
            (3, "b", false),
            (4, "c", true),
        ] {
            history.remember_at(at(seconds), &accounts(name), changed, lag);
        }
        for (seconds, name) in [(0, "a"), (1, "a"), (2, "b"), (3, "b"), (9, "c")] {
            assert_eq!(
                history.accounts_at(Some(at(seconds))),
                Some(accounts(name)),
                "{seconds}"
            );
        }
        assert_eq!(history.accounts_at(None), Some(accounts("a")));
        history.remember_at(at(8), &accounts("c"), false, lag);
        assert_eq!(history.states.len(), 2);
        history.remember_at(at(9), &accounts("c"), false, None);
        assert_eq!(
            history.accounts_at(Some(at(3))),
            Some(accounts("b")),
            "kept for calls under way"
        );
        history.remember_at(at(30), &accounts("c"), false, None);
        assert_eq!(history.accounts_at(Some(at(30))), None);
    }
}
