//! The brain from outside: one unit's life in a simulated engine, hours in milliseconds.

#[cfg(test)]
mod critical;
#[cfg(test)]
mod engine;
#[cfg(test)]
mod fleet;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod hangs;
#[cfg(test)]
mod latches;
mod markets;
#[cfg(test)]
mod orders;
#[cfg(test)]
mod people;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod recovery;
#[cfg(test)]
mod restarts;
#[cfg(test)]
mod support;
