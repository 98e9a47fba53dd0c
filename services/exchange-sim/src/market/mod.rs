//! A market: a source of base candles, advanced to exchange time, with a store of candles per contract.

mod price_changes;
mod prices;
pub mod replay;
pub mod synthetic;

use std::collections::HashMap;

use crate::candle::Candle;
use crate::candle_store::{CandleRange, CandleStore};
use crate::interval::Interval;
use crate::symbols::Contract;
use crate::trading::record::PriceChange;
use price_changes::PriceChanges;
use replay::{Recording, ReplaySource};
use synthetic::SyntheticSource;

/// Source of base candles.
enum Source {
    Synthetic(Box<SyntheticSource>),
    Replay(ReplaySource),
}

/// All listed contracts up to a time.
pub struct Market {
    listed: Vec<&'static Contract>,
    /// Index of each listed contract by symbol.
    indexes: HashMap<&'static str, usize>,
    changes: PriceChanges,
    base: Interval,
    source: Source,
    candle_stores: Vec<CandleStore>,
    /// The open base candles, one per contract; empty after the end of the source.
    forming: Vec<Candle>,
    identity: String,
    opens_ms: i64,
    ends_ms: Option<i64>,
}

impl Market {
    /// A synthetic market of a seed, without end.
    pub fn synthetic(seed: u64, listed: Vec<&'static Contract>) -> Self {
        let source = Source::Synthetic(Box::new(SyntheticSource::new(seed, &listed)));
        let mut market = Self {
            candle_stores: listed
                .iter()
                .map(|c| {
                    if c.is_generated {
                        CandleStore::small(Interval::M1)
                    } else {
                        CandleStore::new(Interval::M1)
                    }
                })
                .collect(),
            indexes: indexes(&listed),
            changes: PriceChanges::default(),
            listed,
            base: Interval::M1,
            source,
            forming: Vec::new(),
            identity: format!("synthetic, seed {seed}, generator {}", synthetic::GENERATOR),
            opens_ms: synthetic::OPENS_MS,
            ends_ms: None,
        };
        market.load_next_candles();
        market
    }

    /// A market that replays a recording, and opens when its first `warmup` candles have closed.
    pub fn replay(recording: Recording, contract: &'static Contract, warmup: usize) -> Self {
        let base = recording.base();
        let mut market = Self {
            indexes: indexes(&[contract]),
            changes: PriceChanges::default(),
            listed: vec![contract],
            base,
            candle_stores: vec![CandleStore::new(base)],
            forming: Vec::new(),
            identity: recording.identity(contract),
            opens_ms: recording.opens_ms(warmup),
            ends_ms: Some(recording.ends_ms()),
            source: Source::Replay(recording.into_source()),
        };
        market.load_next_candles();
        market
    }

    /// Identity of the market: markets with the same identity have equal candles.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Exchange time at which a fresh market opens, UTC ms.
    pub const fn opens_ms(&self) -> i64 {
        self.opens_ms
    }

    /// End of the market, UTC ms; `None` for no end.
    pub const fn ends_ms(&self) -> Option<i64> {
        self.ends_ms
    }

    /// Interval of the candles from which all longer ones are built.
    pub const fn base(&self) -> Interval {
        self.base
    }

    /// Contracts that this market has prices for.
    pub fn listed(&self) -> &[&'static Contract] {
        &self.listed
    }

    /// Index of a listed contract; `None` if it is not listed.
    pub fn contract_index(&self, symbol: &str) -> Option<usize> {
        self.indexes.get(symbol).copied()
    }

    /// Whether candles of `interval` can be built.
    pub fn has_interval(&self, interval: Interval) -> bool {
        self.candle_stores
            .first()
            .is_some_and(|b| b.has_interval(interval))
    }

    /// Closes all base candles that end by `now_ms`.
    pub fn advance(&mut self, now_ms: i64) {
        while let Some(first) = self.forming.first() {
            if first.open_time + self.base.ms() > now_ms {
                return;
            }
            for (book, candle) in self.candle_stores.iter_mut().zip(&self.forming) {
                book.push(candle);
            }
            self.load_next_candles();
        }
    }

    /// Candles of the contract at an index as of `now_ms`, the open one last.
    pub fn candles(
        &self,
        position: usize,
        interval: Interval,
        span: &CandleRange,
        now_ms: i64,
    ) -> Vec<Candle> {
        let forming = self.forming_candle(position, now_ms);
        self.candle_stores
            .get(position)
            .map_or_else(Vec::new, |book| {
                book.candles(interval, span, forming.as_ref())
            })
    }

    /// Candles of the contract at an index that closed after `after_ms`, oldest first.
    pub fn closed_after(&self, position: usize, interval: Interval, after_ms: i64) -> Vec<Candle> {
        self.candle_stores
            .get(position)
            .map_or_else(Vec::new, |book| book.closed_after(interval, after_ms))
    }

    /// The open candle at `now_ms`; `None` after the end of the source.
    pub fn running_candle(
        &self,
        position: usize,
        interval: Interval,
        now_ms: i64,
    ) -> Option<Candle> {
        let forming = self.forming_candle(position, now_ms)?;
        self.candle_stores
            .get(position)?
            .running_candle(interval, Some(&forming))
    }

    /// The complete base candle of a time, including its future part.
    fn base_candle_at(&self, position: usize, time: i64) -> Option<&Candle> {
        let forming = self.forming.get(position);
        forming
            .filter(|c| c.open_time <= time)
            .or_else(|| self.candle_stores.get(position)?.base_candle_at(time))
    }

    fn forming_candle(&self, position: usize, now_ms: i64) -> Option<Candle> {
        let candle = self.forming.get(position)?;
        let contract = self.listed.get(position)?;
        let elapsed = now_ms - candle.open_time;
        Some(candle.at_elapsed(elapsed, self.base.ms(), contract.tick, contract.step))
    }

    fn load_next_candles(&mut self) {
        match &mut self.source {
            Source::Synthetic(generator) => generator.next_minute(&mut self.forming),
            Source::Replay(player) => {
                self.forming.clear();
                self.forming.extend(player.next());
            }
        }
        for (candle, contract) in self.forming.iter_mut().zip(&self.listed) {
            self.changes.move_candle(contract, candle);
        }
    }

    /// Open time of the next base candle, UTC ms.
    pub fn next_open_ms(&self, now_ms: i64) -> i64 {
        self.base.bucket(now_ms) + self.base.ms()
    }

    /// Applies a change of prices or symbols.
    pub fn change_prices(&mut self, change: &PriceChange) {
        if let PriceChange::Rename { symbol, to } = change
            && let Some(index) = self.contract_index(symbol)
            && let Some(contract) = self.listed.get_mut(index)
        {
            *contract = contract.renamed(to);
            self.indexes = indexes(&self.listed);
        }
        self.changes.add(change);
        // At a high speed, the first candle after the gap may have been loaded since the gap was recorded.
        if let PriceChange::Gap {
            symbol,
            from_ms,
            factor,
        } = change
            && let Some(index) = self.contract_index(symbol)
            && let (Some(contract), Some(candle)) =
                (self.listed.get(index), self.forming.get_mut(index))
            && candle.open_time >= *from_ms
        {
            price_changes::move_by(contract, candle, *factor);
        }
    }
}

fn indexes(listed: &[&'static Contract]) -> HashMap<&'static str, usize> {
    let with_index = listed.iter().enumerate();
    with_index.map(|(index, c)| (c.symbol, index)).collect()
}
