//! The container that runs the tests: started, listened to until it ends, removed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use futures::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::tally::{Line, Lines, Tally, Verdict, plain};
use crate::engine::{Engine, EngineResult, LogOptions};
use crate::model::spec::Privileges;
use crate::model::{ContainerId, ContainerState};
use crate::report::event::Outcome;
use crate::report::{Event, Reporter};
use crate::store::redact::Redactor;
use crate::verify::tool::{self, AUTHORITY, Held, Place, Tool, USER};
use crate::verify::walk::Failure;

/// Where it finds its configuration.
const CONF: &str = "/etc/tempest/tempest.conf";
/// Two workers, the listing and the runner: a bound for what grows without end.
const MEMORY: u64 = 4 << 30;
/// Seconds for Tempest to end by itself.
const GRACE: u32 = 10;
/// How often a log that breaks off is taken up again.
const ATTEMPTS: usize = 5;
/// Lines beside the tests' that are shown when the runner gives up.
const TAIL: usize = 20;
/// What the container is called, and whose words its output is.
const TEMPEST: &str = "tempest";

/// Which tests, and with what.
pub(super) struct Job<'a> {
    pub(super) name: &'a str,
    pub(super) conf: &'a str,
    pub(super) authority: Option<Vec<u8>>,
    pub(super) regex: &'a str,
    pub(super) concurrency: u32,
}

/// Runs the tests, and tells of each. Cancelled: ends them where they are.
pub(super) async fn run(
    place: &Place,
    job: &Job<'_>,
    reporter: &dyn Reporter,
    cancel: &CancellationToken,
) -> Result<Tally, Failure> {
    let held = place.make(job.name, tool(job)).await?;
    let outcome = started(&held, &place.redactor, reporter, cancel).await;
    // It holds the administrator's password: it goes, whatever happened.
    let removed = held.remove().await;
    let tally = outcome?;
    removed?;
    Ok(tally)
}

async fn started(
    held: &Held<'_>,
    redactor: &Redactor,
    reporter: &dyn Reporter,
    cancel: &CancellationToken,
) -> Result<Tally, Failure> {
    held.start().await?;
    let mut listener = Listener::new(redactor, reporter);
    tokio::select! {
        heard = listener.listen(held.engine, &held.id) => heard?,
        () = cancel.cancelled() => {
            held.engine.stop(&held.id, Duration::from_secs(u64::from(GRACE))).await?;
            return Ok(listener.tally);
        }
    }
    let there = held.engine.container(&held.id.0).await?;
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

fn tool(job: &Job<'_>) -> Tool {
    let mut files = vec![tool::file(CONF, job.conf.as_bytes().to_vec(), 0o600, true)];
    let mut environment = BTreeMap::from([("HOME".to_owned(), "/var/lib/tempest".to_owned())]);
    if let Some(authority) = &job.authority {
        files.push(tool::file(AUTHORITY, authority.clone(), 0o644, false));
        // Where a test does not look into Tempest's configuration: the dashboard's.
        environment.insert("SSL_CERT_FILE".to_owned(), AUTHORITY.to_owned());
    }
    let program = "/usr/local/lib/mastic/mastic-tempest";
    Tool {
        name: TEMPEST,
        command: [program, job.regex, &job.concurrency.to_string()].map(str::to_owned).to_vec(),
        working_dir: "/var/lib/tempest",
        environment,
        files,
        tmpfs: vec![
            ("/tmp", "mode=1777,size=256m".to_owned()),
            ("/var/lib/tempest", format!("mode=0750,uid={USER},gid={USER},size=1g")),
        ],
        memory: MEMORY,
        grace: GRACE,
        // Its tests call `ping`, whose file has this capability: the kernel lets nobody ping without it, unless the host is set so.
        privileges: Privileges {
            capabilities: BTreeSet::from(["NET_RAW".to_owned()]),
            new_privileges: true,
            ..Privileges::default()
        },
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
