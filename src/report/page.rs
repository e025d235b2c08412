//! A timeline as one HTML page that needs nothing else: no script, no font, no picture from anywhere. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::journal::timeline::{Bar, End, Lane, Link, Timeline};
use crate::model::SetName;

const STYLE: &str = include_str!("page.css");
/// Hues that can be told apart, light or dark; what is beyond them is made of the golden angle.
const HUES: [u32; 8] = [212, 145, 268, 28, 186, 330, 84, 48];
/// Steps of the chain that are shorter are summed up.
const SHORT: f64 = 0.05;
/// A bar of which at least this share of the width is seen has its time written behind it.
const NOTED: f64 = 0.6;

/// Returns the page.
pub fn html(timeline: &Timeline) -> String {
    let colors = colors(timeline);
    let mut out = String::new();
    let title = title(timeline);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
    );
    head(&mut out, timeline, &title);
    chart(&mut out, timeline, &colors);
    chain(&mut out, timeline);
    failures(&mut out, timeline);
    undone(&mut out, timeline);
    steps(&mut out, timeline);
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn title(t: &Timeline) -> String {
    let generation = t.generation.map(|g| format!(", generation {g}")).unwrap_or_default();
    escape(&format!("{} {}{generation}", t.purpose, t.deployment))
}

fn head(out: &mut String, t: &Timeline, title: &str) {
    let outcome = t.outcome.as_deref().unwrap_or("cut off");
    let begun: usize = t.lanes.iter().map(|lane| lane.bars.len()).sum();
    let queued: f64 = t.chain.iter().map(|link| link.queued).sum();
    let began = t.began_at.strftime("%Y-%m-%d %H:%M:%S UTC");
    let _ = write!(
        out,
        "<h1>{title}: {}</h1>\n<div class=\"soft\">run {}, begun {began}</div>\n<div class=\"facts\">\
         <div><b>{}</b><span class=\"soft\">from begin to end</span></div>\
         <div><b>{begun}</b><span class=\"soft\">steps, of {} planned</span></div>\
         <div><b>{}</b><span class=\"soft\">steps made it as long as it was</span></div>\
         <div><b>{}</b><span class=\"soft\">of that, they waited for a busy engine</span></div></div>\n",
        escape(outcome),
        escape(&t.run),
        seconds(t.seconds),
        t.planned,
        t.chain.len(),
        seconds(queued),
    );
    out.push_str(
        "<div class=\"legend\"><span><i style=\"background:hsl(212 60% 52%)\"></i>starts, waits until healthy, runs to its end</span>\
         <span><i style=\"background:hsl(212 60% 52%);opacity:.45\"></i>is made, gets its config</span>\
         <span><i style=\"background:var(--soft);opacity:.7\"></i>stops, is removed</span>\
         <span><i style=\"background:hsl(212 60% 52%);outline:2px solid var(--hot)\"></i>the chain that made the run as long as it was</span>\
         <span><i style=\"height:0;border-top:2px dotted var(--soft);vertical-align:4px\"></i>waits for another</span>\
         <span><i style=\"height:0;border-top:2px solid var(--soft);opacity:.5;vertical-align:4px\"></i>waits for the engine</span></div>\n",
    );
}

fn chart(out: &mut String, t: &Timeline, colors: &BTreeMap<SetName, String>) {
    let scale = Scale { seconds: t.seconds.max(0.001) };
    let hosts: BTreeSet<_> = t.lanes.iter().filter_map(|lane| lane.host.as_ref()).collect();
    let several = hosts.len() > 1;
    let lines: String =
        ticks(t.seconds).iter().map(|at| format!("<u style=\"left:{}\"></u>", scale.at(*at))).collect();
    out.push_str("<div class=\"chart\">\n<div class=\"row axis\"><span></span><div class=\"time\">");
    for at in ticks(t.seconds) {
        let _ = write!(out, "<u style=\"left:{}\">{}</u>", scale.at(at), seconds(at));
    }
    out.push_str("</div></div>\n");
    let mut group: Option<Option<&SetName>> = None;
    for lane in &t.lanes {
        let color = lane.set.as_ref().and_then(|set| colors.get(set)).map_or("var(--soft)", String::as_str);
        if group != Some(lane.set.as_ref()) {
            let name = lane.set.as_ref().map_or("the deployment", SetName::as_str);
            let _ = writeln!(
                out,
                "<div class=\"row set\" style=\"--c:{color}\"><span>{}</span><div class=\"time\">{lines}</div></div>",
                escape(name)
            );
            group = Some(lane.set.as_ref());
        }
        let host = lane.host.as_ref().filter(|_| several).map(|h| format!(" on {h}")).unwrap_or_default();
        let name = escape(&format!("{}{host}", lane.name));
        let _ = write!(
            out,
            "<div class=\"row\" style=\"--c:{color}\"><span title=\"{name}\">{name}</span><div class=\"time\">{lines}"
        );
        draw(out, lane, scale);
        out.push_str("</div></div>\n");
    }
    out.push_str("</div>\n");
}

