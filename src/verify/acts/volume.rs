//! Cinder: a volume that keeps what the guest wrote, its snapshot, its backup.

use serde_json::json;

use super::super::scene::{Look, Scene, made};
use super::super::steps::StepId;
use super::super::walk::{ActResult, Failure};
use super::compute::{console_log, lines, said};
use super::id_of;
use crate::cloud::{Api, text};

/// A volume, empty.
pub(in crate::verify) async fn volume(scene: &Scene) -> ActResult {
    let request = json!({"volume": {"name": scene.name, "size": 1}});
    let id = id_of(&scene.user()?.post(Api::Volume, "volumes", request).await?, "volume")?;
    settled(scene, StepId::Volume, "volume", &id, "available").await?;
    let _ = scene.made.volume.set(id.clone());
    Ok(format!("1 GB, {id}"))
}

/// Waits until a volume, snapshot or backup has a status; any error status ends it.
async fn settled(scene: &Scene, step: StepId, kind: &str, id: &str, wanted: &str) -> Result<(), Failure> {
    let user = scene.user()?;
    scene
        .until(step, || async {
            let answer = user.get(Api::Volume, &format!("{kind}s/{id}")).await?;
            let status = text(&answer[kind], "status");
            if status == wanted {
                return Ok(Look::There(()));
            }
            if status.starts_with("error") {
                return Err(Failure(format!(
                    "{kind} {id} is {status}{}",
                    why(scene, kind, id, &text(&answer[kind], "fail_reason")).await
                )));
            }
            Ok(Look::NotYet(format!("{kind} {id} is {status}")))
        })
        .await
}

/// What Cinder tells users of a failure: its messages, where it has some.
async fn why(scene: &Scene, kind: &str, id: &str, reason: &str) -> String {
    let mut said = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let headers = [("OpenStack-API-Version", "volume 3.3")];
    let path = format!("messages?resource_uuid={id}");
    let Ok(user) = scene.user() else { return said };
    let messages =
        user.exchange(reqwest::Method::GET, Api::Volume, &path, &headers, crate::cloud::Body::None).await;
    if let Ok(document) = messages.and_then(|reply| reply.json()) {
        for message in document["messages"].as_array().into_iter().flatten() {
            said = format!("{said}\n{kind}: {}", text(message, "user_message"));
        }
    }
    said
}

async fn attach_now(scene: &Scene, step: StepId) -> Result<String, Failure> {
    let (server, volume) = (made(&scene.made.server, "server")?, made(&scene.made.volume, "volume")?);
    let request = json!({"volumeAttachment": {"volumeId": volume}});
    let path = format!("servers/{server}/os-volume_attachments");
    let answer = scene.user()?.post(Api::Compute, &path, request).await?;
    settled(scene, step, "volume", volume, "in-use").await?;
    Ok(text(&answer["volumeAttachment"], "device"))
}

/// Attaches it; the guest writes a pattern and says its digest.
pub(in crate::verify) async fn attach(scene: &Scene) -> ActResult {
    attach_now(scene, StepId::Attach).await?;
    let (disk, digest) = said(scene, StepId::Attach, "disk wrote", |line| disk(line, "wrote")).await??;
    let _ = scene.made.written.set(digest.clone());
    Ok(format!("{disk}: 1 MB written, sha256 {}", digest.get(..16).unwrap_or(&digest)))
}

/// Reads `disk VERB DEVICE SHA256`; `disk failed` is a failure at once.
fn disk(line: &str, verb: &str) -> Option<Result<(String, String), Failure>> {
    let words: Vec<&str> = line.strip_prefix("disk ")?.split_whitespace().collect();
    match words.as_slice() {
        [found, device, digest] if *found == verb && digest.len() == 64 => {
            Some(Ok(((*device).to_owned(), (*digest).to_owned())))
        }
        ["failed", ..] => Some(Err(Failure(format!("the guest could not write: {line}")))),
        _ => None,
    }
}

/// Detaches it.
pub(in crate::verify) async fn detach(scene: &Scene) -> ActResult {
    detach_now(scene, StepId::Detach).await?;
    Ok("available again".to_owned())
}

