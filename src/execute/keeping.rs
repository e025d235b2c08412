//! What is kept of containers that serve no more: frozen, or short of their work, and how it goes on.

use crate::engine::{Engine, EngineResult, archive};
use crate::model::spec::{Cutover, STANDING_BY_PATH};
use crate::model::{CheckSpec, ContainerId, Role, Slot};

use super::StepError;
use super::perform::{Work, again, fail};

/// Seconds that a program may take to come up to its work, beside others that do the same.
pub(super) const PREPARING: u32 = 120;

impl Work<'_> {
    /// Lets a frozen container go on, which its engine starts by itself again from here on.
    pub(super) async fn thaw(&self, engine: &dyn Engine, id: &ContainerId) -> EngineResult<()> {
        again(engine, || engine.restarts(id, true)).await?;
        again(engine, || engine.thaw(id)).await
    }

    /// Whether the containers of a slot may have been told to stand by.
    pub(super) fn may_stand_by(&self, slot: Option<&Slot>) -> bool {
        let spec = slot.and_then(|slot| self.desired.containers.get(slot));
        spec.is_none_or(|spec| spec.role == Role::Service { cutover: Cutover::StandsBy })
    }

    /// Tells the program of a container to stand by when it begins, or to go on.
    pub(super) async fn stand_by(
        &self,
        engine: &dyn Engine,
        id: &ContainerId,
        waits: bool,
    ) -> Result<(), StepError> {
        let packed = archive::standing_by(waits).map_err(|e| fail(e.to_string()))?;
        Ok(again(engine, || engine.upload(id, packed.clone())).await?)
    }

    /// Begins a container's program, and freezes it where only its work is left to begin.
    pub(super) async fn prepare(
        &self,
        engine: &dyn Engine,
        id: &ContainerId,
        name: &str,
        note: &(dyn Fn(String) + Send + Sync),
    ) -> Result<(), StepError> {
        self.stand_by(engine, id, true).await?;
        // A machine that comes up starts what serves, and not this.
        again(engine, || engine.restarts(id, false)).await?;
        again(engine, || engine.start(id)).await?;
        note("begins, short of its work".to_owned());
        let check = CheckSpec::file(STANDING_BY_PATH, PREPARING);
        self.healthy(engine, id, name, Some(&check)).await?;
        Ok(again(engine, || engine.freeze(id)).await?)
    }
}
