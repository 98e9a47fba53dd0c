//! The account that the books of several processes share: one instance keeps it, every instance watches
//! what the keeper says. What follows from the figures is decided in the engine.

mod flatten;
mod found;
mod gate;
mod keeper;
mod operator;
mod retired;
mod watch;

pub use found::{InitArgs, run as init};
pub use gate::{check as check_latch, latch};
pub use keeper::run as keep;
pub use operator::{EntriesArgs, FlattenArgs, UnlatchArgs, flatten, pause, resume, unlatch};
pub(crate) use operator::{SaidArgs, read, store};
pub use watch::{Standing, Watch, run as watch};
