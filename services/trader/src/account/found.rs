//! `trader init`: a person begins a live account on this bus. Its orders carry the installation's id from
//! then on, and a bus that lost its journals is not taken for a new account.

use clap::Args;
use engine::account::AccountRecord;
use engine::orders::Deployment;
use protocol::exit::ExitCode;
use protocol::ids::{AccountKey, Mode};
use protocol::subject::Subject;
use runtime::bus::{Bus, Refusal};
use runtime::identity::boot_id;
use runtime::journal::Journal;
use runtime::process::Stop;

use super::operator::store;
use crate::settings::Settings;
use crate::start;
use crate::venue::Venue;

/// Begins a live account
#[derive(Debug, Clone, Args)]
pub struct InitArgs {
    /// Yes: begin the journal of the account whose key is set
    #[arg(long, required = true)]
    pub account: bool,

    /// Who says so
    #[arg(long, value_name = "NAME", default_value = "operator")]
    pub who: String,
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
pub async fn run(InitArgs { who, .. }: InitArgs) -> Result<ExitCode, Stop> {
    let settings = Settings::from_env()?;
    let market = start::market(&settings)?;
    let Some(venue) = start::venue(&settings, &market, Mode::Live)? else {
        return Err(Stop::internal("bug: live without a venue"));
    };
    let account = start::own_account(&settings).await?;
    nothing_open(&venue).await?;
    let bus = Bus::try_connect(&settings.bus)
        .await
        .map_err(Refusal::into_stop)?;
    let deployment = begin(&bus, &account, who).await?;
    println!("account {account} begun; its orders carry {deployment}");
    Ok(ExitCode::Done)
}

/// What is open belongs to a journal that is not here, or to somebody else.
async fn nothing_open(venue: &Venue) -> Result<(), Stop> {
    let unavailable =
        |error: crate::market::MarketError| Stop::new(ExitCode::Unavailable, error.to_string());
    let held = venue.all_positions().await.map_err(unavailable)?;
    let open = venue.all_open().await.map_err(unavailable)?;
    if held.is_empty() && open.is_empty() {
        return Ok(());
    }
    Err(Stop::config(format!(
        "the account has {} positions and {} open orders: restore the journal that knows them from a backup, \
         or close them first",
        held.len(),
        open.len()
    )))
}

async fn begin(bus: &Bus, account: &AccountKey, who: String) -> Result<Deployment, Stop> {
    let unavailable = |why: String| Stop::new(ExitCode::Unavailable, why);
    let subject = Subject::AccountJournal(account.clone());
    let writer = boot_id();
    let deployment = deployment(writer.as_str());
    let (mut journal, entries) = Journal::replay::<AccountRecord>(bus, &subject, writer)
        .await
        .map_err(|error| unavailable(error.to_string()))?;
    if !entries.is_empty() {
        return Err(Stop::config(format!(
            "account {account} has a journal already: start the trader"
        )));
    }
    let records = [AccountRecord::Founded {
        deployment: deployment.clone(),
        who,
    }];
    store(&mut journal, &records, "try again").await?;
    Ok(deployment)
}

/// From the chance in a name that no other run has.
fn deployment(boot: &str) -> Deployment {
    let bits = boot
        .get(..8)
        .and_then(|hex| u32::from_str_radix(hex, 16).ok());
    Deployment::from_bits(bits.unwrap_or(0))
}
