//! The engine boundary over the simulated world.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};

use crate::engine::{
    BuildEvent, BuildRequest, CreateRequest, Engine, EngineErrorKind, EngineEvent, EngineInfo, EngineResult,
    ExecOutcome, ExecRequest, InteractiveExec, LogOptions, OutputChunk, PullProgress, archive,
};
use crate::model::spec::INIT_PATH;
use crate::model::{
    ContainerId, DeploymentName, ImageId, ObservedContainer, ObservedImage, ObservedVolume, labels,
};

use super::SimEngine;
use super::world::{Refusal, Volume, World, context, nanos, refuse, rfc3339};

/// A stream that was refused, or whose items are known from the start.
type Items<T> = Result<Vec<Result<T, Refusal>>, Refusal>;

impl SimEngine {
    /// One call whose body is a look at the world.
    async fn ask<T: Send>(
        &self,
        method: &'static str,
        subject: &str,
        operation: &str,
        look: impl Fn(&mut World) -> Result<T, Refusal> + Send + Sync,
    ) -> EngineResult<T> {
        self.call(method, subject, operation, || {
            let answer = self.change(&look);
            async move { answer }
        })
        .await
    }

    /// Makes a stream of a call that yields all items at once.
    fn items<T: Send + 'static>(
        &self,
        method: &'static str,
        subject: String,
        operation: String,
        make: impl Fn(&mut World) -> Items<T> + Send + Sync + 'static,
    ) -> BoxStream<'static, EngineResult<T>> {
        let engine = self.clone();
        stream::once(async move {
            match engine.ask(method, &subject, &operation, make).await {
                Err(error) => vec![Err(error)],
                Ok(items) => items
                    .into_iter()
                    .map(|item| item.map_err(|(kind, words)| engine.error(&operation, kind, words)))
                    .collect(),
            }
        })
        .flat_map(stream::iter)
        .boxed()
    }

    async fn run_exec(&self, id: &ContainerId, request: &ExecRequest) -> Result<ExecOutcome, Refusal> {
        let started = self.elapsed();
        let runs = |world: &mut World| {
            let container = world.get(&id.0)?;
            if !container.is_live() {
                let words = format!("container {} is not running", container.birth.name);
                return refuse(EngineErrorKind::Conflict, words);
            }
            Ok((container.ends, container.ready_at()))
        };
        let (ends, _) = self.change(runs)?;
        let scripted = self.change(|world| {
            let key = world.find(&id.0)?;
            let Some(container) = world.containers.get(&key) else {
                return refuse(EngineErrorKind::NotFound, format!("there is no container {id}"));
            };
            Ok(world.script.outcome(&context(container), request))
        })?;
        if let Some(outcome) = scripted {
            return Ok(outcome);
        }
        let argv: Vec<&str> = request.command.iter().map(String::as_str).collect();
        let [INIT_PATH, "check", options @ ..] = argv.as_slice() else {
            return Ok(ExecOutcome { code: 0, stdout: Vec::new(), stderr: Vec::new() });
        };
        let wait = options.windows(2).find(|pair| matches!(pair, ["--wait", _])).and_then(|pair| pair.get(1));
        let deadline = started + Duration::from_secs(wait.and_then(|w| w.parse().ok()).unwrap_or(0));
        let outcome = |code, words: &str| ExecOutcome { code, stdout: Vec::new(), stderr: words.into() };
        // The check ends when it passes, when its time is up, or with its container.
        let verdict = |world: &mut World| {
            let now = world.now;
            let container = world.get(&id.0).ok()?;
            if !container.is_live() || container.ends != ends {
                Some(outcome(137, ""))
            } else if container.ready_at().is_some_and(|ready| ready <= now) {
                Some(outcome(0, ""))
            } else if now >= deadline {
                Some(outcome(1, "check failed: connection refused\n"))
            } else {
                None
            }
        };
        let ready = self.change(runs)?.1;
        let alarm = ready.map_or(deadline, |ready| ready.min(deadline));
        tokio::select! {
            found = self.until(verdict) => Ok(found),
            () = tokio::time::sleep_until(self.born + alarm) => {
                Ok(self.change(verdict).unwrap_or_else(|| outcome(137, "")))
            }
        }
    }
}

#[async_trait]
impl Engine for SimEngine {
    fn endpoint(&self) -> &str {
        &self.endpoint
    }

