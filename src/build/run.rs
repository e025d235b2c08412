//! Carries out a build plan: several images at once, parents before children, live progress, retries for the network only.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde::Serialize;
use tokio_util::io::ReaderStream;

use super::graph::{DEBIAN, Graph, GraphError};
use super::host::{self, Host};
use super::input::{Base, BaseDocument, Inputs, Settings};
use super::plan::{BuildPlan, Decision, Planned, short_parts};
use super::{context, dockerfile, fault};
use crate::engine::{BuildEvent, BuildRequest, Engine, EngineError};
use crate::model::labels::{IMAGE, INPUT_HASH, INPUTS, PARENTS};
use crate::model::{ImageId, ImageName};
use crate::profile::Library;
use crate::report::event::Outcome;
use crate::report::{Event, Reporter};

/// Builds at a time: two keep two cores and the mirrors busy.
const AT_ONCE: usize = 2;
/// Attempts where the network was at fault.
const ATTEMPTS: usize = 3;
/// Lines of a failed build that are shown.
const TAIL: usize = 20;

/// Why an image was not built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The image folders have mistakes.
    #[error("{0}")]
    Graph(#[from] GraphError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// There is no such image.
    #[error("there is no image `{0}` under images/")]
    Unknown(String),
    /// It failed.
    #[error("image {image} was not built: {reason}")]
    Failed {
        /// Which.
        image: String,
        /// Why, with its last lines.
        reason: String,
    },
    /// The engine has no room for it.
    #[error(
        "image {image} was not built: the disk is full where the engine keeps its data{place}:\n{reason}"
    )]
    Full {
        /// Which.
        image: String,
        /// ` (PATH on ENDPOINT)`, where the engine tells.
        place: String,
        /// The last lines.
        reason: String,
    },
}

/// One image after a build.
#[derive(Clone, Debug, Serialize)]
pub struct Built {
    /// Folder name.
    pub image: String,
    /// Name and tag.
    pub reference: String,
    /// Content address.
    pub id: ImageId,
    /// Whether nothing had to be done.
    pub unchanged: bool,
    /// How long it took.
    pub seconds: f64,
}

/// All that a build needs to know.
#[derive(Debug)]
pub struct Job {
    graph: Graph,
    inputs: Inputs,
    settings: Settings,
    /// Images whose cached layers are forgotten.
    forced: BTreeSet<String>,
    /// What is to be done.
    pub plan: BuildPlan,
}

/// Whether layers that were built before may be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// They may.
    Use,
    /// Not those of the wanted images; what they stand on is left as it is, for others stand on it, too.
    ForgetWanted,
    /// None.
    ForgetAll,
}

/// Works out what must be built. `wanted` restricts it to some images and what they stand on.
pub async fn prepare(
    engine: &dyn Engine,
    library: &Library,
    settings: Settings,
    wanted: &BTreeSet<ImageName>,
    cache: Cache,
) -> Result<Job, BuildError> {
    let suite = super::input::suite(library, &settings)?;
    let given = [("RELEASE", settings.release.as_str()), ("SUITE", suite.as_str())];
    let graph = super::graph::read(library, &given)?;
    if let Some((unknown, _)) = graph.unknown(wanted).first() {
        return Err(BuildError::Unknown(unknown.to_string()));
    }
    let inputs = super::input::collect(library, &graph, &settings)?;
    let order = graph.closure(wanted);
    let present = engine.images().await?;
    let forced: BTreeSet<String> = match cache {
        Cache::Use => BTreeSet::new(),
        Cache::ForgetWanted => wanted.iter().map(ToString::to_string).collect(),
        Cache::ForgetAll => order.iter().map(ToString::to_string).chain([DEBIAN.to_owned()]).collect(),
    };
    let plan = super::plan::decide(&graph, &inputs, &settings, &order, &present, &forced);
    Ok(Job { graph, inputs, settings, forced, plan })
}

/// Carries the plan out.
pub async fn run(
    engine: Arc<dyn Engine>,
    job: &Job,
    reporter: &dyn Reporter,
) -> Result<Vec<Built>, BuildError> {
    let todo = job.plan.images.iter().filter(|p| !matches!(p.decision, Decision::Keep(_))).count();
    let host = if todo > 0 {
        reporter.on(Event::Phase { title: "building images".to_owned(), total: Some(todo) });
        host::read(&job.inputs.suite).await
    } else {
        Host::default()
    };
    let mut ready: BTreeMap<String, ImageId> = BTreeMap::new();
    let mut results: BTreeMap<String, Built> = BTreeMap::new();
    let mut begun: BTreeSet<String> = BTreeSet::new();
    let mut failed: Option<BuildError> = None;
    let mut running = FuturesUnordered::new();
    loop {
        for planned in &job.plan.images {
            let free = planned.after.iter().all(|parent| ready.contains_key(parent));
            if failed.is_some() || running.len() >= AT_ONCE || begun.contains(&planned.image) || !free {
                continue;
            }
            begun.insert(planned.image.clone());
            let parents: BTreeMap<String, ImageId> = ready
                .iter()
                .filter(|(name, _)| planned.after.contains(name))
                .map(|(n, i)| (n.clone(), i.clone()))
                .collect();
            running.push(one(engine.as_ref(), job, planned, parents, &host, reporter));
        }
        match running.next().await {
            None => break,
            Some(Ok(built)) => {
                ready.insert(built.image.clone(), built.id.clone());
                results.insert(built.image.clone(), built);
            }
            Some(Err(error)) => failed = Some(failed.unwrap_or(error)),
        }
    }
    drop(running);
    if let Some(error) = failed {
        return Err(error);
    }
    Ok(job.plan.images.iter().filter_map(|planned| results.remove(&planned.image)).collect())
}

