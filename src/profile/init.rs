//! The profile that `mastic init` writes: complete, commented, and loadable as it is.

use crate::model::{DeploymentName, NameError};

const TEXT: &str = include_str!("../../profiles/all-in-one.yaml");

/// Returns the text of a new profile for a deployment of this name: the all-in-one profile, which explains itself.
pub fn init_profile(name: &str) -> Result<String, NameError> {
    let name = DeploymentName::new(name)?;
    Ok(TEXT.replacen("\ndeployment: aio\n", &format!("\ndeployment: {name}\n"), 1))
}