    async fn info(&self) -> EngineResult<EngineInfo> {
        self.ask("info", "", "ask for the engine's properties", |world| {
            Ok(EngineInfo {
                version: "28.0.0-simulated".to_owned(),
                api_version: "1.41".to_owned(),
                id: format!("simulated:{}", self.endpoint),
                name: "simulated".to_owned(),
                storage_driver: "memory".to_owned(),
                cgroup_version: "2".to_owned(),
                cpus: 2,
                memory: 8 << 30,
                data_root: "/var/lib/docker".to_owned(),
                live_restore: false,
                security_options: vec!["name=seccomp,profile=default".to_owned()],
                kernel: "6.12.0-simulated".to_owned(),
                time: super::world::rfc3339(world.now),
                unbounded: Vec::new(),
            })
        })
        .await
    }

    async fn containers(&self, deployment: &DeploymentName) -> EngineResult<Vec<ObservedContainer>> {
        let operation = format!("list the containers of {deployment}");
        self.ask("containers", deployment.as_str(), &operation, |world| {
            let ours = world
                .containers
                .values()
                .filter(|c| c.birth.labels.get(labels::DEPLOYMENT).is_some_and(|d| d == deployment.as_str()));
            let mut found: Vec<_> = ours.map(super::container::Container::observe).collect();
            found.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(found)
        })
        .await
    }

    async fn container(&self, id: &str) -> EngineResult<ObservedContainer> {
        let name = self.lock().name_of(id);
        self.ask("container", &name, &format!("inspect container {name}"), |world| {
            world.get(id).map(|container| container.observe())
        })
        .await
    }

    async fn create(&self, request: &CreateRequest<'_>) -> EngineResult<ContainerId> {
        let (CreateRequest::Spec { name, .. } | CreateRequest::Inert { name, .. }) = request;
        self.ask("create", name, &format!("create container {name}"), |world| world.create(request)).await
    }

    async fn upload(&self, id: &ContainerId, archive: Bytes) -> EngineResult<()> {
        let name = self.name_of(id);
        self.ask("upload", &name, &format!("upload files into container {name}"), |world| {
            let tree = archive::unpack(&archive).map_err(|e| (EngineErrorKind::BadRequest, e.to_string()))?;
            world.upload(&id.0, tree)
        })
        .await
    }

    async fn download(&self, id: &ContainerId, path: &str) -> EngineResult<Bytes> {
        let name = self.name_of(id);
        self.ask("download", &name, &format!("download {path} from container {name}"), |world| {
            let tree = world.download(&id.0, path)?;
            archive::pack(&tree).map_err(|e| (EngineErrorKind::Failed, e.to_string()))
        })
        .await
    }

