//! Places boxes in columns, each to the right of all that come before it, with few crossings (after Sugiyama).

use std::collections::BTreeMap;

use super::graph::{Edge, Graph, Kind};

/// Width of a character of the font that is drawn with, about.
pub(super) const CHARACTER: f64 = 7.3;
/// Height of a line.
pub(super) const LINE: f64 = 17.0;
const PADDING: f64 = 11.0;
/// Between columns: room for the arrows.
const COLUMN_GAP: f64 = 70.0;
const ROW_GAP: f64 = 11.0;
/// Sweeps over the columns, there and back: more change nothing that is seen.
const SWEEPS: usize = 12;

/// A box with its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spot {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// An arrow: points from box to box.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Route {
    pub(super) points: Vec<(f64, f64)>,
    /// It leads back, against the order.
    pub(super) back: bool,
}

/// The whole picture.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Placed {
    pub(super) spots: Vec<Spot>,
    pub(super) routes: Vec<Route>,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// A box, or the point where an arrow passes through a column.
#[derive(Clone, Copy, Debug)]
struct Item {
    height: f64,
    width: f64,
    y: f64,
}

/// Places everything.
pub(super) fn place(graph: &Graph) -> Placed {
    let mut work = Work::new(graph);
    work.order();
    work.stack();
    work.relax();
    work.finish(graph)
}

struct Work {
    items: Vec<Item>,
    /// Items of each column, from top to bottom.
    columns: Vec<Vec<usize>>,
    before: Vec<Vec<usize>>,
    after: Vec<Vec<usize>>,
    /// For each arrow the items that it goes through, from left to right, and whether it leads back.
    routes: Vec<(Vec<usize>, bool)>,
}

impl Work {
    fn new(graph: &Graph) -> Self {
        let count = graph.nodes.len();
        // Boxes are in launch order, so that an arrow to an earlier one closes a circle only if the later one is reached from it.
        let forward: Vec<(Edge, bool)> = graph.edges.iter().map(|edge| turned(graph, *edge)).collect();
        let ranks = ranks(count, &forward);
        let mut items: Vec<Item> =
            graph.nodes.iter().map(|node| size(&node.name, &node.lines, node.kind)).collect();
        let mut columns: Vec<Vec<usize>> = vec![Vec::new(); ranks.iter().max().map_or(0, |last| last + 1)];
        for (node, rank) in ranks.iter().enumerate() {
            if let Some(column) = columns.get_mut(*rank) {
                column.push(node);
            }
        }
        let mut routes = Vec::new();
        for (edge, back) in forward {
            let (Some(first), Some(last)) = (ranks.get(edge.from), ranks.get(edge.to)) else { continue };
            let mut through = vec![edge.from];
            for column in columns.iter_mut().take(*last).skip(first + 1) {
                through.push(items.len());
                column.push(items.len());
                items.push(Item { height: 4.0, width: 0.0, y: 0.0 });
            }
            through.push(edge.to);
            routes.push((through, back));
        }
        let (mut before, mut after) = (vec![Vec::new(); items.len()], vec![Vec::new(); items.len()]);
        for pair in routes.iter().flat_map(|(through, _)| through.windows(2)) {
            if let [left, right] = pair {
                if let Some(list) = after.get_mut(*left) {
                    list.push(*right);
                }
                if let Some(list) = before.get_mut(*right) {
                    list.push(*left);
                }
            }
        }
        Self { items, columns, before, after, routes }
    }

    /// Orders each column by where its neighbours are, and keeps the order with the fewest crossings.
    fn order(&mut self) {
        let mut best = (self.crossings(), self.columns.clone());
        for sweep in 0..SWEEPS {
            let places = self.places();
            let mut columns = self.columns.clone();
            let mut places = places;
            let there = sweep % 2 == 0;
            let indices: Vec<usize> =
                if there { (0..columns.len()).collect() } else { (0..columns.len()).rev().collect() };
            for index in indices {
                let Some(column) = columns.get_mut(index) else { continue };
                let neighbours = if there { &self.before } else { &self.after };
                let weight = |item: &usize| -> f64 {
                    let near = neighbours.get(*item).map(Vec::as_slice).unwrap_or_default();
                    mean(near.iter().filter_map(|n| places.get(n).copied()))
                        .unwrap_or_else(|| places.get(item).copied().unwrap_or_default())
                };
                let mut weighed: Vec<(f64, usize)> =
                    column.iter().map(|item| (weight(item), *item)).collect();
                // Stable: what weighs the same stays in the order it had.
                weighed.sort_by(|a, b| a.0.total_cmp(&b.0));
                *column = weighed.into_iter().map(|(_, item)| item).collect();
                places.extend(positions(column));
            }
            self.columns = columns;
            let crossings = self.crossings();
            if crossings < best.0 {
                best = (crossings, self.columns.clone());
            }
        }
        self.columns = best.1;
    }

