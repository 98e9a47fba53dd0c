//! `trader init`: a person begins a live account on this bus. Its orders carry the installation's id from
//! then on, and a bus that lost its journals is not taken for a new account.

use clap::Args;
use protocol::exit_code::ExitCode;
use protocol::ids::{AccountKey, Mode};
use protocol::subject::Subject;
use runtime::bus::{Bus, BusError};
use runtime::identity::boot_id;
use runtime::journal::Journal;
use runtime::process::ExitError;
use trader_core::account::AccountRecord;
use trader_core::orders::InstallationId;

use super::account_commands::append_records;
use crate::settings::Settings;
use crate::startup;
use crate::venue::BinanceExecutionClient;

/// Begins a live account
#[derive(Debug, Clone, Args)]
pub struct InitArgs {
    /// Yes: begin the journal of the account whose key is set
    #[arg(long, required = true)]
    pub account: bool,

    /// Who says so
    #[arg(long, value_name = "NAME", default_value = "operator")]
    pub by: String,
}

/// `trader init --account`.
///
/// # Errors
/// Exit 78 if the account has a journal, or something open on the exchange; 69 if bus or exchange do not
/// answer.
#[allow(
    clippy::print_stdout,
    reason = "the answer of a command belongs on standard output"
)]
pub async fn run(InitArgs { by: who, .. }: InitArgs) -> Result<ExitCode, ExitError> {
    let settings = Settings::from_env()?;
    let market = startup::data_client(&settings)?;
    let Some(venue) = startup::execution_client(&settings, &market, Mode::Live)? else {
        return Err(ExitError::internal("bug: live without a venue"));
    };
    let account = startup::configured_account(&settings).await?;
    ensure_nothing_open(&venue).await?;
    let bus = Bus::try_connect(&settings.bus)
        .await
        .map_err(BusError::into_exit_error)?;
    let deployment = open_account(&bus, &account, who).await?;
    println!("account {account} begun; its orders carry {deployment}");
    Ok(ExitCode::Success)
}

/// What is open belongs to a journal that is not here, or to somebody else.
async fn ensure_nothing_open(venue: &BinanceExecutionClient) -> Result<(), ExitError> {
    let unavailable = |error: crate::market::MarketError| {
        ExitError::new(ExitCode::Unavailable, error.to_string())
    };
    let held = venue.all_positions().await.map_err(unavailable)?;
    let open = venue.all_open_orders().await.map_err(unavailable)?;
    if held.is_empty() && open.is_empty() {
        return Ok(());
    }
    Err(ExitError::config(format!(
        "the account has {} positions and {} open orders: restore the journal that knows them from a backup, \
         or close them first",
        held.len(),
        open.len()
    )))
}

async fn open_account(
    bus: &Bus,
    account: &AccountKey,
    who: String,
) -> Result<InstallationId, ExitError> {
    let unavailable = |why: String| ExitError::new(ExitCode::Unavailable, why);
    let subject = Subject::AccountJournal(account.clone());
    let writer = boot_id();
    let deployment = new_installation_id(writer.as_str());
    let (mut journal, entries) = Journal::replay::<AccountRecord>(bus, &subject, writer)
        .await
        .map_err(|error| unavailable(error.to_string()))?;
    if !entries.is_empty() {
        return Err(ExitError::config(format!(
            "account {account} has a journal already: start the trader"
        )));
    }
    let records = [AccountRecord::AccountOpened {
        installation_id: deployment.clone(),
        by: who,
    }];
    append_records(&mut journal, &records, "try again").await?;
    Ok(deployment)
}

/// From the chance in a name that no other run has.
fn new_installation_id(boot: &str) -> InstallationId {
    let bits = boot
        .get(..8)
        .and_then(|hex| u32::from_str_radix(hex, 16).ok());
    InstallationId::from_bits(bits.unwrap_or(0))
}
