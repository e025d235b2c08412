//! Fifty pings a second, each with its own patience, so that a slow answer is no lost one. Each has an identifier of its own, too: to
//! what tracks connections it is a new one, and so meets rules that packets of an old one would not.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::harness::Cloud;

const PAUSE: Duration = Duration::from_millis(20);
/// An answer that comes later is lost.
const PATIENCE: Duration = Duration::from_secs(3);

/// One that was sent, when, and whether its answer came.
type Sent = Vec<(Instant, bool)>;

/// Pings in the background, from the cloud's own network namespace.
pub struct Pings {
    over: Arc<AtomicBool>,
    sent: Arc<Mutex<Sent>>,
    thread: Option<JoinHandle<()>>,
}

/// What was seen of a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub sent: usize,
    pub lost: usize,
    /// From the first lost one to the last, if any was lost.
    pub gap: Duration,
}

impl Pings {
    /// Begins, with the first answer already there.
    pub fn begin(cloud: &Cloud, address: Ipv4Addr) -> Self {
        let net = cloud.private().home().path("net");
        let (over, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Sent::new())));
        let (is_over, into) = (over.clone(), sent.clone());
        let thread = std::thread::spawn(move || {
            let net = std::fs::File::open(net).expect("the namespace is there");
            nix::sched::setns(net, nix::sched::CloneFlags::CLONE_NEWNET).expect("root may enter a namespace");
            // Threads are born into the namespace of the one that starts them.
            std::thread::scope(|scope| {
                let mut next = Instant::now();
                while !is_over.load(Ordering::Relaxed) {
                    let (into, when) = (into.clone(), Instant::now());
                    scope.spawn(move || {
                        let answer = mastic::cloud::ping_now(address, PATIENCE).expect("a ping can be sent");
                        into.lock().unwrap_or_else(PoisonError::into_inner).push((when, answer.is_some()));
                    });
                    next += PAUSE;
                    std::thread::sleep(next.saturating_duration_since(Instant::now()));
                }
            });
        });
        let pings = Self { over, sent, thread: Some(thread) };
        pings.until_answered();
        pings
    }

    /// Waits until a ping that is sent from now on is answered.
    #[track_caller]
    pub fn until_answered(&self) {
        let began = Instant::now();
        let answered = || {
            self.sent
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
                .any(|(when, ok)| *when >= began && *ok)
        };
        while !answered() {
            assert!(began.elapsed() < Duration::from_mins(2), "no ping is answered any more");
            std::thread::sleep(PAUSE);
        }
    }

    /// Does something, and says what became of the pings meanwhile.
    pub fn during(&self, act: impl FnOnce()) -> Seen {
        let began = Instant::now();
        act();
        self.until_answered();
        let ended = Instant::now();
        // The last ones may still be on their way.
        std::thread::sleep(PATIENCE);
        let all = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = || all.iter().filter(|(when, _)| *when >= began && *when <= ended);
        let lost: Vec<Instant> = mine().filter(|(_, ok)| !ok).map(|(when, _)| *when).collect();
        let gap = match (lost.iter().min(), lost.iter().max()) {
            (Some(first), Some(last)) => *last - *first + PAUSE,
            _ => Duration::ZERO,
        };
        Seen { sent: mine().count(), lost: lost.len(), gap }
    }
}

impl Drop for Pings {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok() || std::thread::panicking(), "the pinging failed");
        }
    }
}
