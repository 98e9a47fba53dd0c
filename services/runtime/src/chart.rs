//! Equity curve as a PNG, for a message to the operator. The image is drawn at twice its size and averaged down, with an
//! embedded font, because images have none. The same input gives the same bytes. `ticks` places the labels, `downsample`
//! chooses the points.

mod downsample;
mod marker;
mod ticks;

use std::sync::OnceLock;

use plotters::backend::BitMapBackend;
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::coord::combinators::WithKeyPoints;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::coord::types::{RangedCoordf64, RangedCoordi64};
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{Circle, EmptyElement, PathElement, Text};
use plotters::prelude::{BindKeyPoints, Cartesian2d, DashedLineSeries, Ranged};
use plotters::series::AreaSeries;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{
    Color, FontStyle, IntoFont, RGBColor, ShapeStyle, TextStyle, WHITE, register_font,
};
use protocol::time::UtcMs;

pub use self::marker::{Marker, MarkerKind};
use self::ticks::Axis;

/// Width of the image in pixels.
pub const WIDTH: u32 = 800;
/// Height of the image in pixels.
pub const HEIGHT: u32 = 400;
/// Pixels drawn for each pixel of the image, in each direction.
const SUPERSAMPLING: u32 = 3;
/// Width of the title beside the newest amount, in pixels.
const TITLE_WIDTH: u32 = 540;
/// Largest number of characters of a title.
const TITLE_CHARS: usize = 200;

const FONT: &str = "ours";
const UP: RGBColor = RGBColor(14, 138, 104);
const DOWN: RGBColor = RGBColor(200, 60, 76);
const INK: RGBColor = RGBColor(32, 38, 46);
const FAINT: RGBColor = RGBColor(112, 120, 132);
const GRID: RGBColor = RGBColor(228, 231, 236);

type BitmapArea<'a> = DrawingArea<BitMapBackend<'a>, Shift>;
type PlotArea = Cartesian2d<WithKeyPoints<RangedCoordi64>, AmountLabels>;
type Chart<'a, 'b> = ChartContext<'a, BitMapBackend<'b>, PlotArea>;

/// Label writer; that of the library cannot be used from outside.
struct AmountLabels(WithKeyPoints<RangedCoordf64>);

impl Ranged for AmountLabels {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.0.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        self.0.key_points(hint)
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.0.range()
    }
}

/// Error of drawing: a bug here or in the library.
#[derive(Debug, thiserror::Error)]
#[error("chart: {0}")]
pub struct ChartError(String);

impl ChartError {
    fn new(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// Draws the curve of these points as a PNG of [`WIDTH`] by [`HEIGHT`]. Points may be in any order and number; values that
/// are no numbers and times outside the calendar are left out, and without any point the image says so. Takes tens of
/// milliseconds of processor time: not for the thread of an asynchronous task.
///
/// # Errors
/// [`ChartError`], which no input should cause.
pub fn equity_curve(
    title: &str,
    points: &[(UtcMs, f64)],
    markers: &[Marker],
) -> Result<Vec<u8>, ChartError> {
    load_font()?;
    let points = downsample::drawable_points(points);
    let (width, height) = (WIDTH * SUPERSAMPLING, HEIGHT * SUPERSAMPLING);
    let mut fine = vec![255; (width * height * 3) as usize];
    {
        let backend = BitMapBackend::with_buffer(&mut fine, (width, height));
        let canvas = backend.into_drawing_area();
        canvas.fill(&WHITE).map_err(ChartError::new)?;
        draw(&canvas, title, &points, markers)?;
        canvas.present().map_err(ChartError::new)?;
    }
    encode(&downscale(&fine))
}

fn load_font() -> Result<(), ChartError> {
    static LOADED: OnceLock<bool> = OnceLock::new();
    let load = || register_font(FONT, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT);
    if *LOADED.get_or_init(|| load().is_ok()) {
        Ok(())
    } else {
        Err(ChartError::new("bug: the font that came along is unusable"))
    }
}

fn text_style(size: u32, color: RGBColor, pos: Pos) -> TextStyle<'static> {
    (FONT, size * SUPERSAMPLING)
        .into_font()
        .color(&color)
        .pos(pos)
}

fn draw(
    canvas: &BitmapArea<'_>,
    title: &str,
    points: &[(i64, f64)],
    markers: &[Marker],
) -> Result<(), ChartError> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        draw_heading(canvas, title, "")?;
        let middle = Pos::new(HPos::Center, VPos::Center);
        let center = (midpoint(WIDTH), midpoint(HEIGHT));
        let placeholder = Text::new("no data yet", center, text_style(16, FAINT, middle));
        return canvas.draw(&placeholder).map_err(ChartError::new);
    };
    let color = if last.1 < first.1 { DOWN } else { UP };
    draw_heading(canvas, title, &ticks::format_span(first.0, last.0))?;
    draw_result(canvas, first.1, last.1, color)?;
    let across = ticks::time_axis(first.0, last.0);
    let up = ticks::amount_axis(points);
    let mut chart = plot_area(canvas, across, up)?;
    draw_curve(&mut chart, points, color)?;
    draw_markers(&mut chart, points, markers)
}

