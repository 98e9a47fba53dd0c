//! What this instance knows of its account, and how fresh that is. Books ask before they enter; a latch
//! makes them close what is open, and then ends the process with 21.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use engine::book::Leave;
use protocol::exit::ExitCode;
use protocol::heartbeat::Phase;
use protocol::ids::Token;
use protocol::report::{AccountReport, PauseReport};
use protocol::subject::Subject;
use runtime::process::Stop;
use runtime::{clock, streams};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::{gate, operator};
use crate::context::Context;

const LOOK: Duration = Duration::from_secs(1);
/// A report older than this gives no leave.
const FRESH: Duration = Duration::from_mins(1);
/// How long a starting book waits for the account's state.
const KNOWN_WITHIN: Duration = Duration::from_secs(5);
/// How long books on paper may take to close what is open. On an exchange it is not left until it is closed:
/// nobody else would look after it.
const CLOSE_WITHIN: Duration = Duration::from_mins(1);

/// The newest report, and when it was first seen: two clocks are never compared.
#[derive(Debug, Clone)]
pub struct Standing {
    seq: u64,
    /// What the keeper says.
    pub report: AccountReport,
    seen: Instant,
    /// The last operator's word that we know of.
    word: u64,
}

impl Standing {
    fn leave(&self, symbol: &Token, now: Instant) -> Leave {
        if self.report.latch.is_some() {
            return Leave::Latched;
        }
        if !self.is_known(now) {
            return Leave::Unknown;
        }
        let pauses = |pause: &PauseReport| pause.symbol.as_ref().is_none_or(|s| s == symbol);
        if self.report.pauses.iter().any(pauses) {
            return Leave::Paused;
        }
        Leave::Given {
            seq: self.report.seq,
        }
    }

    fn is_known(&self, now: Instant) -> bool {
        self.report.unknown.is_empty()
            && self.report.words >= self.word
            && now.duration_since(self.seen) <= FRESH
    }
}

/// Where books ask.
#[derive(Debug)]
pub struct Watch {
    standing: watch::Sender<Option<Standing>>,
    /// The latch that this process began with, to close what it left open.
    begun_with: OnceLock<String>,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            standing: watch::Sender::new(None),
            begun_with: OnceLock::new(),
        }
    }
}

impl Watch {
    /// This process only closes what this latch left open, whatever is said later.
    pub fn begin_with(&self, latch: &str) {
        let _ = self.begun_with.set(latch.to_owned());
    }

    /// Whether this symbol's book may enter now.
    pub fn leave(&self, symbol: &Token) -> Leave {
        if self.begun_with.get().is_some() {
            return Leave::Latched;
        }
        let standing = self.standing.borrow();
        let now = Instant::now();
        let leave = standing.as_ref().map(|s| s.leave(symbol, now));
        leave.unwrap_or(Leave::Unknown)
    }

    /// The latch that closes the account, as far as is known.
    fn latch(&self) -> Option<String> {
        let heard = self.standing().and_then(|s| s.report.latch);
        heard
            .map(|l| l.id)
            .or_else(|| self.begun_with.get().cloned())
    }

    /// The newest report.
    pub fn standing(&self) -> Option<Standing> {
        self.standing.borrow().clone()
    }

    /// Waits until the account is latched.
    pub async fn latched(&self) {
        if self.begun_with.get().is_some() {
            return;
        }
        let mut standing = self.standing.subscribe();
        let latched = |s: &Option<Standing>| s.as_ref().is_some_and(|s| s.report.latch.is_some());
        if standing.wait_for(latched).await.is_err() {
            // The sender is ours: it lives as long as we do.
            std::future::pending::<()>().await;
        }
    }

    /// Takes in what the keeper said. One that is read again is no fresher; nor is the first, if by our
    /// wall clock it is old: its keeper may be gone. `word` is the operators' last that we know of.
    pub(super) fn heard(&self, seq: u64, report: AccountReport, word: u64) {
        self.standing.send_if_modified(|standing| {
            let known = standing.as_ref().map(|s| s.seq);
            let word = standing.as_ref().map_or(word, |s| s.word.max(word));
            if known.is_some_and(|known| known >= seq) {
                return false;
            }
            let now = Instant::now();
            let age = clock::now().since(report.at);
            let seen = match known {
                None => now.checked_sub(age).unwrap_or(now),
                Some(_) => now,
            };
            *standing = Some(Standing {
                seq,
                report,
                seen,
                word,
            });
            true
        });
    }

