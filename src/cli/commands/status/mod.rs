//! `mastic status`: sets, services, containers, health, generation, at one glance.

mod view;
mod watch;

use std::io::IsTerminal as _;

use anyhow::Result;
use futures::future::join_all;
use jiff::Timestamp;

use crate::cli::args::StatusArgs;
use crate::cli::context::{Context, Engines};
use crate::cli::exit::Exit;
use crate::cli::session::Make;
use crate::plan::{self, Options};

use view::{Look, Memory, Status};

pub use view::bytes;

/// Shows what runs.
pub async fn run(context: &Context, args: &StatusArgs) -> Result<Exit> {
    let loaded = context.load()?;
    let engines = context.engines(&loaded.profile).await?;
    let observed = context.observe(&loaded, &engines).await?;
    let selection = context.selection(&args.selection, &loaded, &observed)?;
    if args.watch {
        return watch::run(context, args, &loaded, &engines, &selection).await;
    }
    let document = &loaded.profile.document;
    let status = Status::new(&observed, &document.release, loaded.profile.sets(), &selection);
    let used = memory(&engines, &status).await;
    let drift = if args.drift {
        context.same_secrets(&loaded, &observed)?;
        let desired = context.desired(&loaded, &engines, Make::Pretend).await?;
        Some(context.plan(&desired, &observed, &Options { selection, ..Options::default() })?)
    } else {
        None
    };
    if context.global.json {
        let mut json = status.json(&used);
        json["drift"] = drift.as_ref().map(|plan| !plan.is_empty()).into();
        context.printer.data(&serde_json::to_string_pretty(&json)?);
    } else {
        if status.is_empty() {
            context.printer.data("nothing is deployed; `mastic plan` shows what would be");
        } else {
            let text = status.text(&used, look(args));
            context.printer.data(&format!("{}\n\n{text}", status.headline(&used)));
        }
        if let Some(plan) = &drift {
            context.printer.data(&plan::render::text(plan));
        }
    }
    Ok(match drift {
        Some(plan) if !plan.is_empty() => Exit::Changes,
        _ => Exit::Done,
    })
}

fn look(args: &StatusArgs) -> Look {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    Look { color: std::io::stdout().is_terminal() && !plain, all: args.all, now: Timestamp::now() }
}

/// Asks for the memory of all that run, at once. What cannot be asked has just ended.
async fn memory(engines: &Engines, status: &Status) -> Memory {
    let asked = status.running().filter_map(|(host, id)| {
        let engine = engines.get(host)?.clone();
        let id = id.clone();
        Some(async move { Some((id.clone(), engine.memory(&id).await.ok()?)) })
    });
    join_all(asked).await.into_iter().flatten().collect()
}
