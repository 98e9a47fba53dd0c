//! The equity over the years in a few thousand points: when there are too many, every second one goes.

use protocol::time::UtcMs;
use runtime::chart;
use runtime::process::Stop;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

/// More than a picture has pixels.
const MOST: usize = 8_192;

/// Points of a curve, evenly thinned.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Curve {
    points: Vec<(UtcMs, f64)>,
    newest: Option<(UtcMs, f64)>,
    /// Every so many points one is kept.
    stride: u64,
    seen: u64,
}

impl Default for Curve {
    fn default() -> Self {
        Self {
            points: Vec::new(),
            newest: None,
            stride: 1,
            seen: 0,
        }
    }
}

impl Curve {
    /// Takes the next point.
    pub(super) fn take(&mut self, at: UtcMs, equity: Decimal) {
        // A picture leaves out what is no number.
        let equity = equity.to_f64().unwrap_or(f64::NAN);
        self.newest = Some((at, equity));
        if self.seen.is_multiple_of(self.stride) {
            self.points.push((at, equity));
        }
        self.seen += 1;
        if self.points.len() == MOST {
            self.stride *= 2;
            let mut index = 0;
            self.points.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
    }

    /// What was kept as a PNG.
    ///
    /// # Errors
    /// Exit 70: a bug in what draws.
    pub(super) fn picture(&self, symbol: &str) -> Result<Vec<u8>, Stop> {
        let title = format!("{symbol}, backtest");
        chart::equity_curve(&title, &self.points(), &[])
            .map_err(|error| Stop::internal(error.to_string()))
    }

    /// What was kept, and the newest point.
    fn points(&self) -> Vec<(UtcMs, f64)> {
        let mut points = self.points.clone();
        if points.last() != self.newest.as_ref() {
            points.extend(self.newest);
        }
        points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_points_become_few_evenly_with_both_ends() {
        for count in [0, 1, 2, 8_191, 8_192, 8_193, 100_000_i64] {
            let mut curve = Curve::default();
            for n in 0..count {
                curve.take(UtcMs(n), Decimal::ONE);
            }
            let points = curve.points();
            assert!(points.len() <= MOST, "{count}: {}", points.len());
            assert_eq!(points.first().map(|p| p.0.0), (count > 0).then_some(0));
            assert_eq!(
                points.last().map(|p| p.0.0),
                (count > 0).then_some(count - 1)
            );
            let steps: Vec<i64> = points.windows(2).map(|p| p[1].0.0 - p[0].0.0).collect();
            let even = steps.first().copied().unwrap_or(0);
            assert!(steps.iter().rev().skip(1).all(|s| *s == even), "{count}");
        }
    }
}
