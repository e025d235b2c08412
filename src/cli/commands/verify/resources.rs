//! `mastic verify --resources`: what is left on purpose, and looked at again.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use serde_json::json;

use crate::cli::args::{ResourcesAct, VerifyArgs};
use crate::cli::context::{Context, Engines};
use crate::cli::exit::{CliError, Exit};
use crate::cli::interrupt::Interruptible;
use crate::cli::printer::table;
use crate::cli::session::Loaded;
use crate::model::desired::IdentityAccess;
use crate::store::files;
use crate::verify::resources::{self, Finding, Kept};
use crate::verify::{Choice, Facts, Options, Verdict};
use tokio_util::sync::CancellationToken;

/// In the deployment's state.
const FILE: &str = "resources.json";

/// The cloud that they are in.
pub(super) struct Cloud<'a> {
    pub(super) loaded: &'a Loaded,
    pub(super) engines: &'a Engines,
    pub(super) access: IdentityAccess,
    pub(super) facts: Facts,
}

/// Makes, looks, deletes.
pub(super) async fn run(
    context: &Context,
    args: &VerifyArgs,
    act: ResourcesAct,
    cloud: Cloud<'_>,
) -> Result<Exit> {
    let Cloud { loaded, engines, access, facts } = cloud;
    let lock = super::lock(loaded)?;
    let file = loaded.state.join(FILE);
    let kept = read(&file)?;
    let guest = match act {
        ResourcesAct::Create => {
            let boots = ["compute", "image", "network"].iter().all(|kind| facts.services.contains_key(*kind));
            super::guest(context, loaded, engines, args, boots).await?
        }
        ResourcesAct::Check | ResourcesAct::Delete => None,
    };
    let options = Options {
        facts,
        access,
        state: loaded.state.clone(),
        deployment: loaded.profile.document.deployment.to_string(),
        release: loaded.profile.document.release.to_string(),
        machine: super::machine(),
        choice: Choice::default(),
        guest,
        browser: None,
        keep: false,
    };
    let reporter = Arc::clone(&context.reporter);
    let found = match act {
        ResourcesAct::Create => {
            if let Some(kept) = kept {
                return Err(CliError::new(format!(
                    "{} is there already, made by {}",
                    kept.name, kept.release
                ))
                .help("`mastic verify --resources check`, or `--resources delete` first")
                .into());
            }
            let cancel = CancellationToken::new();
            let interruptible = Interruptible {
                cancel: cancel.clone(),
                over: CancellationToken::new(),
                first: "interrupted: deleting what was made; again to leave it",
                second: "left as it is",
            };
            let watch = interruptible.listen(context.printer);
            let made = resources::create(&options, reporter, &cancel).await;
            watch.abort();
            let (found, kept) = made?;
            if let Some(kept) = kept {
                // With its user's password in it.
                files::write_atomic(&file, kept.json().as_bytes(), 0o600)?;
            }
            found
        }
        ResourcesAct::Check => {
            let kept = kept.ok_or_else(nothing)?;
            resources::check(&options, &kept, args.data_plane, reporter).await?
        }
        ResourcesAct::Delete => {
            let kept = kept.ok_or_else(nothing)?;
            match resources::delete(&options, &kept.name, reporter).await? {
                Ok(what) => context.printer.say(&format!("{}: removed {what}", kept.name)),
                Err(left) => {
                    let message = format!("{}: not everything could be deleted:\n{left}", kept.name);
                    return Err(CliError::new(message).exit(Exit::Failed).into());
                }
            }
            fs_err::remove_file(&file)?;
            Vec::new()
        }
    };
    drop(lock);
    publish(context, &found);
    if resources::is_good(&found) {
        return Ok(Exit::Done);
    }
    let bad: Vec<&str> = found.iter().filter(|one| !is_passed(one)).map(|one| one.what).collect();
    Err(CliError::new(format!("not as it should be: {}", bad.join(", "))).exit(Exit::Failed).into())
}

fn nothing() -> CliError {
    CliError::new("no resources were left").help("`mastic verify --resources create`")
}

fn read(file: &PathBuf) -> Result<Option<Kept>> {
    if !file.exists() {
        return Ok(None);
    }
    let kept = Kept::parse(&fs_err::read(file)?);
    let kept = kept.ok_or_else(|| {
        CliError::new(format!("{} is damaged, or of a later version of Mastic", file.display()))
            .help("its project, named mastic-resources-..., is for you to delete")
    })?;
    Ok(Some(kept))
}

fn is_passed(finding: &Finding) -> bool {
    matches!(finding.verdict, Verdict::Passed(_))
}

fn publish(context: &Context, found: &[Finding]) {
    if context.global.json {
        let rows: Vec<_> = found
            .iter()
            .map(|one| {
                json!({
                    "what": one.what, "outcome": one.verdict.word(), "seconds": one.took.as_secs_f64(),
                    "detail": one.verdict.detail(),
                })
            })
            .collect();
        let document = json!({"version": 1, "ok": resources::is_good(found), "resources": rows});
        context.printer.data(&document.to_string());
        return;
    }
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|one| {
            let word = if is_passed(one) { "ok" } else { "FAILED" };
            let detail = one.verdict.detail().lines().next().unwrap_or_default().to_owned();
            vec![word.to_owned(), one.what.to_owned(), format!("{:.1} s", one.took.as_secs_f64()), detail]
        })
        .collect();
    if !rows.is_empty() {
        context.printer.data(&table(&rows));
    }
}
