//! The two journals of an account: its state, and the commands that operators gave. This is the only place
//! that reads either of them.

use protocol::account_command::{AccountCommand, AccountCommandRecord};
use protocol::ids::AccountKey;
use protocol::subject::Subject;
use runtime::bus::Bus;
use runtime::clock;
use runtime::identity::boot_id;
use runtime::journal::Journal;
use trader_core::account::{AccountRecord, AccountState};

/// Every command that operators gave for an account, oldest first.
#[derive(Debug, Default)]
pub(crate) struct AccountCommands {
    /// Each with its sequence in JOURNAL.
    commands: Vec<(u64, AccountCommandRecord)>,
}

impl AccountCommands {
    /// Reads the whole journal.
    ///
    /// # Errors
    /// One line, if the bus does not answer or a command cannot be read.
    pub(crate) async fn read(bus: &Bus, account: &AccountKey) -> Result<Self, String> {
        let commands = read_commands_from(bus, account, 0).await?;
        Ok(Self { commands })
    }

    /// Whether an operator has ended this latch.
    pub(crate) fn ends_latch(&self, latch_id: &str) -> bool {
        self.commands.iter().any(|(_, record)| {
            matches!(&record.command, AccountCommand::Unlatch { latch_id: ended } if ended == latch_id)
        })
    }

    /// The state after a leader has executed the commands that `state` does not know.
    fn execute_on(self, mut state: AccountState) -> AccountState {
        let executed = state.last_command_seq;
        for (seq, command) in self.commands {
            if seq > executed
                && let Some(record) = state.decide_command(clock::now(), seq, &command)
            {
                state.apply(&record);
            }
        }
        state
    }
}

/// The commands from sequence `from` on, oldest first, each with its own sequence.
///
/// # Errors
/// One line, if the bus does not answer or a command cannot be read.
pub(super) async fn read_commands_from(
    bus: &Bus,
    account: &AccountKey,
    from: u64,
) -> Result<Vec<(u64, AccountCommandRecord)>, String> {
    let subject = Subject::AccountCommandJournal(account.clone());
    let replayed = Journal::replay_from(bus, &subject, boot_id(), from).await;
    let (_, batches) = replayed.map_err(|error| error.to_string())?;
    let mut commands = Vec::new();
    for stored in batches {
        let records = stored.batch.records.into_iter();
        commands.extend(records.map(|record| (stored.seq, record)));
    }
    Ok(commands)
}

/// The state that an account's journal folds to; the default for an account without one.
///
/// # Errors
/// One line, if the bus does not answer or a record cannot be read.
pub(crate) async fn read_account_state(
    bus: &Bus,
    account: &AccountKey,
) -> Result<AccountState, String> {
    let subject = Subject::AccountJournal(account.clone());
    let (_, batches) = Journal::replay::<AccountRecord>(bus, &subject, boot_id())
        .await
        .map_err(|error| error.to_string())?;
    let mut state = AccountState::default();
    for stored in &batches {
        state
            .fold(&stored.batch)
            .map_err(|error| error.to_string())?;
    }
    Ok(state)
}

/// The state that an account will have once a leader has executed every stored command.
///
/// A command that no leader has executed yet counts: a `resume` must end a `pause` that is still waiting.
///
/// # Errors
/// One line, if the bus does not answer or a record cannot be read.
pub(crate) async fn read_commanded_state(
    bus: &Bus,
    account: &AccountKey,
) -> Result<AccountState, String> {
    let state = read_account_state(bus, account).await?;
    let commands = AccountCommands::read(bus, account).await?;
    Ok(commands.execute_on(state))
}

/// The id of the latch on the account, if there is one that no operator has ended.
///
/// # Errors
/// One line, if the bus does not answer or a journal cannot be read.
pub(crate) async fn active_latch(
    bus: &Bus,
    account: &AccountKey,
) -> Result<Option<String>, String> {
    let Some(latch) = read_account_state(bus, account).await?.latch else {
        return Ok(None);
    };
    let ended = AccountCommands::read(bus, account)
        .await?
        .ends_latch(&latch.latch_id);
    Ok((!ended).then_some(latch.latch_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(command: AccountCommand) -> AccountCommandRecord {
        AccountCommandRecord {
            command,
            by: "operator".to_owned(),
            reason: "test".to_owned(),
        }
    }

    #[test]
    fn resume_has_an_effect_on_a_pause_that_waits_for_a_leader() {
        let resume = record(AccountCommand::Resume { symbol: None });
        let decide = |state: &AccountState| state.decide_command(clock::now(), 9, &resume);
        let state = AccountState::default();
        assert!(decide(&state).is_none(), "nothing is paused");
        let pause = record(AccountCommand::Pause { symbol: None });
        let waiting = AccountCommands {
            commands: vec![(1, pause)],
        };
        assert!(decide(&waiting.execute_on(state)).is_some());
    }
}
