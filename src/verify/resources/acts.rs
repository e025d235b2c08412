//! How resources that were left are made where no step of an ordinary run does, and looked at again.

use bytes::Bytes;
use reqwest::Method;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::super::acts::{compute, id_of, stack, volume};
use super::super::scene::Scene;
use super::super::steps::StepId;
use super::super::walk::{ActResult, Failure};
use super::kept::Made;
use crate::cloud::{Api, Body, text};
use crate::model::spec::hex;

const SIZE: usize = 1 << 18;

fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// A thing that must be there: what the cloud's file says of it.
fn there<'a>(kept: Option<&'a String>, what: &str) -> Result<&'a str, Failure> {
    kept.map(String::as_str).ok_or_else(|| Failure(format!("no {what} was left")))
}

/// An object of random bytes; returns their digest.
pub(super) async fn make_object(scene: &Scene) -> ActResult {
    let user = scene.user()?;
    let mut content = vec![0; SIZE];
    rand::RngCore::fill_bytes(&mut rand::rng(), &mut content);
    let (path, sum) = (format!("{}/object", scene.name), digest(&content));
    user.exchange(Method::PUT, Api::ObjectStore, &scene.name, &[], Body::None).await?;
    user.exchange(Method::PUT, Api::ObjectStore, &path, &[], Body::Bytes(Bytes::from(content))).await?;
    Ok(sum)
}

/// A stack with a random text; returns its id and the text.
pub(super) async fn make_stack(scene: &Scene) -> Result<(String, String), Failure> {
    let user = scene.user()?;
    let mut resources = json!({"random": {"type": "OS::Heat::RandomString", "properties": {"length": 24}}});
    if user.has(Api::Network) {
        let name = format!("{}-stack", scene.name);
        resources["network"] = json!({"type": "OS::Neutron::Net", "properties": {"name": name}});
    }
    let template = json!({
        "heat_template_version": "2021-04-16",
        "resources": resources,
        "outputs": {"random": {"value": {"get_attr": ["random", "value"]}}},
    });
    let request = json!({"stack_name": scene.name, "template": template});
    let id = id_of(&user.post(Api::Orchestration, "stacks", request).await?, "stack")?;
    let stack = stack::settled(scene, &format!("stacks/{}/{id}", scene.name), "CREATE_COMPLETE").await?;
    Ok((id, text(&stack["outputs"][0], "output_value")))
}

/// The digest of an image's bytes, as the user gets them.
pub(super) async fn image_digest(scene: &Scene, id: &str) -> ActResult {
    let path = format!("images/{id}/file");
    let reply = scene.user()?.exchange(Method::GET, Api::Image, &path, &[], Body::None).await?;
    Ok(digest(&reply.bytes))
}

pub(super) async fn image(scene: &Scene, made: &Made) -> ActResult {
    let id = there(made.image.as_ref(), "image")?;
    same("image", there(made.image_digest.as_ref(), "digest")?, &image_digest(scene, id).await?)?;
    Ok(format!("{id}: the same bytes"))
}

pub(super) async fn network(scene: &Scene, made: &Made) -> ActResult {
    let id = there(made.port.as_ref(), "port")?;
    let answer = scene.user()?.get(Api::Network, &format!("ports/{id}")).await?;
    let port = &answer["port"];
    let (status, address) = (text(port, "status"), text(&port["fixed_ips"][0], "ip_address"));
    same("port's status", "ACTIVE", &status)?;
    same("port's address", there(made.fixed.as_ref(), "address")?, &address)?;
    Ok(format!("{id} is ACTIVE, with {address}"))
}

pub(super) async fn server(scene: &Scene, made: &Made) -> ActResult {
    let id = there(made.server.as_ref(), "server")?;
    let answer = scene.user()?.get(Api::Compute, &format!("servers/{id}")).await?;
    same("server's status", "ACTIVE", &text(&answer["server"], "status"))?;
    let lines = compute::console_log(scene).await?.lines().count();
    Ok(format!("{id} is ACTIVE; {lines} lines of console"))
}

/// Takes the volume from the guest and gives it back: the guest reads what it wrote under whatever release that was.
pub(super) async fn volume(scene: &Scene, made: &Made) -> ActResult {
    let id = there(made.volume.as_ref(), "volume")?;
    let answer = scene.user()?.get(Api::Volume, &format!("volumes/{id}")).await?;
    let status = text(&answer["volume"], "status");
    if made.server.is_none() {
        same("volume's status", "available", &status)?;
        return Ok(format!("{id} is available"));
    }
    if status == "in-use" {
        volume::detach_now(scene, StepId::Reread).await?;
    } else {
        same("volume's status", "available", &status)?;
    }
    let digest = volume::read_again(scene).await?;
    same("volume's content", there(made.written.as_ref(), "digest")?, &digest)?;
    Ok(format!("{id}: detached, attached, the guest reads what it wrote"))
}

pub(super) async fn object(scene: &Scene, made: &Made) -> ActResult {
    let wanted = there(made.object.as_ref(), "object")?;
    let path = format!("{}/object", scene.name);
    let reply = scene.user()?.exchange(Method::GET, Api::ObjectStore, &path, &[], Body::None).await?;
    same("object", wanted, &digest(&reply.bytes))?;
    Ok(format!("{path}: the same bytes"))
}

pub(super) async fn stack(scene: &Scene, made: &Made) -> ActResult {
    let id = there(made.stack.as_ref(), "stack")?;
    let stack = stack::settled(scene, &format!("stacks/{}/{id}", scene.name), "CREATE_COMPLETE").await?;
    let output = text(&stack["outputs"][0], "output_value");
    same("stack's output", there(made.stack_output.as_ref(), "output")?, &output)?;
    Ok(format!("{id} is CREATE_COMPLETE, with the same output"))
}

fn same(what: &str, wanted: &str, found: &str) -> Result<(), Failure> {
    if wanted == found { Ok(()) } else { Err(Failure(format!("the {what} was `{wanted}` and is `{found}`"))) }
}
