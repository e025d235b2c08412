//! An engine, a deployment of its own, and an image with the probe; and the tidying up, whatever happened.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use mastic::build::INIT_BINARY;
use mastic::engine::archive::{self, Entry, Tree};
use mastic::engine::sim::{Behaviour, ProgramContext, Readiness, SimEngine};
use mastic::engine::{
    CreateRequest, Engine, EngineError, EngineErrorKind, ExecOutcome, ExecRequest, LogOptions,
};
use mastic::model::spec::{Cutover, INIT_PATH, Limits, Privileges, Role, StopSpec, TaskTrigger};
use mastic::model::{
    CheckSpec, ContainerId, ContainerSpec, DeploymentName, FileSpec, ImageId, PinnedImage, Slot, TaskPhase,
    labels,
};
use sha2::{Digest, Sha256};

/// What every case is given.
pub struct Fixture {
    pub engine: Arc<dyn Engine>,
    pub deployment: DeploymentName,
    /// Folder of references that are the case's own: `conf-1-2/anything:tag`.
    pub namespace: String,
    pub image: PinnedImage,
}

pub type Case = Pin<Box<dyn Future<Output = ()>>>;

/// Runs a case on the simulated engine.
pub async fn simulated(case: impl FnOnce(Arc<Fixture>) -> Case) {
    let engine = SimEngine::new("sim://conformance");
    engine.add_program(|context| Some(behaviour(context)));
    engine.add_exec(outcome);
    run(Arc::new(engine), case).await;
}

/// Runs a case on the real engine.
pub async fn real(case: impl FnOnce(Arc<Fixture>) -> Case) {
    let endpoint = std::env::var("MASTIC_TEST_ENGINE");
    let endpoint = endpoint.unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
    let engine = mastic::engine::connect(&endpoint, None).await.expect("a Docker Engine must answer");
    run(engine, case).await;
}

/// Runs a case on any engine, and removes afterwards whatever it left.
pub async fn run(engine: Arc<dyn Engine>, case: impl FnOnce(Arc<Fixture>) -> Case) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("conf-{}-{number}", std::process::id());
    let deployment = DeploymentName::new(&name).unwrap();
    let reference = format!("{name}/probe:1");
    let labels = [("mastic.test".to_owned(), name.clone())].into();
    let root = futures::stream::iter([Ok(root())]).boxed();
    let id = engine.import_image(&reference, root, &labels).await.expect("the probe's image can be imported");
    let image = PinnedImage { reference, id };
    let fixture = Arc::new(Fixture { engine: engine.clone(), deployment, namespace: name, image });
    let result = AssertUnwindSafe(case(fixture.clone())).catch_unwind().await;
    let tidied = tidy(&fixture).await;
    if let Err(panic) = result {
        resume_unwind(panic);
    }
    tidied.expect("what a case made can be removed");
}

/// Runs every case on one engine, some at a time, and says all that failed.
pub async fn run_all(engine: Arc<dyn Engine>) {
    let cases = futures::stream::iter(crate::ALL).map(|(name, case)| {
        let engine = engine.clone();
        async move {
            let result = AssertUnwindSafe(run(engine, case)).catch_unwind().await;
            result.err().map(|_| *name)
        }
    });
    // What a case says when it panics stands above, in the test's output.
    let failed: Vec<&str> = cases.buffer_unordered(4).filter_map(std::future::ready).collect().await;
    assert!(failed.is_empty(), "{} of {} cases failed: {failed:?}", failed.len(), crate::ALL.len());
}

async fn tidy(fixture: &Fixture) -> Result<(), EngineError> {
    let engine = &fixture.engine;
    let other = fixture.other();
    for deployment in [&fixture.deployment, &other] {
        for container in engine.containers(deployment).await? {
            engine.remove(&container.id, true).await?;
        }
        for volume in engine.volumes(deployment).await? {
            engine.remove_volume(&volume.name).await?;
        }
    }
    let ours = format!("{}/", fixture.namespace);
    for image in engine.images().await? {
        for tag in image.tags.iter().filter(|tag| tag.starts_with(&ours)) {
            engine.remove_image(tag).await?;
        }
    }
    // Left without a tag by a case that moved it.
    engine.remove_image(&fixture.image.id.0).await
}

