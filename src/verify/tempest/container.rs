//! The container that runs the tests: started, listened to until it ends, removed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::tally::{Line, Lines, Tally, Verdict, plain};
use crate::build::INIT_BINARY;
use crate::engine::{CreateRequest, Engine, EngineResult, LogOptions, archive};
use crate::model::labels::{self, LabelRole};
use crate::model::spec::{FileSpec, Limits, MountSource, MountSpec, Privileges, StopSpec, TaskTrigger};
use crate::model::{
    ContainerId, ContainerSpec, ContainerState, DeploymentName, HostName, NameError, PinnedImage, Role, Slot,
    TaskPhase,
};
use crate::report::event::Outcome;
use crate::report::{Event, Reporter};
use crate::store::redact::Redactor;
use crate::verify::walk::Failure;

/// The image's user (`images/tempest/image.yaml`).
const USER: u32 = 819;
/// Where it finds its configuration, and the authority's certificate.
const CONF: &str = "/etc/tempest/tempest.conf";
pub(super) const AUTHORITY: &str = "/etc/mastic/tls/ca.crt";
/// Two workers, the listing and the runner: a bound for what grows without end.
const MEMORY: u64 = 4 << 30;
/// Seconds for Tempest to end by itself.
const GRACE: u32 = 10;
/// How often a log that breaks off is taken up again.
const ATTEMPTS: usize = 5;
/// Lines beside the tests' that are shown when the runner gives up.
const TAIL: usize = 20;
/// What the container, its service and its set are called.
const TEMPEST: &str = "tempest";

/// Where and as what tests run.
#[derive(Clone, Debug)]
pub struct Place {
    /// The engine.
    pub engine: Arc<dyn Engine>,
    /// Its host.
    pub host: HostName,
    /// The deployment, by which a later run finds what this one left.
    pub deployment: DeploymentName,
    /// The image.
    pub image: PinnedImage,
    /// Masks secrets in what is printed.
    pub redactor: Redactor,
}

/// Which tests, and with what.
pub(super) struct Job<'a> {
    pub(super) name: &'a str,
    pub(super) conf: &'a str,
    pub(super) authority: Option<Vec<u8>>,
    pub(super) regex: &'a str,
    pub(super) concurrency: u32,
}

impl Place {
    /// Removes the containers of runs that are dead.
    pub(in crate::verify) async fn sweep(&self, is_leftover: impl Fn(&str) -> bool) -> EngineResult<()> {
        for container in self.engine.containers(&self.deployment).await? {
            let role = container.labels.get(labels::ROLE).and_then(|role| LabelRole::parse(role));
            if role == Some(LabelRole::Tool) && is_leftover(&container.name) {
                self.engine.remove(&container.id, true).await?;
            }
        }
        Ok(())
    }

    /// Runs the tests, and tells of each. Cancelled: ends them where they are.
    pub(super) async fn run(
        &self,
        job: &Job<'_>,
        reporter: &dyn Reporter,
        cancel: &CancellationToken,
    ) -> Result<Tally, Failure> {
        let spec = self.spec(job)?;
        let labels = [
            (labels::DEPLOYMENT, self.deployment.to_string()),
            (labels::ROLE, LabelRole::Tool.as_str().to_owned()),
            (labels::RUN, job.name.to_owned()),
        ];
        let request = CreateRequest::Spec {
            name: job.name.to_owned(),
            spec: &spec,
            deployment: &self.deployment,
            labels: labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        };
        let id = self.engine.create(&request).await?;
        let outcome = self.started(&id, &spec, reporter, cancel).await;
        // It holds the administrator's password: it goes, whatever happened.
        let removed = self.engine.remove(&id, true).await;
        let tally = outcome?;
        removed?;
        Ok(tally)
    }

    async fn started(
        &self,
        id: &ContainerId,
        spec: &ContainerSpec,
        reporter: &dyn Reporter,
        cancel: &CancellationToken,
    ) -> Result<Tally, Failure> {
        self.engine.upload(id, archive::config(&spec.files, INIT_BINARY)?).await?;
        self.engine.start(id).await?;
        let mut listener = Listener::new(&self.redactor, reporter);
        tokio::select! {
            heard = listener.listen(self.engine.as_ref(), id) => heard?,
            () = cancel.cancelled() => {
                self.engine.stop(id, Duration::from_secs(u64::from(GRACE))).await?;
                return Ok(listener.tally);
            }
        }
        let there = self.engine.container(&id.0).await?;
        if there.exit_code != Some(0) && listener.tally.broken.is_none() {
            let code =
                there.exit_code.map_or_else(|| "no exit code".to_owned(), |code| format!("exit code {code}"));
            let memory = if there.oom_killed { ", killed for want of memory" } else { "" };
            let tail: Vec<_> = listener.tail.iter().map(|line| format!("\n  | {line}")).collect();
            listener.tally.broken =
                Some(format!("Tempest's container ended with {code}{memory}{}", tail.concat()));
        }
        Ok(listener.tally)
    }

