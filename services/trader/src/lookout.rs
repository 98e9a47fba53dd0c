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

use engine::book::BookRecord;
use protocol::exit::ExitCode;
use protocol::ids::Token;
use protocol::subject::Subject;
use runtime::bus::{Bus, BusSettings, Refusal};
use runtime::journal::Journal;
use runtime::process::{Stop, complain};
use tokio::time::timeout;

use crate::calls::{Call, Calls};

const LOOK: Duration = Duration::from_millis(250);
/// A call seen at so many looks in a row does not return: 10 s, where an honest one takes milliseconds. Looks
/// are counted, not time, because a process that was frozen or got no CPU made none either.
const LOOKS: u32 = 40;
/// How long the halt may take to be stored. A bus that is away must not keep the process.
const STORED_WITHIN: Duration = Duration::from_secs(5);

/// What the thread needs of the rest.
pub struct Lookout {
    /// The calls to look at; it ends with them.
    pub calls: Weak<Calls>,
    /// Where journals are.
    pub bus: BusSettings,
    /// This run of the process: the writer of its books' journals.
    pub boot: Token,
}

impl Lookout {
    /// Looks from now on, on a thread of its own.
    ///
    /// # Errors
    /// Exit 70 if there can be no thread.
    pub fn begin(self) -> Result<(), Stop> {
        let began = thread::Builder::new()
            .name("lookout".to_owned())
            .spawn(move || self.look_until_the_end());
        began
            .map(|_| ())
            .map_err(|error| Stop::internal(format!("cannot start a thread: {error}")))
    }

    fn look_until_the_end(self) {
        let mut patience = Patience::default();
        loop {
            thread::sleep(LOOK);
            let Some(calls) = self.calls.upgrade() else {
                return;
            };
            let stuck = patience.look(calls.under_way());
            if !stuck.is_empty() {
                self.end(&calls, &stuck);
            }
        }
    }

    /// Leaves word of each and ends the process, unless they have all returned meanwhile.
    #[allow(
        clippy::disallowed_methods,
        reason = "a thread that is held cannot be waited for: there is no way out through main"
    )]
    fn end(&self, calls: &Arc<Calls>, stuck: &BTreeMap<u64, Call>) {
        for call in stuck.values() {
            tracing::error!(book = %call.book, limit = ?LOOK * LOOKS,
                "a call to this book's brain does not return: halting the book, ending the process");
            match self.halt(call) {
                Ok(()) => tracing::error!(book = %call.book, "book halted in its journal"),
                Err(why) => tracing::error!(book = %call.book, why, "book not halted"),
            }
        }
        let running = calls.under_way();
        if stuck.keys().any(|number| running.contains_key(number)) {
            complain(
                "a book's brain does not return (see the log): ending, so that the others go on",
            );
            std::process::exit(ExitCode::Internal.number().into());
        }
        tracing::warn!("it has returned after all");
    }

    fn halt(&self, call: &Call) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        runtime.block_on(async {
            timeout(STORED_WITHIN, self.append_halt(call))
                .await
                .map_err(|_| format!("the bus does not answer within {STORED_WITHIN:?}"))?
        })
    }

    async fn append_halt(&self, call: &Call) -> Result<(), String> {
        let bus = Bus::try_connect(&self.bus)
            .await
            .map_err(|refusal: Refusal| refusal.into_stop().message)?;
        let subject = Subject::BookJournal(call.book.clone());
        let mut journal = Journal::behind(&bus, &subject, self.boot.clone(), call.last_seq);
        let records = [BookRecord::BookHalted { reason: reason() }];
        let stored = journal.append(&records, 0, |why| tracing::warn!(why, "not stored yet"));
        stored.await.map(|_| ()).map_err(|error| error.to_string())
    }
}

fn reason() -> String {
    format!(
        "bug: a call to its brain did not return within {} s",
        (LOOK * LOOKS).as_secs()
    )
}

/// At how many looks in a row each call was seen.
#[derive(Debug, Default)]
struct Patience {
    seen: BTreeMap<u64, u32>,
}

impl Patience {
    /// Takes in one look. Returns the calls that do not return.
    fn look(&mut self, under_way: BTreeMap<u64, Call>) -> BTreeMap<u64, Call> {
        self.seen.retain(|number, _| under_way.contains_key(number));
        for number in under_way.keys() {
            *self.seen.entry(*number).or_default() += 1;
        }
        let stuck = |number: &u64| self.seen.get(number).is_some_and(|looks| *looks >= LOOKS);
        under_way
            .into_iter()
            .filter(|(number, _)| stuck(number))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn under_way(numbers: &[u64]) -> BTreeMap<u64, Call> {
        let call = |number: &u64| {
            let call = Call {
                book: "paper.venue.account.BTCUSDT".parse().unwrap(),
                last_seq: 7,
            };
            (*number, call)
        };
        numbers.iter().map(call).collect()
    }

    #[test]
    fn only_one_and_the_same_call_seen_at_every_look_does_not_return() {
        let mut patience = Patience::default();
        for other in 1..LOOKS {
            // One book's call stays, another book is in a new one at each look.
            let stuck = patience.look(under_way(&[1, 1 + u64::from(other)]));
            assert!(stuck.is_empty(), "after {other} looks");
        }
        let stuck = patience.look(under_way(&[1, 99]));
        assert_eq!(stuck.into_keys().collect::<Vec<_>>(), [1]);
        assert!(patience.look(under_way(&[99])).is_empty());
        assert!(
            patience.look(under_way(&[1])).is_empty(),
            "it was away in between"
        );
    }
}
