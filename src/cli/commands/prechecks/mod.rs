//! `mastic prechecks`: can the hosts run what the profile asks for? All answers at once, nothing is touched.

mod engine;
mod machine;
mod ports;
mod room;

pub use ports::refuse_taken_ports;
pub use room::refuse_full_disks;

use anyhow::Result;
use serde_json::json;

use crate::cli::context::{Context, Engines};
use crate::cli::exit::{CliError, Exit};
use crate::cli::printer::table;
use crate::cli::session::Loaded;
use crate::model::HostName;

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    host: HostName,
    what: &'static str,
    verdict: Verdict,
    detail: String,
}

impl Finding {
    fn new(host: &HostName, what: &'static str, verdict: Verdict, detail: impl Into<String>) -> Self {
        Self { host: host.clone(), what, verdict, detail: detail.into() }
    }
}

/// A warning lets a deploy go on; a bad finding makes it fail, now or soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warning,
    Bad,
}

impl Verdict {
    /// Bad if this does not hold.
    fn must(holds: bool) -> Self {
        if holds { Self::Ok } else { Self::Bad }
    }

    /// A warning if this does not hold.
    fn should(holds: bool) -> Self {
        if holds { Self::Ok } else { Self::Warning }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Bad => "FAILED",
        }
    }
}

/// Checks every host.
pub async fn run(context: &Context) -> Result<Exit> {
    let loaded = context.load()?;
    let engines = context.engines(&loaded.profile).await?;
    let mut findings = Vec::new();
    for (host, engine) in &engines {
        match engine.info().await {
            Ok(info) => findings.extend(engine::facts(host, &info, jiff::Timestamp::now())),
            Err(error) => findings.push(Finding::new(
                host,
                "engine",
                Verdict::Bad,
                format!("{error}; `mastic bootstrap` installs and starts one on this machine"),
            )),
        }
    }
    // Without an engine nothing more can be asked of its host.
    if findings.iter().all(|f| f.what != "engine" || f.verdict != Verdict::Bad) {
        let missing = missing_images(context, &loaded, &engines).await?;
        for (host, engine) in &engines {
            findings.push(images(host, &missing, loaded.profile.document.images.registry.is_some()));
            findings
                .extend(machine::facts(context, &loaded, host, engine.as_ref(), missing.is_empty()).await?);
        }
        findings.extend(ports::facts(context, &loaded, &engines).await?);
    }
    findings.sort_by(|a, b| a.host.cmp(&b.host));
    report(context, &findings)
}

fn report(context: &Context, findings: &[Finding]) -> Result<Exit> {
    let bad: Vec<&Finding> = findings.iter().filter(|f| f.verdict == Verdict::Bad).collect();
    if context.global.json {
        let list: Vec<_> = findings
            .iter()
            .map(
                |f| json!({"host": f.host, "check": f.what, "verdict": f.verdict.word(), "detail": f.detail}),
            )
            .collect();
        let document = json!({"version": 1, "ok": bad.is_empty(), "checks": list});
        context.printer.data(&serde_json::to_string_pretty(&document)?);
    } else {
        let rows: Vec<Vec<String>> = findings
            .iter()
            .map(|f| {
                vec![f.verdict.word().to_owned(), f.host.to_string(), f.what.to_owned(), f.detail.clone()]
            })
            .collect();
        context.printer.data(&table(&rows));
    }
    if bad.is_empty() {
        return Ok(Exit::Done);
    }
    let noun = if bad.len() == 1 { "check" } else { "checks" };
    let list: Vec<String> = bad.iter().map(|f| format!("  {}: {}: {}", f.host, f.what, f.detail)).collect();
    Err(CliError::new(format!("{} {noun} failed:\n{}", bad.len(), list.join("\n"))).into())
}

/// Returns the references of images that no host has.
async fn missing_images(context: &Context, loaded: &Loaded, engines: &Engines) -> Result<Vec<String>> {
    let pins = context.images(loaded, engines).await?;
    Ok(pins
        .into_iter()
        .filter(|(_, pin)| pin.is_none())
        .map(|(name, _)| loaded.profile.image_reference(&name))
        .collect())
}

fn images(host: &HostName, missing: &[String], registry: bool) -> Finding {
    let detail = if missing.is_empty() {
        "all are there".to_owned()
    } else {
        let remedy = if registry { "`mastic pull` pulls them" } else { "`mastic build` builds them" };
        format!("not there yet: {}; {remedy}", missing.join(", "))
    };
    Finding::new(host, "images", Verdict::should(missing.is_empty()), detail)
}
