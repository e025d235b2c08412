//! A graph as Graphviz reads it.

use std::fmt::Write as _;

use super::graph::{Graph, Kind};

/// Returns the text: boxes of a set are together.
pub fn dot(graph: &Graph) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "digraph {} {{", quoted(&graph.title));
    out.push_str("  rankdir=LR;\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n");
    for (number, set) in graph.sets.iter().enumerate() {
        let members = || graph.nodes.iter().filter(|node| node.set == *set);
        let alone = members().all(|node| node.kind == Kind::Set);
        if !alone {
            let _ = writeln!(out, "  subgraph cluster_{number} {{\n    label={};", quoted(set.as_str()));
        }
        for node in members() {
            let label =
                std::iter::once(node.name.clone()).chain(node.lines.iter().cloned()).collect::<Vec<_>>();
            let style = if node.kind == Kind::Task { ", style=\"rounded,dashed\"" } else { "" };
            let indent = if alone { "  " } else { "    " };
            let _ = writeln!(
                out,
                "{indent}{} [label={}{style}];",
                quoted(&node.name),
                quoted(&label.join("\\n"))
            );
        }
        if !alone {
            out.push_str("  }\n");
        }
    }
    for edge in &graph.edges {
        if let (Some(from), Some(to)) = (graph.nodes.get(edge.from), graph.nodes.get(edge.to)) {
            let _ = writeln!(out, "  {} -> {};", quoted(&from.name), quoted(&to.name));
        }
    }
    out.push_str("}\n");
    out
}

/// Names have no backslashes; the one in a label is Graphviz's own line end.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\\\""))
}
