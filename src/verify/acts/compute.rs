//! Nova and Placement: a server, and what its guest says on the console.

use base64::Engine as _;
use serde_json::{Value, json};

use super::super::scene::{Guest, Look, Scene, made};
use super::super::steps::StepId;
use super::super::walk::{ActResult, Failure};
use super::id_of;
use crate::cloud::{Api, CloudError, text};

/// What the guest runs.
const SCRIPT: &str = include_str!("../guest.sh");
/// What its lines begin with.
pub(super) const MARK: &str = "mastic-verify: ";
/// Lines of the console that a failure shows.
const TAIL: usize = 30;
/// Megabytes of memory: our own guest needs 128; a distribution's does not boot in that.
const SMALL: u32 = 128;
const LARGE: u32 = 512;

/// Some hypervisor offers processors and memory.
pub(in crate::verify) async fn resources(scene: &Scene) -> ActResult {
    scene
        .until(StepId::Resources, || async {
            let providers =
                scene.admin.list(Api::Placement, "resource_providers", "resource_providers").await?;
            let mut able = Vec::new();
            for provider in &providers {
                let path = format!("resource_providers/{}/inventories", text(provider, "uuid"));
                let inventories = scene.admin.get(Api::Placement, &path).await?;
                let total =
                    |class: &str| inventories["inventories"][class]["total"].as_u64().unwrap_or_default();
                if total("VCPU") > 0 && total("MEMORY_MB") > 0 {
                    let (cpus, memory) = (total("VCPU"), total("MEMORY_MB"));
                    able.push(format!("{} ({cpus} CPUs, {memory} MB)", text(provider, "name")));
                }
            }
            // nova-compute registers within a minute of its start.
            Ok(if able.is_empty() {
                Look::NotYet(format!("{} resource providers, none with processors", providers.len()))
            } else {
                Look::There(able.join(", "))
            })
        })
        .await
}

/// A flavor that only this project sees.
pub(in crate::verify) async fn flavor(scene: &Scene) -> ActResult {
    let ram = if matches!(scene.guest, Some(Guest::Disk { .. })) { LARGE } else { SMALL };
    let flavor = json!({"flavor": {"name": scene.name, "ram": ram, "vcpus": 1, "disk": 1, "os-flavor-access:is_public": false}});
    let id = id_of(&scene.admin.post(Api::Compute, "flavors", flavor).await?, "flavor")?;
    let access = json!({"addTenantAccess": {"tenant": made(&scene.made.project, "project")?}});
    scene.admin.post(Api::Compute, &format!("flavors/{id}/action"), access).await?;
    let _ = scene.made.flavor.set(id);
    Ok(format!("{ram} MB, 1 CPU, 1 GB"))
}

/// Boots a server on the port.
pub(in crate::verify) async fn server(scene: &Scene) -> ActResult {
    let user = scene.user()?;
    let request = json!({"server": {
        "name": scene.name,
        "imageRef": made(&scene.made.image, "image")?,
        "flavorRef": made(&scene.made.flavor, "flavor")?,
        "networks": [{"port": made(&scene.made.net, "network")?.port}],
        "user_data": base64::engine::general_purpose::STANDARD.encode(SCRIPT),
    }});
    let id = id_of(&user.post(Api::Compute, "servers", request).await?, "server")?;
    let _ = scene.made.server.set(id.clone());
    scene
        .until(StepId::Server, || async {
            let answer = user.get(Api::Compute, &format!("servers/{id}")).await?;
            let server = &answer["server"];
            let (status, task) = (text(server, "status"), text(server, "OS-EXT-STS:task_state"));
            match status.as_str() {
                "ACTIVE" => Ok(Look::There(())),
                "ERROR" => Err(Failure(fault(scene, &id, server).await)),
                _ if task.is_empty() => Ok(Look::NotYet(format!("server {id} is {status}"))),
                _ => Ok(Look::NotYet(format!("server {id} is {status} ({task})"))),
            }
        })
        .await?;
    Ok(format!("server {id}"))
}

