//! The notifier's brain: what to tell the owner, in which words, when, and what became of it.
//!
//! Pure: no tokio, no clock, no randomness, no files, no sockets. Time comes in with the event, so an
//! hour of Telegram being away runs in a test in milliseconds.
//!
//! [`DeliveryState`](state::State) is a fold of the journal: every letter and what became of it.
//! [`SendLimiter`](pace::Pace) is what this process remembers of its own sending; it is lost with the process
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
//! A critical that Telegram does not take goes over the [`fallback_sender`], if there is one: the same states, under
//! records of their own, beside those of the same letter's way to Telegram.
//!
//! Telegram knows no idempotency key: between losing a letter and repeating it, we repeat it and say so.

pub mod bus_outage;
pub mod clock_reading;
pub mod command_intake;
pub mod command_parser;
pub mod dead_letters;
pub mod dead_man_switch;
pub mod decide;
pub mod event_intake;
pub mod fallback;
pub mod formatting;
pub mod inhibition;
pub mod message;
mod message_text;
pub mod notification;
pub mod preview;
pub mod record;
pub mod replies;
pub mod send_limiter;
pub mod silence;
pub mod state;
pub mod summary;
pub mod watchdog_outage;
