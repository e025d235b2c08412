//! Reads a journal back: which steps are done, failed, or in doubt.

use std::collections::BTreeMap;

use super::entry::{Entry, Event, JOURNAL_VERSION, StepState, Stopping};
use crate::plan::StepId;

/// What a journal says.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Replay {
    /// The run's first line, if it can be read.
    pub began: Option<Event>,
    /// How it ended; none when it was killed.
    pub outcome: Option<String>,
    /// By step.
    pub steps: BTreeMap<StepId, StepState>,
    /// What each step that began was, as text for people.
    pub actions: BTreeMap<StepId, String>,
    /// Calls that take something back and were begun, not ended; as text for people.
    pub undoing: Vec<String>,
    /// What each act that began tells to end, if it does, by the act's text.
    pub stops: BTreeMap<String, Option<Stopping>>,
    /// Whether a later run has told the operator about this one.
    pub settled: bool,
    /// Whether the last line was cut off: normal after a kill.
    pub truncated: bool,
    /// Lines that make no sense, by number: the journal is not to be trusted.
    pub damaged: Vec<(usize, String)>,
}

impl Replay {
    /// Returns the steps whose outcome only the engine knows.
    pub fn in_doubt(&self) -> Vec<StepId> {
        self.steps.iter().filter(|(_, state)| **state == StepState::InDoubt).map(|(step, _)| *step).collect()
    }

    /// Returns whether the run came to its end.
    pub fn is_finished(&self) -> bool {
        self.outcome.is_some() && self.damaged.is_empty()
    }

    /// Returns what was under way when the run was cut off, as texts for people.
    pub fn under_way(&self) -> Vec<String> {
        let steps = self.in_doubt().into_iter().filter_map(|step| self.actions.get(&step).cloned());
        steps.chain(self.undoing.iter().map(|action| format!("undo: {action}"))).collect()
    }

    /// Returns what was being stopped when the run was cut off: it was told to end, and may run for a while still.
    pub fn stopping(&self) -> Vec<Stopping> {
        let steps = self.in_doubt().into_iter().filter_map(|step| self.actions.get(&step));
        steps.chain(&self.undoing).filter_map(|action| self.stops.get(action)?.clone()).collect()
    }

    /// Returns how many steps were done.
    pub fn done(&self) -> usize {
        self.steps.values().filter(|state| **state == StepState::Done).count()
    }
}

/// Replays a journal's text. Never fails: what cannot be read is reported in the result.
pub fn replay(text: &[u8]) -> Replay {
    let mut found = Replay::default();
    let whole = text.last() == Some(&b'\n');
    let lines: Vec<&[u8]> = text.split(|b| *b == b'\n').collect();
    let last = lines.len().saturating_sub(1);
    for (index, line) in lines.iter().enumerate() {
        if line.is_empty() {
            continue;
        }
        let number = index + 1;
        match serde_json::from_slice::<Entry>(line) {
            Ok(entry) => take(&mut found, number, entry.event),
            Err(_) if index == last && !whole => found.truncated = true,
            Err(error) => found.damaged.push((number, error.to_string())),
        }
    }
    found
}

fn take(found: &mut Replay, number: usize, event: Event) {
    match &event {
        Event::RunBegan { version, .. } => {
            if *version == JOURNAL_VERSION {
                found.began = Some(event);
            } else {
                found
                    .damaged
                    .push((number, format!("format {version}, this program reads {JOURNAL_VERSION}")));
            }
        }
        Event::StepBegan { step, .. } | Event::StepDone { step } | Event::StepFailed { step, .. } => {
            let state = found.steps.entry(*step).or_default();
            match state.next(*step, &event) {
                Ok(next) => *state = next,
                Err(illegal) => found.damaged.push((number, illegal.to_string())),
            }
            if let Event::StepBegan { action, stops, .. } = &event {
                found.actions.insert(*step, action.clone());
                found.stops.insert(action.clone(), stops.clone());
            }
        }
        Event::UndoBegan { action, stops } => {
            found.undoing.push(action.clone());
            found.stops.insert(action.clone(), stops.clone());
        }
        Event::UndoDone { action, .. } => found.undoing.retain(|begun| begun != action),
        Event::RunEnded { outcome } => found.outcome = Some(outcome.clone()),
        Event::RunSettled => found.settled = true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(event: Event) -> String {
        serde_json::to_string(&Entry { at: "t".to_owned(), event }).expect("an entry serializes") + "\n"
    }

    fn began(step: u32) -> Event {
        Event::StepBegan { step: StepId(step), action: "create x".to_owned(), stops: None }
    }

    #[test]
    fn a_cut_off_last_line_must_be_normal_and_leave_the_step_in_doubt() {
        let text = line(began(1)) + &line(Event::StepDone { step: StepId(1) }) + &line(began(2));
        for cut in 0..text.len() {
            let found = replay(&text.as_bytes()[..cut]);
            assert!(found.damaged.is_empty(), "cut at {cut}: {:?}", found.damaged);
        }
        let done = line(Event::StepDone { step: StepId(2) });
        let found = replay((text + &done[..done.len() - 5]).as_bytes());
        assert!(found.truncated);
        assert_eq!(found.in_doubt(), [StepId(2)]);
    }

    #[test]
    fn what_was_under_way_must_be_told_in_words() {
        let undo = |action: &str| Event::UndoBegan { action: action.to_owned(), stops: None };
        let undone = Event::UndoDone { action: "stop a".to_owned(), failed: None };
        let events = [began(1), Event::StepDone { step: StepId(1) }, began(2), undo("stop a"), undone];
        let text: String = events.into_iter().chain([undo("start b")]).map(line).collect();
        let found = replay(text.as_bytes());
        assert_eq!(found.under_way(), ["create x", "undo: start b"]);
        assert_eq!((found.done(), found.settled), (1, false));
        assert!(replay((text + &line(Event::RunSettled)).as_bytes()).settled);
    }

    #[test]
    fn what_was_told_to_end_and_not_seen_to_end_must_be_found() {
        let stops = |name: &str| {
            Some(Stopping { host: "local".parse().expect("a name"), container: name.to_owned() })
        };
        let step = |number, name: &str| Event::StepBegan {
            step: StepId(number),
            action: format!("stop {name}"),
            stops: stops(name),
        };
        let undo = |name: &str| Event::UndoBegan { action: format!("stop {name}"), stops: stops(name) };
        let events = [
            step(1, "a"),
            step(2, "b"),
            Event::StepDone { step: StepId(1) },
            began(3),
            undo("c"),
            undo("d"),
            Event::UndoDone { action: "stop c".to_owned(), failed: None },
        ];
        let found = replay(events.into_iter().map(line).collect::<String>().as_bytes());
        let names: Vec<String> = found.stopping().into_iter().map(|s| s.container).collect();
        assert_eq!(names, ["b", "d"]);
    }

    #[test]
    fn garbage_in_the_middle_must_be_reported_with_its_line() {
        let text = line(began(1)) + "nonsense\n" + &line(Event::StepDone { step: StepId(1) });
        let found = replay(text.as_bytes());
        assert_eq!(found.damaged.len(), 1);
        assert_eq!(found.damaged[0].0, 2);
        assert!(!found.is_finished());
    }

    #[test]
    fn an_illegal_transition_must_be_reported() {
        let found = replay(line(Event::StepDone { step: StepId(7) }).as_bytes());
        assert_eq!(found.damaged, [(1, "step #7: done cannot follow Pending".to_owned())]);
    }
}