    async fn start(&self, id: &ContainerId) -> EngineResult<()> {
        let name = self.name_of(id);
        self.ask("start", &name, &format!("start container {name}"), |world| world.start(&id.0)).await
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> EngineResult<()> {
        let name = self.name_of(id);
        self.call("stop", &name, &format!("stop container {name}"), || async {
            self.change(|world| {
                let (key, now) = (world.find(&id.0)?, world.now);
                let happened = world.get(&id.0)?.stop(now, grace);
                world.tell(&key, happened);
                world.settle(now);
                Ok(())
            })?;
            self.until(|world| world.get(&id.0).map_or(Some(()), |c| (!c.is_running()).then_some(()))).await;
            Ok(())
        })
        .await
    }

    async fn freeze(&self, id: &ContainerId) -> EngineResult<()> {
        let name = self.name_of(id);
        self.ask("freeze", &name, &format!("freeze container {name}"), |world| world.freeze(&id.0)).await
    }

    async fn thaw(&self, id: &ContainerId) -> EngineResult<()> {
        let name = self.name_of(id);
        self.ask("thaw", &name, &format!("thaw container {name}"), |world| world.thaw(&id.0)).await
    }

    async fn restarts(&self, id: &ContainerId, by_itself: bool) -> EngineResult<()> {
        let name = self.name_of(id);
        self.ask("restarts", &name, &format!("set the restart policy of container {name}"), |world| {
            world.get(&id.0)?.birth.restarts = by_itself;
            Ok(())
        })
        .await
    }

    async fn kill(&self, id: &ContainerId, signal: &str) -> EngineResult<()> {
        let name = self.name_of(id);
        self.ask("kill", &name, &format!("send {signal} to container {name}"), |world| {
            let (key, now) = (world.find(&id.0)?, world.now);
            let container = world.get(&id.0)?;
            if !container.is_live() {
                let words = format!("container {} is not running", container.birth.name);
                return refuse(EngineErrorKind::Conflict, words);
            }
            let happened = container.kill(now, signal);
            world.tell(&key, happened);
            world.settle(now);
            Ok(())
        })
        .await
    }

    async fn remove(&self, id: &ContainerId, force: bool) -> EngineResult<()> {
        let name = self.name_of(id);
        self.ask("remove", &name, &format!("remove container {name}"), |world| world.remove(&id.0, force))
            .await
    }

    async fn wait(&self, id: &ContainerId) -> EngineResult<i64> {
        let name = self.name_of(id);
        self.call("wait", &name, &format!("wait for container {name}"), || async {
            let ends = self.change(|world| world.get(&id.0).map(|c| c.ends))?;
            self.until(|world| match world.get(&id.0) {
                Err(refusal) => Some(Err(refusal)),
                Ok(c) if !c.is_running() || c.ends != ends => Some(Ok(c.exit_code.unwrap_or(0))),
                Ok(_) => None,
            })
            .await
        })
        .await
    }

    async fn exec(&self, id: &ContainerId, request: &ExecRequest) -> EngineResult<ExecOutcome> {
        let name = self.name_of(id);
        let program = request.command.first().map_or("", String::as_str);
        let operation = format!("run {program} in container {name}");
        self.call("exec", &name, &operation, || self.run_exec(id, request)).await
    }

    async fn exec_interactive(
        &self,
        id: &ContainerId,
        request: &ExecRequest,
        tty: bool,
    ) -> EngineResult<InteractiveExec> {
        let name = self.name_of(id);
        let program = request.command.first().map_or("", String::as_str);
        let operation = format!("run {program} in container {name}");
        let outcome = self.call("exec_interactive", &name, &operation, || self.run_exec(id, request)).await?;
        let exec = self.change(|world| {
            let exec = world.fresh_id("exec");
            world.execs.insert(exec.clone(), outcome.code);
            exec
        });
        // A terminal has one stream only.
        let chunks = [(false, outcome.stdout), (!tty, outcome.stderr)];
        let output = chunks.into_iter().filter(|(_, bytes)| !bytes.is_empty());
        let output: Vec<_> =
            output.map(|(stderr, bytes)| Ok(OutputChunk { stderr, bytes: bytes.into() })).collect();
        Ok(InteractiveExec {
            output: stream::iter(output).boxed(),
            input: Box::pin(tokio::io::sink()),
            id: exec,
        })
    }

    async fn exec_resize(&self, exec: &str, _rows: u16, _columns: u16) -> EngineResult<()> {
        self.ask("exec_resize", "", "resize a terminal", |world| {
            let missing = || (EngineErrorKind::NotFound, format!("there is no exec {exec}"));
            world.execs.get(exec).map(|_| ()).ok_or_else(missing)
        })
        .await
    }

    async fn exec_exit_code(&self, exec: &str) -> EngineResult<i64> {
        self.ask("exec_exit_code", "", "ask how a program ended", |world| {
            let missing = || (EngineErrorKind::NotFound, format!("there is no exec {exec}"));
            world.execs.get(exec).copied().ok_or_else(missing)
        })
        .await
    }

    fn logs(&self, id: &ContainerId, options: &LogOptions) -> BoxStream<'static, EngineResult<OutputChunk>> {
        let (engine, id, options) = (self.clone(), id.clone(), options.clone());
        let name = self.name_of(&id);
        let operation = format!("read the log of container {name}");
        let first = {
            let (engine, id, options) = (engine.clone(), id.clone(), options.clone());
            async move {
                let look = |world: &mut World| world.get(&id.0).map(|c| (log_of(c, &options), c.log.len()));
                engine.ask("logs", &name, &operation, look).await
            }
        };
        stream::once(first)
            .flat_map(move |first| match first {
                Err(error) => stream::iter([Err(error)]).boxed(),
                Ok((lines, seen)) => {
                    let lines = stream::iter(lines).map(Ok);
                    if options.follow {
                        lines.chain(follow_log(engine.clone(), id.clone(), seen, options.clone())).boxed()
                    } else {
                        lines.boxed()
                    }
                }
            })
            .boxed()
    }

