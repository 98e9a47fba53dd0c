//! Leverage, margin type, the account's modes and the asset of its fees before an entry: risk is computed with those that the start has set, and a
//! operator may have changed them since.

use std::time::Duration;

use protocol::time::UtcMs;
use tokio::time::timeout;
use trader_core::book::{BookPhase, DecisionInputs, EntryPermission};

use super::book::Book;

/// Longest wait for the settings: a signal is fresh for one candle only.
const DEADLINE: Duration = Duration::from_secs(3);

impl Book {
    /// What the decision on a signal depends on. Without the expected settings on the exchange no entry is permitted.
    pub(super) async fn entry_inputs(&mut self, known: UtcMs) -> DecisionInputs {
        let difference = self.settings_difference().await;
        let mut inputs = self.decision_inputs(self.exchange_time_or(known).await);
        if let Some(reason) = difference {
            tracing::warn!(symbol = %self.symbol, reason, "settings on the exchange are not the configured ones");
            if matches!(inputs.entry_permission, EntryPermission::Allowed { .. }) {
                inputs.entry_permission = EntryPermission::OtherSettings;
            }
        }
        inputs
    }

    /// What differs on the exchange, or why that is unknown; `None` if nothing differs, and for a book that cannot enter.
    async fn settings_difference(&self) -> Option<String> {
        let client = self.ctx.execution_client.as_ref()?;
        if self.state.phase != BookPhase::Flat {
            return None;
        }
        let difference = client.settings_difference(&self.symbol, self.ctx.leverage());
        match timeout(DEADLINE, difference).await {
            Ok(Ok(difference)) => difference,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {DEADLINE:?}")),
        }
    }

    /// Sets leverage and margin type again after an entry was refused for them, so that the next signal may enter. What
    /// prevents it, such as a operator's resting order, is reported; the next signal tries again.
    pub(super) async fn prepare_again(&mut self) {
        let Some(client) = self.ctx.execution_client.clone() else {
            return;
        };
        if self.state.phase != BookPhase::Flat {
            return;
        }
        let prepared = client.prepare_symbol(&self.symbol, self.ctx.leverage());
        match prepared.await {
            Ok(()) => {
                tracing::info!(symbol = %self.symbol, "margin type and leverage set again");
            }
            Err(error) => self.report_failure(&error.to_string()),
        }
    }
}
