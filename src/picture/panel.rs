//! One chart: axes with units, a legend beside it, lines and marks. A document is rows of charts.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::element::DashedPathElement;
use plotters::prelude::*;

use super::PictureError;

/// The size of a chart with its legend, in pixels; a longer legend makes a higher chart.
const WIDTH: u32 = 620;
const HEIGHT: u32 = 300;
const LEGEND_WIDTH: u32 = 190;

/// Where a legend begins, and the height of a line of it.
const LEGEND_TOP: u32 = 42;
const LINE_HEIGHT: u32 = 18;

/// Characters that fit beside a legend's mark and above a chart, wide ones counted with narrow ones.
const LEGEND_CHARACTERS: usize = 27;
const TITLE_CHARACTERS: usize = 80;
const FONT: &str = "sans-serif";
const TITLE_SIZE: u32 = 15;
const TEXT_SIZE: u32 = 12;
const INK: RGBColor = RGBColor(60, 60, 60);

/// A colour of Okabe and Ito. Their yellow is left out: on white nobody reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
    Black,
    Orange,
    SkyBlue,
    Green,
    Blue,
    Vermillion,
    Purple,
}

impl Colour {
    const fn rgb(self) -> RGBColor {
        match self {
            Self::Black => RGBColor(0, 0, 0),
            Self::Orange => RGBColor(230, 159, 0),
            Self::SkyBlue => RGBColor(86, 180, 233),
            Self::Green => RGBColor(0, 158, 115),
            Self::Blue => RGBColor(0, 114, 178),
            Self::Vermillion => RGBColor(213, 94, 0),
            Self::Purple => RGBColor(204, 121, 167),
        }
    }

    /// One for each of any number of things, the best to tell apart first.
    pub(super) fn of(index: usize) -> Self {
        const ORDER: [Colour; 6] =
            [Colour::Vermillion, Colour::Blue, Colour::Green, Colour::Orange, Colour::Purple, Colour::SkyBlue];
        ORDER[index % ORDER.len()]
    }
}

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Line,
    Thick,
    Dashed,
    /// A line, with what lies below it shaded.
    Shaded,
    Dots,
    Triangles,
    Crosses,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) colour: Colour,
    pub(super) mark: Mark,
    pub(super) points: Vec<(f64, f64)>,
}

/// A chart; one without series says its title alone.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Panel {
    pub(super) title: String,
    /// With the unit.
    pub(super) x: String,
    pub(super) y: String,
    pub(super) series: Vec<Series>,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

/// The document with these rows of charts.
pub(super) fn document(rows: &[Vec<Panel>]) -> Result<String, PictureError> {
    let mut svg = String::new();
    draw(&mut svg, rows).map_err(|error| PictureError(error.to_string()))?;
    Ok(svg)
}

fn draw<'a>(svg: &'a mut String, rows: &[Vec<Panel>]) -> Drawn<'a> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(1).max(1);
    let heights: Vec<u32> =
        rows.iter().map(|row| row.iter().map(Panel::height).max().unwrap_or(0).max(HEIGHT)).collect();
    let size = (columns as u32 * WIDTH, heights.iter().sum::<u32>().max(HEIGHT));
    let root = SVGBackend::with_string(svg, size).into_drawing_area();
    root.fill(&WHITE)?;
    let mut below = root.clone();
    for (row, height) in rows.iter().zip(heights) {
        let (here, rest) = below.split_vertically(height);
        for (area, panel) in here.split_evenly((1, columns)).iter().zip(row) {
            panel.draw(area)?;
        }
        below = rest;
    }
    root.present()
}

