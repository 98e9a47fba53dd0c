//! Tests of the notifier's core: texts, messages, commands and delivery under faults.

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
