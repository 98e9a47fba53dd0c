//! Reads the balance on the exchange, what the journals of all books add up to, and the cash flows that are no book's. The
//! account leader judges what is read.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use exchange::ExecutionClient;
use protocol::heartbeat::ComponentState;
use protocol::ids::{BookKey, SubjectToken};
use protocol::time::UtcMs;
use runtime::components::ComponentHandle;
use tokio::time::sleep_until;
use trader_core::account::{BalanceSample, BalanceState, BookBalance, needs_cash_flows};
use trader_core::book::BookState;

use crate::app::context::Context;
use crate::books::book_journal::{account_books, fold_new_batches};

/// Number of samples within the grace of a difference.
const SAMPLES_IN_GRACE: u32 = 6;
/// Number of samples that follow each other ten times faster while there is no baseline.
const FIRST_SAMPLES: u32 = 10;
/// The cash flows are read with every so many samples, even if balance and books agree: two may add up to nothing.
const FLOWS_EVERY: u32 = 20;

type Reading<'a> =
    Pin<Box<dyn Future<Output = (BookJournals, Result<BalanceSample, String>)> + Send + 'a>>;

/// Samples the balance of a live account at an interval.
pub(super) struct BalanceSampler<'a> {
    ctx: &'a Context,
    client: Arc<dyn ExecutionClient>,
    component: Arc<ComponentHandle>,
    started_at: Instant,
    next_at: Instant,
    samples: u32,
    /// `None` while a reading uses them.
    journals: Option<BookJournals>,
    reading: Option<Reading<'a>>,
}

/// The journals of all books, folded as far as they were read.
#[derive(Default)]
struct BookJournals {
    books: BTreeMap<BookKey, (u64, BookState)>,
}

impl<'a> BalanceSampler<'a> {
    /// The sampler of a live account; `None` on paper, where no exchange has a balance.
    pub(super) fn start(ctx: &'a Context) -> Option<Self> {
        let client = ctx.execution_client.clone()?;
        let now = Instant::now();
        Some(Self {
            ctx,
            client,
            component: ctx.process_status.component("balance-check"),
            started_at: now,
            next_at: now,
            samples: 0,
            journals: Some(BookJournals::default()),
            reading: None,
        })
    }

    /// Waits for the next sample. Cancel-safe: a reading that has begun continues with the next call.
    pub(super) async fn next(&mut self, state: &BalanceState) -> BalanceSample {
        loop {
            if self.reading.is_none() {
                sleep_until(self.next_at.into()).await;
                self.next_at = Instant::now() + self.interval(state);
                if self.client.is_request_weight_scarce() {
                    continue;
                }
                self.begin_reading(state);
            }
            let Some(reading) = &mut self.reading else {
                continue;
            };
            let (journals, sample) = reading.await;
            (self.reading, self.journals) = (None, Some(journals));
            match sample {
                Ok(sample) => {
                    self.component.set_state(ComponentState::Ok);
                    self.component.record_iteration();
                    return sample;
                }
                Err(error) => {
                    self.component.set_state(ComponentState::Retrying);
                    tracing::warn!(error, "balance not compared with the books");
                    let status = &self.ctx.process_status;
                    status.record_error("balance-check", error);
                }
            }
        }
    }

    fn interval(&self, state: &BalanceState) -> Duration {
        let usual = self.ctx.balance_grace / SAMPLES_IN_GRACE;
        let is_first = state.baseline.is_none() && self.samples < FIRST_SAMPLES;
        if is_first { usual / 10 } else { usual }
    }

    fn begin_reading(&mut self, state: &BalanceState) {
        self.samples = self.samples.wrapping_add(1);
        let is_due = self.samples.is_multiple_of(FLOWS_EVERY);
        let reading = Request {
            ctx: self.ctx,
            client: Arc::clone(&self.client),
            started_at: self.started_at,
            state: state.clone(),
            is_flow_query_due: is_due,
        };
        let mut journals = self.journals.take().unwrap_or_default();
        self.reading = Some(Box::pin(async move {
            let sample = reading.run(&mut journals).await;
            (journals, sample)
        }));
    }
}

/// What one reading needs.
struct Request<'a> {
    ctx: &'a Context,
    client: Arc<dyn ExecutionClient>,
    started_at: Instant,
    state: BalanceState,
    is_flow_query_due: bool,
}

impl Request<'_> {
    async fn run(self, journals: &mut BookJournals) -> Result<BalanceSample, String> {
        let failed = |error: exchange::ExchangeError| error.to_string();
        journals.read(self.ctx).await?;
        let balance = self.client.wallet_balance().await.map_err(failed)?.balance;
        let at = self.client.now().await.map_err(failed)?;
        let books = journals.balances(at);
        let baseline = self.state.baseline.as_ref().map(|baseline| baseline.at);
        let is_needed = self.is_flow_query_due || needs_cash_flows(&self.state, balance, &books);
        let cash_flows = match baseline.filter(|_| is_needed) {
            // The list ends behind the reading: what is already on the balance may be dated a little later.
            Some(from) => {
                let until = UtcMs(at.0.saturating_add(millis(self.ctx.balance_grace)));
                let flows = self.client.cash_flows(from, until).await;
                flows.map_err(failed)?
            }
            None => Vec::new(),
        };
        Ok(BalanceSample {
            at,
            elapsed: self.started_at.elapsed(),
            grace: self.ctx.balance_grace,
            balance,
            books,
            cash_flows,
        })
    }
}

impl BookJournals {
    /// Folds what the journals have got since the last call.
    async fn read(&mut self, ctx: &Context) -> Result<(), String> {
        for key in account_books(&ctx.bus, &ctx.account).await? {
            let (seq, state) = self.books.entry(key.clone()).or_default();
            if let Err(error) = fold_new_batches(&ctx.bus, &key, seq, state).await {
                // A fold that has failed may have used a part of a batch.
                self.books.remove(&key);
                return Err(format!("journal of {key}: {error}"));
            }
        }
        Ok(())
    }

    fn balances(&self, now: UtcMs) -> BTreeMap<SubjectToken, BookBalance> {
        let books = self.books.iter();
        books
            .map(|(key, (_, state))| (key.symbol.clone(), BookBalance::of(state, now)))
            .collect()
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
