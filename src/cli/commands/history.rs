//! `mastic history`: the generations, read from the hosts.

use anyhow::Result;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::printer::table;
use crate::store::ledger;

/// Lists the generations.
pub async fn run(context: &Context) -> Result<Exit> {
    let loaded = context.load()?;
    let engines = context.engines(&loaded.profile).await?;
    context.reach(&engines).await?;
    let records = ledger::history(&engines, &loaded.profile.document.deployment).await?;
    let pins = ledger::pins(&engines, &loaded.profile.document.deployment).await?;
    if context.global.json {
        let mut all = Vec::new();
        for record in &records {
            let mut value = serde_json::to_value(record)?;
            if let Some(pin) = pins.get(&record.generation) {
                value["pin"] = serde_json::to_value(pin)?;
            }
            all.push(value);
        }
        context.printer.data(&serde_json::to_string_pretty(&json!({"version": 1, "generations": all}))?);
        return Ok(Exit::Done);
    }
    if records.is_empty() {
        context.printer.data("no generation yet: nothing was deployed");
        return Ok(Exit::Done);
    }
    let head = [
        "GEN", "BEGAN", "TOOK", "WHAT", "RELEASE", "OUTCOME", "BY", "CHANGES", "FAILED", "PINNED", "MESSAGE",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for record in &records {
        rows.push(vec![
            record.generation.to_string(),
            record.began_at.clone(),
            record.took(),
            record.purpose.clone(),
            record.release.to_string(),
            record.outcome.to_string(),
            record.operator.clone(),
            record.changes(),
            record.failed(),
            pins.get(&record.generation)
                .map(|pin| if pin.note.is_empty() { "yes" } else { &pin.note })
                .unwrap_or_default()
                .to_owned(),
            record.message.clone(),
        ]);
    }
    context.printer.data(&table(&rows));
    Ok(Exit::Done)
}
