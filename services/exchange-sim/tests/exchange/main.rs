//! Tests of exchange-sim through its public interface, in one binary because linking costs more
//! than running. Helpers are in `support`.

#[cfg(test)]
mod account_faults;
#[cfg(test)]
mod candle_files;
#[cfg(test)]
mod clock;
#[cfg(test)]
mod content_faults;
#[cfg(test)]
mod contracts;
#[cfg(test)]
mod default_market;
#[cfg(test)]
mod delivery_faults;
#[cfg(test)]
mod execution_faults;
#[cfg(test)]
mod fault_api;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod history;
#[cfg(test)]
mod market_answers;
#[cfg(test)]
mod order_answers;
#[cfg(test)]
mod price_faults;
#[cfg(test)]
mod process;
#[cfg(test)]
mod rest;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod second_client;
#[cfg(test)]
mod signing;
#[cfg(test)]
mod stream_faults;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod support;
#[cfg(test)]
mod trading;
#[cfg(test)]
mod user_stream;