    fn events(&self, deployment: &DeploymentName) -> BoxStream<'static, EngineResult<EngineEvent>> {
        let engine = self.clone();
        let deployment = deployment.clone();
        // Whatever happens from this call on is told, even before the stream is polled first.
        let seen = self.change(|world| world.events.len());
        let subscribe = {
            let (engine, deployment) = (engine.clone(), deployment.clone());
            async move {
                let operation = format!("follow the events of {deployment}");
                engine.ask("events", deployment.as_str(), &operation, |_| Ok(())).await
            }
        };
        stream::once(subscribe)
            .flat_map(move |subscribed| match subscribed {
                Err(error) => stream::iter([Err(error)]).boxed(),
                Ok(()) => {
                    let state = (engine.clone(), deployment.clone(), seen);
                    stream::unfold(state, |(engine, deployment, seen)| async move {
                        let (event, seen) = engine
                            .until(|world| {
                                let mut fresh = world.events.iter().enumerate().skip(seen);
                                let ours = fresh.find(|(_, told)| {
                                    told.deployment.as_deref() == Some(deployment.as_str())
                                });
                                ours.map(|(at, told)| (told.event.clone(), at + 1))
                            })
                            .await;
                        Some((Ok(event), (engine, deployment, seen)))
                    })
                    .boxed()
                }
            })
            .boxed()
    }

    async fn memory(&self, id: &ContainerId) -> EngineResult<u64> {
        let name = self.name_of(id);
        self.ask("memory", &name, &format!("ask for the memory of container {name}"), |world| {
            let container = world.get(&id.0)?;
            if container.is_live() {
                Ok(container.memory())
            } else {
                refuse(
                    EngineErrorKind::Conflict,
                    format!("container {} is not running", container.birth.name),
                )
            }
        })
        .await
    }

    async fn volumes(&self, deployment: &DeploymentName) -> EngineResult<Vec<ObservedVolume>> {
        let operation = format!("list the volumes of {deployment}");
        self.ask("volumes", deployment.as_str(), &operation, |world| {
            let all = world
                .volumes
                .iter()
                .map(|(name, volume)| ObservedVolume { name: name.clone(), labels: volume.labels.clone() });
            Ok(all
                .filter(|v| v.labels.get(labels::DEPLOYMENT).is_some_and(|d| d == deployment.as_str()))
                .collect())
        })
        .await
    }

    async fn create_volume(&self, name: &str, labels: &BTreeMap<String, String>) -> EngineResult<()> {
        self.ask("create_volume", name, &format!("create volume {name}"), |world| {
            let fresh = || Volume { labels: labels.clone(), files: archive::Tree::new() };
            world.volumes.entry(name.to_owned()).or_insert_with(fresh);
            Ok(())
        })
        .await
    }

    async fn remove_volume(&self, name: &str) -> EngineResult<()> {
        let operation = format!("remove volume {name}");
        self.ask("remove_volume", name, &operation, |world| world.remove_volume(name)).await
    }

    async fn images(&self) -> EngineResult<Vec<ObservedImage>> {
        self.ask("images", "", "list images", |world| Ok(world.observe_images())).await
    }

    async fn image(&self, reference: &str) -> EngineResult<Option<ObservedImage>> {
        let operation = format!("inspect image {reference}");
        self.ask("image", reference, &operation, |world| Ok(world.observe_image(reference))).await
    }

    fn pull(&self, reference: &str) -> BoxStream<'static, EngineResult<PullProgress>> {
        let reference = reference.to_owned();
        let operation = format!("pull image {reference}");
        self.items("pull", reference.clone(), operation, move |world| {
            Ok(world.pull(&reference)?.into_iter().map(Ok).collect())
        })
    }

    fn push(&self, reference: &str) -> BoxStream<'static, EngineResult<PullProgress>> {
        let reference = reference.to_owned();
        let operation = format!("push image {reference}");
        self.items("push", reference.clone(), operation, move |world| {
            Ok(world.push(&reference)?.into_iter().map(Ok).collect())
        })
    }

    async fn layer_sizes(&self, image: &ObservedImage) -> EngineResult<Vec<u64>> {
        let id = image.id.0.clone();
        let operation = format!("ask for the layers of image {}", image.id.short());
        self.ask("layer_sizes", &id, &operation, |world| match world.observe_image(&id) {
            // A simulated image has one layer.
            Some(image) => Ok(vec![image.size]),
            None => super::world::refuse(EngineErrorKind::NotFound, format!("there is no image {id}")),
        })
        .await
    }

    async fn import_image(
        &self,
        reference: &str,
        root: BoxStream<'static, Result<Bytes, std::io::Error>>,
        labels: &BTreeMap<String, String>,
    ) -> EngineResult<ImageId> {
        let operation = format!("import image {reference}");
        let failed = |kind, words: String| self.error(&operation, kind, words);
        let chunks: Vec<Result<Bytes, std::io::Error>> = root.collect().await;
        let mut bytes = Vec::new();
        for chunk in chunks {
            bytes.extend_from_slice(&chunk.map_err(|e| failed(EngineErrorKind::BadRequest, e.to_string()))?);
        }
        let files =
            archive::unpack(&bytes).map_err(|e| failed(EngineErrorKind::BadRequest, e.to_string()))?;
        let tags = [reference.to_owned()];
        self.ask("import_image", reference, &operation, |world| {
            Ok(world.add_image(&tags, labels, files.clone()))
        })
        .await
    }

    async fn tag(&self, image: &str, reference: &str) -> EngineResult<()> {
        let operation = format!("tag image {image} as {reference}");
        self.ask("tag", reference, &operation, |world| world.tag_image(image, reference)).await
    }

    async fn remove_image(&self, reference: &str) -> EngineResult<()> {
        let operation = format!("remove image {reference}");
        self.ask("remove_image", reference, &operation, |world| world.remove_image(reference)).await
    }

    fn build(&self, request: BuildRequest) -> BoxStream<'static, EngineResult<BuildEvent>> {
        let subject = request.tags.join(" ");
        let operation = format!("build image {subject}");
        self.items("build", subject, operation, move |world| Ok(world.build(&request)))
    }

    async fn ping(&self, deadline: Duration) -> EngineResult<()> {
        let answer = self.ask("ping", "", "ping", |_| Ok(()));
        let late = || self.error("ping", EngineErrorKind::Timeout, format!("no answer in {deadline:?}"));
        tokio::time::timeout(deadline, answer).await.unwrap_or_else(|_| Err(late()))
    }
}