    /// Where each item is in its column, from 0 to 1.
    fn places(&self) -> BTreeMap<usize, f64> {
        self.columns.iter().flat_map(|column| positions(column)).collect()
    }

    fn crossings(&self) -> usize {
        let places = self.places();
        let at = |item: &usize| places.get(item).copied().unwrap_or_default();
        let mut count = 0;
        for column in &self.columns {
            let mut lines: Vec<(f64, f64)> = Vec::new();
            for item in column {
                lines.extend(self.after.get(*item).into_iter().flatten().map(|next| (at(item), at(next))));
            }
            for (index, a) in lines.iter().enumerate() {
                count += lines.iter().skip(index + 1).filter(|b| (a.0 - b.0) * (a.1 - b.1) < 0.0).count();
            }
        }
        count
    }

    /// One below the other.
    fn stack(&mut self) {
        for column in &self.columns {
            let mut y = 0.0;
            for item in column {
                if let Some(item) = self.items.get_mut(*item) {
                    item.y = y + item.height / 2.0;
                    y += item.height + ROW_GAP;
                }
            }
        }
    }

    /// Moves each towards its neighbours, as far as those of its column leave room.
    fn relax(&mut self) {
        for sweep in 0..SWEEPS * 2 {
            let order: Vec<usize> = if sweep % 2 == 0 {
                (0..self.columns.len()).collect()
            } else {
                (0..self.columns.len()).rev().collect()
            };
            for index in order {
                let Some(column) = self.columns.get(index).cloned() else { continue };
                let wish: Vec<f64> = column.iter().map(|item| self.wish(*item)).collect();
                self.settle(&column, &wish);
            }
        }
    }

    fn wish(&self, item: usize) -> f64 {
        let near = [&self.before, &self.after].into_iter().filter_map(|side| side.get(item)).flatten();
        mean(near.filter_map(|n| self.items.get(*n)).map(|n| n.y))
            .unwrap_or_else(|| self.items.get(item).map_or(0.0, |one| one.y))
    }

    /// Gives each of a column the place it wishes, and makes room: from the top, then from the bottom, and the mean of both.
    fn settle(&mut self, column: &[usize], wish: &[f64]) {
        let heights: Vec<f64> =
            column.iter().filter_map(|item| self.items.get(*item)).map(|i| i.height).collect();
        let half = |index: usize| heights.get(index).copied().unwrap_or_default() / 2.0;
        let apart = |a: usize, b: usize| half(a) + half(b) + ROW_GAP;
        let mut down = wish.to_vec();
        for index in 1..down.len() {
            let least = down.get(index - 1).copied().unwrap_or_default() + apart(index - 1, index);
            if let Some(y) = down.get_mut(index) {
                *y = y.max(least);
            }
        }
        let mut up = wish.to_vec();
        for index in (1..up.len()).rev() {
            let most = up.get(index).copied().unwrap_or_default() - apart(index - 1, index);
            if let Some(y) = up.get_mut(index - 1) {
                *y = y.min(most);
            }
        }
        for ((item, down), up) in column.iter().zip(down).zip(up) {
            if let Some(item) = self.items.get_mut(*item) {
                item.y = f64::midpoint(down, up);
            }
        }
    }

    fn finish(mut self, graph: &Graph) -> Placed {
        let top = self.items.iter().map(|item| item.y - item.height / 2.0).fold(f64::MAX, f64::min);
        for item in &mut self.items {
            item.y -= top;
        }
        let mut x = 0.0;
        let mut lefts: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
        for column in &self.columns {
            let width = column.iter().filter_map(|i| self.items.get(*i)).map(|i| i.width).fold(0.0, f64::max);
            lefts.extend(column.iter().map(|item| (*item, (x, width))));
            x += width + COLUMN_GAP;
        }
        let spot = |item: usize| -> Spot {
            let (x, width) = lefts.get(&item).copied().unwrap_or_default();
            let height = self.items.get(item).map_or(0.0, |one| one.height);
            Spot { x, y: self.items.get(item).map_or(0.0, |one| one.y) - height / 2.0, width, height }
        };
        let middle = |item: usize| self.items.get(item).map_or(0.0, |one| one.y);
        let routes = self
            .routes
            .iter()
            .map(|(through, back)| {
                let last = through.len().saturating_sub(1);
                let mut points = Vec::new();
                for (index, item) in through.iter().enumerate() {
                    let Spot { x, width, .. } = spot(*item);
                    // Through a column straight, from its left edge to its right.
                    if index > 0 {
                        points.push((x, middle(*item)));
                    }
                    if index < last {
                        points.push((x + width, middle(*item)));
                    }
                }
                Route { points, back: *back }
            })
            .collect();
        Placed {
            spots: (0..graph.nodes.len()).map(spot).collect(),
            routes,
            width: (x - COLUMN_GAP).max(0.0),
            height: self.items.iter().map(|item| item.y + item.height / 2.0).fold(0.0, f64::max),
        }
    }
}