#[derive(Clone, Copy)]
struct Scale {
    seconds: f64,
}

impl Scale {
    fn at(self, seconds: f64) -> String {
        format!("{:.3}%", seconds / self.seconds * 100.0)
    }
}

fn draw(out: &mut String, lane: &Lane, scale: Scale) {
    for wait in &lane.waits {
        let class = if wait.what.contains("engine, which is busy") { "wait engine" } else { "wait" };
        let _ = write!(
            out,
            "<div class=\"{class}\" style=\"left:{};width:{}\" title=\"{} ({})\"></div>",
            scale.at(wait.from),
            scale.at(wait.to - wait.from),
            escape(&wait.what),
            seconds(wait.to - wait.from)
        );
    }
    for bar in &lane.bars {
        let _ = write!(
            out,
            "<div class=\"bar{}\" style=\"left:{};width:{}\" title=\"{}\"></div>",
            class(bar),
            scale.at(bar.began),
            scale.at(bar.ended - bar.began),
            escape(&told(bar))
        );
    }
    if let Some(last) = lane.bars.iter().max_by(|a, b| a.ended.total_cmp(&b.ended)) {
        let longest = lane.bars.iter().map(|bar| bar.ended - bar.began).fold(0.0, f64::max);
        if longest >= scale.seconds * NOTED / 100.0 {
            let note = seconds(longest);
            let _ = write!(out, "<div class=\"note\" style=\"left:{}\">{note}</div>", scale.at(last.ended));
        }
    }
}

fn class(bar: &Bar) -> String {
    let mut class = String::new();
    match bar.verb.as_str() {
        "create" | "upload config" | "create volume" => class.push_str(" short"),
        "stop" | "remove" | "remove volume" => class.push_str(" end"),
        _ => {}
    }
    if bar.critical {
        class.push_str(" hot");
    }
    match bar.end {
        End::Done => {}
        End::Failed(_) => class.push_str(" bad"),
        End::Open => class.push_str(" open"),
    }
    class
}

/// What a bar says of itself.
fn told(bar: &Bar) -> String {
    let Bar { id, verb, object, cause, until, began, ended, end, .. } = bar;
    let mut text = format!(
        "{id} {verb} {object}\n{} to {}: {}",
        seconds(*began),
        seconds(*ended),
        seconds(ended - began)
    );
    if let Some(until) = until {
        let _ = write!(text, "\nuntil: {until}");
    }
    let _ = write!(text, "\nsince: {cause}");
    match end {
        End::Done => {}
        End::Failed(reason) => drop(write!(text, "\nFAILED: {reason}")),
        End::Open => text.push_str("\nthe run was cut off here"),
    }
    text
}