impl Fixture {
    /// A second deployment, whose things must stay out of sight.
    pub fn other(&self) -> DeploymentName {
        DeploymentName::new(format!("{}-other", self.deployment)).unwrap()
    }

    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.namespace)
    }

    pub fn labels(&self) -> BTreeMap<String, String> {
        [(labels::DEPLOYMENT.to_owned(), self.deployment.to_string())].into()
    }

    /// A service that runs the probe with these words.
    pub fn service(&self, name: &str, words: &[&str]) -> ContainerSpec {
        ContainerSpec {
            slot: Slot { host: "local".parse().unwrap(), container: name.parse().unwrap() },
            service: "probe".parse().unwrap(),
            set: "api".parse().unwrap(),
            role: Role::Service { cutover: Cutover::Exclusive },
            image: self.image.clone(),
            init_args: vec![],
            leaves: None,
            command: std::iter::once("/probe").chain(words.iter().copied()).map(str::to_owned).collect(),
            user: (1234, 5678),
            working_dir: String::new(),
            environment: BTreeMap::new(),
            files: vec![],
            mounts: vec![],
            host_network: true,
            privileges: Privileges::default(),
            limits: Limits::default(),
            check: None,
            stop: StopSpec { signal: "SIGTERM".to_owned(), grace: 10 },
            after: [].into(),
        }
    }

    /// A task that runs the probe with these words.
    pub fn task(&self, name: &str, words: &[&str]) -> ContainerSpec {
        let role = Role::Task { phase: TaskPhase::Bootstrap, trigger: TaskTrigger::Once, deadline: 60 };
        ContainerSpec { role, ..self.service(name, words) }
    }

    pub fn name(&self, spec: &ContainerSpec) -> String {
        format!("{}-{}-1", self.deployment, spec.name())
    }

    /// Creates without uploading.
    pub async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId, EngineError> {
        let labels = self.labels();
        let request = CreateRequest::Spec {
            name: self.name(spec),
            spec,
            deployment: &self.deployment,
            labels,
            beside: None,
        };
        self.engine.create(&request).await
    }

    /// Creates, and uploads PID 1 and the files.
    pub async fn ready(&self, spec: &ContainerSpec) -> ContainerId {
        let id = self.create(spec).await.unwrap();
        self.engine.upload(&id, archive::config(&spec.files, INIT_BINARY).unwrap()).await.unwrap();
        id
    }

    pub async fn started(&self, spec: &ContainerSpec) -> ContainerId {
        let id = self.ready(spec).await;
        self.engine.start(&id).await.unwrap();
        id
    }

    /// Waits until a container's program has printed something. Before that a signal may meet the engine's own helper,
    /// which becomes that program, and which ends by it with 2.
    pub async fn speaks(&self, id: &ContainerId) {
        let options = LogOptions { follow: true, ..LogOptions::default() };
        let first = within(20, "the first line", self.engine.logs(id, &options).next()).await;
        first.expect("it prints before it ends").expect("its log can be read");
    }

    /// A container that is never started.
    pub async fn inert(&self, name: &str, volume: Option<(&str, &str)>) -> Result<ContainerId, EngineError> {
        let request = CreateRequest::Inert {
            name: format!("{}.{name}", self.deployment),
            image: self.image.reference.clone(),
            labels: self.labels(),
            volume: volume.map(|(volume, target)| (volume.to_owned(), target.to_owned())),
        };
        self.engine.create(&request).await
    }

    /// The files that a path of a container holds, by the names that the engine gives them.
    pub async fn files(&self, id: &ContainerId, path: &str) -> Tree {
        archive::unpack(&self.engine.download(id, path).await.unwrap()).unwrap()
    }

    /// Runs the probe in a container.
    pub async fn exec(&self, id: &ContainerId, words: &[&str]) -> ExecOutcome {
        self.engine.exec(id, &probe(words)).await.unwrap()
    }
}

/// An exec of the probe.
pub fn probe(words: &[&str]) -> ExecRequest {
    let command = std::iter::once("/probe").chain(words.iter().copied()).map(str::to_owned).collect();
    ExecRequest { command, ..ExecRequest::default() }
}

pub fn file(path: &str, content: &str, owner: (u32, u32), mode: u32) -> FileSpec {
    FileSpec {
        path: path.to_owned(),
        uid: owner.0,
        gid: owner.1,
        mode,
        content: content.into(),
        origin: "test".to_owned(),
        sensitive: false,
    }
}

/// A check that passes when these exist.
pub fn check(targets: &[&str]) -> CheckSpec {
    CheckSpec {
        targets: targets.iter().map(|target| (*target).to_owned()).collect(),
        status: None,
        ca: None,
        host: None,
        deadline: 20,
        interval: 1,
        timeout: 1,
    }
}

/// Asserts that something failed in this way.
#[track_caller]
pub fn assert_kind<T: std::fmt::Debug>(result: Result<T, EngineError>, kind: EngineErrorKind) -> EngineError {
    let error = result.expect_err("this must fail");
    assert_eq!(error.kind, kind, "{error}");
    error
}

/// Waits for something that a real engine does in its own time.
pub async fn within<T>(seconds: u64, what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(seconds), future)
        .await
        .unwrap_or_else(|_| panic!("{what}: not within {seconds} s"))
}

