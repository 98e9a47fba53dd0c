//! `--dry-run`: every check that a start would make, as a table, and the exit code that it would
//! earn. Nothing is traded, claimed or written.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::candle::Interval;
use engine::rules::SymbolRules;
use protocol::exit::ExitCode;
use protocol::ids::{Mode, Token};
use protocol::trader_args::TraderArgs;
use runtime::bus::{Bus, Refusal};
use runtime::clock;
use runtime::process::Stop;
use tokio::time::timeout;

use crate::market::{Market, MarketError};
use crate::settings::Settings;
use crate::start;

/// Any one check.
const DEADLINE: Duration = Duration::from_secs(10);
/// A wall clock this far from the exchange's is worth a word.
const SKEW: Duration = Duration::from_secs(1);

/// How a check went, by the exit code it earns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grade {
    Pass,
    Warn,
    /// A dependency is missing: 69.
    Missing,
    /// Cannot heal by itself: 78.
    Fail,
}

struct Check {
    name: &'static str,
    grade: Grade,
    finding: String,
}

impl Check {
    const fn new(grade: Grade, name: &'static str, finding: String) -> Self {
        Self {
            name,
            grade,
            finding,
        }
    }
}

/// Runs every check and prints the table.
///
/// # Errors
/// Exit 64 or 78 when the command line or the settings are refused before any check.
pub async fn run(args: TraderArgs) -> Result<ExitCode, Stop> {
    start::check_mode(&args)?;
    let settings = Settings::from_env()?;
    let config = start::book_config(&settings)?;
    let account = settings.account(args.mode())?;
    let market = start::market(&settings)?;
    let mut checks = vec![pass(
        "settings",
        format!(
            "{account}, {} symbols, slice {} USDT, leverage {}",
            settings.symbols.len(),
            settings.slice(),
            config.leverage
        ),
    )];
    checks.extend(exchange(&market, &settings, args.mode()).await);
    checks.extend(bus(&settings).await);
    print(&checks);
    Ok(verdict(&checks))
}

fn verdict(checks: &[Check]) -> ExitCode {
    let has = |grade| checks.iter().any(|check| check.grade == grade);
    if has(Grade::Fail) {
        ExitCode::Config
    } else if has(Grade::Missing) {
        ExitCode::Unavailable
    } else {
        ExitCode::Done
    }
}

async fn exchange(market: &Market, settings: &Settings, mode: Mode) -> Vec<Check> {
    let url = &settings.rest_url;
    let before = clock::now();
    let now = match within(market.server_time()).await {
        Ok(now) => now,
        Err(error) => {
            return vec![failed(
                "exchange",
                &format!("BINANCE_REST_URL={url}"),
                &error,
            )];
        }
    };
    let mut checks = vec![pass(
        "exchange",
        format!("{url} answers, its time is {now}"),
    )];
    let skew = now.since(before).max(before.since(now));
    checks.push(match (skew > SKEW, mode) {
        (false, _) => pass(
            "clock",
            format!("{} ms from the exchange's", skew.as_millis()),
        ),
        (true, Mode::Paper) => warn(
            "clock",
            format!("{skew:?} from the exchange's: right only for a simulated exchange"),
        ),
        (true, Mode::Live) => Check::new(
            Grade::Fail,
            "clock",
            format!("{skew:?} from the exchange's: set the host's clock (NTP)"),
        ),
    });
    match within(market.rules(&settings.symbols)).await {
        Ok(rules) => {
            checks.push(symbols(settings, &rules));
            for symbol in rules.keys() {
                checks.push(candles(market, symbol, now).await);
            }
        }
        Err(error) => checks.push(failed("symbols", "SYMBOLS", &error)),
    }
    checks
}

fn symbols(settings: &Settings, rules: &BTreeMap<Token, SymbolRules>) -> Check {
    match start::check_slice(settings, rules) {
        Ok(()) => pass("symbols", format!("{} known, slice is enough", rules.len())),
        Err(stop) => Check::new(Grade::Fail, "symbols", stop.message),
    }
}

async fn candles(market: &Market, symbol: &Token, now: protocol::time::UtcMs) -> Check {
    let base = Interval::M1;
    match within(market.closed_klines(symbol, base, None, 2, now)).await {
        Err(error) => failed("candles", symbol.as_str(), &error),
        Ok(candles) => match candles.last() {
            None => warn("candles", format!("{symbol}: the exchange has none yet")),
            Some(last) => {
                let age = now.since(base.close_of(last.open_time));
                let finding = format!("{symbol}: newest closed {} s ago", age.as_secs());
                if age > 3 * Duration::from_mins(1) {
                    warn("candles", format!("{finding}: is the market halted?"))
                } else {
                    pass("candles", finding)
                }
            }
        },
    }
}

async fn bus(settings: &Settings) -> Vec<Check> {
    let url = &settings.bus.nats_url;
    let bus = match timeout(DEADLINE, Bus::try_connect(&settings.bus)).await {
        Ok(Ok(bus)) => bus,
        Ok(Err(refusal)) => return vec![refused("bus", &refusal)],
        Err(_) => {
            return vec![Check::new(
                Grade::Missing,
                "bus",
                format!("{url}: no answer within {DEADLINE:?}"),
            )];
        }
    };
    let mut checks = vec![pass("bus", format!("{url} answers"))];
    checks.push(match bus.verify_streams(&start::STREAMS).await {
        Ok(()) => pass("streams", "all there, as they must be".to_owned()),
        Err(refusal) => refused("streams", &refusal),
    });
    checks
}

async fn within<T>(call: impl Future<Output = Result<T, MarketError>>) -> Result<T, MarketError> {
    timeout(DEADLINE, call).await.unwrap_or_else(|_| {
        Err(MarketError::Retry {
            what: "exchange",
            reason: format!("no answer within {DEADLINE:?}"),
            after: None,
        })
    })
}

fn failed(name: &'static str, about: &str, error: &MarketError) -> Check {
    let finding = format!("{about}: {error}");
    match error {
        MarketError::Retry { .. } => Check::new(Grade::Missing, name, finding),
        MarketError::Refused { .. } => Check::new(Grade::Fail, name, finding),
        MarketError::UnknownSymbol { .. } => Check::new(Grade::Fail, name, error.to_string()),
    }
}

fn refused(name: &'static str, refusal: &Refusal) -> Check {
    let grade = match refusal {
        Refusal::Wait(_) => Grade::Missing,
        Refusal::Final(_) => Grade::Fail,
    };
    Check::new(grade, name, refusal.to_string())
}

fn pass(name: &'static str, finding: String) -> Check {
    Check::new(Grade::Pass, name, finding)
}

fn warn(name: &'static str, finding: String) -> Check {
    Check::new(Grade::Warn, name, finding)
}

#[allow(clippy::print_stdout, reason = "the table is this command's answer")]
fn print(checks: &[Check]) {
    for check in checks {
        let grade = match check.grade {
            Grade::Pass => "pass",
            Grade::Warn => "warn",
            Grade::Missing | Grade::Fail => "FAIL",
        };
        println!("{grade}  {:<9} {}", check.name, check.finding);
    }
    let code = verdict(checks);
    let next = match code {
        ExitCode::Done => "ready to start",
        ExitCode::Unavailable => "start what is missing, then try again",
        _ => "mend what failed, then try again",
    };
    println!("{next} (exit {})", code.number());
}