impl Panel {
    fn draw<'a>(&self, area: &Area<'a>) -> Drawn<'a> {
        let title = (FONT, TITLE_SIZE).into_font().color(&INK);
        area.draw(&Text::new(shortened(&self.title), (10, 8), title))?;
        if self.series.is_empty() {
            return Ok(());
        }
        let (plot, legend) = area.split_horizontally(WIDTH - LEGEND_WIDTH);
        let (x_range, y_range) = (self.range(|point| point.0), self.range(|point| point.1));
        let (x_label, y_label) = (labeller(&x_range), labeller(&y_range));
        let mut chart = ChartBuilder::on(&plot)
            .margin_top(32)
            .margin_right(14)
            .margin_left(4)
            .margin_bottom(4)
            .x_label_area_size(36)
            .y_label_area_size(54)
            .build_cartesian_2d(x_range, y_range)?;
        let text = || (FONT, TEXT_SIZE).into_font().color(&INK);
        chart
            .configure_mesh()
            .x_desc(self.x.as_str())
            .y_desc(self.y.as_str())
            .x_labels(7)
            .y_labels(6)
            .x_label_formatter(&x_label)
            .y_label_formatter(&y_label)
            .max_light_lines(0)
            .bold_line_style(BLACK.mix(0.08))
            .axis_style(INK)
            .label_style(text())
            .axis_desc_style(text())
            .draw()?;
        for series in &self.series {
            series.draw(&mut chart)?;
        }
        let mut y = LEGEND_TOP as i32;
        for series in &self.series {
            series.draw_sample(&legend, y)?;
            for line in wrapped(&series.name) {
                legend.draw(&Text::new(line, (34, y - 6), text()))?;
                y += LINE_HEIGHT as i32;
            }
        }
        Ok(())
    }

    /// What the legend takes, in pixels.
    fn height(&self) -> u32 {
        let lines: usize = self.series.iter().map(|series| wrapped(&series.name).len()).sum();
        LEGEND_TOP + LINE_HEIGHT * lines as u32
    }

    /// From the least to the greatest finite value, with a little room on both sides.
    fn range(&self, of: fn(&(f64, f64)) -> f64) -> Range<f64> {
        let values = self.series.iter().flat_map(|series| &series.points).map(of).filter(|value| value.is_finite());
        let (low, high) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        let room = 0.03 * (high - low);
        match high - low {
            span if !span.is_finite() => 0.0..1.0,
            0.0 => low - 0.5..high + 0.5,
            // Shares begin at the axis.
            _ if low == 0.0 => 0.0..high + room,
            _ => low - room..high + room,
        }
    }
}

/// A title that ends where its chart does.
fn shortened(title: &str) -> String {
    if title.chars().count() <= TITLE_CHARACTERS {
        return title.to_owned();
    }
    title.chars().take(TITLE_CHARACTERS - 1).chain(['…']).collect()
}

/// A name in lines that fit into the legend, broken after a space or a hyphen where there is one.
fn wrapped(name: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest: Vec<char> = name.chars().collect();
    while rest.len() > LEGEND_CHARACTERS {
        let can_break = |&place: &usize| matches!(rest[place - 1], ' ' | '-');
        let end = (LEGEND_CHARACTERS / 2..=LEGEND_CHARACTERS).rev().find(can_break).unwrap_or(LEGEND_CHARACTERS);
        lines.push(rest.drain(..end).collect());
    }
    lines.push(rest.into_iter().collect());
    lines
}

/// Writes the numbers along an axis with as many decimals as tell them apart.
fn labeller(range: &Range<f64>) -> impl Fn(&f64) -> String + use<> {
    let magnitude = (range.end - range.start).log10();
    let decimals = (1.0 - magnitude).ceil().max(0.0) as usize;
    move |value| {
        // Not "-0".
        let value = value + 0.0;
        if (-3.0..6.0).contains(&magnitude) { format!("{value:.decimals$}") } else { format!("{value:.1e}") }
    }
}

