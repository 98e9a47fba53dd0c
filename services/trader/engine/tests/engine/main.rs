//! The engine from outside: one file per question, all in one binary because linking costs more
//! than running. Helpers are in `support`.

#[cfg(test)]
mod account;
#[cfg(test)]
mod backtest;
#[cfg(test)]
mod entries;
#[cfg(test)]
mod exits;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod live;
#[cfg(test)]
mod live_chance;
#[cfg(test)]
mod market;
#[cfg(test)]
mod market_data;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod recovery;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod support;
