//! Stands between the watchdog and the Docker engine, whose socket is root: few calls pass, only on
//! containers of our own compose project, and each one that changes something is in the log. Not here:
//! what to restart and when (the watchdog's).

pub mod app;
pub mod audit;
pub mod cli;
pub mod engine;
pub mod filters;
pub mod guard;
pub mod mask;
pub mod rules;
pub mod server;
pub mod settings;
