//! socket-guard: an allow-list proxy between the watchdog and Docker, whose socket gives root. Few calls pass, only for
//! containers of the own Compose project, and each call that changes something is logged.

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