async fn one(
    engine: &dyn Engine,
    job: &Job,
    planned: &Planned,
    parents: BTreeMap<String, ImageId>,
    host: &Host,
    reporter: &dyn Reporter,
) -> Result<Built, BuildError> {
    let began = Instant::now();
    let key = format!("image {}", planned.image);
    let made = |id: ImageId, unchanged| Built {
        image: planned.image.clone(),
        reference: planned.reference.clone(),
        id,
        unchanged,
        seconds: began.elapsed().as_secs_f64(),
    };
    let why = match &planned.decision {
        Decision::Keep(id) => return Ok(made(id.clone(), true)),
        Decision::Tag(id) => {
            engine.tag(&id.0, &planned.reference).await?;
            return Ok(made(id.clone(), false));
        }
        Decision::Pull => "pulled".to_owned(),
        Decision::Build(reasons) => reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
    };
    let title = format!("image {} ({why})", planned.image);
    reporter.on(Event::Started { key: key.clone(), host: None, title });
    let result = make(engine, job, planned, &parents, host, &key, reporter).await;
    let outcome = match &result {
        Ok(_) => Outcome::Done,
        Err(reason) => Outcome::Failed(reason.clone()),
    };
    reporter.on(Event::Finished { key, outcome, took: began.elapsed() });
    match result {
        Ok(id) => Ok(made(id, false)),
        Err(reason) if fault::is_full(std::slice::from_ref(&reason)) => {
            let place = match engine.info().await {
                Ok(info) => format!(" ({} on {})", info.data_root, engine.endpoint()),
                Err(_) => String::new(),
            };
            Err(BuildError::Full { image: planned.image.clone(), place, reason })
        }
        Err(reason) => Err(BuildError::Failed { image: planned.image.clone(), reason }),
    }
}

async fn make(
    engine: &dyn Engine,
    job: &Job,
    planned: &Planned,
    parents: &BTreeMap<String, ImageId>,
    host: &Host,
    key: &str,
    reporter: &dyn Reporter,
) -> Result<ImageId, String> {
    if planned.image == DEBIAN {
        return match &job.inputs.base {
            Base::Named(reference) => pull(engine, reference).await,
            Base::Made(document) => debootstrap(engine, planned, document, host).await,
        };
    }
    let name = ImageName::new(planned.image.as_str()).map_err(|e| e.to_string())?;
    let image = job.graph.images.get(&name).ok_or("it has no folder")?;
    let input = job.inputs.images.get(&name).ok_or("it has no input")?;
    let text = dockerfile::rewrite(&image.text, &image.file, |parent| {
        parents.contains_key(parent).then(|| {
            if parent == DEBIAN {
                job.settings.debian_reference(&job.inputs.suite)
            } else {
                ImageName::new(parent).map_or_else(|_| parent.to_owned(), |p| job.settings.reference(&p))
            }
        })
    });
    let mut files: BTreeMap<String, &[u8]> =
        input.files.iter().map(|(path, bytes)| (path.clone(), bytes.as_slice())).collect();
    if input.host {
        files.extend(host.files.iter().map(|(path, bytes)| (path.clone(), bytes.as_slice())));
    }
    files.insert("Dockerfile".to_owned(), text.as_bytes());
    let context = context::pack(&files).map_err(|e| e.to_string())?;
    let json = |map: &BTreeMap<String, String>| serde_json::to_string(map).unwrap_or_default();
    let ids = parents.iter().map(|(n, id)| (n.clone(), id.0.clone())).collect();
    let labels: BTreeMap<String, String> = [
        (IMAGE.to_owned(), planned.image.clone()),
        (INPUT_HASH.to_owned(), planned.input_hash.clone()),
        (INPUTS.to_owned(), json(&short_parts(&input.parts))),
        (PARENTS.to_owned(), json(&ids)),
    ]
    .into();
    let request = BuildRequest {
        tags: vec![planned.reference.clone()],
        context,
        dockerfile: "Dockerfile".to_owned(),
        args: input.args.clone(),
        labels,
        // The host reaches its own mirrors; the engine's bridge may be switched off, or have no way out.
        network: Some("host".to_owned()),
        no_cache: job.forced.contains(&planned.image),
    };
    let mut attempt = 1;
    loop {
        match follow(engine, request.clone(), key, reporter).await {
            Ok(id) => return Ok(id),
            Err(lines) if attempt < ATTEMPTS && fault::is_network(&lines) => {
                attempt += 1;
                let message = format!("{key}: the network failed; attempt {attempt} of {ATTEMPTS}");
                reporter.on(Event::Warning { message });
            }
            Err(lines) => {
                let from = lines.len().saturating_sub(TAIL);
                return Err(lines[from..].join("\n"));
            }
        }
    }
}

