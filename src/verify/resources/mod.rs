//! Resources that outlive a run: made under one release, looked at under another, after a rollback, or with every API away, and
//! deleted at last. What OpenStack's own upgrade tests (Grenade) ask of a service, for all of them.

mod acts;
mod kept;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

pub use kept::Kept;

use super::acts::{identity, network};
use super::purge::Purge;
use super::report::Verdict;
use super::scene::{Net, Scene};
use super::steps::{Choice, StepId, choose};
use super::walk::{ActResult, Failure, out_of_time, walk};
use super::{Options, clean_up, names, password};
use crate::cloud::{Api, CloudError, Login, Session};
use crate::model::Secret;
use crate::report::event::Outcome;
use crate::report::{Event, Reporter};
use kept::{Made, VERSION};

/// One thing that was made or looked at.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Which.
    pub what: &'static str,
    /// How it went.
    pub verdict: Verdict,
    /// How long it took.
    pub took: Duration,
}

/// Steps of an ordinary run whose results are left.
const LEFT: [StepId; 6] =
    [StepId::Token, StepId::Image, StepId::Ping, StepId::Http, StepId::Volume, StepId::Attach];
/// A look that takes longer has failed: the slowest waits for a guest to see a disk.
const DEADLINE: Duration = Duration::from_mins(4);

/// Makes them. Nothing is left where not all could be made.
pub async fn create(
    options: &Options,
    reporter: Arc<dyn Reporter>,
    cancel: &CancellationToken,
) -> Result<(Vec<Finding>, Option<Kept>), CloudError> {
    let now = Timestamp::now();
    let name = names::resources_name(&options.machine, u64::try_from(now.as_second()).unwrap_or_default());
    let login = Login::administrator(&options.access, &options.facts.region);
    let admin = Session::open(&options.state, &login).await?;
    let secret = password();
    let scene =
        Scene::new(options, admin.other(&login).await?, name.clone(), secret.clone(), reporter.clone());
    let steps = choose(&options.facts, &Choice { only: LEFT.into(), ..Choice::default() });
    reporter.on(Event::Phase { title: format!("making {name}"), total: Some(steps.len()) });
    let mut found: Vec<Finding> = walk(&steps, &scene, reporter.as_ref(), cancel)
        .await
        .into_iter()
        .map(|step| Finding { what: step.step.name(), verdict: step.verdict, took: step.took })
        .collect();
    let mut made = Made::default();
    if is_good(&found) {
        let reporter = reporter.as_ref();
        if let Some(image) = scene.made.image.get() {
            let id = image.clone();
            let act: BoxFuture<'_, ActResult> = Box::pin(acts::image_digest(&scene, image));
            let digest = look(&scene, ("image-digest", StepId::Image), act, reporter, &mut found).await;
            (made.image, made.image_digest) = (Some(id), digest);
        }
        if scene.user().is_ok_and(|user| user.has(Api::ObjectStore)) {
            let act = Box::pin(acts::make_object(&scene));
            made.object = look(&scene, ("object", StepId::Object), act, reporter, &mut found).await;
        }
        if scene.user().is_ok_and(|user| user.has(Api::Orchestration)) {
            let act = async {
                let (id, output) = acts::make_stack(&scene).await?;
                Ok(format!("{id} {output}"))
            };
            if let Some(said) =
                look(&scene, ("stack", StepId::Stack), Box::pin(act), reporter, &mut found).await
                && let Some((id, output)) = said.split_once(' ')
            {
                (made.stack, made.stack_output) = (Some(id.to_owned()), Some(output.to_owned()));
            }
        }
        let net = scene.made.net.get();
        made.port = net.map(|net| net.port.clone());
        made.fixed = net.map(|net| net.address.clone());
        made.server = scene.made.server.get().cloned();
        made.floating = scene.made.floating.get().copied();
        made.volume = scene.made.volume.get().cloned();
        made.written = scene.made.written.get().cloned();
    }
    if !is_good(&found) {
        let purge = Purge { admin: &admin, login: &login, reporter: reporter.as_ref() };
        if let (Err(why), _) = clean_up(&purge, &name, reporter.as_ref()).await {
            reporter.on(Event::Warning { message: format!("{name} is not wholly deleted: {why}") });
        }
        return Ok((found, None));
    }
    let kept = Kept {
        version: VERSION,
        name,
        release: options.release.clone(),
        made_at: now.to_string(),
        password: secret.expose().to_owned(),
        made,
    };
    Ok((found, Some(kept)))
}

