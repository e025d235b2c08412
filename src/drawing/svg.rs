//! A graph as a picture that needs nothing else.

use std::fmt::Write as _;

use super::graph::{Graph, Kind, Node};
use super::layers::{LINE, Placed, Route, Spot, place};
use crate::model::SetName;

const MARGIN: f64 = 28.0;
/// Title and legend.
const HEAD: f64 = 64.0;
/// Hues that can be told apart; those of the timeline.
const HUES: [u32; 8] = [212, 145, 268, 28, 186, 330, 84, 48];

/// Returns the picture.
pub fn svg(graph: &Graph) -> String {
    let Placed { spots, routes, width, height } = place(graph);
    // Wide enough for the legend, too.
    #[expect(clippy::cast_precision_loss, reason = "texts are short")]
    let legend = graph.sets.iter().map(|set| set.as_str().len() as f64 * 7.5 + 40.0).sum::<f64>();
    let (w, h) = (width.max(legend).max(320.0) + MARGIN * 2.0, height + MARGIN * 2.0 + HEAD);
    let mut out = String::new();
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w:.0} {h:.0}\" width=\"{w:.0}\" height=\"{h:.0}\" \
         font-family=\"ui-monospace, DejaVu Sans Mono, monospace\" font-size=\"12\">\n<title>{}</title>\n\
         <defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\">\
         <path d=\"M0 0 L8 4 L0 8 z\" fill=\"#57606a\"/></marker></defs>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{MARGIN}\" y=\"34\" font-family=\"system-ui, sans-serif\" font-size=\"17\" font-weight=\"600\" fill=\"#1b1f24\">{}</text>\n",
        graph.title, graph.title
    );
    let mut x = MARGIN;
    for set in &graph.sets {
        let hue = hue(graph, set);
        let _ = writeln!(
            out,
            "<rect x=\"{x:.1}\" y=\"50\" width=\"13\" height=\"13\" rx=\"3\" fill=\"hsl({hue} 62% 88%)\" stroke=\"hsl({hue} 50% 45%)\"/>\
             <text x=\"{:.1}\" y=\"61\" fill=\"#57606a\">{set}</text>",
            x + 19.0
        );
        #[expect(clippy::cast_precision_loss, reason = "texts are short")]
        let step = set.as_str().len() as f64 * 7.5 + 40.0;
        x += step;
    }
    let _ = writeln!(out, "<g transform=\"translate({MARGIN} {:.0})\">", MARGIN + HEAD);
    for route in &routes {
        arrow(&mut out, route);
    }
    for (node, spot) in graph.nodes.iter().zip(&spots) {
        draw(&mut out, node, *spot, hue(graph, &node.set));
    }
    out.push_str("</g>\n</svg>\n");
    out
}

fn hue(graph: &Graph, set: &SetName) -> u32 {
    let index = graph.sets.iter().position(|one| one == set).unwrap_or_default();
    HUES.get(index)
        .copied()
        .unwrap_or_else(|| u32::try_from(index).unwrap_or_default().wrapping_mul(137) % 360)
}

/// Smooth between columns, straight through them.
fn arrow(out: &mut String, route: &Route) {
    let mut points = route.points.clone();
    // Shown in its own direction.
    if route.back {
        points.reverse();
    }
    let Some((x, y)) = points.first() else { return };
    let mut path = format!("M{x:.1} {y:.1}");
    let mut from = (*x, *y);
    for (index, (x, y)) in points.iter().enumerate().skip(1) {
        // Points are pairs: between two columns, then through one.
        if index % 2 == 1 {
            let middle = f64::midpoint(from.0, *x);
            let _ = write!(path, " C{middle:.1} {:.1} {middle:.1} {y:.1} {x:.1} {y:.1}", from.1);
        } else {
            let _ = write!(path, " L{x:.1} {y:.1}");
        }
        from = (*x, *y);
    }
    let dashes = if route.back { " stroke-dasharray=\"5 4\"" } else { "" };
    let _ = writeln!(
        out,
        "<path d=\"{path}\" fill=\"none\" stroke=\"#8c959f\" stroke-width=\"1.2\"{dashes} marker-end=\"url(#arrow)\"/>"
    );
}

fn draw(out: &mut String, node: &Node, spot: Spot, hue: u32) {
    let Spot { x, y, width, height } = spot;
    let (dashes, round) = match node.kind {
        Kind::Task => (" stroke-dasharray=\"4 3\"", height / 2.0),
        Kind::Set | Kind::Container => ("", 6.0),
    };
    let light = if node.kind == Kind::Task { 96 } else { 90 };
    let _ = write!(
        out,
        "<g><title>{} ({})</title><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"{round:.1}\" \
         fill=\"hsl({hue} 62% {light}%)\" stroke=\"hsl({hue} 50% 45%)\"{dashes}/>",
        node.name, node.set
    );
    let weight = if node.kind == Kind::Set { " font-weight=\"700\" font-size=\"13\"" } else { "" };
    let _ = write!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"#1b1f24\"{weight}>{}</text>",
        x + 11.0,
        y + 17.5,
        node.name
    );
    let mut at = y + 17.5 + if node.kind == Kind::Set { 6.0 } else { 0.0 };
    for line in &node.lines {
        at += LINE;
        let _ = write!(
            out,
            "<text x=\"{:.1}\" y=\"{at:.1}\" fill=\"#57606a\" xml:space=\"preserve\">{line}</text>",
            x + 11.0
        );
    }
    out.push_str("</g>\n");
}
