//! `mastic certificates`: what ends when, whether it is where it belongs, and making it anew.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::Timestamp;
use serde_json::json;

use super::look::resolve_offline;
use crate::cli::args::CertificatesArgs;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::printer::table;
use crate::cli::session::{Loaded, Make, certificate_names};
use crate::model::spec::SpecRecord;
use crate::model::{ContainerState, Desired, Observed, Slot};
use crate::store::certificates::{self, Certificate, Renew, Use};

/// Shows the certificates, and renews them where that is asked for.
pub async fn run(context: &Context, args: &CertificatesArgs) -> Result<Exit> {
    let loaded = context.load()?;
    let backends = loaded.profile.backends();
    let mut renewed = Vec::new();
    if args.renew {
        // Without an authority of its own a deployment from elsewhere must not get one by this.
        if let Ok(observed) = observe(context, &loaded).await {
            context.same_secrets(&loaded, &observed)?;
        }
        let which = match (args.authority, args.all) {
            (true, _) => Renew::Authority,
            (false, true) => Renew::Leaves,
            (false, false) => Renew::Due,
        };
        context.secrets(&loaded, Make::Keep)?;
        let names = certificate_names(&loaded.profile);
        renewed = certificates::renew(&loaded.state, &names, &backends, which)?;
    }
    let all = certificates::list(&loaded.state, &backends)?;
    if all.is_empty() && !context.global.json {
        context.printer.data("there are no certificates yet; `mastic deploy` makes them");
        return Ok(Exit::Done);
    }
    let placed = match observe(context, &loaded).await {
        Ok(observed) => Some(placed(&all, &resolve_offline(context, &loaded)?.0, &observed)),
        Err(error) => {
            context.printer.say(&format!("note: whether they are in their containers is not known: {error}"));
            None
        }
    };
    let now = Timestamp::now();
    let rows: Vec<Row<'_>> = all
        .iter()
        .enumerate()
        .map(|(index, certificate)| Row {
            certificate,
            renewed: renewed.iter().any(|new| new.bundle.expose() == certificate.bundle.expose()),
            placed: placed.as_ref().and_then(|placed| placed.get(index).copied()).unwrap_or(Placed::Unknown),
            days: certificate.days_left(now),
        })
        .collect();
    show(context, &rows, now)?;
    let open = rows.iter().any(|row| row.certificate.is_due(now) || row.placed == Placed::Elsewhere);
    Ok(if open { Exit::Changes } else { Exit::Done })
}

async fn observe(context: &Context, loaded: &Loaded) -> Result<Observed> {
    let engines = context.engines(&loaded.profile).await?;
    context.observe(loaded, &engines).await
}

/// Whether a certificate is in the containers that use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placed {
    /// In all that run.
    Here,
    /// Not in all: `deploy` brings it there.
    Elsewhere,
    /// No container that uses it runs.
    Unused,
    /// The engines could not be asked.
    Unknown,
}

impl Placed {
    fn as_str(self) -> &'static str {
        match self {
            Self::Here => "yes",
            Self::Elsewhere => "no",
            Self::Unused => "not in use",
            Self::Unknown => "unknown",
        }
    }
}

struct Row<'a> {
    certificate: &'a Certificate,
    renewed: bool,
    placed: Placed,
    days: i64,
}

/// Compares what containers should hold with what those that run were made with.
fn placed(all: &[Certificate], desired: &Desired, observed: &Observed) -> Vec<Placed> {
    let running: BTreeMap<Slot, SpecRecord> = observed
        .hosts
        .iter()
        .flat_map(|(host, there)| there.containers.iter().map(move |container| (host, container)))
        .filter(|(_, container)| container.state == ContainerState::Running)
        .filter_map(|(host, container)| {
            let labels = container.slot_labels.as_ref()?;
            let slot = Slot { host: host.clone(), container: labels.container.clone() };
            Some((slot, serde_json::from_str(&labels.spec).ok()?))
        })
        .collect();
    all.iter()
        .map(|certificate| {
            let files =
                desired.containers.values().flat_map(|spec| spec.files.iter().map(move |f| (spec, f)));
            let mut found = Placed::Unused;
            for (spec, file) in files.filter(|(_, f)| f.content == certificate.content().as_bytes()) {
                let Some(record) = running.get(&spec.slot) else { continue };
                let there = record.files.get(&file.path).is_some_and(|have| have.starts_with(&file.digest()));
                if !there {
                    return Placed::Elsewhere;
                }
                found = Placed::Here;
            }
            found
        })
        .collect()
}

fn name(usage: &Use) -> String {
    match usage {
        Use::Authority => "authority".to_owned(),
        Use::Endpoints => "endpoints".to_owned(),
        Use::Backend(service) => format!("backend {service}"),
    }
}

fn show(context: &Context, rows: &[Row<'_>], now: Timestamp) -> Result<()> {
    let day = |at: Timestamp| at.strftime("%Y-%m-%d").to_string();
    if context.global.json {
        let list: Vec<_> = rows
            .iter()
            .map(|row| {
                let c = row.certificate;
                json!({
                    "name": name(&c.usage), "path": c.path, "names": c.names, "not_before": c.not_before.to_string(),
                    "not_after": c.not_after.to_string(), "days_left": row.days, "due": c.is_due(now), "renewed": row.renewed,
                    "in_containers": match row.placed {
                        Placed::Here => Some(true),
                        Placed::Elsewhere => Some(false),
                        Placed::Unused | Placed::Unknown => None,
                    },
                })
            })
            .collect();
        context.printer.data(&serde_json::to_string_pretty(&json!({"version": 1, "certificates": list}))?);
        return Ok(());
    }
    let head = ["CERTIFICATE", "ENDS", "DAYS", "IN CONTAINERS", "FOR"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    for row in rows {
        let c = row.certificate;
        let names = c.names.iter().cloned().collect::<Vec<_>>().join(", ");
        let days = row.days.to_string();
        lines.push(vec![name(&c.usage), day(c.not_after), days, row.placed.as_str().to_owned(), names]);
    }
    context.printer.data(&table(&lines));
    for row in rows {
        let (name, ends) = (name(&row.certificate.usage), day(row.certificate.not_after));
        if row.renewed {
            context.printer.say(&format!("{name}: new, good until {ends}"));
        }
        if row.days < 0 {
            context.printer.say(&format!("warning: {name} has ended on {ends}: nobody trusts it any more"));
        } else if row.certificate.is_due(now) {
            let days = row.days;
            context
                .printer
                .say(&format!("warning: {name} ends in {days} days; the next `mastic deploy` renews it"));
        }
        if row.placed == Placed::Elsewhere {
            context
                .printer
                .say(&format!("{name}: not yet in its containers; `mastic deploy` brings it there"));
        }
        if row.renewed && row.certificate.usage == Use::Authority {
            context
                .printer
                .say("every client needs the new ca.crt; `mastic post-deploy` writes clouds.yaml with it");
        }
    }
    Ok(())
}
