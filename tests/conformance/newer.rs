//! Engines of later distributions: every case passes with them, too.

use mastic::engine::connect;

use crate::engine::{EngineOptions, PrivateEngine};
use crate::fixture::run_all;

/// Runs every case with the engine of a Debian suite, started here from that suite's own packages.
fn of(suite: &'static str, at_least: u32) {
    let options = EngineOptions { suite: Some(suite), ..EngineOptions::default() };
    let engine = PrivateEngine::start(suite, options);
    let address = engine.address();
    engine.home().inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let client = connect(&address, None).await.expect("the engine answers");
            let version = client.info().await.expect("it says what it is").version;
            let major: u32 = version.split('.').next().and_then(|word| word.parse().ok()).unwrap_or(0);
            assert!(major >= at_least, "{suite} has {version}");
            run_all(client).await;
        });
    });
}

#[test]
fn the_engine_of_trixie_must_pass_every_case() {
    of("trixie", 26);
}

#[test]
fn the_engine_of_sid_must_pass_every_case() {
    of("sid", 28);
}