/// The chain as a table: where the time went.
fn chain(out: &mut String, t: &Timeline) {
    let (long, short): (Vec<&Link>, Vec<&Link>) =
        t.chain.iter().partition(|link| link.took + link.queued >= SHORT);
    if long.is_empty() {
        return;
    }
    let most = long.iter().map(|link| link.took + link.queued).fold(0.0, f64::max);
    out.push_str(
        "<h2>Why it took that long</h2>\n<div class=\"soft\">Each step began when the one above it had ended; no run is shorter than \
         this chain. To make it quicker, begin at the longest.</div>\n<table>\n<tr><th class=\"n\">at</th><th>step</th><th>until</th>\
         <th class=\"n\">engine busy</th><th class=\"n\">took</th><th></th></tr>\n",
    );
    for link in &long {
        let name =
            if link.lane == link.verb { link.verb.clone() } else { format!("{}: {}", link.lane, link.verb) };
        let queued = if link.queued >= SHORT { seconds(link.queued) } else { String::new() };
        let _ = writeln!(
            out,
            "<tr><td class=\"n\">{}</td><td>{}</td><td class=\"soft\">{}</td><td class=\"n\">{queued}</td><td class=\"n\">{}</td>\
             <td><span class=\"share\" style=\"width:{:.0}px\"></span></td></tr>",
            seconds(link.began),
            escape(&name),
            escape(link.until.as_deref().unwrap_or_default()),
            seconds(link.took),
            (link.took + link.queued) / most * 200.0,
        );
    }
    out.push_str("</table>\n");
    if !short.is_empty() {
        let sum: f64 = short.iter().map(|link| link.took + link.queued).sum();
        let _ = writeln!(
            out,
            "<div class=\"soft\">and {} short ones, {} together</div>",
            short.len(),
            seconds(sum)
        );
    }
}

fn failures(out: &mut String, t: &Timeline) {
    let failed: Vec<(&Bar, &String)> = t
        .lanes
        .iter()
        .flat_map(|lane| &lane.bars)
        .filter_map(|bar| match &bar.end {
            End::Failed(reason) => Some((bar, reason)),
            End::Done | End::Open => None,
        })
        .collect();
    if failed.is_empty() {
        return;
    }
    out.push_str("<h2>What failed</h2>\n<table>\n<tr><th class=\"n\">at</th><th>step</th></tr>\n");
    for (bar, reason) in failed {
        let _ = writeln!(
            out,
            "<tr><td class=\"n\">{}</td><td>{} {}<pre>{}</pre></td></tr>",
            seconds(bar.ended),
            escape(&bar.verb),
            escape(&bar.object),
            escape(reason)
        );
    }
    out.push_str("</table>\n");
}

fn undone(out: &mut String, t: &Timeline) {
    if t.undone.is_empty() {
        return;
    }
    out.push_str("<h2>What was taken back</h2>\n<table>\n<tr><th class=\"n\">at</th><th>what</th><th class=\"n\">took</th></tr>\n");
    for undo in &t.undone {
        let failed =
            undo.failed.as_ref().map(|why| format!("<pre>{}</pre>", escape(why))).unwrap_or_default();
        let _ = writeln!(
            out,
            "<tr><td class=\"n\">{}</td><td>{}{failed}</td><td class=\"n\">{}</td></tr>",
            seconds(undo.began),
            escape(&undo.action),
            seconds(undo.ended - undo.began)
        );
    }
    out.push_str("</table>\n");
}

/// Every step, for whoever searches.
fn steps(out: &mut String, t: &Timeline) {
    let mut bars: Vec<&Bar> = t.lanes.iter().flat_map(|lane| &lane.bars).collect();
    bars.sort_by(|a, b| a.began.total_cmp(&b.began).then(a.id.cmp(&b.id)));
    let _ = write!(
        out,
        "<details><summary>All {} steps</summary>\n<table>\n<tr><th class=\"n\">#</th><th class=\"n\">at</th><th>step</th><th>since</th>\
         <th class=\"n\">took</th></tr>\n",
        bars.len()
    );
    for bar in bars {
        let _ = writeln!(
            out,
            "<tr><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{} {}</td><td class=\"soft\">{}</td><td class=\"n\">{}</td></tr>",
            bar.id.0,
            seconds(bar.began),
            escape(&bar.verb),
            escape(&bar.object),
            escape(&bar.cause),
            seconds(bar.ended - bar.began)
        );
    }
    out.push_str("</table>\n</details>\n");
}

/// One colour a set, in the order in which they are drawn.
fn colors(t: &Timeline) -> BTreeMap<SetName, String> {
    let mut colors = BTreeMap::new();
    for set in t.lanes.iter().filter_map(|lane| lane.set.as_ref()) {
        let index = colors.len();
        colors.entry(set.clone()).or_insert_with(|| {
            let golden = || u32::try_from(index).unwrap_or_default().wrapping_mul(137) % 360;
            format!("hsl({} 60% 52%)", HUES.get(index).copied().unwrap_or_else(golden))
        });
    }
    colors
}

