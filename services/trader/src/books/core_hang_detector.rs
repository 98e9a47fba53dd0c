//! Detects a call to `trader_core` that does not return, halts its book and ends the process, because a blocked thread
//! cannot be freed in any other way. The detector is a plain thread with a bus connection of its own, because the
//! call may block everything else of the process.
//!
//! The halt is a record in the book's journal behind the last one that the book knows. If that is not the last one
//! any more, the book has continued or another process has it: the append is fenced, and nothing is halted.

use std::sync::Weak;
use std::time::Duration;

use protocol::duration::format_duration;
use protocol::exit_code::ExitCode;
use protocol::ids::SubjectToken;
use protocol::subject::Subject;
use runtime::bus::{Bus, BusError, BusSettings};
use runtime::exit_error::ExitError;
use runtime::hang_detector::{HangDetector, HangLimits};
use runtime::journal::Journal;
use runtime::process::print_error;
use tokio::time::timeout;
use trader_core::book::BookRecord;

use super::core_calls::{InFlightCall, InFlightCalls};

/// A call that is in flight at so many polls in a row is hung: 10 s, where a normal call takes milliseconds.
const LIMITS: HangLimits = HangLimits {
    poll_interval: Duration::from_millis(250),
    max_misses: 40,
};
/// How long storing the halt may take. An unavailable bus must not keep the process alive.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// The inputs of the detector's thread.
pub struct CoreHangDetector {
    /// The calls to watch; the thread ends when they are dropped.
    pub calls: Weak<InFlightCalls>,
    /// The bus that holds the journals.
    pub bus: BusSettings,
    /// This process's boot: the writer of the books' journals.
    pub boot: SubjectToken,
}

impl CoreHangDetector {
    /// Starts the detector on a thread of its own.
    ///
    /// # Errors
    /// Exit 70 if the thread cannot be started.
    pub fn start(self) -> Result<(), ExitError> {
        let calls = self.calls.clone();
        // A call makes no progress until it returns; its number is that of no other call.
        let progress = move || {
            let in_flight = calls.upgrade()?.in_flight();
            Some(in_flight.into_keys().map(|number| (number, 0)).collect())
        };
        HangDetector::new(LIMITS).spawn(progress, move |hung| {
            if let Some(calls) = self.calls.upgrade() {
                self.end_process(&calls, &hung);
            }
        })
    }

    /// Halts the book of each hung call and ends the process, unless all calls have returned meanwhile.
    #[allow(
        clippy::disallowed_methods,
        reason = "a blocked thread cannot be joined, so main cannot return"
    )]
    fn end_process(&self, calls: &InFlightCalls, hung: &[u64]) {
        let in_flight = calls.in_flight();
        for call in hung.iter().filter_map(|number| in_flight.get(number)) {
            tracing::error!(book = %call.book, limit = %format_duration(LIMITS.duration()),
                "core call timed out; halting the book and exiting");
            match self.halt_book(call) {
                Ok(()) => tracing::error!(book = %call.book, "halt journaled"),
                Err(error) => tracing::error!(book = %call.book, error, "halt not journaled"),
            }
        }
        let running = calls.in_flight();
        if hung.iter().any(|number| running.contains_key(number)) {
            print_error(
                "a decision of a book did not return (see the log); exiting, so that the other books can continue",
            );
            std::process::exit(ExitCode::Internal.number().into());
        }
        tracing::warn!("core call returned late");
    }

    fn halt_book(&self, call: &InFlightCall) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        runtime.block_on(async {
            timeout(STORE_TIMEOUT, self.append_halt(call))
                .await
                .map_err(|_| format!("no answer from the bus within {STORE_TIMEOUT:?}"))?
        })
    }

    async fn append_halt(&self, call: &InFlightCall) -> Result<(), String> {
        let bus = Bus::try_connect(&self.bus)
            .await
            .map_err(|error: BusError| error.into_exit_error().message)?;
        let subject = Subject::BookJournal(call.book.clone());
        let mut journal = Journal::from_last_seq(&bus, &subject, self.boot.clone(), call.last_seq);
        let records = [BookRecord::BookHalted {
            reason: halt_reason(),
        }];
        let stored = journal.append(&records, 0, |error| {
            tracing::warn!(error, "halt not stored yet");
        });
        stored.await.map(|_| ()).map_err(|error| error.to_string())
    }
}

fn halt_reason() -> String {
    format!(
        "bug: a decision did not return within {}",
        format_duration(LIMITS.duration())
    )
}
