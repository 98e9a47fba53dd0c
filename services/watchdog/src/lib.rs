//! Shell of the watchdog: waits for Docker and the bus, calls the core, appends its records and carries out its
//! actions.

pub mod action_executor;
pub mod app;
pub mod blindness;
pub mod cli;
pub mod command_client;
pub mod command_server;
pub mod container_inspector;
pub mod container_watcher;
pub mod decision_clock;
pub mod docker;
pub mod docker_event;
pub mod heartbeat_listener;
pub mod inspect;
pub mod latch_watcher;
pub mod log_tail;
pub mod oom_marks;
pub mod read_model;
pub mod record_log;
pub mod service_healer;
pub mod settings;
pub mod supervision_metrics;
pub mod supervisor;
