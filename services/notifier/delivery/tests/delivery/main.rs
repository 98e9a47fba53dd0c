//! The brain from outside: what it says, in which messages, and what becomes of them when everything
//! goes wrong.

#[cfg(test)]
mod answers;
#[cfg(test)]
mod any_text;
#[cfg(test)]
mod catalogue;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod dead;
#[cfg(test)]
mod fallback;
#[cfg(test)]
mod heartbeat;
#[cfg(test)]
mod inhibitions;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod records;
#[cfg(test)]
mod silences;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod support;
#[cfg(test)]
mod vigil;
