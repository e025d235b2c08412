//! What Tempest wants to be told about a cloud, and to find in it: looked up, or made under the run's name.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use serde_json::{Value, json};

use super::conf::{Compute, Found, Network, Object, Volume};
use crate::cloud::{Api, Body, Login, ProjectRef, Session, text};
use crate::report::{Event, Reporter};
use crate::verify::acts::image::{BLANK, COMMAND_LINE};
use crate::verify::walk::Failure;
use crate::verify::{Facts, Guest};

/// As whom our own guest lets its keeper in.
const LOGIN: &str = "root";
/// Megabytes of the two flavors: our own guest is small, a distribution's is not.
const SMALL: [u32; 2] = [128, 192];
const LARGE: [u32; 2] = [512, 768];
/// How long an image may take to become active after its upload.
const PATIENCE: Duration = Duration::from_mins(2);
const PAUSE: Duration = Duration::from_millis(250);

/// Looks and makes.
pub(super) struct Prepare<'a> {
    pub(super) facts: &'a Facts,
    pub(super) guest: Option<&'a Guest>,
    pub(super) admin: &'a Session,
    pub(super) login: &'a Login,
    /// Name of what is made.
    pub(super) name: &'a str,
    pub(super) reporter: &'a dyn Reporter,
}

impl Prepare<'_> {
    /// Finds out everything. What is made is found by its name, so nothing is remembered for the clean-up.
    pub(super) async fn everything(
        &self,
        prefix: String,
        authority: Option<String>,
    ) -> Result<Found, Failure> {
        let has = |kind: &str| self.facts.services.contains_key(kind);
        // The project that tells a later run whose all this is; images lie in it.
        let inside = self.project().await?;
        let (compute, network, volume, object) = futures::try_join!(
            self.when(has("compute"), self.compute(&inside)),
            self.when(has("network"), self.network()),
            self.when(has("block-storage") || has("volumev3"), self.volume()),
            self.when(has("object-store"), self.object()),
        )?;
        Ok(Found {
            prefix,
            region: self.facts.region.clone(),
            authority,
            compute,
            image: has("image"),
            placement: has("placement"),
            network,
            volume,
            object,
            dashboard: self.facts.dashboard.clone(),
            login: matches!(self.guest, Some(Guest::Kernel { .. })).then(|| LOGIN.to_owned()),
        })
    }

    async fn when<T>(
        &self,
        wanted: bool,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<Option<T>, Failure> {
        if wanted { work.await.map(Some) } else { Ok(None) }
    }

    /// Makes the project, and logs the administrator in there.
    async fn project(&self) -> Result<Session, Failure> {
        let project = json!({"project": {"name": self.name, "domain_id": "default", "description": "made by mastic verify --tempest"}});
        let made = self.admin.post(Api::Identity, "projects", project).await?;
        let id = text(&made["project"], "id");
        let roles = self.admin.list(Api::Identity, "roles?name=admin", "roles").await?;
        let path = format!("users?domain_id=default&name={}", self.login.user);
        let users = self.admin.list(Api::Identity, &path, "users").await?;
        let (Some(role), Some(user)) = (roles.first(), users.first()) else {
            return Err(Failure("there is no role `admin`, or no administrator".to_owned()));
        };
        let grant = format!("projects/{id}/users/{}/roles/{}", text(user, "id"), text(role, "id"));
        self.admin.exchange(Method::PUT, Api::Identity, &grant, &[], Body::None).await?;
        let login = Login { project: ProjectRef::Id(id), ..self.login.clone() };
        Ok(self.admin.other(&login).await?)
    }

    async fn compute(&self, inside: &Session) -> Result<Compute, Failure> {
        let (images, small, large, hypervisors) =
            futures::try_join!(self.images(inside), self.flavor(0), self.flavor(1), async {
                Ok(self.admin.list(Api::Compute, "os-hypervisors", "hypervisors").await?)
            },)?;
        let container = |part: &str| self.facts.containers.iter().any(|name| name.contains(part));
        Ok(Compute {
            images,
            flavors: [small, large],
            nodes: hypervisors.len(),
            consoles: container("novncproxy"),
            metadata: container("metadata-agent"),
        })
    }

    async fn flavor(&self, which: usize) -> Result<String, Failure> {
        let sizes = if matches!(self.guest, Some(Guest::Disk { .. })) { LARGE } else { SMALL };
        let name = format!("{}-{which}", self.name);
        let flavor = json!({"flavor": {"name": name, "ram": sizes[which], "vcpus": 1, "disk": 1}});
        Ok(text(&self.admin.post(Api::Compute, "flavors", flavor).await?["flavor"], "id"))
    }

    /// Two images that all projects may use, of the same guest.
    async fn images(&self, inside: &Session) -> Result<[String; 2], Failure> {
        let guest = self.guest.ok_or_else(|| Failure("there is no guest to boot".to_owned()))?;
        let image = |suffix: &str, container: &str, disk: &str| {
            json!({"name": format!("{}-{suffix}", self.name), "container_format": container, "disk_format": disk,
                "visibility": "public", "hw_rng_model": "virtio"})
        };
        let (bytes, document) = match guest {
            Guest::Disk { bytes, format } => (bytes.clone(), image("1", "bare", format)),
            Guest::Kernel { kernel, initramfs } => {
                let (kernel, ramdisk) = futures::try_join!(
                    self.upload(inside, image("kernel", "aki", "aki"), kernel),
                    self.upload(inside, image("ramdisk", "ari", "ari"), initramfs),
                )?;
                let mut document = image("1", "bare", "raw");
                document["kernel_id"] = json!(kernel);
                document["ramdisk_id"] = json!(ramdisk);
                document["os_command_line"] = json!(COMMAND_LINE);
                (Bytes::from(vec![0; BLANK]), document)
            }
        };
        let mut other = document.clone();
        other["name"] = json!(format!("{}-2", self.name));
        let (first, second) =
            futures::try_join!(self.upload(inside, document, &bytes), self.upload(inside, other, &bytes))?;
        Ok([first, second])
    }

    /// Makes an image, uploads its bytes and waits until it is active. Returns its id.
    async fn upload(&self, inside: &Session, document: Value, bytes: &Bytes) -> Result<String, Failure> {
        let made = inside.post(Api::Image, "images", document).await?;
        let id = text(&made, "id");
        let path = format!("images/{id}/file");
        inside.exchange(Method::PUT, Api::Image, &path, &[], Body::Bytes(bytes.clone())).await?;
        let active = async {
            loop {
                match text(&inside.get(Api::Image, &format!("images/{id}")).await?, "status").as_str() {
                    "active" => return Ok(()),
                    bad @ ("killed" | "deleted") => return Err(Failure(format!("image {id} is {bad}"))),
                    _ => tokio::time::sleep(PAUSE).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, active).await.unwrap_or_else(|_| {
            Err(Failure(format!("image {id} was not active after {} s", PATIENCE.as_secs())))
        })?;
        Ok(id)
    }

    async fn network(&self) -> Result<Network, Failure> {
        let (extensions, externals) = futures::try_join!(
            self.admin.list(Api::Network, "extensions", "extensions"),
            self.admin.list(Api::Network, "networks?router:external=true", "networks"),
        )?;
        let public = externals.first().map(|network| (text(network, "id"), text(network, "name")));
        if public.is_none() {
            let message = "no network leads out of this cloud: no test logs in to a guest".to_owned();
            self.reporter.on(Event::Note { message });
        }
        Ok(Network { public, extensions: aliases(&extensions) })
    }

    async fn volume(&self) -> Result<Volume, Failure> {
        let (pools, extensions) = futures::try_join!(
            self.admin.list(Api::Volume, "scheduler-stats/get_pools?detail=true", "pools"),
            self.admin.list(Api::Volume, "extensions", "extensions"),
        )?;
        let kinds = ["block-storage", "volumev3"].into_iter();
        let kind = kinds.filter(|kind| self.facts.services.contains_key(*kind)).take(1).collect();
        Ok(Volume {
            kind,
            backup: self.facts.containers.contains("cinder-backup"),
            extensions: aliases(&extensions),
            ..backends(&pools)
        })
    }

    async fn object(&self) -> Result<Object, Failure> {
        let info = self.admin.get(Api::ObjectStore, "/info").await?;
        let names = info.as_object().into_iter().flatten().map(|(name, _)| name.clone());
        // Under its own name there are limits, not a feature.
        Ok(Object { features: names.filter(|name| name != "swift").collect() })
    }
}

/// Takes what pools say of their backends.
fn backends(pools: &[Value]) -> Volume {
    let mut names: Vec<String> =
        pools.iter().map(|pool| text(&pool["capabilities"], "volume_backend_name")).collect();
    names.sort();
    names.dedup();
    let first = pools.first().map_or(&Value::Null, |pool| &pool["capabilities"]);
    // Drivers that know several words for their protocol say all.
    let protocol = match &first["storage_protocol"] {
        Value::Array(words) => words.first().and_then(Value::as_str).unwrap_or_default().to_owned(),
        _ => text(first, "storage_protocol"),
    };
    Volume { protocol, vendor: text(first, "vendor_name"), backends: names, ..Volume::default() }
}

fn aliases(extensions: &[Value]) -> Vec<String> {
    let mut aliases: Vec<_> = extensions.iter().map(|extension| text(extension, "alias")).collect();
    aliases.sort();
    aliases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_must_be_named_once_with_one_word_for_their_protocol() {
        let pool = |name: &str, protocol: Value| json!({"name": "h@b#p", "capabilities": {"volume_backend_name": name, "storage_protocol": protocol, "vendor_name": "V"}});
        let found = backends(&[pool("nfs", json!("nfs")), pool("nfs", json!("nfs"))]);
        assert_eq!((found.protocol.as_str(), found.vendor.as_str(), found.backends.len()), ("nfs", "V", 1));
        let found = backends(&[pool("b", json!(["iSCSI", "iscsi"])), pool("a", json!("ceph"))]);
        assert_eq!(
            (found.protocol.as_str(), found.backends),
            ("iSCSI", vec!["a".to_owned(), "b".to_owned()])
        );
        assert_eq!(backends(&[]), Volume::default());
    }
}
