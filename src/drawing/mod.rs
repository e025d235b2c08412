//! Pictures of what starts after what. Pure: the same deployment gives the same bytes.
//!
//! ```text
//! Desired --graph--> Graph --dot--> text for Graphviz
//!                          --layers--> Placed --svg--> a picture
//! ```

mod dot;
mod graph;
mod layers;
mod svg;

pub use dot::dot;
pub use graph::{Edge, Graph, Kind, Node, containers, sets};
pub use svg::svg;
