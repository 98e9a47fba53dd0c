//! Live trading: the real trader on a real nats-server, and its way to the exchange, on exchange-sim in the place of
//! Binance, with Binance's own limits. What the way over the internet and Binance itself take is not in these figures.

mod account;
mod entry;

use clap::Args;

use crate::machine::{self, IdleTime};

/// How much
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Entries, each by a trader, a bus and an exchange of its own
    #[arg(long, default_value_t = 30)]
    entries: usize,
    /// Open orders on the account, shared out over five contracts of which each takes 200
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(5..=1_000))]
    orders: u32,
    /// Looks at one contract of that account
    #[arg(long, default_value_t = 50)]
    looks: usize,
    /// How long orders are placed and cancelled
    #[arg(long, default_value_t = 180)]
    seconds: u64,
}

/// Measures and prints.
pub(crate) async fn measure(options: &Options) {
    machine::print(&[]);
    let leisure = IdleTime::begin();
    if options.entries > 0 {
        entry::measure(options.entries).await;
    }
    account::measure(options).await;
    leisure.print();
}
