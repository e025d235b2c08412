//! `mastic up`: from a fresh machine to a token.

use std::time::Instant;

use anyhow::Result;

use crate::bootstrap;
use crate::cli::args::{BuildArgs, CheckArgs, DeployArgs, Selection, UpArgs};
use crate::cli::commands::{change, check, image};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::report::plain::duration;

/// Engine, images, deployment, check.
pub async fn run(context: &Context, args: &UpArgs) -> Result<Exit> {
    let began = Instant::now();
    // A broken profile must be said before anything is installed.
    let loaded = context.load()?;
    if !args.no_bootstrap {
        image::bootstrap(context, &bootstrap::Options::default()).await?;
    }
    if !args.no_build {
        let build = BuildArgs { only: Vec::new(), plan: false, no_cache: false, all: false, push: false };
        image::build_images(context, &loaded, &build).await?;
    }
    let engines = context.engines(&loaded.profile).await?;
    let deploy = DeployArgs {
        selection: Selection::default(),
        consent: args.consent.clone(),
        plan: None,
        message: Some("up".to_owned()),
        probe: false,
    };
    let terms = change::Terms { message: "up".to_owned(), ..change::Terms::new(&args.consent) };
    let change = change::Change { loaded: &loaded, engines: &engines, terms };
    let exit = change::deploy_with(context, &change, &deploy).await?;
    if exit != Exit::Done {
        return Ok(exit);
    }
    if !context.global.json {
        check::run(context, &CheckArgs { selection: Selection::default(), wait: 0 }).await?;
    }
    context.printer.say(&format!(
        "\nThe cloud is up after {}.\n{}",
        duration(began.elapsed()),
        next(context, &loaded)
    ));
    Ok(Exit::Done)
}

/// What a person does next.
fn next(context: &Context, loaded: &crate::cli::session::Loaded) -> String {
    let deployment = &loaded.profile.document.deployment;
    let state = loaded.state.display();
    let profile = context.global.profile.as_ref().map(|p| format!(" -p {p}")).unwrap_or_default();
    let endpoint = loaded.profile.identity_url().unwrap_or_default();
    format!(
        "\n  endpoint      {endpoint}\n  clouds.yaml   {state}/clouds.yaml  (cloud `{deployment}`)\n  openrc        {state}/openrc\n\n\
         Try:\n  mastic{profile} openstack token issue\n  mastic{profile} status\n  \
         export OS_CLIENT_CONFIG_FILE={state}/clouds.yaml OS_CLOUD={deployment}\n\n\
         `mastic` is target/release/mastic, or: cargo run --release --"
    )
}