fn midpoint(length: u32) -> i32 {
    (length * SUPERSAMPLING / 2).cast_signed()
}

/// Draws the title and the time span.
fn draw_heading(canvas: &BitmapArea<'_>, title: &str, span: &str) -> Result<(), ChartError> {
    let left = |y: i32| {
        (
            24 * SUPERSAMPLING.cast_signed(),
            y * SUPERSAMPLING.cast_signed(),
        )
    };
    let top = Pos::new(HPos::Left, VPos::Top);
    let style = text_style(20, INK, top);
    let title = Text::new(shorten(one_line(title), &style), left(14), style);
    canvas.draw(&title).map_err(ChartError::new)?;
    let span = Text::new(span.to_owned(), left(40), text_style(13, FAINT, top));
    canvas.draw(&span).map_err(ChartError::new)
}

/// Draws the newest amount and its change since the first one.
fn draw_result(
    canvas: &BitmapArea<'_>,
    first: f64,
    last: f64,
    color: RGBColor,
) -> Result<(), ChartError> {
    let right = |y: i32| {
        (
            (WIDTH.cast_signed() - 24) * SUPERSAMPLING.cast_signed(),
            y * SUPERSAMPLING.cast_signed(),
        )
    };
    let top = Pos::new(HPos::Right, VPos::Top);
    let amount = Text::new(
        ticks::format_amount(last, 2),
        right(14),
        text_style(20, color, top),
    );
    canvas.draw(&amount).map_err(ChartError::new)?;
    let change = ticks::format_change(first, last);
    let change = Text::new(change, right(40), text_style(13, color, top));
    canvas.draw(&change).map_err(ChartError::new)
}

/// The title without line ends and control characters.
fn one_line(title: &str) -> String {
    let line = title.split_whitespace().collect::<Vec<_>>().join(" ");
    let clean = line.chars().filter(|c| !c.is_control());
    clean.take(TITLE_CHARS).collect()
}

/// The part of the title that fits.
fn shorten(mut title: String, style: &TextStyle<'_>) -> String {
    let fits = |text: &str| {
        let size = style.font.box_size(text);
        size.is_ok_and(|(width, _)| width <= TITLE_WIDTH * SUPERSAMPLING)
    };
    if fits(&title) {
        return title;
    }
    while title.pop().is_some() {
        let shorter = format!("{}…", title.trim_end());
        if fits(&shorter) {
            return shorter;
        }
    }
    title
}

/// Draws axes, grid and labels.
fn plot_area<'a, 'b>(
    canvas: &'a BitmapArea<'b>,
    across: Axis<i64>,
    up: Axis<f64>,
) -> Result<Chart<'a, 'b>, ChartError> {
    let across_range = (across.from..across.to).with_key_points(across.at);
    let up_range = AmountLabels((up.from..up.to).with_key_points(up.at));
    let mut chart = ChartBuilder::on(canvas)
        .margin_top(70 * SUPERSAMPLING)
        .margin_right(24 * SUPERSAMPLING)
        .margin_left(14 * SUPERSAMPLING)
        .margin_bottom(10 * SUPERSAMPLING)
        .x_label_area_size(28 * SUPERSAMPLING)
        .y_label_area_size(70 * SUPERSAMPLING)
        .build_cartesian_2d(across_range, up_range)
        .map_err(ChartError::new)?;
    let label = (FONT, 13 * SUPERSAMPLING).into_font().color(&FAINT);
    chart
        .configure_mesh()
        .bold_line_style(ShapeStyle::from(GRID).stroke_width(SUPERSAMPLING))
        .light_line_style(WHITE.mix(0.0))
        .axis_style(ShapeStyle::from(GRID).stroke_width(SUPERSAMPLING))
        .label_style(label)
        .x_label_formatter(&|ms| (across.label)(*ms))
        .y_label_formatter(&|amount| (up.label)(*amount))
        .draw()
        .map_err(ChartError::new)?;
    Ok(chart)
}

