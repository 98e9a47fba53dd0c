//! Makes the brain's calls to the engine, each in a task of its own, and looks at what came of it.
//! Never trusts an answer: what counts is what an inspection shows afterwards.

use std::time::Duration;

use protocol::ids::Token;
use supervision::act::Action;
use supervision::container::{Container, Run};
use supervision::ending::is_urgent;
use supervision::evidence::LastWords;
use tokio::task::{Id, JoinError, JoinSet};

use crate::engine::{Engine, EngineError};
use crate::{facts, last_words};

/// The calls under way: at most one for each unit, which the brain sees to.
pub struct Hands {
    engine: Engine,
    tasks: JoinSet<Done>,
    units: Vec<(Id, Token)>,
}

/// A call that has ended.
#[derive(Debug)]
pub struct Done {
    /// For whom.
    pub unit: Token,
    /// What an inspection showed afterwards.
    pub after: After,
    /// The end of its log, if it has ended.
    pub words: Option<LastWords>,
    /// Why the call failed, if so.
    pub error: Option<String>,
}

/// What is there after a call.
#[derive(Debug)]
pub enum After {
    /// This container.
    Here(Container),
    /// None any more.
    Removed(String),
    /// Nobody knows: everything must be looked at anew.
    Unknown,
}

impl Hands {
    /// Idle.
    pub fn new(engine: Engine) -> Self {
        Self {
            engine,
            tasks: JoinSet::new(),
            units: Vec::new(),
        }
    }

    /// Begins a call.
    pub fn begin(&mut self, unit: Token, action: Action) {
        let engine = self.engine.clone();
        let name = unit.clone();
        let handle = self.tasks.spawn(async move {
            let error = call(&engine, &action).await.err();
            let id = match &action {
                Action::Start { run } | Action::Stop { run, .. } => &run.container,
            };
            let after = look(&engine, id).await;
            let words = match &after {
                After::Here(container) if !is_urgent(container) => {
                    last_words::read(&engine, container).await
                }
                // Where a restart may follow at once the eye reads them, behind that.
                After::Here(_) | After::Removed(_) | After::Unknown => None,
            };
            Done {
                unit,
                after,
                words,
                error,
            }
        });
        self.units.push((handle.id(), name));
    }

    /// The next call that ends; never, while none is under way.
    pub async fn ended(&mut self) -> Done {
        match self.tasks.join_next_with_id().await {
            None => std::future::pending().await,
            Some(ended) => self.settle(ended),
        }
    }

    fn settle(&mut self, ended: Result<(Id, Done), JoinError>) -> Done {
        let (id, done) = match ended {
            Ok((id, done)) => (id, Ok(done)),
            Err(error) => (error.id(), Err(error)),
        };
        let place = self.units.iter().position(|(known, _)| *known == id);
        let unit = place.map(|place| self.units.swap_remove(place).1);
        match (done, unit) {
            (Ok(done), _) => done,
            // A panic of ours leaves the unit as unknown as an engine that hangs up.
            (Err(error), unit) => Done {
                unit: unit.unwrap_or_else(|| unreachable!("every call has a unit")),
                after: After::Unknown,
                words: None,
                error: Some(format!("bug: {error}")),
            },
        }
    }
}

async fn call(engine: &Engine, action: &Action) -> Result<(), String> {
    match action {
        Action::Start { run } => engine
            .start(&run.container)
            .await
            .map_err(|error| error.to_string()),
        Action::Stop { run, grace_ms } => stop(engine, run, Duration::from_millis(*grace_ms)).await,
    }
}

/// SIGTERM with its grace, then SIGKILL by the engine, then SIGKILL by us. A run that is no longer
/// there is left alone.
async fn stop(engine: &Engine, run: &Run, grace: Duration) -> Result<(), String> {
    if !still_runs(engine, run).await {
        return Ok(());
    }
    if let Err(error) = engine.stop(&run.container, grace).await {
        tracing::warn!(container = run.container, %error, "stopping failed; killing");
        if let Err(error) = engine.kill(&run.container).await {
            tracing::warn!(container = run.container, %error, "killing failed");
        }
    }
    if still_runs(engine, run).await {
        return Err("it survives SIGKILL, or the engine does not carry it out".to_owned());
    }
    Ok(())
}

/// An engine that does not say counts as yes: then the call is made again later.
async fn still_runs(engine: &Engine, run: &Run) -> bool {
    match look(engine, &run.container).await {
        After::Here(container) => container.run == *run && container.lives(),
        After::Removed(_) => false,
        After::Unknown => true,
    }
}

async fn look(engine: &Engine, id: &str) -> After {
    match engine.inspect(id).await.map(facts::read) {
        Ok(Ok((_, container))) => After::Here(container),
        Err(EngineError::NoSuchContainer) => After::Removed(id.to_owned()),
        Ok(Err(_))
        | Err(EngineError::Refused(_) | EngineError::Away(_) | EngineError::Unreached(_)) => {
            After::Unknown
        }
    }
}
