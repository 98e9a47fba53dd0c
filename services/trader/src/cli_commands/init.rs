//! `trader init`: opens a live account on this bus. All its orders carry the installation's id. A bus that has lost its
//! journals is not mistaken for one with a new account.

use std::collections::BTreeMap;

use clap::Args;
use exchange::ExecutionClient;
use protocol::exit_code::ExitCode;
use protocol::ids::AccountKey;
use protocol::subject::Subject;
use runtime::bus::Bus;
use runtime::exit_error::ExitError;
use runtime::identity::boot_id;
use runtime::journal::Journal;
use runtime::stdout::OutputArgs;
use serde::Serialize;
use trader_core::account::{AccountRecord, BalanceBaseline};
use trader_core::orders::InstallationId;

use super::bus_access::{append_records, connect, unavailable};
use super::output::as_text;
use crate::app::exchange_clients::ExchangeClients;
use crate::app::startup;
use crate::settings::Settings;

/// Flags of `trader init`
#[derive(Debug, Clone, Args)]
pub struct InitArgs {
    /// Confirms that the account of the API key is opened on this bus
    #[arg(long, required = true)]
    pub account: bool,

    /// Who gives the command
    #[arg(long, value_name = "NAME", default_value = "operator")]
    pub by: String,

    #[command(flatten)]
    output: OutputArgs,
}

/// Opened account, as `--json` prints it.
#[derive(Debug, Serialize)]
struct OpenedAccount {
    #[serde(serialize_with = "as_text")]
    account: AccountKey,
    installation_id: InstallationId,
}

/// `trader init --account`: opens a live account.
///
/// # Errors
/// Exit 78 if the account has a journal or something is open on the exchange, 69 if the bus or the exchange does
/// not answer.
pub async fn run(InitArgs { by, output, .. }: InitArgs) -> Result<ExitCode, ExitError> {
    let settings = Settings::from_env()?;
    let client = ExchangeClients::live_execution(&settings)?;
    let account = startup::configured_account(&settings).await?;
    ensure_nothing_open(&*client).await?;
    let baseline = balance_baseline(&*client).await?;
    let bus = connect(&settings).await?;
    let installation_id = open_account(&bus, &account, by, baseline).await?;
    let opened = OpenedAccount {
        account,
        installation_id,
    };
    output.print(&opened, || {
        format!(
            "account {} opened; its orders carry the installation id {}. To trade: scripts/up --confirm-live",
            opened.account, opened.installation_id
        )
    })?;
    Ok(ExitCode::Success)
}

/// Something open belongs to a journal on another bus, or to another program.
async fn ensure_nothing_open(client: &dyn ExecutionClient) -> Result<(), ExitError> {
    let positions = client.positions().await.map_err(unavailable)?;
    let orders = client.open_orders().await.map_err(unavailable)?;
    if positions.is_empty() && orders.is_empty() {
        return Ok(());
    }
    Err(ExitError::config(format!(
        "the account has {} positions and {} open orders; restore the backup that has their journal, or close \
         them first",
        positions.len(),
        orders.len()
    )))
}

/// The balance check counts from the balance of the account that is flat.
async fn balance_baseline(client: &dyn ExecutionClient) -> Result<BalanceBaseline, ExitError> {
    let wallet = client.wallet_balance().await.map_err(unavailable)?;
    Ok(BalanceBaseline {
        at: client.now().await.map_err(unavailable)?,
        balance: wallet.balance,
        books: BTreeMap::new(),
        explained: BTreeMap::new(),
    })
}

async fn open_account(
    bus: &Bus,
    account: &AccountKey,
    by: String,
    baseline: BalanceBaseline,
) -> Result<InstallationId, ExitError> {
    let subject = Subject::AccountJournal(account.clone());
    let writer = boot_id();
    let installation_id = new_installation_id(writer.as_str());
    let (mut journal, batches) = Journal::replay::<AccountRecord>(bus, &subject, writer)
        .await
        .map_err(unavailable)?;
    if !batches.is_empty() {
        return Err(ExitError::config(format!(
            "account {account} is already open on this bus; start the trader: scripts/up --confirm-live"
        )));
    }
    let records = [
        AccountRecord::AccountOpened {
            installation_id: installation_id.clone(),
            by,
        },
        AccountRecord::BalanceBaselined(baseline),
    ];
    append_records(&mut journal, &records, "try again").await?;
    Ok(installation_id)
}

/// An installation id from the random part of a boot id.
fn new_installation_id(boot: &str) -> InstallationId {
    let bits = boot
        .get(..8)
        .and_then(|hex| u32::from_str_radix(hex, 16).ok());
    InstallationId::from_bits(bits.unwrap_or(0))
}