fn draw_curve(
    chart: &mut Chart<'_, '_>,
    points: &[(i64, f64)],
    color: RGBColor,
) -> Result<(), ChartError> {
    let floor = chart.y_range().start;
    let shown = downsample::downsample(points, WIDTH * SUPERSAMPLING);
    let area = AreaSeries::new(shown.iter().copied(), floor, color.mix(0.10));
    chart.draw_series(area).map_err(ChartError::new)?;
    if let [first, .., last] = shown.as_slice() {
        // Where it began: what is above it was won.
        let start = [(first.0, first.1), (last.0, first.1)];
        let (dash, gap) = (5 * SUPERSAMPLING, 4 * SUPERSAMPLING);
        let style = ShapeStyle::from(FAINT).stroke_width(SUPERSAMPLING);
        let start = DashedLineSeries::new(start, dash, gap, style);
        chart.draw_series(start).map_err(ChartError::new)?;
    }
    // Piece by piece: a path's own joints are spikes where it turns back sharply.
    let line = ShapeStyle::from(color).stroke_width(2 * SUPERSAMPLING);
    let pieces = shown.windows(2).map(|ends| PathElement::new(ends, line));
    chart.draw_series(pieces).map_err(ChartError::new)?;
    // The end of the line; the only thing to see of a single point.
    shown
        .last()
        .map_or(Ok(()), |last| draw_dot(chart, *last, color))
}

fn draw_markers(
    chart: &mut Chart<'_, '_>,
    points: &[(i64, f64)],
    markers: &[Marker],
) -> Result<(), ChartError> {
    for (at, kind) in downsample::place_markers(points, markers, WIDTH) {
        let color = match kind {
            MarkerKind::Gain => UP,
            MarkerKind::Loss => DOWN,
        };
        draw_dot(chart, at, color)?;
    }
    Ok(())
}

fn draw_dot(chart: &mut Chart<'_, '_>, at: (i64, f64), color: RGBColor) -> Result<(), ChartError> {
    let round =
        |radius: u32, color: RGBColor| Circle::new((0, 0), radius * SUPERSAMPLING, color.filled());
    let dot = EmptyElement::at(at) + round(4, WHITE) + round(3, color);
    chart
        .draw_series(std::iter::once(dot))
        .map_err(ChartError::new)?;
    Ok(())
}

/// Averages the drawn pixels of each pixel of the image.
fn downscale(fine: &[u8]) -> Vec<u8> {
    let (width, height, finer) = (WIDTH as usize, HEIGHT as usize, SUPERSAMPLING as usize);
    let at = |x: usize, y: usize, channel: usize| {
        usize::from(fine[(y * width * finer + x) * 3 + channel])
    };
    let mut pixels = Vec::with_capacity(width * height * 3);
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        for channel in 0..3 {
            let drawn = (0..finer).flat_map(|dy| (0..finer).map(move |dx| (dx, dy)));
            let sum: usize = drawn
                .map(|(dx, dy)| at(x * finer + dx, y * finer + dy, channel))
                .sum();
            // A mean of bytes is one.
            pixels.push(u8::try_from(sum / (finer * finer)).unwrap_or(u8::MAX));
        }
    }
    pixels
}