/// Looks at them, and uses them as their owner does. With `data_plane`, only at what must go on while no API answers.
pub async fn check(
    options: &Options,
    kept: &Kept,
    data_plane: bool,
    reporter: Arc<dyn Reporter>,
) -> Result<Vec<Finding>, CloudError> {
    let login = Login::administrator(&options.access, &options.facts.region);
    reporter.on(Event::Phase {
        title: format!("looking at {}, made by {}", kept.name, kept.release),
        total: None,
    });
    // With every API away there is no session, and none is needed.
    let secret = Secret::new(kept.password.clone());
    let admin =
        if data_plane { Session::of_nobody()? } else { Session::open(&options.state, &login).await? };
    let scene = Scene::new(options, admin, kept.name.clone(), secret, reporter.clone());
    taken_up(&scene, &kept.made);
    let made = &kept.made;
    let reporter = reporter.as_ref();
    let mut found = Vec::new();
    if !data_plane {
        let act = Box::pin(identity::token(&scene));
        look(&scene, ("token", StepId::Token), act, reporter, &mut found).await;
        if !is_good(&found) {
            return Ok(found);
        }
    }
    let mut looks: Vec<((&'static str, StepId), BoxFuture<'_, ActResult>)> = Vec::new();
    if made.floating.is_some() {
        looks.push((("ping", StepId::Ping), Box::pin(network::ping(&scene))));
        looks.push((("http", StepId::Http), Box::pin(network::http(&scene))));
    }
    if !data_plane {
        if made.image.is_some() {
            looks.push((("image", StepId::Image), Box::pin(acts::image(&scene, made))));
        }
        if made.port.is_some() {
            looks.push((("network", StepId::Network), Box::pin(acts::network(&scene, made))));
        }
        if made.server.is_some() {
            looks.push((("server", StepId::Server), Box::pin(acts::server(&scene, made))));
        }
        if made.volume.is_some() {
            looks.push((("volume", StepId::Reread), Box::pin(acts::volume(&scene, made))));
        }
        if made.object.is_some() {
            looks.push((("object", StepId::Object), Box::pin(acts::object(&scene, made))));
        }
        if made.stack.is_some() {
            looks.push((("stack", StepId::Stack), Box::pin(acts::stack(&scene, made))));
        }
    }
    for (what, act) in looks {
        look(&scene, what, act, reporter, &mut found).await;
    }
    Ok(found)
}

/// Deletes them. Returns what that was.
pub async fn delete(
    options: &Options,
    name: &str,
    reporter: Arc<dyn Reporter>,
) -> Result<Result<String, String>, CloudError> {
    let login = Login::administrator(&options.access, &options.facts.region);
    let admin = Session::open(&options.state, &login).await?;
    let purge = Purge { admin: &admin, login: &login, reporter: reporter.as_ref() };
    Ok(clean_up(&purge, name, reporter.as_ref()).await.0)
}

/// Returns whether all went well.
pub fn is_good(found: &[Finding]) -> bool {
    found.iter().all(|finding| matches!(finding.verdict, Verdict::Passed(_)))
}

/// The steps of an ordinary run find what an earlier one made.
fn taken_up(scene: &Scene, made: &Made) {
    let Made { server, floating, volume, written, port, fixed, image, .. } = made.clone();
    let cells = [
        (&scene.made.image, image),
        (&scene.made.server, server),
        (&scene.made.volume, volume),
        (&scene.made.written, written),
    ];
    for (cell, value) in cells {
        if let Some(value) = value {
            let _ = cell.set(value);
        }
    }
    if let Some(address) = floating {
        let _ = scene.made.floating.set(address);
    }
    if let (Some(port), Some(address)) = (port, fixed) {
        let _ = scene.made.net.set(Net { external: None, security_group: String::new(), port, address });
    }
}

/// One look, told as it goes: its name, and the step whose sights are its own. Returns what it saw.
async fn look(
    scene: &Scene,
    (what, step): (&'static str, StepId),
    act: BoxFuture<'_, ActResult>,
    reporter: &dyn Reporter,
    found: &mut Vec<Finding>,
) -> Option<String> {
    let began = Instant::now();
    let key = what.to_owned();
    reporter.on(Event::Started { key: key.clone(), host: None, title: key.clone() });
    let result =
        tokio::time::timeout(DEADLINE, act).await.unwrap_or_else(|_| Err(out_of_time(scene, step, DEADLINE)));
    let took = began.elapsed();
    let (verdict, outcome) = match &result {
        Ok(seen) => (Verdict::Passed(seen.clone()), Outcome::Done),
        Err(Failure(why)) => (Verdict::Failed(why.clone()), Outcome::Failed(why.clone())),
    };
    reporter.on(Event::Finished { key, outcome, took });
    found.push(Finding { what, verdict, took });
    result.ok()
}
