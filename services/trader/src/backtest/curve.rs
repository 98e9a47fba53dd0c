//! The equity over the years in a few thousand points: when there are too many, every second one goes.

use protocol::time::UtcMs;
use runtime::chart;
use runtime::exit_error::ExitError;

/// More than a picture has pixels.
const MAX_POINTS: usize = 8_192;

/// Points of a curve, evenly thinned.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct EquityCurve {
    points: Vec<(UtcMs, f64)>,
    newest: Option<(UtcMs, f64)>,
    /// Every so many points one is kept.
    stride: u64,
    points_added: u64,
}

impl Default for EquityCurve {
    fn default() -> Self {
        Self {
            points: Vec::new(),
            newest: None,
            stride: 1,
            points_added: 0,
        }
    }
}

impl EquityCurve {
    /// Takes the next point.
    pub(super) fn add(&mut self, at: UtcMs, equity: f64) {
        self.newest = Some((at, equity));
        if self.points_added.is_multiple_of(self.stride) {
            self.points.push((at, equity));
        }
        self.points_added += 1;
        if self.points.len() == MAX_POINTS {
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
    pub(super) fn render_png(&self, symbol: &str) -> Result<Vec<u8>, ExitError> {
        let title = format!("{symbol}, backtest");
        chart::equity_curve(&title, &self.points(), &[])
            .map_err(|error| ExitError::internal(error.to_string()))
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
    fn points_are_thinned_evenly_and_both_ends_are_kept() {
        for count in [0, 1, 2, 8_191, 8_192, 8_193, 100_000_i64] {
            let mut curve = EquityCurve::default();
            for n in 0..count {
                curve.add(UtcMs(n), 1.0);
            }
            let points = curve.points();
            assert!(points.len() <= MAX_POINTS, "{count}: {}", points.len());
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
