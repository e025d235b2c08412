//! `mastic logs`: one or many containers, merged by time.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use futures::StreamExt;
use futures::stream::{BoxStream, SelectAll};
use jiff::{Timestamp, Zoned};
use serde_json::json;

use crate::cli::args::LogsArgs;
use crate::cli::context::Context;
use crate::cli::exit::{CliError, Exit};
use crate::engine::{Engine, EngineResult, LogOptions, OutputChunk};
use crate::model::ObservedContainer;

/// One line of one container.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    /// The engine's RFC 3339 time: sorts as text, since the engine pads nanoseconds.
    time: String,
    container: usize,
    stderr: bool,
    text: String,
}

/// Shows logs.
pub async fn run(context: &Context, args: &LogsArgs) -> Result<Exit> {
    let loaded = context.load()?;
    let engines = context.engines(&loaded.profile).await?;
    let chosen = context.running(&loaded, &engines, &args.names).await?;
    let now = Zoned::now();
    let range = Range {
        since: args.since.as_deref().map(|t| moment(t, &now)).transpose()?,
        until: args.until.as_deref().map(|t| moment(t, &now)).transpose()?,
    };
    let options = LogOptions {
        follow: args.follow,
        tail: args.tail,
        // Engines count whole seconds: a little more is asked for, and cut to the moment here.
        since: range.since.map(jiff::Timestamp::as_second),
        until: range.until.map(|t| t.as_second() + 1),
        timestamps: true,
    };
    let names: Vec<String> = chosen.iter().map(|(_, c)| short_name(c)).collect();
    let width = if chosen.len() > 1 { names.iter().map(String::len).max().unwrap_or(0) } else { 0 };
    let redactor = context.redactor(&loaded)?;
    let show = |line: &Line| {
        if !range.has(&line.time) {
            return;
        }
        let name = names.get(line.container).map_or("", String::as_str);
        if context.global.json {
            let stream = if line.stderr { "stderr" } else { "stdout" };
            let text = redactor.redact(&line.text);
            let object = json!({"container": name, "time": line.time, "stream": stream, "line": text});
            context.printer.data(&object.to_string());
            return;
        }
        let prefix = if width > 0 { format!("{name:width$} | ") } else { String::new() };
        let time = if args.timestamps { format!("{} ", line.time) } else { String::new() };
        context.printer.data(&format!("{prefix}{time}{}", redactor.redact(&line.text)));
    };

    let mut lines = SelectAll::new();
    for (index, (engine, container)) in chosen.iter().enumerate() {
        lines.push(split(engine.logs(&container.id, &options), index));
    }
    if args.follow {
        while let Some(line) = lines.next().await {
            show(&line?);
        }
    } else {
        let mut all = Vec::new();
        while let Some(line) = lines.next().await {
            all.push(line?);
        }
        all.sort();
        all.iter().for_each(show);
    }
    Ok(Exit::Done)
}

/// From one moment to another, both included.
#[derive(Clone, Copy, Debug, Default)]
struct Range {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Range {
    /// Whether a line of this time is meant. One without a time cannot be left out by it.
    fn has(&self, time: &str) -> bool {
        time.parse::<Timestamp>().map_or(true, |time| {
            self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time <= until)
        })
    }
}

/// Returns the container's name as the profile has it.
fn short_name(container: &ObservedContainer) -> String {
    container.slot_labels.as_ref().map_or_else(|| container.name.clone(), |l| l.container.to_string())
}

/// Cuts a stream of chunks into lines, each of the two output streams for itself.
fn split(
    chunks: BoxStream<'static, EngineResult<OutputChunk>>,
    container: usize,
) -> BoxStream<'static, EngineResult<Line>> {
    let rest: [Vec<u8>; 2] = [Vec::new(), Vec::new()];
    let ended = futures::stream::once(futures::future::ready(None));
    chunks
        .map(Some)
        .chain(ended)
        .scan(rest, move |rest, chunk| {
            let mut lines = Vec::new();
            match chunk {
                Some(Ok(chunk)) => {
                    let buffer = &mut rest[usize::from(chunk.stderr)];
                    buffer.extend_from_slice(&chunk.bytes);
                    while let Some(end) = buffer.iter().position(|b| *b == b'\n') {
                        let line: Vec<u8> = buffer.drain(..=end).collect();
                        lines.push(Ok(parse(&line[..end], container, chunk.stderr)));
                    }
                }
                Some(Err(error)) => lines.push(Err(error)),
                None => {
                    let ends = rest.iter().zip([false, true]).filter(|(bytes, _)| !bytes.is_empty());
                    lines.extend(ends.map(|(bytes, stderr)| Ok(parse(bytes, container, stderr))));
                }
            }
            futures::future::ready(Some(futures::stream::iter(lines)))
        })
        .flatten()
        .boxed()
}

/// Separates the engine's time from the line.
fn parse(line: &[u8], container: usize, stderr: bool) -> Line {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches('\r');
    match text.split_once(' ') {
        Some((time, rest)) if time.parse::<Timestamp>().is_ok() => {
            Line { time: time.to_owned(), container, stderr, text: rest.to_owned() }
        }
        _ => Line { time: String::new(), container, stderr, text: text.to_owned() },
    }
}

/// Reads a time (RFC 3339) or an age (`10m`, `2h30m`).
pub fn moment(text: &str, now: &Zoned) -> Result<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let age: jiff::Span = text.parse().map_err(|_| {
        CliError::new(format!("`{text}` is neither a time nor an age"))
            .help("a time is like 2026-11-22T10:00:00Z, an age like 90s, 10m, 2h or 3d")
    })?;
    Ok(now.checked_sub(age).with_context(|| format!("`{text}` is too long ago"))?.timestamp())
}

/// Which containers, and on which engines.
pub type Chosen = Vec<(Arc<dyn Engine>, ObservedContainer)>;

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[tokio::test]
    async fn lines_must_be_whole_even_when_chunks_cut_them_and_streams_mix() {
        let chunk = |stderr, text: &'static str| {
            Ok(OutputChunk { stderr, bytes: Bytes::from_static(text.as_bytes()) })
        };
        let chunks = futures::stream::iter(vec![
            chunk(false, "2026-01-01T00:00:00.000000001Z a"),
            chunk(true, "2026-01-01T00:00:00.000000002Z err\n"),
            chunk(false, "b\n2026-01-01T00:00:00.000000003Z last without end"),
        ])
        .boxed();
        let lines: Vec<Line> = split(chunks, 0).map(|l| l.expect("no error was put in")).collect().await;
        let texts: Vec<&str> = lines.iter().map(|l| l.text.as_str()).collect();
        assert_eq!(texts, ["err", "ab", "last without end"]);
    }

    #[test]
    fn ages_and_times_must_be_understood_and_nonsense_explained() {
        let now: Zoned = "2026-01-02T00:00:00+00:00[UTC]".parse().expect("a valid time");
        assert_eq!(moment("2026-01-01T00:00:00Z", &now).expect("a time").as_second(), 1_767_225_600);
        assert_eq!(moment("24h", &now).expect("an age").as_second(), 1_767_225_600);
        assert!(moment("yesterdayish", &now).is_err());
    }
}