    /// Takes in that an operator's word of this sequence is there. A report from before it gives no
    /// leave: it might be what stops us.
    fn said(&self, word: u64) {
        self.standing.send_if_modified(|standing| {
            let news = standing.as_mut().filter(|s| s.word < word);
            news.map(|standing| standing.word = word).is_some()
        });
    }

    /// Waits until something is known of the account, but not for long: who then knows nothing does not
    /// enter.
    pub async fn known(&self) {
        if self.begun_with.get().is_some() {
            return;
        }
        let mut standing = self.standing.subscribe();
        let now = Instant::now();
        let known = |s: &Option<Standing>| {
            let latched_or_known = |s: &Standing| s.report.latch.is_some() || s.is_known(now);
            s.as_ref().is_some_and(latched_or_known)
        };
        if timeout(KNOWN_WITHIN, standing.wait_for(known))
            .await
            .is_err()
        {
            tracing::warn!("nothing is known of the account yet: no entries until it is");
        }
    }
}

/// Follows the keeper's reports until `stop`, or until the account is latched and nothing is open here.
///
/// # Errors
/// Exit 21 after a latch.
pub async fn run(ctx: Arc<Context>, stop: CancellationToken) -> Result<(), Stop> {
    let part = ctx.progress.part("account");
    part.turns_within(LOOK * 30);
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut latched: Option<Instant> = None;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Err(why) = look(&ctx).await {
            // The bus is away: what we know grows old by itself.
            tracing::debug!(why, "account's report not read");
        }
        part.turn();
        if let Some(latch) = ctx.standing.latch() {
            let since = *latched.get_or_insert_with(Instant::now);
            let closed = is_closed(&ctx) && nothing_left_behind(&ctx).await;
            if may_end(closed, ctx.venue.is_some(), since.elapsed()) {
                return Err(halted(&ctx, &latch));
            }
        }
    }
    Ok(())
}

/// Whether a process of a latched account has nothing more to do.
fn may_end(closed: bool, on_an_exchange: bool, waited: Duration) -> bool {
    closed || (!on_an_exchange && waited > CLOSE_WITHIN)
}

/// No other process of this account that died, or is about to, left a book open that comes to us once its lease has
/// expired. While the bus does not tell, one may have.
async fn nothing_left_behind(ctx: &Context) -> bool {
    let open = gate::open_books(&ctx.bus, &ctx.account).await;
    let ours = |symbol: &String| ctx.rules.keys().any(|known| known.as_str() == symbol);
    open.is_ok_and(|open| !open.iter().any(ours))
}

/// Nothing is open here, and no book is still on its way to us.
fn is_closed(ctx: &Context) -> bool {
    ctx.progress.phase() != Phase::Starting && ctx.board.nothing_open()
}

/// One look at the operators' last word, and then at the keeper's report. In this order: no report is
/// trusted before it is known which word it must have heard.
async fn look(ctx: &Context) -> Result<(), String> {
    let words = Subject::OperatorJournal(ctx.account.clone()).to_string();
    let word = ctx.bus.newest(streams::JOURNAL, &words).await?;
    let word = word.map_or(0, |newest| newest.seq);
    ctx.standing.said(word);
    let reports = Subject::AccountReport(ctx.account.clone()).to_string();
    let Some(newest) = ctx.bus.newest(streams::REPORTS, &reports).await? else {
        return Ok(());
    };
    match serde_json::from_slice(&newest.payload) {
        Ok(report) => hear(ctx, newest.seq, report, word).await,
        Err(error) => ctx.progress.error("account", format!("report: {error}")),
    }
    Ok(())
}

/// A latch that an operator has ended counts no more, though the keeper may not have said so yet.
async fn hear(ctx: &Context, seq: u64, report: AccountReport, word: u64) {
    if let Some(latch) = &report.latch
        && operator::ends(ctx, &latch.id).await
    {
        return;
    }
    ctx.standing.heard(seq, report, word);
}

