//! The symbols whose books this process manages: [`ManagedSymbols`].

use std::collections::BTreeSet;

use exchange::ExchangeError;
use protocol::ids::{AccountKey, SubjectToken};
use runtime::bus::Bus;
use runtime::exit_error::ExitError;
use trader_core::book::{BookPhase, BookState};

use super::start_calls::StartCalls;
use crate::books::book_journal::{account_books, read_book_state};
use crate::settings::Settings;

/// The symbols whose books this process manages.
#[derive(Debug, Default)]
pub struct ManagedSymbols {
    /// The symbols of the settings.
    pub traded: BTreeSet<SubjectToken>,
    /// Symbols that were removed from the settings while their book had a position: it is wound down.
    pub removed: BTreeSet<SubjectToken>,
    /// Whether a book of the account has a journal.
    pub has_journals: bool,
}

impl ManagedSymbols {
    /// Traded and removed symbols.
    pub fn all(&self) -> impl Iterator<Item = &SubjectToken> {
        self.traded.union(&self.removed)
    }
}

/// The symbols whose books this process manages; waits for the bus.
///
/// # Errors
/// Exit 0 on shutdown.
pub async fn find(
    calls: StartCalls<'_>,
    bus: &Bus,
    account: &AccountKey,
    settings: &Settings,
) -> Result<ManagedSymbols, ExitError> {
    let traded: BTreeSet<SubjectToken> = settings.symbols.iter().cloned().collect();
    let find = async || {
        let unavailable = |error: String| ExchangeError::retry("journals of the books", error);
        let books = account_books(bus, account).await.map_err(unavailable)?;
        let mut removed = BTreeSet::new();
        for key in books.iter().filter(|key| !traded.contains(&key.symbol)) {
            // A book whose journal cannot be read stays alone.
            let state = read_book_state(bus, key).await.unwrap_or_default();
            if has_position(&state) {
                removed.insert(key.symbol.clone());
            }
        }
        Ok((removed, !books.is_empty()))
    };
    let (removed, has_journals) = calls.until_ready(find).await?;
    for symbol in &removed {
        tracing::warn!(%symbol, "symbol removed from SYMBOLS with an open position; it is wound down");
    }
    Ok(ManagedSymbols {
        traded,
        removed,
        has_journals,
    })
}

fn has_position(state: &BookState) -> bool {
    state.position().is_some()
        || matches!(
            state.phase,
            BookPhase::EntryPending(_) | BookPhase::Halted { entry: Some(_), .. }
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removed_symbols_are_managed_beside_the_traded_ones() {
        let token = |name: &str| -> SubjectToken { name.parse().unwrap() };
        let managed = ManagedSymbols {
            traded: BTreeSet::from([token("BTCUSDT"), token("SOLUSDT")]),
            removed: BTreeSet::from([token("ETHUSDT")]),
            has_journals: true,
        };
        let names: Vec<&str> = managed.all().map(SubjectToken::as_str).collect();
        assert_eq!(names, ["BTCUSDT", "ETHUSDT", "SOLUSDT"]);
    }
}
