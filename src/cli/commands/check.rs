//! `mastic check`: every container's own check, now, and a token from the cloud.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::future::join_all;
use serde_json::json;

use crate::cli::args::CheckArgs;
use crate::cli::context::{Context, Engines};
use crate::cli::exit::{CliError, Exit};
use crate::cli::printer::table;
use crate::cli::session::{Loaded, Make};
use crate::engine::{Engine, ExecRequest};
use crate::model::labels::LabelRole;
use crate::model::{CheckSpec, ContainerId, ContainerState, Observed, spec::SpecRecord};
use crate::plan::Selection;

/// Between two looks at what sends no event: a container that does not run, a token that is refused.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How long a container may take to pass its check before an upgrade of it is refused.
const PATIENCE: Duration = Duration::from_secs(10);

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
    // One deadline for all that is asked, one after the other or at once.
    let ends = Instant::now() + Duration::from_secs(u64::from(args.wait));
    let mut rows = containers(context, &loaded, &engines, &observed, &selection, ends).await?;
    if rows.is_empty() {
        return Err(CliError::new("nothing is deployed").help("`mastic deploy`").into());
    }

    let desired = context.desired(&loaded, &engines, Make::Pretend).await?;
    if let Some(access) = desired.identity.access.as_ref().filter(|_| selection.is_everything()) {
        let began = Instant::now();
        let (ok, detail) = match context.same_secrets(&loaded, &observed) {
            Ok(()) => {
                patiently(ends, async |_| match crate::cloud::check(&loaded.state, &desired, access).await {
                    Ok(report) => (true, report.to_string()),
                    Err(error) => (false, format!("{:#}", anyhow::Error::from(error))),
                })
                .await
            }
            Err(error) => (false, format!("{error:#}")),
        };
        let detail = redactor.redact(&detail).into_owned();
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

/// Requires that what an upgrade is to change is well: whatever fails later could not be told from what had failed before.
pub async fn refuse_unwell(
    context: &Context,
    loaded: &Loaded,
    engines: &Engines,
    observed: &Observed,
    selection: &Selection,
) -> Result<()> {
    let ends = Instant::now() + PATIENCE;
    let rows = containers(context, loaded, engines, observed, selection, ends).await?;
    let failed: Vec<String> =
        rows.iter().filter(|row| !row.ok).map(|row| format!("  {}: {}", row.what, row.detail)).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let (count, all) = (failed.len(), rows.len());
    Err(CliError::new(format!(
        "the cloud is not well: {count} of {all} checks failed; nothing was touched\n{}",
        failed.join("\n")
    ))
    .help("`mastic start` starts what does not run, `mastic logs NAME` shows what it says; `--unwell` upgrades it all the same")
    .into())
}

/// Runs the checks of all containers of a part that should serve, at once.
async fn containers(
    context: &Context,
    loaded: &Loaded,
    engines: &Engines,
    observed: &Observed,
    selection: &Selection,
    ends: Instant,
) -> Result<Vec<Row>> {
    let redactor = context.redactor(loaded)?;
    let mut checks = Vec::new();
    for (engine, container) in context.running(loaded, engines, &[]).await? {
        let Some(labels) = container.slot_labels.clone() else { continue };
        if labels.role != LabelRole::Service || !selection.has(&labels.set, &labels.service) {
            continue;
        }
        // What an open upgrade keeps does not serve.
        if observed.is_superseded(&labels) && container.state != ContainerState::Running {
            continue;
        }
        let redactor = &redactor;
        checks.push(async move {
            let began = Instant::now();
            let what = labels.container.to_string();
            let record: Option<SpecRecord> = serde_json::from_str(&labels.spec).ok();
            let check = record.and_then(|record| record.check);
            let (ok, detail) =
                patiently(ends, async |left| one(&engine, &container.id, check.as_ref(), left).await).await;
            let detail = redactor.redact(&detail).into_owned();
            Row { what, ok, detail, seconds: began.elapsed().as_secs_f64() }
        });
    }
    Ok(join_all(checks).await)
}

/// Asks until the answer is good or the time is over. What asks is told the seconds left, to wait by itself.
async fn patiently(ends: Instant, mut ask: impl AsyncFnMut(u32) -> (bool, String)) -> (bool, String) {
    loop {
        let left = ends.saturating_duration_since(Instant::now());
        let answer = ask(u32::try_from(left.as_secs()).unwrap_or(u32::MAX)).await;
        if answer.0 || Instant::now() + LOOK_AGAIN > ends {
            return answer;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Runs one container's check, which waits that many seconds by itself.
async fn one(
    engine: &Arc<dyn Engine>,
    id: &ContainerId,
    check: Option<&CheckSpec>,
    wait: u32,
) -> (bool, String) {
    match engine.container(&id.0).await {
        Ok(there) if there.state == ContainerState::Running => {}
        Ok(_) => return (false, "it does not run".to_owned()),
        Err(error) => return (false, error.to_string()),
    }
    let Some(check) = check else { return (true, "running; it has no check".to_owned()) };
    let command = check.argv(Some(wait).filter(|seconds| *seconds > 0));
    match engine.exec(id, &ExecRequest { command, ..ExecRequest::default() }).await {
        Ok(outcome) if outcome.code == 0 => (true, check.targets.join(", ")),
        Ok(outcome) => {
            let said = [outcome.stdout, outcome.stderr].concat();
            (false, String::from_utf8_lossy(&said).trim().to_owned())
        }
        Err(error) => (false, error.to_string()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_questions_together_must_end_by_one_deadline() {
        let ends = Instant::now();
        let mut asked = 0;
        for _ in 0..2 {
            let no = async |left: u32| {
                asked += 1;
                assert_eq!(left, 0);
                (false, "no".to_owned())
            };
            assert_eq!(patiently(ends, no).await, (false, "no".to_owned()));
        }
        assert_eq!(asked, 2, "what is over is asked once, and not again");
    }
}