/// Why a server is in ERROR: what its owner is told, and what the administrator is told beyond.
async fn fault(scene: &Scene, id: &str, server: &Value) -> String {
    let mut lines = vec![format!("server {id} is in ERROR: {}", text(&server["fault"], "message"))];
    if let Ok(answer) = scene.admin.get(Api::Compute, &format!("servers/{id}")).await {
        let server = &answer["server"];
        lines.push(format!("host: {}", text(server, "OS-EXT-SRV-ATTR:host")));
        lines.extend(
            text(&server["fault"], "details")
                .lines()
                .rev()
                .take(12)
                .map(str::to_owned)
                .collect::<Vec<_>>()
                .into_iter()
                .rev(),
        );
    }
    lines.join("\n")
}

/// Returns what is on the server's console, all of it.
pub(in crate::verify) async fn console_log(scene: &Scene) -> Result<String, CloudError> {
    let Some(server) = scene.made.server.get() else { return Ok(String::new()) };
    let Some(user) = scene.made.user.get() else { return Ok(String::new()) };
    let body = json!({"os-getConsoleOutput": {}});
    let answer = user.post(Api::Compute, &format!("servers/{server}/action"), body).await?;
    let output = text(&answer, "output");
    if let Ok(mut kept) = scene.made.console.lock() {
        kept.clone_from(&output);
    }
    Ok(output)
}

/// Waits for a line of the guest that `wanted` takes, and returns what it makes of it. `what` is waited for.
pub(super) async fn said<T>(
    scene: &Scene,
    step: StepId,
    what: &str,
    wanted: impl Fn(&str) -> Option<T>,
) -> Result<T, Failure> {
    let wanted = &wanted;
    scene
        .until(step, || async move {
            let log = console_log(scene).await?;
            let found = lines(&log).find_map(wanted);
            let tail = || format!("the guest has not said `{what}`; its console:\n{}", tail(&log));
            Ok(found.map_or_else(|| Look::NotYet(tail()), Look::There))
        })
        .await
}

/// The guest's own lines of a console log, without the mark.
pub(super) fn lines(log: &str) -> impl Iterator<Item = &str> {
    log.lines().filter_map(|line| Some(line.split_once(MARK)?.1.trim()))
}

/// The last lines.
fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().map(str::trim_end).collect();
    lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default().join("\n")
}

/// The guest came up and ran what it was given.
pub(in crate::verify) async fn console(scene: &Scene) -> ActResult {
    said(scene, StepId::Console, "address", |line| line.strip_prefix("address").map(drop)).await?;
    let log = scene.made.console.lock().map(|log| log.lines().count()).unwrap_or_default();
    Ok(format!("{log} lines of console"))
}

/// The address that the guest has is its port's.
pub(in crate::verify) async fn dhcp(scene: &Scene) -> ActResult {
    let wanted = &made(&scene.made.net, "network")?.address;
    let addresses =
        said(scene, StepId::Dhcp, "address", |line| line.strip_prefix("address ").map(str::to_owned)).await?;
    if addresses.split_whitespace().any(|address| address == wanted) {
        Ok(format!("{wanted}, as its port"))
    } else {
        Err(Failure(format!("the port has {wanted}, the guest `{addresses}`")))
    }
}

/// The metadata service told the guest its own id.
pub(in crate::verify) async fn metadata(scene: &Scene) -> ActResult {
    let wanted = made(&scene.made.server, "server")?;
    let id =
        said(scene, StepId::Metadata, "metadata", |line| line.strip_prefix("metadata ").map(str::to_owned))
            .await?;
    if id == *wanted {
        Ok(id)
    } else {
        Err(Failure(format!("the server is {wanted}, the guest was told `{id}`")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guests_lines_must_be_found_between_the_kernels() {
        let log =
            "[    1.0] x\nmastic-verify: address 10.0.0.5 \r\n[ 2.0] mastic-verify: ready\nmastic: no\n";
        assert_eq!(lines(log).collect::<Vec<_>>(), ["address 10.0.0.5", "ready"]);
        let long: String = (0..100).map(|n| format!("{n}\n")).collect();
        assert!(tail(&long).starts_with("70\n") && tail(&long).ends_with("\n99"));
        assert_eq!(tail(""), "");
    }

    #[test]
    fn user_data_must_fit_and_be_a_script() {
        // Nova takes 65,535 bytes of base64.
        assert!(SCRIPT.starts_with("#!/bin/sh\n") && SCRIPT.len() < 40_000);
        assert!(SCRIPT.contains(MARK.trim_end()), "the mark is the same on both sides");
    }
}
