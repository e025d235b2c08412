//! What is said to the balancers while servers behind them change: look at this one again, let that one finish.

use std::collections::BTreeMap;

use super::build::{Builder, DEFAULT_GRACE, Work, engine_name, existing, grace_of};
use super::cause::Cause;
use super::cutover;
use super::document::Change;
use super::draft::{Act, Class, Draft, Key};
use super::step::{Action, Target, Undo};
use crate::model::Slot;
use crate::model::spec::Side;

/// One balancer, as this plan speaks to it.
#[derive(Clone, Debug)]
pub(super) struct Balancer {
    at: Slot,
    container: Target,
    /// The step after which it serves, if it changes itself.
    ready: Option<Key>,
    /// The ends of its predecessors: until then they may send what their clients' old connections bring.
    alone: Vec<Key>,
}

impl Builder<'_, '_> {
    /// All balancers that there are or will be.
    pub(super) fn balancers(&self, work: &BTreeMap<Slot, Work<'_>>) -> Vec<Balancer> {
        let scene = self.scene;
        let of = |slot: &Slot| {
            let changed = work.get(slot).filter(|item| item.spec.is_some());
            let ready = changed
                .filter(|item| !matches!(item.decision.change, Change::Keep | Change::Clean))
                .and_then(|_| self.ready_key(work, slot));
            let successor = changed.map(|item| match item.decision.successor {
                Some(seen) => existing(&seen),
                None => Target::Made { name: engine_name(scene, slot, self.generation) },
            });
            let stands = || scene.seen(slot).iter().find(|seen| seen.works()).map(existing);
            let stopped = changed.into_iter().flat_map(|item| {
                let names = item.decision.stop.iter().map(|seen| seen.container.name.as_str());
                names.map(|name| self.key(Class::Work, &item.set, slot, Act::Stop, name))
            });
            let alone = stopped.collect();
            Some(Balancer { at: slot.clone(), container: successor.or_else(stands)?, ready, alone })
        };
        scene.desired.balancers.keys().filter_map(of).collect()
    }

    /// Before a successor listens on a port where an earlier one was drained, the balancers must look at it again.
    pub(super) fn open(&mut self, slot: &Slot, item: &Work<'_>, cause: &Cause) -> Vec<Key> {
        let served_before = item.decision.fallback.is_some() || item.decision.successor.is_some();
        if served_before { self.spoken_to(slot, item, cause, Act::Open, item.side, &[]) } else { Vec::new() }
    }

    /// Once the successor serves, the balancers let the predecessor finish what it has.
    pub(super) fn drain(&mut self, slot: &Slot, item: &Work<'_>, cause: &Cause, ready: &Key) -> Vec<Key> {
        self.spoken_to(slot, item, cause, Act::Drain, cutover::other(item.side), std::slice::from_ref(ready))
    }

    fn spoken_to(
        &mut self,
        slot: &Slot,
        item: &Work<'_>,
        cause: &Cause,
        act: Act,
        side: Side,
        deps: &[Key],
    ) -> Vec<Key> {
        let mut keys = Vec::new();
        let routes = self.scene.desired.routes.get(slot).map(Vec::as_slice).unwrap_or_default();
        for Balancer { at, container, ready, alone } in self.balancers.clone() {
            for route in routes {
                let (server, balancer) = (route.server(side).to_owned(), container.clone());
                let alone = alone.iter().filter(|_| act == Act::Drain).cloned();
                let grace = item.decision.stop.iter().map(grace_of).max().unwrap_or(DEFAULT_GRACE);
                let (action, undo) = if act == Act::Open {
                    (Action::OpenServer { balancer, server: server.clone() }, Undo::Nothing)
                } else {
                    let again = Action::OpenServer { balancer: balancer.clone(), server: server.clone() };
                    (Action::DrainServer { balancer, server: server.clone(), grace }, Undo::Step(again))
                };
                let key = self.key(Class::Work, &item.set, slot, act, &format!("{at} {server}"));
                let draft = Draft {
                    deps: deps.iter().cloned().chain(ready.clone()).chain(alone).collect(),
                    host: Some(at.host.clone()),
                    slot: Some(slot.clone()),
                    set: Some(item.set.clone()),
                    action,
                    cause: cause.clone(),
                    undo,
                };
                self.drafts.add(key.clone(), draft);
                keys.push(key);
            }
        }
        keys
    }
}
