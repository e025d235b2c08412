//! `mastic diff`: two generations beside each other, by the records on the hosts and the containers that are still there.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde::Serialize;
use serde_json::json;
use similar::TextDiff;

use crate::cli::args::DiffArgs;
use crate::cli::context::{Context, Engines};
use crate::cli::exit::{CliError, Exit};
use crate::engine::{EngineErrorKind, archive};
use crate::journal::{GenerationRecord, SlotRecord, slots_at};
use crate::model::Generation;
use crate::plan::FieldDiff;
use crate::plan::diff::diff;
use crate::store::ledger;
use crate::store::redact::Redactor;

/// Lines of a file around what changed.
const AROUND: usize = 1;

/// One slot that is not what it was.
#[derive(Debug, Serialize)]
struct Changed<'a> {
    slot: &'a str,
    /// Generation of the container then; none where there was none.
    from: Option<Generation>,
    /// Generation of the container later; none where there is none.
    to: Option<Generation>,
    fields: Vec<FieldDiff>,
    /// By path: the lines of a config file that differ. Left out where a container is gone, or the secrets were others.
    lines: BTreeMap<String, Vec<String>>,
}

/// `mastic diff`
pub async fn run(context: &Context, args: &DiffArgs) -> Result<Exit> {
    let loaded = context.load()?;
    let engines = context.engines(&loaded.profile).await?;
    context.reach(&engines).await?;
    let records = ledger::history(&engines, &loaded.profile.document.deployment).await?;
    let youngest = records.last().map_or(0, |record| record.generation.get());
    let (from, to) = (find(&records, args.from)?, find(&records, args.to.unwrap_or(youngest))?);
    let (Some(then), Some(later)) = (slots_at(&records, from.generation), slots_at(&records, to.generation))
    else {
        return Err(none(&records, args.from));
    };
    // A secret that is not known any more cannot be masked.
    let readable = from.secrets == to.secrets && from.secrets.is_some();
    let redactor = context.redactor(&loaded)?;
    let all: BTreeSet<&str> = then.keys().chain(later.keys()).copied().collect();
    let mut changed = Vec::new();
    let mut same = 0_usize;
    for slot in all {
        let (old, new) = (then.get(slot).copied(), later.get(slot).copied());
        let fields = match (old, new) {
            (Some(old), Some(new)) => diff(&old.spec, &new.spec),
            (None, _) | (_, None) => Vec::new(),
        };
        if old.is_some() && new.is_some() && fields.is_empty() {
            same += 1;
            continue;
        }
        let mut lines = BTreeMap::new();
        if let (Some(old), Some(new), true) = (old, new, readable) {
            let files = fields.iter().filter_map(|field| field.field.strip_prefix("file "));
            for path in files {
                let host = slot.split('/').next().unwrap_or_default();
                let (was, is) =
                    (file(&engines, host, old, path).await?, file(&engines, host, new, path).await?);
                if let (Some(was), Some(is)) = (was, is) {
                    lines.insert(path.to_owned(), differing(&redactor, &was, &is));
                }
            }
        }
        let generation = |there: Option<&SlotRecord>| there.map(|there| there.generation);
        changed.push(Changed { slot, from: generation(old), to: generation(new), fields, lines });
    }
    if context.global.json {
        let document = json!({
            "version": 1, "from": from.generation, "to": to.generation,
            "releases": [from.release, to.release], "changed": changed, "same": same,
        });
        context.printer.data(&serde_json::to_string_pretty(&document)?);
    } else {
        context.printer.data(&text(from, to, &changed, same));
    }
    Ok(Exit::Done)
}

fn find(records: &[GenerationRecord], number: u64) -> Result<&GenerationRecord> {
    records.iter().find(|record| record.generation.get() == number).ok_or_else(|| none(records, number))
}

fn none(records: &[GenerationRecord], number: u64) -> anyhow::Error {
    let help = match (records.first(), records.last()) {
        (Some(first), Some(last)) => {
            format!("there are {} to {}: `mastic history`", first.generation, last.generation)
        }
        _ => "nothing was deployed yet".to_owned(),
    };
    CliError::new(format!("there is no generation {number}")).help(help).into()
}

/// Reads a config file out of a container, running or not; none where that container is gone.
async fn file(engines: &Engines, host: &str, there: &SlotRecord, path: &str) -> Result<Option<String>> {
    let Some((_, engine)) = engines.iter().find(|(name, _)| name.as_str() == host) else { return Ok(None) };
    let container = match engine.container(&there.name).await {
        Ok(container) => container,
        Err(error) if error.kind == EngineErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let packed = match engine.download(&container.id, path).await {
        Ok(packed) => packed,
        Err(error) if error.kind == EngineErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let tree = archive::unpack(&packed)?;
    Ok(tree.values().find_map(|entry| Some(String::from_utf8_lossy(entry.bytes()?).into_owned())))
}

/// Returns the lines that differ, `-` and `+` before them, with some around. Secrets are masked.
fn differing(redactor: &Redactor, was: &str, is: &str) -> Vec<String> {
    let (was, is) = (redactor.redact(was), redactor.redact(is));
    let diff = TextDiff::from_lines(was.as_ref(), is.as_ref());
    let text = diff.unified_diff().context_radius(AROUND).to_string();
    let found: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
    if found.is_empty() { vec!["only a secret differs".to_owned()] } else { found }
}

fn text(from: &GenerationRecord, to: &GenerationRecord, changed: &[Changed<'_>], same: usize) -> String {
    let release = if from.release == to.release {
        format!("release {}", to.release)
    } else {
        format!("release {} -> {}", from.release, to.release)
    };
    let mut out = vec![format!("generation {} -> {}, {release}", from.generation, to.generation)];
    for Changed { slot, from, to, fields, lines } in changed {
        out.push(match (from, to) {
            (Some(from), Some(to)) => format!(" ~ {slot}  gen {from} -> {to}"),
            (None, Some(to)) => format!(" + {slot}  gen {to}"),
            (Some(from), None) => format!(" - {slot}  gen {from}"),
            (None, None) => continue,
        });
        for field in fields {
            out.push(format!("     {field}"));
            let path = field.field.strip_prefix("file ").unwrap_or_default();
            out.extend(lines.get(path).into_iter().flatten().map(|line| format!("       {line}")));
        }
    }
    out.push(format!(" = {same} the same"));
    out.join("\n")
}
