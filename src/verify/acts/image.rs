//! Glance: what servers boot from, uploaded and read back.

use bytes::Bytes;
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::super::scene::{Guest, Scene};
use super::super::steps::StepId;
use super::super::walk::{ActResult, Failure};
use crate::cloud::{Api, Body, Session, text};

/// The blank disk beside a kernel: a server boots from some disk, and this guest needs none.
pub(in crate::verify) const BLANK: usize = 4 << 20;
/// What the guest's kernel is told: its console is what `mastic verify` reads.
pub(in crate::verify) const COMMAND_LINE: &str = "console=ttyS0";

/// Uploads the guest; without one (a cloud that runs no servers) some bytes. Reads the last upload back.
pub(in crate::verify) async fn image(scene: &Scene) -> ActResult {
    let user = scene.user()?;
    let name = &scene.name;
    let image = |suffix: &str, container: &str, disk: &str| json!({"name": format!("{name}{suffix}"), "container_format": container, "disk_format": disk, "visibility": "private"});
    let (bytes, mut document) = match &scene.guest {
        Some(Guest::Kernel { kernel, initramfs }) => {
            let (kernel, ramdisk) = futures::try_join!(
                upload(scene, user, image("-kernel", "aki", "aki"), kernel),
                upload(scene, user, image("-ramdisk", "ari", "ari"), initramfs),
            )?;
            let mut document = image("", "bare", "raw");
            document["kernel_id"] = json!(kernel);
            document["ramdisk_id"] = json!(ramdisk);
            document["os_command_line"] = json!(COMMAND_LINE);
            (Bytes::from(vec![0; BLANK]), document)
        }
        Some(Guest::Disk { bytes, format }) => (bytes.clone(), image("", "bare", format)),
        None => (Bytes::from(pattern(BLANK)), image("", "bare", "raw")),
    };
    // Wherever there is a generator of random numbers the guest can have it: entropy is scarce at boot.
    document["hw_rng_model"] = json!("virtio");
    let id = upload(scene, user, document, &bytes).await?;
    let reply = user.exchange(Method::GET, Api::Image, &format!("images/{id}/file"), &[], Body::None).await?;
    if Sha256::digest(&reply.bytes) != Sha256::digest(&bytes) {
        return Err(Failure(format!(
            "image {id} came back as {} bytes that are not the {} bytes that were uploaded",
            reply.bytes.len(),
            bytes.len()
        )));
    }
    let _ = scene.made.image.set(id);
    Ok(format!("{:.1} MB up, the same {:.1} MB down", megabytes(scene, &bytes), mb(bytes.len())))
}

fn megabytes(scene: &Scene, last: &Bytes) -> f64 {
    let more = match &scene.guest {
        Some(Guest::Kernel { kernel, initramfs }) => kernel.len() + initramfs.len(),
        Some(Guest::Disk { .. }) | None => 0,
    };
    mb(last.len() + more)
}

#[expect(clippy::cast_precision_loss, reason = "a size for people")]
fn mb(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

/// Makes an image, uploads its bytes and waits until it is active. Returns its id.
async fn upload(scene: &Scene, user: &Session, document: Value, bytes: &Bytes) -> Result<String, Failure> {
    let made = user.post(Api::Image, "images", document).await?;
    let id = text(&made, "id");
    let path = format!("images/{id}/file");
    user.exchange(Method::PUT, Api::Image, &path, &[], Body::Bytes(bytes.clone())).await?;
    scene
        .until(StepId::Image, || async {
            let image = user.get(Api::Image, &format!("images/{id}")).await?;
            Ok(match text(&image, "status").as_str() {
                "active" => super::super::scene::Look::There(()),
                "killed" | "deleted" => {
                    return Err(Failure(format!("image {id} is {}", text(&image, "status"))));
                }
                status => super::super::scene::Look::NotYet(format!("image {id} is {status}")),
            })
        })
        .await?;
    Ok(id)
}

/// Bytes that no compression shrinks and no other upload has.
fn pattern(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    rand::RngCore::fill_bytes(&mut rand::rng(), &mut bytes);
    // Raw images are inspected: nothing here may look like the head of another format.
    if let Some(head) = bytes.get_mut(..65_536) {
        head.fill(0);
    }
    bytes
}