/// An id that no container has.
pub fn nobody() -> ContainerId {
    ContainerId("f".repeat(64))
}

/// The id of an image that nobody has.
pub fn no_image() -> ImageId {
    ImageId(format!("sha256:{}", "f".repeat(64)))
}

/// The root file system of the probe's image.
fn root() -> Bytes {
    let owned = |uid, gid, entry: Entry| Entry { uid, gid, ..entry };
    let tree: Tree = [
        ("/probe", Entry::file(std::fs::read(binary()).expect("the probe can be read"), 0o755)),
        ("/etc", Entry::directory(0o755)),
        ("/etc/private", owned(77, 78, Entry::directory(0o700))),
        ("/seed", Entry::directory(0o755)),
        ("/seed/first", owned(1234, 5678, Entry::file("from the image", 0o640))),
        ("/tmp", Entry::directory(0o1777)),
    ]
    .map(|(path, entry)| (path.to_owned(), entry))
    .into();
    archive::pack(&tree).expect("the probe's image can be packed")
}

/// Compiles the probe once; every test process finds it again by the digest of its source.
fn binary() -> &'static Path {
    // Threads of one process compile it once; of several processes that do, any may win.
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(compile)
}

fn compile() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/probe/probe.rs");
    let text = std::fs::read(&source).expect("the probe's source can be read");
    let digest: String = Sha256::digest(&text).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let binary = folder.join(format!("conformance-probe-{digest}"));
    if !binary.exists() {
        let fresh = folder.join(format!("conformance-probe-{digest}-{}", std::process::id()));
        let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
        let status = Command::new(rustc)
            .args(["--edition=2024", "-Copt-level=z", "-Cpanic=abort", "-Cstrip=symbols"])
            .args(["-Ctarget-feature=+crt-static", "-o"])
            .args([&fresh, &source])
            .status()
            .expect("rustc can be run");
        assert!(status.success(), "the probe does not compile");
        std::fs::rename(&fresh, &binary).expect("the probe can be put in its place");
    }
    binary
}

/// The probe as the simulated engine plays it.
fn behaviour(context: &ProgramContext<'_>) -> Behaviour {
    let mut behaviour = Behaviour { stops: (Duration::ZERO, 143), ..Behaviour::default() };
    let mut passed = Duration::ZERO;
    for word in context.command.iter().skip(1) {
        let (verb, rest) = word.split_once(':').unwrap_or((word, ""));
        match verb {
            "out" | "err" => behaviour.output.push((verb == "err", format!("{rest}\n"))),
            "sleep" => passed += Duration::from_millis(rest.parse().unwrap()),
            "exit" => return Behaviour { exits: Some((passed, rest.parse().unwrap())), ..behaviour },
            "stubborn" => behaviour.stops = (Duration::from_hours(1), 0),
            "forever" => {}
            other => panic!("the simulated probe does not know {other}"),
        }
        // Not a word of the probe, but of its files: see `health_must_become_bad_once_the_deadline_is_over`.
        if context.environment.iter().any(|pair| pair == "NEVER=ready") {
            behaviour.ready = Readiness::Never;
        }
    }
    if context.command.iter().any(|word| word == "forever" || word == "stubborn") {
        behaviour
    } else {
        Behaviour { exits: Some((passed, 0)), ..behaviour }
    }
}

/// An exec of the probe as the simulated engine plays it. That of PID 1 it knows itself.
fn outcome(context: &ProgramContext<'_>, request: &ExecRequest) -> Option<ExecOutcome> {
    if request.command.first().is_some_and(|program| program == INIT_PATH) {
        return None;
    }
    let mut outcome = ExecOutcome { code: 0, stdout: Vec::new(), stderr: Vec::new() };
    for word in request.command.iter().skip(1) {
        let (verb, rest) = word.split_once(':').unwrap_or((word, ""));
        let pairs = || request.environment.iter().rev().chain(context.environment.iter().rev());
        let line = match verb {
            "out" => rest.to_owned(),
            "env" => pairs()
                .find_map(|pair| pair.strip_prefix(rest)?.strip_prefix('='))
                .unwrap_or_default()
                .to_owned(),
            "user" => request.user.clone().unwrap_or_else(|| context.user.to_owned()),
            "pwd" => request.working_dir.clone().unwrap_or_else(|| "/".to_owned()),
            "err" => {
                outcome.stderr.extend(format!("{rest}\n").bytes());
                continue;
            }
            "cat" => {
                outcome.stdout.extend(request.stdin.clone().unwrap_or_default());
                continue;
            }
            "exit" => {
                outcome.code = rest.parse().unwrap();
                break;
            }
            other => panic!("the simulated probe does not know {other}"),
        };
        outcome.stdout.extend(format!("{line}\n").bytes());
    }
    Some(outcome)
}
