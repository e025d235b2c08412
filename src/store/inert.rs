//! The image of containers that are never started: the lock and the ledger.

use bytes::Bytes;
use futures::StreamExt;

use crate::engine::archive::{self, Entry, Tree};
use crate::engine::{Engine, EngineError, EngineErrorKind, EngineResult};

/// Its reference. The number changes when its content does.
pub const REFERENCE: &str = "mastic/inert:1";

/// Makes sure that the engine has it. It holds one small file, since engines refuse an image of nothing.
pub async fn ensure(engine: &dyn Engine) -> EngineResult<()> {
    if engine.image(REFERENCE).await?.is_some() {
        return Ok(());
    }
    let tree: Tree = [(
        "/README".to_owned(),
        Entry::file("Mastic's containers of this image are never started.\n", 0o444),
    )]
    .into();
    let root = packed(engine, &tree)?;
    let stream = futures::stream::once(futures::future::ready(Ok(root))).boxed();
    engine.import_image(REFERENCE, stream, &std::collections::BTreeMap::new()).await?;
    Ok(())
}

/// Packs entries, with an error that names the engine.
pub(super) fn packed(engine: &dyn Engine, tree: &Tree) -> EngineResult<Bytes> {
    archive::pack(tree).map_err(|error| EngineError {
        operation: "pack an archive".to_owned(),
        endpoint: engine.endpoint().to_owned(),
        kind: EngineErrorKind::BadRequest,
        message: error.to_string(),
    })
}
