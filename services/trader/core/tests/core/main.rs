//! Tests of the trader core through its public interface, in one binary because linking costs more
//! than running. Helpers are in `support`.

#[cfg(test)]
mod account;
#[cfg(test)]
mod account_balance;
#[cfg(test)]
mod backtest;
mod backtest_account;
mod breakers;
#[cfg(test)]
mod entries;
#[cfg(test)]
mod execution;
#[cfg(test)]
mod execution_random;
#[cfg(test)]
mod exits;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod market_data;
#[cfg(test)]
mod market_state;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod recovery;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod support;
