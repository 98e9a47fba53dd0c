//! The brain from outside: what it says, in which messages, and what becomes of them when everything
//! goes wrong.

#[cfg(test)]
mod arbitrary_text;
#[cfg(test)]
mod catalogue;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod dead_letters;
#[cfg(test)]
mod fallback;
#[cfg(test)]
mod inhibitions;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod records;
#[cfg(test)]
mod replies;
#[cfg(test)]
mod silences;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod summary;
#[cfg(test)]
mod support;
#[cfg(test)]
mod watchdog_outage;
