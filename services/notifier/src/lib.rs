//! The notifier's body: waits for events and for Telegram, asks the brain, journals, sends. What to say
//! and when is not decided here.

pub mod app;
pub mod bus_outage_task;
pub mod channel;
pub mod cli;
pub mod command_executor;
pub mod dead_man_ping;
pub mod dispatcher;
pub mod event_consumer;
pub mod fallback_sender;
pub mod heartbeats;
pub mod preview;
pub mod report_reader;
pub mod resend;
pub mod secret_url;
pub mod send_test;
pub mod settings;
pub mod status;
pub mod telegram;
pub mod telegram_error;
pub mod update_poller;
