//! Shell of the notifier: receives events and Telegram updates, calls the core, journals its records and sends messages.
//! [`app::run`] is the entry point.

pub mod app;
pub mod bus_outage_task;
pub mod channel;
pub mod cli;
pub mod command_executor;
pub mod config;
pub mod dead_man_ping;
pub mod delivery_status;
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
