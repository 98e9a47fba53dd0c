//! Downsampling: of each pixel column only the first, lowest, highest and last point are drawn, because no other would be
//! visible.

use protocol::time::UtcMs;

use super::{Marker, MarkerKind};

/// Times that labels can show: 1970 to 9999.
const DRAWABLE_TIMES: std::ops::RangeInclusive<i64> = 0..=253_402_300_799_999;
/// Largest amount that is drawn; a double above it cannot represent cents.
const MAX_AMOUNT: f64 = 1e14;

/// The points that can be drawn, in order of time.
pub(super) fn drawable_points(points: &[(UtcMs, f64)]) -> Vec<(i64, f64)> {
    let drawable = |(at, amount): &&(UtcMs, f64)| {
        amount.is_finite() && amount.abs() <= MAX_AMOUNT && DRAWABLE_TIMES.contains(&at.0)
    };
    let usable = points.iter().filter(drawable);
    let mut usable: Vec<_> = usable.map(|(at, amount)| (at.0, *amount)).collect();
    usable.sort_by_key(|(at, _)| *at);
    usable
}

/// The points of each column that are visible: first, lowest, highest and last. Expects at least one point.
pub(super) fn downsample(points: &[(i64, f64)], columns: u32) -> Vec<(i64, f64)> {
    let mut drawn = Vec::new();
    let column = column_mapping(points, columns);
    for group in points.chunk_by(|a, b| column(a.0) == column(b.0)) {
        let by_amount = |a: &usize, b: &usize| group[*a].1.total_cmp(&group[*b].1);
        let lowest = (0..group.len()).min_by(by_amount).unwrap_or(0);
        let highest = (0..group.len()).max_by(by_amount).unwrap_or(0);
        let mut seen = [0, lowest, highest, group.len() - 1];
        seen.sort_unstable();
        let mut before = None;
        for index in seen {
            if before != Some(index) {
                drawn.push(group[index]);
            }
            before = Some(index);
        }
    }
    drawn
}

/// Positions of the markers on the curve: one of each kind in each column. Markers outside the curve are left out.
pub(super) fn place_markers(
    points: &[(i64, f64)],
    markers: &[Marker],
    columns: u32,
) -> Vec<((i64, f64), MarkerKind)> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return Vec::new();
    };
    let column = column_mapping(points, columns);
    let mut markers: Vec<Marker> = markers
        .iter()
        .filter(|marker| (first.0..=last.0).contains(&marker.at.0))
        .copied()
        .collect();
    markers.sort_by_key(|marker| {
        (
            column(marker.at.0),
            marker.kind == MarkerKind::Loss,
            marker.at,
        )
    });
    markers.dedup_by_key(|marker| (column(marker.at.0), marker.kind == MarkerKind::Loss));
    let on_curve = |marker: Marker| {
        let behind = points.partition_point(|(at, _)| *at <= marker.at.0);
        // Not before the first, so that there is one.
        let amount = points[behind.saturating_sub(1)].1;
        ((marker.at.0, amount), marker.kind)
    };
    markers.into_iter().map(on_curve).collect()
}

fn column_mapping(points: &[(i64, f64)], columns: u32) -> impl Fn(i64) -> i64 + use<> {
    let from = points.first().map_or(0, |first| first.0);
    let to = points.last().map_or(0, |last| last.0);
    let span = (to - from).max(1);
    move |at| (at - from) * i64::from(columns) / span
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downsampling_keeps_spikes_and_bounds_the_number_of_points() {
        let amount = |at| match at {
            77_777 => 999.0,
            33_333 => -999.0,
            _ => 100.0,
        };
        let points: Vec<_> = (0..100_000).map(|at| (at, amount(at))).collect();
        let seen = downsample(&points, 800);
        assert!(seen.len() <= 4 * 801, "{}", seen.len());
        for spike in [
            (77_777, 999.0),
            (33_333, -999.0),
            (0, 100.0),
            (99_999, 100.0),
        ] {
            assert!(seen.contains(&spike), "{spike:?}");
        }
        assert!(seen.is_sorted_by_key(|(at, _)| *at));
    }

    #[test]
    fn downsampling_keeps_few_points() {
        for points in [vec![(5, 1.0)], vec![(5, 1.0), (6, 2.0), (9, 1.5)]] {
            assert_eq!(downsample(&points, 800), points);
        }
        assert_eq!(downsample(&[(5, 1.0), (5, 2.0), (5, 1.5)], 800).len(), 3);
    }

    #[test]
    fn marker_off_the_curve_is_left_out() {
        let points = [(1_000, 1.0), (2_000, 2.0), (3_000, 3.0)];
        let at = |ms, kind| Marker {
            at: UtcMs(ms),
            kind,
        };
        let markers = [
            at(999, MarkerKind::Gain),
            at(2_500, MarkerKind::Loss),
            at(2_500, MarkerKind::Loss),
            at(2_500, MarkerKind::Gain),
            at(3_001, MarkerKind::Loss),
            at(i64::MIN, MarkerKind::Loss),
        ];
        let found = place_markers(&points, &markers, 800);
        let expected = [
            ((2_500, 2.0), MarkerKind::Gain),
            ((2_500, 2.0), MarkerKind::Loss),
        ];
        assert_eq!(found, expected);
        assert!(place_markers(&[], &markers, 800).is_empty());
        let many: Vec<_> = (1_000..3_000).map(|ms| at(ms, MarkerKind::Gain)).collect();
        assert!(place_markers(&points, &many, 100).len() <= 101);
    }
}