/// Reads a build to its end; on failure returns what it said.
async fn follow(
    engine: &dyn Engine,
    request: BuildRequest,
    key: &str,
    reporter: &dyn Reporter,
) -> Result<ImageId, Vec<String>> {
    let mut lines = Vec::new();
    let mut names: HashMap<String, String> = HashMap::new();
    let mut events = engine.build(request);
    while let Some(event) = events.next().await {
        match event {
            Ok(BuildEvent::Vertex { digest, name, completed, cached: _, error }) => {
                if let Some(error) = error {
                    lines.push(format!("{name}: {error}"));
                } else if !completed && names.insert(digest, name.clone()).is_none() {
                    reporter.on(Event::Progress { key: key.to_owned(), message: name, amount: None });
                }
            }
            Ok(BuildEvent::Log { digest: _, bytes }) => {
                for line in String::from_utf8_lossy(&bytes).lines() {
                    reporter.on(Event::Output { key: key.to_owned(), line: line.to_owned() });
                    lines.push(line.to_owned());
                }
            }
            Ok(BuildEvent::Done(id)) => return Ok(id),
            Err(error) => {
                lines.push(error.to_string());
                return Err(lines);
            }
        }
    }
    lines.push("the build ended without an image".to_owned());
    Err(lines)
}

async fn pull(engine: &dyn Engine, reference: &str) -> Result<ImageId, String> {
    let mut progress = engine.pull(reference);
    while let Some(step) = progress.next().await {
        step.map_err(|e| e.to_string())?;
    }
    let image = engine.image(reference).await.map_err(|e| e.to_string())?;
    image.map(|i| i.id).ok_or_else(|| format!("{reference} was pulled and is not there"))
}

/// Makes Debian's root file system on this host and streams it into the engine.
async fn debootstrap(
    engine: &dyn Engine,
    planned: &Planned,
    document: &BaseDocument,
    host: &Host,
) -> Result<ImageId, String> {
    let scratch = tempfile::tempdir().map_err(|e| e.to_string())?;
    let sources = scratch.path().join("host.sources");
    let settings = scratch.path().join("apt.conf");
    fs_err::write(&sources, &host.sources).map_err(|e| e.to_string())?;
    fs_err::write(&settings, &host.apt_settings).map_err(|e| e.to_string())?;
    let mut command = tokio::process::Command::new("mmdebstrap");
    command.arg(format!("--variant={}", document.variant)).arg("--mode=root").arg("--format=tar");
    command.arg(format!("--aptopt={}", settings.display()));
    if !document.packages.is_empty() {
        command.arg(format!("--include={}", document.packages.join(",")));
    }
    command.args(document.dpkg_options.iter().map(|o| format!("--dpkgopt={o}")));
    command.args(document.customize_hooks.iter().map(|h| format!("--customize-hook={h}")));
    command.arg(&document.suite).arg("-").arg(&sources);
    command.env("SOURCE_DATE_EPOCH", "1").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().map_err(|e| {
        format!("mmdebstrap cannot be started ({e}); `mastic bootstrap` installs it, or name a base image in `images.base`")
    })?;
    let (Some(output), Some(mut errors)) = (child.stdout.take(), child.stderr.take()) else {
        return Err("mmdebstrap has no output".to_owned());
    };
    let said = tokio::spawn(async move {
        let mut text = Vec::new();
        // What cannot be read is not shown.
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut errors, &mut text).await;
        String::from_utf8_lossy(&text).into_owned()
    });
    let labels =
        [(IMAGE.to_owned(), DEBIAN.to_owned()), (INPUT_HASH.to_owned(), planned.input_hash.clone())].into();
    let imported = engine.import_image(&planned.reference, ReaderStream::new(output).boxed(), &labels).await;
    let status = tokio::time::timeout(Duration::from_mins(1), child.wait()).await;
    let said = said.await.unwrap_or_default();
    match status {
        Ok(Ok(status)) if status.success() => imported.map_err(|e| e.to_string()),
        _ => {
            // Half a root file system must not stay under the name.
            let _ = engine.remove_image(&planned.reference).await;
            let lines: Vec<&str> = said.lines().collect();
            let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
            // An engine that stops reading (its disk is full) breaks mmdebstrap's pipe: then the engine knows why.
            Err(match imported {
                Ok(_) => format!("mmdebstrap failed:\n{tail}"),
                Err(error) => format!("{error}\nmmdebstrap said:\n{tail}"),
            })
        }
    }
}
