//! Heat: a stack's whole life.

use reqwest::Method;
use serde_json::{Value, json};

use super::super::scene::{Look, Scene};
use super::super::steps::StepId;
use super::super::walk::{ActResult, Failure};
use super::id_of;
use crate::cloud::{Api, Body, text};

/// Makes a stack (of a network too, where there is Neutron), changes a parameter, reads the output, deletes it.
pub(in crate::verify) async fn stack(scene: &Scene) -> ActResult {
    let user = scene.user()?;
    let name = &scene.name;
    let mut resources = json!({
        "random": {"type": "OS::Heat::RandomString", "properties": {"length": 16}},
        // Resources and parameters share one space of names.
        "said": {"type": "OS::Heat::Value", "properties": {"type": "string", "value": {"get_param": "greeting"}}},
    });
    if user.has(Api::Network) {
        resources["network"] =
            json!({"type": "OS::Neutron::Net", "properties": {"name": format!("{name}-stack")}});
    }
    let template = json!({
        "heat_template_version": "2021-04-16",
        "parameters": {"greeting": {"type": "string"}},
        "resources": resources,
        "outputs": {"greeting": {"value": {"get_attr": ["said", "value"]}}},
    });
    let with = |greeting: &str| json!({"stack_name": name, "template": template, "parameters": {"greeting": greeting}});
    let id = id_of(&user.post(Api::Orchestration, "stacks", with("hello")).await?, "stack")?;
    let path = format!("stacks/{name}/{id}");
    settled(scene, &path, "CREATE_COMPLETE").await?;
    // What it answers is no JSON.
    let change = Body::Json(with("goodbye"));
    user.exchange(Method::PUT, Api::Orchestration, &path, &[], change).await?;
    let stack = settled(scene, &path, "UPDATE_COMPLETE").await?;
    let said = text(&stack["outputs"][0], "output_value");
    if said != "goodbye" {
        return Err(Failure(format!("the changed stack's output is `{said}`, not `goodbye`")));
    }
    user.delete(Api::Orchestration, &path).await?;
    settled(scene, &path, "DELETE_COMPLETE").await?;
    let count = resources.as_object().map_or(0, serde_json::Map::len);
    Ok(format!("{count} resources made, changed, deleted"))
}

pub(in crate::verify) async fn settled(scene: &Scene, path: &str, wanted: &str) -> Result<Value, Failure> {
    let user = scene.user()?;
    scene
        .until(StepId::Stack, || async {
            let mut answer = user.get(Api::Orchestration, path).await?;
            let stack = answer["stack"].take();
            let status = text(&stack, "stack_status");
            if status == wanted {
                Ok(Look::There(stack))
            } else if status.ends_with("_FAILED") {
                Err(Failure(format!("the stack is {status}: {}", text(&stack, "stack_status_reason"))))
            } else {
                Ok(Look::NotYet(format!("the stack is {status}")))
            }
        })
        .await
}
