//! The notifier's brain: what to tell the owner, in which words, when, and what became of it.
//!
//! Pure: no tokio, no clock, no randomness, no files, no sockets. Time comes in with the event, so an
//! hour of Telegram being away runs in a test in milliseconds.
//!
//! [`State`](state::State) is a fold of the journal: every letter and what became of it.
//! [`Pace`](pace::Pace) is what this process remembers of its own sending; it is lost with the process
//! and costs at worst one refused call. A letter goes this way:
//!
//! | state | meaning | what follows |
//! | --- | --- | --- |
//! | queued | journaled; the bus may forget the event | `Sending`, when pace and grouping allow |
//! | sending | recorded before the call is made | by the call's outcome |
//! | sent | Telegram has it | - |
//! | unknown | the call ended without a clear answer, or this process died in it | queued again, marked as a possible repeat |
//! | returned | surely not sent: no connection, told to wait, channel closed | queued again as it was |
//! | dead | Telegram refuses this text for good | queued again, if a person wants it ([`dead`]) |
//!
//! A critical that Telegram does not take goes over the [`fallback`], if there is one: the same states, under
//! records of their own, beside those of the same letter's way to Telegram.
//!
//! Telegram knows no idempotency key: between losing a letter and repeating it, we repeat it and say so.

pub mod answers;
mod catalogue;
pub mod command;
pub mod compose;
pub mod dead;
pub mod deadman;
pub mod decide;
pub mod fallback;
pub mod hear;
pub mod heartbeat;
pub mod inhibition;
pub mod letter;
pub mod lifeline;
pub mod moment;
pub mod news;
pub mod pace;
pub mod preview;
pub mod record;
pub mod silence;
pub mod state;
pub mod vigil;
pub mod words;
