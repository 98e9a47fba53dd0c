//! Summarizes measured times: percentiles, minimum and maximum.

use std::fmt;
use std::time::Duration;

/// Percentiles, minimum and maximum of all runs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SpanStats {
    runs: usize,
    p50: Duration,
    p95: Duration,
    min: Duration,
    max: Duration,
}

impl SpanStats {
    /// Summarizes at least one span.
    pub(crate) fn from_spans(spans: impl IntoIterator<Item = Duration>) -> Self {
        let mut sorted: Vec<Duration> = spans.into_iter().collect();
        sorted.sort_unstable();
        Self {
            runs: sorted.len(),
            p50: percentile(&sorted, 50),
            p95: percentile(&sorted, 95),
            min: *sorted.first().unwrap(),
            max: *sorted.last().unwrap(),
        }
    }

    /// Heading of the columns that [`Display`](fmt::Display) prints.
    pub(crate) fn heading() -> String {
        let [runs, p50, p95, min, max] = ["runs", "p50", "p95", "min", "max"];
        format!("{runs:>6}{p50:>8}{p95:>8}{min:>8}{max:>8}")
    }
}

impl fmt::Display for SpanStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6}", self.runs)?;
        for span in [self.p50, self.p95, self.min, self.max] {
            write!(f, "{:>8}", span.as_millis())?;
        }
        Ok(())
    }
}

/// Percentile by nearest rank: a measured value, never an interpolated one.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted[rank - 1]
}

/// The span that `percent` percent of the sorted spans do not exceed.
pub(crate) fn rank(sorted: &[Duration], percent: usize) -> Duration {
    percentile(sorted, percent)
}

/// Formats a span in milliseconds with two decimals.
pub(crate) fn format_millis(span: Duration) -> String {
    format!("{:.2} ms", span.as_secs_f64() * 1_000.0)
}

/// `count` divided by `span`, per second.
pub(crate) fn per_second(count: usize, span: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap()) / span.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(span: u64) -> Duration {
        Duration::from_millis(span)
    }

    #[test]
    fn percentile_is_the_nearest_rank() {
        let summary = SpanStats::from_spans((1..=30).rev().map(ms));
        let expected = SpanStats {
            runs: 30,
            p50: ms(15),
            p95: ms(29),
            min: ms(1),
            max: ms(30),
        };
        assert_eq!(summary, expected);
    }

    #[test]
    fn single_span_is_every_percentile() {
        let summary = SpanStats::from_spans([ms(7)]);
        assert_eq!((summary.p50, summary.p95), (ms(7), ms(7)));
    }

    #[test]
    fn columns_are_as_wide_as_their_heading() {
        let summary = SpanStats::from_spans([ms(7)]);
        assert_eq!(summary.to_string().len(), SpanStats::heading().len());
    }
}
