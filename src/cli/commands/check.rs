//! `mastic check`: every container's own check, now, and a token from the cloud.

use std::time::Instant;

use anyhow::Result;
use futures::future::join_all;
use serde_json::json;

use crate::cli::args::CheckArgs;
use crate::cli::context::Context;
use crate::cli::exit::{CliError, Exit};
use crate::cli::printer::table;
use crate::cli::session::Make;
use crate::engine::ExecRequest;
use crate::model::labels::LabelRole;
use crate::model::{ContainerState, spec::SpecRecord};

/// One check's result.
struct Row {
    what: String,
    ok: bool,
    detail: String,
    seconds: f64,
}

/// Runs all checks at once.
pub async fn run(context: &Context, args: &CheckArgs) -> Result<Exit> {
    let loaded = context.load()?;
    let engines = context.engines(&loaded.profile).await?;
    let observed = context.observe(&loaded, &engines).await?;
    let selection = context.selection(&args.selection, &loaded, &observed)?;
    let redactor = context.redactor(&loaded)?;
    let mut checks = Vec::new();
    for (engine, container) in context.running(&loaded, &engines, &[]).await? {
        let Some(labels) = container.slot_labels.clone() else { continue };
        if labels.role != LabelRole::Service || !selection.has(&labels.set, &labels.service) {
            continue;
        }
        let redactor = &redactor;
        checks.push(async move {
            let began = Instant::now();
            let what = labels.container.to_string();
            let record: Option<SpecRecord> = serde_json::from_str(&labels.spec).ok();
            let (ok, detail) = if container.state != ContainerState::Running {
                (false, "it does not run".to_owned())
            } else {
                match record.and_then(|r| r.check) {
                    None => (true, "running; it has no check".to_owned()),
                    Some(check) => {
                        let request = ExecRequest { command: check.argv(None), ..ExecRequest::default() };
                        match engine.exec(&container.id, &request).await {
                            Ok(outcome) => {
                                let said = [outcome.stdout, outcome.stderr].concat();
                                let said =
                                    redactor.redact(String::from_utf8_lossy(&said).trim()).into_owned();
                                let targets = check.targets.join(", ");
                                (outcome.code == 0, if outcome.code == 0 { targets } else { said })
                            }
                            Err(error) => (false, error.to_string()),
                        }
                    }
                }
            };
            Row { what, ok, detail, seconds: began.elapsed().as_secs_f64() }
        });
    }
    let mut rows = join_all(checks).await;
    if rows.is_empty() {
        return Err(CliError::new("nothing is deployed").help("`mastic deploy`").into());
    }

    let desired = context.desired(&loaded, &engines, Make::Pretend).await?;
    if let Some(access) = desired.identity.access.as_ref().filter(|_| selection.is_everything()) {
        let began = Instant::now();
        let answer = match context.same_secrets(&loaded, &observed) {
            Ok(()) => {
                let answer = crate::cloud::check(&loaded.state, &desired, access).await;
                answer.map(|report| report.to_string()).map_err(anyhow::Error::from)
            }
            Err(error) => Err(error),
        };
        let (ok, detail) = match answer {
            Ok(report) => (true, report),
            Err(error) => (false, redactor.redact(&format!("{error:#}")).into_owned()),
        };
        rows.push(Row { what: "a token".to_owned(), ok, detail, seconds: began.elapsed().as_secs_f64() });
    }
    let failed = rows.iter().filter(|r| !r.ok).count();
    if context.global.json {
        let list: Vec<_> = rows
            .iter()
            .map(|r| json!({"what": r.what, "ok": r.ok, "detail": r.detail, "seconds": r.seconds}))
            .collect();
        let document = json!({"version": 1, "ok": failed == 0, "checks": list});
        context.printer.data(&serde_json::to_string_pretty(&document)?);
    } else {
        let lines: Vec<Vec<String>> = rows
            .iter()
            .map(|r| {
                let word = if r.ok { "ok" } else { "FAILED" };
                vec![
                    word.to_owned(),
                    r.what.clone(),
                    format!("{:.2} s", r.seconds),
                    r.detail.replace('\n', "; "),
                ]
            })
            .collect();
        context.printer.data(&table(&lines));
    }
    if failed > 0 {
        return Err(CliError::new(format!("{failed} of {} checks failed", rows.len()))
            .help("`mastic logs NAME -n 50` shows what a container says")
            .into());
    }
    Ok(Exit::Done)
}

/// `mastic post-deploy`
pub async fn post_deploy(context: &Context) -> Result<Exit> {
    let loaded = context.load()?;
    let engines = context.engines(&loaded.profile).await?;
    context.same_secrets(&loaded, &context.observe(&loaded, &engines).await?)?;
    let desired = context.desired(&loaded, &engines, Make::Pretend).await?;
    let Some(access) = &desired.identity.access else {
        return Err(CliError::new("the profile has no identity service, so there is nothing to write").into());
    };
    let deployment = desired.deployment.as_str();
    let files =
        crate::cloud::write_client_files(&loaded.state, deployment, &desired.identity.region, access)?;
    if context.global.json {
        let document = json!({
            "version": 1, "cloud": deployment, "clouds": files.clouds, "openrc": files.openrc,
        });
        context.printer.data(&serde_json::to_string_pretty(&document)?);
    } else {
        context.printer.data(&format!("{}\n{}", files.clouds.display(), files.openrc.display()));
    }
    Ok(Exit::Done)
}
