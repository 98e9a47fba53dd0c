//! The two journals of an account: its state, and the commands that operators gave. This is the only place
//! that reads either of them.

use protocol::account_command::{AccountCommand, AccountCommandRecord};
use protocol::ids::AccountKey;
use protocol::subject::Subject;
use runtime::bus::Bus;
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
        let subject = Subject::AccountCommandJournal(account.clone());
        let (_, batches) = Journal::replay::<AccountCommandRecord>(bus, &subject, boot_id())
            .await
            .map_err(|error| error.to_string())?;
        let mut commands = Vec::new();
        for stored in batches {
            let seq = stored.seq;
            commands.extend(stored.batch.records.into_iter().map(|record| (seq, record)));
        }
        Ok(Self { commands })
    }

    /// Whether an operator has ended this latch.
    pub(crate) fn ends_latch(&self, latch_id: &str) -> bool {
        self.commands.iter().any(|(_, record)| {
            matches!(&record.command, AccountCommand::Unlatch { latch_id: ended } if ended == latch_id)
        })
    }

    /// The commands behind this sequence, each with its own.
    pub(crate) fn after(self, seq: u64) -> impl Iterator<Item = (u64, AccountCommandRecord)> {
        self.commands
            .into_iter()
            .filter(move |(stored, _)| *stored > seq)
    }
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
