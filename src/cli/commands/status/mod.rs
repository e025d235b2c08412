//! `mastic status`: sets, services, containers, health, generation, at one glance.

mod open;
mod view;
mod watch;

use std::io::IsTerminal as _;

use anyhow::Result;
use futures::future::join_all;
use jiff::Timestamp;

use crate::cli::args::StatusArgs;
use crate::cli::commands::points::for_a_look;
use crate::cli::context::{Context, Engines};
use crate::cli::exit::Exit;
use crate::cli::session::Make;
use crate::model::{Observed, Role, TaskPhase};
use crate::plan::{self, Change, Options, SlotPlan};

use view::{Look, Memory, Status};

pub use view::{age, bytes, to_the_second};

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
    let due = due(context, &engines, &observed).await;
    let status = Status::new(&observed, &document.release, loaded.profile.sets(), &selection, due);
    let used = memory(&engines, &status).await;
    let drift = if args.drift {
        context.same_secrets(&loaded, &observed)?;
        let desired = context.desired(&loaded, &engines, Make::Pretend).await?;
        Some(context.plan(&desired, &observed, &Options { selection, ..Options::default() })?)
    } else {
        None
    };
    if context.global.json {
        let mut json = status.json(&used, Timestamp::now());
        json["drift"] = drift.as_ref().map(|plan| !plan.is_empty()).into();
        context.printer.data(&serde_json::to_string_pretty(&json)?);
    } else {
        if status.is_empty() {
            context.printer.data("nothing is deployed; `mastic plan` shows what would be");
        } else {
            let look = look(args);
            let text = status.text(&used, look);
            context.printer.data(&format!("{}\n\n{text}", status.headline(&used, look.now)));
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

/// Returns the tasks that the commit of an open upgrade would run; none where that cannot be told from here.
async fn due(context: &Context, engines: &Engines, observed: &Observed) -> Option<Vec<String>> {
    let ledger = observed.ledger.as_ref().filter(|ledger| ledger.held.is_some())?;
    let loaded = context.load_as(ledger.release.as_str()).ok()?;
    let desired = for_a_look(context, &loaded, engines).await.ok()?;
    let plan = plan::reconcile(&desired, observed, &Options::commit());
    let ends = |slot: &&SlotPlan| {
        let role = desired.containers.get(&slot.slot).map(|spec| &spec.role);
        matches!(role, Some(Role::Task { phase: TaskPhase::Contract | TaskPhase::OnlineMigrations, .. }))
            && matches!(slot.change, Change::Run | Change::Await)
    };
    Some(plan.slots.iter().filter(ends).map(|slot| slot.slot.container.to_string()).collect())
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
