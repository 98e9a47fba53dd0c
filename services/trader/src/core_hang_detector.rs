//! Finds a book whose brain does not return, halts that book alone, and ends the process: a thread that is held
//! can be freed in no other way. It is a plain thread with a bus connection of its own, because a brain that
//! does not return may hold everything else of the process.
//!
//! The halt is a record in the book's journal behind the last one that the book knows. If that is not the last
//! one any more, the book got on or is another's: then it is refused, and nothing is halted.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use protocol::exit_code::ExitCode;
use protocol::ids::SubjectToken;
use protocol::subject::Subject;
use runtime::bus::{Bus, BusError, BusSettings};
use runtime::journal::Journal;
use runtime::process::{ExitError, print_error};
use tokio::time::timeout;
use trader_core::book::BookRecord;

use crate::core_calls::{InFlightCall, InFlightCalls};

const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// A call seen at so many looks in a row does not return: 10 s, where an honest one takes milliseconds. Looks
/// are counted, not time, because a process that was frozen or got no CPU made none either.
const MAX_MISSES: u32 = 40;
/// How long the halt may take to be stored. A bus that is away must not keep the process.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// What the thread needs of the rest.
pub struct CoreHangDetector {
    /// The calls to look at; it ends with them.
    pub calls: Weak<InFlightCalls>,
    /// Where journals are.
    pub bus: BusSettings,
    /// This run of the process: the writer of its books' journals.
    pub boot: SubjectToken,
}

impl CoreHangDetector {
    /// Looks from now on, on a thread of its own.
    ///
    /// # Errors
    /// Exit 70 if there can be no thread.
    pub fn start(self) -> Result<(), ExitError> {
        let began = thread::Builder::new()
            .name("hang-detector".to_owned())
            .spawn(move || self.run());
        began
            .map(|_| ())
            .map_err(|error| ExitError::internal(format!("cannot start a thread: {error}")))
    }

    fn run(self) {
        let mut misses = MissCounter::default();
        loop {
            thread::sleep(POLL_INTERVAL);
            let Some(calls) = self.calls.upgrade() else {
                return;
            };
            let hung = misses.count_misses(calls.in_flight());
            if !hung.is_empty() {
                self.end_process(&calls, &hung);
            }
        }
    }

    /// Leaves word of each and ends the process, unless they have all returned meanwhile.
    #[allow(
        clippy::disallowed_methods,
        reason = "a thread that is held cannot be waited for: there is no way out through main"
    )]
    fn end_process(&self, calls: &Arc<InFlightCalls>, hung: &BTreeMap<u64, InFlightCall>) {
        for call in hung.values() {
            tracing::error!(book = %call.book, limit = ?POLL_INTERVAL * MAX_MISSES,
                "a call to this book's brain does not return: halting the book, ending the process");
            match self.halt_book(call) {
                Ok(()) => tracing::error!(book = %call.book, "book halted in its journal"),
                Err(why) => tracing::error!(book = %call.book, why, "book not halted"),
            }
        }
        let running = calls.in_flight();
        if hung.keys().any(|number| running.contains_key(number)) {
            print_error(
                "a book's brain does not return (see the log): ending, so that the others go on",
            );
            std::process::exit(ExitCode::Internal.number().into());
        }
        tracing::warn!("it has returned after all");
    }

    fn halt_book(&self, call: &InFlightCall) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        runtime.block_on(async {
            timeout(STORE_TIMEOUT, self.append_halt(call))
                .await
                .map_err(|_| format!("the bus does not answer within {STORE_TIMEOUT:?}"))?
        })
    }

    async fn append_halt(&self, call: &InFlightCall) -> Result<(), String> {
        let bus = Bus::try_connect(&self.bus)
            .await
            .map_err(|refusal: BusError| refusal.into_exit_error().message)?;
        let subject = Subject::BookJournal(call.book.clone());
        let mut journal = Journal::from_last_seq(&bus, &subject, self.boot.clone(), call.last_seq);
        let records = [BookRecord::BookHalted {
            reason: halt_reason(),
        }];
        let stored = journal.append(&records, 0, |why| tracing::warn!(why, "not stored yet"));
        stored.await.map(|_| ()).map_err(|error| error.to_string())
    }
}

fn halt_reason() -> String {
    format!(
        "bug: a call to its brain did not return within {} s",
        (POLL_INTERVAL * MAX_MISSES).as_secs()
    )
}

/// At how many looks in a row each call was seen.
#[derive(Debug, Default)]
struct MissCounter {
    misses: BTreeMap<u64, u32>,
}

impl MissCounter {
    /// Takes in one look. Returns the calls that do not return.
    fn count_misses(
        &mut self,
        under_way: BTreeMap<u64, InFlightCall>,
    ) -> BTreeMap<u64, InFlightCall> {
        self.misses
            .retain(|number, _| under_way.contains_key(number));
        for number in under_way.keys() {
            *self.misses.entry(*number).or_default() += 1;
        }
        let is_hung = |number: &u64| {
            self.misses
                .get(number)
                .is_some_and(|looks| *looks >= MAX_MISSES)
        };
        under_way
            .into_iter()
            .filter(|(number, _)| is_hung(number))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_flight(numbers: &[u64]) -> BTreeMap<u64, InFlightCall> {
        let call = |number: &u64| {
            let call = InFlightCall {
                book: "paper.venue.account.BTCUSDT".parse().unwrap(),
                last_seq: 7,
            };
            (*number, call)
        };
        numbers.iter().map(call).collect()
    }

    #[test]
    fn call_that_is_in_flight_at_every_poll_is_hung() {
        let mut patience = MissCounter::default();
        for other in 1..MAX_MISSES {
            // One book's call stays, another book is in a new one at each look.
            let stuck = patience.count_misses(in_flight(&[1, 1 + u64::from(other)]));
            assert!(stuck.is_empty(), "after {other} looks");
        }
        let stuck = patience.count_misses(in_flight(&[1, 99]));
        assert_eq!(stuck.into_keys().collect::<Vec<_>>(), [1]);
        assert!(patience.count_misses(in_flight(&[99])).is_empty());
        assert!(
            patience.count_misses(in_flight(&[1])).is_empty(),
            "it was away in between"
        );
    }
}