impl Series {
    fn draw<'a>(&self, chart: &mut Chart<'_, 'a>) -> Drawn<'a> {
        let points = || self.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite());
        let colour = self.colour.rgb();
        match self.mark {
            Mark::Line | Mark::Thick => {
                chart.draw_series([PathElement::new(points().collect::<Vec<_>>(), self.stroke())])?
            }
            Mark::Dashed => chart.draw_series([DashedPathElement::new(points(), 10, 6, self.stroke())])?,
            Mark::Shaded => {
                let ends = [self.points.last(), self.points.first()].into_iter().flatten().map(|(x, _)| (*x, 0.0));
                let below: Vec<(f64, f64)> = points().chain(ends).collect();
                chart.draw_series([Polygon::new(below, colour.mix(0.18))])?;
                chart.draw_series([PathElement::new(points().collect::<Vec<_>>(), self.stroke())])?
            }
            Mark::Dots => chart.draw_series(points().map(|point| Circle::new(point, 3, self.fill())))?,
            Mark::Triangles => chart.draw_series(points().map(|point| TriangleMarker::new(point, 4, self.fill())))?,
            Mark::Crosses => chart.draw_series(points().map(|point| Cross::new(point, 3, self.stroke())))?,
        };
        Ok(())
    }

    /// What the series looks like, for the legend.
    fn draw_sample<'a>(&self, legend: &Area<'a>, y: i32) -> Drawn<'a> {
        let line = || vec![(6, y), (28, y)];
        match self.mark {
            Mark::Line | Mark::Thick => legend.draw(&PathElement::new(line(), self.stroke())),
            Mark::Dashed => legend.draw(&DashedPathElement::new(line(), 10, 6, self.stroke())),
            Mark::Shaded => {
                legend.draw(&Rectangle::new([(6, y - 5), (28, y + 5)], self.colour.rgb().mix(0.18).filled()))?;
                legend.draw(&Rectangle::new([(6, y - 5), (28, y + 5)], self.stroke()))
            }
            Mark::Dots => legend.draw(&Circle::new((17, y), 4, self.fill())),
            Mark::Triangles => legend.draw(&TriangleMarker::new((17, y), 5, self.fill())),
            Mark::Crosses => legend.draw(&Cross::new((17, y), 4, self.stroke())),
        }
    }

    fn stroke(&self) -> ShapeStyle {
        self.colour.rgb().stroke_width(if self.mark == Mark::Thick { 3 } else { 2 })
    }

    fn fill(&self) -> ShapeStyle {
        self.colour.rgb().mix(0.6).filled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(marks: &[Mark]) -> Panel {
        let series = |(index, mark): (usize, &Mark)| Series {
            name: format!("a & <b> {index}"),
            colour: Colour::of(index),
            mark: *mark,
            points: vec![(0.0, 1.0), (f64::NAN, 2.0), (1.0, f64::INFINITY), (2.0, 3.0)],
        };
        Panel {
            title: "A title".to_owned(),
            x: "length (m)".to_owned(),
            y: "time (s)".to_owned(),
            series: marks.iter().enumerate().map(series).collect(),
        }
    }

    const ALL: [Mark; 7] =
        [Mark::Line, Mark::Thick, Mark::Dashed, Mark::Shaded, Mark::Dots, Mark::Triangles, Mark::Crosses];

    #[test]
    fn a_chart_says_what_it_shows() {
        let svg = document(&[vec![panel(&ALL)]]).unwrap();
        for text in ["A title", "length (m)", "time (s)", "a &amp; &lt;b&gt; 5"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert!(svg.contains(r#"width="620" height="300""#), "{svg}");
    }

    #[test]
    fn rows_and_columns_have_their_places() {
        let row = vec![panel(&ALL), panel(&[])];
        assert!(document(&[row.clone(), row]).unwrap().contains(r#"width="1240" height="600""#));
        assert!(document(&[]).unwrap().contains("<svg"));
    }

    #[test]
    fn names_are_wrapped_where_they_can_be_and_nothing_of_them_is_lost() {
        assert_eq!(wrapped("aids-0, train (3)"), ["aids-0, train (3)"]);
        assert_eq!(wrapped("network-of-monday-mornings, non-edges"), ["network-of-monday-", "mornings, non-edges"]);
        assert_eq!(wrapped(&"ä".repeat(56)), ["ä".repeat(27), "ä".repeat(27), "ä".repeat(2)]);
        assert_eq!(wrapped(""), [""]);
    }

    #[test]
    fn a_long_legend_makes_a_higher_row_and_a_long_title_ends() {
        let mut many = panel(&[Mark::Line; 20]);
        many.title = "x".repeat(200);
        let svg = document(&[vec![panel(&ALL), many], vec![panel(&ALL)]]).unwrap();
        assert!(svg.contains(&format!(r#"width="1240" height="{}""#, 42 + 18 * 20 + 300)), "{svg}");
        assert!(svg.contains(&format!("{}…", "x".repeat(79))) && !svg.contains(&"x".repeat(80)));
    }

    #[test]
    fn numbers_along_an_axis_are_told_apart_and_no_longer() {
        for (range, value, label) in [
            (0.0..1.0, 0.2, "0.2"),
            (0.0..80.0, 20.0, "20"),
            (5.4..6.0, 5.5, "5.50"),
            (-1.0..1.0, -0.0, "0.0"),
            (0.0..1e-9, 2e-10, "2.0e-10"),
            (0.0..3e7, 1e7, "1.0e7"),
        ] {
            assert_eq!(labeller(&range)(&value), label);
        }
    }

    #[test]
    fn a_range_is_never_empty() {
        let mut one = panel(&[Mark::Line]);
        one.series[0].points = vec![(3.0, 0.0); 2];
        assert_eq!(one.range(|point| point.0), 2.5..3.5);
        one.series[0].points.clear();
        assert_eq!(one.range(|point| point.0), 0.0..1.0);
        assert!(document(&[vec![one]]).is_ok());
    }
}
