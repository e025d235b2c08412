//! What ends beside a change that leaves it as it is: a run waits for what it changes, and for nothing else.

use std::collections::BTreeSet;

use crate::cli::exit::CliError;
use crate::model::{Desired, Observed, Slot};

/// The slots in which something worked before a change.
pub(super) struct Beside(BTreeSet<Slot>);

impl Beside {
    /// By the look from which the change is planned.
    pub fn before(observed: &Observed) -> Self {
        Self(working(observed))
    }

    /// Requires that what is wanted still works, by a look after the change. `what` is what is done: `upgrade`.
    pub fn must_work(&self, after: &Observed, desired: &Desired, what: &str) -> Result<(), CliError> {
        let works = working(after);
        let ended: Vec<String> = self
            .0
            .difference(&works)
            .filter(|slot| desired.containers.get(slot).is_some_and(|spec| !spec.is_task()))
            .map(ToString::to_string)
            .collect();
        if ended.is_empty() {
            return Ok(());
        }
        let ended = ended.join(", ");
        Err(CliError::new(format!("the {what} is done, but what it left as it is has ended meanwhile: {ended}")).help(
            "`mastic start` starts it again; an engine without `live-restore` stops containers when it ends (`mastic prechecks`)",
        ))
    }
}

fn working(observed: &Observed) -> BTreeSet<Slot> {
    let containers = observed.hosts.values().flat_map(|host| &host.containers);
    containers
        .filter(|container| container.state.works())
        .filter_map(|container| container.slot_labels.as_ref())
        .map(|labels| Slot { host: labels.host.clone(), container: labels.container.clone() })
        .collect()
}