fn positions(column: &[usize]) -> Vec<(usize, f64)> {
    #[expect(clippy::cast_precision_loss, reason = "columns are short")]
    let place = |index: usize| (index as f64 + 0.5) / column.len().max(1) as f64;
    column.iter().enumerate().map(|(index, item)| (*item, place(index))).collect()
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

fn size(name: &str, lines: &[String], kind: Kind) -> Item {
    #[expect(clippy::cast_precision_loss, reason = "texts are short")]
    let longest = lines.iter().map(String::len).chain([name.len()]).max().unwrap_or(0) as f64;
    #[expect(clippy::cast_precision_loss, reason = "texts are short")]
    let rows = lines.len() as f64 + 1.0;
    let head = if kind == Kind::Set { 6.0 } else { 0.0 };
    Item { width: longest * CHARACTER + PADDING * 2.0, height: rows * LINE + head + 9.0, y: 0.0 }
}

/// Returns an arrow as it is placed: one that closes a circle leads the other way.
fn turned(graph: &Graph, edge: Edge) -> (Edge, bool) {
    if edge.from < edge.to {
        return (edge, false);
    }
    let mut open = vec![edge.to];
    let mut seen = vec![false; graph.nodes.len()];
    while let Some(node) = open.pop() {
        if node == edge.from {
            return (Edge { from: edge.to, to: edge.from }, true);
        }
        if let Some(seen) = seen.get_mut(node)
            && !*seen
        {
            *seen = true;
            open.extend(graph.edges.iter().filter(|e| e.from == node).map(|e| e.to));
        }
    }
    (edge, false)
}

/// The longest way to each box, in arrows. As many rounds as there are boxes suffice, whatever is left of circles.
fn ranks(count: usize, edges: &[(Edge, bool)]) -> Vec<usize> {
    let mut ranks = vec![0_usize; count];
    for _ in 0..count {
        let mut changed = false;
        for (edge, _) in edges {
            let least = ranks.get(edge.from).map_or(0, |rank| rank + 1);
            if let Some(rank) = ranks.get_mut(edge.to)
                && *rank < least
                && least < count
            {
                *rank = least;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drawing::graph::Node;

    fn graph(edges: &[(usize, usize)], count: usize) -> Graph {
        let node = |i: usize| Node {
            name: format!("node-{i}"),
            kind: Kind::Container,
            set: "api".parse().unwrap(),
            lines: Vec::new(),
        };
        Graph {
            title: "test".to_owned(),
            sets: vec!["api".parse().unwrap()],
            nodes: (0..count).map(node).collect(),
            edges: edges.iter().map(|(from, to)| Edge { from: *from, to: *to }).collect(),
        }
    }

    #[test]
    fn what_comes_after_must_be_to_the_right_and_nothing_may_overlap() {
        let edges = [(0, 3), (1, 3), (3, 4), (0, 4), (2, 5), (4, 5), (1, 5), (0, 6)];
        let what = graph(&edges, 7);
        let placed = place(&what);
        for (from, to) in edges {
            let (a, b) = (placed.spots[from], placed.spots[to]);
            assert!(a.x + a.width < b.x, "{from} {to}");
        }
        for (i, a) in placed.spots.iter().enumerate() {
            for b in &placed.spots[i + 1..] {
                let apart = a.x + a.width <= b.x
                    || b.x + b.width <= a.x
                    || a.y + a.height <= b.y
                    || b.y + b.height <= a.y;
                assert!(apart, "{a:?} {b:?}");
            }
            assert!(a.x >= 0.0 && a.y >= -0.001 && a.x + a.width <= placed.width + 0.001);
        }
        assert_eq!(place(&what), placed);
    }

    #[test]
    fn a_circle_must_be_drawn_with_one_arrow_that_leads_back() {
        let placed = place(&graph(&[(0, 1), (1, 0), (1, 2)], 3));
        assert_eq!(placed.routes.iter().filter(|route| route.back).count(), 1);
        // An arrow to an earlier box that closes no circle is like any other.
        let placed = place(&graph(&[(1, 0)], 2));
        assert!(!placed.routes[0].back && placed.spots[1].x < placed.spots[0].x);
    }
}
