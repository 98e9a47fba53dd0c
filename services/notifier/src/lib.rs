//! The notifier's body: waits for events and for Telegram, asks the brain, journals, sends. What to say
//! and when is not decided here.

pub mod address;
pub mod app;
pub mod channel;
pub mod cli;
pub mod courier;
pub mod deadman;
pub mod fallback;
pub mod fault;
pub mod fleet;
pub mod inbox;
pub mod lifeline;
pub mod orders;
pub mod preview;
pub mod reports;
pub mod resend;
pub mod send_test;
pub mod settings;
pub mod status;
pub mod telegram;
pub mod updates;
