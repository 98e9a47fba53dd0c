//! The watchdog's brain: what to do about a unit, from what its journal says and what is seen of it.
//!
//! Pure: no tokio, no clock, no randomness, no files, no sockets. Time and chance come in with the
//! event, so hours of backoff run in a test in milliseconds and the same events give the same run.
//!
//! Two things are known. [`SupervisionState`](state::State) is a fold of the journal: what was decided.
//! [`ObservedState`](watch::Watch) is what has been seen since this process began: containers, heartbeats,
//! calls under way; it is lost with the process and seen again. [`evaluate`](decide::decide) compares
//! the two and answers with facts for the journal; [`due`](act::due) reads off the folded state
//! which call to make. So an action without an earlier record cannot be expressed.
//!
//! | phase | runs: the run we know | runs: another run | has ended | removed |
//! | --- | --- | --- | --- | --- |
//! | unknown, gone | - | `Started` | by exit (0: `Ended`) | - |
//! | running | `Healthy`, `FailuresReset`, or `StopIntended` when hung | `Started` | by exit | `ContainerRemoved` |
//! | stopping | call: stop | `Started` | `RestartScheduled` or `Quarantined` | `ContainerRemoved` |
//! | waiting | - | `Started` | when due: `StartIntended` | `ContainerRemoved` |
//! | starting | - | `Started` | call: start; refused: as a failure | `ContainerRemoved` |
//! | quarantined, stopped, ended | - | `Started` | - | `ContainerRemoved` |
//!
//! By exit, for a unit with `--auto-restart` (others are observed: `Ended`):
//!
//! | end | what follows | in a row |
//! | --- | --- | --- |
//! | after a person's SIGTERM, SIGINT or `docker stop` | `Stopped` | - |
//! | 0, and nobody asked for it | restart after the backoff | +1 |
//! | 0, 137, 143, 255 while the engine was away, for whatever reason | restart at once, not counted | as before |
//! | 0 of a `--dry-run` | `Ended` | - |
//! | 20 | restart after the base delay | 0 |
//! | 21, 64, 78, 125 to 128 | `Quarantined` | - |
//! | 137 with an out-of-memory kill, every other code, hung, not started | restart after the backoff | +1 |
//!
//! What a person orders is in [`command_rules`]: the order itself is a fact, and what it asks for goes the
//! way of every other call. A unit that is held is judged as ever, but nothing is done about it: `Ended`
//! instead of a restart, `HangDetected` instead of a stop.
//!
//! A unit beyond `--max-restarts`, failed more than ten times in a row, or beyond the budget of its window is
//! `Quarantined` instead. At most so many units are on their way up at once ([`rules`]); who is due meanwhile
//! waits, which costs nothing.

pub mod backoff;
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
pub mod policy;
pub mod reason;
pub mod record;
pub mod redact;
pub mod service_healing;
pub mod state;
pub mod unit;
