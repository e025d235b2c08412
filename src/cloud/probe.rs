//! Availability as clients see it: every API is asked through the proxy, and servers are pinged, at a steady rate, while a change
//! goes on; and one server after another is booted.
//!
//! Half of the requests come over connections that are kept, half over new ones. None is repeated: what fails counts.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::boots::{Boots, clear};
use super::http::{CloudResult, client, innermost};
use super::ping::ping_now;
use super::session::Login;
use crate::execute::Watch;
use crate::model::Availability;

/// Ten requests a second of each API.
const PERIOD: Duration = Duration::from_millis(100);
/// One a second of what needs a process for each.
const COSTLY_PERIOD: Duration = Duration::from_secs(1);
/// Longer than any API takes; whoever is slower has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A ping that is answered later is lost.
const PING_PATIENCE: Duration = Duration::from_secs(1);

/// Before the first server is asked for: in the middle of the change.
const FIRST: Duration = Duration::from_secs(20);
/// From the end of a server to the next one's request: a probe measures, and is no load.
const REST: Duration = Duration::from_secs(30);
/// For the server that is under way when the change ends.
const LAST: Duration = Duration::from_mins(1);
/// What servers are counted under.
const BOOT: &str = "boot a server";

/// Asks until it is dropped.
#[derive(Debug)]
pub struct Probe {
    seen: Arc<Mutex<BTreeMap<String, Seen>>>,
    tasks: Vec<JoinHandle<()>>,
    boots: Mutex<Option<Booting>>,
}

/// The servers that are booted, and how they are ended.
#[derive(Debug)]
struct Booting {
    state: PathBuf,
    login: Login,
    stop: CancellationToken,
    /// Says whether anything was made.
    task: JoinHandle<bool>,
}

/// What was seen of one API so far.
#[derive(Debug, Default)]
struct Seen {
    answers: Vec<Duration>,
    failed: u64,
    first_failure: Option<String>,
    last_good: Option<Instant>,
    failing: bool,
    gap: Duration,
}

impl Probe {
    /// Begins to ask these URLs, by the names of their APIs, the costly ones seldom, and to ping these servers; `ca` is the
    /// authority to trust.
    pub fn begin(
        urls: &BTreeMap<String, (String, bool)>,
        servers: &[Ipv4Addr],
        ca: Option<&Path>,
    ) -> CloudResult<Self> {
        let kept = client(ca, reqwest::redirect::Policy::none(), PATIENCE, true)?;
        let new = client(ca, reqwest::redirect::Policy::none(), PATIENCE, false)?;
        let seen: Arc<Mutex<BTreeMap<String, Seen>>> = Arc::default();
        let mut tasks = Vec::new();
        for (name, (url, costly)) in urls {
            let period = if *costly { COSTLY_PERIOD } else { PERIOD };
            let (kept, new, seen) = (kept.clone(), new.clone(), seen.clone());
            let (name, url) = (name.clone(), url.clone());
            tasks.push(tokio::spawn(async move {
                let mut ticks = tokio::time::interval(period);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                for turn in 0_u64.. {
                    ticks.tick().await;
                    let client = if turn % 2 == 0 { kept.clone() } else { new.clone() };
                    let (seen, name, url) = (seen.clone(), name.clone(), url.clone());
                    // A slow answer does not make the next question wait.
                    tokio::spawn(async move {
                        let began = Instant::now();
                        let answer = ask(&client, &url).await;
                        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                        seen.entry(name).or_default().note(began.elapsed(), answer);
                    });
                }
            }));
        }
        for address in servers.iter().copied() {
            let seen = seen.clone();
            tasks.push(tokio::spawn(async move {
                let mut ticks = tokio::time::interval(PERIOD);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    ticks.tick().await;
                    let seen = seen.clone();
                    tokio::task::spawn_blocking(move || {
                        let began = Instant::now();
                        let answer = match ping_now(address, PING_PATIENCE) {
                            Ok(Some(_)) => Ok(()),
                            Ok(None) => Err("no answer".to_owned()),
                            Err(errno) => Err(errno.to_string()),
                        };
                        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                        seen.entry(format!("ping {address}")).or_default().note(began.elapsed(), answer);
                    });
                }
            }));
        }
        Ok(Self { seen, tasks, boots: Mutex::new(None) })
    }

    /// Boots servers, too, one after another, until [`Probe::end`]. `state` holds the authority's certificate, `login` is the
    /// administrator's. What they are made of is made meanwhile: nothing waits for it.
    pub fn boot(&self, state: &Path, login: &Login) {
        let seen = self.seen.clone();
        let (state, login) = (state.to_owned(), login.clone());
        let (at, who) = (state.clone(), login.clone());
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let note = move |took: Duration, answer: Result<(), String>| {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.entry(BOOT.to_owned()).or_default().note(took, answer);
        };
        let task = tokio::spawn(async move {
            if stopped.run_until_cancelled(tokio::time::sleep(FIRST)).await.is_none() {
                return false;
            }
            let boots = match Boots::prepare(&at, &who).await {
                Ok(boots) => boots,
                Err(error) => {
                    note(Duration::ZERO, Err(error.to_string()));
                    return true;
                }
            };
            loop {
                match boots.one().await {
                    Ok(took) => note(took, Ok(())),
                    Err(why) => note(Duration::ZERO, Err(why)),
                }
                if stopped.run_until_cancelled(tokio::time::sleep(REST)).await.is_none() {
                    return true;
                }
            }
        });
        let booting = Booting { state, login, stop, task };
        *self.boots.lock().unwrap_or_else(PoisonError::into_inner) = Some(booting);
    }

    /// Waits for the server that is under way, which is seen, too, and deletes what it was made of. Without `wait`, it is deleted
    /// as it is.
    ///
    /// # Errors
    /// Something may be left: the next probe deletes it.
    pub async fn end(&self, wait: bool) -> CloudResult<()> {
        let boots = self.boots.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Booting { state, login, stop, task }) = boots else { return Ok(()) };
        stop.cancel();
        let abort = task.abort_handle();
        let ended = if wait { tokio::time::timeout(LAST, task).await.ok() } else { None };
        abort.abort();
        if wait && ended.is_none() {
            // Who is not told would take it that none was under way.
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let late = format!("under way still {} s after the change", LAST.as_secs());
            seen.entry(BOOT.to_owned()).or_default().note(Duration::ZERO, Err(late));
        }
        match ended {
            Some(Ok(false)) => Ok(()),
            // What has panicked has said so.
            Some(Ok(true) | Err(_)) | None => clear(&state, &login).await,
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        if let Some(boots) = self.boots.get_mut().unwrap_or_else(PoisonError::into_inner) {
            boots.task.abort();
        }
    }
}