/// Returns where the axis has its lines: five to ten of them, at round numbers.
fn ticks(seconds: f64) -> Vec<f64> {
    let steps = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];
    let step = steps.into_iter().find(|step| seconds / step <= 10.0).unwrap_or(7200.0);
    let mut ticks = vec![0.0];
    while ticks.last().is_some_and(|last| last + step < seconds) && ticks.len() < 100 {
        ticks.push(ticks.last().copied().unwrap_or_default() + step);
    }
    ticks
}

fn seconds(seconds: f64) -> String {
    match seconds {
        s if s >= 120.0 => {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a run takes less than 2^32 s"
            )]
            let whole = s.round() as u32;
            format!("{}m {:02}s", whole / 60, whole % 60)
        }
        s if s >= 9.95 => format!("{s:.0} s"),
        s if s >= 0.995 || s == 0.0 => format!("{s:.1} s"),
        s => format!("{s:.2} s"),
    }
}

fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::timeline::Wait;
    use crate::plan::StepId;

    fn run() -> Timeline {
        let bar = |id: u32, verb: &str, began: f64, ended: f64, end: End| Bar {
            id: StepId(id),
            verb: verb.to_owned(),
            object: "aio-api-1".to_owned(),
            cause: "image <a> -> \"b\"".to_owned(),
            until: Some("http://127.0.0.1:1/?a&b".to_owned()),
            began,
            ended,
            critical: id == 2,
            end,
        };
        Timeline {
            run: "r1".to_owned(),
            deployment: "aio".to_owned(),
            purpose: "deploy".to_owned(),
            generation: Some(3),
            began_at: "2026-11-26T03:00:00Z".parse().unwrap(),
            seconds: 10.0,
            outcome: None,
            planned: 9,
            lanes: vec![Lane {
                name: "api".to_owned(),
                host: Some("one".parse().unwrap()),
                set: Some("api".parse().unwrap()),
                bars: vec![
                    bar(1, "create", 0.0, 0.1, End::Done),
                    bar(2, "await healthy", 4.0, 10.0, End::Failed("<script>alert(1)</script>".to_owned())),
                ],
                waits: vec![Wait { from: 0.1, to: 4.0, what: "waits for db: start".to_owned() }],
            }],
            chain: vec![Link {
                id: StepId(2),
                lane: "api".to_owned(),
                verb: "await healthy".to_owned(),
                until: None,
                began: 4.0,
                took: 6.0,
                queued: 0.0,
            }],
            undone: Vec::new(),
        }
    }

    #[test]
    fn the_page_must_need_nothing_from_anywhere_and_carry_no_markup_of_others() {
        let page = html(&run());
        for word in ["<script", "src=", "href=", "url(", "@import", "<link"] {
            assert!(!page.contains(word), "{word}");
        }
        assert!(
            page.contains("&lt;script&gt;") && page.contains("image &lt;a&gt; -&gt; &quot;b&quot;"),
            "{page}"
        );
        // Addresses are told, never fetched.
        assert!(page.contains("until: http://127.0.0.1:1/?a&amp;b"), "{page}");
    }

    #[test]
    fn bars_must_stand_where_their_time_is() {
        let page = html(&run());
        assert!(page.contains("class=\"bar hot bad\" style=\"left:40.000%;width:60.000%\""), "{page}");
        assert!(
            page.contains(
                "class=\"wait\" style=\"left:1.000%;width:39.000%\" title=\"waits for db: start (3.9 s)\""
            ),
            "{page}"
        );
        assert!(page.contains("deploy aio, generation 3: cut off"), "{page}");
    }

    #[test]
    fn the_axis_must_have_few_lines_at_round_numbers() {
        assert_eq!(ticks(7.0), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(ticks(98.7).len(), 10);
        assert!((5..=11).contains(&ticks(1234.0).len()));
        assert_eq!(
            ["0.05 s", "3.2 s", "12 s", "2m 05s"],
            [0.05, 3.2, 12.3, 125.0].map(seconds).map(|s| s).each_ref().map(String::as_str)
        );
    }
}
