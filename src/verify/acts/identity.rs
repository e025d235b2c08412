//! Keystone: a project, a user, a token, and what must be refused.

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::super::scene::Scene;
use super::super::walk::{ActResult, Failure};
use super::id_of;
use crate::cloud::{Api, Body, Login, text};
use crate::model::Secret;

/// The role of ordinary users, which Keystone's own bootstrap makes.
const ROLE: &str = "member";

/// A project, a user, and the user's role on it.
pub(in crate::verify) async fn project(scene: &Scene) -> ActResult {
    let Scene { admin, name, password, .. } = scene;
    let description = "Made by `mastic verify`, which deletes it";
    let project = json!({"project": {"name": name, "domain_id": "default", "description": description}});
    let project = id_of(&admin.post(Api::Identity, "projects", project).await?, "project")?;
    let _ = scene.made.project.set(project.clone());
    let user = json!({"user": {"name": name, "domain_id": "default", "password": password.expose(),
        "default_project_id": project, "description": description, "enabled": true}});
    let user = id_of(&admin.post(Api::Identity, "users", user).await?, "user")?;
    let roles = admin.list(Api::Identity, &format!("roles?name={ROLE}"), "roles").await?;
    let role = roles.iter().find(|role| text(role, "name") == ROLE).map(|role| text(role, "id"));
    let role = role.ok_or_else(|| Failure(format!("there is no role `{ROLE}`")))?;
    let grant = format!("projects/{project}/users/{user}/roles/{role}");
    admin.exchange(Method::PUT, Api::Identity, &grant, &[], Body::None).await?;
    Ok(format!("project and user {name}"))
}

/// A token of the user; its catalogue has everything that the profile has.
pub(in crate::verify) async fn token(scene: &Scene) -> ActResult {
    let session = scene.admin.other(&scene.login()).await?;
    let kinds = session.kinds();
    let missing: Vec<_> =
        scene.facts.services.keys().filter(|kind| !kinds.contains(&kind.as_str())).cloned().collect();
    if !missing.is_empty() {
        return Err(Failure(format!("not in the user's catalogue: {}", missing.join(", "))));
    }
    let seen = format!("in {:.2} s; catalogue: {}", session.login_took.as_secs_f64(), kinds.join(", "));
    let _ = scene.made.user.set(session);
    Ok(seen)
}

/// A wrong password gets no token, and an ordinary user cannot see who else there is.
pub(in crate::verify) async fn refusals(scene: &Scene) -> ActResult {
    let wrong = Login { password: Secret::new("not-the-password"), ..scene.login() };
    match scene.admin.other(&wrong).await {
        Ok(_) => return Err(Failure("a wrong password got a token".to_owned())),
        Err(error) if error.status() == Some(StatusCode::UNAUTHORIZED) => {}
        Err(error) => return Err(error.into()),
    }
    match scene.user()?.get(Api::Identity, "users").await {
        Ok(_) => Err(Failure("an ordinary user was shown all users of the cloud".to_owned())),
        Err(error) if error.status() == Some(StatusCode::FORBIDDEN) => {
            Ok("401 and 403, as it should be".to_owned())
        }
        Err(error) => Err(error.into()),
    }
}