    fn spec(&self, job: &Job<'_>) -> Result<ContainerSpec, NameError> {
        let file = |path: &str, content: Vec<u8>, mode: u32, sensitive: bool| FileSpec {
            path: path.to_owned(),
            uid: USER,
            gid: USER,
            mode,
            content,
            origin: "mastic verify --tempest".to_owned(),
            sensitive,
        };
        let mut files = vec![file(CONF, job.conf.as_bytes().to_vec(), 0o600, true)];
        let mut environment = BTreeMap::from([("HOME".to_owned(), "/var/lib/tempest".to_owned())]);
        if let Some(authority) = &job.authority {
            files.push(file(AUTHORITY, authority.clone(), 0o644, false));
            // Where a test does not look into Tempest's configuration: the dashboard's.
            environment.insert("SSL_CERT_FILE".to_owned(), AUTHORITY.to_owned());
        }
        let memory = |target: &str, options: &str| MountSpec {
            source: MountSource::Tmpfs { options: options.to_owned() },
            target: target.to_owned(),
            read_only: false,
        };
        let command = ["/usr/local/lib/mastic/mastic-tempest", job.regex, &job.concurrency.to_string()]
            .map(str::to_owned);
        Ok(ContainerSpec {
            slot: Slot { host: self.host.clone(), container: TEMPEST.parse()? },
            service: TEMPEST.parse()?,
            set: TEMPEST.parse()?,
            role: Role::Task { phase: TaskPhase::Check, trigger: TaskTrigger::Spec, deadline: 0 },
            image: self.image.clone(),
            init_args: Vec::new(),
            command: command.to_vec(),
            user: (USER, USER),
            working_dir: "/var/lib/tempest".to_owned(),
            environment,
            files,
            mounts: vec![
                memory("/tmp", "mode=1777,size=256m"),
                memory("/var/lib/tempest", &format!("mode=0750,uid={USER},gid={USER},size=1g")),
            ],
            host_network: true,
            privileges: Privileges::default(),
            limits: Limits { memory: MEMORY, pids: 1024, ..Limits::default() },
            check: None,
            stop: StopSpec { signal: "SIGTERM".to_owned(), grace: GRACE },
            after: BTreeSet::new(),
        })
    }
}

/// Turns what the runner says into events and a tally.
struct Listener<'a> {
    redactor: &'a Redactor,
    reporter: &'a dyn Reporter,
    tally: Tally,
    /// The last lines beside those of the runner.
    tail: VecDeque<String>,
    /// Lines of each stream that were taken.
    heard: [usize; 2],
    running: BTreeSet<String>,
}

impl<'a> Listener<'a> {
    fn new(redactor: &'a Redactor, reporter: &'a dyn Reporter) -> Self {
        let (tally, tail, running) = (Tally::default(), VecDeque::new(), BTreeSet::new());
        Self { redactor, reporter, tally, tail, heard: [0; 2], running }
    }

    /// Listens until the container has ended. The engine keeps its log: one that breaks off is read again, and what was heard is
    /// left out.
    async fn listen(&mut self, engine: &dyn Engine, id: &ContainerId) -> EngineResult<()> {
        let options = LogOptions { follow: true, ..LogOptions::default() };
        let mut broken = None;
        for _ in 0..ATTEMPTS {
            let mut lines = [Lines::default(), Lines::default()];
            let mut passed = [0; 2];
            let mut chunks = engine.logs(id, &options);
            let mut whole = true;
            while let Some(chunk) = chunks.next().await {
                let chunk = match chunk {
                    Ok(chunk) => chunk,
                    Err(error) => {
                        (whole, broken) = (false, Some(error));
                        break;
                    }
                };
                let stream = usize::from(chunk.stderr);
                for line in lines[stream].push(&chunk.bytes) {
                    passed[stream] += 1;
                    if passed[stream] > self.heard[stream] {
                        self.heard[stream] += 1;
                        self.take(&line, chunk.stderr);
                    }
                }
            }
            if whole && engine.container(&id.0).await?.state != ContainerState::Running {
                return Ok(());
            }
        }
        broken.map_or(Ok(()), Err)
    }

    fn take(&mut self, line: &str, stderr: bool) {
        let line = self.redactor.redact(line);
        let said = if stderr { None } else { serde_json::from_str::<Line>(&line).ok() };
        let Some(said) = said else {
            if self.tail.len() == TAIL {
                self.tail.pop_front();
            }
            self.tail.push_back(line.clone().into_owned());
            self.reporter.on(Event::Output { key: TEMPEST.to_owned(), line: line.into_owned() });
            return;
        };
        match &said {
            Line::Listed { tests } => {
                let title = format!("running {} tests", tests.len());
                self.reporter.on(Event::Phase { title, total: Some(tests.len()) });
            }
            Line::Began { test } => self.begin(test),
            Line::Ended { .. } | Line::Broken { .. } => {}
        }
        let Some(ended) = self.tally.take(said) else { return };
        let outcome = match &ended.verdict {
            Verdict::Passed => Outcome::Done,
            Verdict::Failed(why) => Outcome::Failed(why.clone()),
            Verdict::Skipped(why) => Outcome::Unchanged(why.clone()),
            Verdict::Unfinished => Outcome::Cancelled,
        };
        // What classes do around their tests is told only where it fails.
        if !self.running.remove(&ended.test) {
            if !matches!(ended.verdict, Verdict::Failed(_)) {
                return;
            }
            self.begin(&ended.test);
            self.running.remove(&ended.test);
        }
        self.reporter.on(Event::Finished { key: ended.test, outcome, took: ended.took });
    }

    fn begin(&mut self, test: &str) {
        self.running.insert(test.to_owned());
        let title = plain(test).to_owned();
        self.reporter.on(Event::Started { key: test.to_owned(), host: None, title });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::library;

    #[test]
    fn the_container_must_run_as_the_images_user() {
        let library = library::embedded();
        let file = &library.get("images/tempest/image.yaml").unwrap().bytes;
        let document: serde_json::Value = serde_yaml::from_slice(file).unwrap();
        assert_eq!(document["user"]["uid"], USER);
        assert_eq!(document["user"]["gid"], USER);
    }
}
