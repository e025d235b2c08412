//! `mastic graph`: what starts after what, as a picture.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;

use super::look::resolve_offline;
use crate::cli::args::{GraphArgs, GraphFormat};
use crate::cli::context::Context;
use crate::cli::exit::{CliError, Exit};
use crate::drawing;
use crate::model::SetName;
use crate::model::words::nearest;

/// Draws the profile; no engine is asked.
pub fn run(context: &Context, args: &GraphArgs) -> Result<Exit> {
    let loaded = context.load()?;
    let (desired, _) = resolve_offline(context, &loaded)?;
    let known = || desired.sets.iter().map(SetName::as_str);
    let mut only: BTreeSet<SetName> = BTreeSet::new();
    for set in &args.sets {
        match desired.sets.iter().find(|known| known.as_str() == set) {
            Some(found) => drop(only.insert(found.clone())),
            None => {
                let mut error = CliError::new(format!("the profile has no set `{set}`"));
                if let Some(near) = nearest(set, known()) {
                    error = error.help(format!("did you mean `{near}`?"));
                }
                return Err(error.into());
            }
        }
    }
    let draw = if args.containers { drawing::containers } else { drawing::sets };
    let graph = draw(&desired, &only);
    if context.global.json {
        let mut document = serde_json::to_value(&graph)?;
        document["version"] = 1.into();
        context.printer.data(&serde_json::to_string_pretty(&document)?);
        return Ok(Exit::Done);
    }
    let picture = |path: &Path| path.extension().is_some_and(|suffix| suffix.eq_ignore_ascii_case("svg"));
    let format = match (args.format, &args.output) {
        (Some(format), _) => format,
        (None, Some(path)) if picture(path) => GraphFormat::Svg,
        (None, _) => GraphFormat::Dot,
    };
    let text = match format {
        GraphFormat::Dot => drawing::dot(&graph),
        GraphFormat::Svg => drawing::svg(&graph),
    };
    match &args.output {
        Some(path) => {
            fs_err::write(path, text)?;
            let (boxes, arrows) = (graph.nodes.len(), graph.edges.len());
            context.printer.say(&format!("{boxes} boxes and {arrows} arrows are in {}", path.display()));
        }
        None => context.printer.data(&text),
    }
    Ok(Exit::Done)
}