fn encode(pixels: &[u8]) -> Result<Vec<u8>, ChartError> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, WIDTH, HEIGHT);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(ChartError::new)?;
    writer.write_image_data(pixels).map_err(ChartError::new)?;
    writer.finish().map_err(ChartError::new)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const BEGIN: i64 = 1_764_000_000_000;
    const MINUTE: i64 = 60_000;

    /// A year of minutes that rises and falls without randomness.
    fn year() -> Vec<(UtcMs, f64)> {
        let wave = |i: i64| {
            let x = f64::from(i32::try_from(i).unwrap());
            10_000.0 + x / 400.0 + 600.0 * (x / 40_000.0).sin() + 150.0 * (x / 3_000.0).sin()
        };
        let minutes = 0..525_600;
        minutes
            .map(|i| (UtcMs(BEGIN + i * MINUTE), wave(i)))
            .collect()
    }

    struct Picture(Vec<u8>);

    impl Picture {
        fn read(file: &[u8]) -> Self {
            let mut reader = png::Decoder::new(std::io::Cursor::new(file))
                .read_info()
                .unwrap();
            let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
            let info = reader.next_frame(&mut pixels).unwrap();
            assert_eq!((info.width, info.height), (800, 400));
            assert_eq!(pixels.len(), 800 * 400 * 3);
            Self(pixels)
        }

        fn shows(&self, color: RGBColor) -> bool {
            let color = [color.0, color.1, color.2];
            self.0.chunks(3).any(|pixel| pixel == color)
        }

        fn colors(&self) -> usize {
            self.0.chunks(3).collect::<BTreeSet<_>>().len()
        }
    }

    fn draw(points: &[(UtcMs, f64)]) -> Picture {
        Picture::read(&equity_curve("paper, BTCUSDT", points, &[]).unwrap())
    }

    #[test]
    fn chart_of_a_year_of_minutes_is_small_and_deterministic() {
        let year = year();
        let file = equity_curve("a year", &year, &[]).unwrap();
        assert!(file.len() < 100_000, "{} bytes", file.len());
        let picture = Picture::read(&file);
        assert!(picture.shows(UP) && picture.colors() > 50);
        assert_eq!(equity_curve("a year", &year, &[]).unwrap(), file);
        let mut shuffled = year;
        shuffled.reverse();
        let again = equity_curve("a year", &shuffled, &[]).unwrap();
        assert!(again == file, "the order of the points is to be seen");
    }

    #[test]
    fn chart_shows_losses_gains_and_markers_in_their_colors() {
        let at = |i| UtcMs(BEGIN + i * MINUTE);
        let lost = [(at(0), 10_000.0), (at(60), 9_000.0)];
        assert!(draw(&lost).shows(DOWN) && !draw(&lost).shows(UP));
        let gain = Marker {
            at: at(30),
            kind: MarkerKind::Gain,
        };
        let with_gain = equity_curve("", &lost, &[gain]).unwrap();
        assert!(Picture::read(&with_gain).shows(UP));
    }

    #[test]
    fn chart_without_usable_points_says_so() {
        for points in [
            vec![],
            vec![(UtcMs(BEGIN), f64::NAN)],
            vec![(UtcMs(i64::MAX), 1.0), (UtcMs(i64::MIN), 1.0)],
            vec![(UtcMs(BEGIN), f64::INFINITY), (UtcMs(BEGIN), f64::MIN)],
        ] {
            let picture = draw(&points);
            assert!(picture.colors() > 10, "{points:?}");
            assert!(!picture.shows(UP) && !picture.shows(DOWN), "{points:?}");
        }
    }

    #[test]
    fn chart_draws_extreme_points() {
        let at = |ms| UtcMs(BEGIN + ms);
        for points in [
            vec![(at(0), 10_000.0)],
            vec![(at(0), 10_000.0), (at(0), 20_000.0)],
            vec![(at(0), 10_000.0), (at(MINUTE), 10_000.0)],
            vec![(at(0), 0.0), (at(1), 0.0)],
            vec![(at(0), -0.0), (at(1), f64::MIN_POSITIVE)],
            vec![
                (at(0), -5.0),
                (at(MINUTE), f64::NAN),
                (at(2 * MINUTE), -4.0),
            ],
            vec![(at(0), -1e14), (at(MINUTE), 1e14)],
            vec![(at(0), 1e14), (at(MINUTE), 1e14 + 0.1)],
            vec![(at(0), 1.0), (at(MINUTE), 1.0 + f64::EPSILON)],
            vec![(UtcMs(0), 1.0), (UtcMs(253_402_300_799_999), 2.0)],
        ] {
            assert!(draw(&points).shows(UP), "{points:?}");
        }
    }

    #[test]
    fn chart_title_is_one_line_that_fits() {
        assert_eq!(one_line(" a\n\tb \u{7} c "), "a b  c");
        load_font().unwrap();
        let style = text_style(20, INK, Pos::new(HPos::Left, VPos::Top));
        let short = "trader-paper-1, 3 books".to_owned();
        assert_eq!(shorten(short.clone(), &style), short);
        let long = shorten("W".repeat(TITLE_CHARS), &style);
        assert!(long.ends_with("W…") && long.len() < 60, "{long}");
        let titles = [String::new(), "💓 ünï ".repeat(500)];
        for title in titles {
            Picture::read(&equity_curve(&title, &[], &[]).unwrap());
        }
    }
}
