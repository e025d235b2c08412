//! The executor's view of registration.

use async_trait::async_trait;

use super::Registrar;
use crate::execute;
use crate::model::cloud::Cloud;
use crate::model::desired::IdentitySpec;

#[async_trait]
impl execute::Registrar for Registrar {
    async fn register(&self, identity: &IdentitySpec) -> Result<Vec<String>, String> {
        match Registrar::register(self, identity).await {
            Ok(report) => Ok(report.changed),
            Err(error) => Err(chain(&error)),
        }
    }

    async fn furnish(&self, identity: &IdentitySpec, cloud: &Cloud) -> Result<Vec<String>, String> {
        super::furnish(self.state(), identity, cloud).await.map_err(|error| chain(&error))
    }
}

/// An error with its causes, each once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
