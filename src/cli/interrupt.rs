//! What Ctrl-C (or TERM) does to a command that must not just die: once is a request, twice is an order.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::exit::Exit;
use super::printer::Printer;

/// Signals within this time are one: whoever passes a signal on to his child that its process group gets as well (timeout,
/// sudo, a terminal with a wrapper between) sends each of them twice, and means it once.
const ONE: Duration = Duration::from_millis(500);

/// How many have listened: the newest alone counts, so that a command may do one such thing after another.
static LISTENERS: AtomicUsize = AtomicUsize::new(0);

/// What a command says, and when it need not finish any more.
#[derive(Clone, Debug)]
pub struct Interruptible {
    /// Cancelled by the first signal.
    pub cancel: CancellationToken,
    /// Once this is cancelled, the first signal ends the program, too.
    pub over: CancellationToken,
    /// Said at the first.
    pub first: &'static str,
    /// Said at the second.
    pub second: &'static str,
}

impl Interruptible {
    /// Listens from now on, instead of whoever did before; the handle's abortion ends that, though not the signals' being caught.
    pub fn listen(self, printer: Printer) -> JoinHandle<()> {
        let number = LISTENERS.fetch_add(1, Ordering::SeqCst) + 1;
        // One stream each from here on: a signal that comes while another is dealt with is not lost.
        let streams = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
        tokio::spawn(async move {
            let (Ok(mut interrupt), Ok(mut terminate)) = streams else { return };
            let mut first: Option<Instant> = None;
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if LISTENERS.load(Ordering::SeqCst) != number {
                    return;
                }
                if !self.over.is_cancelled() {
                    match first {
                        None => {
                            first = Some(Instant::now());
                            printer.error(self.first);
                            self.cancel.cancel();
                            continue;
                        }
                        Some(first) if first.elapsed() < ONE => continue,
                        Some(_) => printer.error(self.second),
                    }
                }
                std::process::exit(i32::from(Exit::Interrupted.code()));
            }
        })
    }
}
