//! Measures live trading: the real trader on a real nats-server, with exchange-sim in place of Binance and with
//! Binance's limits. The figures do not include the internet and Binance itself.

mod account;
mod entry;

use clap::Args;

use crate::machine::{self, IdleTime};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Number of entries, each by a new trader, bus and exchange
    #[arg(long, default_value_t = 30)]
    entries: usize,
    /// Number of open orders on the account, distributed over five contracts with at most 200 each
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(5..=1_000))]
    orders: u32,
    /// Number of reconciliations of one contract of that account
    #[arg(long, default_value_t = 50)]
    reconciliations: usize,
    /// Seconds for which orders are placed and cancelled
    #[arg(long, default_value_t = 180)]
    seconds: u64,
}

pub(crate) async fn measure(options: &Options) {
    machine::print(&[]);
    let idle = IdleTime::begin();
    if options.entries > 0 {
        entry::measure(options.entries).await;
    }
    account::measure(options).await;
    idle.print();
}
