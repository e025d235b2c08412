//! `mastic status --watch`: shows anew what has changed, when the engines say that something has.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::Result;
use futures::StreamExt as _;
use futures::stream::{BoxStream, SelectAll};
use jiff::Timestamp;

use super::view::{Memory, Status};
use super::{look, memory};
use crate::cli::args::StatusArgs;
use crate::cli::context::{Context, Engines};
use crate::cli::exit::Exit;
use crate::cli::session::Loaded;
use crate::engine::{EngineEvent, EngineResult};
use crate::model::HostName;
use crate::plan::Selection;

/// Events come in flocks: a replaced container is a dozen of them.
const SETTLE: Duration = Duration::from_millis(150);
/// Nothing tells that a process has taken more memory, or that a second has passed.
const REFRESH: Duration = Duration::from_secs(5);
/// Nothing tells when an engine that is gone is back.
const ASK_AGAIN: Duration = Duration::from_secs(1);

type Events = SelectAll<BoxStream<'static, (HostName, EngineResult<EngineEvent>)>>;

/// Shows until it is interrupted.
pub async fn run(
    context: &Context,
    args: &StatusArgs,
    loaded: &Loaded,
    engines: &Engines,
    selection: &Selection,
) -> Result<Exit> {
    let screen = Screen::new(context);
    let mut shown = String::new();
    loop {
        // First the streams, then the look: what happens in between is in both.
        let mut events = follow(loaded, engines);
        let told = watch(context, args, loaded, engines, selection, &mut events, &screen, &mut shown).await;
        match told {
            Ok(()) => return Ok(Exit::Done),
            Err(error) => {
                screen.note(context, &format!("{error:#}; waiting for the engine"));
                if !back(engines).await {
                    return Ok(Exit::Done);
                }
            }
        }
    }
}

fn follow(loaded: &Loaded, engines: &Engines) -> Events {
    let mut all = SelectAll::new();
    for (host, engine) in engines {
        let host = host.clone();
        let stream = engine.events(&loaded.profile.document.deployment);
        all.push(stream.map(move |event| (host.clone(), event)).boxed());
    }
    all
}

