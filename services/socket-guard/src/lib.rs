//! Stands between the watchdog and the Docker engine, whose socket is root: few calls pass, only on
//! containers of our own compose project, and each one that changes something is in the log. Not here:
//! what to restart and when (the watchdog's).

pub mod allowlist;
pub mod app;
pub mod audit;
pub mod cli;
pub mod filters;
pub mod proxy;
pub mod response_filter;
pub mod server;
pub mod settings;
pub mod upstream;
