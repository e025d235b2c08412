//! `mastic timeline`: a run's journal as one page.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::cli::args::TimelineArgs;
use crate::cli::context::Context;
use crate::cli::exit::{CliError, Exit};
use crate::cli::printer::table;
use crate::journal::timeline::{Timeline, timeline};
use crate::report::page;
use crate::store::journal_file;

/// Writes the page, or says which runs there are.
pub fn run(context: &Context, args: &TimelineArgs) -> Result<Exit> {
    let loaded = context.load()?;
    let paths = journal_file::paths(&loaded.state)?;
    if args.list {
        return list(context, &paths);
    }
    let path = chosen(&paths, args.run.as_deref(), &loaded.state)?;
    let found = read(path)?.map_err(|error| CliError::new(format!("{}: {error}", path.display())))?;
    if context.global.json {
        let mut document = serde_json::to_value(&found)?;
        document["version"] = json!(1);
        context.printer.data(&serde_json::to_string_pretty(&document)?);
        return Ok(Exit::Done);
    }
    let page = page::html(&found);
    if args.output == "-" {
        context.printer.data(&page);
    } else {
        fs_err::write(&args.output, page)?;
        context.printer.say(&format!(
            "{} of {} ({:.1} s) is in {}",
            found.purpose, found.deployment, found.seconds, args.output
        ));
    }
    Ok(Exit::Done)
}

fn read(path: &Path) -> Result<Result<Timeline, crate::journal::timeline::NoTimeline>> {
    Ok(timeline(&fs_err::read(path)?))
}

fn name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn chosen<'p>(paths: &'p [PathBuf], run: Option<&str>, state: &Path) -> Result<&'p PathBuf> {
    let Some(run) = run else {
        return paths.last().with_context(|| {
            format!("there is no run yet: no journal is in {}", state.join(journal_file::FOLDER).display())
        });
    };
    let found: Vec<&PathBuf> = paths.iter().filter(|path| name(path).starts_with(run)).collect();
    match found.as_slice() {
        [only] => Ok(only),
        [] => Err(CliError::new(format!("there is no run `{run}`"))
            .help("`mastic timeline --list` lists them")
            .into()),
        several => Err(CliError::new(format!("{} runs begin with `{run}`", several.len()))
            .help("`mastic timeline --list` lists them")
            .into()),
    }
}

fn list(context: &Context, paths: &[PathBuf]) -> Result<Exit> {
    let mut rows = vec![["RUN", "WHAT", "GEN", "TOOK", "OUTCOME"].map(str::to_owned).to_vec()];
    let mut documents = Vec::new();
    for path in paths {
        let run = name(path);
        // What cannot be drawn is no reason not to list the others.
        let Ok(found) = read(path)? else {
            rows.push(vec![run.clone(), "cannot be drawn".to_owned()]);
            documents.push(json!({"run": run}));
            continue;
        };
        let outcome = found.outcome.clone();
        documents.push(json!({
            "run": run, "purpose": found.purpose, "generation": found.generation, "seconds": found.seconds, "outcome": outcome,
        }));
        rows.push(vec![
            run,
            found.purpose.clone(),
            found.generation.map(|g| g.to_string()).unwrap_or_default(),
            format!("{:.1} s", found.seconds),
            outcome.unwrap_or_else(|| "cut off".to_owned()),
        ]);
    }
    if context.global.json {
        context.printer.data(&serde_json::to_string_pretty(&json!({"version": 1, "runs": documents}))?);
    } else if paths.is_empty() {
        context.printer.data("no run yet");
    } else {
        context.printer.data(&table(&rows));
    }
    Ok(Exit::Done)
}
