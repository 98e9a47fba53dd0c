//! Core of the notifier: which notifications the operator gets, with which text, when, and how their delivery ended.
//!
//! The crate has no tokio, clock, randomness, files or sockets. Time is an argument, so a test of an hour without
//! Telegram takes milliseconds.
//!
//! [`DeliveryState`](state::DeliveryState) is the fold of the journal: every notification and its state.
//! [`SendLimiter`](send_limiter::SendLimiter) is in memory only; its loss costs at worst one rejected call. States of a
//! notification:
//!
//! | state | meaning | next |
//! | --- | --- | --- |
//! | queued | journaled; the bus may delete the event | in flight, when rate and grouping allow |
//! | in flight | recorded before the call is made | depends on the outcome of the call |
//! | sent | Telegram accepted it | - |
//! | outcome unknown | the call ended without a clear answer, or the process died in it | queued again, marked as a possible repeat |
//! | failed | not sent: no connection, rate limit, channel rejected | queued again |
//! | dead letter | Telegram rejects this text for good | queued again when the operator requests it ([`dead_letters`]) |
//!
//! A critical notification that Telegram does not accept is also sent by the [`fallback`], if there is one. It passes the
//! same states there, under records of their own.
//!
//! Telegram has no idempotency key: a notification with an unknown outcome is repeated and marked, rather than lost.
//!
//! Imports form no cycle: [`model`] <- [`record`] <- [`outages`], [`state`] <- policies <- [`decide`].

pub mod bus_outage;
pub mod command_hints;
pub mod command_intake;
pub mod command_parser;
pub mod dead_letters;
pub mod dead_man_switch;
pub mod decide;
mod event_ids;
pub mod event_intake;
pub mod fallback;
pub mod formatting;
pub mod inhibition;
pub mod message;
mod message_text;
pub mod model;
pub mod notification;
pub mod outages;
pub mod preview;
pub mod record;
pub mod replies;
pub mod send_limiter;
pub mod silence;
pub mod state;
pub mod summary;
pub mod watchdog_outage;
