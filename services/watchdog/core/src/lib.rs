//! Core of the watchdog: what to do about a unit, from the journal and from what is observed.
//!
//! The crate is pure: no tokio, clock, randomness, files or sockets. Time and random numbers come in as
//! [`DecisionInputs`](decision_inputs::DecisionInputs), so hours of backoff run in a test in milliseconds, and the same
//! events give the same decisions.
//!
//! [`SupervisionState`](state::SupervisionState) is folded from the journal: it holds what was decided.
//! [`ObservedState`](observed_state::ObservedState) holds containers, heartbeats and calls in flight as observed since
//! the process began; it is rebuilt after a restart. [`decide`](decide::decide) compares the two and returns records
//! for the journal. [`due_action`](next_action::due_action) derives the Docker call from the folded state, so no call
//! can be made without an earlier record.
//!
//! | phase | the known run is running | another run is running | the run has ended | removed |
//! | --- | --- | --- | --- | --- |
//! | unknown, gone | - | `Started` | by exit (0: `Ended`) | - |
//! | running | `UnitHealthy`, `FailuresReset`, or `StopIntended` when hung | `Started` | by exit | `ContainerRemoved` |
//! | stopping | call: stop | `Started` | `RestartScheduled` or `Quarantined` | `ContainerRemoved` |
//! | restart pending | - | `Started` | when due: `StartIntended` | `ContainerRemoved` |
//! | starting | - | `Started` | call: start; a rejected start is a failure | `ContainerRemoved` |
//! | quarantined, stopped, ended | - | `Started` | - | `ContainerRemoved` |
//!
//! By exit, for a unit with `--auto-restart` (another unit is only observed: `Ended`):
//!
//! | end of the run | record | consecutive failures |
//! | --- | --- | --- |
//! | after an operator's SIGTERM, SIGINT or `docker stop` | `Stopped` | - |
//! | 0 without a request to stop | restart after the backoff | +1 |
//! | 0, 137, 143 or 255 during a Docker outage | restart at once, not counted | unchanged |
//! | 0 of a `--dry-run` | `Ended` | - |
//! | 20 | restart after the base delay | 0 |
//! | 21, 64, 78, 125 to 128 | `Quarantined` | - |
//! | 137 with an out-of-memory kill, any other code, a hang, a failed start | restart after the backoff | +1 |
//!
//! The rules for commands are in [`command_rules`]: a command is a record itself, and its calls are made like all
//! others. A unit on hold is observed and not acted upon: `Ended` instead of a restart, `HangDetected` instead of a
//! stop.
//!
//! A unit beyond `--max-restarts`, with more than ten consecutive failures, or beyond its restart budget is
//! `Quarantined` instead. The number of units that start at the same time is limited ([`config`]); further units wait.

pub mod backoff;
pub mod clock_step;
pub mod command_rules;
pub mod config;
pub mod container;
pub mod decide;
pub mod decision_inputs;
pub mod diagnosis;
pub mod docker_outage;
pub mod event_mapping;
pub mod evidence;
pub mod exit_policy;
pub mod explain;
pub mod failure_groups;
pub mod feed_connectivity;
pub mod format;
pub mod history;
pub mod liveness;
pub mod model;
pub mod next_action;
pub mod observed_state;
pub mod phase;
pub mod reason;
pub mod record;
pub mod remedy;
pub mod restart_pattern;
pub mod restart_policy;
pub mod service_healing;
pub mod state;
pub mod stop_request;
pub mod unit;
