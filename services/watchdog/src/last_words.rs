//! The end of a log, read before the end of its run is judged. Never in the way: what cannot be read within
//! its deadline is noted as such.

use supervision::container::Container;
use supervision::evidence::{LINES, LastWords};

use crate::engine::Engine;

/// Read of one log at most: lines of any length may come.
const BYTES: usize = 65_536;

/// What a container that has ended said last; none for one that has not.
pub async fn read(engine: &Engine, container: &Container) -> Option<LastWords> {
    container.exit()?;
    let run = container.run.clone();
    let since = i32::try_from(container.began.0.div_euclid(1_000)).unwrap_or_default();
    let text = engine.logs(&run.container, since, LINES, BYTES).await;
    Some(match text {
        Ok(text) => LastWords::new(run, Ok(&text)),
        Err(error) => LastWords::new(run, Err(error.to_string())),
    })
}