/// Returns the part of a log that was asked for.
fn log_of(container: &super::container::Container, options: &LogOptions) -> Vec<OutputChunk> {
    let wanted = container.log.iter().filter(|line| {
        let seconds = nanos(line.at) / 1_000_000_000;
        options.since.is_none_or(|since| seconds >= since)
            && options.until.is_none_or(|until| seconds <= until)
    });
    let chunks: Vec<OutputChunk> = wanted.map(|line| chunk(line, options.timestamps)).collect();
    let skip = options
        .tail
        .map_or(0, |tail| chunks.len().saturating_sub(usize::try_from(tail).unwrap_or(usize::MAX)));
    chunks.into_iter().skip(skip).collect()
}

fn chunk(line: &super::container::LogLine, timestamps: bool) -> OutputChunk {
    let text = if timestamps { format!("{} {}", rfc3339(line.at), line.text) } else { line.text.clone() };
    OutputChunk { stderr: line.stderr, bytes: text.into() }
}

/// Goes on with a log from its `seen`-th line until the container ends or is removed.
fn follow_log(
    engine: SimEngine,
    id: ContainerId,
    seen: usize,
    options: LogOptions,
) -> BoxStream<'static, EngineResult<OutputChunk>> {
    stream::unfold((engine, id, seen, VecDeque::new()), move |(engine, id, mut seen, mut ready)| {
        let timestamps = options.timestamps;
        async move {
            if ready.is_empty() {
                let fresh: Vec<OutputChunk> = engine
                    .until(|world| {
                        let Ok(container) = world.get(&id.0) else { return Some(Vec::new()) };
                        let lines = container.log.get(seen..).unwrap_or_default();
                        let ended = !container.is_running();
                        (ended || !lines.is_empty())
                            .then(|| lines.iter().map(|line| chunk(line, timestamps)).collect())
                    })
                    .await;
                seen += fresh.len();
                ready.extend(fresh);
            }
            let next = ready.pop_front()?;
            Some((Ok(next), (engine, id, seen, ready)))
        }
    })
    .boxed()
}
