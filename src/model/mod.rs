//! The nouns of Mastic, as plain values.
//!
//! Nothing here reads a file, a clock, the environment or an engine. Names are those of
//! `docs/glossary.md`; invalid states do not construct.

pub mod availability;
pub mod check;
pub mod cloud;
pub mod desired;
pub mod generation;
pub mod image;
pub mod labels;
pub mod name;
pub mod observed;
pub mod secret;
pub mod spec;
pub mod words;

pub use availability::Availability;
pub use check::CheckSpec;
pub use desired::{Desired, HostSpec};
pub use generation::{Generation, Held, Returning, Slot};
pub use image::{ImageId, PinnedImage};
pub use labels::Labels;
pub use name::{
    ContainerName, DeploymentName, HostName, ImageName, NameError, ReleaseName, RunId, SecretName,
    ServiceName, SetName, TaskPhase, VolumeName,
};
pub use observed::{
    ContainerId, ContainerState, Health, LedgerSummary, Observed, ObservedContainer, ObservedHost,
    ObservedImage, ObservedVolume,
};
pub use secret::{Secret, SecretKind};
pub use spec::{ContainerSpec, FileSpec, Role, SpecHash, SpecRecord};