/// Shows until Ctrl-C, which is `Ok`, or until an engine is gone.
async fn watch(
    context: &Context,
    args: &StatusArgs,
    loaded: &Loaded,
    engines: &Engines,
    selection: &Selection,
    events: &mut Events,
    screen: &Screen,
    shown: &mut String,
) -> Result<()> {
    let mut refresh = tokio::time::interval(REFRESH);
    refresh.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    refresh.tick().await;
    // What a commit would run does not change while one looks.
    let due = super::due(context, engines, &context.observe(loaded, engines).await?).await;
    let observed = || async {
        let observed = context.observe(loaded, engines).await?;
        let profile = &loaded.profile;
        anyhow::Ok(Status::new(&observed, &profile.document.release, profile.sets(), selection, due.clone()))
    };
    let mut status = observed().await?;
    let mut used = memory(engines, &status).await;
    loop {
        screen.show(context, args, &status, &used, shown);
        tokio::select! {
            event = events.next() => {
                let mut changed: BTreeSet<HostName> = BTreeSet::new();
                let (host, event) = event.ok_or_else(|| anyhow::anyhow!("no engine tells anything any more"))?;
                event?;
                changed.insert(host);
                // The rest of the flock.
                while let Ok(Some((host, event))) = tokio::time::timeout(SETTLE, events.next()).await {
                    event?;
                    changed.insert(host);
                }
                status = observed().await?;
                used = memory(engines, &status).await;
            }
            _ = refresh.tick() => used = memory(engines, &status).await,
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

/// Waits until every engine answers; false when interrupted.
async fn back(engines: &Engines) -> bool {
    loop {
        let answers =
            futures::future::join_all(engines.values().map(|engine| engine.ping(ASK_AGAIN * 5))).await;
        if answers.iter().all(Result::is_ok) {
            return true;
        }
        tokio::select! {
            () = tokio::time::sleep(ASK_AGAIN) => {}
            _ = tokio::signal::ctrl_c() => return false,
        }
    }
}

/// Where it is shown: over what was shown before, below it, or as documents.
#[derive(Debug)]
enum Screen {
    /// The terminal's other screen, which is left as it was found.
    Terminal,
    /// One table after another.
    Lines,
    /// One document a line.
    Documents,
}

impl Screen {
    fn new(context: &Context) -> Self {
        if context.global.json {
            Self::Documents
        } else if std::io::stdout().is_terminal() {
            context.printer.raw(b"\x1b[?1049h\x1b[?25l", false);
            Self::Terminal
        } else {
            Self::Lines
        }
    }

    fn show(&self, context: &Context, args: &StatusArgs, status: &Status, used: &Memory, shown: &mut String) {
        match self {
            Self::Terminal => {
                let look = look(args);
                let clock = look.now.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S").to_string();
                let text = format!(
                    "{}\n\n{}\n{clock}, Ctrl-C ends",
                    status.headline(used, Timestamp::now()),
                    status.text(used, look)
                );
                context.printer.raw(fit(&text).as_bytes(), false);
            }
            Self::Lines => {
                // Memory and times alone are no news here.
                let still = super::Look { now: Timestamp::UNIX_EPOCH, ..look(args) };
                let news = status.text(&Memory::new(), still);
                if *shown != news {
                    context.printer.data(&format!(
                        "{}\n\n{}\n",
                        status.headline(used, Timestamp::now()),
                        status.text(used, look(args))
                    ));
                    *shown = news;
                }
            }
            Self::Documents => {
                let news = status.json(&Memory::new(), Timestamp::UNIX_EPOCH).to_string();
                if *shown != news {
                    context.printer.data(&status.json(used, Timestamp::now()).to_string());
                    *shown = news;
                }
            }
        }
    }

    fn note(&self, context: &Context, text: &str) {
        match self {
            Self::Terminal => context.printer.raw(format!("\r\n{text}").as_bytes(), false),
            Self::Lines | Self::Documents => context.printer.say(text),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if matches!(self, Self::Terminal) {
            use std::io::Write as _;
            let mut out = std::io::stdout().lock();
            // Whoever closed the terminal does not miss it.
            let _ = out.write_all(b"\x1b[?25h\x1b[?1049l").and_then(|()| out.flush());
        }
    }
}

/// Returns what fills the screen from its first line, each line cut to its width: a longer one would push the others off.
fn fit(text: &str) -> String {
    let (width, height) = terminal_size::terminal_size().map_or((120, 50), |(w, h)| (w.0, h.0));
    let mut out = "\u{1b}[H".to_owned();
    let lines: Vec<&str> = text.lines().collect();
    let room = usize::from(height).saturating_sub(1);
    for line in lines.iter().take(room) {
        out.push_str(&cut(line, usize::from(width)));
        out.push_str("\u{1b}[K\r\n");
    }
    if lines.len() > room {
        out.push_str(&cut(&format!("... and {} lines more", lines.len() - room), usize::from(width)));
    }
    out.push_str("\u{1b}[J");
    out
}

/// Cuts a line to a width; colour codes take none.
fn cut(line: &str, width: usize) -> String {
    let mut out = String::new();
    let (mut left, mut code) = (width, false);
    for c in line.chars() {
        if code || c == '\u{1b}' {
            code = c != 'm';
            out.push(c);
        } else if left > 0 {
            out.push(c);
            left -= 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_must_be_cut_to_the_width_and_keep_its_colours() {
        assert_eq!(cut("\u{1b}[31mabcdef\u{1b}[0m", 3), "\u{1b}[31mabc\u{1b}[0m");
        assert_eq!(cut("abc", 10), "abc");
    }
}
