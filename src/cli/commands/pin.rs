//! `mastic pin`: a generation's images and restore point stay, however old it is.

use std::collections::BTreeSet;

use anyhow::Result;
use jiff::Timestamp;
use serde_json::json;

use crate::cli::args::PinArgs;
use crate::cli::commands::carry_out::operator;
use crate::cli::commands::points;
use crate::cli::context::Context;
use crate::cli::exit::{CliError, Exit};
use crate::journal::{Pin, slots_at};
use crate::model::{Generation, ImageId};
use crate::store::ledger;

/// Pins a generation, or takes that back.
pub async fn pin(context: &Context, args: &PinArgs) -> Result<Exit> {
    let loaded = context.load()?;
    let engines = context.engines(&loaded.profile).await?;
    context.reach(&engines).await?;
    let deployment = &loaded.profile.document.deployment;
    let records = ledger::history(&engines, deployment).await?;
    let generation = Generation::new(args.generation);
    let found = generation.and_then(|number| Some((number, slots_at(&records, number)?)));
    let Some((generation, slots)) = found else {
        return Err(CliError::new(format!("there is no generation {}", args.generation))
            .help("`mastic history` lists them")
            .into());
    };
    let point = points::point_of(generation);
    let desired = points::for_a_look(context, &loaded, &engines).await?;
    let point = points::points(&desired, &engines).await?.into_iter().find(|there| there.name == point);
    let pin = Pin {
        generation,
        pinned: !args.remove,
        note: args.message.clone().unwrap_or_default(),
        operator: operator(),
        since: Timestamp::now().round(jiff::Unit::Second)?.to_string(),
    };
    // The point first: a pin that is told of holds.
    if let Some(point) = &point {
        points::keep(&desired, &engines, &point.name, pin.pinned).await?;
    }
    for engine in engines.values() {
        ledger::write_pin(engine.as_ref(), deployment, &pin).await?;
    }

    let images: BTreeSet<&ImageId> = slots.values().map(|slot| &slot.spec.image.id).collect();
    let mut missing: BTreeSet<&str> = BTreeSet::new();
    for slot in slots.values() {
        let mut there = false;
        for engine in engines.values() {
            there |= engine.image(&slot.spec.image.id.0).await?.is_some();
        }
        if !there {
            missing.insert(&slot.spec.image.reference);
        }
    }
    if args.remove {
        context.printer.say(&format!("generation {generation} is not pinned any more"));
    } else {
        let point = match &point {
            Some(point) => format!(" and restore point {}", point.name),
            None => String::new(),
        };
        let none = if point.is_empty() { "; it has no restore point" } else { "" };
        context.printer.say(&format!(
            "generation {generation} is pinned: its {} images{point} stay{none}",
            images.len()
        ));
        if !missing.is_empty() {
            let names: Vec<&str> = missing.iter().copied().collect();
            context.printer.say(&format!("gone already: {}", names.join(", ")));
        }
    }
    if context.global.json {
        let document = json!({
            "version": 1, "pin": pin, "images": images.len(), "missing": missing,
            "point": point.map(|point| point.name),
        });
        context.printer.data(&serde_json::to_string_pretty(&document)?);
    }
    Ok(Exit::Done)
}
