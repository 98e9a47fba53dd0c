//! `trader init`: opens a live account on this bus. All its orders carry the installation's id. A bus that has lost its
//! journals is not mistaken for one with a new account.

use std::collections::BTreeMap;

use clap::Args;
use exchange::{ExchangeError, ExecutionClient};
use protocol::exit_code::ExitCode;
use protocol::ids::AccountKey;
use protocol::subject::Subject;
use runtime::bus::Bus;
use runtime::exit_error::ExitError;
use runtime::identity::boot_id;
use runtime::stdout::OutputArgs;
use serde::Serialize;
use trader_core::account::{AccountRecord, BalanceBaseline};
use trader_core::orders::InstallationId;

use super::bus_access::{append_records, connect, replay, unavailable};
use super::output::as_text;
use crate::app::exchange_clients::ExchangeClients;
use crate::app::patience::Patience;
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
    let patience = Patience::start();
    let account = startup::configured_account(&settings, patience).await?;
    ensure_nothing_open(&*client, patience).await?;
    let baseline = balance_baseline(&*client, patience).await?;
    let bus = connect(&settings, patience).await?;
    let installation_id = open_account(&bus, &account, by, baseline, patience).await?;
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
async fn ensure_nothing_open(
    client: &dyn ExecutionClient,
    patience: Patience,
) -> Result<(), ExitError> {
    let answered = patience.answer(
        "the exchange",
        |_| false,
        async || Ok::<_, ExchangeError>((client.positions().await?, client.open_orders().await?)),
    );
    let (positions, orders) = answered.await.map_err(unavailable)?;
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
async fn balance_baseline(
    client: &dyn ExecutionClient,
    patience: Patience,
) -> Result<BalanceBaseline, ExitError> {
    let answered = patience.answer(
        "the exchange",
        |_| false,
        async || Ok::<_, ExchangeError>((client.wallet_balance().await?, client.now().await?)),
    );
    let (wallet, at) = answered.await.map_err(unavailable)?;
    Ok(BalanceBaseline {
        at,
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
    patience: Patience,
) -> Result<InstallationId, ExitError> {
    let subject = Subject::AccountJournal(account.clone());
    let installation_id = new_installation_id(boot_id().as_str());
    let (mut journal, batches) = replay::<AccountRecord>(bus, &subject, patience).await?;
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
