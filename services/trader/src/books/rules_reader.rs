//! The task that reads the rules of the symbols again: hourly, each minute while a symbol cannot be traded, and at once
//! when the exchange has refused an order because of a filter.

use std::sync::Arc;
use std::time::Instant;

use exchange::Verdict;
use protocol::duration::format_duration;
use protocol::heartbeat::ComponentState;
use protocol::ids::SubjectToken;
use runtime::exit_error::ExitError;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::app::context::Context;

/// Name of the component in heartbeats.
const COMPONENT: &str = "rules-reader";

/// Reads the rules again until `shutdown`.
///
/// # Errors
/// Never.
pub async fn run(ctx: Arc<Context>, shutdown: CancellationToken) -> Result<(), ExitError> {
    let component = ctx.process_status.component(COMPONENT);
    let symbols: Vec<SubjectToken> = ctx.managed_symbols().cloned().collect();
    let rules = &ctx.symbol_rules;
    let mut verdict = Verdict::default();
    let mut wait = rules.read_interval();
    loop {
        let due = async {
            tokio::select! {
                () = sleep(wait) => {}
                () = rules.wanted() => {}
            }
        };
        if shutdown.run_until_cancelled(due).await.is_none() {
            return Ok(());
        }
        let read = ctx.data_client.symbol_listings(&symbols);
        match shutdown.run_until_cancelled(read).await {
            None => return Ok(()),
            Some(Ok(listings)) => {
                verdict.record_success();
                rules.update(listings);
                component.record_iteration();
                wait = rules.read_interval();
            }
            Some(Err(error)) => {
                wait = verdict.record_failure(&error, Instant::now());
                tracing::warn!(%error, wait = %format_duration(wait), "symbol rules not read");
                component.set_state(ComponentState::Retrying);
                ctx.process_status
                    .record_error(COMPONENT, error.to_string());
            }
        }
    }
}