pub(in crate::verify) async fn detach_now(scene: &Scene, step: StepId) -> Result<(), Failure> {
    let (server, volume) = (made(&scene.made.server, "server")?, made(&scene.made.volume, "volume")?);
    let user = scene.user()?;
    let attachments = format!("servers/{server}/os-volume_attachments");
    user.delete(Api::Compute, &format!("{attachments}/{volume}")).await?;
    settled(scene, step, "volume", volume, "available").await?;
    // Cinder has let go; Nova forgets a moment later, and until then attaches nothing of the same volume.
    scene
        .until(step, || async {
            let left = user.list(Api::Compute, &attachments, "volumeAttachments").await?;
            Ok(if left.iter().any(|one| text(one, "volumeId") == *volume) {
                Look::NotYet("Nova still has it attached".to_owned())
            } else {
                Look::There(())
            })
        })
        .await
}

/// Attaches it once more; the guest reads what it wrote.
pub(in crate::verify) async fn reread(scene: &Scene) -> ActResult {
    attach_now(scene, StepId::Reread).await?;
    let (disk, digest) = said(scene, StepId::Reread, "disk read", |line| disk(line, "read")).await??;
    let written = made(&scene.made.written, "digest")?;
    if digest != *written {
        return Err(Failure(format!("written was {written}, read was {digest}")));
    }
    // A snapshot and a backup come next, and want the volume at rest.
    detach_now(scene, StepId::Reread).await?;
    Ok(format!("{disk}: the same 1 MB"))
}

/// Attaches it once more, and leaves it there. Returns the digest of what the guest reads then.
pub(in crate::verify) async fn read_again(scene: &Scene) -> Result<String, Failure> {
    let reads = |log: &str| lines(log).filter_map(|line| disk(line, "read")).collect::<Vec<_>>();
    // What it read earlier is still on its console.
    let before = reads(&console_log(scene).await?).len();
    attach_now(scene, StepId::Reread).await?;
    let newest = scene
        .until(StepId::Reread, || async {
            let found = reads(&console_log(scene).await?);
            Ok(match found.into_iter().nth(before) {
                Some(newest) => Look::There(newest),
                None => Look::NotYet("the guest has not read the disk".to_owned()),
            })
        })
        .await?;
    newest.map(|(_, digest)| digest)
}

/// A snapshot, and a volume made of it.
pub(in crate::verify) async fn snapshot(scene: &Scene) -> ActResult {
    let user = scene.user()?;
    let volume = made(&scene.made.volume, "volume")?;
    let request = json!({"snapshot": {"name": scene.name, "volume_id": volume}});
    let snapshot = id_of(&user.post(Api::Volume, "snapshots", request).await?, "snapshot")?;
    settled(scene, StepId::Snapshot, "snapshot", &snapshot, "available").await?;
    let request = json!({"volume": {"name": format!("{}-of-snapshot", scene.name), "snapshot_id": snapshot}});
    let copy = id_of(&user.post(Api::Volume, "volumes", request).await?, "volume")?;
    settled(scene, StepId::Snapshot, "volume", &copy, "available").await?;
    Ok("taken, and a volume made of it".to_owned())
}

/// A backup, restored into a new volume.
pub(in crate::verify) async fn backup(scene: &Scene) -> ActResult {
    let user = scene.user()?;
    let volume = made(&scene.made.volume, "volume")?;
    let request = json!({"backup": {"name": scene.name, "volume_id": volume}});
    let backup = id_of(&user.post(Api::Volume, "backups", request).await?, "backup")?;
    settled(scene, StepId::Backup, "backup", &backup, "available").await?;
    let request = json!({"restore": {"name": format!("{}-restored", scene.name)}});
    let answer = user.post(Api::Volume, &format!("backups/{backup}/restore"), request).await?;
    let restored = text(&answer["restore"], "volume_id");
    settled(scene, StepId::Backup, "volume", &restored, "available").await?;
    Ok("made, and restored into a new volume".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guests_word_about_a_disk_must_be_understood() {
        let digest = "a".repeat(64);
        let line = format!("disk wrote /dev/vdb {digest}");
        assert_eq!(disk(&line, "wrote"), Some(Ok(("/dev/vdb".to_owned(), digest))));
        assert_eq!(disk(&line, "read"), None);
        assert_eq!(disk("disk wrote /dev/vdb aaa", "wrote"), None, "half a line is not the line");
        assert!(matches!(disk("disk failed /dev/vdb dd: no space", "wrote"), Some(Err(_))));
        assert_eq!(disk("ready", "read"), None);
    }
}