impl Watch for Probe {
    fn seen(&self) -> BTreeMap<String, Availability> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().map(|(name, seen)| (name.clone(), seen.availability())).collect()
    }
}

/// Anything that an API says itself is an answer, a refusal too.
async fn ask(client: &reqwest::Client, url: &str) -> Result<(), String> {
    let answer = client.get(url).send().await.map_err(|error| innermost(&error))?;
    let status = answer.status();
    // The whole of it: a connection that breaks in the middle is a failure.
    answer.bytes().await.map_err(|error| innermost(&error))?;
    if status.is_server_error() { Err(status.to_string()) } else { Ok(()) }
}

impl Seen {
    fn note(&mut self, took: Duration, answer: Result<(), String>) {
        match answer {
            Ok(()) => {
                let now = Instant::now();
                if self.failing
                    && let Some(last) = self.last_good
                {
                    self.gap = self.gap.max(now.duration_since(last));
                }
                self.answers.push(took);
                (self.last_good, self.failing) = (Some(now), false);
            }
            Err(why) => {
                self.failed += 1;
                self.first_failure.get_or_insert(why);
                self.failing = true;
            }
        }
    }

    fn availability(&self) -> Availability {
        let mut answers = self.answers.clone();
        answers.sort_unstable();
        // The nearest rank: of two answers, 99 of 100 came within the slower.
        let within = |share: usize| {
            let rank = (answers.len() * share).div_ceil(100);
            answers.get(rank.saturating_sub(1)).map_or(0.0, |took| took.as_secs_f64() * 1000.0)
        };
        let open = self.last_good.filter(|_| self.failing).map(|last| last.elapsed()).unwrap_or_default();
        let good = u64::try_from(answers.len()).unwrap_or(u64::MAX);
        Availability {
            requests: good.saturating_add(self.failed),
            failed: self.failed,
            longest_gap_seconds: self.gap.max(open).as_secs_f64(),
            p50_ms: within(50),
            p99_ms: within(99),
            first_failure: self.first_failure.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::ProjectRef;
    use crate::model::Secret;

    #[test]
    fn of_two_answers_the_slower_is_the_slowest_of_a_hundred() {
        let mut seen = Seen::default();
        assert!(seen.availability().p99_ms == 0.0, "none came");
        for ms in [40, 10] {
            seen.note(Duration::from_millis(ms), Ok(()));
        }
        let both = seen.availability();
        assert_eq!((both.p50_ms.round(), both.p99_ms.round()), (10.0, 40.0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_under_way_for_good_must_count() {
        let login = Login {
            url: "http://127.0.0.1:1/v3".to_owned(),
            user: "admin".to_owned(),
            password: Secret::new("x"),
            project: ProjectRef::Name("admin".to_owned()),
            region: "RegionOne".to_owned(),
        };
        let booting = Booting {
            state: PathBuf::new(),
            login,
            stop: CancellationToken::new(),
            task: tokio::spawn(std::future::pending()),
        };
        let probe = Probe { seen: Arc::default(), tasks: Vec::new(), boots: Mutex::new(Some(booting)) };
        assert!(probe.end(true).await.is_err(), "there is no cloud to delete it from");
        let seen = probe.seen();
        assert_eq!(seen[BOOT].failed, 1);
        assert_eq!(seen[BOOT].first_failure.as_deref(), Some("under way still 60 s after the change"));
    }

    #[test]
    fn failures_must_count_and_the_gap_must_be_from_good_to_good() {
        let mut seen = Seen::default();
        for ms in 1..=100 {
            seen.note(Duration::from_millis(ms), Ok(()));
        }
        let before = seen.availability();
        assert_eq!((before.requests, before.failed, before.first_failure), (100, 0, None));
        assert_eq!((before.p50_ms.round(), before.p99_ms.round()), (50.0, 99.0));
        assert!(before.longest_gap_seconds == 0.0, "{}", before.longest_gap_seconds);
        seen.note(Duration::ZERO, Err("503".to_owned()));
        seen.note(Duration::ZERO, Err("refused".to_owned()));
        std::thread::sleep(Duration::from_millis(20));
        let open = seen.availability().longest_gap_seconds;
        assert!(open >= 0.02, "an outage that goes on is one: {open}");
        seen.note(Duration::from_millis(1), Ok(()));
        let after = seen.availability();
        assert_eq!((after.requests, after.failed, after.first_failure.as_deref()), (103, 2, Some("503")));
        assert!(after.longest_gap_seconds >= open, "{after:?}");
    }
}