fn halted(ctx: &Context, latch: &str) -> Stop {
    let rest = if ctx.board.nothing_open() {
        "everything is closed"
    } else {
        "some positions could not be closed"
    };
    Stop::new(
        ExitCode::CriticalHalt,
        format!(
            "account {} is latched ({latch}), {rest}; when it is understood: trader unlatch --latch \
             {latch} --why REASON",
            ctx.account
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::report::LatchReport;
    use protocol::time::UtcMs;
    use rust_decimal::Decimal;

    fn report() -> AccountReport {
        AccountReport {
            v: 1,
            at: clock::now(),
            instance: "trader-paper-1".parse().unwrap(),
            seq: 9,
            equity: Decimal::ONE,
            peak: Decimal::ONE,
            day_peak: Decimal::ONE,
            latch: None,
            unknown: Vec::new(),
            words: 5,
            pauses: Vec::new(),
        }
    }

    fn symbol(name: &str) -> Token {
        name.parse().unwrap()
    }

    #[test]
    fn leave_needs_a_fresh_report_of_an_account_that_is_known_and_not_latched() {
        let now = Instant::now();
        let standing = |report| Standing {
            seq: 1,
            report,
            seen: now,
            word: 5,
        };
        let good = standing(report());
        assert_eq!(
            good.leave(&symbol("BTCUSDT"), now + FRESH),
            Leave::Given { seq: 9 }
        );
        let late = now + FRESH + Duration::from_millis(1);
        assert_eq!(good.leave(&symbol("BTCUSDT"), late), Leave::Unknown);
        let unknown = standing(AccountReport {
            unknown: vec!["BTCUSDT".parse().unwrap()],
            ..report()
        });
        assert_eq!(unknown.leave(&symbol("BTCUSDT"), now), Leave::Unknown);
        let latched = standing(AccountReport {
            latch: Some(LatchReport {
                id: "drawdown-1".to_owned(),
                breaker: "drawdown".to_owned(),
                at: UtcMs(1),
            }),
            ..report()
        });
        assert_eq!(
            latched.leave(&symbol("BTCUSDT"), late),
            Leave::Latched,
            "however old"
        );
        let unheard = standing(AccountReport {
            words: 4,
            ..report()
        });
        assert_eq!(unheard.leave(&symbol("BTCUSDT"), now), Leave::Unknown);
        let paused = standing(AccountReport {
            pauses: vec![PauseReport {
                symbol: Some(symbol("BTCUSDT")),
                who: "operator".to_owned(),
                why: "a test".to_owned(),
            }],
            ..report()
        });
        assert_eq!(paused.leave(&symbol("BTCUSDT"), now), Leave::Paused);
        let other = paused.leave(&symbol("ETHUSDT"), now);
        assert_eq!(other, Leave::Given { seq: 9 });
        assert_eq!(Watch::default().leave(&symbol("BTCUSDT")), Leave::Unknown);
    }

    #[tokio::test]
    async fn who_begins_to_close_lets_nobody_in_whatever_is_said_later() {
        let watch = Watch::default();
        watch.begin_with("operator-1");
        watch.heard(4, report(), 5);
        assert_eq!(watch.leave(&symbol("BTCUSDT")), Leave::Latched);
        assert_eq!(watch.latch().as_deref(), Some("operator-1"));
        timeout(Duration::from_secs(1), watch.latched())
            .await
            .unwrap();
    }

    #[test]
    fn on_an_exchange_nobody_leaves_before_all_is_closed() {
        let day = Duration::from_hours(24);
        assert!(may_end(true, true, Duration::ZERO));
        assert!(!may_end(false, true, day));
        assert!(!may_end(false, false, CLOSE_WITHIN));
        assert!(may_end(false, false, day));
    }

    #[test]
    fn a_report_that_is_read_again_is_no_fresher() {
        let watch = Watch::default();
        let old = AccountReport {
            at: UtcMs(0),
            ..report()
        };
        watch.heard(4, old.clone(), 5);
        assert_eq!(
            watch.leave(&symbol("BTCUSDT")),
            Leave::Unknown,
            "who knows whether its keeper lives"
        );
        watch.heard(5, old, 5);
        assert_eq!(
            watch.leave(&symbol("BTCUSDT")),
            Leave::Given { seq: 9 },
            "it does"
        );
        let watch = Watch::default();
        watch.heard(5, report(), 5);
        assert_eq!(watch.leave(&symbol("BTCUSDT")), Leave::Given { seq: 9 });
        let first = watch.standing().unwrap().seen;
        watch.heard(5, report(), 5);
        assert_eq!(watch.standing().unwrap().seen, first);
        watch.heard(6, report(), 5);
        assert!(watch.standing().unwrap().seen >= first);
        assert_eq!(watch.standing().unwrap().seq, 6);
    }
}
